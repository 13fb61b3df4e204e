"""Which error does which time buy, on the paper's networks: our solvers, dense Diffrax, SUNDIALS IDA, scipy-dae Radau?

Chains of three neurons, XOR's five and the 134 coordinates of (4, 8, 8, 2), all masses and ϑ finite, T = 10, float64.
Every method meets tolerances from coarse to fine; its error is the largest of x(T) and W(T) against our own solution at
the finest tolerance, which IDA confirms. Compiled calls only. The rivals are given the DAE of `network_dae.py`, and
Radau its exact Jacobians too, without which it stops half way; Diffrax is given the dense saddle point, and the dense
Schur complement, of the whole system.

    python benchmarks/work_precision.py [--quick]
"""

import time
import warnings

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy_dae.integrate import solve_dae
from sksundae.ida import IDA

import lagrangian_learning as ll
from lagrangian_learning.fused import UnrolledMultipliers

if __package__:
    from . import common
    from .network_dae import NetworkDAE
else:
    import common
    from network_dae import NetworkDAE

NETWORKS = {"three neurons": (1, 1, 1), "XOR": (2, 2, 1), "134 coordinates": (4, 8, 8, 2)}
MASS_X, MASS_W, THETA, END = 0.05, 0.5, 0.7, 10.0
TOLERANCES = (1e-4, 1e-6, 1e-7, 3e-8, 1e-8, 1e-9, 1e-11)
IDA_TOLERANCES = (1e-5, 1e-7, 1e-9)
FINEST = 1e-11  # of IDA, which confirms the reference
RADAU_TOLERANCES = {"three neurons": (1e-4, 1e-6, 1e-8), "XOR": (1e-4, 1e-6, 1e-8), "134 coordinates": (1e-6,)}
ERROR, THRESHOLDS = 1e-6, {"dense": 3, "scipy-dae Radau": 1000}
DENSE, SCHUR = "dense saddle point, Diffrax Dopri8", "dense Schur, Diffrax Dopri8"
UNROLLED = 8  # neurons up to which elimination on scalars is tried: beyond, it takes long to compile and is slower


class Problem:
    """One network with its law's start, and the same as a DAE."""

    def __init__(self, sizes, end):
        self.end, self.network = end, ll.Layered(sizes)
        rng = np.random.default_rng(3)
        frequency, phase = np.linspace(0.7, 1.7, sizes[0]), np.linspace(0.3, 1.1, sizes[0])
        weights = rng.normal(size=self.network.num_weights) * 0.8
        rates = rng.normal(size=self.network.num_weights) * 0.3
        self.dae = NetworkDAE(sizes, weights, rates, MASS_X, MASS_W, THETA, frequency, phase)
        self.action = ll.CognitiveAction(
            self.network, mass_x=MASS_X, mass_W=MASS_W, dissipation=ll.ExponentialDissipation(THETA)
        )
        target = ll.Sinusoids(jnp.ones(sizes[-1]), 0.4)
        self.stimulus = ll.Stimulus(ll.Sinusoids(jnp.asarray(frequency), 1.0, jnp.asarray(phase)), target)
        unravel = ravel_pytree(self.network.init(jax.random.key(0)))[1]
        self.W, self.W_dot = unravel(jnp.asarray(weights)), unravel(jnp.asarray(rates))

    def both(self, q):
        """(x, W) of W at the end."""
        return jnp.concatenate([ravel_pytree(self.network.forward(q, self.stimulus.input(self.end)))[0], ravel(q)])


def ravel(tree):
    return ravel_pytree(tree)[0]


def by_diffrax(problem, law, solver):
    """Plain diffrax.diffeqsolve on the law's vector field, jitted: tolerance ↦ (x, W) at the end, steps.

    The state is one array, for us and for rivals: the arithmetic between stages is then one operation, not one a leaf.
    """
    state, unravel = ravel_pytree(law.initial_state(0.0, problem.W, problem.W_dot, problem.stimulus))

    def vector_field(t, y, stimulus):
        return ravel(law.vector_field(t, unravel(y), stimulus))

    @jax.jit
    def run(tolerance):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(vector_field), solver, 0.0, problem.end, None, state, problem.stimulus,
            stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance), max_steps=None,
        )  # fmt: skip
        q = unravel(solution.ys[-1]).q
        return problem.both(q) if isinstance(law, ll.laws.ReducedDynamics) else ravel(q), solution.stats["num_steps"]

    return run


def by_simulate(problem, law, solver):
    """The same by `ll.simulate`, monitor and energy balance included."""
    state = law.initial_state(0.0, problem.W, problem.W_dot, problem.stimulus)

    @jax.jit
    def run(tolerance):
        path = ll.simulate(
            law, state, jnp.array([0.0, problem.end]), problem.stimulus, rtol=tolerance, atol=tolerance, solver=solver
        )
        return problem.both(path.final_state.q), path.stats["num_steps"]

    return run


def compiled_methods(problem):
    action = problem.action
    waves = action.law(multiplier_solver=ll.multipliers.ConjugateGradients())
    block = action.law(multiplier_solver=ll.multipliers.BlockTridiagonal())
    dense, schur = (
        action.law("full", ll.multipliers.DenseSaddlePoint()),
        action.law("full", ll.multipliers.DenseSchur()),
    )
    methods = {
        "waves, Dopri8, simulate": by_simulate(problem, waves, diffrax.Dopri8()),
        "waves, ExponentialRK4, simulate": by_simulate(problem, waves, ll.ExponentialRK4()),
        "waves, Dopri8": by_diffrax(problem, waves, diffrax.Dopri8()),
        "waves, Tsit5": by_diffrax(problem, waves, diffrax.Tsit5()),
        "block tridiagonal, Dopri8": by_diffrax(problem, block, diffrax.Dopri8()),
        DENSE: by_diffrax(problem, dense, diffrax.Dopri8()),
        SCHUR: by_diffrax(problem, schur, diffrax.Dopri8()),
    }
    if problem.network.num_neurons <= UNROLLED:
        law = action.law(multiplier_solver=UnrolledMultipliers())
        methods["unrolled, Dopri8"] = by_diffrax(problem, law, diffrax.Dopri8())
    return methods


def ida(problem, tolerance):
    dae = problem.dae
    solver = IDA(dae.residual, algebraic_idx=dae.algebraic, rtol=tolerance, atol=tolerance, max_num_steps=100_000)
    solution = solver.solve(np.array([0.0, problem.end]), *dae.start())
    assert solution.success, solution.message
    return solution.y[-1, : dae.V.start]


def radau(problem, tolerance):
    dae = problem.dae
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        solution = solve_dae(
            dae.residual, (0.0, problem.end), *dae.start(), method="Radau", rtol=tolerance, atol=tolerance,
            jac=dae.jacobians,
        )  # fmt: skip
    assert solution.success, solution.message
    return solution.y[: dae.V.start, -1]


def measured(problem, name, *, quick):
    """Rows of (method, tolerance, error, seconds), and how far our reference is from IDA's finest solution."""
    methods = compiled_methods(problem)
    reference = np.asarray(methods["waves, Dopri8"](jnp.asarray(1e-13))[0])
    confirmed = float(np.max(np.abs(ida(problem, FINEST) - reference)))
    rows = []
    for tolerance in TOLERANCES[:2] if quick else TOLERANCES:
        calls = {label: (lambda run=run: run(jnp.asarray(tolerance))) for label, run in methods.items()}  # noqa: B023
        times = common.interleaved(calls, 3, least=0.0)
        for label, call in calls.items():
            found, steps = call()
            row = row_of(label, tolerance, found, reference, common.median(times[label]))
            rows.append({**row, "steps": int(steps)})
    for label, rival, tolerances in (
        ("SUNDIALS IDA", ida, IDA_TOLERANCES),
        ("scipy-dae Radau", radau, RADAU_TOLERANCES[name]),
    ):
        for tolerance in tolerances[:1] if quick else tolerances:
            begin = time.perf_counter()
            found = rival(problem, tolerance)
            rows.append(row_of(label, tolerance, found, reference, time.perf_counter() - begin))
    return rows, confirmed


def row_of(method, tolerance, found, reference, seconds):
    error = float(np.max(np.abs(np.asarray(found) - reference)))
    return {"method": method, "tolerance": tolerance, "error": error, "seconds": seconds}


def seconds_at(rows, method, error):
    """The shortest time of a run at least so exact, and False; where none is, that of the most exact, and True."""
    runs = [row for row in rows if row["method"] == method]
    exact = [row["seconds"] for row in runs if row["error"] <= error]
    return (min(exact), False) if exact else (min(runs, key=lambda row: row["error"])["seconds"], True)


def ours(rows):
    known = ("waves", "block", "unrolled")
    return list(dict.fromkeys(row["method"] for row in rows if row["method"].startswith(known)))


def compared(rows):
    """At error 1e-6: our fastest method, its seconds, and how many times longer each other method takes.

    Methods under "at least" came to no such error at the tolerances tried: finer ones would take longer.
    """
    at = {method: seconds_at(rows, method, ERROR) for method in dict.fromkeys(row["method"] for row in rows)}
    reached = {method: at[method][0] for method in ours(rows) if not at[method][1]}
    if not reached:
        return {}
    best = min(reached, key=reached.__getitem__)
    return {
        "best": best,
        "seconds": reached[best],
        "times": {method: seconds / reached[best] for method, (seconds, _) in at.items()},
        "at least": [method for method, (_, short) in at.items() if short],
    }


def table(findings):
    lines = []
    for name, each in findings.items():
        best = each["at_1e-6"]
        lines.append(f"{name}: reference and IDA differ by {each['reference_against_ida']:.1e}")
        if best:
            lines.append(f"  at error 1e-6: {best['best']}, {1e3 * best['seconds']:.2f} ms; the others in that unit")
            lines += [
                f"    {method:36} {'at least ' if method in best['at least'] else '':9}{times:9.1f}"
                for method, times in best["times"].items()
            ]
    return "\n".join(lines)


def picture(findings):
    made, (axes,) = common.figure("Error against time; ours filled, rivals open", columns=len(findings))
    names = dict.fromkeys(row["method"] for each in findings.values() for row in each["rows"])
    ink = {name: f"C{k}" for k, name in enumerate(names)}
    for ax, (name, each) in zip(axes, findings.items(), strict=True):
        for method in dict.fromkeys(row["method"] for row in each["rows"]):
            chosen = [row for row in each["rows"] if row["method"] == method]
            seconds, error = [row["seconds"] for row in chosen], [row["error"] for row in chosen]
            style = {} if method in ours(each["rows"]) else {"ls": "--", "mfc": "white"}
            ax.loglog(seconds, error, marker="o", ms=4, color=ink[method], label=method, **style)
        ax.axhline(ERROR, color=common.GREY, lw=1)
        common.finish(ax, name, "seconds", "largest error of x(T), W(T)", legend=False)
    lines = {line.get_label(): line for ax in axes for line in ax.get_lines() if line.get_label() in ink}
    made.legend(lines.values(), lines, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return common.save(made, "work_precision")


def thresholds(findings):
    each = findings["134 coordinates"]
    best = each["at_1e-6"]
    missed = [f"{name}: reference off IDA" for name, e in findings.items() if e["reference_against_ida"] > ERROR]
    for rival, least in ((DENSE, THRESHOLDS["dense"]), ("scipy-dae Radau", THRESHOLDS["scipy-dae Radau"])):
        times = best.get("times", {}).get(rival)
        if times is None or times < least:
            missed.append(f"{rival} takes {times} times as long as {best.get('best')}, threshold {least}")
    return missed


def headline(findings):
    name, best = [(name, each["at_1e-6"]) for name, each in findings.items()][-1]
    if not best:
        return f"{name}: none of ours reached error 1e-6"

    def advantage(rival):
        times = best["times"][rival]
        return f"{rival} {'at least ' if rival in best['at least'] else ''}{times:.{0 if times > 10 else 1}f}"

    others = ", ".join(map(advantage, (DENSE, SCHUR, "SUNDIALS IDA", "scipy-dae Radau")))
    return f"{name}, error 1e-6, in times of ours ({best['best']}, {1e3 * best['seconds']:.1f} ms): {others}"


def main(*, quick=False):
    jax.config.update("jax_enable_x64", True)
    findings = {}
    for name, sizes in NETWORKS.items():
        if quick and name == "134 coordinates":
            continue
        rows, confirmed = measured(Problem(sizes, 0.5 if quick else END), name, quick=quick)
        findings[name] = {"rows": rows, "reference_against_ida": confirmed, "at_1e-6": compared(rows)}
        print(table({name: findings[name]}), flush=True)
    missed = [] if quick else thresholds(findings)
    path = common.write(
        "work_precision",
        question=__doc__.splitlines()[0],
        headline=headline(findings),
        missed=missed,
        networks=findings,
    )
    picture(findings)
    print(path)
    assert not missed, "\n".join(missed)


if __name__ == "__main__":
    main(quick=common.options(__doc__))
