"""What do ensembles, one large network and gradients reach on the device at hand, and does it agree with the CPU?

One command of at most six minutes (`--budget SECONDS`), compiling included, on the first device that JAX finds. In
order of importance: what the device can do; one run here and on the CPU of the same process, in float32 and float64;
XOR ensembles of 1 to 2²⁰ lanes by both engines; the largest network that fits the memory; a gradient through a run;
lanes of the speech network and of one of 10⁶ weights. What no longer fits the time is left out, and the results say so;
they are written after every measurement. Figures are of compiled calls, blocked on; seconds of first calls, which
compile, stand beside. Thresholds: the end of a run differs from the CPU's by at most 1e-9 of its largest entry in
float64, 1e-3 in float32. TPUs have no float64 arithmetic, and are measured in float32 alone. Figures of a CPU are no
figures of an accelerator: without one, and without --results, they go to a temporary folder. `--quick` measures the
first of each kind on tiny sizes.

    python benchmarks/on_device.py [--quick] [--budget 360]
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import lagrangian_learning as ll

if __package__:
    from . import baselines, common, compile_and_memory, schedule, xor_ensemble
else:
    import baselines
    import common
    import compile_and_memory
    import schedule
    import xor_ensemble

QUESTION = __doc__.splitlines()[0]
BUDGET, RESERVE = 360.0, 8.0  # seconds; the second are for the picture
THRESHOLDS = {"float64": 1e-9, "float32": 1e-3}
STEP, HEUN, STAGES = 0.01, diffrax.Heun(), 2
XOR, SPEECH, MILLION = (2, 2, 1), (13, 32, 9), (512,) * 5
FEW, MOST_STEPS = 4, 20_000
SETTLED = 1.5  # seconds of further calls after the first
SHARE = 0.8  # of the memory that a run may be predicted to need
ENGINES = (ll.batch.DiffraxEngine(), ll.fused.FusedEngine())

Findings = dict[str, Any]


class Sizes(NamedTuple):
    """How much is asked of a device: lanes of each network, weights of the largest, steps of a run and of an ensemble.

    slow: the most lanes that `DiffraxEngine` is asked for.
    """

    xor: tuple[int, ...]
    speech: tuple[int, ...]
    million: tuple[int, ...]
    weights: float
    steps: int
    slow: int
    hardware: int
    networks: tuple[tuple[int, ...], ...] = (XOR, SPEECH, MILLION)


ACCELERATOR = Sizes((65536, 2**20, 1024, 1), (1024, 16384), (16, 1, 128), 1e9, 256, 2**20, 2**28)
PROCESSOR = Sizes((4096, 65536, 2**20, 1024, 1), (1024,), (4, 1), 1e7, 32, 4096, 2**25)
QUICK = Sizes((16,), (4,), (2,), 2e3, 8, 16, 2**20, (XOR, (3, 4, 2), (16,) * 3))


# -- one run, here and on the CPU --------------------------------------------------------------------------------------


def ended(action: Any, state: Any, stimulus: Any, steps: int) -> Any:
    """(W, Ẇ) after so many constant steps."""
    path = ll.simulate(action.law(), state, [0.0, steps * STEP], stimulus, solver=HEUN, dt0=STEP)
    return path.final_state


def on(device: Any, function: Callable, *given: Any) -> list[np.ndarray]:
    """The leaves that the function returns, computed on a device."""
    arrays, rest = eqx.partition(given, eqx.is_array)
    with jax.default_device(device):
        found = function(*eqx.combine(jax.device_put(arrays, device), rest))
    return [np.asarray(leaf) for leaf in jax.tree.leaves(found)]


def apart(function: Callable, *given: Any) -> float:
    """The largest difference between here and the CPU, over the largest entry of the same array there."""
    here, there = (on(device, function, *given) for device in (jax.devices()[0], jax.devices("cpu")[0]))
    return max(float(np.max(np.abs(a - b)) / np.max(np.abs(b))) for a, b in zip(here, there, strict=True))


def agreement(sizes: tuple[int, ...], dtype: Any, steps: int) -> Findings:
    action, stimulus, state = compile_and_memory.problem(sizes, dtype)
    found = apart(lambda *given: ended(*given, steps), action, state, stimulus)
    return {
        "dtype": np.dtype(dtype).name,
        "steps": steps,
        "apart": found,
        "summary": f"{found:.1e} apart after {steps} steps",
    }


# -- timing ------------------------------------------------------------------------------------------------------------


def settled(call: Callable[[], Any], seconds: float = SETTLED) -> tuple[float, float]:
    """Seconds of the first call, which compiles, and the median of the next."""
    (first,) = once(call, 1)
    times = once(call, 1)
    times += once(call, int(min(8, seconds / times[0])))
    return first, common.median(times)


def once(call: Callable[[], Any], rounds: int) -> list[float]:
    return common.interleaved({"call": call}, rounds, warmup=0, least=0)["call"]


def peak_memory() -> int | None:
    """The most bytes of the device that this process has held so far; None where it does not say."""
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


# -- ensembles ---------------------------------------------------------------------------------------------------------


def xor_lanes(count: int, dtype: Any, engine: Any, steps: int) -> Findings:
    run = xor_ensemble.ours(baselines.ensemble(count, dtype), steps, engine)
    return lanes_row(run, count, steps) | {"dtype": np.dtype(dtype).name, "engine": engine.name}


def network_lanes(sizes: tuple[int, ...], count: int, dtype: Any, steps: int) -> Findings:
    """Lanes that differ in weights, by the engine that is picked for them."""
    action, stimulus, _ = compile_and_memory.problem(sizes, dtype)
    law, network = action.law(), action.network
    keys = jax.random.split(jax.random.key(0), (count, 2))
    states = ll.State(*(jax.vmap(lambda key: network.init(key, dtype))(keys[:, k]) for k in range(2)))

    def run() -> Any:
        return ll.simulate_batch(
            law, states, [0.0, steps * STEP], stimulus, in_axes=(None, 0, None), solver=HEUN, dt0=STEP,
            save=xor_ensemble.last_output, progress=False, throw=True,
        ).final_state  # fmt: skip

    return lanes_row(run, count, steps) | {"dtype": np.dtype(dtype).name, "weights": network.num_weights}


def lanes_row(run: Callable[[], Any], count: int, steps: int) -> Findings:
    first, later = settled(run)
    rate = STAGES * steps * count / later
    return {
        "lanes": count,
        "steps": steps,
        "first_call": first,
        "later_call": later,
        "evaluations_a_second": rate,
        "peak_bytes": peak_memory(),
        "summary": f"{rate:.3g} evaluations a second, {later:.3g} s a call, the first {first:.3g} s",
    }


# -- one large network -------------------------------------------------------------------------------------------------


def large(dtype: Any, most: float, hardware: ll.costs.Hardware) -> Findings:
    """The largest network of at most so many weights that the memory holds: half as many where a run does not fit."""
    weights, refused = most, []
    while weights >= 1000:
        grain = 128 if weights > 1e6 else 8
        width = max(grain, int(np.sqrt(weights / 2)) // grain * grain)
        try:
            return stepped((width, width, width, 8), dtype, hardware) | {"did_not_fit": refused}
        except (jax.errors.JaxRuntimeError, MemoryError) as error:
            if "RESOURCE_EXHAUSTED" not in str(error) and not isinstance(error, MemoryError):
                raise
            refused.append(weights)
        weights /= 2
    raise MemoryError(f"not even {weights:.0f} weights fit {hardware.memory:.3g} bytes")


def stepped(sizes: tuple[int, ...], dtype: Any, hardware: ll.costs.Hardware) -> Findings:
    """Seconds a step of gradient descent with momentum as mechanics has it, and the share of the memory's bandwidth.

    MemoryError for what is predicted not to fit.
    """
    law, stimulus = learner(sizes, dtype)
    like = jax.eval_shape(lambda: compile_and_memory.problem(sizes, dtype)[2])
    predicted = ll.estimate(
        law, like, [0.0, 1.0], stimulus, steps=1, solver=ll.KickDrift(), hardware=hardware,
        saved=jax.ShapeDtypeStruct((sizes[-1],), dtype),
    )  # fmt: skip
    if predicted.memory > SHARE * hardware.memory:
        raise MemoryError(f"{predicted.memory:.3g} of {hardware.memory:.3g} bytes")
    state = compile_and_memory.problem(sizes, dtype)[2]

    def run(steps: int) -> Any:
        return ll.simulate(
            law, state, [0.0, steps * STEP], stimulus, solver=ll.KickDrift(), dt0=STEP, save=xor_ensemble.last_output
        ).final_state

    (first,) = once(lambda: run(FEW), 1)
    seconds = seconds_a_step(run)
    share = predicted.evaluations_a_step * predicted.evaluation.bytes / seconds / hardware.bandwidth
    weights = law.network.num_weights
    return {
        "weights": weights,
        "sizes": list(sizes),
        "dtype": np.dtype(dtype).name,
        "seconds_a_step": seconds,
        "predicted_seconds_a_step": predicted.seconds_a_step,
        "of_bandwidth": share,
        "predicted_bytes": predicted.memory,
        "peak_bytes": peak_memory(),
        "first_call": first,
        "summary": f"{weights:.3g} weights, {1e3 * seconds:.3g} ms a step, {share:.0%} of the bandwidth in products",
    }


def seconds_a_step(run: Callable[[int], Any]) -> float:
    """Of two runs, the longer of which takes at least twice the time: what calling costs drops out."""
    many = 5 * FEW
    while many < MOST_STEPS and once(functools.partial(run, many), 1)[0] < 2 * once(lambda: run(FEW), 1)[0]:
        many *= 4
    calls = {"few": lambda: run(FEW), "many": functools.partial(run, many)}
    times = common.interleaved(calls, 3, warmup=0, least=0)
    return (min(times["many"]) - min(times["few"])) / (many - FEW)


def learner(sizes: tuple[int, ...], dtype: Any) -> tuple[Any, Any]:
    """The law and the stimulus of `compile_and_memory.problem`, without the weights, which may not fit."""
    action, stimulus, _ = compile_and_memory.problem((sizes[0], 1, sizes[-1]), dtype)
    network = ll.Layered(sizes)
    return ll.CognitiveAction(network, mass_x=1e-3 / max(sizes), mass_W=action.mass_W).law(), stimulus


# -- gradients ---------------------------------------------------------------------------------------------------------


def gradient(sizes: tuple[int, ...], dtype: Any, steps: int, *, compared: bool) -> Findings:
    """d|W(t₁)|²/d(m_x, W(0), Ẇ(0)) through a run, in times of that run."""
    action, stimulus, state = compile_and_memory.problem(sizes, dtype)

    def loss(mass_x: Any, state: Any, action: Any, stimulus: Any) -> Any:
        law = eqx.tree_at(lambda a: a.mass_x, action, mass_x).law()
        path = ll.simulate(
            law, state, [0.0, steps * STEP], stimulus, solver=HEUN, dt0=STEP, max_steps=steps + 1,
            save=xor_ensemble.last_output, throw=False,
        )  # fmt: skip
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(path.final_state.q))

    given = (action.mass_x, state, action, stimulus)
    derivative = jax.grad(loss, argnums=(0, 1))
    forward, _ = common.compiled(loss, *given)
    backward, compiling = common.compiled(derivative, *given)
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(backward(*given))):
        raise ArithmeticError("the gradient is not finite")
    run, whole = (settled(lambda call=call: call(*given))[1] for call in (forward, backward))
    found = apart(eqx.filter_jit(derivative), *given) if compared else None
    compared_in_words = "" if found is None else f", {found:.1e} apart from the CPU"
    return {
        "dtype": np.dtype(dtype).name,
        "steps": steps,
        "seconds": whole,
        "runs": whole / run,
        "compiling": compiling,
        "apart": found,
        "peak_bytes": peak_memory(),
        "summary": f"{whole / run:.2g} runs of {run:.3g} s, compiled in {compiling:.3g} s{compared_in_words}",
    }


# -- what is measured, in which order ----------------------------------------------------------------------------------


def measurements(sizes: Sizes, dtypes: tuple[Any, ...], hardware: ll.costs.Hardware) -> list[schedule.Measurement]:
    """The most important first; expected seconds are guesses, which the schedule corrects by what it sees."""
    small, middle, wide = sizes.networks
    first, *others = sizes.xor
    steps = sizes.steps
    made = [agreeing(small, dtype, 4 * steps) for dtype in dtypes]
    made += [xor(first, dtype, engine, steps) for dtype in dtypes for engine in ENGINES if fits(first, engine, sizes)]
    made.append(largest(dtypes[0], sizes, hardware))
    made.append(derived(small, dtypes[-1], 64, compared=True))
    made.append(batch(middle, sizes.speech[0], dtypes[0], steps))
    made.append(batch(wide, sizes.million[0], dtypes[0], 8))
    made += [largest(dtype, sizes, hardware) for dtype in dtypes[1:]]
    made += [agreeing(middle, dtype, steps) for dtype in dtypes]
    made += [
        xor(count, dtype, engine, steps)
        for count in others
        for dtype in dtypes
        for engine in ENGINES
        if fits(count, engine, sizes)
    ]
    made += [agreeing(wide, dtype, 8) for dtype in dtypes]
    made.append(derived(wide, dtypes[0], 8, compared=False))
    made += [batch(middle, sizes.speech[0], dtype, steps) for dtype in dtypes[1:]]
    made += [batch(wide, sizes.million[0], dtype, 8) for dtype in dtypes[1:]]
    made += [batch(middle, count, dtype, steps) for count in sizes.speech[1:] for dtype in dtypes]
    made += [batch(wide, count, dtype, 8) for count in sizes.million[1:] for dtype in dtypes]
    return made


def first_of_each(made: list[schedule.Measurement]) -> list[schedule.Measurement]:
    found: dict[str, schedule.Measurement] = {}
    for one in made:
        found.setdefault(one.kind, one)
    return list(found.values())


def fits(count: int, engine: Any, sizes: Sizes) -> bool:
    """Whether the engine is asked for so many lanes; the fused one is not for a lone one, which it pads."""
    fused = isinstance(engine, ll.fused.FusedEngine)
    return count > 1 if fused else count <= sizes.slow


def agreeing(network: tuple[int, ...], dtype: Any, steps: int) -> schedule.Measurement:
    return schedule.Measurement(
        "agreement", named(network, dtype), 15, lambda: {"network": shape(network)} | agreement(network, dtype, steps)
    )


def xor(count: int, dtype: Any, engine: Any, steps: int) -> schedule.Measurement:
    name = f"{count:,} lanes, {np.dtype(dtype).name}, {engine.name}"
    return schedule.Measurement("XOR", name, 14, lambda: xor_lanes(count, dtype, engine, steps))


def batch(network: tuple[int, ...], count: int, dtype: Any, steps: int) -> schedule.Measurement:
    name = f"{count:,} lanes of {named(network, dtype)}"
    return schedule.Measurement(
        "ensemble",
        name,
        18,
        lambda: {"network": shape(network)} | network_lanes(network, count, dtype, steps),
    )


def largest(dtype: Any, sizes: Sizes, hardware: ll.costs.Hardware) -> schedule.Measurement:
    name = f"at most {sizes.weights:.0e} weights, {np.dtype(dtype).name}"
    return schedule.Measurement("large", name, 25, lambda: large(dtype, sizes.weights, hardware))


def derived(network: tuple[int, ...], dtype: Any, steps: int, *, compared: bool) -> schedule.Measurement:
    return schedule.Measurement(
        "gradient",
        f"{named(network, dtype)}, {steps} steps",
        50 if compared else 30,
        lambda: {"network": shape(network)} | gradient(network, dtype, steps, compared=compared),
    )


def named(network: tuple[int, ...], dtype: Any) -> str:
    return f"{shape(network)}, {np.dtype(dtype).name}"


def shape(network: tuple[int, ...]) -> str:
    return compile_and_memory.shape(network)


# -- the question ------------------------------------------------------------------------------------------------------


def missed(rows: list[schedule.Row]) -> list[str]:
    """The runs and gradients that differ from the CPU's by more than the threshold of their dtype."""
    compared = [row for row in rows if row.get("apart") is not None]
    return [
        f"{row['kind']}, {row['name']}: {row['apart']:.1e} apart from the CPU, threshold {THRESHOLDS[row['dtype']]:.0e}"
        for row in compared
        if not row["apart"] <= THRESHOLDS[row["dtype"]]
    ]


def headline(rows: list[schedule.Row]) -> str:
    """The figures in a line."""
    measured = [row for row in rows if row["status"] == "measured"]
    parts = []
    for dtype in THRESHOLDS:
        rates = [row for row in measured if row["kind"] == "XOR" and row["dtype"] == dtype]
        if rates:
            best = max(rates, key=lambda row: row["evaluations_a_second"])
            parts.append(f"XOR {best['name']}: {best['evaluations_a_second'] / 1e6:.3g} million evaluations a second")
    parts += [f"{row['dtype']}, {row['summary']}" for row in measured if row["kind"] == "large"]
    for dtype in THRESHOLDS:
        ends = [row["apart"] for row in measured if row["kind"] == "agreement" and row["dtype"] == dtype]
        parts += [f"at most {max(ends):.1e} apart from the CPU in {dtype}"] if ends else []
    left = sum(row["status"] != "measured" for row in rows)
    parts += [f"{left} of {len(rows)} not measured"] if left else []
    return f"{jax.devices()[0].device_kind}: {'; '.join(parts)}"


def picture(rows: list[schedule.Row]) -> None:
    made, ((small, large),) = common.figure(f"Evaluations a second on {jax.devices()[0].device_kind}", columns=2)
    for ax, kind, title in ((small, "XOR", "XOR network"), (large, "ensemble", "larger networks")):
        found = [row for row in rows if row["kind"] == kind and row["status"] == "measured"]
        for k, (label, shown) in enumerate(_lines(found).items()):
            ax.loglog(*zip(*sorted(shown), strict=True), "o-", ms=4, label=label, color=common.COLOURS[k % 6])
        common.finish(ax, title, "lanes", "evaluations a second", legend=bool(found))
    common.save(made, "on_device")


def drawn(rows: list[schedule.Row]) -> None:
    """The picture, also of a run that its budget ends."""
    try:
        picture(rows)
    except ImportError as error:
        print(f"no picture: {error}")


def _lines(rows: list[schedule.Row]) -> dict[str, list[tuple[int, float]]]:
    lines: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        label = f"{row.get('network') or row['engine']}, {row['dtype']}"
        lines.setdefault(label, []).append((row["lanes"], row["evaluations_a_second"]))
    return lines


def precisions() -> tuple[tuple[Any, ...], dict[str, str]]:
    """The dtypes that the device computes in, and why not the others."""
    if jax.default_backend() == "tpu":
        return (np.float32,), {"float64": "TPUs have no float64 arithmetic"}
    jax.config.update("jax_enable_x64", True)
    return (np.float32, np.float64), {}


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--budget", type=float, default=BUDGET, help="seconds that all may take, compiling included")
    on_cpu = jax.default_backend() == "cpu"
    given = common.chosen(parser, recorded=not on_cpu)
    dtypes, omitted = precisions()
    sizes = QUICK if given.quick else PROCESSOR if on_cpu else ACCELERATOR
    hardware = ll.costs.measure_hardware(sizes.hardware)
    about = {"accelerator": not on_cpu, "budget": given.budget, "omitted": omitted, "hardware": hardware._asdict()}

    def record(rows: list[schedule.Row]) -> Any:
        found = {"headline": headline(rows), "missed": missed(rows), "seconds": schedule.elapsed(), **about}
        return common.write("on_device", question=QUESTION, **found, measurements=rows)

    gigabytes = f"{hardware.memory / 1e9:.3g} GB, {hardware.bandwidth / 1e9:.3g} GB/s"
    print(f"{hardware.name}, {gigabytes}; budget {given.budget:g} s")
    for dtype, why in omitted.items():
        print(f"{dtype} is omitted: {why}")
    made = measurements(sizes, dtypes, hardware)
    plan = schedule.Schedule(given.budget - RESERVE, record, close=drawn)
    rows = plan.run(first_of_each(made) if given.quick else made)
    print(f"{schedule.elapsed():.0f} s", headline(rows), record(rows), sep="\n")
    assert given.quick or not missed(rows), "\n".join(missed(rows))


if __name__ == "__main__":
    main()
