"""Figures 1, 2 and 3 of the paper, drawn from runs, and their animation."""

from .animation import write_animation as write_animation
from .figures import (
    draw_wave_figures as draw_wave_figures,
    fidelity_figure as fidelity_figure,
    figure_1 as figure_1,
    figure_2 as figure_2,
    figure_3 as figure_3,
    write_wave_figures as write_wave_figures,
)
from .scenes import Scene as Scene, fidelity_by_speed as fidelity_by_speed, scene as scene, scenes as scenes
