"""A fingerprint of values and code: equal in two processes if what they would compute is the same."""

import dataclasses
import dis
import enum
import functools
import hashlib
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Known by their names alone: whoever compares fingerprints compares the versions of what is installed as well.
_INSTALLED = frozenset(
    (
        "abc",
        "beartype",
        "builtins",
        "collections",
        "dataclasses",
        "diffrax",
        "enum",
        "equinox",
        "functools",
        "itertools",
        "jax",
        "jaxlib",
        "jaxtyping",
        "lagrangian_learning",
        "lineax",
        "math",
        "networkx",
        "numpy",
        "operator",
        "optax",
        "optimistix",
        "scipy",
        "typing",
    )
)
_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...))


def fingerprint(value: Any) -> str:
    """SHA-256 of a value: arrays by their bytes, modules by class and fields, functions by code and what it sees.

    Of a function or a class count its code, its defaults, its closure, and the globals that it names; of installed
    libraries the name alone. Raises ValueError for objects of which nothing is known but their address.
    """
    return _Fingerprints().of(value).hex()


class _Fingerprints:
    """Remembers what it has seen: values held in many places are read once, and one inside itself is a cycle."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[Any, bytes]] = {}
        self.open: list[int] = []

    def of(self, value: Any) -> bytes:
        if isinstance(value, _PLAIN):
            return _hash(type(value).__name__, repr(value))
        if isinstance(value, jax.Array | np.ndarray | np.generic):
            return _of_array(value)
        if id(value) in self.open:
            return _hash("cycle", len(self.open) - self.open.index(id(value)))
        if id(value) not in self.known:
            self.open.append(id(value))
            self.known[id(value)] = value, self._of_object(value)
            self.open.pop()
        return self.known[id(value)][1]

    def _all(self, kind: str, values: Any) -> bytes:
        return _hash(kind, *[self.of(value) for value in values])

    def _of_object(self, value: Any) -> bytes:
        match value:
            case dict():
                return self._all("dict", [entry for key in sorted(value, key=repr) for entry in (key, value[key])])
            case list() | tuple():
                return self._all(_name(type(value)), value)
            case set() | frozenset():
                return _hash("set", *sorted(self.of(entry) for entry in value))
            case enum.Enum():
                return _hash(_name(type(value)), value.name)
            case np.dtype() | range() | slice():
                return _hash(repr(value))
            case _:
                return self._of_code(value)

    def _of_code(self, value: Any) -> bytes:
        match value:
            case types.ModuleType():
                return _hash("module", value.__name__)
            case type():
                return self._of_class(value)
            case types.FunctionType():
                return self._of_function(value)
            case types.MethodType():
                return self._all("method", (value.__func__, value.__self__))
            case functools.partial():
                return self._all("partial", (value.func, value.args, value.keywords))
            case _:
                return self._of_instance(value)

    def _of_instance(self, value: Any) -> bytes:
        if dataclasses.is_dataclass(value):
            fields = [getattr(value, field.name, None) for field in dataclasses.fields(value)]
            return self._all("instance", (type(value), *fields))
        if callable(value) and hasattr(value, "__wrapped__"):  # jitted, cached, …
            return self._all(_name(type(value)), (value.__wrapped__,))
        if hasattr(value, "__name__") and _installed(value):
            return _hash("installed", _name(value))
        if hasattr(value, "__dict__"):
            return self._all("instance", (type(value), vars(value)))
        raise ValueError(
            f"a checkpoint must know all that a run is made from, and of {value!r} only its address is known: hold its "
            "data in an equinox.Module or a function."
        )

    def _of_class(self, kind: type) -> bytes:
        if _installed(kind):
            return _hash("class", _name(kind))
        own = {name: getattr(kind, name) for name in sorted(vars(kind))}
        own = {name: value.fget if isinstance(value, property) else value for name, value in own.items()}
        code = {name: value for name, value in own.items() if isinstance(value, types.FunctionType)}
        return _hash("class", _name(kind), self.of(kind.__bases__), self.of(code))

    def _of_function(self, fn: types.FunctionType) -> bytes:
        seen = [fn.__defaults__, fn.__kwdefaults__, *(_contents(cell) for cell in fn.__closure__ or ())]
        if not _installed(fn):
            seen += self._read_by(fn.__globals__, fn.__code__)
        return _hash("function", _name(fn), self._all("sees", seen))

    def _read_by(self, variables: dict[str, Any], code: types.CodeType) -> list[Any]:
        """All that the code consists of and reads, functions inside it included."""
        found: list[Any] = [code.co_code, code.co_names, code.co_varnames]
        for constant in code.co_consts:
            found += self._read_by(variables, constant) if isinstance(constant, types.CodeType) else [constant]
        loads = {line.argval for line in dis.get_instructions(code) if line.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
        return found + [variables[name] for name in sorted(loads & variables.keys())]


def _of_array(value: Any) -> bytes:
    if jnp.issubdtype(value.dtype, jax.dtypes.extended):
        value = jax.random.key_data(value)
    array = np.ascontiguousarray(value)
    if array.dtype.hasobject:
        raise ValueError("an array of Python objects has no fingerprint: give arrays of numbers.")
    return _hash(
        "array", array.dtype.str, np.shape(value), array.tobytes() if array.ndim == 0 else array.data.cast("B")
    )


def _hash(*words: Any) -> bytes:
    digest = hashlib.sha256()
    for word in words:
        encoded = word if isinstance(word, bytes | memoryview) else str(word).encode()
        digest.update(f"{len(encoded)}:".encode())
        digest.update(encoded)
    return digest.digest()


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # of a name that is assigned later
        return "empty"


def _name(value: Any) -> str:
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", type(value).__qualname__)
    return f"{getattr(value, '__module__', '')}.{name}"


def _installed(value: Any) -> bool:
    module = getattr(value, "__module__", None) or type(value).__module__
    return module.split(".")[0] in _INSTALLED
