"""Waves through a batch of examples that share their weights, for each kind of network what suits it.

`linearised_batch` and `taylor_sweep_batch` take any network: another kind may be registered, and need not be.
"""

import functools
from typing import Any

import jax
from jaxtyping import Array, PyTree

from .chain import Chain
from .chain_linearisation import LayerFunction, chain_taylor_sweep, linearised_chain
from .layered import Layered
from .linearisation import AbstractLinearisation, TaylorSweep
from .network import AbstractNetwork
from .shared_layered import shared_layered_linearisation, shared_layered_sweep

Jet = tuple[Array, Array, Array]


class SharedLinearisation(AbstractLinearisation):
    """One linearisation an example: waves cross each, G_M sums over all.

    `each` has a batch axis before all its arrays, and W is the weights they share.
    """

    each: AbstractLinearisation
    W: PyTree

    def forward(self, r: PyTree) -> PyTree:
        return jax.vmap(lambda one, r_b: one.forward(r_b))(self.each, r)

    def backward(self, r: PyTree) -> PyTree:
        return jax.vmap(lambda one, r_b: one.backward(r_b))(self.each, r)

    def gram(self, delta: PyTree) -> PyTree:
        return self.weight_jvp(self.weight_vjp(delta))

    def weight_jvp(self, dW: PyTree) -> PyTree:
        return jax.vmap(lambda one: one.weight_jvp(dW))(self.each)

    def weight_vjp(self, delta: PyTree) -> PyTree:
        # The transpose of the sum's parts, not their sum: no product of single examples is ever held.
        return jax.linear_transpose(self.weight_jvp, self.W)(delta)[0]


@functools.singledispatch
def linearised_batch(network: AbstractNetwork, x: PyTree, W: PyTree) -> AbstractLinearisation:
    """G_ξ and G_M of a batch of examples x [B, …] with one W."""
    return SharedLinearisation(jax.vmap(network.linearised, (0, None))(x, W), W)


@functools.singledispatch
def taylor_sweep_batch(network: AbstractNetwork, W: PyTree, W_dot: PyTree, u_jet: Jet) -> TaylorSweep:
    """`taylor_sweep` of a batch of inputs [B, …] with one W."""

    def one(u: Array, u_dot: Array, u_ddot: Array) -> TaylorSweep:
        return network.taylor_sweep(W, W_dot, u, u_dot, u_ddot)

    sweep = jax.vmap(one)(*u_jet)
    return sweep._replace(linearised=SharedLinearisation(sweep.linearised, W))


@linearised_batch.register
def _(network: Layered, x: PyTree, W: PyTree) -> AbstractLinearisation:
    return shared_layered_linearisation(network, x, W)


@taylor_sweep_batch.register
def _(network: Layered, W: PyTree, W_dot: PyTree, u_jet: Any) -> TaylorSweep:
    return shared_layered_sweep(network, W, W_dot, u_jet)


@linearised_batch.register
def _(network: Chain, x: PyTree, W: PyTree) -> AbstractLinearisation:
    return linearised_chain(_batched(network), network.biases, x, W)


@taylor_sweep_batch.register
def _(network: Chain, W: PyTree, W_dot: PyTree, u_jet: Any) -> TaylorSweep:
    return chain_taylor_sweep(_batched(network), network.biases, W, W_dot, u_jet)


def _batched(network: Chain) -> list[LayerFunction]:
    """The layers as functions of a batch."""
    return [jax.vmap(layer, (None, 0)) for layer in network.layers]
