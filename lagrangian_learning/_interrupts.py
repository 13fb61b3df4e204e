"""SIGTERM as an exception, so that what is kept can be named before the process ends; and none of its kind lost."""

import contextlib
import signal
import sys
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


_AGAIN = 0.05  # seconds: by then the finaliser has returned


@contextlib.contextmanager
def none_lost() -> Iterator[None]:
    """Inside the block a Ctrl-C or SIGTERM that arrives in a finaliser is raised again: Python only prints it there."""
    before = sys.unraisablehook

    def lost(unraisable: Any) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt | Terminated):
            before(unraisable)
            return
        number = signal.SIGTERM if issubclass(unraisable.exc_type, Terminated) else signal.SIGINT
        again = threading.Timer(_AGAIN, signal.pthread_kill, (threading.main_thread().ident, number))
        again.daemon = True
        again.start()

    sys.unraisablehook = lost
    try:
        yield
    finally:
        sys.unraisablehook = before
