"""Actions, laws of learning, waves and the optimizer."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lagrangian_learning as ll

from .judge import REAL, Case, Kind, array, count, function, nonnegative, number, positive, thing


def learning() -> list[Case]:
    net = ll.Layered((2, 2, 1))
    W = net.init(jax.random.key(0))
    stimulus = ll.Stimulus(np.array([0.5, -0.5]), np.array([0.4]))
    action = ll.CognitiveAction(net)
    right = {"network": net}
    start = {"t0": 0.0, "q": W, "args": stimulus}
    learner = {"network": thing, "potential": function}
    diffusion = ll.BackpropDiffusion(net)
    frames = np.zeros((5, 2))
    term = {"fn": lambda *args: 0.0}
    index = count.also("zero", "negative")
    further = dict.fromkeys(("unit", "following"), index.optional())
    weights = Kind(REAL.difference({"integer"}), lambda value: jax.tree.map(lambda leaf: np.full(leaf.shape, value), W))
    starts = [
        Case(
            f"{type(law).__name__}.initial_state",
            law.initial_state,
            start,
            {"t0": number, "q": weights, "v": v, "args": thing},
        )
        for law, v in (
            (action.law(), weights.optional()),
            (ll.GradientFlow(net), thing.optional()),
            (ll.DampedDescent(net), weights.optional()),
            (ll.Descent(net), weights.optional()),
            (ll.PredictiveCoding(net, gamma_x=0.3, stiffness=10.0), thing.optional()),
            (ll.CognitiveAction(net, stiffness=10.0).law(), weights.optional()),
            (diffusion, thing.optional()),
        )
    ]
    return [
        Case("SquaredError batch", ll.BatchSum, {}, {"potential": function}),
        Case("BatchMean", ll.BatchMean, {}, {"potential": function}),
        Case("Term", ll.Term, term, {"fn": function, "order": count.also("zero"), "weighted": thing}),
        Case("WeightDecay", ll.WeightDecay, {}, {"rate": nonnegative}),
        Case("Rescaling", ll.Rescaling, {"layer": 0}, {"layer": index} | further),
        Case("Scaling", ll.Scaling, {"layer": 0}, {"layer": index}),
        Case("Translation", ll.Translation, {}, {"layer": index, "direction": array(3).optional()}),
        Case(
            "Rotation",
            ll.Rotation,
            {"i": 0, "j": 1},
            {"i": count.also("zero"), "j": count, "layer": index, "following": index.optional()},
        ),
        Case(
            "CognitiveAction",
            ll.CognitiveAction,
            right,
            {
                **learner,
                "mass_x": nonnegative,
                "mass_W": positive,
                "dissipation": thing,
                "terms": thing.also("empty"),
                "speed": positive.optional(),
                "stiffness": positive.optional(),
            },
        ),
        Case(
            "CognitiveAction.law", action.law, {}, dict.fromkeys(("coordinates", "multiplier_solver"), thing.optional())
        ),
        Case("GradientFlow", ll.GradientFlow, right, {**learner, "gamma": positive}),
        Case(
            "PredictiveCoding",
            ll.PredictiveCoding,
            {**right, "stiffness": 10.0},
            {**learner, "gamma": positive, "gamma_x": nonnegative.optional(), "stiffness": positive},
        ),
        Case("DampedDescent", ll.DampedDescent, right, {**learner, "mass_W": positive, "dissipation": thing}),
        Case(
            "Descent",
            ll.Descent,
            {"loss": net},
            {
                "loss": function,
                "kinetic": function.optional(),
                "dissipation": thing.optional(),
                "factor": nonnegative.also("function").optional(),
            },
        ),
        Case("NetworkLoss", ll.NetworkLoss, right, learner),
        Case("FunctionLoss", ll.learning.FunctionLoss, {}, {"fn": function}),
        Case(
            "BackpropDiffusion",
            ll.BackpropDiffusion,
            right,
            {
                **learner,
                "gamma": positive,
                "speed": positive,
                "theta": nonnegative,
                "costate": thing,
                "undo_gain": thing,
            },
        ),
        *starts,
        Case(
            "ConjugateGradients",
            ll.multipliers.ConjugateGradients,
            {},
            {"rtol": positive.optional(), "max_steps": count.optional()},
        ),
        Case(
            "LowRankElimination",
            ll.multipliers.LowRankElimination,
            {},
            {"rank": count.optional(), "rtol": positive.optional(), "max_steps": count.optional()},
        ),
        Case(
            "backprop_waves",
            ll.waves.backprop_waves,
            {"network": net, "W": W, "inputs": frames, "targets": frames[:, :1], "potential": ll.SquaredError()},
            {
                "network": thing,
                "W": weights,
                "inputs": array(5, 2),
                "targets": array(5, 1),
                "potential": function,
                "rate": number.optional(),
            },
        ),
        Case(
            "optimizer",
            optimised,
            {"gamma": 1.0},
            {"gamma": positive, "theta": positive.also("inf").optional(), "step": positive.also("function")},
        ),
        Case(
            "optimizer of a kinetic energy",
            optimised,
            {"kinetic": ll.Quadratic()},
            {
                "kinetic": thing,
                "dissipation": thing.optional(),
                "factor": nonnegative.also("function").optional(),
                "step": positive.also("function"),
            },
        ),
    ]


def optimised(**given: Any) -> Any:
    """Made, and used once: a schedule is called by its first update."""
    transformation = ll.optimizer(**given)
    W = {"a": jnp.ones(3)}
    return transformation.update(W, transformation.init(W), W)
