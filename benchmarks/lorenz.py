"""What does the gradient of a Lorenz ensemble cost on a CPU, beside gradsolve's record and replay, at equal error?

d/dρ of |y(1)|² for lanes with ρ from 20 to 30, float64, adaptive Tsit5 steps at several tolerances: by
`ll.value_and_grad_batch`, whose every call chooses its steps anew, and by gradsolve 0.2 (PyPI), whose closure records
steps once. Its gradient is timed compiled, over steps recorded before ("replayed"), and with the recording of new ones,
as its README calls it ("recorded anew"), by each engine that is installed. Errors are against Diffrax's Dopri8 at
tolerances of 1e-12; times at an error of 1e-6 are read off straight lines in log time and log error. There is no
threshold.

    pip install "gradsolve[warp]" && python benchmarks/lorenz.py [--quick]
"""

import importlib.metadata
import importlib.util
from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import lagrangian_learning as ll

if __package__:
    from . import common
else:
    import common

jax.config.update("jax_enable_x64", True)

TOLERANCES = (1e-4, 1e-6, 1e-8, 1e-10)
LANES = (16, 1024, 8192)
WANTED = 1e-6
START, END, MOST = np.array([1.0, 0.0, 0.0]), 1.0, 512


def field(t: Any, y: Any, p: Any) -> Any:
    """Lorenz's equations with σ = 10, β = 8/3 and ρ = p[0]."""
    return jnp.stack([10.0 * (y[1] - y[0]), p[0] * y[0] - y[1] - y[0] * y[2], y[0] * y[1] - (8.0 / 3.0) * y[2]])


class Lorenz(ll.mechanics.AbstractLaw):
    """The same as a law; args: (ρ,)."""

    def rates(self, t: Any, state: Any, args: Any) -> Any:
        return ll.mechanics.Rates(field(t, state, args), None)

    def observables(self, t: Any, state: Any, args: Any) -> dict[str, Any]:
        return {"y": state}


class Problem:
    """The same as gradsolve asks for it."""

    name, dim, t0, t1, is_stiff = "lorenz_of_ours", 3, 0.0, END, False

    def f_jax(self, t: Any, y: Any, p: Any) -> Any:
        return field(t, y, p)


def height(path: Any) -> Any:
    return jnp.sum(path.final_state**2)


def time_alone(t: Any, observables: dict[str, Any]) -> Any:
    return t


def ours(rho: np.ndarray, tolerance: float) -> Callable[[], np.ndarray]:
    def call() -> np.ndarray:
        found = ll.value_and_grad_batch(
            height, Lorenz(), START, np.array([0.0, END]), rho, in_axes=(None, None, 0), argnums=2,
            solver=diffrax.Tsit5(), rtol=tolerance, atol=tolerance, max_steps=MOST, progress=False,
            save=time_alone,
        )  # fmt: skip
        return np.asarray(found.gradient)[:, 0]

    return call


def reference(rho: np.ndarray) -> np.ndarray:
    def end(p: Any) -> Any:
        found = diffrax.diffeqsolve(
            diffrax.ODETerm(field), diffrax.Dopri8(), 0.0, END, 0.01, jnp.asarray(START), p,
            stepsize_controller=diffrax.PIDController(rtol=1e-12, atol=1e-12), max_steps=4096,
        )  # fmt: skip
        return jnp.sum(found.ys[0] ** 2)

    return np.asarray(jax.jit(jax.vmap(jax.grad(end)))(jnp.asarray(rho)))[:, 0]


def rivals(rho: np.ndarray, tolerance: float) -> dict[str, Callable[[], np.ndarray]]:
    """gradsolve's gradient by every engine that is installed."""
    import gradsolve  # pyright: ignore[reportMissingImports]

    y0, problem = np.tile(START, (len(rho), 1)), Problem()
    engines = {"gradsolve, JAX": {"engine": "tsit5_replay"}}
    if importlib.util.find_spec("warp") is not None:
        engines["gradsolve, Warp"] = {"fused": True}

    def closure(settings: dict[str, Any]) -> Callable:
        return gradsolve.grad_closure(problem, y0, rho, rtol=tolerance, atol=tolerance, device="cpu", **settings)

    def loss_of(settings: dict[str, Any]) -> Callable:
        ends = closure(settings)
        return lambda p: jnp.sum(ends(p) ** 2)

    calls: dict[str, Callable[[], np.ndarray]] = {}
    for name, settings in engines.items():
        replayed = jax.jit(jax.grad(loss_of(settings)))
        calls[f"{name}, replayed"] = lambda replayed=replayed: np.asarray(replayed(jnp.asarray(rho)))[:, 0]
        calls[f"{name}, recorded anew"] = lambda settings=settings: np.asarray(
            jax.grad(loss_of(settings))(jnp.asarray(rho))
        )[:, 0]
    return calls


def measured(count: int, tolerance: float, rounds: int) -> dict[str, Any]:
    rho = np.linspace(20.0, 30.0, count)[:, None]
    exact = reference(rho)
    calls = {"ours": ours(rho, tolerance), **rivals(rho, tolerance)}
    errors = {name: float(np.max(np.abs(call() - exact)) / np.max(np.abs(exact))) for name, call in calls.items()}
    times = common.interleaved(calls, rounds, warmup=1, least=0)
    seconds = {name: common.median(values) for name, values in times.items()}
    shown = "   ".join(f"{name} {1e3 * seconds[name]:.3g} ms, {errors[name]:.0e}" for name in calls)
    print(f"{count:>6} lanes, tolerance {tolerance:.0e}: {shown}", flush=True)
    return {"lanes": count, "tolerance": tolerance, "seconds": seconds, "errors": errors}


def at_equal_error(rows: list[dict[str, Any]], count: int) -> dict[str, float]:
    """Seconds of each at the wanted error, between the tolerances that were run; those that did not come there not."""
    found = {}
    own = [row for row in rows if row["lanes"] == count]
    for name in own[0]["seconds"]:
        points = sorted((np.log(row["errors"][name]), np.log(row["seconds"][name])) for row in own)
        errors, seconds = zip(*points, strict=True)
        if errors[0] <= np.log(WANTED) <= errors[-1]:
            found[name] = float(np.exp(np.interp(np.log(WANTED), errors, seconds)))
    return found


def headline(equal: dict[int, dict[str, float]]) -> str:
    """Only those that came to the wanted error for every number of lanes."""
    found = list(equal.values())
    milliseconds = ", ".join(f"{1e3 * seconds['ours']:,.0f}" for seconds in found)
    lines = [f"{', '.join(map(str, equal))} lanes, error {WANTED:g}: ours {milliseconds} ms"]
    for name in found[0]:
        if name != "ours" and all(name in seconds for seconds in found):
            ratios = ", ".join(f"{seconds[name] / seconds['ours']:.3g}" for seconds in found)
            lines.append(f"{name} {ratios} of that")
    return "; ".join(lines)


def picture(rows: list[dict[str, Any]]) -> None:
    counts = list(dict.fromkeys(row["lanes"] for row in rows))
    made, (axes,) = common.figure("The gradient of a Lorenz ensemble", columns=len(counts))
    for ax, count in zip(axes, counts, strict=True):
        own = [row for row in rows if row["lanes"] == count]
        for colour, name in zip(common.COLOURS, own[0]["seconds"], strict=False):
            ax.loglog(
                [r["errors"][name] for r in own], [r["seconds"][name] for r in own], "o-", color=colour, label=name
            )
        common.finish(ax, f"{count} lanes", "error of the gradient", "seconds", legend=False)
    made.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    common.save(made, "lorenz")


def main(*, quick: bool) -> None:
    counts, tolerances = ((16,), (1e-4, 1e-8)) if quick else (LANES, TOLERANCES)
    rows = [measured(count, tolerance, 2 if quick else 7) for count in counts for tolerance in tolerances]
    equal = {count: at_equal_error(rows, count) for count in counts}
    picture(rows)
    print(headline(equal))
    versions = {name: importlib.metadata.version(name) for name in ("gradsolve",)}
    common.write(
        "lorenz", question=__doc__.splitlines()[0], headline=headline(equal), missed=[], rows=rows,
        seconds_at_equal_error={str(count): value for count, value in equal.items()}, rivals=versions,
    )  # fmt: skip


if __name__ == "__main__":
    main(quick=common.options(__doc__))
