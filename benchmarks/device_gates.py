"""Do all laws compile for a TPU v5e and an NVIDIA sm_90a, and into how many launches a step, with which temporaries?

Neither device is needed: XLA compiles for a description of one. Compiled are every law's `simulate` (constant steps of
Heun's method as in one_run.py, watched as by default), the gradient of its end with respect to its start, and LANES
lanes under `jax.vmap`, as `simulate_batch` runs them on such devices. Reported are operations and bytes by XLA's cost
analysis, temporaries in states (q, v), launches of a step, and for sm_90a registers and spills by ptxas;
docs/accelerators.md says how they are counted.

Budgets: at most 40 launches a step for one run of the speech network; no spills in float32; temporaries of a run and of
a batch at most 4 states beyond padding, for states of 4 kB and more a lane (below, single numbers outweigh the state).

    python benchmarks/device_gates.py --target tpu|cuda [--quick]

Each target needs an environment of its own (1.3 GB), and writes its part of results/device_gates.json. In both:

    pip install . && pip install PACKAGES

where PACKAGES are, all of JAX's of the version that is installed already,

    tpu:   "jax[tpu]"
    cuda:  --no-deps jax-cuda12-plugin jax-cuda12-pjrt nvidia-cuda-nvcc-cu12 nvidia-cuda-runtime-cu12
"""

import functools
import importlib.metadata
import importlib.util
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies

import lagrangian_learning as ll

if __package__:
    from . import common, one_run
    from .compiled_text import Loop, Program, covered, kernels, parameter_bytes
else:
    import common
    import one_run
    from compiled_text import Loop, Program, covered, kernels, parameter_bytes

NAME = "device_gates"
STEPS, LANES = 64, 128
BUDGETS = {"launches": 40, "spilled bytes": 0, "temporaries": 4.0}
SMALL = 4096  # bytes of a state below which temporaries are single numbers and tables of pointers
SPEECH = "13–32–9"
HBM, ON_CHIP = 0, 1  # XLA's numbers for the memory spaces of a TPU

# The text form of XLA's description of an H200.
H200 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 shared_memory_per_core: 233472
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128 block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535 block_dim_limit_z: 65535 memory_bandwidth: 4800000000000 l2_cache_size: 52428800
  clock_rate_ghz: 1.98 device_memory_size: 149250867200 shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 } registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA" dnn_version_info { major: 9 minor: 8 } device_description_str: "NVIDIA H200"
"""


class Target(NamedTuple):
    """A device to compile for: what its description takes, and what must be installed.

    scalar_unit: whether single numbers are computed beside the kernels.
    """

    device: str
    topology: dict[str, str]
    packages: tuple[str, ...]
    module: str
    install: str
    scalar_unit: bool


TARGETS = {
    "tpu": Target(
        "TPU v5e", {"platform": "tpu", "topology_name": "v5e:2x2"}, ("libtpu",), "libtpu", '"jax[tpu]"', True
    ),
    "cuda": Target(
        "NVIDIA sm_90a",
        {"platform": "cuda", "topology_name": "h200", "topology": "1x1x1", "target_config": H200},
        ("jax-cuda12-plugin", "jax-cuda12-pjrt", "nvidia-cuda-nvcc-cu12"),
        "jax_cuda12_plugin",
        "--no-deps jax-cuda12-plugin jax-cuda12-pjrt nvidia-cuda-nvcc-cu12 nvidia-cuda-runtime-cu12",
        False,
    ),
}
# A check of values inside a compiled program is a call of Python on the host, which no device's compiler lowers: as NaN
# it needs none. TPUs ask a server of their cloud what they are, unless told not to, and are locked for one process,
# which a compiler alone need not be.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "EQX_ON_ERROR": "nan",
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


# -- laws --------------------------------------------------------------------------------------------------------------


class Case(NamedTuple):
    """A law on a network or mechanism, the types of numbers in which it is compiled for a GPU, and the programs.

    In float64 `simulate` alone is compiled.
    """

    law: str
    network: str
    problem: Callable[[], one_run.Problem]
    dtypes: tuple[str, ...] = ("float32",)
    programs: tuple[str, ...] = ("simulate", "gradient", "batch")


def problem(law: Any, q: Any, args: Any, step: float, v: Any = None, **more: Any) -> one_run.Problem:
    state = law.initial_state(0.0, q, v, args=args, **more)
    return one_run.Problem(law, state, args, step, STEPS, 2)


def network_problem(name: str, law_of: Callable[[Any], Any]) -> one_run.Problem:
    network, W, stimulus = one_run.LEARNERS[name]()
    return problem(law_of(network), W, stimulus, one_run.STEPS[name][0])


def action(name: str, **how: Any) -> Callable[[], one_run.Problem]:
    return lambda: network_problem(name, lambda network: one_run.action_of(name, network).law(**how))


def finite_speed(network: Any) -> Any:
    return ll.CognitiveAction(network, speed=0.5, dissipation=ll.ExponentialDissipation(1.0)).law()


def cycles() -> one_run.Problem:
    edges = ((0, 2), (1, 2), (0, 3), (1, 3), (2, 3), (3, 2), (2, 4), (3, 4))
    network = ll.Digraph(5, edges, 2, 1)
    stimulus = ll.Stimulus(ll.Sinusoids(jnp.asarray([0.7, 1.1]), 1.0, jnp.zeros(2)), jnp.asarray([0.3]))
    return problem(ll.CognitiveAction(network).law(), 0.3 * network.init(jax.random.key(0)), stimulus, 0.02)


def pendulum_by_angle() -> one_run.Problem:
    law = ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, g: jnp.sum(v * v / 2 + g * jnp.cos(q))))
    return problem(law, jnp.array([1.0]), jnp.asarray(9.81), 1e-3)


def knife_edge(rule: Any, **more: Any) -> one_run.Problem:
    """A blade on an inclined plane, at (x, y) in direction q[2], that does not slip sideways."""

    def density(t: Any, q: Any, v: Any, g: Any) -> Any:
        return jnp.dot(v, v) / 2 + g * q[0] / 2

    law = ll.EulerLagrange(ll.Lagrangian(density), rule(lambda t, q, v, g: v[0] * jnp.sin(q[2]) - v[1] * jnp.cos(q[2])))
    return problem(law, jnp.zeros(3), jnp.asarray(9.81), 1e-3, jnp.array([0.0, 0.0, 0.8]), **more)


BOTH = ("float32", "float64")
CASES = (
    Case("action", SPEECH, action("speech")),
    Case("action, full coordinates", SPEECH, action("speech", coordinates="full")),
    Case("finite speed", SPEECH, lambda: network_problem("speech", finite_speed)),
    Case("backprop diffusion", SPEECH, lambda: network_problem("speech", ll.BackpropDiffusion)),
    Case("damped descent", SPEECH, lambda: network_problem("speech", ll.DampedDescent)),
    Case("gradient flow", SPEECH, lambda: network_problem("speech", ll.GradientFlow)),
    Case("action", "2–2–1", action("XOR"), BOTH),
    Case("action, dense saddle point", "2–2–1", action("XOR", multiplier_solver=ll.multipliers.DenseSaddlePoint())),
    Case("action, cycles", "digraph of 5", cycles),
    Case("action", "1e6 weights", action("1e6 weights"), programs=("simulate",)),
    Case("Euler–Lagrange", "pendulum by its angle", pendulum_by_angle),
    Case("Euler–Lagrange, holonomic", "pendulum in the plane", lambda: one_run.pendulum(quick=True), BOTH),
    Case("Euler–Lagrange, d'Alembert", "knife edge", lambda: knife_edge(ll.DAlembert)),
    Case("Euler–Lagrange, vakonomic", "knife edge", lambda: knife_edge(ll.Vakonomic, multipliers=jnp.zeros(()))),
)


# -- programs ----------------------------------------------------------------------------------------------------------


def programs(given: one_run.Problem) -> dict[str, Callable]:
    """What is compiled, as functions of (law, state, args)."""
    ts = np.asarray([0.0, STEPS * given.step])

    def simulate(law: Any, state: Any, args: Any, **more: Any) -> Any:
        path = ll.simulate(law, state, ts, args, solver=one_run.HEUN, dt0=given.step, throw=False, **more)
        return eqx.filter(path, eqx.is_array)

    def gradient(law: Any, state: Any, args: Any) -> Any:
        def end(state: Any) -> Any:
            path = simulate(law, state, args, max_steps=STEPS)
            return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(path.final_state.q))

        return jax.grad(end)(state)

    def batch(law: Any, states: Any, args: Any) -> Any:
        return jax.vmap(simulate, in_axes=(None, 0, None))(law, states, args)

    return {"simulate": simulate, "gradient": gradient, "batch": batch}


def chosen_programs(case: Case, dtype: str, only: str | None) -> list[str]:
    """Those of a case; in float64 `simulate` alone."""
    made = case.programs if dtype == "float32" else ("simulate",)
    return [name for name in made if only in {None, name}]


def converted(tree: Any, dtype: str) -> Any:
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if eqx.is_inexact_array(leaf) else leaf, tree)


def lanes(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((LANES, *leaf.shape), leaf.dtype)


def compiled_case(target: str, case: int, dtype: str, folder: str, only: str | None) -> list[dict[str, Any]]:
    """A row for every program of a case. Alone in its process: XLA reads its flags once, and may abort it."""
    os.environ["XLA_FLAGS"] = f"--xla_dump_to={folder} --xla_dump_hlo_module_re=jit_(simulate|gradient|batch)"
    description = TARGETS[target].topology
    device = topologies.get_topology_desc(**description).devices[0]  # pyright: ignore[reportArgumentType]
    given = converted(CASES[case].problem(), dtype)
    jax.config.update("jax_enable_x64", dtype == "float64")
    names = {"law": CASES[case].law, "network": CASES[case].network, "dtype": dtype}
    rows = []
    made = programs(given)
    for name in chosen_programs(CASES[case], dtype, only):
        state = jax.tree.map(lanes, given.state) if name == "batch" else given.state
        found = compiled(target, device, name, made[name], (given.law, state, given.args))
        read = from_dump(target, Path(folder), name, found.pop("parameters of state"))
        rows.append({**names, "program": name, **found, **read})
    return rows


def compiled(target: str, device: Any, name: str, function: Callable, arguments: tuple) -> dict[str, Any]:
    """What XLA reports of one program."""
    dynamic, static = eqx.partition(arguments, lambda leaf: eqx.is_array(leaf) or hasattr(leaf, "dtype"))

    def called(dynamic: Any) -> Any:
        return function(*eqx.combine(dynamic, static))

    called.__name__ = called.__qualname__ = name
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), dynamic)
    there = jax.sharding.SingleDeviceSharding(device)
    start = time.perf_counter()
    traced = jax.jit(called, in_shardings=there, out_shardings=there, keep_unused=True).trace(shapes)
    made = traced.lower(lowering_platforms=(target,)).compile()
    seconds = time.perf_counter() - start
    cost = made.cost_analysis() or jax.jit(called).lower(shapes).cost_analysis()  # the plugin for CUDA has none
    memory = made.memory_analysis()
    loops = Program(made.as_text(), scalar_unit=TARGETS[target].scalar_unit).loops()
    before = len(jax.tree.leaves(shapes[0]))
    return {
        "seconds to compile": seconds,
        "operations": cost["flops"],
        "bytes": cost["bytes accessed"],
        "temporary bytes": memory.temp_size_in_bytes,
        "argument bytes": memory.argument_size_in_bytes,
        "output bytes": memory.output_size_in_bytes,
        "loops": [as_record(loop) for loop in loops],
        "parameters of state": range(before, before + len(jax.tree.leaves(shapes[1]))),
    }


def as_record(loop: Loop) -> dict[str, Any]:
    return {**loop._asdict(), "nested": [as_record(one) for one in loop.nested]}


def from_dump(target: str, folder: Path, name: str, of_state: range) -> dict[str, Any]:
    """Bytes that temporaries cover, in states as they lie on the device; for a GPU registers and spills."""
    pattern = f"*jit_{name}.*after_optimizations-buffer-assignment.txt"
    (path,) = (path for path in folder.glob(pattern) if "cpu_after" not in path.name)
    assignment = path.read_text(encoding="utf-8")
    parameters = parameter_bytes(assignment)
    state = sum(parameters[k] for k in of_state)
    found = {"state bytes": state, "covered bytes": covered(assignment, HBM)}
    if target == "tpu":
        return found | {"on-chip bytes": covered(assignment, ON_CHIP)}
    made = [kernel for ptx in sorted(folder.glob(f"*jit_{name}.*.ptx")) for kernel in kernels(assembled(ptx))]
    spilling = {kernel.name: kernel.spilled for kernel in made if kernel.spilled}
    return found | {"kernels": len(made), "registers": max(k.registers for k in made), "spilled bytes": spilling}


def assembled(ptx: Path) -> str:
    """What ptxas reports of a file."""
    call = [ptxas(), "-v", "-arch=sm_90a", str(ptx), "-o", os.devnull]
    return subprocess.run(call, capture_output=True, text=True, check=True).stderr


@functools.cache
def ptxas() -> str:
    places = importlib.util.find_spec("nvidia.cuda_nvcc").submodule_search_locations  # pyright: ignore[reportOptionalMemberAccess]
    return str(Path(next(iter(places or ()))) / "bin" / "ptxas")


# -- budgets -----------------------------------------------------------------------------------------------------------


def step_loop(row: dict[str, Any]) -> dict[str, Any]:
    """The loop over steps: of the outermost loops whose turns are not counted beforehand the one with most launches."""
    return max((loop for loop in row["loops"] if loop["trips"] is None), key=lambda loop: loop["launches"])


def launches(row: dict[str, Any]) -> int:
    """Of a step; of a gradient the step forward, and the step back with the one made again for it."""
    if row["program"] == "gradient":
        return sum(loop["launches"] for loop in row["loops"] if loop["trips"] is None)
    return step_loop(row)["launches"]


def iterations(row: dict[str, Any]) -> list[int]:
    """Launches of a turn of every loop inside a step whose turns are not known, without those that save."""
    return [loop["launches"] for loop in step_loop(row)["nested"] if "inner-loop" not in loop["origin"]]


def temporaries(row: dict[str, Any]) -> float:
    """In states, both as they lie on the device, without what aligns them."""
    return row["covered bytes"] / row["state bytes"]


def bounded(row: dict[str, Any]) -> bool:
    """Whether its temporaries have a budget: a gradient keeps states on purpose, and small states are outweighed."""
    of_lane = row["state bytes"] / (LANES if row["program"] == "batch" else 1)
    return of_lane >= SMALL and row["program"] != "gradient"


def missed(target: str, row: dict[str, Any]) -> Iterator[str]:
    """The budgets that a row exceeds, each with its figure."""
    name = f"{target}: {row['law']}, {row['network']}, {row['dtype']}, {row['program']}"
    if "failed" in row:
        yield f"{name}: does not compile, {row['failed']}"
        return
    speech = row["law"] == "action" and row["network"] == SPEECH and row["program"] == "simulate"
    if speech and launches(row) > BUDGETS["launches"]:
        yield f"{name}: {launches(row)} launches a step, budget {BUDGETS['launches']}"
    spilled = sum(row.get("spilled bytes", {}).values())
    if row["dtype"] == "float32" and spilled > BUDGETS["spilled bytes"]:
        yield f"{name}: {spilled} bytes spilled in {len(row['spilled bytes'])} kernels of {row['kernels']}"
    if bounded(row) and temporaries(row) > BUDGETS["temporaries"]:
        yield f"{name}: temporaries of {temporaries(row):.1f} states, budget {BUDGETS['temporaries']:g}"


# -- record ------------------------------------------------------------------------------------------------------------


def check_installed(target: str) -> None:
    """Ends the script with what to install, where the compiler of the target is not there."""
    wanted = TARGETS[target]
    if importlib.util.find_spec(wanted.module) is None or (target == "cuda" and not Path(ptxas()).exists()):
        raise SystemExit(
            f"{NAME}: the compiler for {wanted.device} is not installed here. In an environment of its own: "
            f"pip install . && pip install {wanted.install}, with packages of JAX's version, {jax.__version__}."
        )


def measured(target: str, case: int, dtype: str, only: str | None) -> list[dict[str, Any]]:
    """The rows of a case, by a process of its own; where that fails one that says why."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone,
    ):
        try:
            return alone.submit(compiled_case, target, case, dtype, folder, only).result()
        except (ValueError, RuntimeError, NotImplementedError, BrokenProcessPool) as error:
            names = {"law": CASES[case].law, "network": CASES[case].network, "dtype": dtype, "program": "all"}
            return [{**names, "failed": f"{type(error).__name__}: {str(error).splitlines()[0]}"}]


def with_figures(row: dict[str, Any]) -> dict[str, Any]:
    """A row with what follows from it, for the table."""
    if "failed" in row:
        return row
    inside = {"launches a step": launches(row), "launches an iteration": iterations(row)}
    return {**row, **inside, "temporaries in states": temporaries(row)}


def recorded() -> dict[str, Any]:
    """The targets of the record that is there."""
    path = common.RESULTS / f"{NAME}.json"
    return json.loads(path.read_text(encoding="utf-8"))["targets"] if path.exists() else {}


def key(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(row[name] for name in ("law", "network", "dtype", "program"))


def record(target: str, rows: list[dict[str, Any]]) -> list[str]:
    """Writes the rows beside those of the other target and those of laws that were left out; the budgets missed."""
    targets = recorded()
    new = [key(row) for row in rows]
    kept = [row for row in targets.get(target, {}).get("rows", []) if key(row) not in new and "failed" not in row]
    order, kinds = [(case.law, case.network) for case in CASES], ["simulate", "gradient", "batch", "all"]
    ordered = sorted(
        kept + rows,
        key=lambda row: (order.index((row["law"], row["network"])), row["dtype"], kinds.index(row["program"])),
    )
    versions = {package: importlib.metadata.version(package) for package in TARGETS[target].packages}
    targets[target] = {**common.environment(), "device": TARGETS[target].device, "compiler": versions, "rows": ordered}
    for found in targets.values():
        found["rows"] = [with_figures(row) for row in found["rows"]]
    beyond = [text for name, found in sorted(targets.items()) for row in found["rows"] for text in missed(name, row)]
    findings = {"headline": headline(targets), "missed": beyond, "budgets": BUDGETS, "targets": targets}
    common.write(NAME, question=__doc__.splitlines()[0], **findings)
    return beyond


def headline(targets: dict[str, Any]) -> str:
    """The speech network first, then the worst of all."""
    parts = []
    for found in targets.values():
        rows = [row for row in found["rows"] if "failed" not in row]
        large = [temporaries(row) for row in rows if bounded(row)]
        speech = [row for row in rows if (row["law"], row["network"], row["program"]) == ("action", SPEECH, "simulate")]
        words = [f"{len(rows)} programs"]
        words += [f"speech {launches(row)} launches a step, {max(iterations(row))} an iteration" for row in speech]
        words += [f"temporaries at most {max(large):.1f} states"] if large else []
        spilling = [row for row in rows if row["dtype"] == "float32" and row.get("spilled bytes")]
        words += [f"spills in float32 in {len(spilling)} of them"] if "kernels" in rows[0] else []
        parts.append(f"{found['device']}: {', '.join(words)}")
    return "; ".join(parts)


def line(row: dict[str, Any]) -> str:
    name = f"{row['law']}, {row['network']}, {row['dtype']}, {row['program']}"
    if "failed" in row:
        return f"{name:60} {row['failed']}"
    return (
        f"{name:60} {launches(row):4} launches a step, {iterations(row)} an iteration; {temporaries(row):8.1f} states; "
        f"{row.get('registers', '–')} registers, {sum(row.get('spilled bytes', {}).values())} bytes spilled"
    )


def main() -> None:
    options = common.arguments(__doc__)
    options.add_argument("--target", choices=TARGETS, required=True, help="the device to compile for")
    options.add_argument("--only", default="", help="laws whose name and network hold this text, beside those recorded")
    options.add_argument(
        "--program", choices=("simulate", "gradient", "batch"), help="this alone, beside those recorded"
    )
    given = common.chosen(options)
    check_installed(given.target)
    os.environ.update(ENVIRONMENT)  # for the processes that compile
    jax.config.update("jax_platforms", "cpu")
    chosen = [k for k, case in enumerate(CASES) if given.only in f"{case.law}, {case.network}"]
    beyond = []
    for k in [next(k for k in chosen if CASES[k].network.startswith("pendulum"))] if given.quick else chosen:
        for dtype in CASES[k].dtypes if given.target == "cuda" else ("float32",):
            rows = measured(given.target, k, dtype, given.program)
            print(*map(line, rows), sep="\n", flush=True)
            beyond = record(given.target, rows)
    if beyond and not given.quick:
        print("budgets missed:", *beyond, sep="\n  ")
        sys.exit(1)


if __name__ == "__main__":
    main()
