"""The one interface of networks: neurons as holonomic constraints (4)."""

import abc

import equinox as eqx
import jax
from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, PyTree

from .linearisation import AbstractLinearisation, TaylorSweep


class AbstractNetwork(eqx.Module):
    """G_j(t, x, W) = x_j - u_j for inputs, x_j - sigma(sum_k w_jk x_k) for all other neurons; (4) of the paper.

    A network is only structure: it has no array leaves, and its weights W are coordinates like its neurons x. The
    pytrees x and W are a network's own choice; constraints and multipliers have the structure of x.

    With a_j = sum_k w_jk x_k, S = diag(sigma'(a)) and orientation G_xi[j, i] = dG_j/dx_i: G_xi = I - S W. Its inverse
    is a forward sweep, its inverse transpose an adjoint sweep. Where neurons share no weight, G_M G_M^T is diagonal.
    """

    input_shape: eqx.AbstractVar[tuple[int, ...]]  # of u, and of the input neurons in x
    output_shape: eqx.AbstractVar[tuple[int, ...]]
    num_inputs: eqx.AbstractVar[int]
    num_outputs: eqx.AbstractVar[int]
    num_neurons: eqx.AbstractVar[int]  # inputs among them; also the number of constraints
    num_weights: eqx.AbstractVar[int]  # scalars, biases among them
    feedforward: eqx.AbstractVar[bool]
    smoothness: eqx.AbstractVar[
        int | float
    ]  # continuous derivatives that G has in x and W: the least of its activations'
    cycles: eqx.AbstractVar[tuple[tuple[int, ...], ...]]  # sets of neurons that feed back on themselves, upstream first
    shares_weights: eqx.AbstractVar[bool]  # whether several neurons read one weight: G_M G_M^T is then not diagonal
    takes_batches: eqx.AbstractVar[bool]  # whether `linearised` and `taylor_sweep` take a batch axis before x and u

    @abc.abstractmethod
    def init(self, key: PRNGKeyArray, dtype: DTypeLike | None = None) -> PyTree:
        """LeCun normal weights, variance 1/fan_in, and biases zero; `dtype` None is JAX's default float."""

    @abc.abstractmethod
    def forward(self, W: PyTree, u: ArrayLike) -> PyTree:
        """The x with G(x, W, u) = 0, `u` being of input_shape: all neurons, inputs first."""

    @abc.abstractmethod
    def displaced(self, W: PyTree, u: ArrayLike, r: PyTree) -> PyTree:
        """The x with G(x, W, u) = r, r like x: the forward sweep with r_j added to every neuron.

        ValueError for a network with cycles, on which no sweep solves it.
        """

    @abc.abstractmethod
    def output(self, x: PyTree) -> Float[Array, "..."]:
        """The output neurons of x, of output_shape."""

    @abc.abstractmethod
    def constraint(self, x: PyTree, W: PyTree, u: ArrayLike) -> PyTree:
        """(4), one constraint a neuron, with the structure of x."""

    @abc.abstractmethod
    def linearised(self, x: PyTree, W: PyTree) -> AbstractLinearisation:
        """G_xi and G_M at (x, W), for several sweeps and products there."""

    @abc.abstractmethod
    def taylor_sweep(self, W: PyTree, W_dot: PyTree, u: Array, u_dot: Array, u_ddot: Array) -> TaylorSweep:
        """x, x_dot and the x_ddot of zero W_ddot in one forward pass, with G linearised at x; feedforward networks."""

    def solve_forward(self, x: PyTree, W: PyTree, r: PyTree) -> PyTree:
        """G_xi^-1 r at (x, W), for r with the structure of x: a forward sweep."""
        return self.linearised(x, W).forward(r)

    def solve_backward(self, x: PyTree, W: PyTree, r: PyTree) -> PyTree:
        """G_xi^-T r at (x, W), for r with the structure of x: an adjoint sweep, the recursion of backprop (16)."""
        return self.linearised(x, W).backward(r)

    @abc.abstractmethod
    def weight_gram(self, x: PyTree, W: PyTree) -> PyTree:
        """d_j = sigma'(a_j)^2 (sum_k x_k^2 [+ 1 with a bias]), the diagonal of G_M G_M^T; 0 for inputs.

        ValueError for a network whose weights are shared.
        """

    @abc.abstractmethod
    def check_weights(self, W: PyTree) -> PyTree:
        """W as JAX arrays; ValueError for a wrong structure, shape or dtype, and an error for NaN or infinity."""

    @abc.abstractmethod
    def check_neurons(self, x: PyTree) -> PyTree:
        """x as JAX arrays; ValueError for a wrong structure, shape or dtype, and an error for NaN or infinity."""

    @abc.abstractmethod
    def check_input(self, u: ArrayLike) -> None:
        """ValueError unless `u` is a float array of input_shape."""


def taylor_sweep(
    network: AbstractNetwork, W: PyTree, W_dot: PyTree, u: Array, u_dot: Array, u_ddot: Array
) -> TaylorSweep:
    """`AbstractNetwork.taylor_sweep` of any feedforward network, by two nested derivatives of its forward pass."""

    def rate(weights: PyTree, signal: Array, signal_dot: Array) -> tuple[PyTree, PyTree]:
        return jax.jvp(network.forward, (weights, signal), (W_dot, signal_dot))

    (x, x_dot), (_, x_ddot) = jax.jvp(rate, (W, u, u_dot), (W_dot, u_dot, u_ddot))
    return TaylorSweep(x, x_dot, x_ddot, network.linearised(x, W))
