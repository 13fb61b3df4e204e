"""Checks of what a network is given: inputs, weights, neurons, dtypes."""

import contextlib
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import ArrayLike, PyTree

from lagrangian_learning._arrays import all_finite
from lagrangian_learning._checks import require, shown


def check_input(u: ArrayLike, shape: tuple[int, ...]) -> None:
    """ValueError unless `u` is a float array of the shape."""
    if jnp.shape(u) != shape:
        raise ValueError(f"the input has shape {jnp.shape(u)}, the network expects {shape}: one number a neuron")
    dtype = jnp.result_type(u)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"the input has dtype {dtype}: make it floating, for instance by jnp.asarray(u, float)")


def check_leaves(what: str, got: PyTree, shapes: PyTree, remedy: str) -> PyTree:
    """`got` as finite floating JAX arrays of one dtype in the structure and `shapes` (a pytree of ShapeDtypeStruct)."""
    expected_shapes = [leaf.shape for leaf in jax.tree.leaves(shapes)]
    got_shapes = [np.shape(leaf) for leaf in jax.tree.leaves(got)]
    if jax.tree.structure(got) != jax.tree.structure(shapes) or got_shapes != expected_shapes:
        expected, given = (_brief(jax.tree.map(np.shape, tree)) for tree in (shapes, got))
        raise ValueError(f"{what}: expected shapes {expected}, got {given}; {remedy}")
    dtypes = {jnp.result_type(leaf).name for leaf in jax.tree.leaves(got)}
    if len(dtypes) != 1 or not all(jnp.issubdtype(dtype, jnp.floating) for dtype in dtypes):
        raise ValueError(
            f"{what}: expected one floating dtype, got {', '.join(sorted(dtypes))}; cast all leaves to one"
        )
    with np.errstate(over="ignore"):  # what becomes infinite is refused below
        arrays = jax.tree.map(lambda leaf: leaf if isinstance(leaf, jax.Array) else jnp.asarray(leaf), got)
    return require(arrays, all_finite(arrays), f"{what}: NaN or infinity; give finite values")


def _brief(shapes: PyTree, longest: int = 80) -> str:
    text = str(shapes)
    return text if len(text) <= longest else f"{text[: longest - 2]} …"


def _as_dtype(dtype: Any) -> np.dtype:
    with contextlib.suppress(TypeError), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # NumPy's, of texts that were dtypes once
        if not isinstance(dtype, jax.Array | np.ndarray | np.generic):
            return jnp.dtype(dtype)
    raise ValueError(f"dtype must be a dtype such as jnp.float32, got {shown(dtype)}.")


def float_dtype(dtype: DTypeLike | None) -> np.dtype:
    """The dtype asked for, JAX's default float for None; ValueError for one that is not floating or not enabled."""
    wanted = jnp.result_type(float) if dtype is None else _as_dtype(dtype)
    if not jnp.issubdtype(wanted, jnp.floating):
        raise ValueError(f"weights need a floating dtype, got {wanted}: use float32 or float64")
    if jax.dtypes.canonicalize_dtype(wanted) != wanted:
        raise ValueError(f"{wanted} weights need x64: call jax.config.update('jax_enable_x64', True) at the start")
    return wanted


def probe_dtypes() -> tuple[np.dtype, ...]:
    """The dtypes in which a user's function is tried: JAX's default first, then the other where the program has it."""
    default = jnp.result_type(float)
    return (default, np.dtype("float32")) if default != np.dtype("float32") else (default,)
