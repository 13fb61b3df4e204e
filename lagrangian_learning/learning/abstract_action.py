"""The mathematics of a cognitive action (5), (6): its densities and its constraints, as its laws read them."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import cast, tree_add, tree_dot, tree_scale
from lagrangian_learning.mechanics import AbstractDissipation, Holonomic, Lagrangian, Vakonomic
from lagrangian_learning.networks import AbstractNetwork
from lagrangian_learning.signals import Stimulus

from .multipliers import NetworkStructure
from .potential import AbstractPotential, Term


class AbstractAction(eqx.Module):
    """∫ (½ m_x |ẋ|² + ½ m_W |Ẇ|² − V(x_out, y)) ϖ dt + ∫ F dt subject to G(t, x, W) = 0; see `CognitiveAction`.

    With a stiffness κ the constraints are soft: −½ κ |G|² stands in the density in their place (docs/theory.md §10).
    """

    network: eqx.AbstractVar[AbstractNetwork]
    potential: eqx.AbstractVar[AbstractPotential]
    mass_x: eqx.AbstractVar[Float[Array, "..."]]
    mass_W: eqx.AbstractVar[Float[Array, "..."]]
    dissipation: eqx.AbstractVar[AbstractDissipation]
    terms: eqx.AbstractVar[tuple[Term, ...]]
    speed: eqx.AbstractVar[Float[Array, "..."] | None]
    stiffness: eqx.AbstractVar[Float[Array, "..."] | None]

    @property
    def order(self) -> int:
        """1, or 2 when a term uses ẍ or Ẅ."""
        return max((1, *(term.order for term in self.terms)))

    @property
    def plain_inertia(self) -> bool:
        """Whether the inertia is m_x and m_W: no term depends on velocities."""
        return all(term.order == 0 for term in self.terms)

    @property
    def lagrangian(self) -> Lagrangian:
        """The action as a `Lagrangian` of q = (x, W), its densities divided by their weight."""
        outside = any(not term.weighted for term in self.terms)
        unweighted = _UnweightedTerms(self) if outside else None
        return Lagrangian(_Density(self), self.dissipation, self.order, unweighted=unweighted)

    @property
    def constraint(self) -> Holonomic | Vakonomic:
        """G(t, (x, W), stimulus) = 0, (4); with a speed ẋ/c + G(t, (x, W), stimulus) = 0, (19).

        With a stiffness this G is what the density penalises, and need not vanish.
        """
        neurons = _NetworkConstraint(self.network)
        return Holonomic(neurons) if self.speed is None else Vakonomic(_DelayedConstraint(neurons, self.speed))

    @property
    def structure(self) -> NetworkStructure:
        """What structured multiplier solvers know of the equations."""
        return NetworkStructure(self.network, self.mass_x, self.mass_W, self.speed)

    @property
    def smoothness(self) -> int:
        """How often the constraints are differentiated in time, and with them the input."""
        return self.constraint.derivatives(self.order)

    def inside(self, t: Array, jet: tuple[PyTree, ...], stimulus: Stimulus) -> Float[Array, ""]:
        """½ m_x |ẋ|² + ½ m_W |Ẇ|² − V [− ½ κ |G|²] + weighted terms, on the jet ((x, W), (ẋ, Ẇ)[, (ẍ, Ẅ)])."""
        (x, W), (x_dot, W_dot) = jet[:2]
        kinetic = cast(self.mass_x, x) * tree_dot(x_dot, x_dot) + cast(self.mass_W, x) * tree_dot(W_dot, W_dot)
        value = kinetic / 2 - self.potential(self.network.output(x), stimulus.target(t))
        if self.stiffness is not None:
            gap = self.network.constraint(x, W, stimulus.input(t))
            value = value - cast(self.stiffness, x) * tree_dot(gap, gap) / 2
        return sum((term(t, jet, stimulus) for term in self.terms if term.weighted), start=value)

    def outside(self, t: Array, jet: tuple[PyTree, ...], stimulus: Stimulus) -> Float[Array, ""]:
        """The terms F that stand outside the weight."""
        unweighted = (term(t, jet, stimulus) for term in self.terms if not term.weighted)
        return sum(unweighted, start=jnp.zeros_like(t))

    def forces_density(self, t: Array, q: tuple[PyTree, PyTree], stimulus: Stimulus) -> Float[Array, ""]:
        """Σ F of the terms of order 0 at q = (x, W), those outside the weight divided by it."""
        outside = jnp.exp(-self.dissipation.log_weight(t))
        values = (term(t, (q,), stimulus) * (1 if term.weighted else outside) for term in self.terms)
        return sum(values, start=jnp.zeros_like(t))


class _Density(eqx.Module):
    action: AbstractAction

    def __call__(self, t: Array, *jet_and_stimulus: Any) -> Array:
        *jet, stimulus = jet_and_stimulus
        return self.action.inside(t, tuple(jet), stimulus)


class _UnweightedTerms(eqx.Module):
    action: AbstractAction

    def __call__(self, t: Array, *jet_and_stimulus: Any) -> Array:
        *jet, stimulus = jet_and_stimulus
        return self.action.outside(t, tuple(jet), stimulus)


class _DelayedConstraint(eqx.Module):
    neurons: "_NetworkConstraint"
    speed: Array

    def __call__(self, t: Array, q: tuple[PyTree, PyTree], v: tuple[PyTree, PyTree], stimulus: Stimulus) -> PyTree:
        lag = tree_scale(1 / cast(self.speed, q), v[0])
        return tree_add(lag, self.neurons(t, q, stimulus))


class _NetworkConstraint(eqx.Module):
    network: AbstractNetwork

    def __call__(self, t: Array, q: tuple[PyTree, PyTree], stimulus: Stimulus) -> PyTree:
        return self.network.constraint(q[0], q[1], stimulus.input(t))
