"""`AbstractEngine`: what integrates the lanes of one chunk. Faster engines are added by deriving from it."""

import abc

import equinox as eqx
from jaxtyping import Array

from lagrangian_learning.simulate.run import Outcome
from lagrangian_learning.simulate.settings import Plan, Tolerances

from .lanes import Inputs


class AbstractEngine(eqx.Module):
    """Integrates a chunk of lanes. Without array fields: `simulate_batch` compiles `run_chunk` once for all chunks.

    name: how the printed batch calls it.
    one_core: whether a chunk keeps only one core of a CPU busy, so that as many chunks run at once as there are cores.
    """

    name: eqx.AbstractClassVar[str]
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
