"""How strongly the neurons' mass resists the input (docs/theory.md §6)."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import as_time, time_derivative, tree_add, tree_dot, tree_scale, tree_zeros
from lagrangian_learning.learning.laws.action_law import AbstractActionLaw
from lagrangian_learning.mechanics import State
from lagrangian_learning.signals import Stimulus


def neuron_mass_force(
    law: AbstractActionLaw, t: Any, state: State, stimulus: Stimulus
) -> tuple[PyTree[Float[Array, "..."]], PyTree[Float[Array, "..."]]]:
    """m_x G_ξ⁻¹(γ₂ + r G_t) and V_ξ: what drives the multipliers beside the loss, and the loss ((10) solved by sweeps).

    In (I + m_x G_ξ⁻¹ Δ G_ξ⁻ᵀ) μ = −V_ξ + m_x G_ξ⁻¹ (γ₂ + r G_t), δ = G_ξ⁻ᵀ μ, the second term drives the weights
    against every change of x, whatever the target says: γ₂ = D²G at zero acceleration, r the rate of the time weight.

    Arguments:
        law: a learning law of a feedforward network, in full or reduced coordinates.
        t, state, stimulus: an instant of its motion.

    Returns two pytrees like x. Raises ValueError for networks with cycles and second-order actions.
    """
    network, equations = law.network, law.equations
    if not network.feedforward:
        raise ValueError("the force of the neurons' mass is a forward sweep, and this network has cycles.")
    if equations.constraint is None:
        raise ValueError(
            "soft constraints have no multipliers that the neurons' mass could drive: leave stiffness out."
        )
    if equations.lagrangian.order != 1:
        raise ValueError("the force of the neurons' mass is defined for first-order actions only.")
    t = as_time(t, state.q)
    full = law.full_state(t, state, stimulus)
    x, W = full.q
    system, _, minus_gamma = equations.system(t, full, stimulus)
    drift = time_derivative(lambda s: network.constraint(x, W, stimulus.input(s)), t)
    rate = equations.lagrangian.dissipation.rate(t)
    swept = network.solve_forward(x, W, tree_add(tree_scale(-1, minus_gamma), tree_scale(rate, drift)))
    force = system.inertia((swept, tree_zeros(W)))[0]
    return force, jax.grad(lambda x: law.potential(network.output(x), stimulus.target(t)))(x)


def neuron_mass_ratio(law: AbstractActionLaw, t: Any, state: State, stimulus: Stimulus) -> Float[Array, ""]:
    """|m_x G_ξ⁻¹(γ₂ + r G_t)| / |V_ξ| at an instant: how loud the neurons' inertia is beside the loss.

    Well below 1 the multipliers are backpropagation's; near 1 the weights follow the input's motion and not the target.
    It grows with m_x and with the square of how fast the input moves: lower mass_x, or slow the input down. Where the
    loss vanishes it is infinite: average `neuron_mass_force` over times instead.

    Arguments:
        law, t, state, stimulus: as for `neuron_mass_force`.

    Raises ValueError as it does.
    """
    force, loss = (jnp.sqrt(tree_dot(part, part)) for part in neuron_mass_force(law, t, state, stimulus))
    return force / loss
