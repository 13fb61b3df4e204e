"""What decides the bits of a batch: the text of its compiled programs, the bytes of its inputs, and where they run."""

import hashlib
import os
import platform
import re
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Jaxpr
from jaxtyping import PyTree

from lagrangian_learning._jaxprs import equations

# XLA is part of jaxlib and of the plugins of other devices; `runtime` below names the latter.
_VERSIONS = ("jax", "jaxlib", "numpy")
_VARIABLES = ("XLA_FLAGS", "LIBTPU_INIT_ARGS")
# What JAX hands to XLA beside the program's text.
_SETTINGS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_disable_most_optimizations",
    "jax_exec_time_optimization_effort",
    "jax_memory_fitting_effort",
    "jax_optimization_level",
)
_TO_THE_HOST = re.compile(r"python\w*_callback|host_transfer")


def fingerprint_of_arrays(tree: PyTree) -> str:
    """SHA-256 of all arrays of a pytree: their places, shapes, dtypes and bytes. What is no array is left out."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if isinstance(leaf, jax.Array | np.ndarray | np.generic):
            _add_array(digest, jax.tree_util.keystr(path), leaf)
    return digest.hexdigest()


def _add_array(digest: Any, place: str, leaf: Any) -> None:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
        leaf = jax.random.key_data(leaf)
    array = np.ascontiguousarray(leaf)
    digest.update(f"{place} {array.dtype.str} {np.shape(leaf)}\n".encode())
    digest.update(array.reshape(-1).view(np.uint8).data)


def fingerprint_of_program(text: str, jaxpr: Callable[[], Jaxpr], calls: str) -> str:
    """SHA-256 of a lowered program's text, which holds every operation and every constant in full.

    Arguments:
        text: the program, lowered.  jaxpr: returns it as it was traced; called where the text calls the host.
        calls: what a user gave it, for the message.

    Raises ValueError where it calls back to Python: of the function that is called the text holds a number alone.
    """
    if _TO_THE_HOST.search(text):
        _check_callbacks(jaxpr(), calls)
    return hashlib.sha256(text.encode()).hexdigest()


def traced(function: Callable, *arguments: Any) -> Jaxpr:
    """The jaxpr of a function of pytrees of arrays and of what is static."""
    return eqx.filter_make_jaxpr(function)(*arguments)[0].jaxpr


def _check_callbacks(jaxpr: Jaxpr, calls: str) -> None:
    """Equinox's callbacks, which raise errors, and jax.debug.print change no result: they are let through."""
    found = [_called(equation) for equation in equations(jaxpr) if _is_call(equation.primitive.name)]
    users = sorted({name for name in found if not name.startswith(("equinox.", "debug_print"))})
    if not found:
        users = ["by a primitive of its own"]
    if users:
        raise ValueError(
            f"checkpoint= must know all that a run computes, but {calls} call Python functions on the host "
            f"({', '.join(users)}), which can change unseen: compute in JAX instead of by jax.pure_callback, "
            "jax.experimental.io_callback or jax.debug, or leave checkpoint= out."
        )


def _is_call(primitive: str) -> bool:
    return "callback" in primitive or primitive == "debug_print"


def _called(equation: Any) -> str:
    """The name of the Python function that a callback calls; without one that of its primitive."""
    callback = equation.params.get("callback")
    function = getattr(callback, "callback_func", callback)
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    return equation.primitive.name if name is None else f"{module}.{name}"


def environment() -> dict[str, str]:
    """Versions, settings and devices that decide how a program's text is compiled."""
    device = jax.local_devices()[0]
    return {
        **{name: version(name) for name in _VERSIONS},
        **{name: os.environ.get(name, "") for name in _VARIABLES},
        **{name: str(getattr(jax.config, name, None)) for name in _SETTINGS},
        "platform": f"{jax.default_backend()}, {platform.machine()}",
        "runtime": str(getattr(device.client, "platform_version", "")),
        "device kind": str(device.device_kind),
    }
