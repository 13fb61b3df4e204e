"""Engines: what computes the runs of one chunk of lanes. The seam at which faster ones are plugged in."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax
from jaxtyping import Array

from lagrangian_learning._checks import collected_verdicts, refused
from lagrangian_learning.simulate.resume import checked_start
from lagrangian_learning.simulate.run import Outcome, Plan, integrate
from lagrangian_learning.simulate.settings import Tolerances

from .lanes import Inputs, is_small


class AbstractEngine(eqx.Module):
    """Integrates a chunk of lanes. Of no fields: `simulate_batch` compiles `run_chunk` once for all chunks."""

    name: eqx.AbstractClassVar[str]
    # Whether a chunk keeps but one core of a CPU busy, so that as many chunks run at once as there are cores.
    one_core: eqx.AbstractClassVar[bool]

    @abc.abstractmethod
    def refusal(self, lane: Inputs, times: Array, plan: Plan) -> str | None:
        """Why this engine cannot integrate such lanes; None: it can. Leaves of the lane may be shapes."""

    @abc.abstractmethod
    def run_chunk(self, varied: Inputs, shared: Inputs, times: Array, tolerances: Tolerances, plan: Plan) -> Outcome:
        """The outcome of every lane, lanes first on every leaf.

        Pure and traced: it is jitted, and on several devices mapped over shards of the lanes, so that it must not
        depend on how many lanes it is given. `equinox.combine(one lane of varied, shared)` are the inputs of a lane.
        A lane that fails must not touch another: failures are result codes, never errors.
        """


class DiffraxEngine(AbstractEngine):
    """`jax.vmap` of Diffrax: any law, any setting. Adaptive lanes step together until the slowest has arrived."""

    name: ClassVar[str] = "diffrax"
    one_core: ClassVar[bool] = False

    def refusal(self, lane: Inputs, times: Array, plan: Plan) -> str | None:
        return None

    def run_chunk(self, varied: Inputs, shared: Inputs, times: Array, tolerances: Tolerances, plan: Plan) -> Outcome:
        def one(lane: Inputs) -> Outcome:
            return run_lane(eqx.combine(lane, shared), times, tolerances, plan)

        return eqx.filter_vmap(one)(varied)


class SerialEngine(AbstractEngine):
    """`jax.lax.map` of Diffrax: one lane after the other, at its own pace. Any law, any setting; for CPUs.

    Lanes of one batched array share nothing there but the start of kernels, which counts little where a lane is of many
    numbers; and each stage copies them, to sum over stages, whose axis stands behind that of lanes.
    """

    name: ClassVar[str] = "serial"
    one_core: ClassVar[bool] = True

    def refusal(self, lane: Inputs, times: Array, plan: Plan) -> str | None:
        return None

    def run_chunk(self, varied: Inputs, shared: Inputs, times: Array, tolerances: Tolerances, plan: Plan) -> Outcome:
        return jax.lax.map(lambda lane: run_lane(eqx.combine(lane, shared), times, tolerances, plan), varied)


def run_lane(inputs: Inputs, times: Array, tolerances: Tolerances, plan: Plan) -> Outcome:
    """One run; what the law's checks say against it becomes its result code."""
    with collected_verdicts() as verdicts:
        if inputs.carry is not None:
            times = checked_start(inputs.carry, times)
        state = inputs.law.check(times, inputs.state, inputs.args)
    return integrate(inputs.law, state, times, inputs.args, tolerances, plan, inputs.carry, refused(verdicts))


def engines() -> tuple[AbstractEngine, ...]:
    """All engines that have a name."""
    from lagrangian_learning.fused import (  # they are engines themselves, and so know this file
        FusedEngine,
        PallasEngine,
    )

    return DiffraxEngine(), SerialEngine(), FusedEngine(), PallasEngine()


def resolve_engine(
    engine: Any, lane: Inputs, lanes: int, times: Array, tolerances: Tolerances, plan: Plan
) -> AbstractEngine:
    """The engine of that name; "auto": see `_chosen`. ValueError for a name that is none, or one that cannot."""
    known = {candidate.name: candidate for candidate in engines()}
    if isinstance(engine, AbstractEngine):
        known[engine.name] = engine
        engine = engine.name
    if engine == "auto":
        engine = _chosen(lane, lanes, times, tolerances, plan)
    if engine not in known:
        raise ValueError(f'engine must be "auto", {", ".join(map(repr, known))} or an engine, got {engine!r}.')
    refusal = known[engine].refusal(lane, times, plan)
    if refusal is not None:
        raise ValueError(f'engine="{engine}" cannot integrate this: {refusal} Use engine="auto".')
    return known[engine]


def _chosen(lane: Inputs, lanes: int, times: Array, tolerances: Tolerances, plan: Plan) -> str:
    """The name of the engine that is known to be fastest for so many lanes."""
    from lagrangian_learning.fused.choice import is_worth_fusing  # as above

    if is_worth_fusing(lane, lanes, times, tolerances, plan):
        return "fused"
    in_turn = jax.default_backend() == "cpu" and not is_small(lane.state)
    return "serial" if in_turn else "diffrax"
