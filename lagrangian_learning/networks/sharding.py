"""One large network on many devices: its weights cut along the outputs of each layer."""

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from .network import AbstractNetwork


def shard_weights(network: AbstractNetwork, W: PyTree, mesh: Mesh) -> PyTree:
    """W_l = (W_l¹; …; W_l^D): device d holds its rows of every matrix, and computes its part of W_l x and W_lᵀ δ.

    `law.initial_state(t0, W, …)` and `ll.simulate` then keep weights, velocities and records where W lies, and in the
    steps only neurons and multipliers go between devices. Needs no other call; JAX places the communication.

    Arguments:
        network: whose weights they are.
        W: its weights, as `network.init(key)` makes them.
        mesh: a `jax.sharding.Mesh` of any shape; all its devices share each array.

    Each array is cut along its first axis, the outputs of its layer; one whose outputs the number of devices does not
    divide (the last layer, often) is on every device. Raises ValueError when nothing can be cut.
    """
    if not isinstance(network, AbstractNetwork):
        raise ValueError(f"network must be a network such as ll.Layered, got {type(network).__name__}.")
    if not isinstance(mesh, Mesh):
        raise ValueError(f"mesh must be a jax.sharding.Mesh, as jax.make_mesh makes it, got {type(mesh).__name__}.")
    W = network.check_weights(W)
    # Explicit axes, the default of jax.make_mesh, would make Diffrax's loops fail.
    automatic = Mesh(np.asarray(mesh.devices), mesh.axis_names)
    if not any(_divides(mesh, leaf) for leaf in jax.tree.leaves(W)):
        raise ValueError(
            f"no layer of this network has outputs that {mesh.size} devices divide: use fewer devices, or such widths."
        )
    return jax.tree.map(lambda leaf: jax.device_put(leaf, _sharding(leaf, automatic)), W)


def _divides(mesh: Mesh, leaf: Array) -> bool:
    return leaf.ndim > 0 and leaf.shape[0] % mesh.size == 0


def _sharding(leaf: Array, mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec(mesh.axis_names) if _divides(mesh, leaf) else PartitionSpec())
