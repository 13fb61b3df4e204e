"""Run by `test_devices.py` in a process with eight forced devices; prints what it found as JSON."""

import json
import re
import sys

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import lagrangian_learning as ll
from lagrangian_learning.batch.devices import run_chunk
from lagrangian_learning.batch.lanes import Inputs, lanes_of
from lagrangian_learning.simulate.inputs import checked_times
from lagrangian_learning.simulate.run import integrate
from lagrangian_learning.simulate.settings import Settings
from tests.batches import DIFFRAX, FUSED, GRAVITY, LANES, NOTHING, SERIAL, released, run, statistics

jax.config.update("jax_enable_x64", True)

TS = np.linspace(0, 1, 3)
ENGINES = (DIFFRAX, SERIAL, FUSED)
SETTINGS = {"solver": diffrax.Heun(), "dt0": 0.02}
COLLECTIVE = re.compile(r"(?<=[ (])(all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)[-a-z]*\(")


def meshes():
    """Two, four and eight devices in a row, in a square, and with the Explicit axes that are JAX's default."""
    devices = np.array(jax.devices())
    return {
        "2": Mesh(devices[:2], ("x",)),
        "4": Mesh(devices[:4].reshape(2, 2), ("x", "y")),
        "8": jax.make_mesh((4, 2), ("x", "y")),
    }


def same_bits(left, right, order=slice(None), lanes=slice(None)):
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.array_equal(a[lanes], b[order], equal_nan=True) for a, b in pairs)


def pendulums():
    """The batch of the other tests on every mesh."""
    alone, mesh = run(chunk=None), meshes()["4"]
    found = {name: same_bits(run(chunk=None, mesh=where), alone) for name, where in meshes().items()}
    order = np.random.default_rng(4).permutation(LANES)
    found["permuted"] = same_bits(run(GRAVITY[order], chunk=None, mesh=mesh), alone, order)
    found["chunked"] = same_bits(run(chunk=8, mesh=mesh), alone)
    reduce = (NOTHING, statistics)
    found["reduced"] = same_bits(run(mesh=mesh, reduce=reduce).value, run(chunk=None, reduce=reduce).value, ..., ...)
    state, good = released(), np.setdiff1d(np.arange(LANES), [7])
    state.q[7] = np.nan
    bad = run(state=state, chunk=None, mesh=mesh)
    for name, engine in (
        ("fused", FUSED),
        ("serial", SERIAL),
    ):
        few = {"chunk": None, "dt0": 0.1, "engine": engine}
        found[name] = same_bits(run(mesh=mesh, **few), run(**few))
    adaptive = {"chunk": None, "dt0": None, "rtol": 1e-6}
    found["adaptive"] = same_bits(run(mesh=mesh, **adaptive), run(**adaptive))
    found["bad lane"] = same_bits(bad, alone, good, good) and bool((bad.result == ll.RESULTS.non_finite)[7])
    return found


def networks():
    """XOR networks under inputs of different frequencies, from different weights."""
    action = ll.CognitiveAction(ll.Layered((2, 2, 1)), mass_x=1e-2)
    law, lanes = action.law(), 21
    frequency = jnp.asarray(np.random.default_rng(3).uniform(0.5, 2, (lanes, 2)))
    stimuli = jax.vmap(lambda f: ll.Stimulus(ll.Sinusoids(f, 0.7, 0.1), jnp.full(1, 0.4)))(frequency)
    weights = jax.vmap(action.network.init)(jax.random.split(jax.random.key(1), lanes))
    return law, jax.vmap(lambda W, s: law.initial_state(0.0, W, args=s))(weights, stimuli), stimuli


def networks_on_devices():
    law, state, stimuli = networks()
    paths = [
        ll.simulate_batch(law, state, TS, stimuli, mesh=mesh, progress=False, **SETTINGS)
        for mesh in (None, meshes()["8"])
    ]
    return same_bits(*paths) and bool((paths[0].result == ll.RESULTS.successful).all())


def collectives():
    """How many collectives the compiled text of a sharded chunk holds; and of a plain jit of sharded lanes."""
    law, state, stimuli = networks()
    lanes = lanes_of(Inputs(law, jax.tree.map(np.asarray, state), stimuli), (None, 0, 0))
    times = checked_times(TS, jnp.float64)
    given = (times, *Settings(**SETTINGS).prepared(law, times))
    row = Mesh(np.array(jax.devices()[:4]), ("lanes",))
    shared = jax.device_put(eqx.filter(lanes.shared, eqx.is_array), NamedSharding(row, PartitionSpec()))
    varied = jax.device_put(lanes.chunk(0, 24), NamedSharding(row, PartitionSpec("lanes")))
    on_row = {engine.name: run_chunk.lower(engine, varied, shared, *given, row) for engine in ENGINES}
    plain = eqx.filter_jit(DIFFRAX.run_chunk).lower(varied, shared, *given)
    return {name: len(COLLECTIVE.findall(text(one.compile()))) for name, one in {**on_row, "plain": plain}.items()}


def text(compiled):
    return getattr(compiled, "compiled", compiled).as_text()


def chain():
    """The widths of the layered network below, its last layer linear."""
    keys = jax.random.split(jax.random.key(5), 3)
    first, second, last = (
        eqx.nn.Linear(*sizes, key=k) for sizes, k in zip(((8, 64), (64, 32), (32, 4)), keys, strict=True)
    )
    tanh = eqx.nn.Lambda(jnp.tanh)
    return ll.Chain([eqx.nn.Sequential([first, tanh]), eqx.nn.Sequential([second, tanh]), last])


def sharded_weights(network):
    """A wide network, its weights on four devices and on one."""
    law = ll.CognitiveAction(network, mass_x=1e-4).law()
    stimulus = ll.Stimulus(ll.Sinusoids(jnp.linspace(0.5, 2, 8), 0.7, 0.1), jnp.linspace(-0.2, 0.4, 4))
    W = network.init(jax.random.key(0))
    cut = ll.networks.shard_weights(network, W, jax.make_mesh((2, 2), ("x", "y")))
    paths = [
        ll.simulate(law, law.initial_state(0.0, weights, args=stimulus), TS, stimulus, **SETTINGS)
        for weights in (W, cut)
    ]
    ends = [jax.tree.leaves((path.final_state, path.W, path.multipliers)) for path in paths]
    return {
        "error": max(float(np.max(np.abs(np.asarray(a) - np.asarray(b)))) for a, b in zip(*ends, strict=True)),
        "placed": shards(cut),
        "end": shards(paths[1].final_state.q),
        "records": shards(paths[1].W),
        "moved": moved_in_steps(law, cut, stimulus),
    }


def shards(tree):
    return [[*leaf.sharding.shard_shape(leaf.shape)] for leaf in jax.tree.leaves(tree)]


def moved_in_steps(law, W, stimulus):
    """The most entries of one array that a collective of the compiled steps moves."""
    state = law.initial_state(0.0, W, args=stimulus)
    times = checked_times(TS, jnp.float64)
    settings = Settings(**SETTINGS).prepared(law, times)
    compiled = eqx.filter_jit(integrate).lower(law, state, times, stimulus, *settings, None).compile()
    steps = [line for line in text(compiled).splitlines() if COLLECTIVE.search(line) and "diffeqsolve" in line]
    moved = [line[line.index("=") : COLLECTIVE.search(line).start()] for line in steps]
    shapes = re.findall(r"f64\[([\d,]*)\]", " ".join(moved))
    return max(int(np.prod([int(n) for n in shape.split(",") if n])) for shape in shapes)


if __name__ == "__main__":
    found = {"devices": jax.device_count(), "lanes": {**pendulums(), "networks": networks_on_devices()}}
    wide = {"layered": ll.Layered((8, 64, 32, 4), bias=True), "chain": chain()}
    weights = {name: sharded_weights(network) for name, network in wide.items()}
    json.dump({**found, "collectives": collectives(), "weights": weights}, sys.stdout)
