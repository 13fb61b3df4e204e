"""Files of arrays: one line of JSON that says what they are, then Equinox leaves. Everything is checked when read."""

import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree

_FORMAT, _VERSION = "lagrangian_learning arrays", 1
_LONGEST_HEADER = 2**24


class DamagedFileError(ValueError):
    """A file is not what was written, or was not written by this library."""


def write_arrays(path: Path, kind: str, configuration: dict[str, Any], tree: PyTree) -> None:
    """Writes a pytree of NumPy arrays; the file is there whole or not at all."""
    payload = io.BytesIO()
    eqx.tree_serialise_leaves(payload, tree)
    header = _header(kind, configuration, tree)
    header["sha256"] = _digest(header, payload.getbuffer())
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with part.open("wb") as file:
        file.write(_line(header))
        file.write(payload.getbuffer())
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def read_configuration(path: Path, kind: str) -> dict[str, Any]:
    """What the file's first line says of the run that wrote it; `read_arrays` checks that line."""
    with path.open("rb") as file:
        return _read_header(path, file, kind)["configuration"]


def read_arrays(path: Path, kind: str, configuration: dict[str, Any], like: PyTree) -> PyTree:
    """The pytree of NumPy arrays in the file, which must look like `like`, a pytree of shapes and dtypes.

    Raises `DamagedFileError`, a ValueError, for anything that was not written here, by byte.
    """
    with path.open("rb") as file:
        header = _read_header(path, file, kind)
        payload = file.read()
    claimed = header.pop("sha256", None)
    if claimed != _digest(header, payload):
        raise _damaged(path, "its checksum does not fit")
    if header != _header(kind, configuration, like):
        raise _damaged(path, "it holds other lanes or arrays than its place has")
    stream = io.BytesIO(payload)
    tree = eqx.tree_deserialise_leaves(stream, jax.tree.map(_placeholder, like))
    if stream.read(1):
        raise _damaged(path, "something follows its arrays")
    return tree


def _header(kind: str, configuration: dict[str, Any], tree: PyTree) -> dict[str, Any]:
    leaves = [
        {"path": jax.tree_util.keystr(path), "shape": list(leaf.shape), "dtype": np.dtype(leaf.dtype).name}
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]
    return {"format": _FORMAT, "version": _VERSION, "class": kind, "configuration": configuration, "leaves": leaves}


def _line(header: dict[str, Any]) -> bytes:
    return json.dumps(header, sort_keys=True, allow_nan=False).encode() + b"\n"


def _digest(header: dict[str, Any], payload: Any) -> str:
    digest = hashlib.sha256(_line(header))
    digest.update(payload)
    return digest.hexdigest()


def _read_header(path: Path, file: Any, kind: str) -> dict[str, Any]:
    line = file.readline(_LONGEST_HEADER)
    try:
        header = json.loads(line)
    except ValueError:
        raise _damaged(path, "it does not begin with a line of JSON") from None
    if not isinstance(header, dict) or header.get("format") != _FORMAT or header.get("class") != kind:
        raise _damaged(path, f"it is no file of {kind}")
    if header.get("version") != _VERSION:
        raise _damaged(
            path, f"it has version {header.get('version')!r} of the format, and this library reads {_VERSION}"
        )
    if line != _line(header) or not isinstance(header.get("configuration"), dict):
        raise _damaged(path, "its first line was altered")
    return header


def _placeholder(leaf: Any) -> np.ndarray:
    """An array of the shape and dtype that takes no memory."""
    return np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape)


def _damaged(path: Path, why: str) -> DamagedFileError:
    return DamagedFileError(f"{path} cannot be used: {why}. Delete it; what it held is then computed again.")
