"""For which laws an echo is a gradient: actions of first order, their friction by one weight. Others are refused."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import max_abs, tree_zeros
from lagrangian_learning._checks import require
from lagrangian_learning.mechanics.constraint import Holonomic, Vakonomic
from lagrangian_learning.mechanics.dependence import Traced
from lagrangian_learning.mechanics.equations import AbstractEquations
from lagrangian_learning.mechanics.law import AbstractLaw
from lagrangian_learning.mechanics.state import State
from lagrangian_learning.steppers.discrete_lagrangian import Instant
from lagrangian_learning.steppers.rattle import is_separable


def equations_of(law: AbstractLaw) -> AbstractEquations:
    """The Euler–Lagrange equations of a law; ValueError for a law of another kind, order or constraint."""
    equations: Any = law.mechanical_part
    if not isinstance(equations, AbstractEquations):
        kind = law.description.get("equation", type(law).__name__)
        raise ValueError(
            "ll.echo_gradient takes first-order Euler–Lagrange equations of coordinates and velocities: an "
            f'll.EulerLagrange, or of a network action.law("full"), and the law here is another ({kind}).'
        )
    if equations.lagrangian.order != 1:
        raise ValueError("ll.echo_gradient takes first-order actions, and this one is of second order: use jax.grad.")
    if isinstance(equations.constraint, Vakonomic):
        raise ValueError(
            "ll.echo_gradient takes no vakonomic constraint (finite speed among them): its multipliers run back in "
            "time with another sign than the motion. Use jax.grad of ll.simulate."
        )
    if not isinstance(equations.constraint, Holonomic | None):
        raise ValueError(
            "ll.echo_gradient takes no d'Alembert constraint: its motion makes no action stationary. Use jax.grad of "
            "ll.simulate."
        )
    return equations


def check_action(equations: AbstractEquations, t: Array, state: State, args: PyTree) -> State:
    """The state, if the equations at it show kinetic energy ½ v·M v with M constant, and forces of a potential."""
    at = (t, state.q, state.v, args)
    forces = Traced(lambda t, q, v, args: equations.generalised_force(t, State(q, v), args), *at).arguments
    if 2 in forces:
        raise ValueError(
            "ll.echo_gradient takes no forces that depend on velocity: friction must come from one weight of the "
            "action, as ll.ExponentialDissipation(theta) makes it. Use jax.grad of ll.simulate."
        )
    if 1 in forces:
        raise ValueError(
            "ll.echo_gradient takes forces of time alone, Q(t, args): write forces that depend on q as a potential in "
            "the Lagrangian density; those that have none make no action stationary."
        )
    momentum = Traced(lambda t, q, v, args: Instant(equations, t, q, args).momentum(v), *at).arguments
    if momentum & {0, 1} or not is_separable(equations, t, state, args):
        raise ValueError(
            "ll.echo_gradient takes separable Lagrangians ½ v·M v − V(t, q), M constant: here masses vary, or terms "
            "of the velocities depend on t or q (a magnetic field). Use jax.grad of ll.simulate."
        )
    return _checked_masses(equations, t, state, args)


def _checked_masses(equations: AbstractEquations, t: Array, state: State, args: PyTree) -> State:
    momentum = Instant(equations, t, state.q, args).momentum
    state = require(state, max_abs(momentum(tree_zeros(state.v))) == 0, _LINEAR)
    leaves = jax.tree.leaves(momentum(jax.tree.map(_probe, state.v)))
    return require(state, jnp.stack([jnp.all(leaf != 0) for leaf in leaves]), _MASSLESS)


def _probe(leaf: Array) -> Array:
    """No zeros, and no two entries alike, so that the rows of a mass matrix do not cancel on it."""
    return (1 + jnp.cos(jnp.arange(leaf.size, dtype=leaf.dtype)) ** 2).reshape(leaf.shape)


_LINEAR = (
    "ll.echo_gradient takes no term that is linear in the velocities: it adds to momenta what friction does not damp. "
    "Leave it out of the density."
)
_MASSLESS = (
    "ll.echo_gradient needs a mass for each coordinate, and one is zero (mass_x = 0?): what has no mass has no "
    "momentum to nudge. Give it a small one, or use jax.grad of the law in reduced coordinates."
)
