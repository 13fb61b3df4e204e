"""Which multiplier solver an action takes, and which it refuses."""

from typing import Any

from lagrangian_learning._checks import kind_of
from lagrangian_learning.mechanics import AbstractMultiplierSolver, DenseSaddlePoint
from lagrangian_learning.networks import AbstractNetwork

from .conjugate_gradients import ConjugateGradients
from .direct import NetworkSchur
from .network_solver import AbstractNetworkMultipliers, FiniteSpeedMultipliers


def chosen_solver(
    solver: Any, network: AbstractNetwork, *, delayed: bool, plain_inertia: bool
) -> AbstractMultiplierSolver:
    """The solver given, or for None the one that the structure of the action asks for; values are never looked at.

    Arguments:
        solver: a solver of `ll.multipliers`, or None.
        network: the network of the action.
        delayed: whether information travels at a finite speed, (19).
        plain_inertia: whether the inertia is m_x and m_W, so that structured solvers know it.

    Raises ValueError for a solver that cannot serve such equations.
    """
    if solver is None:
        return _by_structure(network, delayed=delayed, plain_inertia=plain_inertia)
    if not isinstance(solver, AbstractMultiplierSolver):
        raise ValueError(
            "multiplier_solver must be a solver of ll.multipliers such as ll.multipliers.ConjugateGradients(), or "
            f"None, got {kind_of(solver)}."
        )
    if isinstance(solver, AbstractNetworkMultipliers | NetworkSchur | FiniteSpeedMultipliers):
        _check_structure(solver, network, delayed=delayed, plain_inertia=plain_inertia)
    return solver


def _by_structure(network: AbstractNetwork, *, delayed: bool, plain_inertia: bool) -> AbstractMultiplierSolver:
    if not plain_inertia:
        return DenseSaddlePoint()
    if delayed:
        return FiniteSpeedMultipliers()
    return ConjugateGradients() if network.feedforward else NetworkSchur()


def _check_structure(
    solver: AbstractMultiplierSolver, network: AbstractNetwork, *, delayed: bool, plain_inertia: bool
) -> None:
    if not plain_inertia:
        raise ValueError(
            "terms of order 1 or 2 can change the inertia, which structured multiplier solvers take to be m_x and "
            "m_W: use ll.multipliers.DenseSaddlePoint(), or declare order=0 for terms of t, x and W alone."
        )
    if delayed != isinstance(solver, FiniteSpeedMultipliers):
        kind = "with a speed" if delayed else "without a speed"
        raise ValueError(
            f"ll.multipliers.{type(solver).__name__}() does not solve an action {kind}: leave multiplier_solver out, "
            "or use ll.multipliers.DenseSaddlePoint()."
        )
    if isinstance(solver, AbstractNetworkMultipliers):
        solver.check_network(network)
