"""Pictures in one style: trajectories, batches, waves and phase diagrams.

The extra `plot` brings matplotlib. `ll.plot.trajectory(path)`, which is `path.plot()`, draws what a run has kept; the
other functions draw a part of it, each into axes that are given or into a figure of its own.
"""

try:
    import matplotlib as mpl  # noqa: F401  # an extra: said here once for all modules of the package
except ModuleNotFoundError as error:
    raise ModuleNotFoundError('pictures need matplotlib: pip install "lagrangian-learning[plot]"') from error

from lagrangian_learning._palette import COLOURS as COLOURS

from . import waves as waves
from .coordinates import neurons as neurons, weights as weights
from .energy import energy as energy
from .multipliers import multipliers as multipliers
from .phase_diagram import border_line as border_line, phase_diagram as phase_diagram
from .quantiles import quantiles as quantiles
from .residuals import residuals as residuals
from .style import colour as colour, heading as heading, style as style, use_style as use_style
from .trajectory import trajectory as trajectory
