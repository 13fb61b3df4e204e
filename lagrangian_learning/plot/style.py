"""The one style of all pictures: colours that the colour-blind tell apart, no box, titles at the left."""

from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from lagrangian_learning._palette import COLOURS, CYCLE, DARK_COLOURS, DARK_CYCLE

_SIZES = {
    "figure.figsize": (6.4, 4.0),
    "figure.dpi": 80,
    "figure.titlesize": 14,
    "figure.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "savefig.dpi": 110,
    "savefig.facecolor": "auto",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "image.cmap": "viridis",
}


def style(*, dark: bool = False) -> AbstractContextManager[Any]:
    """The style for what is drawn inside `with ll.plot.style():`; the earlier settings of matplotlib come back after.

    Arguments:
        dark: light lines on a dark ground.
    """
    return mpl.rc_context(_settings(dark))


def use_style(*, dark: bool = False) -> None:
    """The style for all that this process draws from now on; for notebooks.

    Arguments:
        dark: light lines on a dark ground.
    """
    mpl.rcParams.update(_settings(dark))


def colour(name: str) -> str:
    """A colour of `ll.plot.COLOURS` by its meaning, as it is on the present ground, light or dark."""
    if name not in COLOURS:
        raise ValueError(f"there is no colour {name!r}; there are {', '.join(COLOURS)}.")
    return (DARK_COLOURS if is_dark() else COLOURS)[name]


def line_colour(k: int) -> str:
    """The colour of the k-th line, round and round; matplotlib would look "C0" up late, when it draws."""
    colours = mpl.rcParams["axes.prop_cycle"].by_key().get("color", CYCLE)
    return to_hex(colours[k % len(colours)])


def is_dark() -> bool:
    """Whether matplotlib's present settings draw light text, as on a dark ground."""
    red, green, blue = to_rgb(mpl.rcParams["text.color"])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.5


def heading(figure: Figure, text: str) -> None:
    """The title of a figure with several axes, at its left."""
    figure.suptitle(text, x=0.02, ha="left")


def _settings(dark: bool) -> dict[Any, Any]:
    shades, cycle = (DARK_COLOURS, DARK_CYCLE) if dark else (COLOURS, CYCLE)
    ink = ("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.labelcolor", "ytick.labelcolor")
    lines = ("axes.edgecolor", "xtick.color", "ytick.color")
    return {
        **_SIZES,
        **dict.fromkeys(ink, shades["ink"]),
        **dict.fromkeys(lines, shades["muted"]),
        **dict.fromkeys(("figure.facecolor", "axes.facecolor"), shades["paper"]),
        "grid.color": shades["faint"],
        "axes.prop_cycle": cycler(color=cycle),
    }
