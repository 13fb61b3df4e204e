"""The picture of `learn speech`: what its outputs are, what its multipliers do, how it learns, whom it mistakes."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from lagrangian_learning.plot import colour, heading, style

from .run import Run

SHOWN_FRAMES = 120


def draw(run: Run, path: Path) -> None:
    """Writes the picture of one run."""
    with style():
        _draw(run, path)


def _draw(run: Run, path: Path) -> None:
    spacing = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12, wspace=0.03, hspace=0.03)
    figure = Figure(figsize=(13, 8.4), layout=spacing)
    FigureCanvasAgg(figure)
    heading(figure, "Learning to tell nine speakers apart by the motion of a cognitive action\n")
    figure.text(
        0.02,
        0.935,
        f"test accuracy {100 * run.accuracy:.1f} %  (plain backprop on the same stream: "
        f"{100 * run.accuracy_backprop:.1f} %)",
        fontsize=12,
        color=colour("muted"),
    )
    axes = figure.subplots(2, 2, width_ratios=(1.55, 1))
    shown = _shown(run)
    _outputs(axes[0, 0], run, shown)
    _multipliers(axes[1, 0], run, shown)
    _learning(axes[0, 1], run)
    _confusion(axes[1, 1], run)
    for ax in axes.flat:
        ax.title.set_position((0, 1))
    figure.savefig(path)


def _shown(run: Run) -> list[tuple[int, int, int]]:
    """(first frame, last frame + 1, speaker) of the whole recordings that are shown, counted in the stretch."""
    chosen = run.task.train.select(run.task.order)
    bounds = [(s.start - run.stretch.first, s.stop - run.stretch.first) for s in chosen.slices]
    recordings = [(a, b, int(label)) for (a, b), label in zip(bounds, chosen.labels, strict=True)]
    inside = [r for r in recordings if r[0] >= 0 and r[1] <= len(run.stretch.outputs)]
    return [r for r in inside if r[1] <= inside[0][0] + SHOWN_FRAMES] or inside[:1]


def _stretch_axis(ax: Axes, recordings: list[tuple[int, int, int]], low: float, high: float) -> None:
    begin = recordings[0][0]
    for k, (a, b, speaker) in enumerate(recordings):
        if k % 2 == 0:
            ax.axvspan(a - begin - 0.5, b - begin - 0.5, color=colour("faint"), alpha=0.3, zorder=0, lw=0)
        where = (a + b - 1) / 2 - begin, high
        ax.text(*where, f"speaker {speaker + 1}", ha="center", va="top", fontsize=8.5, color=colour("muted"))
    ax.set_xlim(-0.5, recordings[-1][1] - begin - 0.5)
    ax.set_ylim(low, high + 0.04 * (high - low))
    ax.set_xlabel("frames of speech, late in the run")


def _outputs(ax: Axes, run: Run, recordings: list[tuple[int, int, int]]) -> None:
    a, b = recordings[0][0], recordings[-1][1]
    outputs = run.stretch.outputs[a:b]
    frames = np.arange(b - a)
    ax.plot(frames, outputs, color=colour("faint"), lw=1)
    for start, stop, speaker in recordings:
        ax.plot(frames[start - a : stop - a], outputs[start - a : stop - a, speaker], color=colour("neurons"), lw=2.2)
    ax.plot([], [], color=colour("neurons"), lw=2.2, label="output neuron of the one who speaks")
    ax.plot([], [], color=colour("faint"), lw=1.5, label="the other eight")
    _stretch_axis(ax, recordings, -1.08, 1.35)
    ax.set_yticks((-1, 0, 1))
    ax.set_ylabel("output")
    _legend(ax)
    _title(ax, "What the outputs are", "one output neuron a speaker; +1 for the one who speaks, −1 for the others")


def _multipliers(ax: Axes, run: Run, recordings: list[tuple[int, int, int]]) -> None:
    a, b = recordings[0][0], recordings[-1][1]
    neuron = int(np.argmax(np.abs(run.stretch.deltas[1][a:b]).sum(axis=0)))
    ours, theirs = (layers[1][a:b, neuron] for layers in (run.stretch.multipliers, run.stretch.deltas))
    frames = np.arange(b - a)
    ax.axhline(0, color=colour("faint"), lw=1)
    ax.plot(frames, ours, color=colour("multipliers"), lw=1.8, label="its multiplier")
    ax.plot(frames, theirs, ".", color=colour("weights"), ms=5, label="delta error of backprop")
    span = max(np.abs(ours).max(), np.abs(theirs).max())
    _stretch_axis(ax, recordings, 1.1 * min(ours.min(), -0.2 * span), 1.3 * max(ours.max(), 0.4 * span))
    ax.set_ylabel("δ")
    _legend(ax)
    _title(
        ax,
        "What its multipliers do",
        f"the force that holds hidden neuron {neuron + 1} to its constraint, on the same frames",
    )


def _learning(ax: Axes, run: Run) -> None:
    mistakes = [100 * run.mistakes(outputs) for outputs in (run.outputs, run.outputs_backprop)]
    passes = np.arange(1, len(mistakes[0]) + 1)
    kinds = ("weights", "action", "o-"), ("reference", "plain backprop", "s--")
    for values, (meaning, name, line) in zip(mistakes, kinds, strict=True):
        ax.plot(passes, values, line, color=colour(meaning), ms=4, label=name)
    ax.set_ylim(bottom=0)
    ax.set_xticks(passes if len(passes) < 8 else np.arange(0, len(passes) + 1, 5)[1:])
    ax.set_xlabel("pass over the training recordings")
    ax.set_ylabel("mistaken, %")
    ax.legend()
    _title(ax, "How it learns", "training recordings taken for another's, as they pass by")


def _confusion(ax: Axes, run: Run) -> None:
    judged = run.task.judged
    means = np.asarray(judged.mean_outputs(run.task.outputs(run.W)))
    predicted = means.argmax(axis=1)
    counts = np.zeros((judged.num_labels, judged.num_labels), int)
    np.add.at(counts, (judged.labels, predicted), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1.25, aspect="auto")
    for row, column in zip(*np.nonzero(counts), strict=True):
        right = row == column
        ax.text(
            column, row, str(counts[row, column]), ha="center", va="center", fontsize=10,
            color="white" if right and shares[row, column] > 0.6 else colour("alarm") if not right else "black",
            fontweight="normal" if right else "bold",
        )  # fmt: skip
    names = np.arange(1, judged.num_labels + 1)
    ax.set_xticks(names - 1, labels=[str(name) for name in names])
    ax.set_yticks(names - 1, labels=[str(name) for name in names])
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_xlabel("speaker recognised")
    ax.set_ylabel("speaker")
    wrong = int((predicted != judged.labels).sum())
    _title(ax, "Whom it mistakes", f"{judged.num_recordings} test recordings, {wrong} mistaken")


def _title(ax: Axes, title: str, below: str) -> None:
    ax.set_title(f"{title}\n", loc="left", fontsize=12, fontweight="bold")
    ax.text(0, 1.02, below, transform=ax.transAxes, fontsize=9.5, color=colour("muted"))


def _legend(ax: Axes) -> None:
    """Above the axes, on the line of the title: nothing is hidden."""
    ax.legend(loc="lower right", bbox_to_anchor=(1.01, 1.055), ncols=2, columnspacing=1.5)
