"""Multipliers of the finite speed, (19), in closed form."""

from typing import Any, ClassVar

from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import cast, tree_scale, tree_sub
from lagrangian_learning.mechanics import AbstractMultiplierSolver


class FiniteSpeedMultipliers(AbstractMultiplierSolver):
    """The saddle point of (19) in closed form: G_v = (1/c, 0), so ẍ = c g, Ẅ = f_W/m_W, and −δ̇ = c (f_x − m_x ẍ).

    For any digraph, cycles included, and m_x = 0; no linear system is left to solve.
    """

    mass_x: Array
    mass_W: Array
    speed: Array
    name: ClassVar[str] = "closed form of the finite speed"

    def __call__(self, system: Any, force: PyTree, closing: PyTree) -> tuple[PyTree, PyTree]:
        f_x, f_W = force
        mass_x, mass_W, speed = (cast(constant, f_x) for constant in (self.mass_x, self.mass_W, self.speed))
        x_ddot = tree_scale(speed, closing)
        minus_delta_dot = tree_scale(speed, tree_sub(f_x, tree_scale(mass_x, x_ddot)))
        return (x_ddot, tree_scale(1 / mass_W, f_W)), minus_delta_dot
