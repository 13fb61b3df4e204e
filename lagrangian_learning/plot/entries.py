"""The entries of a record over time, as lines: each one, or where they are many the spread of each leaf."""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import jax
import matplotlib as mpl
import numpy as np
from jaxtyping import PyTree
from matplotlib.axes import Axes

from .style import line_colour

MOST = 48  # lines that an eye can follow at all
NAMED = 7  # lines that a legend can name, and the colours of the style
INNER, OUTER = (0.25, 0.75), (0.05, 0.95)


class Leaf(NamedTuple):
    """A leaf of a record: its name in the tree, the names of its entries, and values [..., T, entries]."""

    name: str
    shape: tuple[int, ...]
    values: np.ndarray

    @property
    def entries(self) -> int:
        """How many entries it has at a time."""
        return self.values.shape[-1]

    def entry_name(self, k: int) -> str:
        """W[0][1, 2], say; the leaf's own name if it is one number."""
        where = np.unravel_index(k, self.shape)
        return f"{self.name}[{', '.join(map(str, where))}]" if self.shape else self.name

    def size(self) -> np.ndarray:
        """Root mean square of the entries [..., T]."""
        return np.sqrt(np.mean(np.square(self.values, dtype=float), axis=-1))


def leaves_of(tree: PyTree, name: str, leading: tuple[int, ...]) -> list[Leaf]:
    """The leaves of a record by their paths in the tree; `leading`: the axes of runs and times before the entries'."""
    found = []
    for where, leaf in jax.tree_util.tree_leaves_with_path(tree):
        values = np.asarray(leaf)
        if values.shape[: len(leading)] != leading:
            raise ValueError(
                f"{name} must have runs and times first, {list(leading)}, and has the shape {list(values.shape)}."
            )
        shape = values.shape[len(leading) :]
        if values.size:
            flat = values.reshape(*leading, -1)
            found.append(Leaf(name + jax.tree_util.keystr(where), shape, flat))
    return found


def draw_entries(ax: Axes, ts: np.ndarray, leaves: Sequence[Leaf], most: int = MOST) -> str:
    """One run: a line an entry where there are at most `most`; otherwise the median and 5 to 95 % of each leaf's
    entries, and where there are many leaves their root mean squares. Returns what a title should say of it.
    """
    if sum(leaf.entries for leaf in leaves) <= most:
        _lines(ax, ts, leaves)
        return ""
    if len(leaves) > NAMED:
        _sizes(ax, ts, leaves)
        return ", root mean squares"
    for k, leaf in enumerate(leaves):
        bands(ax, ts, leaf.values, (OUTER,), _named(leaf), line_colour(k), axis=-1)
    return ", median and 5–95 % of entries"


def bands(
    ax: Axes,
    ts: np.ndarray,
    values: np.ndarray,
    levels: Sequence[tuple[float, float]],
    label: str | None,
    colour: str,
    axis: int,
) -> None:
    """The median over an axis as a line, and a band for each pair of levels, the outer ones paler."""
    for low, high in levels:
        ax.fill_between(ts, *quantiles_over(values, (low, high), axis), color=colour, alpha=0.18, lw=0)
    ax.plot(ts, quantiles_over(values, (0.5,), axis)[0], color=colour, label=label)


def quantiles_over(values: np.ndarray, levels: Sequence[float], axis: int) -> np.ndarray:
    """Quantiles [levels, T] of what is finite; NaN at times at which nothing is."""
    finite = np.isfinite(values)
    if finite.all():
        return np.quantile(values, levels, axis=axis)
    known = np.where(finite, values, np.nan)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        return np.nanquantile(known, levels, axis=axis)


def _lines(ax: Axes, ts: np.ndarray, leaves: Sequence[Leaf]) -> None:
    """Named one by one where they are few, otherwise a colour a leaf, or a shade an entry of a single one."""
    if sum(leaf.entries for leaf in leaves) <= NAMED:
        for leaf in leaves:
            for k in range(leaf.entries):
                ax.plot(ts, leaf.values[:, k], color=line_colour(len(ax.lines)), label=leaf.entry_name(k))
        return
    if len(leaves) == 1:
        (leaf,) = leaves
        for k, shade in enumerate(_shades(leaf.entries)):
            label = leaf.entry_name(k) if k in (0, leaf.entries - 1) or leaf.entries <= 2 * NAMED else None
            ax.plot(ts, leaf.values[:, k], color=shade, lw=1.1, label=label)
        return
    shades = _shades(len(leaves))
    for k, (leaf, shade) in enumerate(zip(leaves, shades, strict=True)):
        lines = ax.plot(ts, leaf.values, color=shade, lw=0.9, alpha=0.8)
        if len(leaves) <= NAMED or k in (0, len(leaves) - 1):
            lines[0].set_label(_named(leaf))


def _sizes(ax: Axes, ts: np.ndarray, leaves: Sequence[Leaf]) -> None:
    for k, (leaf, shade) in enumerate(zip(leaves, _shades(len(leaves)), strict=True)):
        label = _named(leaf) if k in (0, len(leaves) - 1) else None
        ax.plot(ts, leaf.size(), color=shade, label=label)


def _named(leaf: Leaf) -> str:
    return f"{leaf.name}, {leaf.entries:,} entries" if leaf.entries > 1 else leaf.name


def _shades(count: int) -> list:
    """The colours of the cycle, or of a scale where leaves are more than those."""
    if count <= NAMED:
        return [line_colour(k) for k in range(count)]
    return list(mpl.colormaps["viridis"](np.linspace(0.1, 0.9, count)))
