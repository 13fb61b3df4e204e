"""What a pytree is beside its numbers, as JSON: classes, settings, shapes and dtypes; and how two of them differ."""

import functools
import hashlib
import sys
import types
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

Description = Any
PYTHON = ".".join(map(str, sys.version_info[:2]))
PLAIN = (bool, int, float, complex, str, bytes)


def described(tree: Any) -> Description:
    """The tree with each array replaced by its dtype and shape, and all that is static in words."""
    if is_array(tree):
        return {"array": _dtype(tree), "shape": list(tree.shape)}
    if isinstance(tree, PLAIN):
        return {"leaf": type(tree).__name__}
    return _opened(tree, described)


def fixed(value: Any) -> Description:
    """A setting: a number or text in full, an array by its bytes, a function by its name and its code."""
    if value is None or isinstance(value, PLAIN):
        return repr(value)
    if is_array(value):
        array = np.ascontiguousarray(value)
        return {"array": array.dtype.name, "shape": list(array.shape), "bytes": _digest(array.tobytes())}
    if isinstance(value, type):
        return {"the class": _name(value)}
    if isinstance(value, types.FunctionType):
        cells = [fixed(cell.cell_contents) for cell in value.__closure__ or ()]
        return {"function": _name(value), "code": _code(value.__code__), "closes over": cells}
    return _opened(value, fixed)


def is_array(value: Any) -> bool:
    """Whether it is an array, or stands for one."""
    return isinstance(value, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct)


def difference(stored: Description, wanted: Description, *, same_python: bool = True, place: str = "") -> str | None:
    """The first place where two descriptions differ, in words; None where they do not."""
    if isinstance(stored, dict) and isinstance(wanted, dict):
        keys = [key for key in {**stored, **wanted} if same_python or key != "code"]
        for key in sorted(keys, key=lambda key: key not in ("class", "array", "function")):
            if key not in stored or key not in wanted:
                return f"{_placed(place, key)} is only in {'the file' if key in stored else 'like'}"
            found = difference(stored[key], wanted[key], same_python=same_python, place=_placed(place, key))
            if found is not None:
                return found
        return None
    if isinstance(stored, list) and isinstance(wanted, list) and len(stored) == len(wanted):
        pairs = enumerate(zip(stored, wanted, strict=True))
        each = (difference(a, b, same_python=same_python, place=f"{place}[{k}]") for k, (a, b) in pairs)
        return next((found for found in each if found is not None), None)
    return (
        None if stored == wanted else f"{place or 'it'} is {_brief(stored)} in the file, and {_brief(wanted)} in like"
    )


def _opened(value: Any, children: Any) -> Description:
    if isinstance(value, dict):
        return {"class": "dict", "items": {repr(key): children(entry) for key, entry in value.items()}}
    if isinstance(value, tuple | list):
        return {"class": _name(type(value)), "items": [children(entry) for entry in value]}
    if isinstance(value, eqx.Module):
        return {"class": _name(type(value)), **_fields(value, children)}
    if isinstance(value, functools.partial):
        return {
            "class": _name(type(value)),
            "parts": [fixed(value.func), children(value.args), children(value.keywords)],
        }
    if value is None or (callable(value) and hasattr(value, "__qualname__")):
        return None if value is None else {"function": _name(value)}
    if jax.tree_util.all_leaves([value]):  # what is no pytree is a setting, wherever it stands
        settings = getattr(value, "__dict__", {})
        return {"class": _name(type(value)), **{k: fixed(v) for k, v in settings.items() if k != "_hash"}}
    leaves, structure = jax.tree.flatten(value)
    return {"class": _name(type(value)), "structure": str(structure), "items": [children(leaf) for leaf in leaves]}


def _fields(module: Any, children: Any) -> dict[str, Description]:
    found = {}
    for field in type(module).__dataclass_fields__.values():
        if hasattr(module, field.name):
            of = fixed if field.metadata.get("static", False) else children
            found[field.name] = of(getattr(module, field.name))
    return found


def _dtype(array: Any) -> str:
    """The name of a dtype; of a random key that of its kind, which is how its numbers are read."""
    return str(array.dtype) if jnp.issubdtype(array.dtype, jax.dtypes.extended) else np.dtype(array.dtype).name


def _name(value: Any) -> str:
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", type(value).__qualname__)
    return f"{getattr(value, '__module__', '')}.{name}"


def _code(code: types.CodeType) -> str:
    """A digest of what a function does, whatever file and line it stands in."""
    constants = [_code(part) if isinstance(part, types.CodeType) else repr(part) for part in code.co_consts]
    return _digest(repr((code.co_code, code.co_names, code.co_varnames, constants)).encode())


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _placed(place: str, key: str) -> str:
    if key == "items":
        return place
    return f"{place}.{key}" if place else key


def _brief(description: Description, longest: int = 80) -> str:
    text = description if isinstance(description, str) else str(description)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
