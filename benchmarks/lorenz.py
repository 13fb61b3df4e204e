"""What does the gradient of an ensemble cost beside gradsolve's record and replay, at equal achieved error?

4,096 Lorenz systems from one start, each with its own ρ, over one unit of time, in float64: value and gradient of
Σ |y(1)|² in every ρ. The error is that of y(1), root mean square over systems, against steps of Dopri8 at 1e-13; the
time that an error of 1e-6 takes is interpolated between tolerances, in logarithms. gradsolve records the steps in
`grad_closure` and makes them again in a compiled gradient, which is timed alone too: an optimiser whose constants have
moved records anew. Ours is a call of `ll.value_and_grad_batch`, results on the host. gradsolve is installed by
`pip install gradsolve`, and `gradsolve[warp]` for its fused kernels; without it only ours is measured.

    python benchmarks/lorenz.py [--quick]
"""

import importlib.metadata
import importlib.util
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import lagrangian_learning as ll

if __package__:
    from . import common
else:
    import common

jax.config.update("jax_enable_x64", True)

LANES, END, TARGET = 4096, 1.0, 1e-6
TOLERANCES = tuple(10.0**-k for k in range(4, 12))
START = (1.0, 0.0, 0.0)


def rates(y: Any, rho: Any) -> Any:
    return jnp.stack([10 * (y[1] - y[0]), rho * y[0] - y[1] - y[0] * y[2], y[0] * y[1] - 8 / 3 * y[2]])


class Position(eqx.Module):
    """y of one system."""

    y: Any


class Lorenz(ll.AbstractLaw):
    """ẏ = (σ (y₂ − y₁), ρ y₁ − y₂ − y₁ y₃, y₁ y₂ − β y₃), σ = 10, β = 8/3, ρ in args."""

    def rates(self, t: Any, state: Any, args: Any) -> ll.Rates:
        return ll.Rates(Position(rates(state.y, args)))


class Problem:
    """The same for gradsolve."""

    name, dim, t0, t1, is_stiff = "lorenz_of_rho", 3, 0.0, END, False

    def f_jax(self, t: Any, y: Any, p: Any) -> Any:
        return rates(y, p[0])


def end(path: Any) -> Any:
    return jnp.sum(path.final_state.y**2)


def ours(solver: Any, rtol: float, rho: np.ndarray) -> Callable:
    state = Position(jnp.asarray(START))
    settings = {"solver": solver, "rtol": rtol, "max_steps": 1024, "in_axes": (None, None, 0), "progress": False}
    return lambda: ll.value_and_grad_batch(end, Lorenz(), state, [0.0, END], rho, argnums=2, **settings).gradient


def ends(solver: Any, rtol: float, rho: np.ndarray) -> np.ndarray:
    settings = {"solver": solver, "rtol": rtol, "in_axes": (None, None, 0), "progress": False}
    found: Any = ll.simulate_batch(Lorenz(), Position(jnp.asarray(START)), [0.0, END], rho, **settings)
    return found.final_state.y


def theirs(engine: str, rtol: float, rho: np.ndarray) -> tuple[Callable, Callable, np.ndarray]:
    """Recording, a gradient from what was recorded, and y(1)."""
    import gradsolve

    y0, given = np.tile(START, (len(rho), 1)), rho[:, None]

    def closure() -> Any:
        return gradsolve.grad_closure(Problem(), y0, given, engine=engine, rtol=rtol, atol=rtol, device="cpu")

    def gradient(found: Any) -> Callable:
        return jax.jit(jax.value_and_grad(lambda p: jnp.sum(found(p) ** 2)))

    recorded = closure()
    alone, p = gradient(recorded), jnp.asarray(given)
    return (lambda: closure() is None), (lambda: alone(p)), np.asarray(recorded(p))


def engines() -> list[str]:
    if importlib.util.find_spec("gradsolve") is None:
        return []
    fused = ["warp_replay"] if importlib.util.find_spec("warp") is not None else []
    return ["tsit5_replay", "vern7_replay", *fused]


def measure(*, quick: bool) -> dict[str, Any]:
    lanes, tolerances, rounds = (64, TOLERANCES[:2], 2) if quick else (LANES, TOLERANCES, 5)
    rho = np.linspace(20.0, 30.0, lanes)
    exact = ends(diffrax.Dopri8(), 1e-13, rho)
    rows = []
    for rtol in tolerances:
        calls, errors = {}, {}
        for name, solver in (("ours, Tsit5", diffrax.Tsit5()), ("ours, Dopri8", diffrax.Dopri8())):
            calls[name], errors[name] = ours(solver, rtol, rho), _error(ends(solver, rtol, rho), exact)
        for engine in engines():
            name = f"gradsolve, {engine}"
            calls[f"{name}, recording"], calls[name], found = theirs(engine, rtol, rho)
            errors[name] = errors[f"{name}, recording"] = _error(found, exact)
        times = common.interleaved(calls, rounds)
        seconds = {name: common.median(values) for name, values in times.items()}
        for name in calls:
            if name.endswith(", recording"):
                seconds[name] += seconds[name.removesuffix(", recording")]
            rows.append({"rtol": rtol, "tool": name, "error": errors[name], "seconds": seconds[name]})
            print(f"{rtol:.0e}   {name:40} {errors[name]:.1e}   {1e3 * seconds[name]:8.1f} ms", flush=True)
    return {"lanes": lanes, "rows": rows, "seconds at 1e-6": reached(rows)}


def _error(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.sqrt(np.mean((found - exact) ** 2)))


def reached(rows: list[dict]) -> dict[str, float]:
    """Seconds that an error of 1e-6 takes, by tool; none where the error was not met from both sides."""
    found = {}
    for tool in dict.fromkeys(row["tool"] for row in rows):
        pairs = sorted((row["error"], row["seconds"]) for row in rows if row["tool"] == tool)
        errors, seconds = np.log(np.array(pairs)).T
        if errors[0] <= np.log(TARGET) <= errors[-1]:
            found[tool] = float(np.exp(np.interp(np.log(TARGET), errors, seconds)))
    return found


def headline(found: dict[str, Any]) -> str:
    times = found["seconds at 1e-6"]
    mine = min((value for name, value in times.items() if name.startswith("ours")), default=None)
    others = [f"{name} {value / mine:.2g}" for name, value in times.items() if mine and not name.startswith("ours")]
    shown = "; ".join(others) or "gradsolve was not installed"
    return f"{found['lanes']} Lorenz systems, error 1e-6, in times of ours ({1e3 * (mine or 0):.3g} ms): {shown}"


def picture(found: dict[str, Any]) -> None:
    made, ((ax,),) = common.figure("Gradients of 4,096 Lorenz systems")
    tools = dict.fromkeys(row["tool"] for row in found["rows"])
    plain = [tool for tool in tools if "recording" not in tool]
    for tool in tools:
        k = plain.index(tool.removesuffix(", recording"))
        rows = [row for row in found["rows"] if row["tool"] == tool]
        style = {"color": common.COLOURS[k], "ls": "--" if "recording" in tool else "-"}
        ax.loglog([row["error"] for row in rows], [row["seconds"] for row in rows], "o", label=tool, ms=5, **style)
    common.finish(ax, "Value and gradient in every ρ", "error of y(1)", "seconds")
    common.save(made, "lorenz")


def main() -> None:
    quick = common.options(__doc__)
    found = measure(quick=quick)
    picture(found)
    print(headline(found))
    rival = importlib.metadata.version("gradsolve") if engines() else None
    record = {"headline": headline(found), **found, "missed": [], "gradsolve": rival}
    common.write("lorenz", question=__doc__.splitlines()[0], **record)


if __name__ == "__main__":
    main()
