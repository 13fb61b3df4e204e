"""From the cognitive action to gradient descent: (12)–(17) as limits, with their measured rates.

Run it in a checkout: lagrangian-learning study limit_study
"""

if __name__ == "__main__":  # a file does not know its checkout: it is run as a command of the package
    from lagrangian_learning.commands.study import run_file

    run_file(__file__)

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

import lagrangian_learning as ll
from lagrangian_learning.commands.files import Files
from lagrangian_learning.commands.progress import Report, nothing_reported, progress

from .study import begun, ended, print_table

FILES = Files(pathlib.Path("limit_study.png"))
QUESTION = "How fast does the cognitive action tend to damped descent and to gradient flow?"
GAMMA = 1.0
END = 2.0


class Limit(NamedTuple):
    """One limit: a parameter that goes to zero, the error against what it tends to, and the fitted log-log slope."""

    name: str
    parameter: np.ndarray
    error: np.ndarray

    @property
    def slope(self) -> float:
        """Least-squares slope of log error against log parameter over the smaller half of the parameters."""
        half = len(self.parameter) // 2
        return float(np.polyfit(np.log(self.parameter[-half - 1 :]), np.log(self.error[-half - 1 :]), 1)[0])


def limit_study(
    network: Any = None, key: Array | None = None, *, decades: int | None = None, report: Report = nothing_reported
) -> tuple[Limit, ...]:
    """Errors of the weights at t = 2 against m_W, m_x/m_W and 1/ϑ, in float64 (switch x64 on first).

    Three limits, γ = ϑ m_W = 1 fixed (docs/theory.md §6):
        the action with m_x = m_W² against gradient flow (14), m_W → 0;
        the action at m_W = 0.1 against its own limit m_x = 0, which is damped descent (13), m_x/m_W → 0;
        damped descent (13) against gradient flow (14), 1/ϑ → 0.

    decades: over which parameters fall, three and four by default.
    """
    network = ll.Layered((2, 3, 1)) if network is None else network
    key = jax.random.key(0) if key is None else key
    W = network.init(key, jnp.float64)
    stimulus = ll.Stimulus(
        input=ll.Sinusoids(jnp.array([1.0, 1.7]), jnp.array([1.0, 0.8]), jnp.array([0.3, 0.0])), target=jnp.array([0.5])
    )
    ends = _Ends(W, stimulus, report)
    masses = 10.0 ** -np.arange(1.0, 1.1 + (decades or 3), 0.5)
    ratios = 10.0 ** -np.arange(1.0, 1.1 + (decades or 4), 0.5)
    ends.total = 2 + 2 * len(masses) + len(ratios)
    flow, damped = ends.of(ll.GradientFlow(network, ll.SquaredError(), GAMMA)), ends.of(_descent(network, 0.1))

    def limit(name: str, parameters: np.ndarray, law: Callable[[float], Any], goal: Array) -> Limit:
        return Limit(name, parameters, np.array([_distance(ends.of(law(p)), goal) for p in parameters]))

    found = (
        limit("action → gradient flow, m_x = m_W²: against m_W", masses, lambda m: _action(network, m**2, m), flow),
        limit(
            "action → damped descent, m_W = 0.1: against m_x/m_W",
            ratios,
            lambda r: _action(network, 0.1 * r, 0.1),
            damped,
        ),
        limit("damped descent → gradient flow: against 1/ϑ", masses, lambda m: _descent(network, m), flow),
    )
    report(ends.total, ends.total)
    return found


class _Ends:
    """The weights that laws end with, from one start, counted."""

    def __init__(self, W: PyTree, stimulus: ll.Stimulus, report: Report) -> None:
        self.W, self.stimulus, self.report = W, stimulus, report
        self.done, self.total = 0, 0

    def of(self, law: Any) -> Array:
        """At t = `END`."""
        self.report(self.done, self.total)
        self.done += 1
        return _end(law, self.W, self.stimulus)


def draw(limits: tuple[Limit, ...], path: str | pathlib.Path) -> pathlib.Path:
    """One log-log picture of all limits with their fitted slopes."""
    from matplotlib.figure import Figure

    from lagrangian_learning.plot import colour, style

    path = pathlib.Path(path)
    with style():
        figure = Figure(figsize=(8.5, 5.5))
        axes = figure.subplots()
        for limit, marker in zip(limits, "os^", strict=True):
            axes.loglog(limit.parameter, limit.error, marker=marker, label=f"{limit.name}; slope {limit.slope:.2f}")
        span = np.array([limits[0].parameter[-1], limits[0].parameter[0]])
        below = limits[0].error[-1] / 3 * span / span[0]
        axes.loglog(span, below, ":", color=colour("muted"), label="slope 1")
        axes.set(xlabel="the small constant of each limit", ylabel="error of the weights at t = 2")
        axes.set_title("The limits of the action")
        axes.grid(visible=True)
        figure.legend(loc="outside lower left")
        figure.savefig(path)
    return path


def _action(network: Any, mass_x: float, mass_W: float) -> ll.AbstractLaw:
    dissipation = ll.ExponentialDissipation(GAMMA / mass_W)
    return ll.CognitiveAction(network, mass_x=mass_x, mass_W=mass_W, dissipation=dissipation).law()


def _descent(network: Any, mass_W: float) -> ll.AbstractLaw:
    return ll.DampedDescent(network, ll.SquaredError(), mass_W, ll.ExponentialDissipation(GAMMA / mass_W))


@eqx.filter_jit
def _end(law: Any, W: PyTree, stimulus: ll.Stimulus) -> Array:
    state = law.initial_state(0.0, W, args=stimulus)
    times = jnp.array([0.0, END])
    path = ll.simulate(law, state, times, stimulus, rtol=1e-10, atol=1e-12, save=_nothing)
    return ravel_pytree(path.final_state.q)[0]


def _nothing(t: Array, observables: dict[str, PyTree]) -> Array:
    return t


def _distance(left: Array, right: Array) -> float:
    return float(jnp.linalg.norm(left - right))


def study(seed: int = 0, quick: bool = False, files: Files = FILES) -> None:
    """How fast does the cognitive action tend to damped descent and to gradient flow as the masses become small?

    Args:
        seed: Draws the weights at the start.
        quick: Tiny sizes, to see that the study runs.
        files: Where the picture and the numbers go.
    """
    line = begun("limit_study", seed, files)
    jax.config.update("jax_enable_x64", True)
    with progress("limit_study", "runs") as report:
        limits = limit_study(key=jax.random.key(seed), decades=2 if quick else None, report=report)
    line(f"[bold]Error of the weights at t = {END:g} as a parameter goes to zero[/]  γ = ϑ m_W = {GAMMA:g}, float64")
    for limit in limits:
        line()
        line(f"  {limit.name}: error ∝ parameter^{limit.slope:.3f}")
        rows = [(f"{p:.1e}", f"{error:.2e}") for p, error in zip(limit.parameter, limit.error, strict=True)]
        print_table(line, ("  parameter", "error"), [(f"  {p}", error) for p, error in rows])
    found = [{"name": limit.name, "slope": limit.slope, **limit._asdict()} for limit in limits]
    ended(line, files, lambda path: draw(limits, path), QUESTION, seed=seed, limits=found)
