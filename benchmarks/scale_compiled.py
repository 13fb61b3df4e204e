"""Does `ll.estimate` agree with what XLA says of the compiled run?

Memory of the program that `simulate` or a chunk of `simulate_batch` compiles, operations and bytes of an evaluation of
the law, for 10³ to 10⁸ weights and 1 to 10⁶ lanes, against XLA's own memory and cost analysis. Everything is compiled
for shapes and nothing is run. XLA counts the body of a loop once: an evaluation is compared with one solver step.

Threshold: all within 1.3, memory and bytes where they are a megabyte or more (below, what XLA keeps for itself is all
there is), operations from 10³ weights on.

    python benchmarks/scale_compiled.py [--quick]
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from common import COLOURS, GREY, figure, finish, options, save, write

import lagrangian_learning as ll
from lagrangian_learning._memory import device_memory
from lagrangian_learning.batch.batch_run import BatchRun
from lagrangian_learning.batch.chunks import chunk_size, padded
from lagrangian_learning.batch.devices import _run_chunk
from lagrangian_learning.batch.engines import engine_for
from lagrangian_learning.batch.lanes import Inputs, Lanes
from lagrangian_learning.costs.cost import cost_of
from lagrangian_learning.simulate.inputs import checked_times, kinks_known
from lagrangian_learning.simulate.run import integrate
from lagrangian_learning.simulate.settings import Settings
from lagrangian_learning.simulate.work import rates_of

STEP, FACTOR, MEGABYTE = 0.01, 1.3, 1e6
XOR, SPEECH = (2, 2, 1), (13, 32, 9)  # 6 and 704 weights
WIDE = (10_000, 10_000, 10)
# Four layers of a width give so many weights: 1e3, 1e4, …, 1e8.
DECADES = tuple((width,) * 5 for width in (16, 50, 160, 512, 1600, 5000))
HARDWARE = ll.costs.Hardware(
    "compiled for", {"float32": 1e12, "float64": 1e12}, 1e11, 0.0, 1e11, 3e7, 1e-6, 1e11, 1e-5
)  # fmt: skip


class Row(NamedTuple):
    """A run: a law, its size, the stepper by name, how many lanes, the dtype and the engine by name ("": its own)."""

    law: str
    size: Any
    stepper: str
    lanes: int = 1
    dtype: str = "float32"
    engine: str = ""


ONE = (
    *(Row("sweeps", sizes, "Tsit5") for sizes in DECADES), Row("sweeps", DECADES[1], "Heun"),
    *(Row("gradient flow", sizes, "Tsit5") for sizes in (*DECADES[1::2], WIDE)),
    *(Row("damped descent", sizes, "KickDrift") for sizes in DECADES[3::2]),
    *(Row("chain of masses", size, "Tsit5") for size in (1000, 100_000, 10_000_000)),
    Row("chain of masses", 1_000_000, "Dopri8", dtype="float64"),
    Row("gradient flow", DECADES[3], "Heun", dtype="float64"),
)  # fmt: skip
BATCHES = (
    *(Row("sweeps", XOR, "Heun", lanes) for lanes in (100, 10_000, 1_000_000)),
    *(Row("sweeps", XOR, "Tsit5", lanes, engine="DiffraxEngine") for lanes in (10_000, 1_000_000)),
    Row("gradient flow", XOR, "Heun", 1_000_000),
    *(Row("sweeps", SPEECH, "Tsit5", lanes) for lanes in (100, 1_000_000)),
    Row("gradient flow", SPEECH, "Heun", 10_000), Row("sweeps", SPEECH, "Heun", 10_000, engine="DiffraxEngine"),
    Row("gradient flow", DECADES[1], "Tsit5", 10_000),
)  # fmt: skip
QUICK = (Row("gradient flow", (20, 20), "Heun"), Row("gradient flow", XOR, "Heun", 100))


class Found(NamedTuple):
    """What the estimate predicted of a row, and what XLA says."""

    law: str
    network: str
    weights: int
    lanes: int
    predicted_chunk: int
    chunk: int
    predicted_engine: str
    engine: str
    stepper: str
    dtype: str
    predicted_memory: float
    memory: float
    predicted_bytes: float
    bytes: float
    predicted_operations: float
    operations: float

    @property
    def ratios(self) -> dict[str, float]:
        return {
            "memory": self.predicted_memory / self.memory,
            "bytes": self.predicted_bytes / self.bytes,
            "operations": self.predicted_operations / self.operations,
        }

    @property
    def missed(self) -> list[str]:
        """What is above its floor and off by more than the factor."""
        above = {
            "memory": self.memory >= MEGABYTE, "bytes": self.bytes >= MEGABYTE, "operations": self.weights >= 1000,
        }  # fmt: skip
        off = [name for name, off in self.ratios.items() if above[name] and not 1 / FACTOR <= off <= FACTOR]
        same = (self.predicted_chunk, self.predicted_engine) == (self.chunk, self.engine)
        return off if same else [*off, "chunk or engine"]


def network_of(sizes: tuple[int, ...], dtype: Any, law: Callable[[ll.Layered], Any]) -> tuple[Any, Any, Any, Any]:
    """A law of a layered network, its state as shapes, a stimulus, and what is recorded."""
    network = ll.Layered(sizes)
    W = jax.eval_shape(lambda key: network.init(key, dtype), jax.random.key(0))
    signal = ll.Sinusoids(jnp.linspace(0.5, 1.5, sizes[0], dtype=dtype), 1.0, jnp.arange(sizes[0], dtype=dtype))
    return law(network), W, ll.Stimulus(signal, jnp.full(sizes[-1], 0.3, dtype)), lambda t, found: found["x"][-1]


def problem(row: Row) -> tuple[Any, Any, Any, Any]:
    """The law of a row, the state of one lane as shapes, its arguments, and what is recorded."""
    dtype = jnp.dtype(row.dtype)
    if row.law == "chain of masses":
        shape = jax.ShapeDtypeStruct((row.size,), dtype)
        chain = ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, _: (jnp.sum(v**2) - jnp.sum(jnp.diff(q) ** 2)) / 2))
        return chain, ll.State(shape, shape), None, lambda t, found: found["q"][-1]
    laws = {
        "sweeps": lambda network: ll.CognitiveAction(network, mass_x=1e-3 / max(row.size)).law(),
        "gradient flow": ll.GradientFlow,
        "damped descent": ll.DampedDescent,
    }
    law, W, stimulus, save = network_of(row.size, dtype, laws[row.law])
    return law, ll.State(W, None if row.law == "gradient flow" else W), stimulus, save


def compiled(fn: Callable, *args: Any) -> Any:
    """fn compiled for the shapes of args."""
    dynamic, static = eqx.partition(args, lambda leaf: hasattr(leaf, "dtype"))
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), dynamic)
    return jax.jit(lambda arrays: eqx.filter(fn(*eqx.combine(arrays, static)), eqx.is_array)).lower(shapes).compile()


def bytes_held(program: Any) -> int:
    """Arguments, results and what the program holds beside them."""
    used = program.memory_analysis()
    return (
        used.argument_size_in_bytes
        + used.output_size_in_bytes
        + used.temp_size_in_bytes
        - used.alias_size_in_bytes
    )  # fmt: skip


def run_of(row: Row, given: tuple, solver: Any) -> tuple[int, int, str]:
    """Bytes of the compiled program, the lanes of a chunk and the engine, by the functions of a run themselves."""
    law, state, args, save = given
    times = checked_times([0.0, STEP], jnp.dtype(row.dtype))
    tolerances, plan = Settings(solver=solver, dt0=STEP, save=save, kinks=kinks_known(None, args)).prepared(law, times)
    if row.lanes == 1:
        return bytes_held(compiled(integrate, law, state, times, args, tolerances, plan, None, None)), 1, ""
    lane = Inputs(law, state, args)
    asked = None if not row.engine else getattr(ll.batch, row.engine)()
    engine = engine_for(asked, lane, row.lanes, times, tolerances, plan)
    shared = Inputs(law, jax.tree.map(lambda leaf: None, state), args)
    lanes = Inputs(*(jax.tree.map(lambda leaf: None, part) for part in lane))
    batch = lanes._replace(state=_batched(state, row.lanes))
    workers = BatchRun(engine, Lanes(batch, shared), times, tolerances, plan, None).workers
    size = chunk_size(None, row.lanes, 1, lane, times, plan, workers=workers, one_core=engine.one_core)
    varied = lanes._replace(state=_batched(state, padded(size, 1, lane)))
    program = compiled(_run_chunk, engine, varied, shared, times, tolerances, plan, None)
    return bytes_held(program), size, engine.name


def _batched(state: Any, lanes: int) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((lanes, *leaf.shape), leaf.dtype), state)


def estimated(row: Row, given: tuple, solver: Any) -> ll.costs.Estimate:
    """For the processor at hand, of which no speed is asked."""
    law, state, args, _ = given
    dtype = jnp.dtype(row.dtype)
    saved = jax.ShapeDtypeStruct((row.size[-1],) if isinstance(row.size, tuple) else (), dtype)
    cores = ll.costs.hardware.usable_cores() if jax.default_backend() == "cpu" else 0
    lanes = 1024 if cores else 2**18
    hardware = HARDWARE._replace(memory=float(device_memory()), cores=cores, lanes=lanes)
    engine = None if not row.engine else getattr(ll.batch, row.engine)()
    return ll.estimate(
        law, state, [0.0, STEP], args, steps=1, solver=solver, lanes=row.lanes, hardware=hardware, saved=saved,
        solver_steps=1, engine=engine,
    )  # fmt: skip


def found_of(row: Row) -> Found:
    jax.config.update("jax_enable_x64", row.dtype == "float64")
    given, solver = problem(row), getattr(ll, row.stepper, None) or getattr(diffrax, row.stepper)
    law, state, args, _ = given
    memory, chunk, engine = run_of(row, given, solver())
    predicted = estimated(row, given, solver())
    t = jax.ShapeDtypeStruct((), jnp.dtype(row.dtype))
    counted = compiled(rates_of, law, t, state, args).cost_analysis()
    # Functions are ten operations each to the estimate, none to XLA, which counts them apart.
    operations = counted["flops"] + 10 * counted.get("transcendentals", 0)
    name = "–".join(map(str, row.size)) if isinstance(row.size, tuple) else f"{row.size:,}"
    numbers = sum(leaf.size for leaf in jax.tree.leaves(state.q))
    of_a_chunk = predicted.memory_of_chunk
    cost = cost_of(rates_of, law, t, state, args)
    jax.clear_caches()
    return Found(
        row.law, name, numbers, row.lanes, predicted.chunk, chunk, predicted.engine, engine, row.stepper, row.dtype,
        of_a_chunk, memory, cost.bytes, counted["bytes accessed"], cost.flops, operations,
    )  # fmt: skip


def spread(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}" if values else "nothing above the floor"


def drawn(rows: list[Found]) -> Any:
    """Predicted over XLA's, against how much it is."""
    made, axes = figure("Predicted over what XLA says of the compiled run", columns=3)
    for ax, name, unit in zip(
        axes[0], ("memory", "bytes", "operations"), ("bytes", "bytes", "operations"), strict=True
    ):
        for colour, law in zip(COLOURS, dict.fromkeys(found.law for found in rows), strict=False):
            mine = [found for found in rows if found.law == law]
            ratios = [found.ratios[name] for found in mine]
            ax.semilogx([getattr(found, name) for found in mine], ratios, "o", color=colour, label=law)
        ax.axhspan(1 / FACTOR, FACTOR, color=GREY, alpha=0.12, lw=0)
        what = {"memory": "memory of a run or a chunk", "bytes": "bytes of an evaluation"}.get(
            name, "operations of one"
        )
        finish(ax, what, f"XLA's, {unit}", "predicted over it", legend=name == "memory")
    return made


def main() -> None:
    quick = options(__doc__)
    rows, missed = [], []
    for row in QUICK if quick else (*ONE, *BATCHES):
        found = found_of(row)
        ratios = " ".join(f"{name} {ratio:.2f}" for name, ratio in found.ratios.items())
        print(f"{found.law:>16} {found.network:>22} {found.lanes:>9,} {found.stepper:>9} {ratios} {found.missed}")
        rows.append(found)
        missed += [f"{found.law}, {found.network}, {found.lanes} lanes: {what}" for what in found.missed]
    memory = spread([found.ratios["memory"] for found in rows if found.memory >= MEGABYTE])
    moved = spread([found.ratios["bytes"] for found in rows if found.bytes >= MEGABYTE])
    operations = spread([found.ratios["operations"] for found in rows if found.weights >= 1000])
    write(
        "scale_compiled",
        question="Does ll.estimate agree with what XLA says of the compiled run?",
        headline=f"predicted over XLA's: memory {memory}, bytes of an evaluation {moved}, operations {operations}",
        rows=[found._asdict() | {"ratios": found.ratios} for found in rows],
        missed=missed,
    )
    save(drawn(rows), "scale_compiled")
    assert quick or not missed, f"off by more than {FACTOR:g}: {missed}"


if __name__ == "__main__":
    main()
