"""The one interface of networks: neurons as holonomic constraints (4)."""

import abc
import operator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, PyTree

from lagrangian_learning._arrays import all_finite
from lagrangian_learning._checks import require

from .linearisation import AbstractLinearisation, TaylorSweep


class AbstractNetwork(eqx.Module):
    """G_j(t, x, W) = x_j - u_j for inputs, x_j - sigma(sum_k w_jk x_k) for all other neurons; (4) of the paper.

    A network is only structure: it has no array leaves, and its weights W are coordinates like its neurons x. The
    pytrees x and W are a network's own choice; constraints and multipliers have the structure of x.

    With a_j = sum_k w_jk x_k, S = diag(sigma'(a)) and orientation G_xi[j, i] = dG_j/dx_i: G_xi = I - S W. Its inverse
    is a forward wave, its inverse transpose a backward wave. Where no weight is shared between neurons, G_M G_M^T is
    diagonal.
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

    @abc.abstractmethod
    def init(self, key: PRNGKeyArray, dtype: Any = None) -> PyTree:
        """LeCun normal weights, variance 1/fan_in, and biases zero; `dtype` None is JAX's default float."""

    @abc.abstractmethod
    def forward(self, W: PyTree, u: ArrayLike) -> PyTree:
        """The x with G(x, W, u) = 0, `u` being of input_shape: all neurons, inputs first."""

    @abc.abstractmethod
    def output(self, x: PyTree) -> Float[Array, "..."]:
        """The output neurons of x, of output_shape."""

    @abc.abstractmethod
    def constraint(self, x: PyTree, W: PyTree, u: ArrayLike) -> PyTree:
        """(4), one constraint a neuron, with the structure of x."""

    @abc.abstractmethod
    def linearised(self, x: PyTree, W: PyTree) -> AbstractLinearisation:
        """G_xi and G_M at (x, W), for several waves and products there."""

    @abc.abstractmethod
    def taylor_sweep(self, W: PyTree, W_dot: PyTree, u: Array, u_dot: Array, u_ddot: Array) -> TaylorSweep:
        """x, x_dot and the x_ddot of zero W_ddot in one forward pass, with G linearised at x; feedforward networks."""

    def solve_forward(self, x: PyTree, W: PyTree, r: PyTree) -> PyTree:
        """G_xi^-1 r at (x, W), for r with the structure of x: a forward wave."""
        return self.linearised(x, W).forward(r)

    def solve_backward(self, x: PyTree, W: PyTree, r: PyTree) -> PyTree:
        """G_xi^-T r at (x, W), for r with the structure of x: a backward wave, the recursion of backprop (16)."""
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


def check_input(u: ArrayLike, shape: tuple[int, ...]) -> None:
    """ValueError unless `u` is a float array of the shape."""
    if jnp.shape(u) != shape:
        raise ValueError(f"the input has shape {jnp.shape(u)}, the network expects {shape}: one number a neuron")
    dtype = jnp.result_type(u)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"the input has dtype {dtype}: make it floating, for instance by jnp.asarray(u, float)")


def check_leaves(what: str, got: PyTree, shapes: PyTree, remedy: str) -> PyTree:
    """`got` as finite floating JAX arrays of one dtype in the structure and `shapes` (a pytree of ShapeDtypeStruct)."""
    expected_shapes = jax.tree.map(lambda leaf: leaf.shape, shapes)
    got_shapes = jax.tree.map(jnp.shape, got)
    if got_shapes != expected_shapes:
        raise ValueError(f"{what}: expected shapes {expected_shapes}, got {got_shapes}; {remedy}")
    dtypes = {jnp.result_type(leaf).name for leaf in jax.tree.leaves(got)}
    if len(dtypes) != 1 or not all(jnp.issubdtype(dtype, jnp.floating) for dtype in dtypes):
        raise ValueError(
            f"{what}: expected one floating dtype, got {', '.join(sorted(dtypes))}; cast all leaves to one"
        )
    arrays = jax.tree.map(jnp.asarray, got)
    return require(arrays, all_finite(arrays), f"{what}: NaN or infinity; give finite values")


def float_dtype(dtype: Any) -> Any:
    """The dtype asked for, JAX's default float for None; ValueError for one that is not floating or not enabled."""
    wanted = jnp.result_type(float) if dtype is None else jnp.dtype(dtype)
    if not jnp.issubdtype(wanted, jnp.floating):
        raise ValueError(f"weights need a floating dtype, got {wanted}: use float32 or float64")
    if jax.dtypes.canonicalize_dtype(wanted) != wanted:
        raise ValueError(f"{wanted} weights need x64: call jax.config.update('jax_enable_x64', True) at the start")
    return wanted


def positive_int(value: Any, what: str) -> int:
    """`value` as a positive Python int; ValueError otherwise, and for booleans."""
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1 or isinstance(value, bool):
        raise ValueError(f"{what} must be a positive integer, got {value!r}")
    return number
