"""How much longer does one run take than plain Diffrax over the same equations, and what does a call cost?

`simulate` (constant steps of Heun's method, watched as by default) against `diffrax.diffeqsolve` over
`law.vector_field` with the same saved times, and against a bare `lax.scan` of the same steps, which saves nothing. A
pendulum in full coordinates: both rivals call `law.project` after every step. What `watch="saved"` and
`watch="nothing"` leave of our time stands beside. Gradient flow by `simulate` against `diffeqsolve` with `jax.grad` of
the loss. One evaluation (Ẅ and δ) inside a scan, and as a stage of `simulate` (half an unwatched
step of Heun's method), in gradients inside a scan: of the network on an input that stands still, and with its signals
evaluated at every time. Milliseconds of a second call of `simulate` through two steps, of `initial_state` and of
`accelerations`. Seconds of processor time to trace and compile `simulate` against `diffeqsolve`.
Aims are reported as they are; there is no threshold.

    python benchmarks/one_run.py [--quick]
"""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import lagrangian_learning as ll

if __package__:
    from . import common
else:
    import common

jax.config.update("jax_enable_x64", True)

HEUN = diffrax.Heun()
# ratio, at most: the aims of a run at the speed of its arithmetic
AIMS = {"run": 1.25, "gradient flow": 1.3, "compile": 1.5}


class Problem(NamedTuple):
    """A law on its way: constant steps `step` through `steps`, saved `saves` times."""

    law: Any
    state: Any
    args: Any
    step: float
    steps: int
    saves: int = 9

    @property
    def ts(self) -> np.ndarray:
        return np.linspace(0, self.steps * self.step, self.saves)


# -- problems ----------------------------------------------------------------------------------------------------------


def xor_learner() -> tuple[Any, Any, Any]:
    """The XOR network of the paper on shown patterns, in float64."""
    corners, answers = np.array([[0.0, 0], [0, 1], [1, 1], [1, 0]]), np.array([[0.0], [1], [0], [1]])
    shown, wanted = (ll.Patterns(values, dwell=1, rise=0.5, periodic=True) for values in (corners, answers))
    network = ll.Layered((2, 2, 1))
    return network, network.init(jax.random.key(0)), ll.Stimulus(shown, wanted)


def speech_learner() -> tuple[Any, Any, Any]:
    """12 + constant → 32 → 9 on the spoken stream, in float32."""
    train = ll.data.standardise(*(ll.data.japanese_vowels(split) for split in ("train", "test")))[0]
    order, weights = jax.random.split(jax.random.key(0))
    network = ll.Layered((13, 32, 9))
    stimulus = train.stream(train.shuffled(order, 1), ll.data.label_codes(9))
    return network, jax.tree.map(lambda w: w.astype(jnp.float32), network.init(weights)), single(stimulus)


def wide_learner() -> tuple[Any, Any, Any]:
    """A million weights on sinusoids, in float32."""
    network = ll.Layered((256, 832, 832, 128))
    phases = jnp.linspace(0, 6, 256, dtype=jnp.float32)
    inputs = ll.Sinusoids(1 + phases / 6, jnp.ones_like(phases), phases)
    return network, network.init(jax.random.key(0), jnp.float32), ll.Stimulus(inputs, jnp.full(128, 0.3, jnp.float32))


def single(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32) if eqx.is_inexact_array(leaf) else leaf, tree)


LEARNERS = {"XOR": xor_learner, "speech": speech_learner, "1e6 weights": wide_learner}
MASSES = {"XOR": (5e-3, 0.5), "speech": (1.4e-2, 140.0), "1e6 weights": (1e-4, 1.0)}
STEPS = {"XOR": (0.02, 20_000), "speech": (0.5, 2048), "1e6 weights": (0.01, 16)}


def action_of(name: str, network: Any) -> ll.CognitiveAction:
    mass_x, mass_W = MASSES[name]
    return ll.CognitiveAction(network, mass_x=mass_x, mass_W=mass_W, dissipation=ll.ExponentialDissipation(1.0))


def learning(name: str, *, quick: bool) -> Problem:
    network, W, stimulus = LEARNERS[name]()
    law = action_of(name, network).law()
    step, steps = STEPS[name]
    return Problem(law, law.initial_state(0.0, W, args=stimulus), stimulus, step, 64 if quick else steps)


def flowing(name: str, *, quick: bool) -> tuple[Problem, Callable]:
    """Gradient flow, and its field by jax.grad of the loss."""
    network, W, stimulus = LEARNERS[name]()
    law = ll.GradientFlow(network, gamma=140.0 if name == "speech" else 1.0)
    step, steps = STEPS[name]
    state = law.initial_state(0.0, W, args=stimulus)

    def field(t: Any, y: Any, args: Any) -> Any:
        def loss(y: Any) -> Any:
            return law.potential(network.output(network.forward(y.q, args.input(t))), args.target(t))

        return jax.tree.map(lambda slope: -slope / jnp.asarray(law.gamma, slope.dtype), jax.grad(loss)(y))

    return Problem(law, state, stimulus, step, 64 if quick else steps), field


def pendulum(*, quick: bool) -> Problem:
    rod = ll.Holonomic(lambda t, q, g: (jnp.dot(q, q) - 1) / 2)
    law = ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, g: jnp.dot(v, v) / 2 - g * q[1]), rod)
    g = jnp.asarray(9.81)
    return Problem(law, law.initial_state(0.0, jnp.array([1.0, 0.0]), args=g), g, 1e-3, 64 if quick else 20_000)


# -- runs --------------------------------------------------------------------------------------------------------------


def ours(problem: Problem, watch: str = "steps") -> Callable:
    def run(law: Any, state: Any, args: Any) -> Any:
        path = ll.simulate(law, state, problem.ts, args, solver=HEUN, dt0=problem.step, watch=watch, throw=False)
        return path.final_state, path.q

    return run


def plain(problem: Problem, field: Callable | None = None, *, project: bool = False) -> Callable:
    """diffeqsolve over the law's field, or over another one, saving the states at the same times."""

    def run(law: Any, state: Any, args: Any) -> Any:
        dtype = jax.tree.leaves(state)[0].dtype
        times = jnp.asarray(problem.ts, dtype)
        solver = Projected(HEUN, law) if project else HEUN
        return diffrax.diffeqsolve(
            diffrax.ODETerm(law.vector_field if field is None else field), solver, times[0], times[-1],
            jnp.asarray(problem.step, dtype), state, args, saveat=diffrax.SaveAt(ts=times), max_steps=2**20,
            throw=False,
        ).ys  # fmt: skip

    return run


class Projected(diffrax.AbstractWrappedSolver):
    """A stepper whose step ends in `law.project`."""

    solver: diffrax.AbstractSolver
    law: Any
    term_structure = diffrax.AbstractTerm
    interpolation_cls = diffrax.LocalLinearInterpolation

    def order(self, terms: Any) -> int | None:
        return self.solver.order(terms)

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any) -> Any:
        return self.solver.init(terms, t0, t1, y0, args)

    def func(self, terms: Any, t0: Any, y0: Any, args: Any) -> Any:
        return self.solver.func(terms, t0, y0, args)

    def step(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any, solver_state: Any, made_jump: Any) -> Any:
        y1, error, _, state, result = self.solver.step(terms, t0, t1, y0, args, solver_state, made_jump)
        y1, _ = self.law.project(t1, y1, args)
        return y1, error, {"y0": y0, "y1": y1}, state, result


def bare(problem: Problem, *, project: bool = False) -> Callable:
    """The steps alone, in a scan."""

    def run(law: Any, state: Any, args: Any) -> Any:
        h = jnp.asarray(problem.step, jax.tree.leaves(state)[0].dtype)

        def step(y: Any, k: Any) -> tuple[Any, None]:
            t = k.astype(h.dtype) * h
            first = law.vector_field(t, y, args)
            end = jax.tree.map(lambda a, b: a + h * b, y, first)
            second = law.vector_field(t + h, end, args)
            y = jax.tree.map(lambda a, b, c: a + h / 2 * (b + c), y, first, second)
            return (law.project(t + h, y, args)[0] if project else y), None

        return jax.lax.scan(step, state, jnp.arange(problem.steps))[0]

    return run


def row(name: str, problem: Problem, rivals: dict[str, Callable], rounds: int) -> dict[str, Any]:
    """Ratios of medians of our run over each rival's, and microseconds a step."""
    given = (problem.law, problem.state, problem.args)
    runs = {"ours": common.compiled(ours(problem), *given)[0]}
    runs |= {
        f"ours, {watch} watched": common.compiled(ours(problem, watch), *given)[0] for watch in ("saved", "nothing")
    }
    runs |= {rival: common.compiled(run, *given)[0] for rival, run in rivals.items()}
    ends = {key: jax.tree.leaves(run(*given))[0] for key, run in runs.items()}
    assert all(np.isfinite(np.asarray(end)).all() for end in ends.values()), name
    times = common.interleaved({key: (lambda run=run: run(*given)) for key, run in runs.items()}, rounds)
    found = {
        "problem": name,
        "microseconds a step": {key: 1e6 * common.median(values) / problem.steps for key, values in times.items()},
        "ours over": {rival: common.ratio(times, "ours", rival) for rival in rivals},
        "less watched over ours": {key: common.ratio(times, key, "ours") for key in times if "watched" in key},
    }
    shown = {**found["ours over"], **found["less watched over ours"]}
    print(f"{name:28}", *(f"{key} {value:5.2f}" for key, value in shown.items()), sep="   ", flush=True)
    return found


# -- evaluations, calls, compiling -------------------------------------------------------------------------------------


def evaluation(name: str, rounds: int, count: int) -> dict[str, Any]:
    """(Ẅ, δ) inside a scan, in gradients of the loss inside a scan, at m_x/m_W as in MASSES."""
    network, W, stimulus = LEARNERS[name]()
    action = action_of(name, network)
    law = action.law()
    state = law.initial_state(0.0, W, args=stimulus)
    step, dtype = STEPS[name][0], jax.tree.leaves(W)[0].dtype

    def times(k: Any) -> Any:
        return jnp.asarray(step, dtype) * k.astype(dtype)

    def equations(law: Any, state: Any, args: Any) -> Any:
        def one(y: Any, k: Any) -> tuple[Any, None]:
            change = law.vector_field(times(k), y, args)
            return jax.tree.map(lambda a, b: a + jnp.asarray(1e-6, dtype) * b, y, change), None

        return jax.lax.scan(one, state, jnp.arange(count))[0]

    def gradients(moving: bool) -> Callable:
        def run(law: Any, state: Any, args: Any) -> Any:
            still = args.input(times(jnp.asarray(0))), args.target(times(jnp.asarray(0)))

            def one(W: Any, k: Any) -> tuple[Any, None]:
                u, y = (args.input(times(k)), args.target(times(k))) if moving else still
                slope = jax.grad(lambda W: action.potential(network.output(network.forward(W, u)), y))(W)
                return jax.tree.map(lambda a, b: a - jnp.asarray(1e-6, dtype) * b, W, slope), None

            return jax.lax.scan(one, state.q, jnp.arange(count))[0]

        return run

    def stepped(law: Any, state: Any, args: Any, steps: int) -> Any:
        return ours(Problem(law, state, args, step, steps, saves=2), "nothing")(law, state, args)

    kinds = {
        "ours": equations,
        "a run": functools.partial(stepped, steps=count // 2),
        "a longer run": functools.partial(stepped, steps=count // 2 + count),
        "of the network": gradients(moving=False),
        "with its signals": gradients(moving=True),
    }
    runs = {key: common.compiled(run, law, state, stimulus)[0] for key, run in kinds.items()}
    measured = common.interleaved(
        {key: (lambda run=run: run(law, state, stimulus)) for key, run in runs.items()}, rounds
    )
    seconds = {key: common.median(values) / count for key, values in measured.items()}
    # What starts and ends a run drops out; a step has two stages.
    seconds["ours, in a run"] = (seconds.pop("a longer run") - seconds.pop("a run")) / 2
    found = {
        "problem": name,
        "microseconds": {key: 1e6 * value for key, value in seconds.items()},
        "gradients": {
            "of the network": common.ratio(measured, "ours", "of the network"),
            "with its signals": common.ratio(measured, "ours", "with its signals"),
            "of the network, in a run": seconds["ours, in a run"] / seconds["of the network"],
        },
    }
    shown = "   ".join(f"{value:5.2f} gradients {key}" for key, value in found["gradients"].items())
    print(f"{name:28}   an evaluation {shown}", flush=True)
    return found


def calls(name: str, rounds: int) -> dict[str, Any]:
    """Milliseconds of second calls, as a user makes them: outside jit."""
    network, W, stimulus = LEARNERS[name]()
    law = action_of(name, network).law()
    step = STEPS[name][0]
    state, ts = law.initial_state(0.0, W, args=stimulus), np.array([0.0, 2 * step])
    measured = common.interleaved(
        {
            "simulate, two steps": lambda: ll.simulate(law, state, ts, stimulus, solver=HEUN, dt0=step).final_state,
            "initial_state": lambda: law.initial_state(0.0, W, args=stimulus),
            "accelerations": lambda: law.accelerations(0.0, state, stimulus),
        },
        rounds,
    )
    found = {"problem": name, "milliseconds": {key: 1e3 * common.median(values) for key, values in measured.items()}}
    print(
        f"{name:28}", *(f"{key} {value:.2f} ms" for key, value in found["milliseconds"].items()), sep="   ", flush=True
    )
    return found


def compiling(name: str, rounds: int) -> dict[str, Any]:
    """Processor seconds to trace and compile: `simulate` by default, and diffeqsolve over its field."""
    network, W, stimulus = LEARNERS[name]()
    law = action_of(name, network).law()
    state = law.initial_state(0.0, W, args=stimulus)
    dtype = jax.tree.leaves(W)[0].dtype
    times = jnp.linspace(0, 1, 9, dtype=dtype)

    def simulated(law: Any, state: Any, ts: Any, args: Any) -> Any:
        return ll.simulate(law, state, ts, args, throw=False).q

    def solved(law: Any, state: Any, ts: Any, args: Any) -> Any:
        solver, rtol = (diffrax.Dopri8(), 1e-10) if dtype == jnp.float64 else (diffrax.Tsit5(), 1e-5)
        return diffrax.diffeqsolve(
            diffrax.ODETerm(law.vector_field), solver, ts[0], ts[-1], None, state, args,
            saveat=diffrax.SaveAt(ts=ts), stepsize_controller=diffrax.PIDController(rtol=rtol, atol=rtol),
            max_steps=2**20, throw=False,
        ).ys  # fmt: skip

    seconds: dict[str, list[float]] = {"ours": [], "diffeqsolve": []}
    for _ in range(rounds):
        for key, function in (("ours", simulated), ("diffeqsolve", solved)):
            jax.clear_caches()
            start = time.process_time()
            eqx.filter_jit(function).lower(law, state, times, stimulus).compile()
            seconds[key].append(time.process_time() - start)
    found = {
        "problem": name,
        "processor seconds": {key: common.median(values) for key, values in seconds.items()},
        "ours over": {"diffeqsolve": common.ratio(seconds, "ours", "diffeqsolve")},
    }
    print(f"{name:28}   compiling {found['ours over']['diffeqsolve']:5.2f} times diffeqsolve", flush=True)
    return found


# -- the question ------------------------------------------------------------------------------------------------------


def measure(*, quick: bool) -> dict[str, Any]:
    rounds, names = (2 if quick else 11), ("XOR",) if quick else tuple(LEARNERS)
    runs = []
    for name in names:
        problem = learning(name, quick=quick)
        runs.append(row(f"{name}, action", problem, {"diffeqsolve": plain(problem), "scan": bare(problem)}, rounds))
    swing = pendulum(quick=quick)
    rivals = {
        "diffeqsolve": plain(swing, project=True),
        "scan": bare(swing, project=True),
        "scan, unprojected": bare(swing),
    }
    runs.append(row("pendulum, projected", swing, rivals, rounds))
    flows = []
    for name in names[:2]:
        problem, field = flowing(name, quick=quick)
        flows.append(row(f"{name}, gradient flow", problem, {"diffeqsolve": plain(problem, field)}, rounds))
    counts = {"XOR": 20_000, "speech": 2048, "1e6 weights": 16}
    return {
        "runs": runs,
        "flows": flows,
        "evaluations": [evaluation(name, rounds, 64 if quick else counts[name]) for name in names],
        "calls": [calls(name, rounds) for name in names[:2]],
        "compiling": [compiling(name, 1 if quick else 3) for name in names[:2]],
    }


def beyond(found: dict[str, Any]) -> list[str]:
    """Which aims are not reached."""
    rows = [("run", row) for row in found["runs"]] + [("gradient flow", row) for row in found["flows"]]
    rows += [("compile", row) for row in found["compiling"]]
    return [
        f"{kind}, {row['problem']}: {row['ours over']['diffeqsolve']:.2f} > {AIMS[kind]}"
        for kind, row in rows
        if row["ours over"]["diffeqsolve"] > AIMS[kind]
    ]


def headline(found: dict[str, Any]) -> str:
    """The figures in a line."""
    over = {row["problem"]: row["ours over"]["diffeqsolve"] for row in (*found["runs"], *found["flows"])}
    parts = [f"{name} {ratio:.2f}" for name, ratio in over.items()]
    ways = {
        "an evaluation in gradients of the network": [
            (row["problem"], f"{row['gradients']['of the network']:.1f}") for row in found["evaluations"]
        ],
        "the same as a stage of a run": [
            (row["problem"], f"{row['gradients']['of the network, in a run']:.1f}") for row in found["evaluations"]
        ],
        "a call of two steps": [
            (row["problem"], f"{row['milliseconds']['simulate, two steps']:.1f} ms") for row in found["calls"]
        ],
        "compiling": [(row["problem"], f"{row['ours over']['diffeqsolve']:.2f}") for row in found["compiling"]],
    }
    lines = [f"{what}: {', '.join(f'{name} {figure}' for name, figure in rows)}" for what, rows in ways.items()]
    return f"times of `diffeqsolve`: {', '.join(parts)}; {'; '.join(lines)}"


def picture(found: dict[str, Any]) -> None:
    made, ((ax,),) = common.figure("One run beside plain Diffrax")
    rows = found["runs"] + found["flows"]
    for k, one in enumerate(rows):
        for colour, (rival, ratio) in zip(common.COLOURS, one["ours over"].items(), strict=False):
            ax.plot(ratio, k, "o", color=colour, ms=7, label=rival if one is found["runs"][-1] else None)
    ax.axvline(1, color=common.GREY, lw=1)
    ax.set_yticks(range(len(rows)), [one["problem"] for one in rows])
    ax.invert_yaxis()
    ax.set_xlim(left=0)
    common.finish(ax, "A run by simulate takes so many runs of", "ratio of medians", "")
    common.save(made, "one_run")


def main() -> None:
    quick = common.options(__doc__)
    found = measure(quick=quick)
    print("beyond the aims:", *(beyond(found) or ["none"]), sep="\n  ")
    picture(found)
    print(headline(found))
    record = {"headline": headline(found), **found, "missed": [], "aims": AIMS, "beyond": beyond(found)}
    common.write("one_run", question=__doc__.splitlines()[0], **record)


if __name__ == "__main__":
    main()
