"""Checkpoints of a batch: files of arrays that are checked when read."""

import contextlib
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from lagrangian_learning._checks import shown
from lagrangian_learning.files.whole import check_regular, read_whole, write_whole

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_FORMAT, _VERSION = "lagrangian_learning arrays", 2
_LONGEST_HEADER = 2**24


class DamagedFileError(ValueError):
    """A file is not what was written, or was not written by this library."""


def write_arrays(path: Path, kind: str, configuration: dict[str, Any], tree: PyTree) -> None:
    """Writes a pytree of NumPy arrays; the file is there whole or not at all."""
    header = _header(kind, configuration, tree)
    # Bytes alone, in C order: shapes and dtypes stand in the first line, and nothing in the payload says otherwise.
    payload = b"".join(np.ascontiguousarray(leaf).tobytes() for leaf in jax.tree.leaves(tree))
    header["sha256"] = _digest(header, payload)
    write_whole(path, (_line(header), payload))


def read_configuration(path: Path, kind: str) -> dict[str, Any]:
    """What the file's first line says of the run that wrote it; `read_arrays` checks that line."""
    check_regular(path)
    with path.open("rb") as file:
        return _read_header(path, file, kind)["configuration"]


def read_arrays(path: Path, kind: str, configuration: dict[str, Any], like: PyTree) -> PyTree:
    """The pytree of NumPy arrays in the file, which must look like `like`, a pytree of shapes and dtypes.

    Raises `DamagedFileError`, a ValueError, for anything that was not written here, by byte.
    """
    with io.BytesIO(read_whole(path)) as file:
        header = _read_header(path, file, kind)
        payload = file.read()
    claimed = header.pop("sha256", None)
    if claimed != _digest(header, payload):
        raise _damaged(path, "its checksum does not fit")
    if header != _header(kind, configuration, like):
        raise _damaged(path, "it holds other lanes or arrays than its place has")
    leaves, structure = jax.tree.flatten(like)
    if len(payload) != sum(_size(leaf) for leaf in leaves):
        raise _damaged(path, "its arrays have another size than its first line says")
    ends = np.cumsum([_size(leaf) for leaf in leaves])
    parts = (payload[end - _size(leaf) : end] for leaf, end in zip(leaves, ends, strict=True))
    arrays = [_array(part, leaf) for part, leaf in zip(parts, leaves, strict=True)]
    return structure.unflatten(arrays)


def _size(leaf: Any) -> int:
    return int(np.prod(leaf.shape, dtype=np.int64)) * np.dtype(leaf.dtype).itemsize


def _array(data: bytes, like: Any) -> np.ndarray:
    return np.frombuffer(bytearray(data), np.dtype(like.dtype)).reshape(like.shape)


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


def _damaged(path: Path, why: str) -> DamagedFileError:
    return DamagedFileError(f"{path} cannot be used: {why}. Delete it; what it held is then computed again.")


_LANES, _VALUE = "finished lanes of a batch", "value that a batch is reduced to"
_LANES_NAME = re.compile(r"lanes-(\d{12})-(\d{12})\.arrays")


def kept_chunk(folder: Any) -> int | None:
    """The lanes of the chunks that a checkpoint holds; None where it holds none."""
    names = sorted(path.name for path in _folder(folder).iterdir())
    spans = (_LANES_NAME.fullmatch(name) for name in names)
    return next((int(span[2]) - int(span[1]) for span in spans if span), None)


class Checkpoint:
    """A folder of finished chunks of the run that has this `configuration`; other files in it are left alone."""

    def __init__(self, folder: Any, configuration: dict[str, str]) -> None:
        self.folder, self.configuration = _folder(folder), configuration

    def spans(self) -> list[tuple[int, int]]:
        """Finished chunks from lane 0 on, without a gap. ValueError for those of another run."""
        names = (_LANES_NAME.fullmatch(path.name) for path in self.folder.iterdir())
        found = sorted((int(name[1]), int(name[2])) for name in names if name)
        spans: list[tuple[int, int]] = []
        for start, stop in found:
            self._check_same_run(self._lanes_path(start, stop))
            if start == (spans[-1][1] if spans else 0):
                spans.append((start, stop))
        return spans

    def read(self, start: int, stop: int, like: PyTree) -> PyTree:
        """The chunk; `like` is a pytree of shapes of a chunk of any size."""
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((stop - start, *leaf.shape[1:]), leaf.dtype), like)
        return read_arrays(self._lanes_path(start, stop), _LANES, self._of_lanes(start, stop), shapes)

    def read_value(self, stop: int, like: PyTree) -> PyTree:
        """What the lanes before `stop` are reduced to."""
        if not self._value_path(stop).exists():
            raise ValueError(
                f"the checkpoint {self.folder} has lost what its first {stop} lanes were reduced to: delete the folder."
            )
        return read_arrays(self._value_path(stop), _VALUE, self._of_lanes(0, stop), like)

    def write(self, start: int, stop: int, part: PyTree, value: PyTree) -> None:
        """Keeps a chunk, and the value after it (None: the run is not reduced)."""
        if value is not None:  # first: a chunk without its value would be of no use
            write_arrays(self._value_path(stop), _VALUE, self._of_lanes(0, stop), jax.tree.map(np.asarray, value))
        write_arrays(self._lanes_path(start, stop), _LANES, self._of_lanes(start, stop), part)
        if value is not None:
            self._value_path(start).unlink(missing_ok=True)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else may write here inside the block; ValueError where another process does. Released when killed."""
        if fcntl is None:
            yield
            return
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise ValueError(
                f"the checkpoint {self.folder} is in use by another run: wait for its end, or name another folder."
            ) from None
        finally:
            os.close(folder)

    @property
    def lanes_kept(self) -> int:
        """The lanes of the finished chunks from the first one on."""
        spans = self.spans()
        return spans[-1][1] if spans else 0

    def _of_lanes(self, start: int, stop: int) -> dict[str, Any]:
        return {**self.configuration, "span": [start, stop]}

    def _lanes_path(self, start: int, stop: int) -> Path:
        return self.folder / f"lanes-{start:012}-{stop:012}.arrays"

    def _value_path(self, stop: int) -> Path:
        return self.folder / f"value-{stop:012}.arrays"

    def _check_same_run(self, path: Path) -> None:
        found = read_configuration(path, _LANES)
        names = [name for name in {**self.configuration, **found} if name != "span"]
        other = [name for name in names if found.get(name) != self.configuration.get(name)]
        if other:
            raise ValueError(
                f"the checkpoint {self.folder} is of another run: it differs in {', '.join(other)}. Give another "
                "folder, or what that run was given (program: all that is compiled, so the code of law, save and "
                "this library, the settings, the engine and the chunk)."
            )


def _folder(folder: Any) -> Path:
    if not isinstance(folder, str | os.PathLike) or not os.fspath(folder):
        raise ValueError(f"checkpoint must be the name of a folder, got {shown(folder)}.")
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise ValueError(f"checkpoint must be a folder, and {path} is a file: name another.")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"the checkpoint {path} cannot be made: {error.strerror}. Name another folder.") from None
    return path
