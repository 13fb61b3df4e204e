"""The tables by which what a run leaves prints itself: one run, a batch of runs, or a traced one."""

import html
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from lagrangian_learning._arrays import is_concrete
from lagrangian_learning.mechanics.law import Residual

from .charges import ChargeRecord
from .monitor import EnergyRange, Monitor, Statistics, StepKind
from .results import RESULTS

Row = tuple[str, str]

_WIDTH = 16
_MOST_LANES_NAMED = 8

_RUNAWAY = 1e6  # energies of learning change by their own size: a growth like this is no learning
_AGAINST_IT = "shorten the steps; of a network lower mass_x, or raise gamma"


def table(title: str, rows: list[Row]) -> str:
    """Rows of a name and a text, under a title."""
    return "\n".join([title, *(f"  {name:<{_WIDTH}}{text}" for name, text in rows)])


def html_table(title: str, rows: list[Row]) -> str:
    """The same in HTML, with the colours of the page that shows it."""
    body = "".join(_html_row(name, text) for name, text in rows)
    return f"<div><strong>{html.escape(title)}</strong><table>{body}</table></div>"


def _html_row(name: str, text: str) -> str:
    style = "text-align: left; vertical-align: top"
    shown = "<br>".join(html.escape(line.strip()) for line in text.splitlines())
    return f'<tr><th style="{style}">{html.escape(name)}</th><td style="{style}">{shown}</td></tr>'


def run_title(statistics: Statistics) -> str:
    """How many runs it is of, where it is of a batch."""
    shape = np.shape(statistics.num_steps)
    return f", a batch of {' x '.join(map(str, shape))} runs" if shape else ""


def steps_row(steps: dict[str, Any]) -> Row:
    """The step or the tolerances."""
    if not steps or not is_concrete(steps):
        return "steps", "set by the step controller given" if not steps else "traced"
    return "steps", ", ".join(f"{name} {span(value)}" for name, value in steps.items())


def times_row(ts: Any) -> Row:
    """The times from which to which, and how many."""
    if not is_concrete(ts):
        return "time", f"{ts.shape[-1]} saved times"
    values = np.asarray(ts)
    return "time", f"{span(values[..., 0])} to {span(values[..., -1])}, {ts.shape[-1]} saved times"


def saved_row(saved: PyTree, names: list[str]) -> Row:
    """What was recorded; names: of the records, none where `save` returned something without names."""
    if not jax.tree.leaves(saved):
        return "saved", "nothing"
    return "saved", ", ".join(names) if names else "what the save function returned (path.saved)"


def outcome_rows(statistics: Statistics, result: RESULTS) -> list[Row]:
    """How well the run went, and how it ended."""
    if not is_concrete(result, statistics):
        return [("result", "traced: values are known once the compiled function has run")]
    counts = f"{span(statistics.num_accepted_steps)} steps, {span(statistics.num_rejected_steps)} rejected"
    monitor = statistics.monitor
    return [("taken", counts), *_residual_rows(monitor), *_energy_rows(monitor.energy, statistics), result_row(result)]


def charge_rows(charges: dict[str, ChargeRecord] | None) -> list[Row]:
    """A line for each charge: its range over the saved times, and how well its balance closes there."""
    if charges is None or not is_concrete(charges):
        return []
    return [("charge", f"{name} {_charge(each)}") for name, each in charges.items()]


def _charge(charge: ChargeRecord) -> str:
    known = np.asarray(charge.value)[~np.isnan(charge.value)]
    return f"{span(known) if known.size else 'nan'}, balance closed to {most(np.abs(np.asarray(charge.balance)))}"


def ended_row(result: RESULTS, t: Any) -> list[Row]:
    """When one run failed or met its event; none for a run that went to its end, and for a batch."""
    if np.ndim(t) or not is_concrete(result, t) or bool(result == RESULTS.successful):
        return []
    return [("ended", f"at t = {float(t):.6g}")]


def result_row(result: RESULTS) -> Row:
    """The result codes, each failure with its message."""
    return "result", _results(result)


def value_rows(value: PyTree) -> list[Row]:
    """Each leaf of what a batch was folded into: a number, or the shape of an array."""
    leaves = jax.tree_util.tree_leaves_with_path(value)
    texts = [
        f"{jax.tree_util.keystr(path)} {leaf:.6g}".strip()
        if np.ndim(leaf) == 0
        else f"{jax.tree_util.keystr(path)} {leaf.dtype}{list(leaf.shape)}".strip()
        for path, leaf in leaves
    ]
    return [("value", text) for text in texts]


def message_of(result: RESULTS, lane: Any) -> str:
    """The message of one run of a batch, counted through all its axes."""
    return RESULTS[jax.tree.map(lambda codes: np.asarray(np.reshape(codes, -1)[lane]), result)]


def span(value: Any) -> str:
    """A value, or the range of those of a batch."""
    low, high = np.min(value), np.max(value)
    return f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"


def most(value: Any) -> str:
    """The largest over the runs of a batch that have a number."""
    numbers = np.asarray(value)[~np.isnan(value)]
    return f"{np.max(numbers):.1e}" if numbers.size else "nan"


def _residual_rows(monitor: Monitor) -> list[Row]:
    if monitor.settled is None:
        return []
    rows = [("max |G|, |DG|", f"{_residual(monitor.settled)} at step ends")]
    if monitor.stepped is None:
        return rows
    return [*rows, ("", f"{_residual(monitor.stepped)} before stabilisation of the step")]


def _residual(residual: Residual) -> str:
    return f"{most(residual.position)}, {most(residual.velocity)}"


def _energy_rows(energy: EnergyRange | None, statistics: Statistics) -> list[Row]:
    if energy is None:
        return []
    low, high = np.fmin.reduce(energy.least, axis=None), np.fmax.reduce(energy.most, axis=None)
    rows = [("energy", f"{low:.6g} to {high:.6g}"), *_grown(np.asarray(energy.start), np.asarray(energy.most))]
    if energy.balance is None:
        return rows
    relative = most(energy.relative_defect)
    rows.append(("energy balance", f"closed to {most(energy.balance.defect)}, {relative} of the energy that moves"))
    return [*rows, *_unbalanced(np.asarray(statistics.unbalanced), statistics.kind)]


def _grown(start: np.ndarray, most: np.ndarray) -> list[Row]:
    """A warning where the energy of the start is nothing beside that of the run: what runs away is integrated too."""
    growth = np.divide(most, start, out=np.zeros_like(most), where=(start > 0) & np.isfinite(start))
    count = np.count_nonzero(growth > _RUNAWAY)
    if not count:
        return []
    runs = f" in {count:,} of {growth.size:,} runs" if growth.size > 1 else ""
    return [("", f"it grew {np.max(growth):.0e}-fold{runs}: the motion runs away, or began near rest; {_AGAINST_IT}")]


def _unbalanced(alarms: np.ndarray, kind: StepKind) -> list[Row]:
    """A warning where energy comes from nowhere: constant steps succeed however badly they resolve the motion."""
    count = np.count_nonzero(alarms)
    if not count:
        return []
    runs = f" in {count:,} of {alarms.size:,} runs" if alarms.size > 1 else ""
    return [("", f"over {100 * kind.alarm:g} % of it{runs}: the motion is not resolved; {kind.advice}")]


def messages_of(result: RESULTS) -> np.ndarray:
    """The message of each run as text, in the shape of the codes."""
    codes = np.asarray(jax.tree.leaves(result)[0])
    _, first, where = np.unique(codes, return_index=True, return_inverse=True)
    messages = [message_of(result, lane) or "successful" for lane in first]
    return np.array(messages)[where].reshape(codes.shape)


def _results(result: RESULTS) -> str:
    codes = np.ravel(np.asarray(jax.tree.leaves(result)[0]))
    well = [jax.tree.leaves(code)[0] for code in (RESULTS.successful, RESULTS.event_occurred)]
    failed, ended = np.flatnonzero(~np.isin(codes, well)), np.count_nonzero(codes == well[1])
    if not failed.size:
        events = f", {ended:,} of them ended by an event" if ended else ""
        alone = "ended by an event" if ended else "successful"
        return alone if codes.size == 1 else f"all {codes.size:,} successful{events}"
    if codes.size == 1:
        return f"FAILED: {message_of(result, 0)}"
    groups = [failed[codes[failed] == code] for code in dict.fromkeys(codes[failed].tolist())]
    messages = "".join(f"\n  {'':<{_WIDTH}}{_named(lanes)}: {message_of(result, lanes[0])}" for lanes in groups)
    return f"{codes.size - failed.size:,} of {codes.size:,} successful{messages}"


def _named(lanes: np.ndarray) -> str:
    """The runs by number, the first few of them."""
    if lanes.size == 1:
        return f"run {lanes[0]:,}"
    more = f" and {lanes.size - _MOST_LANES_NAMED:,} more" if lanes.size > _MOST_LANES_NAMED else ""
    return f"runs {', '.join(f'{lane:,}' for lane in lanes[:_MOST_LANES_NAMED])}{more}"
