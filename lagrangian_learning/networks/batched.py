"""One network on many inputs at once, its weights shared."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, PyTree

from lagrangian_learning._checks import instance, positive_int

from ._checks import check_input, check_leaves
from .linearisation import AbstractLinearisation, TaylorSweep
from .network import AbstractNetwork


class BatchedLinearisation(AbstractLinearisation):
    """One linearisation an example: G_ξ is block diagonal by example, and G_M stacks the examples over one W.

    `each` has a batch axis before all its arrays; W are the weights that the examples share.
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
        # The transpose of the batched product; a vmap of `weight_vjp` would hold one gradient an example, and then sum.
        return jax.linear_transpose(self.weight_jvp, self.W)(delta)[0]


class Batched(AbstractNetwork):
    """G(x_b, W, u_b) = 0 for b = 1 … B: (4) for every example of a batch, with one W.

    Many signals act on one network. x is that of the network with a batch axis [B, …] before every array, W is the
    network's own; u and the outputs are [B, …]. Every example has neurons, constraints and multipliers of its own, and
    m_x is the mass of each neuron of each example. G_ξ is block diagonal by example; G_M G_Mᵀ couples the examples,
    since all of them act on one W. `forward` takes batches of that size only: for other inputs use `network.network`.
    With `SquaredError` and `CrossEntropy` V is the sum over examples; `ll.BatchMean(potential)` is their mean.

    Arguments:
        network: a feedforward network.
        batch: B, the number of signals.

    Raises ValueError for a network with cycles, for anything but a network, and for a B that is not positive.
    """

    network: AbstractNetwork
    batch: int = eqx.field(static=True)

    feedforward = True
    cycles = ()
    shares_weights = True
    takes_batches = False

    # Written out: type checkers would count the abstract variables among a generated one's arguments.
    def __init__(self, network: AbstractNetwork, batch: int) -> None:
        self.network = network
        self.batch = positive_int(batch, "batch")

    def __check_init__(self) -> None:
        instance(self.network, "network", AbstractNetwork, "a network, as in ll.Batched(ll.Layered((2, 8, 1)), 64)")
        if not self.network.feedforward:
            raise ValueError(
                "ll.Batched requires a feedforward network, and this one has cycles: remove the cycles, or use "
                "jax.vmap over runs with weights of their own."
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.batch, *self.network.input_shape)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (self.batch, *self.network.output_shape)

    @property
    def num_inputs(self) -> int:
        return self.batch * self.network.num_inputs

    @property
    def num_outputs(self) -> int:
        return self.batch * self.network.num_outputs

    @property
    def num_neurons(self) -> int:
        return self.batch * self.network.num_neurons

    @property
    def num_weights(self) -> int:
        return self.network.num_weights

    @property
    def smoothness(self) -> int | float:
        return self.network.smoothness

    def init(self, key: PRNGKeyArray, dtype: DTypeLike | None = None) -> PyTree:
        return self.network.init(key, dtype)

    def forward(self, W: PyTree, u: ArrayLike) -> PyTree:
        self.check_input(u)
        return jax.vmap(self.network.forward, (None, 0))(W, jnp.asarray(u))

    def displaced(self, W: PyTree, u: ArrayLike, r: PyTree) -> PyTree:
        self.check_input(u)
        return jax.vmap(self.network.displaced, (None, 0, 0))(W, jnp.asarray(u), r)

    def output(self, x: PyTree) -> Float[Array, "batch ..."]:
        return jax.vmap(self.network.output)(x)

    def constraint(self, x: PyTree, W: PyTree, u: ArrayLike) -> PyTree:
        self.check_input(u)
        return jax.vmap(self.network.constraint, (0, None, 0))(x, W, jnp.asarray(u))

    def linearised(self, x: PyTree, W: PyTree) -> AbstractLinearisation:
        if self.network.takes_batches:
            return self.network.linearised(x, W)
        return BatchedLinearisation(jax.vmap(self.network.linearised, (0, None))(x, W), W)

    def taylor_sweep(self, W: PyTree, W_dot: PyTree, u: Array, u_dot: Array, u_ddot: Array) -> TaylorSweep:
        self.check_input(u)
        if self.network.takes_batches:
            return self.network.taylor_sweep(W, W_dot, u, u_dot, u_ddot)
        sweep = jax.vmap(self.network.taylor_sweep, (None, None, 0, 0, 0))(W, W_dot, u, u_dot, u_ddot)
        return sweep._replace(linearised=BatchedLinearisation(sweep.linearised, W))

    def weight_gram(self, x: PyTree, W: PyTree) -> PyTree:
        raise ValueError(
            "all examples of a batch act on one W, so that G_M G_Mᵀ is not diagonal: "
            "network.linearised(x, W).gram(delta) multiplies by it."
        )

    def check_weights(self, W: PyTree) -> PyTree:
        return self.network.check_weights(W)

    def check_neurons(self, x: PyTree) -> PyTree:
        dtype = jnp.float32
        W = jax.eval_shape(lambda: self.init(jax.random.key(0), dtype))
        shapes = jax.eval_shape(self.forward, W, jax.ShapeDtypeStruct(self.input_shape, dtype))
        remedy = f"x is that of the network with a batch axis of {self.batch} first, as forward(W, u) returns it"
        return check_leaves("neurons of Batched", x, shapes, remedy)

    def check_input(self, u: ArrayLike) -> None:
        check_input(u, self.input_shape)
