"""Signals, mechanics and networks."""

import equinox as eqx
import jax
import numpy as np

import lagrangian_learning as ll

from .judge import REAL, Case, Kind, array, count, function, nonnegative, number, positive, scaled, thing


def signals() -> list[Case]:
    frames = np.linspace(0.0, 1.0, 16).reshape(8, 2)
    ts = np.arange(8.0)
    stream = ll.Stream(frames)
    either = Kind(frozenset({"function"}) | REAL)
    return [
        Case("Constant", ll.Constant, {"value": 1.0}, {"value": number.also("rank")}),
        Case(
            "Sinusoids",
            ll.Sinusoids,
            {"frequency": 1.0},
            dict.fromkeys(("frequency", "amplitude", "phase", "offset"), number.also("rank")),
        ),
        Case(
            "Patterns",
            ll.Patterns,
            {"values": frames, "dwell": 4.0, "rise": 0.25},
            {
                "values": array(3, 2).also("rank"),
                "dwell": positive,
                "rise": positive,
                "smoothness": count,
                "periodic": thing,
            },
        ),
        Case(
            "Sampled",
            ll.Sampled,
            {"ts": ts, "values": frames},
            {
                "ts": Kind(REAL, lambda value: scaled(ts, value)),
                "values": array(8, 2),
                "smoothness": count,
                "degree": count.also("zero").optional(),
            },
        ),
        Case(
            "Stream",
            ll.Stream,
            {"frames": frames},
            {
                "frames": array(8, 2),
                "spacing": positive,
                "smoothness": count,
                "degree": count.also("zero").optional(),
                "start": number.but("half", "huge"),
            },
        ),
        Case("Stream.shift", stream.shift, {}, {"frames": number.but("half", "huge")}),
        Case(
            "Stimulus",
            ll.Stimulus,
            {"input": 1.0, "target": 1.0},
            dict.fromkeys(("input", "target"), either.also("rank")),
        ),
    ]


def mechanics() -> list[Case]:
    lagrangian = ll.Lagrangian(lambda t, q, v, args: v @ v / 2)
    law = ll.EulerLagrange(lagrangian, ll.Holonomic(lambda t, q, args: q @ q - 1))
    vakonomic = ll.EulerLagrange(lagrangian, ll.Vakonomic(lambda t, q, v, args: q @ v))
    q, pair = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    return [
        *(Case(kind.__name__, kind, {}, {"fn": function}) for kind in (ll.Holonomic, ll.Vakonomic, ll.DAlembert)),
        Case("ExponentialDissipation", ll.ExponentialDissipation, {}, {"theta": nonnegative}),
        Case(
            "PiecewiseLinearDissipation",
            ll.PiecewiseLinearDissipation,
            {"times": pair, "thetas": np.ones(2)},
            {
                "times": Kind(REAL - {"negative", "zero", "subnormal"}, lambda value: scaled(pair, value)),
                "thetas": array(2).but("negative"),
            },
        ),
        Case("Bregman", ll.Bregman, {}, dict.fromkeys(("order", "scale", "t0"), positive)),
        Case("Quadratic", ll.Quadratic, {}, {"mass": positive.also("dict")}),
        Case("Quartic", ll.Quartic, {}, {"mass": positive, "beta": nonnegative}),
        Case("Relativistic", ll.Relativistic, {}, {"mass": nonnegative, "speed": positive.also("inf"), "over": thing}),
        Case("DualMap", ll.DualMap, {}, {"fn": function}),
        Case("Kinetic", ll.Kinetic, {}, {"fn": function}),
        Case("KickDrift", ll.KickDrift, {}, {"linear_part": thing.optional(), "symmetric": thing}),
        *(
            Case(kind.__name__, kind, {}, {"linear_part": thing.optional()})
            for kind in (ll.ExponentialMidpoint, ll.ExponentialRK4)
        ),
        Case("ScheduledDissipation", ll.ScheduledDissipation, {}, {"log_weight_fn": function}),
        Case(
            "Lagrangian",
            ll.Lagrangian,
            {"density": lagrangian.density},
            {"density": function, "dissipation": thing, "order": count, "unweighted": function.optional()},
        ),
        Case(
            "EulerLagrange",
            ll.EulerLagrange,
            {"lagrangian": lagrangian},
            {
                "lagrangian": thing,
                "constraint": thing.optional().also("empty"),
                "forces": function.optional(),
                "multiplier_solver": thing.optional(),
            },
        ),
        Case(
            "EulerLagrange.initial_state",
            law.initial_state,
            {"t0": 0.0, "q": q, "v": np.zeros(2)},
            {
                "t0": number,
                "q": array(2).but("huge", "subnormal"),
                "v": array(2).optional(),
                "consistent": thing,
                "tolerance": positive.optional(),
            },
        ),
        Case(
            "Vakonomic initial_state",
            vakonomic.initial_state,
            {"t0": 0.0, "q": q, "v": np.array([0.0, 1.0]), "multipliers": 0.0},
            {"multipliers": number},
        ),
        Case("charge", ll.charge, {"law": law, "generator": ll.SpaceRotation()}, {"law": thing, "generator": function}),
        Case("GradientOf", ll.GradientOf, {}, {"fn": function}),
        Case(
            "SpaceRotation",
            ll.SpaceRotation,
            {"i": 0, "j": 1},
            {"i": count.also("zero"), "j": count, "center": array(3).optional()},
        ),
    ]


def networks() -> list[Case]:
    net = ll.Layered((2, 2, 1))
    key = jax.random.key(0)
    elementwise = thing  # the function of the table returns a scalar
    edges = [(0, 2), (1, 2)]
    digraph = {"num_neurons": 3, "edges": edges, "num_inputs": 2, "num_outputs": 1}
    return [
        Case(
            "Layered",
            ll.Layered,
            {"sizes": (2, 2, 1)},
            {"sizes": thing, "activation": elementwise, "bias": thing, "output_activation": elementwise.optional()},
        ),
        Case("Layered.init", net.init, {"key": key}, {"key": thing, "dtype": thing.optional()}),
        Case(
            "Digraph",
            ll.Digraph,
            digraph,
            {
                "num_neurons": count,
                "edges": thing,
                "num_inputs": count,
                "num_outputs": count,
                "activation": elementwise,
                "output_activation": elementwise.optional(),
                "tolerance": positive.optional(),
                "max_steps": count,
                "throw": thing,
            },
        ),
        Case(
            "Chain",
            ll.Chain,
            {"modules": [eqx.nn.Linear(2, 1, key=key)]},
            {"modules": thing, "input_shape": count.optional().also("empty")},
        ),
        Case("Batched", ll.Batched, {"network": net, "batch": 2}, {"network": thing, "batch": count}),
        Case("Rescaled", ll.Rescaled, {"network": net, "scales": 0.5}, {"network": thing, "scales": positive}),
    ]
