"""One run of the digits experiment: the action's motion and SGD with the same momentum, on the same batches."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

import lagrangian_learning as ll
from lagrangian_learning.commands.output import Report, nothing_reported

from .task import Constants, Task


@dataclasses.dataclass(frozen=True)
class Run:
    """What came of one seed: accuracies on the judged images after every pass, and what it took."""

    seed: int
    constants: Constants
    accuracies: tuple[float, ...]
    accuracies_sgd: tuple[float, ...]
    seconds_a_step: float
    seconds_a_step_sgd: float
    cosine: float
    norm_ratio: float
    mass_force: float
    W: PyTree
    steps: int

    @property
    def accuracy(self) -> float:
        """At the end."""
        return self.accuracies[-1]

    @property
    def accuracy_sgd(self) -> float:
        """At the end."""
        return self.accuracies_sgd[-1]


def run_digits(seed: int, task: Task, constants: Constants, report: Report = nothing_reported) -> Run:
    """Learns a task by the cognitive action, one compiled run for all passes, and by SGD.

    report(batches done, batches in all, seconds of integration) is called at the start and after every pass.
    """
    law = constants.law(task.network, task.batches.shape[1])
    stimulus, steps = task.stimulus, len(task.batches) - 1
    state = law.initial_state(0.0, task.W, args=stimulus)
    times = jnp.array([0.0, task.a_pass], jnp.float32)
    jitted: Any = _a_pass
    a_pass = jitted.lower(law, state, times, stimulus).compile()
    accuracies, seconds = [], 0.0
    for first in range(0, steps, task.a_pass):
        report(first, steps, seconds)
        start = time.perf_counter()
        path = jax.block_until_ready(a_pass(law, state, times, stimulus.shift(first)))
        seconds += time.perf_counter() - start
        if path.result != ll.RESULTS.successful:
            raise RuntimeError(f"the motion ended in the pass from batch {first}: {ll.RESULTS[path.result]}")
        state = path.final_state
        accuracies.append(task.accuracy(state.q))
    report(steps, steps, seconds)
    accuracies_sgd, seconds_sgd = _by_sgd(task, constants)
    cosine, norm_ratio, mass_force = _multipliers(law, state, stimulus.shift(steps - 1))
    return Run(
        seed=seed,
        constants=constants,
        accuracies=tuple(accuracies),
        accuracies_sgd=tuple(accuracies_sgd),
        seconds_a_step=seconds / steps,
        seconds_a_step_sgd=seconds_sgd / steps,
        cosine=cosine,
        norm_ratio=norm_ratio,
        mass_force=mass_force,
        W=state.q,
        steps=steps,
    )


@eqx.filter_jit
def _a_pass(law: Any, state: ll.State, times: Array, stimulus: ll.Stimulus) -> ll.Trajectory:
    return ll.simulate(
        law, state, times, stimulus, solver=ll.KickDrift(), dt0=1.0, max_steps=None, save=lambda t, observables: t
    )


def _by_sgd(task: Task, constants: Constants) -> tuple[list[float], float]:
    """SGD with momentum by JAX and Optax alone, a batch a step, its steps compiled one by one."""
    optimiser = optax.sgd(constants.rate_sgd, momentum=constants.momentum)
    modules = task.network.modules

    @jax.jit
    def step(W: PyTree, memory: PyTree, images: Array, targets: Array) -> tuple[PyTree, PyTree]:
        def loss(W: PyTree) -> Array:
            return jnp.mean(optax.softmax_cross_entropy(jax.vmap(lambda u: _respond(modules(W), u))(images), targets))

        change, memory = optimiser.update(jax.grad(loss)(W), memory)
        return optax.apply_updates(W, change), memory

    W, memory = task.W, optimiser.init(task.W)
    jax.block_until_ready(step(W, memory, task.batches[0], task.targets[0]))
    accuracies, seconds = [], 0.0
    for first in range(0, len(task.batches) - 1, task.a_pass):
        start = time.perf_counter()
        for k in range(first, first + task.a_pass):
            W, memory = step(W, memory, task.batches[k], task.targets[k])
        jax.block_until_ready(W)
        seconds += time.perf_counter() - start
        accuracies.append(task.accuracy(W))
    return accuracies, seconds


def _respond(modules: tuple[Callable, ...], u: Array) -> Array:
    for module in modules:
        u = module(u)
    return u


@eqx.filter_jit
def _multipliers_and_deltas(law: Any, state: ll.State, stimulus: ll.Stimulus) -> tuple[Array, Array, Array]:
    t = jnp.zeros((), jnp.float32)
    x = law.network.forward(state.q, stimulus.input(t))
    deltas = ll.delta_errors(law.network, law.potential, x, state.q, stimulus.target(t))
    multipliers = law.accelerations(t, state, stimulus)[1]
    ratio = ll.learning.neuron_mass_ratio(law, t, state, stimulus)
    return ravel_pytree(multipliers)[0], ravel_pytree(deltas)[0], ratio


def _multipliers(law: Any, state: ll.State, stimulus: ll.Stimulus) -> tuple[float, float, float]:
    """Cosine and ratio of norms of multipliers to delta errors, and |m_x G_ξ⁻¹(γ₂ + r G_t)|/|V_ξ|, at the end."""
    ours, theirs, mass_force = (np.asarray(part) for part in _multipliers_and_deltas(law, state, stimulus))
    norms = np.linalg.norm(ours), np.linalg.norm(theirs)
    return float(ours @ theirs / (norms[0] * norms[1])), float(norms[0] / norms[1]), float(mass_force)
