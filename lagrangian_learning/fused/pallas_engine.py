"""`PallasEngine`: whole trajectories of small systems in one kernel of a GPU."""

import functools
from typing import ClassVar

import equinox as eqx
import jax
from jaxtyping import Array

from lagrangian_learning.batch.engine import AbstractEngine
from lagrangian_learning.batch.lanes import Inputs
from lagrangian_learning.simulate.run import Outcome, Plan
from lagrangian_learning.simulate.settings import Tolerances

from .engine import FusedEngine, concluded
from .lane_step import Setting
from .lanewise import blocked
from .lockstep import Lockstep


class PallasEngine(AbstractEngine):
    """The fused engine's arithmetic with a lane's state in registers: a lane a thread, from the first step to the last.

    A trajectory writes its saved states and nothing else to memory, and no kernel is launched a step. Constant and
    adaptive steps, whatever the fused engine takes whose steps are arithmetic alone (no loops whose length depends on
    values, no large tables). Lanes of a block wait for each other at saved times.

    Arguments:
        block: lanes a program of the kernel, a power of two.
        interpret: compute the kernel with XLA, on any device: for a look at it without a GPU, slowly.
    """

    block: int = eqx.field(static=True, default=128)
    interpret: bool = eqx.field(static=True, default=False)
    name: ClassVar[str] = "pallas"
    one_core: ClassVar[bool] = False

    def __check_init__(self) -> None:
        if self.block < 1 or self.block & (self.block - 1):
            raise ValueError(f"block must be a power of two, got {self.block}.")

    def refusal(self, lane: Inputs, times: Array, plan: Plan) -> str | None:
        if not self.interpret and jax.default_backend() != "gpu":
            return (
                f"its kernel is for GPUs, and JAX runs on a {jax.default_backend()} here; "
                "engine=ll.fused.PallasEngine(interpret=True) computes it anywhere, slowly."
            )
        if not _has_pallas():
            return "this JAX has no Pallas for GPUs; a newer one has."
        return FusedEngine().refusal(lane, times, plan)

    def run_chunk(self, varied: Inputs, shared: Inputs, times: Array, tolerances: Tolerances, plan: Plan) -> Outcome:
        from .pallas_kernel import in_registers  # Pallas takes a while to import, and is not everywhere

        setting = Setting(times, tolerances, plan)
        lanes = jax.tree.leaves(varied)[0].shape[0]
        one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), varied)
        lockstep = Lockstep(one, shared, setting)
        through = functools.partial(in_registers, lockstep=lockstep, block=self.block, interpret=self.interpret)
        whole = [leaf[0] for leaf in blocked(varied, self.block * -(-lanes // self.block))]
        run = lockstep(whole, through)
        return concluded(lockstep, jax.tree.map(lambda leaf: leaf[None], run), lanes, setting)


def _has_pallas() -> bool:
    """Whether all that the kernel is made of can be imported: a part of JAX that changes, and is not everywhere."""
    try:
        from . import pallas_kernel as in_registers  # noqa: F401
    except ImportError:
        return False
    return True
