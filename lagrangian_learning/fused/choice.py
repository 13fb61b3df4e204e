"""When a batch without an engine of the user's takes the fused one."""

import functools
import warnings
from typing import Any

import diffrax
import equinox as eqx
import jax
from jaxtyping import Array, PyTree

from lagrangian_learning._tuning import BLOCK, MOST_OPERATIONS
from lagrangian_learning.batch.lanes import Inputs, Kind, kinds_of
from lagrangian_learning.simulate.plan import Plan, Tolerances

from .engine import FusedEngine
from .internals import untested
from .lane_step import LanePlan
from .lockstep import Lockstep
from .scalars import NotScalarError


def preferred_engine(lane: Inputs, lanes: int, times: Array, tolerances: Tolerances, plan: Plan) -> FusedEngine | None:
    """The fused engine where it is known to give the same runs sooner: constant steps of few plain operations, on CPUs.

    With adaptive steps the error estimate, which is rounding's neighbour, decides on lengths of steps: runs would agree
    to the tolerance and not to rounding. On other devices it has not been measured.
    """
    if not _usable():
        return None
    if lanes < BLOCK or plan.steps.adaptive or jax.default_backend() != "cpu":
        return None
    if not isinstance(plan.solver, diffrax.AbstractERK):  # what others do in a step is not known
        return None
    if FusedEngine().refusal(lane, times, plan) is not None:
        return None
    return FusedEngine() if _is_plain(*kinds_of((lane, times, tolerances, plan))) else None


@functools.cache
def _usable() -> bool:
    """Whether the tests of this room have run with what is installed; otherwise one warning."""
    versions = untested()
    if versions is not None:
        warnings.warn(
            f"the fused engine is not used: its tests have not run with {versions}. Batches run by Diffrax.",
            RuntimeWarning,
            stacklevel=2,
        )
    return versions is None


@functools.lru_cache(maxsize=128)
def _is_plain(structure: Any, kinds: tuple[Kind, ...]) -> bool:
    """Whether all of a run is arithmetic on scalars, and little of it. Remembered, since it is traced to be known."""
    varied = structure.unflatten([leaf if varies else None for varies, leaf in kinds])[0]
    others = structure.unflatten([None if varies else leaf for varies, leaf in kinds])
    found: list[Lockstep] = []

    def traced(others: PyTree) -> None:
        shared, times, tolerances, plan = others
        found.append(Lockstep(varied, shared, LanePlan(times, tolerances, plan)))

    try:
        eqx.filter_eval_shape(traced, others)
    except NotScalarError:
        return False
    programs = {name: part.program for name, part in found[0].parts.items()}
    calls = any(program.calls for program in programs.values())
    return not calls and programs["step"].flops <= MOST_OPERATIONS
