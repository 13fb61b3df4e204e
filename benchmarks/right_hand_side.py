"""What does one evaluation of all accelerations and multipliers cost, in gradients of the same network?

The reduced law's `accelerations`, multipliers by waves to a relative residual of 1e-6 in float32 and 1e-10 in float64,
against `jax.jit(jax.value_and_grad)` of the loss at the same point, both called through `jax.jit`, side by side. Tanh
networks of equal layers, weights of `network.init` and beside them twice those, m_x/m_W = 1e-3/width, moving input and
weights. The residual is measured again in NumPy, in double precision, with (10) written out and a dense G_ξ. Then the
same of a digraph of a hundred thousand neurons and a million edges, of a convolutional chain of a million weights, and
of that chain seeing a batch of signals at once.

    python benchmarks/right_hand_side.py [--quick] [--redraw]
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import lagrangian_learning as ll

if __package__:
    from . import common
else:
    import common

SHAPES = (
    (16, 4), (32, 8), (64, 8), (128, 4), (256, 8), (128, 32),
    (512, 4), (512, 32), (1024, 8), (2048, 4), (2048, 32),
)  # fmt: skip
QUICK = ((8, 2), (16, 3))
RESIDUAL = {"float32": 1e-6, "float64": 1e-10}
# Rounding of the forward pass moves the right side of (10) too; it is no fault of the solver's.
CHECKED = {"float32": 1e-5, "float64": 1e-9}
MASS_W, THETA, TIME, TARGET = 1.0, 1.0, 0.3, 0.3
DENSE = 1200  # neurons up to which the residual is measured
LONG = 2e7  # weights beyond which the doubled ones are timed once
JUDGED = 128  # the least width of the thresholds: below it a call costs what its few hundred operations cost to start


def problem(network, width, dtype, potential=None):
    """A law with its stimulus, and a state in motion; `width` is that of the layers, m_x/m_W = 1e-3/width."""
    potential = ll.SquaredError() if potential is None else potential
    action = ll.CognitiveAction(
        network, potential, mass_x=1e-3 / width * MASS_W, mass_W=MASS_W, dissipation=ll.ExponentialDissipation(THETA)
    )
    waves = ll.multipliers.ConjugateGradients(rtol=RESIDUAL[dtype])
    law = action.law(multiplier_solver=waves)
    entries = jnp.arange(int(np.prod(network.input_shape)), dtype=dtype).reshape(network.input_shape)
    frequency = 0.5 + 1.5 * entries / entries.size
    target = jnp.full(network.output_shape, TARGET, dtype)
    stimulus = ll.Stimulus(ll.Sinusoids(frequency, jnp.ones_like(entries), entries), target)
    W, W_dot = network.init(jax.random.key(0), dtype), network.init(jax.random.key(1), dtype)
    return law, stimulus, ll.State(W, W_dot)


def layered(width, depth):
    return ll.Layered((width,) * (depth + 1))


def evaluations(law, stimulus):
    """Accelerations with multipliers, the loss with its gradient, and what the solver reports of itself, jitted."""
    arrays, rest = eqx.partition((law, stimulus), eqx.is_array)

    @jax.jit
    def ours(arrays, t, state):
        law, stimulus = eqx.combine(arrays, rest)
        return law.accelerations(t, state, stimulus)

    @jax.jit
    def gradient(W, u, y):
        return jax.value_and_grad(lambda weights: ll.learning.loss(law.network, law.potential, weights, u, y))(W)

    @jax.jit
    def solver(arrays, t, state):
        law, stimulus = eqx.combine(arrays, rest)
        waves, mass_x = law.multiplier_solver, law.action.mass_x
        (u, u_dot), (_, u_ddot) = jax.jvp(lambda s: rate(stimulus.input, s), (t,), (jnp.ones_like(t),))
        sweep = law.network.taylor_sweep(state.q, state.v, u, u_dot, u_ddot + THETA * u_dot)
        load = jax.tree.map(lambda z: -mass_x.astype(z.dtype) * z, sweep.x_ddot)
        load = (*load[:-1], load[-1] + stimulus.target(t) - sweep.x[-1])
        found = waves.solution(sweep.linearised, load, (mass_x / law.action.mass_W).astype(load[-1].dtype))
        return found.steps, found.residual

    return arrays, ours, gradient, solver


def rate(signal, s):
    return jax.jvp(signal, (s,), (jnp.ones_like(s),))


def measured(width, depth, dtype, rounds):
    law, stimulus, state = problem(layered(width, depth), width, dtype)
    arrays, ours, gradient, solver = evaluations(law, stimulus)
    t = jnp.asarray(TIME, dtype)
    u, y = stimulus.input(t), stimulus.target(t)
    row = {"width": width, "depth": depth, "m": law.network.num_weights, "dtype": dtype}
    for name, factor in (("init", 1), ("twice", 2)):
        at = ll.State(jax.tree.map(lambda w: factor * w, state.q), state.v)  # noqa: B023  # called at once
        steps, residual = solver(arrays, t, at)
        # Hundreds of gradients of a hundred million weights, all compiled before: one call is enough.
        once = {"rounds": 1, "warmup": 0, "least": 0} if name == "twice" and row["m"] > LONG else {"rounds": rounds}
        calls = {"ours": lambda: ours(arrays, t, at), "gradient": lambda: gradient(at.q, u, y)}  # noqa: B023  # the same
        times = common.interleaved(calls, **once)
        row[name] = {
            "seconds": common.median(times["ours"]),
            "gradient_seconds": common.median(times["gradient"]),
            "gradients": common.ratio(times, "ours", "gradient"),
            "steps": int(steps),
            "residual_reported": float(residual),
        }
        if law.network.num_neurons <= DENSE:
            delta = ours(arrays, t, at)[1]
            row[name]["residual_measured"] = residual_of_10(law, stimulus, at, delta)
    return row


def residual_of_10(law, stimulus, state, delta):
    """|f − (G_ξᵀ + (m_x/m_W) G_ξ⁻¹ D) δ| / |f| in NumPy: (10) times m_x G_ξ⁻¹, everything by hand and dense."""
    wide = [np.asarray(leaf, np.float64) for leaf in (*state.q, *state.v, *delta)]
    L = len(state.q)
    W, W_dot, delta = wide[:L], wide[L : 2 * L], np.concatenate(wide[2 * L :])
    frequency, amplitude, phase = (
        np.asarray(getattr(stimulus.input, name), np.float64) for name in ("frequency", "amplitude", "phase")
    )
    angle = frequency * np.asarray(TIME, state.q[0].dtype).astype(np.float64) + phase
    x, x_dot = [amplitude * np.sin(angle)], [amplitude * frequency * np.cos(angle)]
    u_ddot = -(frequency**2) * x[0]
    closing, diagonal = [-(u_ddot + THETA * x_dot[0])], [np.zeros_like(angle)]  # γ₂ + r G_t, and d
    width = angle.size
    jacobian = np.eye((L + 1) * width)
    for l in range(L):
        a_dot = W[l] @ x_dot[l] + W_dot[l] @ x[l]
        value = np.tanh(W[l] @ x[l])
        slope, bend = 1 - value**2, -2 * value * (1 - value**2)
        closing.append(-(bend * a_dot**2 + slope * 2 * (W_dot[l] @ x_dot[l])))
        diagonal.append(slope**2 * np.sum(x[l] ** 2))
        above, below = (slice(k * width, (k + 1) * width) for k in (l + 1, l))
        jacobian[above, below] = -slope[:, None] * W[l]
        x.append(value)
        x_dot.append(slope * a_dot)
    mass_x = float(law.action.mass_x)
    force = np.zeros_like(delta)
    force[-width:] = TARGET - x[-1]
    load = force + mass_x * np.linalg.solve(jacobian, np.concatenate(closing))
    coupled = np.linalg.solve(jacobian, np.concatenate(diagonal) * delta)
    left = load - jacobian.T @ delta - mass_x / MASS_W * coupled
    return float(np.linalg.norm(left) / np.linalg.norm(load))


def others(*, quick):
    """Networks of other structure, by name, with the width of their layers and their potential."""
    scale = 100 if quick else 1
    kernels = chain(8 // (4 if quick else 1))
    batch = ll.Batched(kernels, 2 if quick else 32)
    return {
        "digraph": (digraph(100_000 // scale, 1_000_000 // scale, levels=20), 10, None),
        "convolutions": (kernels, 100, None),
        # Of the mean each example has 1/B, and so must have the mass that stands beside it.
        f"convolutions, batch of {batch.batch}": (batch, 100 * batch.batch, ll.BatchMean(ll.SquaredError())),
    }


def digraph(neurons, edges, levels):
    """Random edges from lower to higher levels, 100 inputs and 10 outputs."""
    rng = np.random.default_rng(0)
    inner = np.sort(rng.integers(1, levels, neurons - 110))
    level = np.concatenate([np.zeros(100, int), inner, np.full(10, levels)])
    pairs = rng.integers(0, neurons, (3 * edges, 2))
    pairs = np.unique(pairs[level[pairs[:, 0]] < level[pairs[:, 1]]], axis=0)
    return ll.Digraph(neurons, rng.permutation(pairs)[:edges], num_inputs=100, num_outputs=10)


def chain(channels):
    """Two convolutions, a pooling, two dense layers: a million weights for eight channels."""
    keys = jax.random.split(jax.random.key(2), 4)
    return ll.Chain(
        [
            eqx.nn.Conv2d(1, channels, 3, padding=1, key=keys[0]), jnp.tanh,
            eqx.nn.Conv2d(channels, 2 * channels, 3, padding=1, key=keys[1]), jnp.tanh,
            eqx.nn.AvgPool2d(2, 2), jnp.ravel,
            eqx.nn.Linear(2 * channels * 64, 128 * channels, key=keys[2]), jnp.tanh,
            eqx.nn.Linear(128 * channels, 10, key=keys[3]),
        ],
        (1, 16, 16),
    )  # fmt: skip


def measured_other(name, network, width, potential, rounds):
    law, stimulus, state = problem(network, width, "float32", potential)
    arrays, ours, gradient, _ = evaluations(law, stimulus)
    t = jnp.asarray(TIME, jnp.float32)
    u, y = stimulus.input(t), stimulus.target(t)
    calls = {"ours": lambda: ours(arrays, t, state), "gradient": lambda: gradient(state.q, u, y)}
    times = common.interleaved(calls, rounds)
    return {
        "network": name,
        "m": sum(leaf.size for leaf in jax.tree.leaves(state.q)),
        "seconds": common.median(times["ours"]),
        "gradient_seconds": common.median(times["gradient"]),
        "gradients": common.ratio(times, "ours", "gradient"),
    }


def dispatch_seconds():
    """What `eqx.filter_jit(law.accelerations)` adds to a call of `jax.jit`, on the smallest network."""
    law, stimulus, state = problem(layered(*QUICK[0]), QUICK[0][0], "float32")
    arrays, ours, _, _ = evaluations(law, stimulus)
    filtered, t = eqx.filter_jit(law.accelerations), jnp.asarray(TIME, jnp.float32)
    times = common.interleaved({"jit": lambda: ours(arrays, t, state), "filter": lambda: filtered(t, state, stimulus)})
    return common.median(times["filter"]) - common.median(times["jit"])


def table(rows):
    lines = ["width  depth        m  dtype    gradients  steps   ×2: gradients  steps   residual"]
    for row in rows:
        init, twice = row["init"], row["twice"]
        lines.append(
            f"{row['width']:5}  {row['depth']:5}  {row['m']:7.1e}  {row['dtype']}  {init['gradients']:9.2f}  "
            f"{init['steps']:5}  {twice['gradients']:14.2f}  {twice['steps']:5}   "
            f"{init.get('residual_measured', float('nan')):.1e}"
        )
    return "\n".join(lines)


def picture(rows):
    """A dtype a colour, a depth a shape of the markers; the gradient beside them is a dotted line without."""
    made, (axes,) = common.figure("One evaluation of all accelerations and multipliers", columns=3)
    cost, usual, twice = axes
    for colour, dtype in zip(common.COLOURS, RESIDUAL, strict=False):
        for marker, depth in zip("os^Dv", sorted({row["depth"] for row in rows}), strict=False):
            chosen = [row for row in rows if (row["dtype"], row["depth"]) == (dtype, depth)]
            m = [row["m"] for row in chosen]
            style = {"color": colour, "marker": marker, "ms": 5, "label": f"{dtype}, {depth} layers"}
            cost.loglog(m, [row["init"]["seconds"] for row in chosen], **style)
            cost.loglog(m, [row["init"]["gradient_seconds"] for row in chosen], ":", color=colour, lw=1.2)
            for ax, weights in ((usual, "init"), (twice, "twice")):
                ax.loglog(m, [row[weights]["gradients"] for row in chosen], **style)
    cost.plot([], [], ":", color=common.GREY, lw=1.2, label="a gradient of the same")
    aimed = [row["m"] for row in rows if row["width"] >= JUDGED] or [row["m"] for row in rows]
    ends = [min(aimed), max(1e6, min(aimed)), max(1e6, *aimed)]
    usual.step(ends, [8, 8, 5], where="pre", color=common.GREY, lw=2, label="threshold")
    usual.set_ylim(twice.set_ylim(min(usual.get_ylim()[0], twice.get_ylim()[0]), twice.get_ylim()[1]))
    common.finish(cost, "Time of a call", "weights m", "seconds")
    common.finish(usual, "In gradients, weights of init", "weights m", "gradients", legend=False)
    usual.legend(*[part[-1:] for part in usual.get_legend_handles_labels()])
    common.finish(twice, "In gradients, weights twice as large", "weights m", "gradients", legend=False)
    return common.save(made, "right_hand_side")


def missed_thresholds(rows, slopes):
    missed = []
    for row in rows:
        where = f"{row['width']} x {row['depth']}, {row['dtype']}"
        limit = 5 if row["m"] >= 1e6 else 8
        if row["width"] >= JUDGED and row["init"]["gradients"] > limit:
            missed.append(f"{where}: {row['init']['gradients']:.2f} gradients, threshold {limit}")
        if row["init"].get("residual_measured", 0) > CHECKED[row["dtype"]]:
            missed.append(f"{where}: residual {row['init']['residual_measured']:.1e}")
    missed += [f"slope {slope:.3f} in {dtype}, threshold 1.05" for dtype, slope in slopes.items() if slope > 1.05]
    return missed


def headline(rows, slopes):
    def span(chosen):
        costs = [row["init"]["gradients"] for row in chosen]
        return f"{min(costs):.1f} to {max(costs):.1f}" if costs else "none"

    large, small = ([row for row in rows if (row["m"] >= 1e6) == big] for big in (True, False))
    return f"{span(large)} gradients for m ≥ 1e6, {span(small)} below; slope of log cost {max(slopes.values()):.2f}"


def main(*, quick=False):
    jax.config.update("jax_enable_x64", True)
    rows = []
    for width, depth in QUICK if quick else SHAPES:
        for dtype in RESIDUAL:
            rounds = 3 if quick else 11 if width**2 * depth < 2e7 else 5
            rows.append(measured(width, depth, dtype, rounds))
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    slopes = {}
    for dtype in RESIDUAL:
        chosen = [row for row in rows if row["dtype"] == dtype]
        slopes[dtype] = common.slope([row["m"] for row in chosen], [row["init"]["seconds"] for row in chosen])
    structured = [measured_other(name, *given, 3 if quick else 11) for name, given in others(quick=quick).items()]
    for row in structured:
        print(f"{row['network']:30} {row['m']:8}  {row['gradients']:5.2f} gradients", flush=True)
    missed = [] if quick else missed_thresholds(rows, slopes) + [
        f"{row['network']}: {row['gradients']:.2f} gradients, threshold 5" for row in structured
        if row["gradients"] > 5 and "batch" not in row["network"]
    ]  # fmt: skip
    findings = {
        "headline": headline(rows, slopes),
        "slopes": slopes,
        "filter_jit_adds_seconds": dispatch_seconds(),
        "missed": missed,
        "rows": rows,
        "other networks": structured,
    }
    path = common.write("right_hand_side", question=__doc__.splitlines()[0], **findings)
    picture(rows)
    print(table(rows), f"\nslopes of log cost: {slopes}\n{path}")
    assert not missed, "\n".join(missed)


if __name__ == "__main__":
    main(quick=common.options(__doc__, redraw=("right_hand_side", lambda found: picture(found["rows"]))))
