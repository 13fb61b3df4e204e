"""Which engine integrates a batch: the one that was given, or the fastest known for such lanes."""

import functools
import importlib
import warnings
from typing import Any

import jax
from jaxtyping import Array

from lagrangian_learning.costs.memory import is_small
from lagrangian_learning.simulate.settings import Plan, Tolerances

from .engine import AbstractEngine
from .engines import DiffraxEngine, SerialEngine
from .lanes import Inputs

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
            f"ll.fused.FusedEngine(), or one derived from ll.batch.AbstractEngine; got {engine!r}."
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
