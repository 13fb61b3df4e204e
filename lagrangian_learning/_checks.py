"""Checks of values: one validator a kind. What is known now raises a ValueError, what is traced a run-time error."""

import contextlib
import operator
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact, PyTree

from ._arrays import as_constant, as_module, dtype_of, in_dtype, is_concrete


class Verdict(NamedTuple):
    """Outcome of a check of traced values, and its message where it is false."""

    ok: Array
    message: str


_verdicts: ContextVar[list[Verdict] | None] = ContextVar("verdicts", default=None)


def require(value: PyTree, ok: Any, message: str) -> PyTree:
    """`value`, if `ok`: else a ValueError when it is known now, and a run-time error of Equinox when it is traced."""
    if is_concrete(ok):
        if not np.all(np.asarray(ok)):  # NumPy: under jit even a constant would be traced
            raise ValueError(message)
        return value
    ok, verdicts = jnp.all(jnp.asarray(ok)), _verdicts.get()
    if verdicts is not None:
        verdicts.append(Verdict(ok, message))
        return value
    if not jax.tree.leaves(value):
        return value  # plain functions hold no array to which a run-time error could be tied
    return eqx.error_if(value, jnp.logical_not(ok), message)


@contextlib.contextmanager
def collected_verdicts() -> Iterator[list[Verdict]]:
    """The verdicts of `require` on traced values inside the block, returned instead of raised.

    An error would end a batch for one lane, and would be lost with the value it hangs on where nothing uses that.
    """
    found: list[Verdict] = []
    token = _verdicts.set(found)
    try:
        yield found
    finally:
        _verdicts.reset(token)


def refused(verdicts: list[Verdict]) -> Array:
    """Whether any verdict is against it."""
    return jnp.logical_not(jnp.all(jnp.stack([jnp.asarray(True), *(verdict.ok for verdict in verdicts)])))


def raised(value: PyTree, verdicts: list[Verdict]) -> PyTree:
    """`value`, which must be used, with a run-time error with the message of the first verdict against it."""
    if not verdicts:
        return value
    wrong = jnp.logical_not(jnp.stack([verdict.ok for verdict in verdicts]))
    return eqx.branched_error_if(value, jnp.any(wrong), jnp.argmax(wrong), [verdict.message for verdict in verdicts])


def number(value: Any, name: str) -> Inexact[Array, ""]:
    """One finite real number as an array; otherwise an error that names the argument."""
    constant = _scalar(value, name)
    known = _known(value, constant, constant.dtype, name)
    return require(constant, _isfinite(known), f"{name} must be finite.")


def positive(value: Any, name: str, meaning: str = "", *, finite: bool = True) -> Inexact[Array, ""]:
    """One real number > 0, not below the smallest normal one of its dtype, which processors take for 0.

    `meaning` ends the message: what the argument is, or what to use in its place.
    """
    constant = _scalar(value, name)
    known, least = _known(value, constant, constant.dtype, name), jnp.finfo(constant.dtype).tiny
    if isinstance(known, np.ndarray) and 0 < known < least:
        raise ValueError(f"{name} is below {least:.1e}, under which {constant.dtype} counts as 0: choose other units.")
    allowed = (known >= least) & (_isfinite(known) if finite else True)
    return require(constant, allowed, _message(f"{name} must be {'finite and ' if finite else ''}> 0", meaning))


def nonnegative(value: Any, name: str, meaning: str = "") -> Inexact[Array, ""]:
    """One finite real number >= 0; `meaning` ends the message."""
    constant = _scalar(value, name)
    known = _known(value, constant, constant.dtype, name)
    return require(constant, _isfinite(known) & (known >= 0), _message(f"{name} must be finite and >= 0", meaning))


_ARRAYS = ("thetas",)  # of the constants below; the others are one number each


def constants_in_range(
    value: PyTree, holder: Any, *, above_zero: tuple[str, ...] = (), from_zero: tuple[str, ...] = ()
) -> PyTree:
    """`value`, if the constants that `holder` has under these names are real numbers in range.

    They were in range when the holder was built, but a tree map or `eqx.tree_at` puts in what it likes.
    """
    for name in (*above_zero, *from_zero):
        for constant in jax.tree.leaves(getattr(holder, name, None)):
            taken = real(constant, name, "real numbers") if name in _ARRAYS else _scalar(constant, name)
            known = _known(constant, taken, jnp.result_type(constant), name)
            bound, allowed = ("> 0", known > 0) if name in above_zero else (">= 0", known >= 0)
            remedy = f"let an optimiser move its {'logarithm' if name in above_zero else 'square root'}."
            changed = f"it was changed after {type(holder).__name__} was built"
            message = f"{name} must be finite and {bound}: {changed}; {remedy}"
            value = require(value, _isfinite(known) & allowed, message)
    return value


def real(value: Any, name: str, form: str) -> Inexact[Array, "..."]:
    """Real numbers of any shape as a floating array, NaN and inf among them; ValueError for anything else."""
    refusal = f"{name} must be {form}, got {kind_of(value)}."
    if value is None or isinstance(value, bool | str | bytes | dict):
        raise ValueError(refusal)
    try:
        with np.errstate(over="ignore"):
            constant = as_constant(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(refusal) from None
    if jnp.issubdtype(constant.dtype, jnp.complexfloating):
        raise ValueError(f"{name} must be real, got {constant.dtype}: give real and imaginary parts as two numbers.")
    return constant


def real_array(value: Any, name: str, form: str = "numbers") -> Inexact[Array, "..."]:
    """Finite real numbers of any shape as an array of a definite floating dtype; `form` says what they are."""
    constant = real(value, name, form)
    if not constant.size:
        raise ValueError(f"{name} is empty, of shape {constant.shape}: give {form}.")
    known = _known(value, constant, constant.dtype, name)
    return require(constant, _isfinite(known), f"{name} contains NaN or inf: give finite {form}.")


def reals(tree: PyTree, name: str, form: str = "arrays of real numbers") -> PyTree:
    """Every leaf of a pytree as an array of real floating numbers, NaN and inf among them."""
    return jax.tree.map(lambda leaf: real(leaf, name, form), tree, is_leaf=lambda leaf: leaf is None)


def real_result(value: Any, name: str, dtype: Any) -> Array:
    """What a user's function `name` returned, in the dtype; a complex result would lose its imaginary part."""
    return real(value, f"what {name} returns", "real numbers").astype(dtype)


def random_key(value: Any, name: str = "key") -> Array:
    """A key of `jax.random`, of either style; ValueError otherwise."""
    known = isinstance(value, jax.Array | np.ndarray)
    typed = known and jnp.issubdtype(value.dtype, jax.dtypes.prng_key) and value.shape == ()
    if not typed and not (known and value.dtype == jnp.uint32 and value.shape in ((2,), (4,))):
        raise ValueError(f"{name} must be a key such as jax.random.key(0), got {kind_of(value)}.")
    return value  # pyright: ignore[reportReturnType]


def time(value: Any, name: str, like: PyTree) -> Inexact[Array, ""]:
    """One finite time in the dtype of the state `like`."""
    constant = _scalar(value, name)
    known = _known(value, constant, dtype_of(like), name)
    return require(in_dtype(constant, known.dtype), _isfinite(known), f"{name} must be finite.")


def flag(value: Any, name: str) -> bool:
    """True or False; ValueError for what merely counts as true."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {kind_of(value)}.")
    return bool(value)


def one_of(value: Any, name: str, choices: tuple[Any, ...], meaning: str = "") -> Any:
    """One of the choices, which are texts, integers or None; ValueError otherwise."""
    plain = value is None or (isinstance(value, str | int | np.integer) and not isinstance(value, bool))
    if not plain or value not in choices:
        listed = ", ".join(map(repr, choices))
        raise ValueError(_message(f"{name} must be one of {listed}, got {shown(value)}", meaning))
    return value


def instance(value: Any, name: str, kind: Any, remedy: str) -> Any:
    """The value, if it is of the kind; otherwise a ValueError with the remedy, such as what makes one."""
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be {remedy}, got {kind_of(value)}.")
    return value


def function(value: Any, name: str, meaning: str = "") -> Any:
    """A callable; `meaning` ends the message: what it is called with, and what it returns."""
    if not callable(value):
        raise ValueError(_message(f"{name} must be callable, got {kind_of(value)}", meaning))
    return value


@contextlib.contextmanager
def about(name: str) -> Iterator[None]:
    """Errors inside the block begin with the name of the argument that they are about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def positive_int(value: Any, name: str) -> int:
    """A positive Python integer; ValueError otherwise, and for booleans."""
    try:
        integer = operator.index(value)
    except TypeError:
        integer = 0
    if integer < 1 or isinstance(value, bool):
        raise ValueError(f"{name} must be a positive integer, got {shown(value)}.")
    return integer


def argument_numbers(argnums: Any) -> tuple[int, ...]:
    """By which of law, state and args is differentiated, as a tuple."""
    numbers = argnums if isinstance(argnums, tuple) else (argnums,)
    known = [isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= 2 for n in numbers]
    if not numbers or not all(known) or len(set(numbers)) < len(numbers):
        raise ValueError(
            f"argnums must be 0 (the law), 1 (the state), 2 (args), or a tuple of these, got {shown(argnums)}."
        )
    return numbers


def kind_of(value: Any) -> str:
    """What a message calls a value: its type, of an array its dtype and shape, of a class that it is one."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}: call it"
    dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
    if dtype is None or not shape:
        return type(value).__name__ if dtype is None else f"a {dtype} number"
    return f"an array {dtype}{list(shape)}"


def shown(value: Any) -> str:
    """A short value as it prints, a longer one by its kind."""
    text = repr(value) if isinstance(value, str | int | float | complex | bool | None) else ""
    return text if 0 < len(text) <= _LONGEST_SHOWN else kind_of(value)


_LONGEST_SHOWN = 40


def module_named(name: str, meaning: str = "") -> Callable[[Any], Callable]:
    """The converter of a field that holds a callable: `as_module`, with an error that names the field."""
    return lambda fn: as_module(function(fn, name, meaning or "pass a function or a callable Equinox module."))


def optional_module_named(name: str) -> Callable[[Any], Callable | None]:
    """`module_named`, which lets None pass."""
    return lambda fn: None if fn is None else module_named(name)(fn)


def _scalar(value: Any, name: str) -> Inexact[Array, ""]:
    constant = real(value, name, "one real number")
    if constant.ndim:
        raise ValueError(f"{name} must be one number, got shape {constant.shape}: for a batch use jax.vmap.")
    return constant


def _known(value: Any, constant: Array, dtype: Any, name: str) -> Any:
    """The value in NumPy where it is known, as the dtype holds it: under jit even constants would be traced."""
    if not is_concrete(value):
        return constant.astype(dtype)
    given = np.asarray(value)
    with np.errstate(over="ignore"):
        known = given.astype(dtype)
    if np.any(np.isfinite(given) & ~np.isfinite(known)):
        raise ValueError(f"{name} is beyond {jnp.finfo(dtype).max:.1e}, the largest {dtype}: scale it, or use float64.")
    return known


def _isfinite(known: Any) -> Any:
    return np.isfinite(known) if isinstance(known, np.ndarray) else jnp.isfinite(known)


def _message(requirement: str, meaning: str) -> str:
    return f"{requirement}: {meaning}" if meaning else f"{requirement}."
