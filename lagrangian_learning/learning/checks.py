"""What every learning law asks of its weights, its stimulus and its times."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lagrangian_learning.mechanics._arrays import tree_zeros
from lagrangian_learning.networks import AbstractNetwork
from lagrangian_learning.signals import Stimulus

from .potential import AbstractPotential


def check_stimulus(
    network: AbstractNetwork, potential: AbstractPotential, smoothness: int, ts: Array, stimulus: Any
) -> None:
    """ValueError when a stimulus does not fit the network, the potential, the smoothness needed, or the times ts."""
    if not isinstance(stimulus, Stimulus):
        raise ValueError(
            f"a learning law is driven by an ll.Stimulus(input=…, target=…), got {type(stimulus).__name__}."
        )
    times = jnp.ravel(ts)
    stimulus.check(network.num_inputs, smoothness, times[0], times[-1])
    outputs = jax.ShapeDtypeStruct((network.num_outputs,), times.dtype)
    jax.eval_shape(lambda x_out, t: potential(x_out, stimulus.target(t)), outputs, times[0])


def checked_velocities(network: AbstractNetwork, W: PyTree, W_dot: PyTree) -> PyTree:
    """Ẇ, which must look like the weights, in their dtype; zero when None."""
    if W_dot is None:
        return tree_zeros(W)
    return jax.tree.map(lambda rate, weight: rate.astype(weight.dtype), network.check_weights(W_dot), W)
