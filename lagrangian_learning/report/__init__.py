"""What is made of trajectories: fidelity, plots, tables."""

from .fidelity import Fidelity as Fidelity, fidelity as fidelity
