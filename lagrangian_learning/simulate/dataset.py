"""A solution as an `xarray.Dataset`."""

from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from lagrangian_learning._arrays import is_concrete

from .table import messages_of, result_row

_WATCHED = ("energy", "energy_balance", "constraint_residual", "velocity_residual")


def dataset(path: Any, numbers: dict[str, Any]) -> Any:
    """The records of a solution over time, and before it over lanes; numbers: of its runs as a whole."""
    try:
        import xarray  # pyright: ignore[reportMissingImports]  # an extra
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('to_xarray needs xarray: pip install "lagrangian-learning[xarray]"') from error
    if not is_concrete(path):
        raise ValueError("a dataset holds values: call to_xarray outside jit, vmap and grad, on what they return.")
    ts = np.asarray(path.ts)
    lanes = lane_dimensions(ts.ndim - 1)
    dims = (*lanes, "time")
    variables = {**_watched(path, dims), **_charges(path, dims), **_records(path, dims)}
    attributes = {name: text for name, text in path.names.description if name}
    attributes["result"] = result_row(path.result)[1]
    plain = {name: np.asarray(value) for name, value in numbers.items() if value is not None}
    if lanes:
        variables |= {name: (lanes, value) for name, value in plain.items() if value.shape == ts.shape[:-1]}
        variables["result"] = (lanes, messages_of(path.result))
    else:
        attributes |= {name: value.item() for name, value in plain.items() if value.ndim == 0}
    return xarray.Dataset(variables, _times(ts, lanes), attributes)


def lane_dimensions(count: int) -> tuple[str, ...]:
    """lane; of a batch with several axes lane_0, lane_1, …"""
    return ("lane",) * count if count < 2 else tuple(f"lane_{k}" for k in range(count))


def _times(ts: np.ndarray, lanes: tuple[str, ...]) -> dict[str, Any]:
    """One axis of times for all runs, or where they have times of their own a coordinate of lane and time."""
    rows = ts.reshape(-1, ts.shape[-1])
    if (rows == rows[:1]).all():
        return {"time": rows[0]}
    return {"ts": ((*lanes, "time"), ts)}


def _watched(path: Any, dims: tuple[str, ...]) -> dict[str, Any]:
    """Energy and residuals where they were read."""
    record = path.record
    there = {
        "energy": record.energy is not None,
        "energy_balance": record.energy is not None and record.work is not None,
        "constraint_residual": record.residual is not None,
        "velocity_residual": record.residual is not None,
    }
    return {name: (dims, np.asarray(getattr(path, name))) for name in _WATCHED if there[name]}


def _charges(path: Any, dims: tuple[str, ...]) -> dict[str, Any]:
    """charge_name and charge_name_balance of each."""
    kept = (path.record.charges or {}).items()
    values = {f"charge_{name}": (dims, np.asarray(each.value)) for name, each in kept}
    return values | {f"charge_{name}_balance": (dims, np.asarray(each.balance)) for name, each in kept}


def _records(path: Any, dims: tuple[str, ...]) -> dict[str, Any]:
    """A variable a leaf; a record of one's own that is called energy takes the place of the law's."""
    variables = {}
    for name, tree in named_records(path).items():
        for where, leaf in jax.tree_util.tree_leaves_with_path(tree):
            key, values = name + jax.tree_util.keystr(where), np.asarray(leaf)
            further = tuple(f"{key}_{k}" for k in range(values.ndim - len(dims)))
            variables[key] = ((*dims, *further), values)
    return variables


def named_records(path: Any) -> dict[str, PyTree]:
    """Records by the names that the law gives them: W in place of q, or x and W where these are the parts of q."""
    saved = path.saved
    if not isinstance(saved, dict):
        return {"saved": saved}
    aliases = {} if path.names.custom_save else dict(path.names.aliases)
    found = {}
    for name, tree in saved.items():
        own = {alias: part for alias, (record, part) in aliases.items() if record == name}
        whole = [alias for alias, part in own.items() if part is None]
        if not whole and isinstance(tree, tuple | list) and set(own.values()) == set(range(len(tree))):
            whole = list(own)
        found |= {alias: getattr(path, alias) for alias in whole} or {name: tree}
    return found
