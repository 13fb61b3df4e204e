"""How much faster are structured multiplier solvers than dense ones, and at which neuron mass do they cross over?

One evaluation of all accelerations and multipliers in float64 by waves, by block tridiagonal elimination and by the
dense Schur complement that knows its diagonal G_M G_Mᵀ and is put together from blocks
(`ll.multipliers.NetworkSchur`), on layered networks of 256, 1024 and 4096 neurons; on one of 128 also by the whole
saddle point (`ll.multipliers.DenseSaddlePoint`). Then waves
against block elimination while m_x/m_W grows: the times and the steps behind the automatic choice.

    python benchmarks/dense_against_structured.py [--quick]
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import lagrangian_learning as ll

if __package__:
    from . import common
else:
    import common

SIZES = ((32,) * 4, (64,) * 4, (128,) * 8, (256,) * 16)
CROSSING = ((32,) * 5, (64,) * 5, (128,) * 5, (256,) * 5, (512,) * 5)
KAPPAS = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2)  # (m_x/m_W) width
SADDLE = 128  # neurons up to which the whole saddle point is factorised
THRESHOLDS = {256: 5, 4096: 50}
AGREEMENT = 1e-10
TIME = 0.3


def problem(sizes, kappa):
    network, width = ll.Layered(sizes), sizes[0]
    action = ll.CognitiveAction(network, mass_x=kappa / width, mass_W=1.0)
    entries = jnp.arange(1.0 * width)
    stimulus = ll.Stimulus(ll.Sinusoids(0.5 + 1.5 * entries / width, 1.0, entries), jnp.full(width, 0.3))
    state = ll.State(network.init(jax.random.key(0)), network.init(jax.random.key(1)))
    return action, stimulus, state


def jitted(action, solver, stimulus):
    """Arrays of law and stimulus, and their accelerations and multipliers as a function of those, jitted."""
    arrays, rest = eqx.partition((action.law(multiplier_solver=solver), stimulus), eqx.is_array)

    @jax.jit
    def evaluated(arrays, t, state):
        law, stimulus = eqx.combine(arrays, rest)
        return law.accelerations(t, state, stimulus)

    return arrays, evaluated


def called(run, arrays, state):
    """The evaluation as a call without arguments."""
    t = jnp.asarray(TIME)
    return lambda: run(arrays, t, state)


STRUCTURED = {
    "waves": ll.multipliers.ConjugateGradients(),
    "block tridiagonal": ll.multipliers.BlockTridiagonal(),
}


def against_dense(sizes, rounds):
    """Seconds and largest relative difference of each solver from the Schur complement's."""
    action, stimulus, state = problem(sizes, 1e-3)
    solvers = {**STRUCTURED, "dense Schur": ll.multipliers.NetworkSchur()}
    if action.network.num_neurons <= SADDLE:
        solvers["dense saddle point"] = ll.multipliers.DenseSaddlePoint()
    calls = {}
    for name, solver in solvers.items():
        arrays, run = jitted(action, solver, stimulus)
        calls[name] = called(run, arrays, state)
    exact = calls["dense Schur"]()
    difference = {name: differing(call(), exact) for name, call in calls.items()}
    times = common.interleaved(calls, rounds)
    return {
        "neurons": action.network.num_neurons,
        "m": action.network.num_weights,
        "seconds": {name: common.median(values) for name, values in times.items()},
        "schur_over": {name: common.ratio(times, "dense Schur", name) for name in times},
        "difference": difference,
    }


def differing(left, right):
    """The larger of the relative differences of Ẅ and δ."""
    pairs = zip(left, right, strict=True)
    return max(float(np.max(np.abs(flat(a) - flat(b))) / np.max(np.abs(flat(b)))) for a, b in pairs)


def flat(tree):
    return np.asarray(ravel_pytree(tree)[0])


def crossing(sizes, kappas, rounds):
    """Waves against block elimination for several masses; each is compiled once, masses being arguments."""
    runs, rows = {}, []
    for kappa in kappas:
        action, stimulus, state = problem(sizes, kappa)
        calls = {}
        for name, solver in STRUCTURED.items():
            arrays, run = jitted(action, solver, stimulus)
            run = runs.setdefault(name, run)
            calls[name] = called(run, arrays, state)
        times = common.interleaved(calls, rounds)
        rows.append(
            {
                "width": sizes[0],
                "kappa": kappa,
                "steps": steps(STRUCTURED["waves"], action, stimulus, state),
                "seconds": {name: common.median(values) for name, values in times.items()},
                "waves_over_block": common.ratio(times, "waves", "block tridiagonal"),
                "chosen": type(action.law().multiplier_solver).__name__,
            }
        )
    return rows


@eqx.filter_jit
def steps(waves, action, stimulus, state):
    x = action.network.forward(state.q, stimulus.input(jnp.asarray(TIME)))
    load = jax.tree.map(jnp.ones_like, x)
    return waves.solution(action.network.linearised(x, state.q), load, action.mass_x / action.mass_W).steps


def table(rows, crossings):
    lines = ["neurons        m   solver               ms      Schur takes   difference"]
    for row in rows:
        lines += [
            f"{row['neurons']:7}  {row['m']:7}   {name:18}  {1e3 * row['seconds'][name]:9.3f}  "
            f"{row['schur_over'][name]:8.1f} times   {row['difference'][name]:.1e}"
            for name in row["seconds"]
        ]
    lines.append("\nwidth   (m_x/m_W) width   steps   waves ms   block ms   waves/block   automatic choice")
    lines += [
        f"{row['width']:5}   {row['kappa']:15g}   {row['steps']:5}   {1e3 * row['seconds']['waves']:8.2f}   "
        f"{1e3 * row['seconds']['block tridiagonal']:8.2f}   {row['waves_over_block']:11.2f}   {row['chosen']}"
        for row in crossings
    ]
    return "\n".join(lines)


def picture(rows, crossings):
    made, ((dense, cross),) = common.figure("Dense against structured multipliers", columns=2)
    names = ("waves", "block tridiagonal", "dense Schur")
    for colour, name in zip(common.COLOURS, names, strict=False):
        seconds = [row["seconds"][name] for row in rows]
        dense.loglog([row["neurons"] for row in rows], seconds, "o-", color=colour, label=name)
    neurons = [row["neurons"] for row in rows]
    dense.set_xticks(neurons, [str(count) for count in neurons])
    dense.xaxis.minorticks_off()
    for colour, width in zip(common.COLOURS, sorted({row["width"] for row in crossings}), strict=False):
        chosen = [row for row in crossings if row["width"] == width]
        ratios = [row["waves_over_block"] for row in chosen]
        cross.loglog([row["kappa"] for row in chosen], ratios, "o-", color=colour, label=f"width {width}")
    cross.axhline(1, color=common.GREY, lw=1)
    common.finish(dense, "Time of a call", "neurons", "seconds")
    common.finish(cross, "Waves over block elimination", "(m_x/m_W) width", "ratio of times")
    return common.save(made, "dense_against_structured")


def thresholds(rows):
    missed = []
    for row in rows:
        missed += [
            f"{row['neurons']} neurons, {name}: differs by {row['difference'][name]:.1e}"
            for name in ("waves", "block tridiagonal")
            if row["difference"][name] > AGREEMENT
        ]
        best = max(row["schur_over"][name] for name in ("waves", "block tridiagonal"))
        least = THRESHOLDS.get(row["neurons"], 0)
        if best < least:
            missed.append(f"{row['neurons']} neurons: {best:.1f} times faster than dense, threshold {least}")
    return missed


def headline(rows):
    names = ("waves", "block tridiagonal")
    gains = ", ".join(f"{max(row['schur_over'][name] for name in names):.0f}" for row in rows)
    neurons = ", ".join(str(row["neurons"]) for row in rows)
    worst = max(row["difference"][name] for row in rows for name in names)
    return f"{gains} times faster than the dense Schur complement at {neurons} neurons, equal to {worst:.0e}"


def main(*, quick=False):
    jax.config.update("jax_enable_x64", True)
    sizes, widths, kappas = (SIZES, CROSSING, KAPPAS) if not quick else (((4,) * 3, (8,) * 3), ((4,) * 3,), (1e-3, 1.0))
    rows = [against_dense(each, 3 if quick or sum(each) > 2000 else 11) for each in sizes]
    crossings = [row for each in widths for row in crossing(each, kappas, 3 if quick else 7)]
    missed = [] if quick else thresholds(rows)
    findings = {"headline": headline(rows), "missed": missed, "rows": rows, "crossings": crossings}
    path = common.write("dense_against_structured", question=__doc__.splitlines()[0], **findings)
    picture(rows, crossings)
    print(table(rows, crossings), path, sep="\n")
    assert not missed, "\n".join(missed)


if __name__ == "__main__":
    main(quick=common.options(__doc__))
