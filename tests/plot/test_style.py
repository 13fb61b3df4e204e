"""The style is one, loaded only where pictures are drawn, and its colours stay apart."""

import itertools
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb

import lagrangian_learning as ll
from lagrangian_learning._palette import COLOURS, CYCLE, DARK_COLOURS, DARK_CYCLE

# F. Viénot, H. Brettel, J. Mollon (1999): linear RGB as those see it who lack the long or the middle cones.
SEEN = {
    "by all": np.eye(3),
    "without long cones": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
    "without middle cones": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = XYZ.sum(axis=1)


def lab(colour, seen):
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    f = np.cbrt(np.maximum(XYZ @ np.asarray(seen) @ linear / WHITE, 1e-6))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(one, other):
    """As the web's accessibility guidelines define it."""
    luminance = []
    for colour in (one, other):
        rgb = np.array(to_rgb(colour))
        luminance.append((XYZ @ np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4))[1])
    return (max(luminance) + 0.05) / (min(luminance) + 0.05)


@pytest.mark.parametrize("seen", SEEN)
@pytest.mark.parametrize("cycle", [CYCLE, DARK_CYCLE])
def test_colours_of_lines_stay_apart(cycle, seen):
    """Red and green of equal lightness are 5 apart or less to two of the three; 12 is plainly seen."""
    for one, other in itertools.combinations(cycle, 2):
        assert np.linalg.norm(lab(one, SEEN[seen]) - lab(other, SEEN[seen])) > 12, (one, other)


@pytest.mark.parametrize(("colours", "cycle"), [(COLOURS, CYCLE), (DARK_COLOURS, DARK_CYCLE)])
def test_lines_and_text_stand_out_from_their_ground(colours, cycle):
    assert contrast(colours["ink"], colours["paper"]) > 12
    for one in (*cycle, colours["muted"], colours["weights"], colours["alarm"]):
        assert contrast(one, colours["paper"]) > 2


def test_dark_and_light_have_the_same_meanings():
    assert COLOURS.keys() == DARK_COLOURS.keys()
    assert len(CYCLE) == len(DARK_CYCLE)


def test_the_style_ends_with_its_block():
    before = mpl.rcParams["axes.facecolor"], mpl.rcParams["axes.spines.top"]
    with ll.plot.style(dark=True):
        assert ll.plot.colour("weights") == DARK_COLOURS["weights"]
        assert not mpl.rcParams["axes.spines.top"]
        assert mpl.rcParams["axes.prop_cycle"].by_key()["color"] == list(DARK_CYCLE)
    assert (mpl.rcParams["axes.facecolor"], mpl.rcParams["axes.spines.top"]) == before
    assert ll.plot.colour("weights") == COLOURS["weights"]


def test_a_style_for_good():
    with mpl.rc_context():
        ll.plot.use_style(dark=True)
        assert mpl.rcParams["figure.facecolor"] == DARK_COLOURS["paper"]
        ll.plot.use_style()
        assert mpl.rcParams["figure.facecolor"] == COLOURS["paper"]


def test_a_colour_that_there_is_not():
    with pytest.raises(ValueError, match="no colour 'blue'; there are weights, neurons"):
        ll.plot.colour("blue")


WITHOUT = """
import sys
import lagrangian_learning as ll
assert not [name for name in sys.modules if name.split(".")[0] in ("matplotlib", "xarray", "pandas")]
sys.modules["matplotlib"] = None
try:
    ll.plot
except ModuleNotFoundError as error:
    print(error)
"""


@pytest.mark.slow
def test_the_library_is_imported_without_matplotlib_and_pictures_name_the_extra():
    call = [sys.executable, "-W", "error", "-c", WITHOUT]
    done = subprocess.run(call, capture_output=True, text=True, timeout=300, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    assert 'pip install "lagrangian-learning[plot]"' in done.stdout
