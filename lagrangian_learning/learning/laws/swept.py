"""The equations (8)–(10) of a feedforward network in reduced coordinates, written as sweeps: Θ(m) each."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import cast, tree_add, tree_dot, tree_scale, tree_sub
from lagrangian_learning.learning.delta_errors import potential_gradient
from lagrangian_learning.learning.multipliers.network_multipliers import AbstractNetworkMultipliers
from lagrangian_learning.learning.potential import AbstractPotential, Term
from lagrangian_learning.mechanics import AbstractDissipation
from lagrangian_learning.networks import AbstractLinearisation, AbstractNetwork
from lagrangian_learning.signals import Stimulus


class Swept(NamedTuple):
    """One evaluation: neurons, their velocities, Ẅ and δ, and G linearised at x."""

    x: PyTree
    x_dot: PyTree
    W_ddot: PyTree
    delta: PyTree
    linearised: AbstractLinearisation


class SweptEquations(eqx.Module):
    """m_W Ẅ = −r m_W Ẇ − G_Mᵀ δ + F_W with δ = G_ξ⁻ᵀ μ, (I + (m_x/m_W) G_ξ⁻¹ G_M G_Mᵀ G_ξ⁻ᵀ) μ = f (THEORY §3):

        f = −V_ξ + F_ξ − m_x z + (m_x/m_W) G_ξ⁻¹ G_M F_W,    z = −G_ξ⁻¹ (γ₂ + r G_t) = ẍ|_{Ẅ=0} + r ẋ|_{Ẇ=0}.

    x, ẋ and z are one forward pass, since z is the ẍ of that pass when ü + r u̇ stands in the place of ü. The same
    equations as `EulerLagrange` derives, for actions whose terms F are of order 0 and leave the
    inertia to be m_x and m_W; x, ẋ are those of the forward pass.
    """

    network: AbstractNetwork
    potential: AbstractPotential
    terms: tuple[Term, ...]
    dissipation: AbstractDissipation
    solver: AbstractNetworkMultipliers

    def __call__(self, t: Array, W: PyTree, W_dot: PyTree, stimulus: Stimulus) -> Swept:
        """Ẅ and δ at weights W and velocities Ẇ."""
        mass_x, mass_W = cast(self.solver.mass_x, t), cast(self.solver.mass_W, t)
        x, x_dot, z, linearised = self._forward(t, W, W_dot, stimulus)
        load = tree_sub(tree_scale(-1, self._loss_gradient(t, x, stimulus)), tree_scale(mass_x, z))
        drag = tree_scale(-self.dissipation.rate(t), W_dot)
        if self.terms:
            f_x, f_W = self._term_forces(t, x, W, stimulus)
            wave = linearised.forward(linearised.weight_jvp(f_W))
            load = tree_add(tree_add(load, f_x), tree_scale(mass_x / mass_W, wave))
            drag = tree_add(drag, tree_scale(1 / mass_W, f_W))
        delta = self.solver.multipliers(linearised, load)
        W_ddot = tree_sub(drag, tree_scale(1 / mass_W, linearised.weight_vjp(delta)))
        return Swept(x, x_dot, W_ddot, delta, linearised)

    def neuron_accelerations(self, t: Array, W: PyTree, W_dot: PyTree, swept: Swept, stimulus: Stimulus) -> PyTree:
        """ẍ = ẍ|_{Ẅ=0} − G_ξ⁻¹ G_M Ẅ."""
        u, u_dot, u_ddot = _input_jet(t, stimulus)
        free = self.network.taylor_sweep(W, W_dot, u, u_dot, u_ddot).x_ddot
        return tree_sub(free, swept.linearised.forward(swept.linearised.weight_jvp(swept.W_ddot)))

    def power(self, t: Array, W: PyTree, W_dot: PyTree, swept: Swept, stimulus: Stimulus) -> Float[Array, ""]:
        """dE/dt = −r (m_x |ẋ|² + m_W |Ẇ|²) + δ·G_t − ℓ_t (THEORY §3)."""
        mass_x, mass_W = cast(self.solver.mass_x, t), cast(self.solver.mass_W, t)
        kinetic = mass_x * tree_dot(swept.x_dot, swept.x_dot) + mass_W * tree_dot(W_dot, W_dot)

        def constraint(s: Array) -> PyTree:
            return self.network.constraint(swept.x, W, stimulus.input(s))

        def density(s: Array) -> Array:
            value = -self.potential(self.network.output(swept.x), stimulus.target(s))
            return value + self._terms_density(s, swept.x, W, stimulus)

        work = tree_dot(swept.delta, _time_derivative(constraint, t))
        return work - self.dissipation.rate(t) * kinetic - _time_derivative(density, t)

    def _forward(
        self, t: Array, W: PyTree, W_dot: PyTree, stimulus: Stimulus
    ) -> tuple[PyTree, PyTree, PyTree, AbstractLinearisation]:
        rate = self.dissipation.rate(t)
        zero, one = jnp.zeros_like(rate), jnp.ones_like(rate)
        mixed = jnp.stack([jnp.stack(row) for row in ((one, zero, zero), (zero, one, rate), (zero, zero, one))])
        # As a product, which XLA computes once: it would evaluate the signal anew for every weight of the first layer.
        jet = jnp.matmul(jnp.stack(_input_jet(t, stimulus), axis=-1), mixed, precision="highest")
        return self.network.taylor_sweep(W, W_dot, jet[..., 0], jet[..., 1], jet[..., 2])

    def _loss_gradient(self, t: Array, x: PyTree, stimulus: Stimulus) -> PyTree:
        return potential_gradient(self.network, self.potential, x, stimulus.target(t))

    def _term_forces(self, t: Array, x: PyTree, W: PyTree, stimulus: Stimulus) -> tuple[PyTree, PyTree]:
        return jax.grad(lambda q: self._terms_density(t, q[0], q[1], stimulus))((x, W))

    def _terms_density(self, t: Array, x: PyTree, W: PyTree, stimulus: Stimulus) -> Array:
        """Σ F, those outside the weight divided by it."""
        outside = jnp.exp(-self.dissipation.log_weight(t))
        values = (term(t, ((x, W),), stimulus) * (1 if term.weighted else outside) for term in self.terms)
        return sum(values, start=jnp.zeros_like(t))


def _input_jet(t: Array, stimulus: Stimulus) -> tuple[Array, Array, Array]:
    """u, u̇, ü."""

    def rate(s: Array) -> tuple[Array, Array]:
        return jax.jvp(stimulus.input, (s,), (jnp.ones_like(s),))

    (u, u_dot), (_, u_ddot) = jax.jvp(rate, (t,), (jnp.ones_like(t),))
    return u, u_dot, u_ddot


def _time_derivative(fn: Any, t: Array) -> Any:
    return jax.jvp(fn, (t,), (jnp.ones_like(t),))[1]
