"""Run by `test_devices.py` in each of two processes that JAX has joined; prints what it found as JSON."""

import json
import sys

import jax
import numpy as np

process, address, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(address, num_processes=2, process_id=process)

import lagrangian_learning as ll  # noqa: E402  # JAX must be joined before it is used
from tests.batches import GRAVITY, NOTHING, RECORDS, run, statistics  # noqa: E402


def same_bits(left, right, share):
    return all(np.array_equal(getattr(left, name), getattr(right, name)[share]) for name in RECORDS)


mesh = jax.make_mesh((jax.device_count(),), ("lanes",))
lanes = ll.batch.local_lanes(len(GRAVITY), mesh)
share = slice(lanes.start, lanes.stop)
whole, mine = run(), run(mesh=mesh)
found = {
    "devices": [jax.local_device_count(), jax.device_count()],
    "share": [share.start, share.stop],
    "same": same_bits(mine, whole, share),
    "own": same_bits(run(GRAVITY[:5]), whole, slice(0, 5)),  # without a mesh lanes are the process's own
    "resumed": same_bits(run(mesh=mesh, checkpoint=folder), whole, share)
    and same_bits(run(mesh=mesh, checkpoint=folder), whole, share),
    "lanes": int(run(mesh=mesh, reduce=(NOTHING, statistics)).value["lanes"]),
}
try:
    run(GRAVITY[:1], mesh=mesh)
    found["too few"] = ""
except ValueError as error:
    found["too few"] = str(error)
json.dump(found, sys.stdout)
