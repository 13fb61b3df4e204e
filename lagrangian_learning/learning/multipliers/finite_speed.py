"""Multipliers of the finite speed, (19), in closed form."""

from typing import ClassVar

from jaxtyping import PyTree

from lagrangian_learning._arrays import cast, tree_scale, tree_sub
from lagrangian_learning.mechanics import AbstractMultiplierSolver, SaddlePoint

from .network_solver import structure_of


class FiniteSpeedMultipliers(AbstractMultiplierSolver):
    """The saddle point of (19) in closed form: G_v = (1/c, 0), so ẍ = c g, Ẅ = f_W/m_W, and −δ̇ = c (f_x − m_x ẍ).

    For any digraph, cycles included, and m_x = 0; no linear system is left to solve.
    """

    name: ClassVar[str] = "closed form of the finite speed"

    def __call__(self, system: SaddlePoint, force: PyTree, closing: PyTree) -> tuple[PyTree, PyTree]:
        structure, (f_x, f_W) = structure_of(system, self), force
        if structure.speed is None:
            raise ValueError("ll.multipliers.FiniteSpeedMultipliers() is for an action with a speed: leave it out.")
        mass_x, mass_W, speed = (cast(constant, f_x) for constant in structure[1:])
        x_ddot = tree_scale(speed, closing)
        minus_delta_dot = tree_scale(speed, tree_sub(f_x, tree_scale(mass_x, x_ddot)))
        return (x_ddot, tree_scale(1 / mass_W, f_W)), minus_delta_dot
