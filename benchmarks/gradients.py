"""What does the gradient of a whole learning run cost, in runs, and beside Diffrax's default adjoint?

Value and gradient of ½ Σ W² at the end of a run of constant steps of Heun's method, in all constants of the law and in
the start, by `ll.Replay`, over the run alone and over `jax.value_and_grad` of plain `diffeqsolve` on
`law.vector_field` with its default adjoint. Growth of the ratio with the number of steps, by √n segments, and from
keeping all states to keeping segments. Bytes that a compiled gradient holds, in states (W, Ẇ). Processor seconds to
trace and compile a run and its gradient. What keeping states costs an adaptive run. Lanes of XOR networks, their
gradient in the masses, beside `vmap` of the gradient of `diffeqsolve` on dense equations. Aims are reported as they
are; there is no threshold.

    python benchmarks/gradients.py [--quick]
"""

import time
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import lagrangian_learning as ll

if __package__:
    from . import common
    from .one_run import HEUN, LEARNERS, Problem, action_of, flowing, learning
else:
    import common
    from one_run import HEUN, LEARNERS, Problem, action_of, flowing, learning

jax.config.update("jax_enable_x64", True)

# at most, in runs; at least, over Diffrax; at most: growth, states, compilation and recording
AIMS = {
    "in runs": {"XOR, action": 6.0, "XOR, gradient flow": 6.0, "speech, action": 5.0, "1e6 weights, action": 5.0},
    "Diffrax over ours": 3.0,
    "growth": {"with steps": 1.3, "from all to segments": 1.6},
    "states": {(100_000, 1): 700, (2**20, 1): 2100, (100_000, 2): 700, (2**20, 2): 700},  # by max_steps and levels
    "compile": 2.5,
    "recording": 1.1,
    "lanes": 10.0,
}
STEPS = {
    "XOR, action": (400, 4000),
    "XOR, gradient flow": (1000,),
    "speech, action": (400, 2000),
    "1e6 weights, action": (100,),
}


def problems(*, quick: bool) -> dict[str, Problem]:
    if quick:
        return {"XOR, gradient flow": flowing("XOR", quick=True)[0]}
    made = {f"{name}, action": learning(name, quick=False) for name in LEARNERS}
    return made | {"XOR, gradient flow": flowing("XOR", quick=False)[0]}


# -- runs --------------------------------------------------------------------------------------------------------------


def height(end: Any) -> Any:
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(end)) / 2


def ours(problem: Problem, steps: int, **settings: Any) -> Callable:
    """The run as a function of what is differentiated, the law and the start."""
    ts = np.array([0.0, steps * problem.step])
    given = {"solver": HEUN, "dt0": problem.step, "adjoint": ll.Replay(), "throw": False} | settings

    def value(moving: Any, args: Any) -> Any:
        law, state = moving
        return height(ll.simulate(law, state, ts, args, **given).final_state)

    return value


def plain(problem: Problem, steps: int) -> Callable:
    """The same by `diffeqsolve` over the field of the law."""

    def value(moving: Any, args: Any) -> Any:
        law, state = moving
        dtype = jax.tree.leaves(state)[0].dtype
        end, step = jnp.asarray(steps * problem.step, dtype), jnp.asarray(problem.step, dtype)
        found = diffrax.diffeqsolve(
            diffrax.ODETerm(law.vector_field), HEUN, 0 * end, end, step, state, args, max_steps=steps + 2, throw=False
        )
        return height(found.ys)

    return value


def gradient(value: Callable) -> Callable:
    return eqx.filter_value_and_grad(value)


def compiled(problem: Problem, functions: dict[str, Callable]) -> dict[str, Callable]:
    given = (problem.law, problem.state), problem.args
    runs = {key: common.compiled(function, *given)[0] for key, function in functions.items()}
    return {key: (lambda run=run: run(*given)) for key, run in runs.items()}


# -- rows --------------------------------------------------------------------------------------------------------------


def row(name: str, problem: Problem, steps: int, rounds: int, kept: int | None = None) -> dict[str, Any]:
    """A gradient in runs, and beside that of diffeqsolve; kept: how many segments, by default those of ll.Replay()."""
    value, rival = ours(problem, steps, adjoint=ll.Replay(segments=kept)), plain(problem, steps)
    functions = {"run": value, "gradient": gradient(value), "diffeqsolve": rival}
    calls = compiled(problem, functions | {"gradient of diffeqsolve": gradient(rival)})
    slopes = [jax.tree.leaves(calls[key]()[1]) for key in ("gradient", "gradient of diffeqsolve")]
    scale = max(float(jnp.max(jnp.abs(one))) for one in slopes[1])
    apart = max(float(jnp.max(jnp.abs(a - b))) for a, b in zip(*slopes, strict=True)) / scale
    times = common.interleaved(calls, rounds)
    found = {
        "problem": name,
        "steps": steps,
        "segments": kept or "by default",
        "microseconds a step": {key: 1e6 * common.median(values) / steps for key, values in times.items()},
        "in runs": common.ratio(times, "gradient", "run"),
        "Diffrax over ours": common.ratio(times, "gradient of diffeqsolve", "gradient"),
        "apart": apart,
    }
    shown = (f"{key} {found[key]:.3g}" for key in ("in runs", "Diffrax over ours", "apart"))
    print(f"{name:22} {steps:7} steps, segments: {found['segments']}", *shown, sep="   ", flush=True)
    return found


def growth(name: str, problem: Problem, lengths: tuple[int, ...], rounds: int) -> dict[str, Any]:
    """The ratio at two lengths by √n segments, at the first with all states kept, at the last by two levels."""

    def ratio(steps: int, adjoint: ll.Replay) -> float:
        value = ours(problem, steps, adjoint=adjoint)
        times = common.interleaved(compiled(problem, {"run": value, "gradient": gradient(value)}), rounds)
        return common.ratio(times, "gradient", "run")

    first, last = (ratio(steps, ll.Replay(segments=round(steps**0.5))) for steps in lengths)
    all_kept, two_levels = ratio(lengths[0], ll.Replay(segments=lengths[0])), ratio(lengths[1], ll.Replay(levels=2))
    found = {"with steps": last / first, "from all to segments": first / all_kept, "to two levels": two_levels / last}
    print(f"{name:22} growth", *(f"{key} {value:.2f}" for key, value in found.items()), sep="   ", flush=True)
    return {"problem": name, "steps": lengths, **found}


def memory(name: str, problem: Problem, most: int, levels: int) -> dict[str, Any]:
    """What a gradient holds beside its arguments, in states, where the number of steps is not known beforehand."""

    def value(moving: Any, args: Any, end: Any) -> Any:
        law, state = moving
        ts = jnp.stack([jnp.zeros_like(end), end])
        settings = {"solver": HEUN, "dt0": problem.step, "adjoint": ll.Replay(levels=levels), "max_steps": most}
        return height(ll.simulate(law, state, ts, args, **settings, throw=False).final_state)

    end = jnp.asarray(1.0, jax.tree.leaves(problem.state)[0].dtype)
    given = (problem.law, problem.state), problem.args, end
    arrays, rest = eqx.partition(given, eqx.is_array)
    made = jax.jit(lambda arrays: eqx.filter(gradient(value)(*eqx.combine(arrays, rest)), eqx.is_array))
    held = made.lower(arrays).compile().memory_analysis().temp_size_in_bytes
    state = sum(leaf.nbytes for leaf in jax.tree.leaves(problem.state))
    print(f"{name:22} max_steps {most}, levels {levels}: {held / state:.0f} states", flush=True)
    return {"problem": name, "max_steps": most, "levels": levels, "states": held / state}


def compiling(name: str, problem: Problem, steps: int) -> dict[str, Any]:
    """Processor seconds of a run and of its gradient."""
    value, seconds = ours(problem, steps), {}
    for key, function in (("run", value), ("gradient", gradient(value))):
        jax.clear_caches()
        start = time.process_time()
        common.compiled(function, (problem.law, problem.state), problem.args)
        seconds[key] = time.process_time() - start
    ratio = seconds["gradient"] / seconds["run"]
    print(f"{name:22} compiling {seconds['gradient']:.1f} s, {ratio:.2f} times the run", flush=True)
    return {"problem": name, "processor seconds": seconds, "over the run": ratio}


def recording(name: str, problem: Problem, length: int, rounds: int) -> dict[str, Any]:
    """An adaptive run, of so many constant steps' time, that keeps states for its gradient, over one that does not."""
    end, single = problem.step * length, jax.tree.leaves(problem.state)[0].dtype == jnp.float32
    adaptive = {"ts": np.array([0.0, end]), "rtol": 1e-5 if single else 1e-6, "adjoint": ll.Replay(), "throw": False}

    def value(moving: Any, args: Any) -> Any:
        law, state = moving
        return height(ll.simulate(law, state, args=args, **adaptive).final_state)

    def kept(moving: Any, args: Any) -> Any:
        variable, rest = eqx.partition(moving, eqx.is_inexact_array)
        found, pull = jax.vjp(lambda variable: value(eqx.combine(variable, rest), args), variable)
        return found, [leaf for leaf in jax.tree.leaves(pull) if eqx.is_array(leaf)]

    times = common.interleaved(compiled(problem, {"run": value, "kept": kept}), rounds)
    ratio = common.ratio(times, "kept", "run")
    path = ll.simulate(*problem[:2], args=problem.args, **adaptive)
    steps = int(path.stats["num_steps"])
    print(f"{name:22} keeping states {ratio:.2f} times an adaptive run of {steps} steps", flush=True)
    return {"problem": name, "steps": steps, "kept over run": ratio}


# -- lanes -------------------------------------------------------------------------------------------------------------


def lanes(count: int, steps: int, rounds: int) -> dict[str, Any]:
    """Gradients in m_x and m_W of so many XOR networks, beside dense equations solved by plain Diffrax."""
    network, W, stimulus = LEARNERS["XOR"]()
    law, step = action_of("XOR", network).law(), 0.02
    dense = ll.CognitiveAction(network, mass_x=5e-3, mass_W=0.5, dissipation=ll.ExponentialDissipation(1.0)).law(
        multiplier_solver=ll.multipliers.DenseSchur()
    )
    state = law.initial_state(0.0, W, args=stimulus)
    starts = jax.tree.map(lambda leaf: leaf + 0.01 * jnp.arange(count)[(..., *[None] * leaf.ndim)] / count, state)
    masses = jnp.broadcast_to(jnp.array([5e-3, 0.5]), (count, 2))

    def with_masses(law: Any, pair: Any) -> Any:
        return eqx.tree_at(lambda law: (law.action.mass_x, law.action.mass_W), law, (pair[0], pair[1]))

    def simulated(pair: Any, state: Any) -> Any:
        ts = np.array([0.0, steps * step])
        settings = {"solver": HEUN, "dt0": step, "adjoint": ll.Replay(), "throw": False}
        return height(ll.simulate(with_masses(law, pair), state, ts, stimulus, **settings).final_state)

    def solved(pair: Any, state: Any) -> Any:
        term = diffrax.ODETerm(with_masses(dense, pair).vector_field)
        found = diffrax.diffeqsolve(term, HEUN, 0.0, steps * step, step, state, stimulus, max_steps=steps + 2)
        return height(found.ys)

    runs = {
        name: jax.jit(jax.vmap(jax.grad(function))).lower(masses, starts).compile()
        for name, function in (("ours, under vmap", simulated), ("dense, Diffrax", solved))
    }
    calls: dict[str, Callable] = {key: (lambda run=run: run(masses, starts)) for key, run in runs.items()}
    calls["ours"] = in_chunks(with_masses(law, (masses[:, 0], masses[:, 1])), starts, stimulus, steps * step, step)
    slopes = [np.asarray(call()) for call in calls.values()]
    apart = float(max(np.max(np.abs(one - slopes[1])) for one in slopes) / np.max(np.abs(slopes[1])))
    times = common.interleaved(calls, rounds)
    ratio, beside = (common.ratio(times, "dense, Diffrax", key) for key in ("ours", "ours, under vmap"))
    print(f"{count} lanes of XOR, {steps} steps: dense equations by Diffrax take {ratio:.2f} times", end=", ")
    print(f"{beside:.2f} times under vmap, {apart:.1e} apart", flush=True)
    seconds = {key: common.median(values) for key, values in times.items()}
    found = {"lanes": count, "steps": steps, "seconds": seconds, "Diffrax over ours": ratio}
    return found | {"Diffrax over ours, under vmap": beside, "apart": apart}


def in_chunks(law: Any, starts: Any, stimulus: Any, end: float, step: float) -> Callable:
    """The gradient in the masses by `ll.value_and_grad_batch`, as it is called."""
    masses = lambda law: (law.action.mass_x, law.action.mass_W)  # noqa: E731
    axes = eqx.tree_at(masses, jax.tree.map(lambda _: None, law), (0, 0), is_leaf=lambda leaf: leaf is None)
    host = jax.tree.map(np.asarray, starts)
    given = {"in_axes": (axes, 0, None), "solver": HEUN, "dt0": step, "progress": False}

    def call() -> np.ndarray:
        found = ll.value_and_grad_batch(path_height, law, host, np.array([0.0, end]), stimulus, **given)
        return np.stack(masses(found.gradient), axis=1)

    return call


def path_height(path: Any) -> Any:
    return height(path.final_state)


# -- the question ------------------------------------------------------------------------------------------------------


def measure(*, quick: bool) -> dict[str, Any]:
    rounds, made = (2 if quick else 9), problems(quick=quick)
    rows = [row(name, one, steps, rounds) for name, one in made.items() for steps in ((64,) if quick else STEPS[name])]
    if quick:
        return {"rows": rows, "growth": [], "memory": [], "compiling": [], "recording": [], "lanes": []}
    xor, speech = made["XOR, action"], made["speech, action"]
    rows.append(row("1e6 weights, action", made["1e6 weights, action"], 100, rounds, kept=100))
    return {
        "rows": rows,
        "growth": [growth("XOR, action", xor, (1000, 100_000), 3)],
        "memory": [memory("speech, action", speech, *counts) for counts in AIMS["states"]],
        "compiling": [compiling(name, made[name], 400) for name in ("XOR, action", "speech, action")],
        "recording": [
            recording(name, made[name], length, rounds)
            for name in ("XOR, action", "speech, action")
            for length in (400, 4000)
        ],
        "lanes": [lanes(4096, 128, 3)],
    }


def beyond(found: dict[str, Any]) -> list[str]:
    """Which aims are not reached."""
    most, least = [], []
    for one in found["rows"]:
        what = f"{one['problem']}, {one['steps']} steps, segments: {one['segments']}"
        most.append((f"{what}, in runs", one["in runs"], AIMS["in runs"][one["problem"]]))
        least.append((f"{what}, Diffrax over ours", one["Diffrax over ours"], AIMS["Diffrax over ours"]))
    for one in found["growth"]:
        most += [(f"{one['problem']}, growth {key}", one[key], aim) for key, aim in AIMS["growth"].items()]
    for one in found["memory"]:
        what = f"{one['problem']}, states at max_steps {one['max_steps']}, levels {one['levels']}"
        most.append((what, one["states"], AIMS["states"][one["max_steps"], one["levels"]]))
    most += [(f"{one['problem']}, compiling", one["over the run"], AIMS["compile"]) for one in found["compiling"]]
    most += [
        (f"{one['problem']}, keeping states of {one['steps']} steps", one["kept over run"], AIMS["recording"])
        for one in found["recording"]
    ]
    least += [(f"{one['lanes']} lanes", one["Diffrax over ours"], AIMS["lanes"]) for one in found["lanes"]]
    above = [f"{what}: {figure:.3g} > {aim:g}" for what, figure, aim in most if figure > aim]
    return above + [f"{what}: {figure:.3g} < {aim:g}" for what, figure, aim in least if figure < aim]


def _cut(one: dict[str, Any]) -> str:
    return "" if one["segments"] == "by default" else f" in {one['segments']} segments"


def headline(found: dict[str, Any]) -> str:
    """The figures in a line."""
    rows = [
        f"{one['problem']}, {one['steps']} steps{_cut(one)}: {one['in runs']:.1f} runs, "
        f"{one['Diffrax over ours']:.1f} times faster than Diffrax"
        for one in found["rows"]
    ]
    return "; ".join(rows + [f"{one['lanes']} lanes: {one['Diffrax over ours']:.1f} times" for one in found["lanes"]])


def picture(found: dict[str, Any]) -> None:
    made, ((ax,),) = common.figure("The gradient of a learning run")
    names = [f"{one['problem']}, {one['steps']}{_cut(one)}" for one in found["rows"]]
    for k, one in enumerate(found["rows"]):
        micro = one["microseconds a step"]
        label = k == 0
        for colour, key in zip(common.COLOURS, ("run", "gradient", "gradient of diffeqsolve"), strict=False):
            ax.plot(micro[key], k, "o", color=colour, ms=7, label=key if label else None)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set_xscale("log")
    common.finish(ax, "A run, its gradient, and Diffrax's gradient", "microseconds a step", "")
    common.save(made, "gradients")


def main() -> None:
    quick = common.options(__doc__)
    found = measure(quick=quick)
    print("beyond the aims:", *(beyond(found) or ["none"]), sep="\n  ")
    picture(found)
    print(headline(found))
    # JSON has no pairs for keys
    states = [{"max_steps": most, "levels": levels, "states": aim} for (most, levels), aim in AIMS["states"].items()]
    aims = AIMS | {"states": states}
    record = {"headline": headline(found), **found, "missed": [], "aims": aims, "beyond": beyond(found)}
    common.write("gradients", question=__doc__.splitlines()[0], **record)


if __name__ == "__main__":
    main()
