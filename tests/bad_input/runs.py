"""Runs, batches, boundary-value problems and estimates."""

import tempfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lagrangian_learning as ll

from .judge import REAL, Case, Kind, count, function, positive, thing, times


def batch(**given: Any) -> Any:
    """`simulate_batch`, whose checkpoint "a" is a folder elsewhere."""
    with tempfile.TemporaryDirectory() as folder:
        named = {"checkpoint": folder} if isinstance(given.get("checkpoint"), str) else {}
        return ll.simulate_batch(**{**given, **named})


def runs() -> list[Case]:
    lagrangian = ll.Lagrangian(lambda t, q, v, args: v @ v / 2)
    law = ll.EulerLagrange(lagrangian, ll.Holonomic(lambda t, q, args: q @ q - 1))
    q = jnp.array([1.0, 0.0])
    state, many = ll.State(q, jnp.zeros(2)), ll.State(jnp.stack([q, q]), jnp.zeros((2, 2)))
    ts = np.linspace(0.0, 1.0, 3)
    both_ways = Kind(REAL.difference({"zero"}), lambda value: times(value))
    times_kind = Kind(REAL.difference({"negative", "zero"}), lambda value: times(value))
    settings = {
        "solver": thing.optional(),
        "rtol": positive.optional(),
        "atol": positive.optional(),
        "dt0": positive.optional(),
        "stepsize_controller": thing.optional(),
        "stabilisation": thing.optional(),
        "save": function.optional(),
        "resume": thing.optional(),
        "max_steps": count.optional(),
        "progress": thing,
        "throw": thing,
        "watch": thing,
        "event": thing.optional(),
        "charges": thing.optional(),
        "kinks": Kind(REAL | {"empty"}).optional(),
    }
    net = ll.Layered((2, 2, 1))
    W = net.init(jax.random.key(0))
    stimulus = ll.Stimulus(np.array([0.5, -0.5]), np.array([0.4]))
    weights = Kind(REAL.difference({"integer"}), lambda value: jax.tree.map(lambda leaf: np.full(leaf.shape, value), W))
    neurons = Kind(REAL, lambda value: tuple(np.full(n, value) for n in (2, 2, 1)))
    wave = ll.BackpropDiffusion(net, costate="forward", theta=0.0)
    delayed = ll.CognitiveAction(net, speed=10.0).law()
    flow = ll.GradientFlow(net)
    learnt = flow.initial_state(0.0, W, args=stimulus)
    hardware = ll.costs.hardware.KNOWN["h100"]
    return [
        Case(
            "simulate",
            ll.simulate,
            {"law": law, "state": state, "ts": ts},
            {"law": thing, "state": thing, "ts": both_ways, **settings, "adjoint": thing.optional(), "dense": thing},
        ),
        Case(
            "simulate (learning)",
            ll.simulate,
            {"law": flow, "state": learnt, "ts": ts, "args": stimulus},
            {"state": thing, "args": thing},
        ),
        Case(
            "simulate_batch",
            batch,
            {"law": law, "state": many, "ts": ts, "in_axes": (None, 0, None), "progress": False},
            {
                "law": thing,
                "state": thing,
                "ts": times_kind,
                "in_axes": thing,
                "mesh": thing.optional(),
                "chunk": count.optional(),
                "engine": thing.optional(),
                **settings,
                "reduce": thing.optional(),
                "checkpoint": thing.optional().also("string"),
            },
        ),
        Case(
            "value_and_grad_batch",
            ll.value_and_grad_batch,
            {
                "loss": lambda path: jnp.sum(path.q),
                "law": law,
                "state": many,
                "ts": ts,
                "in_axes": (None, 0, None),
                "argnums": 1,
                "progress": False,
            },
            {
                "loss": function,
                "law": thing,
                "state": thing,
                "ts": times_kind,
                "argnums": thing,
                "in_axes": thing,
                "mesh": thing.optional(),
                "chunk": count.optional(),
                "engine": thing.optional(),
                **{name: kind for name, kind in settings.items() if name not in ("resume", "charges")},
                "adjoint": thing.optional(),
            },
        ),
        Case(
            "solve_boundary",
            ll.solve_boundary,
            {"law": wave, "W": W, "ts": ts, "stimulus": stimulus},
            {
                "law": thing,
                "W": weights,
                "ts": times_kind,
                "stimulus": thing,
                "x": neurons.optional(),
                "method": thing.optional(),
                "tol": positive.optional(),
                "intervals": count,
                "throw": thing,
            },
        ),
        Case(
            "solve_boundary (finite mass)",
            ll.solve_boundary,
            {"law": delayed, "W": W, "ts": ts, "stimulus": stimulus},
            {"W_dot": weights.optional()},
        ),
        Case(
            "echo_gradient",
            ll.echo_gradient,
            {
                "law": law,
                "state": state,
                "ts": ts,
                "args": None,
                "cost": lambda t, q, args: q @ q,
                "terminal": lambda q, args: q[0],
                "dt0": 0.1,
                "nudge": 0.01,
            },
            {
                "law": thing,
                "state": thing,
                "ts": times_kind,
                "cost": function.optional(),
                "terminal": function.optional(),
                "dt0": positive,
                "nudge": positive,
                "extrapolate": thing,
                "solver": thing.optional(),
            },
        ),
        Case("Projection", ll.Projection, {}, {"drift_limit": positive.optional()}),
        Case("Baumgarte", ll.Baumgarte, {"alpha": 1.0, "beta": 1.0}, dict.fromkeys(("alpha", "beta"), positive)),
        Case("NoStabilisation", ll.NoStabilisation, {}, {"drift_limit": positive.optional()}),
        Case("Rattle", ll.Rattle, {}, {"iterations": count}),
        Case("boundary.Newton", ll.boundary.Newton, {}, {"max_iterations": count}),
        Case("boundary.Sweeps", ll.boundary.Sweeps, {}, {"relaxation": positive, "max_iterations": count}),
        Case(
            "estimate",
            ll.estimate,
            {"law": flow, "state": learnt, "ts": ts, "args": stimulus, "steps": 10, "hardware": hardware},
            {
                "law": thing,
                "state": thing,
                "ts": times_kind,
                "args": thing,
                "steps": count,
                "solver": thing.optional(),
                "lanes": count,
                "lane_devices": count,
                "weight_devices": count,
                "hardware": thing.optional(),
                "solver_steps": positive.optional(),
                "engine": thing.optional(),
                "argnums": thing.also("integer").optional(),
                "max_steps": count,
            },
        ),
        Case(
            "estimate (dt0)",
            ll.estimate,
            {"law": flow, "state": learnt, "ts": ts, "args": stimulus, "dt0": 0.1, "hardware": hardware},
            {"dt0": positive},
        ),
    ]
