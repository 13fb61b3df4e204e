"""`simulate xor`: the network of five neurons of the paper, learning XOR by the action."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

import lagrangian_learning as ll
from lagrangian_learning.commands.output import (
    Line,
    check_files,
    check_seed,
    console_beside,
    line_printer,
    recorded,
    relative_residuals,
    save,
)
from lagrangian_learning.plot import colour, heading, style

# Inputs and targets are 0 and 1: a tanh network without biases is odd, and XOR of ±1 is even.
INPUTS = ((0.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, 0.0))
TARGETS = (0.0, 1.0, 0.0, 1.0)
# One unit of time a pattern, half of it to go over to the next.
DWELL, RISE = 1.0, 0.5
LONGEST = 1e6
GAMMA, THETA, MASS_RATIO = 0.5, 1.0, 1e-2
DURATION = 1000.0
RECORDS_A_UNIT = 8
# The energy swings with the patterns, many times a unit: where pictures show it, it is recorded so much more often.
FINE = 8


class Motion(NamedTuple):
    """A motion, with what drives it and what it ends in.

    outputs: of the four patterns, with the weights at the end.
    residuals: what (8), (9) and D²G = 0 leave over at the recorded times, relative to their largest terms, at worst.
    """

    law: Any
    stimulus: ll.Stimulus
    path: ll.Trajectory
    outputs: Float[np.ndarray, " patterns"]
    residuals: Float[np.ndarray, " equations"]

    @property
    def learned(self) -> bool:
        """Whether the output is on its target's side of ½ for every pattern."""
        return bool(np.all((self.outputs > 0.5) == (np.array(TARGETS) > 0.5)))


def learn_xor(seed: int, duration: float = DURATION) -> Motion:
    """The motion of the cognitive action from the weights of a seed. Call it with x64 on."""
    network = ll.networks.xor_network()
    stimulus = ll.Stimulus(
        input=ll.Patterns(np.array(INPUTS), DWELL, RISE, periodic=True),
        target=ll.Patterns(np.array(TARGETS)[:, None], DWELL, RISE, periodic=True),
    )
    mass_W = GAMMA / THETA
    action = ll.CognitiveAction(
        network, mass_x=MASS_RATIO * mass_W, mass_W=mass_W, dissipation=ll.ExponentialDissipation(THETA)
    )
    law = action.law()
    state = law.initial_state(0.0, network.init(jax.random.key(seed)), args=stimulus)
    # Saved times are step ends, and patterns are C² where they start and end to rise: no step should go over that.
    ts = _times(duration)
    path = ll.simulate(law, state, ts, stimulus)
    W = path.final_state.q
    outputs = jax.vmap(lambda u: network.output(network.forward(W, u))[0])(jnp.asarray(INPUTS))
    return Motion(law, stimulus, path, np.asarray(outputs), np.asarray(_residuals(law, path, stimulus)))


def _times(duration: float) -> np.ndarray:
    """Times to record, close together in the stretch at the end that pictures show."""
    ts = np.arange(round(duration * RECORDS_A_UNIT) + 1) / RECORDS_A_UNIT
    first, shown = _late(float(ts[-1]))
    fine = first + np.arange(shown * RECORDS_A_UNIT * FINE + 1) / (RECORDS_A_UNIT * FINE)
    return np.union1d(ts, fine[fine <= ts[-1]])


def _late(end: float) -> tuple[int, int]:
    """Where the stretch at the end begins, at a multiple of all four patterns, and how long it is."""
    shown = min(SHOWN, int(end))
    return max(int(end) // 4 * 4 - shown, 0), shown


@jax.jit
def _residuals(law: Any, path: ll.Trajectory, stimulus: ll.Stimulus) -> Array:
    def one(t: Array, record: tuple[PyTree, ...]) -> Array:
        return relative_residuals(law, t, record, stimulus)

    return jnp.max(jax.vmap(one)(path.ts, recorded(path)), axis=0)


def xor_command(seed: int, duration: float | None, output: Path | None, numbers: Path | None) -> Motion:
    """Runs, prints and draws the motion; see `lagrangian_learning.commands.cli.xor`. Returns it."""
    duration = DURATION if duration is None else duration
    if not 4 <= duration <= LONGEST:
        raise SystemExit(
            f"simulate xor: --duration must be at least 4, once round the patterns, and {LONGEST:g} at most."
        )
    check_seed("simulate xor", seed)
    check_files("simulate xor", output, numbers)
    jax.config.update("jax_enable_x64", True)
    console = console_beside(numbers)
    line = line_printer(console)
    line("[bold]XOR, learned by the motion of five neurons and six weights[/]")
    line(f"  Euler–Lagrange equations (8)–(10): γ = {GAMMA:g}, ϑ = {THETA:g}, m_x/m_W = {MASS_RATIO:g}; float64")
    line(f"  four patterns in turn, one a unit of time, for {duration:g} units; compiling and integrating …")
    motion = learn_xor(seed, duration)
    line()
    console.print(str(motion.path), highlight=False, soft_wrap=True, markup=False)
    line()
    _print_results(line, motion)
    save(line, output, lambda path: draw(motion, path), numbers, as_dict(motion))
    return motion


def _print_results(line: Line, motion: Motion) -> None:
    verdict = "learned" if motion.learned else "not learned (another --seed, or a longer --duration, may)"
    line(f"[bold]XOR is {verdict}[/]")
    line("  pattern   target   output")
    for pattern, target, output in zip(INPUTS, TARGETS, motion.outputs, strict=True):
        line(f"  {pattern[0]:.0f} {pattern[1]:.0f}{target:>11.0f}{output:>10.3f}")
    neurons, weights, closing = motion.residuals
    line()
    line("[bold]Do the equations hold?[/]  largest residual at the saved times, relative to the largest term")
    line(f"  (8) neurons  {neurons:.1e}      (9) weights  {weights:.1e}      D²G = 0  {closing:.1e}")
    line(f"  energy balance E(t) − E(0) − ∫ power dt: {_defect(motion):.1e} of max |E|")


def as_dict(motion: Motion) -> dict:
    """All numbers of the motion, for JSON."""
    return {
        "learned": motion.learned,
        "outputs": dict(zip(("00", "01", "11", "10"), map(float, motion.outputs), strict=True)),
        "relative_residuals": dict(zip(("(8)", "(9)", "D2G"), map(float, motion.residuals), strict=True)),
        "energy_balance": _defect(motion),
        "steps": int(motion.path.stats["num_accepted_steps"]),
        "duration": float(np.asarray(motion.path.ts[-1])),
    }


def _defect(motion: Motion) -> float:
    return float(motion.path.stats["max_energy_defect"])


NAMES = ("w31", "w32", "w41", "w42", "w53", "w54")
SHOWN = 12


def draw(motion: Motion, path: Path) -> None:
    """Writes the picture of one motion."""
    with style():
        _draw(motion, path)


def _draw(motion: Motion, path: Path) -> None:
    spacing = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12, wspace=0.03, hspace=0.03)
    figure = Figure(figsize=(12, 7.6), layout=spacing)
    FigureCanvasAgg(figure)
    learned = (
        "XOR, learned by the motion of five neurons" if motion.learned else "Five neurons in motion (XOR not learned)"
    )
    heading(figure, learned)
    axes = figure.subplots(2, 2)
    late, shown = _late(float(motion.path.ts[-1]))
    _output(axes[0, 0], motion, 0, shown, "At the start")
    _output(axes[0, 1], motion, late, shown, "At the end")
    _weights(axes[1, 0], motion)
    _energy(axes[1, 1], motion, late, shown)
    figure.savefig(path)


def _output(ax: Axes, motion: Motion, first: int, shown: int, title: str) -> None:
    ts = np.asarray(motion.path.ts)
    inside = (ts >= first) & (ts <= first + shown)
    fine = np.linspace(first, first + shown, 40 * shown + 1)
    target = np.asarray(jax.vmap(motion.stimulus.target)(fine))[:, 0]
    # Weights move slowly, inputs do not: between records the output is that of the weights, interpolated.
    W = np.stack([np.interp(fine, ts[inside], w) for w in np.asarray(motion.path.W)[inside].T], axis=1)
    network, stimulus = motion.law.network, motion.stimulus
    outputs = np.asarray(jax.vmap(lambda t, w: network.output(network.forward(w, stimulus.input(t)))[0])(fine, W))
    ax.plot(fine, target, color=colour("reference"), ls="--", label="target")
    ax.plot(fine, outputs, color=colour("neurons"), lw=2, label="output")
    for k in range(first, first + shown):
        pattern = INPUTS[k % 4]
        ax.text(k + 0.25, 1.22, f"{pattern[0]:.0f} {pattern[1]:.0f}", ha="center", fontsize=8.5, color=colour("muted"))
    ax.set_ylim(min(-0.3, outputs.min() - 0.1), 1.35)
    ax.set_xlim(first, first + shown)
    ax.set_xlabel("time")
    ax.legend(loc="lower right", bbox_to_anchor=(1.01, 1.0), ncols=2)
    _finish(ax, title)


def _weights(ax: Axes, motion: Motion) -> None:
    ts, W = np.asarray(motion.path.ts), np.asarray(motion.path.W)
    for name, w in zip(NAMES, W.T, strict=True):
        ax.plot(ts, w, label=name)
    ax.set_xlim(ts[0], ts[-1] * 1.02)
    ax.set_xlabel("time")
    ax.legend(
        loc="lower right",
        bbox_to_anchor=(1.01, 1.0),
        ncols=6,
        columnspacing=1,
        handlelength=1.2,
    )
    _finish(ax, "Weights")


def _energy(ax: Axes, motion: Motion, first: int, shown: int) -> None:
    ts = np.asarray(motion.path.ts)
    inside = (ts >= first) & (ts <= first + shown)
    energy, off = (np.asarray(values)[inside] for values in (motion.path.energy, motion.path.energy_balance))
    ax.plot(ts[inside], energy, color=colour("faint"), lw=5, label="energy E")
    ax.plot(ts[inside], energy - off, color=colour("energy"), lw=1, label="E(0) + work done and lost")
    ax.set_xlim(first, first + shown)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("time")
    ax.legend(loc="lower right", bbox_to_anchor=(1.01, 1.0), ncols=2)
    _finish(ax, "Energy, at the end")


def _finish(ax: Axes, title: str) -> None:
    ax.set_title(title, fontweight="bold")
