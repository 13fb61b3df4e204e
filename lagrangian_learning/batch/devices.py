"""Lanes over devices and hosts: each device integrates its own, and none waits for another."""

import functools
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from lagrangian_learning.costs.memory import is_small
from lagrangian_learning.simulate.plan import Plan, Tolerances
from lagrangian_learning.simulate.run import Outcome

from .engines import AbstractEngine
from .lanes import Inputs, has_dtype

LANES = "lanes"
# XLA takes half of an AVX-512 register, since processors of its first years slowed down for the whole; where there are
# none, this changes nothing.
_WIDEST = {"xla_cpu_prefer_vector_width": 512}


def lane_mesh(mesh: Any) -> Mesh | None:
    """This process's devices of a mesh of any shape in a row, their axis Auto; None: JAX's default device.

    Explicit axes, the default of `jax.make_mesh`, would make Diffrax's loops fail.
    """
    if mesh is None:
        return None
    if not isinstance(mesh, Mesh):
        raise ValueError(f"mesh must be a jax.sharding.Mesh, as jax.make_mesh makes it, got {type(mesh).__name__}.")
    devices = [device for device in mesh.devices.flat if device.process_index == jax.process_index()]
    if not devices:
        raise ValueError("the mesh holds no device of this process: give every process a part of it, or leave it out.")
    return Mesh(np.array(devices), (LANES,))


def local_lanes(count: int, mesh: Mesh | None = None) -> range:
    """The lanes of a batch of `count` that this process integrates: ⌊count k/D⌋ up to ⌊count (k + d)/D⌋.

    D is the number of devices of the mesh, d of them are this process's, k stand before in the order of processes. A
    mesh of one process's devices, and no mesh, leave all lanes to it.
    """
    if mesh is None:
        return range(count)
    owners = [device.process_index for device in mesh.devices.flat]
    before = sum(owner < jax.process_index() for owner in owners)
    mine = sum(owner == jax.process_index() for owner in owners)
    return range(count * before // len(owners), count * (before + mine) // len(owners))


def spans_processes(mesh: Mesh | None) -> bool:
    """Whether the mesh holds devices of another process."""
    return mesh is not None and any(device.process_index != jax.process_index() for device in mesh.devices.flat)


def num_devices(mesh: Mesh | None) -> int:
    """How many devices share a chunk."""
    return 1 if mesh is None else mesh.size


def on_all(mesh: Mesh | None, tree: PyTree) -> PyTree:
    """The arrays of a pytree on every device of the mesh, once and for all chunks; the rest as it is."""
    arrays, rest = eqx.partition(tree, has_dtype)
    where = None if mesh is None else NamedSharding(mesh, PartitionSpec())
    return eqx.combine(jax.device_put(arrays, where), rest)


def _run_chunk(
    engine: AbstractEngine,
    varied: Inputs,
    shared: Inputs,
    times: Array,
    tolerances: Tolerances,
    plan: Plan,
    mesh: Mesh | None,
) -> Outcome:
    """The outcomes of a chunk, a number of lanes that the devices share evenly."""
    if mesh is None:
        return engine.run_chunk(varied, shared, times, tolerances, plan)
    arrays, rest = eqx.partition((shared, times, tolerances, plan), eqx.is_array)

    def run_shard(varied: Inputs, arrays: PyTree) -> Outcome:
        return engine.run_chunk(varied, *eqx.combine(arrays, rest))

    # Under jit alone, with sharded inputs, every step would wait for all devices to agree on whether to go on.
    sharded = jax.shard_map(
        run_shard,
        mesh=mesh,
        in_specs=(PartitionSpec(LANES), PartitionSpec()),
        out_specs=PartitionSpec(LANES),
        check_vma=False,  # loops of unequal length on different devices are what is wanted here
    )
    return sharded(varied, arrays)


run_chunk = eqx.filter_jit(_run_chunk)


def compiled_chunk(engine: AbstractEngine, lane: Inputs) -> Any:
    """`run_chunk` for such lanes, with `compiler_options`."""
    return _wide_run_chunk() if compiler_options(engine, lane) else run_chunk


def compiler_options(engine: AbstractEngine, lane: Inputs) -> dict[str, Any]:
    """Options of XLA: the widest vectors serve arithmetic on few numbers by one core of a CPU."""
    wide = engine.one_core and is_small(lane.state) and jax.default_backend() == "cpu"
    return _WIDEST if wide and _wide_is_known() else {}


@functools.cache
def _wide_run_chunk() -> Any:
    return eqx.filter_jit(_run_chunk, compiler_options=_WIDEST)


@functools.cache
def _wide_is_known() -> bool:
    """Whether this XLA has such options."""
    try:
        jax.jit(lambda: 0, compiler_options=_WIDEST).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


def over_devices(mesh: Mesh | None, varied: PyTree) -> PyTree:
    """A chunk on its devices."""
    return jax.device_put(varied, None if mesh is None else NamedSharding(mesh, PartitionSpec(LANES)))
