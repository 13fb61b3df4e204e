"""One batch that many tests share, so that it is compiled once: pendulums that differ in gravity."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from lagrangian_learning.batch import DiffraxEngine, SerialEngine, simulate_batch
from lagrangian_learning.fused import FusedEngine
from lagrangian_learning.simulate import RESULTS
from tests.laws import Motion, Pendulum

DIFFRAX, SERIAL, FUSED = DiffraxEngine(), SerialEngine(), FusedEngine()
# Not a multiple of the chunk: the last chunk is padded.
LANES, CHUNK = 11, 4
TS = np.linspace(0, 2, 5)
GRAVITY = np.linspace(5.0, 15.0, LANES)
AXES = (Pendulum(0), 0, 0)
SETTINGS = {"solver": diffrax.Tsit5(), "dt0": 0.005, "progress": False}
RECORDS = ("q", "v", "a", "energy", "energy_balance", "constraint_residual", "velocity_residual")


def released(lanes=LANES):
    return Motion(np.tile([1.0, 0.0], (lanes, 1)), np.zeros((lanes, 2)))


def run(gravity=GRAVITY, state=None, chunk=CHUNK, **settings):
    state = released(len(gravity)) if state is None else state
    law = Pendulum(jnp.asarray(gravity))
    return simulate_batch(law, state, TS, in_axes=AXES, chunk=chunk, **{**SETTINGS, **settings})


def statistics(total, path):
    """How many lanes succeeded, and the sum of their last heights."""
    fine = path.result == RESULTS.successful
    return {"lanes": total["lanes"] + fine.astype(int), "height": total["height"] + jnp.where(fine, path.q[-1, 1], 0)}


NOTHING = {"lanes": 0, "height": 0.0}


def assert_same_bits(left, right, lanes=slice(None), others=slice(None)):
    """Records, statistics and codes of some lanes of one batch are those of lanes of another."""
    for name in RECORDS:
        np.testing.assert_array_equal(getattr(left, name)[lanes], getattr(right, name)[others])
    ends = [(path.stats, path.result, path.final_state) for path in (left, right)]
    for one, other in zip(*map(jax.tree.leaves, ends), strict=True):
        np.testing.assert_array_equal(one[lanes], other[others])
