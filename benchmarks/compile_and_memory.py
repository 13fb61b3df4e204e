"""How long does compiling take, and how much memory does one evaluation need beyond the state?

Seconds (wall, and of all cores together) to trace and compile the law's accelerations, a `simulate` of it and the
gradient of that with respect to m_x, on small and large layered networks. Memory of one evaluation of all accelerations
and multipliers in copies of W: temporaries and results as XLA plans them, and the peak of the process as measured, both
beyond W and Ẇ. The accelerations themselves are one of the copies.

    python benchmarks/compile_and_memory.py [--quick]
"""

import ctypes
import gc
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp

import lagrangian_learning as ll

if __package__:
    from . import common
else:
    import common

SMALL = ((2, 2, 1), (13, 32, 9), (64,) * 9)
LARGE = ((512,) * 9, (2048,) * 5)  # a gradient of a run of these is not what one compiles every day
THRESHOLD = 4.0
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def problem(sizes, dtype=jnp.float32):
    network = ll.Layered(sizes)
    action = ll.CognitiveAction(network, mass_x=1e-3 / max(sizes), mass_W=1.0)
    entries = jnp.arange(sizes[0], dtype=dtype)
    stimulus = ll.Stimulus(
        ll.Sinusoids(1 + entries / sizes[0], jnp.ones_like(entries), entries), jnp.full(sizes[-1], 0.3, dtype)
    )
    state = ll.State(network.init(jax.random.key(0), dtype), network.init(jax.random.key(1), dtype))
    return action, stimulus, state


def evaluate(action, t, state, stimulus):
    return action.law().accelerations(t, state, stimulus)


def run(action, t, state, stimulus):
    path = ll.simulate(action.law(), state, t + jnp.array([0.0, 1.0]), stimulus, max_steps=4096)
    return path.final_state


def sensitivity(mass_x, action, t, state, stimulus):
    moved = run(eqx.tree_at(lambda a: a.mass_x, action, mass_x), t, state, stimulus)
    return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(moved.q))


def seconds_to_compile(function, *arguments):
    """(wall, CPU) seconds to trace, lower and compile with nothing cached, and the compiled function."""
    jax.clear_caches()
    wall, cpu = time.perf_counter(), time.process_time()
    made = eqx.filter_jit(function).lower(*arguments).compile()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}, made


def compiling(sizes, *, differentiated):
    action, stimulus, state = problem(sizes)
    t = jnp.asarray(0.0, jnp.float32)
    row = {"sizes": list(sizes), "m": action.network.num_weights}
    row["accelerations"] = seconds_to_compile(evaluate, action, t, state, stimulus)[0]
    row["simulate"] = seconds_to_compile(run, action, t, state, stimulus)[0]
    if differentiated:
        arguments = (action.mass_x, action, t, state, stimulus)
        row["gradient of simulate"] = seconds_to_compile(jax.grad(sensitivity), *arguments)[0]
    return row


def memory(sizes, dtype):
    action, stimulus, state = problem(sizes, dtype)
    arguments = (action, jnp.asarray(0.3, dtype), state, stimulus)
    arrays, rest = eqx.partition(arguments, eqx.is_array)
    call = jax.jit(lambda arrays: evaluate(*eqx.combine(arrays, rest))).lower(arrays).compile()
    planned = call.memory_analysis()
    copy = sum(leaf.nbytes for leaf in jax.tree.leaves(state.q))
    return {
        "sizes": list(sizes),
        "dtype": jnp.dtype(dtype).name,
        "bytes of W": copy,
        "planned copies": (planned.temp_size_in_bytes + planned.output_size_in_bytes) / copy,
        "measured copies": peak(lambda: jax.block_until_ready(call(arrays)), copy),
    }


def peak(call, unit):
    """How far the process's memory rises during a call, in units of so many bytes; None where it cannot be measured."""
    call()
    try:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what is freed and kept would not be seen to be taken again
        CLEAR.write_text("5")  # the peak starts anew
        before = resident("VmRSS")
        call()
        risen = (resident("VmHWM") - before) / unit
    except (OSError, AttributeError):
        return None
    return risen if risen > 0 else None  # it was free already: nothing was measured


def resident(name):
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])


def table(rows, memories):
    lines = ["network                m   compiled              wall s    CPU s"]
    for row in rows:
        lines += [
            f"{shape(row['sizes']):14}  {row['m']:8}   {name:20}  {row[name]['wall']:6.1f}   {row[name]['cpu']:6.1f}"
            for name in ("accelerations", "simulate", "gradient of simulate")
            if name in row
        ]
    lines.append("\nnetwork          dtype     W in MB   planned copies of W   measured")
    for row in memories:
        measured = "unknown" if row["measured copies"] is None else f"{row['measured copies']:.2f}"
        lines.append(
            f"{shape(row['sizes']):14}   {row['dtype']}   {row['bytes of W'] / 1e6:7.1f}   "
            f"{row['planned copies']:19.3f}   {measured}"
        )
    return "\n".join(lines)


def shape(sizes):
    return f"{sizes[0]} x {len(sizes) - 1}" if len(set(sizes)) == 1 else "–".join(map(str, sizes))


def picture(rows, memories):
    made, ((compiles, copies),) = common.figure("Compile time and memory", columns=2)
    for colour, name in zip(common.COLOURS, ("accelerations", "simulate", "gradient of simulate"), strict=False):
        chosen = [row for row in rows if name in row]
        compiles.loglog([r["m"] for r in chosen], [r[name]["wall"] for r in chosen], "o-", color=colour, label=name)
    labels = [f"{shape(row['sizes'])}\n{row['dtype']}" for row in memories]
    places = range(len(memories))
    copies.bar([p - 0.2 for p in places], [row["planned copies"] for row in memories], 0.4, label="planned",
               color=common.COLOURS[0])  # fmt: skip
    measured = [row["measured copies"] or 0 for row in memories]
    copies.bar([p + 0.2 for p in places], measured, 0.4, label="measured", color=common.COLOURS[1])
    copies.axhline(THRESHOLD, color=common.GREY, lw=1, label="threshold")
    copies.set_xticks(list(places), labels)
    common.finish(compiles, "To trace and compile", "weights m", "seconds")
    common.finish(copies, "One evaluation, beyond W and Ẇ", "network", "copies of W")
    return common.save(made, "compile_and_memory")


def thresholds(memories):
    return [
        f"{shape(row['sizes'])}, {row['dtype']}: {kind} {row[kind]:.2f}, threshold {THRESHOLD}"
        for row in memories
        for kind in ("planned copies", "measured copies")
        if row[kind] is not None and row[kind] > THRESHOLD
    ]


def headline(rows, memories):
    small = rows[0]
    compiles = ", ".join(f"{name} {small[name]['wall']:.1f} s" for name in small if isinstance(small[name], dict))
    kinds = ("planned copies", "measured copies")
    most = max(row[kind] for row in memories for kind in kinds if row[kind] is not None)
    return f"({shape(small['sizes'])}): {compiles}; at most {most:.2f} copies of W"


def main(*, quick=False):
    jax.config.update("jax_enable_x64", True)
    small, large = (((2, 2, 1),), ((16,) * 3,)) if quick else (SMALL, LARGE)
    rows = [compiling(sizes, differentiated=not quick) for sizes in small]
    rows += [compiling(sizes, differentiated=False) for sizes in large]
    memories = [memory(sizes, dtype) for sizes in large for dtype in (jnp.float32, jnp.float64)]
    missed = [] if quick else thresholds(memories)
    path = common.write(
        "compile_and_memory",
        question=__doc__.splitlines()[0],
        headline=headline(rows, memories),
        missed=missed,
        rows=rows,
        memory=memories,
    )
    picture(rows, memories)
    print(table(rows, memories), path, sep="\n")
    assert not missed, "\n".join(missed)


if __name__ == "__main__":
    main(quick=common.options(__doc__))
