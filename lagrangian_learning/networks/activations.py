"""Activations sigma, by name or as a callable, and how often each can be differentiated."""

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lagrangian_learning._checks import about, shown

from ._checks import probe_dtypes

Activation = str | Callable[[Array], Array]
"""σ of a network: a name of `ACTIVATIONS`, or an elementwise callable that JAX can differentiate."""


def linear(a: Float[Array, "..."]) -> Float[Array, "..."]:
    """sigma(a) = a."""
    return a


def gelu(a: Float[Array, "..."]) -> Float[Array, "..."]:
    """sigma(a) = a Phi(a) with the normal distribution function Phi itself, not its tanh approximation."""
    return jax.nn.gelu(a, approximate=False)


# name: (sigma, k) where sigma is k times continuously differentiable; k = 0 is continuous with kinks.
_NAMED: dict[str, tuple[Callable, int | float]] = {
    "tanh": (jnp.tanh, math.inf),
    "logistic": (jax.nn.sigmoid, math.inf),
    "sigmoid": (jax.nn.sigmoid, math.inf),
    "softplus": (jax.nn.softplus, math.inf),
    "linear": (linear, math.inf),
    "identity": (linear, math.inf),
    "sin": (jnp.sin, math.inf),
    "arctan": (jnp.arctan, math.inf),
    "gelu": (gelu, math.inf),
    "silu": (jax.nn.silu, math.inf),
    "swish": (jax.nn.silu, math.inf),
    "elu": (jax.nn.elu, 1),
    "softsign": (jax.nn.soft_sign, 1),
    "relu": (jax.nn.relu, 0),
    "leaky_relu": (jax.nn.leaky_relu, 0),
}
# Known callables that are less than smooth, besides the named ones.
_KINKED: tuple[Callable, ...] = (jnp.abs, jax.nn.relu6, jax.nn.hard_tanh, jax.nn.hard_sigmoid, jax.nn.selu)

ACTIVATIONS: tuple[str, ...] = tuple(_NAMED)
"""The names of activations that every network knows."""


def resolve(activation: Activation) -> Callable[[Array], Array]:
    """The function sigma that a name or a callable stands for; raises ValueError for an unknown name."""
    if callable(activation):
        return activation
    if not isinstance(activation, str) or activation not in _NAMED:
        raise ValueError(f"unknown activation {shown(activation)}: use a callable or one of {', '.join(ACTIVATIONS)}")
    return _NAMED[activation][0]


def smoothness(activation: Activation) -> int | float:
    """How many continuous derivatives sigma has: `math.inf` for tanh, 1 for elu, 0 for relu, which has a kink.

    A callable is taken to be smooth (`math.inf`) unless it is a JAX function known to have a kink. The law of motion
    (10) requires C2 (the paper's assumption below (4)); each law decides what it does with less.
    """
    sigma = resolve(activation)
    if sigma in _KINKED:
        return 0
    return next((order for known, order in _NAMED.values() if known is sigma), math.inf)


def slope(activation: Activation, a: Float[Array, "..."]) -> Float[Array, "..."]:
    """sigma'(a), elementwise, by one forward-mode derivative.

    Arguments:
        activation: a name of `ACTIVATIONS` or an elementwise callable.
        a: activations, of any shape.

    Raises ValueError for an unknown name.
    """
    return jax.jvp(resolve(activation), (a,), (jnp.ones_like(a),))[1]


def check_activations(activation: Activation, output_activation: Activation | None) -> None:
    """`check_activation` of both, None being the same as the first; errors begin with the argument's name."""
    with about("activation"):
        check_activation(activation)
    if output_activation is not None:
        with about("output_activation"):
            check_activation(output_activation)


def check_activation(activation: Activation) -> None:
    """Require an elementwise activation, at construction: the structure of G_xi rests on one a_j a neuron.

    It is tried in JAX's default dtype and, where its constants ask for it, in float32. Raises ValueError for an unknown
    name, and for a callable that cannot be hashed (it is a static field), that changes shape or dtype, or that mixes
    entries as softmax does.
    """
    sigma = resolve(activation)
    if any(sigma is known for known, _ in _NAMED.values()):
        return
    _check_hashable(sigma)
    default, *others = probe_dtypes()
    wrong = _wrong(sigma, default)
    dtype = default if wrong is None else next((other for other in others if _wrong(sigma, other) is None), None)
    if dtype is None:
        raise ValueError(wrong)
    _check_unmixed(sigma, dtype)


def check_activations_keep(activations: Iterable[Activation], dtype: Any) -> None:
    """ValueError for an activation that does not keep the dtype of the weights, having constants of another."""
    for activation in activations:
        wrong = None if isinstance(activation, str) else _wrong(activation, jnp.dtype(dtype))
        if wrong is not None:
            raise ValueError(f"{wrong}, or take weights of the dtype of its constants")


def _check_hashable(activation: Callable) -> None:
    try:
        hash(activation)
    except TypeError as error:
        raise ValueError(f"activation {activation!r} cannot be hashed: pass a plain function of one array") from error


@functools.lru_cache(maxsize=256)
def _wrong(activation: Callable, dtype: Any) -> str | None:
    """Why an activation is not an elementwise function of arrays of this dtype; None if it is."""
    reasons = (_wrong_shape(activation, jax.ShapeDtypeStruct(shape, dtype)) for shape in ((), (3,)))
    return next((reason for reason in reasons if reason is not None), None)


def _wrong_shape(activation: Callable, given: jax.ShapeDtypeStruct) -> str | None:
    try:
        got = jax.eval_shape(activation, given)
    except Exception as error:  # noqa: BLE001 - whatever a user's function raises is the reason
        return (
            f"activation {activation!r} fails on a {given.dtype} array of shape {given.shape} "
            f"({type(error).__name__}): pass an elementwise function written with jax.numpy"
        )
    if isinstance(got, jax.ShapeDtypeStruct) and (got.shape, got.dtype) == (given.shape, given.dtype):
        return None
    got = f"{got.dtype}{list(got.shape)}" if isinstance(got, jax.ShapeDtypeStruct) else type(got).__name__
    return (
        f"activation {activation!r} is not elementwise: it turns {given.dtype}{list(given.shape)} "
        f"into {got}; pass a function that keeps shape and dtype"
    )


def _check_unmixed(activation: Callable, dtype: Any) -> None:
    with jax.ensure_compile_time_eval():
        probe = jnp.asarray(np.array([-0.7, 0.4, 1.3], dtype))
        jacobian = np.asarray(jax.jacfwd(activation)(probe))
    if np.any(jacobian[~np.eye(3, dtype=bool)] != 0):
        raise ValueError(
            f"activation {activation!r} is not elementwise: an entry of its result depends on other entries; "
            "apply it in the potential instead, or pass an elementwise function"
        )
