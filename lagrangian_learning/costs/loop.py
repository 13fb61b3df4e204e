"""`lane_memory`: bytes of one lane of a run, from what its loop carries and its stepper holds (docs/scale.md)."""

from typing import Any

import diffrax
import equinox as eqx
import jax
from jaxtyping import Array, PyTree

from lagrangian_learning._types import Args
from lagrangian_learning.mechanics.law import AbstractLaw
from lagrangian_learning.simulate.plan import Plan, Tolerances
from lagrangian_learning.simulate.records import Record, Recorder
from lagrangian_learning.simulate.stepping import MonitoredState
from lagrangian_learning.simulate.work import Worked, rates_of, start_of, terms_of
from lagrangian_learning.steppers.defaults import num_stages
from lagrangian_learning.steppers.staged import Staged

from .cost import held_by_results
from .memory import LaneMemory, evaluation_bytes, is_small, num_bytes

# Numbers that a run leaves beside its state and monitor: times, counts, codes.
_COUNTS = 8
# Lanes of few numbers are measured side by side.
_LANES_MEASURED = 64


def lane_memory(
    law: AbstractLaw,
    state: PyTree,
    args: Args,
    times: Any,
    plan: Plan,
    *,
    given: int,
    at_once: int | None,
    evaluated: bool = True,
) -> LaneMemory:
    """Bytes of one lane; leaves may be shapes.

    given: bytes that the lane has of its own.  at_once: how many lanes step side by side; None: all.
    evaluated: whether to compile an evaluation of the rates, for what it holds.
    """
    t, beside = jax.ShapeDtypeStruct((), times.dtype), at_once != 1
    law = plan.stabilisation.stabilised(law)
    y, stepper, record = eqx.filter_eval_shape(_begun, t, law, state, args, plan)
    # The loop keeps rows beside those that leave: of records, or of the states of which they are made afterwards.
    rows = times.shape[0] * num_bytes(y if plan.records_afterwards else record)
    numbers = _COUNTS * times.dtype.itemsize
    left = times.shape[0] * num_bytes(record) + num_bytes((y, stepper, stepper.monitor)) + numbers
    lanes = _LANES_MEASURED if beside and is_small(state) else 1
    evaluation = evaluation_bytes(rates_of, law, t, state, args, lanes=lanes) if evaluated else num_bytes(y)
    slope = held_by_results(rates_of, law, t, state, args)
    stages = stage_bytes(plan, y, slope, beside=beside)
    carries = num_bytes((y, stepper)) + 2 * numbers
    selected = num_bytes(y) * (beside + plan.steps.adaptive)
    return LaneMemory(given, num_bytes(state), left, rows + carries + selected + stages + evaluation, at_once)


def carried(law: AbstractLaw, state: PyTree, args: Args, times: Any, plan: Plan) -> tuple[Worked, MonitoredState]:
    """What the loop carries of a run, as shapes."""
    t, law = jax.ShapeDtypeStruct((), times.dtype), plan.stabilisation.stabilised(law)
    return eqx.filter_eval_shape(_begun, t, law, state, args, plan)[:2]


def _begun(t: Array, law: AbstractLaw, state: PyTree, args: Args, plan: Plan) -> tuple[Worked, MonitoredState, Record]:
    """What the loop carries of a run, and the record of one saved time."""
    y = start_of(law, t, state, args, works=plan.reads)
    stepper = plan.stepper(t.dtype, Tolerances(t, t, t))
    begun = stepper.init(terms_of(law), t, t, y, args)
    return y, begun, Recorder(law, plan.save, plan.watch)(t, y, args)


def stage_bytes(plan: Plan, y: Worked, slope: int, *, beside: bool) -> int:
    """Bytes of the slopes that a step holds, `slope` each.

    Written out, a step holds those that a later stage reads. In Diffrax's loop over stages there is an array of all;
    half of it is copied for the stability of constant steps, and half side by side, where lanes that have arrived rest.
    """
    if isinstance(plan.solver, diffrax.Euler):  # its rate lies where its end will, beside a start that is read last
        return -2 * num_bytes(y)
    tableau = getattr(plan.solver, "tableau", None)
    if not isinstance(tableau, diffrax.ButcherTableau):
        return (num_stages(plan.solver) or 1) * slope
    if isinstance(plan.staged, Staged) and plan.staged.writes_out(y):
        return live_slopes(tableau) * slope
    copies = 1 + (not plan.steps.adaptive) / 2 + beside / 2
    return int(copies * tableau.num_stages * num_bytes(y))


def live_slopes(tableau: diffrax.ButcherTableau) -> int:
    """The most slopes that are there while a stage is evaluated: those that this stage or what comes later reads."""
    rows = [*tableau.a_lower, tableau.b_sol]
    count = len(tableau.a_lower)

    def read(slope: int, since: int) -> bool:
        return any(row[slope] != 0 for row in rows[since:] if slope < len(row))

    return max(sum(read(slope, stage) for slope in range(stage + 1)) for stage in range(count))
