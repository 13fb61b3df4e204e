"""How many evaluations a second does a batch of small networks reach, beside other tools and a C program?

An evaluation is all accelerations and multipliers at one stage of one lane. The paper's XOR network, constant steps of
Heun's method, lanes that differ in weights and inputs: `ll.simulate_batch` by every engine that takes them, one lane by
`ll.simulate` too, against the rivals of baselines.py on the same steps, from one lane to 2²⁰; ours keeps its monitors
of energy and drift, theirs have none. All must agree on where the lanes end. At 4096 lanes in float64 through 2048
steps too: there the overhead of a call, which weighs on the short runs, does not matter. Then the speech network and
one of 10⁶ weights, by the engine that is picked for them, and how much of the device that is. Thresholds: 7 times
`jax.vmap(diffeqsolve)` at 4096 lanes in float64 on a CPU, 20 times on an accelerator; ends within 1e-10 in float64. The
fraction of the C program's speed, and ten million a second, are aims and reported as they are.

    python benchmarks/xor_ensemble.py [--quick]
"""

import os
import time
from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import lagrangian_learning as ll
from lagrangian_learning.fused.scalars import program_of
from lagrangian_learning.fused.unrolled_multipliers import unrolled

if __package__:
    from . import baselines, common
else:
    import baselines
    import common

STAGES, AGREE = 2, 1e-10
LANES = {np.float64: (1, 32, 1024, 4096, 65536, 2**20), np.float32: (1024, 4096, 65536, 2**20)}
QUICK_LANES, JUDGED = (16,), 4096
LONG = 2048  # steps
CALLED_OFTEN = {"cpu": 2**17}  # larger batches are many chunks, compiled before: one call is enough
SLOW_LANES = {"cpu": 4096}  # what takes a microsecond an evaluation is not waited for beyond
FACTOR = {"cpu": 7.0}
AIM_OF_C, AIM = 0.25, 1e7
OTHERS = {"speech 13-32-9": ((13, 32, 9), (1, 32, 1024)), "512-512-512-512-512": ((512,) * 5, (1, 4, 16))}
DENSE = "jax.vmap(diffeqsolve)"
THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

Calls = dict[str, Callable[[], Any]]


def last_output(_: Any, observables: dict[str, Any]) -> Any:
    return observables["x"][-1]


def batch(lanes: baselines.Ensemble) -> tuple[Any, Any, Any]:
    """The same lanes for `simulate_batch`: law, states, stimuli."""
    dtype = lanes.W.dtype
    action = ll.CognitiveAction(
        ll.networks.xor_network(),
        mass_x=baselines.MASS_X,
        mass_W=baselines.MASS_W,
        dissipation=ll.ExponentialDissipation(baselines.THETA),
    )
    law = action.law()
    target = jnp.full(1, baselines.TARGET, dtype)
    inputs = jax.vmap(lambda f, p: ll.Sinusoids(f, jnp.ones_like(f), p))(lanes.frequency, lanes.phase)
    stimuli = ll.Stimulus(inputs, ll.Constant(jnp.broadcast_to(target, (len(lanes.W), 1))))
    return law, ll.State(lanes.W, lanes.W_dot), stimuli


def ours(lanes: baselines.Ensemble, steps: int, engine: ll.batch.AbstractEngine) -> Callable[[], Any]:
    law, state, stimuli = batch(lanes)
    ts = [0.0, steps * baselines.STEP]

    def run() -> Any:
        path = ll.simulate_batch(
            law, state, ts, stimuli, engine=engine, solver=diffrax.Heun(), dt0=baselines.STEP, save=last_output,
            progress=False, throw=True,
        )  # fmt: skip
        return np.concatenate([path.final_state.q, path.final_state.v], 1)

    return run


def alone(lanes: baselines.Ensemble, steps: int) -> Callable[[], Any]:
    """A single lane, as a run of its own."""
    law, states, stimuli = batch(lanes)
    state, stimulus = jax.tree.map(lambda leaf: leaf[0], (states, stimuli))
    ts = np.array([0.0, steps * baselines.STEP])

    def run() -> Any:
        path = ll.simulate(law, state, ts, stimulus, solver=diffrax.Heun(), dt0=baselines.STEP, save=last_output)
        return np.concatenate([path.final_state.q, path.final_state.v])[None]

    return run


def steps_of(lanes: int, *, quick: bool) -> int:
    return 8 if quick else int(np.clip(2**19 // lanes, 32, 512))


def calls(lanes: baselines.Ensemble, steps: int, libraries: dict[str, Any]) -> Calls:
    """All that may move these lanes, by name."""
    slow = len(lanes.W) > SLOW_LANES.get(jax.default_backend(), 2**62)
    engines = [ll.fused.FusedEngine()] if slow else [ll.batch.DiffraxEngine(), ll.fused.FusedEngine()]
    made: Calls = {f"ours, {engine.name}": ours(lanes, steps, engine) for engine in engines}
    if len(lanes.W) == 1:
        made["ours, simulate"] = alone(lanes, steps)
    if not slow:
        made[DENSE] = baselines.jax_dense(lanes, steps)
        if baselines.missing_torch() is None:
            made["torchdiffeq"] = baselines.torchdiffeq_dense(lanes, steps, THREADS)
    for name, library in libraries.items():
        made[name] = baselines.c_program(library, lanes, steps, THREADS)
    return made


def once(timed: Calls, refused: dict[str, str]) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Where lanes end, and the seconds of these first calls; who refuses is taken out of `timed` with its reason."""
    ends, times = {}, {}
    for name, call in list(timed.items()):
        start = time.perf_counter()
        try:
            ends[name] = np.asarray(call())
        except ValueError as error:
            refused[name] = str(error)
            del timed[name]
        times[name] = [time.perf_counter() - start]
    return ends, {name: times[name] for name in timed}


def measured(count: int, dtype: Any, libraries: dict[str, Any], refused: dict[str, str], *, quick: bool) -> dict:
    """Evaluations a second of everyone on so many lanes, and how far ends lie apart."""
    steps, lanes = steps_of(count, quick=quick), baselines.ensemble(count, dtype)
    timed = calls(lanes, steps, libraries)
    ends, times = once(timed, refused)
    first = next(iter(ends.values()))
    apart = max(float(np.max(np.abs(end - first))) for end in ends.values())
    if count <= CALLED_OFTEN.get(jax.default_backend(), 2**62):
        times = common.interleaved(timed, 2 if quick else 3, warmup=0, least=0.05)
    return row_of(count, steps, dtype, times, apart)


def measured_long(libraries: dict[str, Any], fastest: str, *, quick: bool) -> dict:
    """The same of a long run, by our fastest engine, the dense rival and C; compiled before, since steps are values."""
    count, steps = (QUICK_LANES[0], 16) if quick else (JUDGED, LONG)
    lanes = baselines.ensemble(count)
    few = {name: library for name, library in libraries.items() if name == "C"}
    timed = {name: call for name, call in calls(lanes, steps, few).items() if name in {fastest, DENSE, "C"}}
    ends, times = once(timed, {})
    for name, seconds in common.interleaved(timed, 1, warmup=0, least=0).items():
        times[name] += seconds
    first = ends[fastest]
    apart = max(float(np.max(np.abs(end - first))) for end in ends.values())
    return row_of(count, steps, np.float64, times, apart)


def row_of(count: int, steps: int, dtype: Any, times: dict[str, list[float]], apart: float) -> dict:
    """What is recorded of one batch."""
    rates = {name: STAGES * steps * count / common.median(seconds) for name, seconds in times.items()}
    fastest = _best(rates)
    row = {"lanes": count, "steps": steps, "dtype": np.dtype(dtype).name, "rates": rates, "apart": apart}
    row["best"] = fastest
    row["over_dense"] = common.ratio(times, DENSE, fastest) if DENSE in times else None
    row["of_c"] = common.ratio(times, "C", fastest) if "C" in times else None
    return row


def _best(rates: dict[str, float]) -> str:
    return max((name for name in rates if name.startswith("ours")), key=lambda name: rates[name])


def flops_of_xor() -> int:
    """Operations of one evaluation written out, ten for a transcendental function (report/cost.py counts so too)."""
    lanes = baselines.ensemble(1)
    law, state, stimuli = batch(lanes)
    one = jax.tree.map(lambda leaf: leaf[0], (state, stimuli))
    program, _ = program_of(lambda t, at, args: unrolled(law).rates(t, at, args), jnp.asarray(0.1), *one)
    return program.flops + 9 * program.transcendentals


def other(sizes: tuple[int, ...], count: int, hardware: ll.costs.Hardware, *, quick: bool) -> dict:
    """A layered network in float32, by the engine that `simulate_batch` picks."""
    network = ll.Layered(sizes)
    steps = 2 if quick else 8 if network.num_weights > 1e5 else 128
    law = ll.CognitiveAction(network, mass_x=1e-3 / max(sizes)).law()
    entries = jnp.arange(sizes[0], dtype=jnp.float32)
    stimulus = ll.Stimulus(
        ll.Sinusoids(0.5 + entries / sizes[0], jnp.ones_like(entries), entries), jnp.full(sizes[-1], 0.3, jnp.float32)
    )
    keys = jax.random.split(jax.random.key(0), count)
    states = jax.vmap(lambda key: law.initial_state(0.0, network.init(key, jnp.float32), args=stimulus))(keys)

    def run() -> Any:
        return ll.simulate_batch(
            law, states, [0.0, steps * baselines.STEP], stimulus, in_axes=(None, 0, None), solver=diffrax.Heun(),
            dt0=baselines.STEP, save=last_output, chunk=count, progress=False, throw=True,
        )  # fmt: skip

    one = jax.tree.map(lambda leaf: leaf[0], states)
    cost = ll.estimate(law, one, [0.0, 1.0], stimulus, steps=1, solver=diffrax.Heun(), hardware=hardware).evaluation
    rate = STAGES * steps * count / common.median(common.interleaved({"ours": run}, 2 if quick else 3)["ours"])
    return {
        "lanes": count,
        "weights": network.num_weights,
        "evaluations_a_second": rate,
        "of_peak_arithmetic": rate * cost.flops / hardware.flops["float32"],
        "of_peak_bandwidth": rate * cost.bytes / hardware.bandwidth,
    }


def thresholds(rows: list[dict], long: dict) -> list[str]:
    listed = [*doubles(rows), long]
    missed = [
        f"ends of {row['lanes']} lanes lie {row['apart']:.1g} apart after {row['steps']} steps"
        for row in listed
        if row["apart"] > AGREE
    ]
    row = judged(rows)
    wanted = FACTOR.get(jax.default_backend(), 20.0)
    if row["over_dense"] < wanted:
        missed.append(f"{row['over_dense']:.1f} times {DENSE}, wanted {wanted:g}")
    return missed


def doubles(rows: list[dict]) -> list[dict]:
    return [row for row in rows if row["dtype"] == "float64"]


def judged(rows: list[dict]) -> dict:
    """The batch that thresholds and headline are about; the last of a quick run, which has no thresholds."""
    return next((row for row in doubles(rows) if row["lanes"] == JUDGED), doubles(rows)[-1])


def headline(rows: list[dict], long: dict) -> str:
    row = judged(rows)
    return (
        f"XOR, {row['lanes']} lanes in float64 ({row['best']}): {rate_of(row)} a second through {row['steps']} steps, "
        f"{row['over_dense']:.1f} times `{DENSE}` on dense equations{of_c(row, ' of a C program on as many cores')}; "
        f"{rate_of(long)} through {long['steps']}, {long['over_dense']:.1f} times{of_c(long, ' of C')}"
    )


def rate_of(row: dict) -> str:
    return f"{row['rates'][row['best']] / 1e6:.3g} million"


def of_c(row: dict, words: str) -> str:
    return "" if row["of_c"] is None else f", {row['of_c']:.2f}{words}"


def picture(rows: list[dict], long: dict, others: dict[str, list[dict]]) -> None:
    made, axes = common.figure("Evaluations a second of all accelerations and multipliers", columns=3)
    names = list(dict.fromkeys(name for row in rows for name in row["rates"]))
    colours = dict(zip(names, common.COLOURS, strict=False))
    for ax, dtype in zip(axes[0], ("float64", "float32"), strict=False):
        for name in names:
            shown = [row for row in rows if row["dtype"] == dtype and name in row["rates"]]
            style = {"color": colours.get(name, common.GREY), "ls": "-" if name.startswith("ours") else "--"}
            ax.loglog(
                [row["lanes"] for row in shown], [row["rates"][name] for row in shown], "o", ms=4, label=name, **style
            )
        if dtype == long["dtype"]:
            for name, rate in long["rates"].items():
                ax.loglog(long["lanes"], rate, "*", ms=11, color=colours.get(name, common.GREY))
            ax.loglog([], [], "*", ms=9, color=common.GREY, label=f"through {long['steps']} steps")
        common.finish(ax, f"XOR network, {dtype}", "lanes", "evaluations a second")
    axes[0, 0].sharex(axes[0, 1])
    axes[0, 0].sharey(axes[0, 1])
    axes[0, 0].autoscale()
    for (name, shown), colour in zip(others.items(), common.COLOURS, strict=False):
        rates = [row["evaluations_a_second"] for row in shown]
        label = f"{name}: at most {max(row['of_peak_arithmetic'] for row in shown):.1%} of peak arithmetic"
        axes[0, 2].loglog([row["lanes"] for row in shown], rates, "o-", ms=4, color=colour, label=label)
    common.finish(axes[0, 2], "larger networks, float32", "lanes", "evaluations a second")
    common.save(made, "xor_ensemble")


def main(*, quick: bool = False) -> None:
    jax.config.update("jax_enable_x64", True)
    hardware = ll.costs.measure_hardware(2**20 if quick else 2**25)
    refused: dict[str, str] = {}
    libraries = {dtype: compiled_c(dtype, refused) for dtype in LANES}
    rows = []
    for dtype, batches in LANES.items():
        for count in QUICK_LANES if quick else batches:
            rows.append(measured(count, dtype, libraries[dtype], refused, quick=quick))
            print(line(rows[-1]), flush=True)
    long = measured_long(libraries[np.float64], judged(rows)["best"], quick=quick)
    print(line(long), flush=True)
    if (missing := baselines.missing_torch()) is not None:
        refused["torchdiffeq"] = missing
    others = {
        name: [other(sizes, count, hardware, quick=quick) for count in (counts[:1] if quick else counts)]
        for name, (sizes, counts) in OTHERS.items()
        if not quick or max(sizes) < 100
    }
    flops = flops_of_xor()
    for row in (*rows, long):
        row["of_peak_arithmetic"] = row["rates"][row["best"]] * flops / hardware.flops[row["dtype"]]
    missed = [] if quick else thresholds(rows, long)
    best = max(row["rates"][row["best"]] for row in doubles([*rows, long]))
    findings = {
        "headline": headline(rows, long),
        "missed": missed,
        "aims": {"of C": AIM_OF_C, "evaluations a second": AIM, "best here": best},
        "flops_an_evaluation": flops,
        "c_flags": {name: " ".join(flags) for name, flags in baselines.FLAGS.items()},
        "not_timed": refused,
        "hardware": hardware._asdict(),
        "rows": rows,
        "long": long,
        "others": others,
    }
    path = common.write("xor_ensemble", question=__doc__.splitlines()[0], **findings)
    picture(rows, long, others)
    print(*(f"not timed: {name}: {why}" for name, why in refused.items()), findings["headline"], path, sep="\n")
    assert not missed, "\n".join(missed)


def compiled_c(dtype: Any, refused: dict[str, str]) -> dict[str, Any]:
    """The C program with each set of flags; none where there is no compiler."""
    try:
        return {name: baselines.built(flags, dtype) for name, flags in baselines.FLAGS.items()}
    except ValueError as error:
        refused["C"] = str(error)
        return {}


def line(row: dict) -> str:
    rates = "  ".join(f"{name} {rate / 1e6:.3g}" for name, rate in row["rates"].items())
    return f"{row['dtype']} {row['lanes']:>8} lanes, {row['steps']} steps, million a second: {rates}"


if __name__ == "__main__":
    main(quick=common.options(__doc__))
