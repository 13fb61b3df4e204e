"""SIGTERM as an exception, so that what is kept can be named before the process ends."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


class Terminated(SystemExit):  # no error, as SystemExit is none
    """The process was asked to end by SIGTERM; it exits with 143, as a shell reports that."""


@contextlib.contextmanager
def terminations_raised() -> Iterator[None]:
    """Inside the block SIGTERM raises `Terminated`, unless the program handles it itself."""
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def raised(number: int, frame: Any) -> None:
        raise Terminated(128 + number)

    signal.signal(signal.SIGTERM, raised)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
