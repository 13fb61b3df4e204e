"""What integrates the lanes of one chunk: the engines that take any law, and the choice among all."""

import abc
import functools
import importlib
import warnings
from typing import Any, ClassVar

import equinox as eqx
import jax
from jaxtyping import Array

from lagrangian_learning._checks import kind_of
from lagrangian_learning.costs.memory import is_small
from lagrangian_learning.simulate.checked import run_checked
from lagrangian_learning.simulate.plan import Plan, Tolerances
from lagrangian_learning.simulate.run import Outcome

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
    return run_checked(inputs.law, inputs.state, times, inputs.args, tolerances, plan, inputs.carry)


# Optional modules with `preferred_engine(lane, lanes, times, tolerances, plan)`, which returns an engine that is faster
# for such lanes, or None. They are imported here and nowhere else, for small lanes on a CPU.
_OPTIONAL = ("lagrangian_learning.fused.choice",)


def engine_for(
    engine: Any, lane: Inputs, lanes: int, times: Array, tolerances: Tolerances, plan: Plan
) -> AbstractEngine:
    """The engine given, or for None the one known to be fastest. ValueError for one that cannot integrate the lanes."""
    if engine is None:
        return _preferred(lane, lanes, times, tolerances, plan)
    if not isinstance(engine, AbstractEngine):
        raise ValueError(
            f"engine must be None, which picks one, or an engine: ll.batch.DiffraxEngine(), ll.batch.SerialEngine(), "
            f"ll.fused.FusedEngine(), or one derived from ll.batch.AbstractEngine; got {kind_of(engine)}."
        )
    refusal = engine.refusal(lane, times, plan)
    if refusal is not None:
        raise ValueError(f"{type(engine).__name__} cannot integrate this: {refusal} Use engine=None.")
    return engine


def _preferred(lane: Inputs, lanes: int, times: Array, tolerances: Tolerances, plan: Plan) -> AbstractEngine:
    if jax.default_backend() != "cpu":
        return DiffraxEngine()
    if not is_small(lane.state):
        return SerialEngine()
    rooms = filter(None, map(_loaded, _OPTIONAL))
    found = (room.preferred_engine(lane, lanes, times, tolerances, plan) for room in rooms)
    return next((engine for engine in found if engine is not None), DiffraxEngine())


@functools.cache
def _loaded(name: str) -> Any:
    """The optional module; None, with one warning, where it does not fit what is installed."""
    try:
        return importlib.import_module(name)
    except (ImportError, AttributeError) as error:  # of names in JAX that have gone
        warnings.warn(f"{name} cannot be loaded here ({error}): batches run by Diffrax.", RuntimeWarning, stacklevel=2)
        return None
