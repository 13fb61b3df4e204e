"""Files that are there whole or not at all, and are read only where they are files."""

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def as_path(path: Any, name: str = "path") -> Path:
    """The path of a file; ValueError for what is no path, or is empty."""
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise ValueError(f"{name} must be the name of a file, got {path!r:.60}.")
    return Path(path)


def write_whole(path: Path, parts: Iterable[Any]) -> None:
    """Writes bytes to a file beside it and moves that into its place: an earlier file stays until then.

    Raises OSError, with the same number, in one sentence that names the file.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            for piece in parts:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise OSError(error.errno, f"{path} was not written, and is as it was before: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def read_whole(path: Path) -> bytes:
    """All bytes of a regular file; ValueError for a folder, a pipe or another device, which could wait for ever."""
    check_regular(path)
    return path.read_bytes()


def check_regular(path: Path) -> None:
    """ValueError unless the path is a regular file; FileNotFoundError where there is nothing."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{path} is no regular file (a folder, a pipe or a device): move it away, or name another.")
