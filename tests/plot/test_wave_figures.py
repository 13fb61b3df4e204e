import matplotlib.image
import numpy as np
import pytest

pytest.importorskip("PIL")

from lagrangian_learning.commands.waves import exact_layers, waves_command
from lagrangian_learning.plot.waves.figures import write_wave_figures
from lagrangian_learning.plot.waves.scenes import RAPID, carried, meeting, scene


@pytest.mark.slow
def test_the_constant_run_shows_the_front_behind_which_gradients_are_exact():
    run = scene(None)
    L = 9
    for t in range(2 * L + 2):
        states = [meeting(run, t, layer) for layer in range(1, L + 1)]
        assert states == ["exact" if t >= 2 * L - layer else "none" for layer in range(1, L + 1)]
    assert exact_layers(run)[2 * L - 2 : 2 * L] == [L - 1, L]


@pytest.mark.slow
def test_the_rapid_run_shows_one_synchronised_layer():
    run = scene(RAPID)
    assert carried(run, 20, 0) == (20, -1)
    assert carried(run, 20, 9) == (11, 20)
    assert carried(run, 8, 5) == (3, -1)
    assert [meeting(run, 20, layer) for layer in range(1, 10)] == ["other"] * 4 + ["same"] + ["other"] * 4


def test_command_refuses_before_it_works(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="is a file; give another name"):
        waves_command(tmp_path / "file", None)
    with pytest.raises(SystemExit, match=r"--json cannot be .*file is a file"):
        waves_command(tmp_path / "waves", tmp_path / "file" / "numbers.json")


@pytest.mark.slow
def test_pictures_and_animation_are_written(tmp_path):
    from PIL import Image

    paths = write_wave_figures(tmp_path / "new folder")
    names = ["waves_figure_1.png", "waves_figure_2.png", "waves_figure_3.png", "waves_fidelity.png", "waves.gif"]
    assert [path.name for path in paths] == names
    for path in paths[:-1]:
        pixels = matplotlib.image.imread(path)[..., :3]
        assert 0.01 < np.mean(pixels.std(axis=2) > 0.1) < 0.6  # coloured, and neither empty nor covered
    with Image.open(paths[-1]) as animation:
        assert animation.n_frames == 27
