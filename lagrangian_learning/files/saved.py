"""`save` and `load`: weights, states, laws, trajectories and batches in files of safetensors, checked, without code."""

import hashlib
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from .description import PLAIN, PYTHON, described, difference, is_array
from .whole import as_path, read_whole, write_whole

_FLOATS = ("float16", "float32", "float64")
_FORMAT, _VERSION = "lagrangian_learning pytree", 1
_DTYPES = (
    "bool",
    "uint8",
    "int8",
    "uint16",
    "int16",
    "uint32",
    "int32",
    "uint64",
    "int64",
    "float16",
    "float32",
    "float64",
)


class WrongFileError(ValueError):
    """A file is damaged, or holds something else than what is asked for; the message says what."""


def save(path: Any, tree: PyTree) -> None:
    """Writes a pytree of arrays: weights, a state, a law, a trajectory, a batch, or any of them in containers.

    A file of safetensors, which holds numbers and no code. Beside them stand the classes, settings, shapes and dtypes
    of the tree, the versions of this library and of the format, and a checksum. It is there whole or not at all: an
    earlier file of the name stays until the new one is complete.

    Arguments:
        path: where to; the usual suffix is .safetensors.
        tree: any pytree of arrays, random keys and plain numbers. Functions and settings are not written, but named.

    Raises ValueError for leaves that it cannot hold, and OSError where nothing can be written.
    """
    path = as_path(path)
    library = _safetensors()
    tensors, plain = _split(tree)
    header = {
        "format": _FORMAT,
        "version": _VERSION,
        "library": _library_version(),
        "python": PYTHON,
        "tree": described(tree),
        "plain": {name: _written(value) for name, value in plain.items()},
        "keys": {name: str(jax.random.key_impl(leaf)) for name, leaf in _named_leaves(tree)[0] if _is_key(leaf)},
    }
    text = json.dumps(header, sort_keys=True, allow_nan=False)
    write_whole(path, [library.numpy.save(tensors, {"header": text, "sha256": _checksum(text, tensors)})])


def load(path: Any, like: PyTree) -> PyTree:
    """The pytree in a file that `save` wrote; it must be like `like` in all but its numbers.

    No code of the file is run, for it has none: classes, functions and settings are those of `like`, and each one that
    the file was not written with is an error that names it.

    Arguments:
        path: the file.
        like: a tree of the same kind: of arrays, or of shapes as `jax.eval_shape` and `eqx.filter_eval_shape` return.

    Returns the tree, to the bit as it was saved; NumPy arrays where `like` has them, JAX's elsewhere. Raises
    `ll.files.WrongFileError`, a ValueError, for a damaged file and for one that holds something else.
    """
    path = as_path(path)
    tensors, header = _read(path)
    found = difference(header["tree"], described(like), same_python=header.get("python") == PYTHON)
    if found is not None:
        raise WrongFileError(f"{path} holds something else than like: {found}.")
    names, structure = _named_leaves(like)
    if {name for name, leaf in names if is_array(leaf)} != set(tensors):
        raise _damaged(path, "its arrays are not those that it says it has")
    return structure.unflatten([_leaf(path, name, leaf, tensors, header) for name, leaf in names])


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    library = _safetensors()
    data = read_whole(path)
    try:
        tensors = library.numpy.load(data)
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length])["__metadata__"]
        text, claimed = metadata["header"], metadata["sha256"]
        header = json.loads(text)
    except (library.SafetensorError, ValueError, KeyError, TypeError, RecursionError):
        raise _damaged(path, "it is no file of safetensors that ll.save wrote") from None
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise _damaged(path, "it is no file that ll.save wrote")
    if header.get("version") != _VERSION:
        raise _damaged(path, f"it has version {header.get('version')!r} of the format, and {_VERSION} is read here")
    if claimed != _checksum(text, tensors):
        raise _damaged(path, "its checksum does not fit")
    return tensors, header


def _leaf(path: Path, name: str, like: Any, tensors: dict[str, np.ndarray], header: dict[str, Any]) -> Any:
    if not is_array(like):
        return _read_plain(path, header["plain"].get(name), type(like)) if isinstance(like, PLAIN) else like
    array = tensors[name]
    if _is_key(like):
        return jax.random.wrap_key_data(jnp.asarray(array), impl=header["keys"][name])
    if array.shape != tuple(like.shape) or array.dtype != like.dtype:
        raise _damaged(path, f"{name} is {array.dtype.name}{list(array.shape)}, and it says otherwise of itself")
    if isinstance(like, np.generic):
        return array[()]
    return array.copy() if isinstance(like, np.ndarray) else jnp.asarray(array)


def _split(tree: PyTree) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of a tree, in C order, and its plain values; by place."""
    names, _ = _named_leaves(tree)
    arrays = {name: _numbers(name, leaf) for name, leaf in names if is_array(leaf)}
    return arrays, {name: leaf for name, leaf in names if isinstance(leaf, PLAIN)}


def _named_leaves(tree: PyTree) -> tuple[list[tuple[str, Any]], Any]:
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    return [(jax.tree_util.keystr(path) or "value", leaf) for path, leaf in leaves], structure


def _numbers(name: str, leaf: Any) -> np.ndarray:
    if isinstance(leaf, jax.ShapeDtypeStruct):
        raise ValueError(f"{name} of the tree is a shape and no array: save what has numbers.")
    if _is_key(leaf):
        leaf = jax.random.key_data(leaf)
    array = np.array(leaf, order="C")
    if array.dtype.name not in _DTYPES:
        raise ValueError(f"{name} of the tree has dtype {array.dtype}, which safetensors does not hold: convert it.")
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def _is_key(leaf: Any) -> bool:
    return is_array(leaf) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _checksum(header: str, tensors: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"\n{name} {array.dtype.name} {list(array.shape)}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _written(value: Any) -> str:
    return value.hex() if isinstance(value, float | bytes) else str(value)


def _read_plain(path: Path, text: Any, kind: type) -> Any:
    read = {bool: lambda text: text == "True", float: float.fromhex, bytes: bytes.fromhex}.get(kind, kind)
    try:
        return read(text)
    except (TypeError, ValueError):
        raise _damaged(path, f"it holds {text!r} for a {kind.__name__}") from None


def _damaged(path: Path, why: str) -> WrongFileError:
    return WrongFileError(f"{path} cannot be read: {why}.")


def _library_version() -> str:
    from lagrangian_learning import __version__

    return __version__


def _safetensors() -> ModuleType:
    if importlib.util.find_spec("safetensors") is None:
        raise ModuleNotFoundError('ll.save and ll.load need safetensors: pip install "lagrangian-learning[files]".')
    import safetensors.numpy

    return safetensors
