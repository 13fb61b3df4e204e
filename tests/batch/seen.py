"""Run by `test_fingerprint.py` in a process a row: runs a small batch with a checkpoint, and prints what it refuses.

Arguments: the folder of the checkpoint, and what is changed before the batch is made.
"""

import json
import os
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)

import lagrangian_learning as ll  # noqa: E402  # in the precision that is wanted
from lagrangian_learning.simulate import work  # noqa: E402

folder, change = sys.argv[1:]

MODULE = """
import jax.numpy as jnp
class Model:
    stiffness = {stiffness}
    @classmethod
    def pull(cls, q):
        return {pull} * cls.stiffness * q
def loss(q):
    return {loss} * jnp.sum(q**4)
"""


def module():
    """A user's module, as another process finds it."""
    words = {"stiffness": "2.0", "pull": "1", "loss": "0.25"}
    made = types.ModuleType("users_module")
    words |= {name: {"stiffness": "2.5", "pull": "1.5", "loss": "0.3"}[name] for name in words if name == change}
    exec(MODULE.format(**words), vars(made))  # noqa: S102  # our own code
    return made


mine = module()
table = np.linspace(0.0, 1.0, 1_000_000)
if change == "large array":
    table[123_456] += 1e-12


def closed(k):
    return lambda q: k * q


def tuned(q):
    return tuned.gain * q


tuned.gain = 1.5 if change == "function attribute" else 1.0
spring = closed(3.5 if change == "closure" else 3.0)


def force(q):
    strength = float(os.environ.get("STRENGTH_OF_A_TEST", "1"))
    return mine.Model.pull(q) + tuned(q) + spring(q) + strength * q + jnp.asarray(table)[123_456] * q


def potential(t, q, v, args):
    return jnp.dot(v, v) / 2 - jnp.dot(jax.lax.stop_gradient(force(q)), q) - mine.loss(q)


if change == "this library":
    work.WithWork.rates = lambda self, t, y, args, call=work.WithWork.rates: jax.tree.map(
        lambda leaf: leaf * (1 + 1e-15), call(self, t, y, args)
    )

settings = {"dt0": 0.1, "progress": False, "chunk": 4, "in_axes": (None, 0, None), "checkpoint": folder}
settings["engine"] = ll.fused.FusedEngine() if change == "engine" else ll.batch.DiffraxEngine()
if change == "matmul precision":
    jax.config.update("jax_default_matmul_precision", "highest")
if change == "callback":
    settings["save"] = lambda t, observables: jax.pure_callback(
        np.cos, jax.ShapeDtypeStruct((), np.float64), observables["q"][0], vmap_method="sequential"
    )
scale = 1.5 if change == "fold" else 1.0
settings["reduce"] = (0.0, lambda total, path: total + scale * path.q[-1, 0])
if change == "callback in the fold":
    settings["reduce"] = (
        0.0,
        lambda total, path: total + jax.pure_callback(np.cos, jax.ShapeDtypeStruct((), np.float64), path.q[-1, 0]),
    )
law = ll.EulerLagrange(ll.Lagrangian(potential))
start = ll.State(np.linspace(0.5, 1.0, 8).reshape(8, 1), np.zeros((8, 1)))
try:
    refused = None
    value = float(ll.simulate_batch(law, start, [0.0, 1.0], **settings).value)
except ValueError as error:
    refused, value = str(error), None
json.dump({"refused": refused, "value": value}, sys.stdout)
