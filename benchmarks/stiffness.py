"""What does ϑ cost? Steps and time for an error of 1e-6 from ϑ = 1 to 10⁸, exponential steppers beside Diffrax's.

Damped descent (13) of a (4, 8, 2) tanh network at γ = 1, from rest, T = 4, float64. Every method meets tolerances from
coarse (1e-3) to fine on the same law, and the coarsest with an error of W(T) below 1e-6 counts; where that is 1e-3
itself, as for Kvaerno5 from ϑ = 100 on, a coarser one might do too. Explicit methods are not asked for more than
200,000 steps. The reference is ExponentialRK4 at 1e-11, which Kvaerno5 confirms.
The anchor is the gradient flow (14): constant steps, as many as it takes, of the classical methods of the same order
there and of ours at ϑ = 10⁸, each against the exact end of its own law.

    python benchmarks/stiffness.py [--quick]
"""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import lagrangian_learning as ll

if __package__:
    from . import common
else:
    import common

GAMMA, END, ERROR = 1.0, 4.0, 1e-6
THETAS = (1.0, 1e1, 1e2, 1e3, 1e4, 1e6, 1e8)
TOLERANCES = tuple(10.0 ** (-k / 2) for k in range(6, 22))
LIMIT = 200_000
METHODS = {
    "ExponentialMidpoint": ll.ExponentialMidpoint(),
    "ExponentialRK4": ll.ExponentialRK4(),
    "Tsit5": diffrax.Tsit5(),
    "Dopri8": diffrax.Dopri8(),
    "Kvaerno5": diffrax.Kvaerno5(),
}
EXPLICIT = {"Tsit5": 3.0, "Dopri8": 6.0}  # about how long their steps can be, in 1/ϑ
THRESHOLDS = {"midpoint": 1.05, "fourth order": 1.05}  # steps at ϑ = 10⁸ over those of the gradient flow


def problem():
    """Network, stimulus and weights."""
    network = ll.Layered((4, 8, 2))
    frequency, phase = jnp.linspace(0.7, 2.1, 4), jnp.linspace(0.3, 1.1, 4)
    stimulus = ll.Stimulus(ll.Sinusoids(frequency, 1.0, phase), ll.Sinusoids(jnp.array([1.0, 1.5]), 0.5))
    return network, stimulus, network.init(jax.random.key(3))


NETWORK, STIMULUS, START = None, None, None


def descent(theta):
    return ll.DampedDescent(NETWORK, ll.SquaredError(), GAMMA / theta, ll.ExponentialDissipation(theta))


def flat(W):
    return ravel_pytree(W)[0]


def adaptive(solver):
    """(ϑ, tolerance) ↦ (W(T), steps, whether it arrived)."""

    @jax.jit
    def run(theta, tolerance):
        law = descent(theta)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(law.vector_field), solver, 0.0, END, None,
            law.initial_state(0.0, START, args=STIMULUS), STIMULUS,
            stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance), max_steps=LIMIT, throw=False,
            adjoint=diffrax.ForwardMode() if isinstance(solver, diffrax.AbstractImplicitSolver) else
            diffrax.RecursiveCheckpointAdjoint(),
        )  # fmt: skip
        arrived = solution.result == diffrax.RESULTS.successful
        return flat(jax.tree.map(lambda leaf: leaf[-1], solution.ys.q)), solution.stats["num_steps"], arrived

    return run


def constant(solver):
    """(ϑ, count) ↦ W(T) by constant steps on damped descent."""

    @jax.jit
    def run(theta, count):
        law = descent(theta)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(law.vector_field), solver, 0.0, END, END / count,
            law.initial_state(0.0, START, args=STIMULUS), STIMULUS, max_steps=LIMIT,
        )  # fmt: skip
        return flat(jax.tree.map(lambda leaf: leaf[-1], solution.ys.q))

    return run


def classical(weights):
    """The same for the gradient flow, by the classical methods of second and fourth order (written out)."""
    law = ll.GradientFlow(NETWORK, ll.SquaredError(), GAMMA)

    def slope(t, W):
        return law.velocities(t, ll.State(W, None), STIMULUS)[0]

    def moved(W, h, k):
        return jax.tree.map(lambda w, d: w + h * d, W, k)

    def midpoint(t, W, h):
        return moved(W, h, slope(t + h / 2, moved(W, h / 2, slope(t, W))))

    def fourth(t, W, h):
        a = slope(t, W)
        b = slope(t + h / 2, moved(W, h / 2, a))
        c = slope(t + h / 2, moved(W, h / 2, b))
        d = slope(t + h, moved(W, h, c))
        return moved(W, h / 6, jax.tree.map(lambda a, b, c, d: a + 2 * b + 2 * c + d, a, b, c, d))

    rule = {"midpoint": midpoint, "fourth order": fourth}[weights]

    @jax.jit
    def run(count):
        h = END / count
        return flat(jax.lax.fori_loop(0, count.astype(int), lambda n, W: rule(n * h, W, h), START))

    return run


def fewest(error_of, first=8, last=20_000):
    """The fewest constant steps with an error below ERROR: doubled until one is, then bisected."""
    high = first
    while high < last and error_of(high) > ERROR:
        high *= 2
    low = high // 2
    while high - low > max(1, high // 200):
        middle = (low + high) // 2
        low, high = (low, middle) if error_of(middle) <= ERROR else (middle, high)
    return high


def exact_flow():
    """W(T) of the gradient flow."""
    law = ll.GradientFlow(NETWORK, ll.SquaredError(), GAMMA)
    path = ll.simulate(
        law,
        law.initial_state(0.0, START, args=STIMULUS),
        [0.0, END],
        STIMULUS,
        rtol=1e-13,
        save=lambda t, observables: {},
    )
    return np.asarray(flat(path.final_state.q))


def anchor(reference):
    """Constant steps that an error of 1e-6 takes: gradient flow by classical methods, ours at ϑ = 10⁸."""
    exact, theta, found = exact_flow(), jnp.asarray(THETAS[-1]), {}
    for name, solver in (("midpoint", ll.ExponentialMidpoint()), ("fourth order", ll.ExponentialRK4())):
        flow, ours = classical(name), constant(solver)

        def error_of_flow(n, flow=flow):
            return float(np.max(np.abs(np.asarray(flow(jnp.asarray(float(n)))) - exact)))

        def error_of_ours(n, ours=ours):
            return float(np.max(np.abs(np.asarray(ours(theta, jnp.asarray(float(n)))) - reference)))

        steps = fewest(error_of_flow), fewest(error_of_ours)
        found[name] = {"gradient_flow": steps[0], "theta_1e8": steps[1], "ratio": steps[1] / steps[0]}
        print(f"{name:14s} gradient flow {steps[0]:6d} steps, ours at theta = 1e8 {steps[1]:6d}", flush=True)
    return found


def row_of(name, run, theta, reference, tolerances):
    """The coarsest tolerance at which the error is met, or None."""
    if theta * END / EXPLICIT.get(name, np.inf) > LIMIT:
        return None
    for tolerance in tolerances:
        found, steps, arrived = run(jnp.asarray(theta), jnp.asarray(tolerance))
        error = float(np.max(np.abs(np.asarray(found) - reference)))
        if bool(arrived) and error <= ERROR:
            return {"method": name, "theta": theta, "tolerance": tolerance, "steps": int(steps), "error": error}
    return None


def measured(thetas, tolerances, rounds):
    runs = {name: adaptive(solver) for name, solver in METHODS.items()}
    rows, references, confirmed = [], {}, 0.0
    for theta in thetas:
        references[theta] = np.asarray(runs["ExponentialRK4"](jnp.asarray(theta), jnp.asarray(1e-11))[0])
        confirming = np.asarray(runs["Kvaerno5"](jnp.asarray(theta), jnp.asarray(1e-9))[0])
        confirmed = max(confirmed, float(np.max(np.abs(confirming - references[theta]))))
        met = [row_of(name, run, theta, references[theta], tolerances) for name, run in runs.items()]
        met = [row for row in met if row is not None]
        calls = {
            row["method"]: (
                lambda row=row: runs[row["method"]](jnp.asarray(row["theta"]), jnp.asarray(row["tolerance"]))
            )
            for row in met
        }
        times = common.interleaved(calls, rounds, least=0.0)
        rows += [{**row, "seconds": common.median(times[row["method"]])} for row in met]
        steps = ", ".join(f"{row['method']} {row['steps']}" for row in met)
        print(f"theta {theta:7.0e}: steps {steps}", flush=True)
    return rows, references, confirmed


def draw(rows, found):
    figure, axes = common.figure("What ϑ costs: damped descent to an error of 1e-6", columns=2)
    for colour, name in zip(common.COLOURS, METHODS, strict=False):
        mine = [row for row in rows if row["method"] == name]
        thetas = [row["theta"] for row in mine]
        axes[0, 0].loglog(thetas, [row["steps"] for row in mine], "o-", color=colour, label=name)
        axes[0, 1].loglog(thetas, [1e3 * row["seconds"] for row in mine], "o-", color=colour, label=name)
    for style, (name, counts) in zip((":", "--"), found.items(), strict=True):
        axes[0, 0].axhline(
            counts["gradient_flow"], color=common.GREY, ls=style, lw=1.2, label=f"gradient flow, {name}, constant"
        )
    common.finish(axes[0, 0], "Steps", "ϑ", "steps", legend=False)
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9, frameon=False
    )
    common.finish(axes[0, 1], "Time", "ϑ", "milliseconds", legend=False)
    return common.save(figure, "stiffness")


def main():
    global NETWORK, STIMULUS, START  # made after x64 is on
    quick = common.options(__doc__)
    jax.config.update("jax_enable_x64", True)
    NETWORK, STIMULUS, START = problem()
    thetas, tolerances = ((1.0, 1e8), TOLERANCES[2:8:2]) if quick else (THETAS, TOLERANCES)
    rows, references, confirmed = measured(thetas, tolerances, 1 if quick else 5)
    found = anchor(references[THETAS[-1]])
    missed = [name for name, threshold in THRESHOLDS.items() if found[name]["ratio"] > threshold]
    fourth = [row["steps"] for row in rows if row["method"] == "ExponentialRK4"]
    explicit = [row for row in rows if row["method"] == "Tsit5"]
    headline = (
        f"at ϑ = 1e8 {found['midpoint']['theta_1e8']} constant steps of second order where the gradient flow takes "
        f"{found['midpoint']['gradient_flow']}, {found['fourth order']['theta_1e8']} of fourth order where it takes "
        f"{found['fourth order']['gradient_flow']}; adaptive, {min(fourth, default=0)} to {max(fourth, default=0)} "
        f"steps of ExponentialRK4 over all ϑ"
    )
    if explicit:
        headline += f", {explicit[-1]['steps']} of Tsit5 at ϑ = {explicit[-1]['theta']:.0e}"
    common.write(
        "stiffness", question=__doc__.splitlines()[0], headline=headline, missed=[] if quick else missed,
        thresholds=THRESHOLDS, error=ERROR, anchor=found, rows=rows, reference_against_kvaerno5_at_1e_9=confirmed,
    )  # fmt: skip
    draw(rows, found)
    print(headline)
    assert quick or not missed, f"missed: {missed}"


if __name__ == "__main__":
    main()
