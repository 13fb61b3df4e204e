"""What does an evaluation cost where weights are twice those of `init` and layers are 32, by which multiplier solver?

Second and later evaluations of all accelerations and multipliers along a run of small steps (semi-implicit Euler in a
scan, moving input and weights), in gradients of the same network along a run of gradient descent in a scan of as many
steps, side by side. Tanh networks of 32 equal layers, and one that tapers, weights as `network.init` returns them and
twice those, m_x/m_W = 1e-3/width and 1e-4. Conjugate gradients and their steps; the same on an elimination of low rank
(`ll.multipliers.LowRankElimination`) of an eighth and a quarter of the widest layer; block elimination. Iterative
solves stop at the residual of right_hand_side.py, 1e-6 in float32 and 1e-10 in float64. How far δ is from that of
block elimination stands beside. Dense solves, of the size of all neurons, are in dense_against_structured.py.

    python benchmarks/heavy_weights.py [--quick]
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import lagrangian_learning as ll

if __package__:
    from . import common, right_hand_side
else:
    import common
    import right_hand_side

DEPTH, STEP, EVALUATIONS = 32, 1e-3, 4
WIDTHS = (512, 128, 16)
TAPERED = tuple(round(256 * 2 ** (-4 * l / DEPTH)) for l in range(DEPTH + 1))  # 256 to 16
GOAL = 25.0


def networks(*, quick):
    """Sizes of the layers by name."""
    if quick:
        return {"4": (4,) * 5, "tapered": (6, 5, 4, 3)}
    return {str(width): (width,) * (DEPTH + 1) for width in WIDTHS} | {"256 to 16": TAPERED}


def solvers(widest, dtype):
    rtol = right_hand_side.RESIDUAL[dtype]
    low_rank = ll.multipliers.LowRankElimination
    return {
        "conjugate gradients": ll.multipliers.ConjugateGradients(rtol=rtol),
        "low rank, 1/8": low_rank(rank=max(1, widest // 8), rtol=rtol),
        "low rank, 1/4": low_rank(rank=max(1, widest // 4), rtol=rtol),
        "block elimination": ll.multipliers.BlockTridiagonal(),
    }


def problem(sizes, dtype):
    """The network, its stimulus, weights and their velocities."""
    network = ll.Layered(sizes)
    entries = jnp.arange(sizes[0], dtype=dtype)
    signal = ll.Sinusoids(0.5 + 1.5 * entries / sizes[0], jnp.ones_like(entries), entries)
    stimulus = ll.Stimulus(signal, jnp.full(sizes[-1], right_hand_side.TARGET, dtype))
    return network, stimulus, network.init(jax.random.key(0), dtype), network.init(jax.random.key(1), dtype)


def law_of(network, solver, mass_x):
    friction = ll.ExponentialDissipation(right_hand_side.THETA)
    action = ll.CognitiveAction(network, mass_x=mass_x, mass_W=right_hand_side.MASS_W, dissipation=friction)
    return action.law(multiplier_solver=solver)


def evaluations(ours):
    """A run of small steps in a scan: the state after it, and δ of each evaluation."""

    @jax.jit
    def run(arrays, start):
        def one(state, k):
            W_ddot, delta = ours(arrays, right_hand_side.TIME + k * STEP, state)
            v = jax.tree.map(lambda v, a: v + STEP * a, state.v, W_ddot)
            return ll.State(jax.tree.map(lambda q, v: q + STEP * v, state.q, v), v), delta

        return jax.lax.scan(one, start, jnp.arange(EVALUATIONS, dtype=start.q[0].dtype))

    return run


def gradients(gradient, stimulus):
    """A run of gradient descent in a scan of as many steps."""

    @jax.jit
    def run(stimulus, W):
        def one(W, k):
            t = right_hand_side.TIME + k * STEP
            value, slope = gradient(W, stimulus.input(t), stimulus.target(t))
            return jax.tree.map(lambda w, g: w - STEP * g, W, slope), value

        return jax.lax.scan(one, W, jnp.arange(EVALUATIONS, dtype=W[0].dtype))

    return lambda W: run(stimulus, W)


def measured(name, sizes, dtype, rounds):
    """A row for each scale of the weights and each mass: every solver is compiled once."""
    network, stimulus, W, W_dot = problem(sizes, dtype)
    compiled = {}
    for solver, given in solvers(max(sizes), dtype).items():
        _, ours, gradient, report = right_hand_side.evaluations(law_of(network, given, 1e-3), stimulus)
        compiled[solver] = given, evaluations(ours), report
    baseline = gradients(gradient, stimulus)
    rows = []
    for factor in (1, 2):
        start = ll.State(jax.tree.map(lambda w: factor * w, W), W_dot)  # noqa: B023  # called at once
        for mass_x in (1e-3 / max(sizes), 1e-4):
            row = {"network": name, "dtype": dtype, "weights": factor, "mass_x": mass_x}
            rows.append(row | {"solvers": compared(compiled, baseline, (network, stimulus, start, mass_x), rounds)})
            print(line(rows[-1]), flush=True)
    return rows


def compared(compiled, baseline, at, rounds):
    """Gradients an evaluation, steps of the solver after the run, and how far δ is from that of elimination."""
    network, stimulus, start, mass_x = at
    calls, found = {"gradient": lambda: baseline(start.q)}, {}
    last = jnp.asarray(right_hand_side.TIME + (EVALUATIONS - 1) * STEP, start.q[0].dtype)
    for name, (solver, run, report) in compiled.items():
        arrays = eqx.filter((law_of(network, solver, mass_x), stimulus), eqx.is_array)
        calls[name] = lambda run=run, arrays=arrays: run(arrays, start)
        end, delta = run(arrays, start)
        found[name] = {"delta": np.asarray(ravel_pytree(delta)[0])}
        if hasattr(solver, "solution"):
            found[name]["steps"] = int(report(arrays, last, end)[0])
    exact = found["block elimination"]["delta"]
    times = common.interleaved(calls, rounds)
    for name, each in found.items():
        each["gradients"] = common.ratio(times, name, "gradient")
        each["difference"] = float(np.linalg.norm(each.pop("delta") - exact) / np.linalg.norm(exact))
    return found


def line(row):
    costs = "  ".join(f"{each['gradients']:7.1f} ({each.get('steps', '-')})" for each in row["solvers"].values())
    return f"{row['network']:>9}  {row['dtype']}  {row['weights']} x init  m_x {row['mass_x']:.1e}   {costs}"


def headline(rows):
    """Conjugate gradients beside the cheapest solver, over the rows of doubled weights at 1e-3/width."""
    heavy = [row["solvers"] for row in rows if row["weights"] == 2]
    today = [row["conjugate gradients"]["gradients"] for row in heavy]
    best = [min(each["gradients"] for each in row.values()) for row in heavy]
    within = sum(cost <= GOAL for cost in best)
    return (
        f"weights twice those of init, in gradients: {min(today):.0f} to {max(today):.0f} by conjugate gradients, "
        f"{min(best):.0f} to {max(best):.0f} by the best solver; at most {GOAL:.0f} in {within} of {len(best)} rows"
    )


def picture(rows):
    """Gradients an evaluation, a panel for each dtype: rows from below, a colour for each solver."""
    dtypes = list(dict.fromkeys(row["dtype"] for row in rows))
    made, (axes,) = common.figure("Deep networks, weights of init and twice those", columns=len(dtypes))
    for ax, dtype in zip(axes, dtypes, strict=True):
        shown = [row for row in rows if row["dtype"] == dtype]
        names = [f"{row['network']}, {row['weights']}×, {row['mass_x']:.0e}" for row in shown]
        for colour, solver in zip(common.COLOURS, shown[0]["solvers"], strict=False):
            ax.semilogx(
                [row["solvers"][solver]["gradients"] for row in shown], names, "o", ms=5, color=colour, label=solver
            )
        ax.axvline(GOAL, color=common.GREY, lw=1)
        ax.tick_params(axis="y", labelsize=7)
        common.finish(ax, f"{dtype}: width, weights, m_x/m_W", "gradients an evaluation", "")
    common.save(made, "heavy_weights")


def main(*, quick=False):
    jax.config.update("jax_enable_x64", True)
    rows = []
    for dtype in right_hand_side.RESIDUAL:
        for name, sizes in networks(quick=quick).items():
            rows += measured(name, sizes, dtype, 3)
            record = {"question": __doc__.splitlines()[0], "headline": headline(rows), "missed": [], "rows": rows}
            path = common.write("heavy_weights", **record)  # each time: a run of all takes long
    picture(rows)
    print(headline(rows), path, sep="\n")


if __name__ == "__main__":
    main(quick=common.options(__doc__))
