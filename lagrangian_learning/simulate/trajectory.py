"""`Trajectory`: what a run leaves behind, by name; prints itself."""

from typing import TYPE_CHECKING, Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, PyTree

from .records import Record, aliased
from .results import RESULTS
from .table import printed

if TYPE_CHECKING:
    Values = Array  # NumPy's arrays, which a batch leaves, do whatever is asked of records
else:
    Values = Array | np.ndarray


class NotSavedError(AttributeError):
    """The trajectory was asked for what it does not hold; the message says what it holds and how to save more."""


class Carry(eqx.Module):
    """All that a run needs to go on where it ended."""

    t: Array
    y: PyTree
    solver_state: PyTree
    controller_state: PyTree
    made_jump: Array


class Trajectory(eqx.Module):
    """The solution of a law at the times ts, in the state's dtype. All leaves are arrays; time is their first axis.
    Those of a batch are NumPy arrays whose first axis counts lanes, before time.

    ts: times [T].
    q, v, a, multipliers: coordinates, velocities, accelerations, normalised multipliers δ.
    x, W, x_dot, W_dot: a network's neurons, weights and their rates.
    saved: all records; a dict by default, or what `save` returned.
    constraint_residual, velocity_residual: max|G| and max|DG| [T]; zero without constraints, and where the coordinates
    satisfy them by construction (reduced ones).
    energy: E [T].
    energy_balance: E(t) − E(t0) − ∫ power dt [T].
    result: a code of `ll.RESULTS`.
    final_state: the law's state where the run ended.
    stats: steps taken, and extrema over all accepted steps (not only saved times): largest residuals after and before
    projection, energy_min, energy_max, and the largest |energy_balance| as max_energy_defect, relative to max|E|, and
    max_energy_defect_absolute (where E is zero by the choice of its origin, only this one tells anything).

    engine: what integrated a batch, an `ll.batch.AbstractEngine`; None: one run.

    Records at times that a failed run did not reach are NaN. What was not saved raises `NotSavedError`, which is an
    AttributeError.
    """

    ts: Values
    record: Record
    energy_start: Values | None
    result: RESULTS
    stats: dict[str, Any]
    steps: dict[str, Any]
    final_state: PyTree
    carry: Carry
    custom_save: bool = eqx.field(static=True)
    aliases: tuple[tuple[str, tuple[str, int | None]], ...] = eqx.field(static=True)
    description: tuple[tuple[str, str], ...] = eqx.field(static=True)
    engine: Any = eqx.field(static=True, default=None)

    @property
    def saved(self) -> PyTree:
        """All records: a dict of the law's observables, or what the user's `save` returned."""
        return self.record.saved

    @property
    def q(self) -> PyTree:
        """Generalized coordinates."""
        return self._named("q")

    @property
    def v(self) -> PyTree:
        """Generalized velocities."""
        return self._named("v")

    @property
    def a(self) -> PyTree:
        """Accelerations."""
        return self._named("a")

    @property
    def multipliers(self) -> PyTree:
        """Normalised multipliers δ = λ/ϖ."""
        return self._named("multipliers")

    @property
    def x(self) -> PyTree:
        """Neuron outputs."""
        return self._named("x")

    @property
    def W(self) -> PyTree:
        """Weights."""
        return self._named("W")

    @property
    def x_dot(self) -> PyTree:
        """Rates of the neuron outputs."""
        return self._named("x_dot")

    @property
    def W_dot(self) -> PyTree:
        """Rates of the weights."""
        return self._named("W_dot")

    @property
    def constraint_residual(self) -> Values:
        """max|G| at the saved times; zero without constraints, and for a law that cannot drift."""
        return self.ts * 0 if self.record.residual is None else self.record.residual.position

    @property
    def velocity_residual(self) -> Values:
        """max|DG| at the saved times (order 2: over DG, D²G, D³G); zero where max|G| is by construction."""
        return self.ts * 0 if self.record.residual is None else self.record.residual.velocity

    @property
    def energy(self) -> Values:
        """E at the saved times."""
        if self.record.energy is None:
            raise NotSavedError("this law has no energy: only laws with a Lagrangian of finite mass tell one.")
        return self.record.energy

    @property
    def energy_balance(self) -> Values:
        """E(t) − E(t0) − ∫ power dt at the saved times: zero for the exact motion."""
        if self.record.work is None or self.energy_start is None:
            raise NotSavedError("this law has no energy balance: it tells no energy, or no power.")
        return self.energy - self.energy_start[..., None] - self.record.work

    def _named(self, name: str) -> PyTree:
        holds, aliases = self.record.saved, dict(self.aliases)
        if isinstance(holds, dict) and name in holds:
            return holds[name]
        if not self.custom_save and name in aliases and aliases[name][0] in holds:
            return aliased(holds, aliases[name])
        raise NotSavedError(self._missing(name))

    def _missing(self, name: str) -> str:
        holds = self.record.saved
        names = sorted({*holds, *([] if self.custom_save else dict(self.aliases))}) if isinstance(holds, dict) else []
        held = ", ".join(names) if names else "one unnamed record (path.saved)"
        if self.custom_save:
            return (
                f"{name} was not saved: this run's save function kept {held}. Return it too, for instance "
                f'save=lambda t, observables: {{"{name}": observables["{name}"]}}.'
            )
        return f"this law has no observable called {name}; saved are {held}."

    def __getattr__(self, name: str) -> Any:
        """Further records by name: path.loss for what `save` returned as {"loss": ...}."""
        if name.startswith("_"):
            raise AttributeError(name)
        known = getattr(type(self), name, None)
        if isinstance(known, property) and known.fget is not None:
            return known.fget(self)  # Python asks here after a property raised NotSavedError: let it say so again
        return self._named(name)

    def __repr__(self) -> str:
        return printed(self)

    def __str__(self) -> str:
        return printed(self)
