"""How an argument is judged: what is given to it, and what comes of it."""

import contextlib
import io
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

import lagrangian_learning as ll

PACKAGE = str(Path(ll.__file__).parent)
LONGEST = 300

# The kinds of bad values that come as numbers are laid out by the argument, as one number or an array of its shape.
OBJECTS = {"None": None, "string": "a", "dict": {"a": 1.0}, "function": lambda *args: jnp.zeros(())}
NUMBERS = {
    "complex": 1 + 1j,
    "half": np.float16(0.5),
    "integer": 2,
    "negative": -1.0,
    "zero": 0.0,
    "NaN": np.nan,
    "inf": np.inf,
    "huge": 1e300,
    "subnormal": 1e-310,
}
SHAPES = {"empty": np.zeros(0), "rank": np.full((2, 3, 1), 0.5)}
COLUMNS = (*OBJECTS, *NUMBERS, *SHAPES)

REAL = frozenset({"half", "integer", "negative", "zero", "huge", "subnormal"})


class Kind(NamedTuple):
    """What an argument can hold, and how a number is laid out for it."""

    takes: frozenset[str]
    laid_out: Callable[[Any], Any] = lambda value: value

    def optional(self) -> "Kind":
        return self._replace(takes=self.takes | {"None"})

    def but(self, *without: str) -> "Kind":
        return self._replace(takes=self.takes - set(without))

    def also(self, *more: str) -> "Kind":
        return self._replace(takes=self.takes | set(more))


number = Kind(REAL)
positive = number.but("negative", "zero", "subnormal")
nonnegative = number.but("negative")
count = Kind(frozenset({"integer"}), lambda value: int(value) if value in (-1.0, 0.0) else value)
thing = Kind(frozenset())
function = Kind(frozenset({"function"}))


def array(*shape: int) -> Kind:
    return number._replace(laid_out=lambda value: np.full(shape, value))


def times(value: Any) -> Any:
    return scaled(np.array([0.0, 0.5, 1.0]), value)


def scaled(times: Any, value: Any) -> Any:
    with np.errstate(invalid="ignore"):
        return times * value


class Case(NamedTuple):
    """A public function: how it is called with arguments that are right, and the kind of each."""

    name: str
    call: Callable[..., Any]
    right: dict[str, Any]
    kinds: dict[str, Kind]


class Verdict(NamedTuple):
    """A letter, and what was raised."""

    letter: str
    text: str


class AcceptedError(BaseException):
    """The compiled core was reached."""


@contextlib.contextmanager
def cores_replaced() -> Iterator[None]:
    """Nothing is integrated: the compiled cores raise `AcceptedError`."""
    cores = (
        "simulate.checked.known_compiled",
        "simulate.simulate.integrate_compiled",
        "batch.simulate_batch.carry_out",
        "batch.gradient.carried_out",
        "boundary.solve._solved",
        "echo.echo_gradient._compiled",
    )
    with contextlib.ExitStack() as stack:
        for core in cores:
            module, name = core.rsplit(".", 1)
            room = sys.modules[f"{ll.__name__}.{module}"]
            reached = {"side_effect": AcceptedError, "of_flat.side_effect": AcceptedError}
            stack.enter_context(mock.patch.object(room, name, **reached))
        known = ll.costs.hardware.KNOWN["h100"]
        stack.enter_context(mock.patch.object(ll.costs.hardware, "measure_hardware", return_value=known))
        yield


def judged(case: Case, argument: str, column: str) -> Verdict:
    """What comes of one bad value."""
    kind = case.kinds[argument]
    bad = {**OBJECTS, **SHAPES}.get(column)
    if column in NUMBERS:
        bad = kind.laid_out(NUMBERS[column])
    try:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("error")
            # Equinox's, before the package can refuse it.
            warnings.filterwarnings("ignore", message="A JAX array is being set as static")
            found = case.call(**{**case.right, argument: bad})
    except AcceptedError:
        found = None
    except Exception as error:  # noqa: BLE001 every kind of error is judged
        return _of_error(error, argument)
    if column not in kind.takes:
        return Verdict("S", "accepted")
    return Verdict("v", "") if _finite(found) or column == "inf" else Verdict("S", "the result is not finite")


def _of_error(error: Exception, argument: str) -> Verdict:
    text = f"{type(error).__name__}: {error}"
    frames = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    raised = frames[-1].startswith(PACKAGE) and not any(name.endswith("pjit.py") for name in frames)
    named = re.search(rf"(?<!\w){re.escape(argument)}(?!\w)", str(error)) is not None
    fine = isinstance(error, ValueError) and raised and named and len(str(error)) <= LONGEST
    return Verdict("r" if fine else "U", text)


def _finite(tree: Any) -> bool:
    leaves = [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array | np.ndarray | np.floating)]
    numbers = [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return all(np.all(np.isfinite(np.asarray(leaf))) for leaf in numbers)


def table(cases: list[Case]) -> dict[tuple[str, str], dict[str, Verdict]]:
    """All verdicts, by function and argument, then by kind of value."""
    with cores_replaced():
        return {
            (case.name, argument): {column: judged(case, argument, column) for column in COLUMNS}
            for case in cases
            for argument in case.kinds
        }
