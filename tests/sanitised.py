"""One small use of every room, under one of the sanitisers: `python -W error -m tests.sanitised NAME`.

    beartype  every annotated argument, field and result of the package is what it says, an int being no float
    leaks     jax_check_tracer_leaks: no traced value outlives its trace (Diffrax's own loop fails it, and is left out)
    nans      jax_debug_nans: no operation of a run that is right makes a NaN on the way
    strict    jax_numpy_dtype_promotion="strict": no dtype is widened unasked, in float32 with x64 enabled

The test suite runs with strict promotion and warnings as errors too; this adds float32, and what would slow it down.
"""

import importlib
import pkgutil
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np

OPTIONS = {
    "beartype": {},
    "leaks": {"jax_check_tracer_leaks": True},
    "nans": {"jax_debug_nans": True},
    "strict": {"jax_numpy_dtype_promotion": "strict", "jax_enable_x64": True},
}


def imported(sanitiser: str) -> Any:
    """The package with all its modules, every one checked by beartype if that is asked for."""
    if sanitiser == "beartype":
        jaxtyping.install_import_hook("lagrangian_learning", "beartype.beartype")
    package = importlib.import_module("lagrangian_learning")
    for module in pkgutil.walk_packages(package.__path__, "lagrangian_learning."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return package


def signals(ll: Any) -> Any:
    """All signals at one time, with their slopes."""
    t, frames = jnp.float32(1.5), np.linspace(0, 1, 16, dtype=np.float32).reshape(8, 2)
    made = [
        ll.Constant(frames[0]),
        ll.Sinusoids(frames[0], 0.5),
        ll.Patterns(frames, 1.0, 0.25),
        ll.Sampled(np.arange(8, dtype=np.float32), frames, 4),
        ll.Stream(frames, degree=0).shift(1),
    ]
    return [jax.jvp(signal, (t,), (jnp.ones_like(t),)) for signal in made]


def mechanics(ll: Any) -> Any:
    """A pendulum: start, accelerations, energy, residual and a derivative."""
    lagrangian = ll.Lagrangian(lambda t, q, v, args: v @ v / 2 - q[1], ll.ExponentialDissipation(np.float32(0.1)))
    law = ll.EulerLagrange(lagrangian, ll.Holonomic(lambda t, q, args: q @ q - 1))
    state = law.initial_state(0.0, np.array([0.6, -0.8], np.float32))
    force = jax.grad(lambda q: law.energy(0.0, ll.State(q, state.v)))(state.q)
    return law.accelerations(0.0, state), law.residual(0.0, state), force


def learning(ll: Any) -> Any:
    """Laws of one network: starts, accelerations, rates and waves; an optimizer."""
    network = ll.Layered((2, 2, 1), bias=True)
    W = network.init(jax.random.key(0), jnp.float32)
    stimulus = ll.Stimulus(np.array([0.5, -0.5], np.float32), np.array([0.4], np.float32))
    laws = [ll.CognitiveAction(network, speed=speed).law() for speed in (None, 10.0)]
    laws += [ll.GradientFlow(network), ll.DampedDescent(network), ll.BackpropDiffusion(network)]
    states = [law.initial_state(0.0, W, args=stimulus) for law in laws]
    rates = [law.vector_field(jnp.float32(0), state, stimulus) for law, state in zip(laws, states, strict=True)]
    inputs, targets = np.zeros((5, 2), np.float32), np.ones((5, 1), np.float32)
    record = ll.waves.backprop_waves(network, W, inputs, targets, ll.SquaredError(), 0.1)
    transformation = ll.optimizer(1.0, 2.0)
    return rates, record.gradient_sum, transformation.update(W, transformation.init(W))


def graphs(ll: Any) -> Any:
    """A digraph with a cycle, and a chain: forward passes and a linearisation."""
    loop = ll.Digraph(3, [(0, 1), (1, 2), (2, 1)], 1, 1)
    chain = ll.Chain([ll.networks.chain.eqx.nn.Linear(2, 1, key=jax.random.key(0))])
    ends = [(loop, np.ones(1, np.float32)), (chain, np.ones(2, np.float32))]
    return [network.forward(network.init(jax.random.key(1), jnp.float32), u) for network, u in ends]


def runs(ll: Any) -> Any:
    """A run, and what it would cost."""
    network = ll.Layered((2, 2, 1))
    law = ll.CognitiveAction(network).law()
    stimulus = ll.Stimulus(ll.Sinusoids(np.array([1.0, 1.6], np.float32), 0.7), np.array([0.4], np.float32))
    state = law.initial_state(0.0, network.init(jax.random.key(0), jnp.float32), args=stimulus)
    ts = np.linspace(0, 1, 3, dtype=np.float32)
    predicted = ll.estimate(law, state, ts, stimulus, steps=10, hardware="h100")
    path = ll.simulate(law, state, ts, stimulus)
    assert path.result == ll.RESULTS.successful
    return path.W, str(path), str(predicted)


def main(sanitiser: str) -> None:
    """Runs every use under the sanitiser; what it finds is an error."""
    for name, value in OPTIONS[sanitiser].items():
        jax.config.update(name, value)
    package = imported(sanitiser)
    uses: list[Callable[[Any], Any]] = [signals, mechanics, learning, graphs]
    for use in uses if sanitiser == "leaks" else [*uses, runs]:
        for leaf in jax.tree.leaves(use(package)):
            found = getattr(leaf, "dtype", None)
            assert sanitiser != "strict" or found != jnp.float64, f"{use.__name__} widened float32 to float64"
        print(f"{sanitiser}: {use.__name__}")


if __name__ == "__main__":
    main(*sys.argv[1:])
