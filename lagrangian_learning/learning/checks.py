"""Checks of every learning law on its weights, its stimulus and its times."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import is_concrete, tree_zeros
from lagrangian_learning._calls import shapes_of
from lagrangian_learning._checks import about, constants_in_range, reals
from lagrangian_learning.mechanics import State
from lagrangian_learning.networks import AbstractNetwork
from lagrangian_learning.signals import AbstractSignal, Stimulus

from .potential import AbstractPotential


def check_stimulus(
    network: AbstractNetwork, potential: AbstractPotential, smoothness: int, ts: Array, stimulus: Any
) -> None:
    """ValueError when a stimulus does not fit the network, the potential, the smoothness needed, or the times ts."""
    if not isinstance(stimulus, Stimulus):
        raise ValueError(
            "a learning law is driven by an ll.Stimulus(input=…, target=…), given as args, for instance in "
            f"law.initial_state(t0, W, args=stimulus): args is {type(stimulus).__name__}."
        )
    xp = np if is_concrete(ts) else jnp
    times = xp.ravel(xp.asarray(ts))
    last = times[-1] if times.size > 1 else None
    stimulus.check(network.input_shape, smoothness, times[0], last)
    outputs, first = (jax.ShapeDtypeStruct(shape, times.dtype) for shape in (network.output_shape, ()))
    value = shapes_of(_of_potential, potential, outputs, stimulus.target, first)
    if getattr(value, "shape", None) != ():
        raise ValueError(
            f"a potential is one number, V(x_out, y), and {type(potential).__name__} gives {_in_words(value)}: "
            "sum over its entries."
        )


def _in_words(value: Any) -> str:
    return f"an array of shape {value.shape}" if hasattr(value, "shape") else f"a {type(value).__name__}"


def _of_potential(potential: AbstractPotential, outputs: Array, target: AbstractSignal, t: Array) -> Array:
    return potential(outputs, target(t))


def check_constants(state: State, *holders: Any) -> State:
    """The state, if masses, speeds and frictions of a law or an action, and ϑ of its dissipation, are in range."""
    for holder in (*holders, *(getattr(holder, "dissipation", None) for holder in holders)):
        above, least = ("mass_W", "gamma", "speed", "stiffness", "gamma_x"), ("mass_x", "theta", "thetas")
        state = constants_in_range(state, holder, above_zero=above, from_zero=least)
    return state


def checked_velocities(network: AbstractNetwork, W: PyTree, W_dot: PyTree, name: str = "v") -> PyTree:
    """Ẇ, which must look like the weights, in their dtype; zero when None."""
    if isinstance(W_dot, Stimulus):
        raise ValueError("v must be velocities like the weights: give the stimulus by name, args=stimulus.")
    if W_dot is None:
        return tree_zeros(W)
    with about(name):
        W_dot = network.check_weights(W_dot)
    return jax.tree.map(lambda rate, weight: rate.astype(weight.dtype), W_dot, W)


def check_state(state: Any, levels: int, *, whole: bool = False, multipliers: bool = False) -> None:
    """ValueError for a state that is not of this kind.

    Arguments:
        levels: how many derivatives of the coordinates it holds: 0, 1 (v) or 3 (v, a, j).
        whole: whether its coordinates are q = (x, W), not W alone.
        multipliers: whether it holds δ.
    """
    if isinstance(state, State):
        pair = isinstance(state.q, tuple) and len(state.q) == 2
        known = sum(level is not None for level in (state.v, state.a, state.j))
        if known == levels and (pair or not whole) and (state.multipliers is not None) == multipliers:
            return
    parts = ["q = (x, W)" if whole else "q = W", *("v", "a", "j")[:levels], *(["multipliers"] if multipliers else [])]
    raise ValueError(
        f"this is not a state of this law, which holds {', '.join(parts)}: make it by its own "
        "law.initial_state(t0, W, args=stimulus)."
    )


def like_neurons(network: AbstractNetwork, W: PyTree, value: PyTree, name: str) -> PyTree:
    """A pytree like the neurons x of a network, in the dtype of its weights; ValueError otherwise."""
    dtype = jax.tree.leaves(W)[0].dtype
    like = jax.eval_shape(network.forward, W, jax.ShapeDtypeStruct(network.input_shape, dtype))
    if jax.tree.structure(value) != jax.tree.structure(like) or jax.tree.map(np.shape, value) != jax.tree.map(
        np.shape, like
    ):
        raise ValueError(
            f"{name} has shapes {jax.tree.map(np.shape, value)}, and the neurons of this network "
            f"{jax.tree.map(np.shape, like)}: give one entry a neuron."
        )
    return jax.tree.map(lambda leaf, target: leaf.astype(target.dtype), reals(value, name), like)


def without_velocities(v: Any) -> None:
    """ValueError for velocities given to a law whose state has none."""
    if isinstance(v, Stimulus):
        raise ValueError(
            "weights without mass have no velocities of their own: give the stimulus by name, args=stimulus."
        )
    if v is not None:
        raise ValueError("weights without mass have no velocities of their own: leave v out.")
