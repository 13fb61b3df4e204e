"""The law that is integrated: the user's, and beside its state ∫ power dt of its energy balance, and of its charges."""

from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import tree_add, tree_scale
from lagrangian_learning._types import Args, Terms, Time
from lagrangian_learning.mechanics.law import AbstractLaw, Rates
from lagrangian_learning.mechanics.linear_part import AbstractLinearPart, AbstractPropagator, rest_moments, weighted
from lagrangian_learning.steppers.terms import law_in

from .charges import Charges, rates_by_name, values_of


class Worked(eqx.Module):
    """A law's state, and beside it quadratures: the work done since the start, and Q(t0) + ∫ rate dt of each charge.

    work is None where the law has no power, charges where none are asked for.
    """

    state: PyTree
    work: Float[Array, ""] | None
    charges: dict[str, Array] | None = None

    @property
    def quadratures(self) -> tuple[PyTree, PyTree]:
        """What is integrated beside the state."""
        return self.work, self.charges


class WithWork(AbstractLaw):
    """d/dt (y, work, charges) = (f(t, y), power, rates): one evaluation of the law gives the first two."""

    law: AbstractLaw
    charges: Charges | None = None

    def rates(self, t: Time, state: Worked, args: Args) -> Rates:
        rates = rates_of(self.law, t, state.state, args)
        power = None if state.work is None else rates.power
        # Where a step controller looks for its first step there is the state alone.
        charges = None if state.charges is None else rates_by_name(self.charges, t, state.state, args)
        return Rates(Worked(rates.state, power, charges))

    def splitting(self, given: AbstractLinearPart | None = None) -> tuple[AbstractLinearPart | None, AbstractLaw]:
        part, law = self.law.splitting(given)
        return None if part is None else BesideWork(part), WithWork(law, self.charges)

    @property
    def description(self) -> dict[str, str]:
        return self.law.description


class BesideWork(AbstractLinearPart):
    """A ⊕ 0: the linear part of a law, beside work that rests."""

    part: AbstractLinearPart

    def apply(self, t: Float[Array, ""], state: Worked) -> Worked:
        return Worked(self.part.apply(t, state.state), *_resting(state.quadratures))

    def over(self, t0: Float[Array, ""], t1: Float[Array, ""]) -> "PropagatorBesideWork":
        return PropagatorBesideWork(self.part.over(t0, t1))


class PropagatorBesideWork(AbstractPropagator):
    """e^{hA} ⊕ 1, the work being a pure quadrature of the power."""

    inner: AbstractPropagator

    @property
    def step(self) -> Float[Array, ""]:
        return self.inner.step

    @property
    def layer(self) -> Float[Array, ""]:
        return self.inner.layer

    def linear(self, state: Worked) -> Worked:
        return Worked(self.inner.linear(state.state), *_resting(state.quadratures))

    def exponential(self, share: Float[Array, ""], state: Worked) -> Worked:
        return Worked(self.inner.exponential(share, state.state), *state.quadratures)

    def moments(self, points: Float[Array, " points"], degree: int) -> tuple[PyTree, Array]:
        return self.inner.moments(points, degree), rest_moments(self.layer, points, degree)

    def combined(self, weights: tuple[PyTree, Array], slopes: Worked) -> Worked:
        inner, resting = weights
        return Worked(self.inner.combined(inner, slopes.state), *weighted(self.step * resting, slopes.quadratures))

    def quadratures(self, start: Worked, end: Worked, weights: Float[Array, " slopes"], slopes: Worked) -> Worked:
        moved = weighted(self.step * weights, slopes.quadratures)
        return Worked(end.state, *tree_add(start.quadratures, moved))

    def kicked(self, t: Float[Array, ""], state: Worked, slope: Worked) -> Worked:
        inner = self.inner.kicked(t, state.state, slope.state)
        return Worked(inner, *tree_add(state.quadratures, tree_scale(self.step, slope.quadratures)))

    def drifted(self, share: float, state: Worked) -> Worked:
        return Worked(self.inner.drifted(share, state.state), *state.quadratures)


class QuadratureOfPower(diffrax.AbstractWrappedSolver):
    """A stepper that moves the law alone (`motion_alone`), and beside it work and charges by the trapezoidal rule."""

    solver: diffrax.AbstractSolver
    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar = diffrax.LocalLinearInterpolation

    def order(self, terms: Terms) -> int | None:
        return self.solver.order(_alone(law_of(terms)))

    def init(self, terms: Terms, t0: Array, t1: Array, y0: Worked, args: Args) -> tuple[PyTree, PyTree]:
        law = law_of(terms)
        return self.solver.init(_alone(law), t0, t1, y0.state, args), _slopes(terms, t0, y0, y0.state, args)

    def step(
        self, terms: Terms, t0: Array, t1: Array, y0: Worked, args: Args, solver_state: PyTree, made_jump: Any
    ) -> tuple[Worked, Worked | None, dict, PyTree, diffrax.RESULTS]:
        law, (inner, before) = law_of(terms), solver_state
        state, error, _, inner, result = self.solver.step(_alone(law), t0, t1, y0.state, args, inner, made_jump)
        after = _slopes(terms, t1, y0, state, args)
        y1 = Worked(state, *tree_add(y0.quadratures, tree_scale((t1 - t0) / 2, tree_add(before, after))))
        error = None if error is None else Worked(error, *_resting(y0.quadratures))
        return y1, error, {"y0": y0, "y1": y1}, (inner, after), result

    def func(self, terms: Terms, t0: Time, y0: Worked, args: Args) -> Worked:
        return terms.vf(t0, y0, args)


@eqx.filter_jit(inline=True)
def rates_of(law: AbstractLaw, t: Time, state: PyTree, args: Args) -> Rates:
    """The rates of the user's law; traced once for all its uses in a run."""
    rates = law.rates(t, state, args)
    if not isinstance(rates, Rates):
        name, found = type(law).__name__, type(rates).__name__
        raise TypeError(
            f"{name}.rates must return ll.Rates(d state/dt, power), and returns a {found}: "
            "ll.Rates(d state/dt) alone where the law has no energy."
        )
    return rates


def terms_of(law: AbstractLaw, charges: Charges | None = None) -> diffrax.ODETerm:
    """What Diffrax is given for a law."""
    return diffrax.ODETerm(WithWork(law, charges).vector_field)


def law_of(terms: Terms) -> AbstractLaw:
    """The user's law inside the terms of a run, however Diffrax has wrapped them."""
    return _with_work(terms).law


def start_of(
    law: AbstractLaw, t0: Array, state: PyTree, args: Args, *, works: bool = True, charges: Charges | None = None
) -> Worked:
    """The start of a run, its work being integrated if it `works`. ValueError where rates do not look like a state."""
    rates = eqx.filter_eval_shape(rates_of, law, t0, state, args)
    if _shapes(rates.state) != _shapes(state):
        raise ValueError(
            f"the law's rates do not look like its state: rates {_shapes(rates.state)}, state {_shapes(state)}. "
            "Make the state by law.initial_state, and check the dtypes of the law's constants and of the stimulus."
        )
    work = None if rates.power is None or not works else jnp.zeros((), rates.power.dtype)
    return Worked(state, work, values_of(charges, t0, state, args))


def _with_work(terms: Terms) -> WithWork:
    found = law_in(terms)
    assert isinstance(found, WithWork)
    return found


def _slopes(terms: Terms, t: Array, y: Worked, state: PyTree, args: Args) -> tuple[PyTree, PyTree]:
    """The rates of the quadratures of y, at another state."""
    given = _with_work(terms)
    power = None if y.work is None else rates_of(given.law, t, state, args).power
    return power, rates_by_name(given.charges, t, state, args)


def _alone(law: AbstractLaw) -> diffrax.ODETerm:
    return diffrax.ODETerm(law.vector_field)


def _resting(quadratures: PyTree) -> PyTree:
    return jax.tree.map(jnp.zeros_like, quadratures)


def _shapes(tree: PyTree) -> PyTree:
    """Shapes and dtypes alone: on a mesh a shape also specifies where it lies."""
    shapes = eqx.filter_eval_shape(lambda leaves: leaves, tree)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), shapes)
