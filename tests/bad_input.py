"""Every public argument against every kind of bad value: `python -m tests.bad_input` prints docs/bad_input.md.

A verdict is a letter: v, a value came back, and the argument can hold such a value; r, a ValueError of this package
that names the argument in at most 300 characters and is raised outside jit. Two are defects: S (silent), accepted
although the argument cannot hold such a value, or with a result that is not finite; U (unreadable), any other error.
Runs are not computed: whatever reaches the compiled core has been accepted.
"""

import contextlib
import io
import re
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import lagrangian_learning as ll

PACKAGE = str(Path(ll.__file__).parent)
LONGEST = 300

# The kinds of bad values that come as numbers are laid out by the argument, as one number or an array of its shape.
OBJECTS = {"None": None, "string": "a", "dict": {"a": 1.0}, "function": lambda *args: jnp.zeros(())}
NUMBERS = {
    "complex": 1 + 1j,
    "half": np.float16(0.5),
    "integer": 2,
    "negative": -1.0,
    "zero": 0.0,
    "NaN": np.nan,
    "inf": np.inf,
    "huge": 1e300,
    "subnormal": 1e-310,
}
SHAPES = {"empty": np.zeros(0), "rank": np.full((2, 3, 1), 0.5)}
COLUMNS = (*OBJECTS, *NUMBERS, *SHAPES)

REAL = frozenset({"half", "integer", "negative", "zero", "huge", "subnormal"})


class Kind(NamedTuple):
    """What an argument can hold, and how a number is laid out for it."""

    takes: frozenset[str]
    laid_out: Callable[[Any], Any] = lambda value: value

    def optional(self) -> "Kind":
        return self._replace(takes=self.takes | {"None"})

    def but(self, *without: str) -> "Kind":
        return self._replace(takes=self.takes - set(without))

    def also(self, *more: str) -> "Kind":
        return self._replace(takes=self.takes | set(more))


number = Kind(REAL)
positive = number.but("negative", "zero", "subnormal")
nonnegative = number.but("negative")
count = Kind(frozenset({"integer"}), lambda value: int(value) if value in (-1.0, 0.0) else value)
thing = Kind(frozenset())
function = Kind(frozenset({"function"}))


def array(*shape: int) -> Kind:
    return number._replace(laid_out=lambda value: np.full(shape, value))


def times(value: Any) -> Any:
    return _scaled(np.array([0.0, 0.5, 1.0]), value)


def _scaled(times: Any, value: Any) -> Any:
    with np.errstate(invalid="ignore"):
        return times * value


class Case(NamedTuple):
    """A public function: how it is called with arguments that are right, and the kind of each."""

    name: str
    call: Callable[..., Any]
    right: dict[str, Any]
    kinds: dict[str, Kind]


class Verdict(NamedTuple):
    """A letter, and what was raised."""

    letter: str
    text: str


class AcceptedError(BaseException):
    """The compiled core was reached."""


@contextlib.contextmanager
def cores_replaced() -> Iterator[None]:
    """Nothing is integrated: the compiled cores raise `AcceptedError`."""
    cores = ("simulate.simulate.integrate_compiled", "batch.simulate_batch.carry_out", "boundary.solve._solved")
    with contextlib.ExitStack() as stack:
        for core in cores:
            module, name = core.rsplit(".", 1)
            room = sys.modules[f"{ll.__name__}.{module}"]
            stack.enter_context(mock.patch.object(room, name, side_effect=AcceptedError))
        known = ll.costs.hardware.KNOWN["h100"]
        stack.enter_context(mock.patch.object(ll.costs.hardware, "measure_hardware", return_value=known))
        yield


def judged(case: Case, argument: str, column: str) -> Verdict:
    """What comes of one bad value."""
    kind = case.kinds[argument]
    bad = {**OBJECTS, **SHAPES}.get(column)
    if column in NUMBERS:
        bad = kind.laid_out(NUMBERS[column])
    try:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("error")
            # Equinox's, before the package can refuse it.
            warnings.filterwarnings("ignore", message="A JAX array is being set as static")
            found = case.call(**{**case.right, argument: bad})
    except AcceptedError:
        found = None
    except Exception as error:  # noqa: BLE001 every kind of error is judged
        return _of_error(error, argument)
    if column not in kind.takes:
        return Verdict("S", "accepted")
    return Verdict("v", "") if _finite(found) or column == "inf" else Verdict("S", "the result is not finite")


def _of_error(error: Exception, argument: str) -> Verdict:
    text = f"{type(error).__name__}: {error}"
    frames = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    raised = frames[-1].startswith(PACKAGE) and not any(name.endswith("pjit.py") for name in frames)
    named = re.search(rf"(?<!\w){re.escape(argument)}(?!\w)", str(error)) is not None
    fine = isinstance(error, ValueError) and raised and named and len(str(error)) <= LONGEST
    return Verdict("r" if fine else "U", text)


def _finite(tree: Any) -> bool:
    leaves = [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array | np.ndarray | np.floating)]
    numbers = [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return all(np.all(np.isfinite(np.asarray(leaf))) for leaf in numbers)


def table(cases: list[Case]) -> dict[tuple[str, str], dict[str, Verdict]]:
    """All verdicts, by function and argument, then by kind of value."""
    with cores_replaced():
        return {
            (case.name, argument): {column: judged(case, argument, column) for column in COLUMNS}
            for case in cases
            for argument in case.kinds
        }


# -- the public functions ------------------------------------------------------------------------------------------


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
            {"ts": Kind(REAL, lambda value: _scaled(ts, value)), "values": array(8, 2), "smoothness": count},
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
    q = np.array([1.0, 0.0])
    return [
        *(Case(kind.__name__, kind, {}, {"fn": function}) for kind in (ll.Holonomic, ll.Vakonomic, ll.DAlembert)),
        Case("ExponentialDissipation", ll.ExponentialDissipation, {}, {"theta": nonnegative}),
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
    ]


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
            (diffusion, thing.optional()),
        )
    ]
    return [
        Case("SquaredError batch", ll.BatchSum, {}, {"potential": function}),
        Case("BatchMean", ll.BatchMean, {}, {"potential": function}),
        Case("Term", ll.Term, term, {"fn": function, "order": count.also("zero"), "weighted": thing}),
        Case("WeightDecay", ll.WeightDecay, {}, {"rate": nonnegative}),
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
            },
        ),
        Case(
            "CognitiveAction.law", action.law, {}, dict.fromkeys(("coordinates", "multiplier_solver"), thing.optional())
        ),
        Case("GradientFlow", ll.GradientFlow, right, {**learner, "gamma": positive}),
        Case("DampedDescent", ll.DampedDescent, right, {**learner, "mass_W": positive, "dissipation": thing}),
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
            {"gamma": positive, "theta": positive.also("inf"), "step": positive.also("function")},
        ),
    ]


def optimised(**given: Any) -> Any:
    """Made, and used once: a schedule is called by its first update."""
    transformation = ll.optimizer(**given)
    W = {"a": jnp.ones(3)}
    return transformation.update(W, transformation.init(W), W)


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
            {"law": thing, "state": thing, "ts": times_kind, **settings, "adjoint": thing.optional()},
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
            },
        ),
        Case(
            "estimate (dt0)",
            ll.estimate,
            {"law": flow, "state": learnt, "ts": ts, "args": stimulus, "dt0": 0.1, "hardware": hardware},
            {"dt0": positive},
        ),
    ]


ROOMS = {"signals": signals, "mechanics": mechanics, "networks": networks, "learning": learning, "runs": runs}


def found(room: str) -> dict[tuple[str, str], dict[str, Verdict]]:
    """The verdicts of one room in the dtype that is JAX's default now."""
    return table(ROOMS[room]())


def printed() -> str:
    """The table as it stands in docs/bad_input.md: a row an argument, float64 and float32 side by side."""
    lines = [f"| argument | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for room in ROOMS:
        both = []
        for enabled in (True, False):
            with jax.enable_x64(enabled):
                both.append(found(room))
        for (name, argument), row in both[0].items():
            letters = [row[column].letter + both[1][name, argument][column].letter for column in COLUMNS]
            cells = [pair[0] if pair[0] == pair[1] else pair for pair in letters]
            lines.append(f"| `{name}`: {argument} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(names: list[str]) -> None:
    """The table; or, of the rooms named, every defect in JAX's default dtype."""
    if not names:
        print(printed())
    for room in names:
        for (name, argument), row in found(room).items():
            for column, (letter, text) in row.items():
                if letter in "SU":
                    print(f"{letter} {name}({argument}={column}): {' '.join(text.split())}")


if __name__ == "__main__":
    main(sys.argv[1:])
