"""The table by which a trajectory prints itself: one run, a batch of runs, or a traced one."""

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from lagrangian_learning._arrays import is_concrete

from .results import RESULTS

if TYPE_CHECKING:
    from lagrangian_learning.batch.reduction import Reduction

    from .trajectory import Trajectory

_WIDTH = 16
_LANES_TOLD = 8
_UNBALANCED = 0.1  # of max |E|: more than a coarse tolerance leaves, less than a run that went wrong


def printed(path: "Trajectory") -> str:
    """The table: what was integrated, how, over which times, how well, with which result."""
    rows = [*path.description, ("steps", _steps(path)), ("time", _times(path)), ("saved", _saved(path))]
    if is_concrete(path.result, path.stats):
        rows += _outcome(path)
    else:
        rows.append(("result", "traced: values are known once the compiled function has run"))
    return _table(f"Trajectory{_batch(path)}", rows)


def reduction_printed(reduction: "Reduction") -> str:
    """The table of a batch that was folded: how it went, and what it was folded into."""
    value = [("value", text) for text in _values(reduction.value)]
    return _table(f"Reduction{_batch(reduction)}", [*reduction.description, *_outcome(reduction), *value])


def _table(title: str, rows: list[tuple[str, str]]) -> str:
    return "\n".join([title, *(f"  {name:<{_WIDTH}}{text}" for name, text in rows)])


def _outcome(path: "Trajectory | Reduction") -> list[tuple[str, str]]:
    return [
        ("taken", _counts(path)),
        *_residuals(path.stats, drifts="stabilisation" in dict(path.description)),
        *_defects(path.stats),
        *_energies(path.stats),
        ("result", _results(path)),
    ]


def _values(value: Any) -> list[str]:
    """Each leaf with its name: a number, or the shape of an array."""
    leaves = jax.tree_util.tree_leaves_with_path(value)
    return [
        f"{jax.tree_util.keystr(path)} {leaf:.6g}".strip()
        if np.ndim(leaf) == 0
        else f"{jax.tree_util.keystr(path)} {leaf.dtype}{list(leaf.shape)}".strip()
        for path, leaf in leaves
    ]


def _batch(path: "Trajectory | Reduction") -> str:
    shape = np.shape(path.stats["num_steps"])
    return f", a batch of {' x '.join(map(str, shape))} runs" if shape else ""


def _steps(path: "Trajectory") -> str:
    if not path.steps or not is_concrete(path.steps):
        return "set by the step controller given" if not path.steps else "traced"
    return ", ".join(f"{name} {_span(value)}" for name, value in path.steps.items())


def _times(path: "Trajectory") -> str:
    count = path.ts.shape[-1]
    if not is_concrete(path.ts):
        return f"{count} saved times"
    ts = np.asarray(path.ts)
    return f"{_span(ts[..., 0])} to {_span(ts[..., -1])}, {count} saved times"


def _saved(path: "Trajectory") -> str:
    if not jax.tree.leaves(path.saved):
        return "nothing"
    if isinstance(path.saved, dict):
        return ", ".join(sorted({*path.saved, *([] if path.custom_save else dict(path.aliases))}))
    return "what the save function returned (path.saved)"


def _counts(path: "Trajectory | Reduction") -> str:
    stats = path.stats
    if "num_intervals" in stats:
        return f"{_span(stats['num_steps'])} iterations on {_span(stats['num_intervals'])} intervals"
    return f"{_span(stats['num_accepted_steps'])} steps, {_span(stats['num_rejected_steps'])} rejected"


def _residuals(stats: dict[str, Any], *, drifts: bool) -> list[tuple[str, str]]:
    if "max_constraint_residual" not in stats:
        return []
    after = f"{_most(stats['max_constraint_residual'])}, {_most(stats['max_velocity_residual'])}"
    if not drifts:
        return [("max |G|, |DG|", f"{after} at the start; kept by the choice of coordinates")]
    before = [stats[f"max_{kind}_residual_before_projection"] for kind in ("constraint", "velocity")]
    return [
        ("max |G|, |DG|", f"{after} at step ends"),
        ("", f"{_most(before[0])}, {_most(before[1])} before stabilisation of the step"),
    ]


def _defects(stats: dict[str, Any]) -> list[tuple[str, str]]:
    if "max_defect" not in stats:
        return []
    defect = f"{_most(stats['max_defect'])} between mesh points, {_most(stats['boundary_residual'])} at the ends"
    return [("defect", defect)]


def _energies(stats: dict[str, Any]) -> list[tuple[str, str]]:
    if "energy_min" not in stats:
        return []
    low, high = np.fmin.reduce(stats["energy_min"], axis=None), np.fmax.reduce(stats["energy_max"], axis=None)
    rows = [("energy", f"{low:.6g} to {high:.6g}")]
    if "max_energy_defect" in stats:
        defect = f"{_most(stats['max_energy_defect_absolute'])}, {_most(stats['max_energy_defect'])} of max |E|"
        rows += [("energy balance", f"closed to {defect}"), *_unbalanced(np.asarray(stats["max_energy_defect"]))]
    return rows


def _unbalanced(defects: np.ndarray) -> list[tuple[str, str]]:
    """A warning where energy comes from nowhere: constant steps succeed however badly they resolve the motion."""
    count = np.count_nonzero(defects > _UNBALANCED)
    if not count:
        return []
    runs = f" in {count:,} of {defects.size:,} runs" if defects.size > 1 else ""
    return [
        ("", f"over a tenth of max |E|{runs}: the step is too long for the motion; shorten dt0, or give rtol"),
        ("", "(where E is zero by the choice of its origin, this says nothing)"),
    ]


def _results(path: "Trajectory | Reduction") -> str:
    codes = np.ravel(np.asarray(jax.tree.leaves(path.result)[0]))
    failed = np.flatnonzero(codes != jax.tree.leaves(RESULTS.successful)[0])
    if not failed.size:
        return "successful" if codes.size == 1 else f"all {codes.size:,} successful"
    if codes.size == 1:
        return f"FAILED: {message_of(path.result, 0)}"
    groups = [failed[codes[failed] == code] for code in dict.fromkeys(codes[failed].tolist())]
    told = "".join(f"\n  {'':<{_WIDTH}}{_named(lanes)}: {message_of(path.result, lanes[0])}" for lanes in groups)
    return f"{codes.size - failed.size:,} of {codes.size:,} successful{told}"


def _named(lanes: np.ndarray) -> str:
    """The runs by number, the first few of them."""
    if lanes.size == 1:
        return f"run {lanes[0]:,}"
    more = f" and {lanes.size - _LANES_TOLD:,} more" if lanes.size > _LANES_TOLD else ""
    return f"runs {', '.join(f'{lane:,}' for lane in lanes[:_LANES_TOLD])}{more}"


def message_of(result: RESULTS, lane: Any) -> str:
    """The message of one run of a batch, counted through all its axes."""
    return RESULTS[jax.tree.map(lambda codes: np.asarray(np.reshape(codes, -1)[lane]), result)]


def _span(value: Any) -> str:
    low, high = np.min(value), np.max(value)
    return f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"


def _most(value: Any) -> str:
    """The largest over the runs of a batch that tell a number."""
    numbers = np.asarray(value)[~np.isnan(value)]
    return f"{np.max(numbers):.1e}" if numbers.size else "nan"
