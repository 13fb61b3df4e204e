"""The two engines that take any law and any setting: Diffrax under `jax.vmap`, and under `jax.lax.map`."""

from typing import ClassVar

import equinox as eqx
import jax
from jaxtyping import Array

from lagrangian_learning._checks import collected_verdicts, refused
from lagrangian_learning.simulate.run import Outcome, checked_start, integrate
from lagrangian_learning.simulate.settings import Plan, Tolerances

from .engine import AbstractEngine
from .lanes import Inputs


class DiffraxEngine(AbstractEngine):
    """`jax.vmap` of Diffrax. Adaptive lanes step together until the slowest of a chunk has arrived."""

    name: ClassVar[str] = "diffrax"
    one_core: ClassVar[bool] = False

    def refusal(self, lane: Inputs, times: Array, plan: Plan) -> str | None:
        return None

    def run_chunk(self, varied: Inputs, shared: Inputs, times: Array, tolerances: Tolerances, plan: Plan) -> Outcome:
        def one(lane: Inputs) -> Outcome:
            return run_lane(eqx.combine(lane, shared), times, tolerances, plan)

        return eqx.filter_vmap(one)(varied)


class SerialEngine(AbstractEngine):
    """`jax.lax.map` of Diffrax: one lane after the other, each with steps of its own. For CPUs.

    Lanes of one batched array share only the start of kernels there, which counts little where a lane is of many
    numbers; and each stage copies them, to sum over stages, whose axis stands behind that of lanes.
    """

    name: ClassVar[str] = "serial"
    one_core: ClassVar[bool] = True

    def refusal(self, lane: Inputs, times: Array, plan: Plan) -> str | None:
        return None

    def run_chunk(self, varied: Inputs, shared: Inputs, times: Array, tolerances: Tolerances, plan: Plan) -> Outcome:
        return jax.lax.map(lambda lane: run_lane(eqx.combine(lane, shared), times, tolerances, plan), varied)


def run_lane(inputs: Inputs, times: Array, tolerances: Tolerances, plan: Plan) -> Outcome:
    """One run; what the law's checks refuse becomes its result code."""
    with collected_verdicts() as verdicts:
        if inputs.carry is not None:
            times = checked_start(inputs.carry, times)
        state = inputs.law.check(times, inputs.state, inputs.args)
    return integrate(inputs.law, state, times, inputs.args, tolerances, plan, inputs.carry, refused(verdicts))
