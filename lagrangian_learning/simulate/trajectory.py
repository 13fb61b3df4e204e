"""`Trajectory`: what a run leaves, by name; prints itself."""

import abc
from collections.abc import Mapping
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lagrangian_learning.mechanics.law import AbstractLaw

from .charges import ChargeRecord
from .dataset import dataset
from .events import Event
from .monitor import Statistics, Values
from .records import Record, aliased
from .results import RESULTS
from .table import (
    Row,
    charge_rows,
    ended_row,
    html_table,
    outcome_rows,
    run_title,
    saved_row,
    steps_row,
    table,
    times_row,
)


class NotSavedError(AttributeError):
    """The trajectory was asked for what it does not hold; the message lists what it holds and how to save more."""


class Names(NamedTuple):
    """How a solution calls its records, and what it prints of its law and its settings."""

    custom_save: bool
    aliases: tuple[tuple[str, tuple[str, int | None]], ...]
    description: tuple[tuple[str, str], ...]

    def stating(self, name: str, text: str) -> "Names":
        """The same with one more line to print."""
        return self._replace(description=(*self.description, (name, text)))

    def known(self, saved: PyTree) -> list[str]:
        """All names of the saved records; none where they are not a dict."""
        if not isinstance(saved, dict):
            return []
        return sorted({*saved, *([] if self.custom_save else dict(self.aliases))})


def names_of(law: AbstractLaw, save: Any, settings: Mapping[str, str]) -> Names:
    """The names of the solutions of a law; settings: what to print of them."""
    return Names(save is not None, tuple(law.aliases.items()), tuple({**law.description, **settings}.items()))


class Carry(eqx.Module):
    """All that a run needs to go on where it ended."""

    t: Array
    y: PyTree
    solver_state: PyTree
    controller_state: PyTree
    made_jump: Array


_NO_ENERGY = "there is no energy: only laws with a Lagrangian of finite mass have one, and watch='nothing' reads none."


_BESIDE = "Beside records there are ts, energy, result, stats and final_state, of which print(path) shows the most."


class AbstractSolution(eqx.Module):
    """Records of a law at the times ts, by name."""

    ts: eqx.AbstractVar[Values]
    record: eqx.AbstractVar[Record]
    result: eqx.AbstractVar[RESULTS]
    names: eqx.AbstractVar[Names]

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
            raise NotSavedError(_NO_ENERGY)
        return self.record.energy

    @property
    def energy_start(self) -> Values:
        """E(t0) of the run, or of the run that it resumes."""
        if self.record.energy is None:
            raise NotSavedError(_NO_ENERGY)
        return self._energy_start

    @property
    def energy_balance(self) -> Values:
        """E(t) − E(t0) − ∫ power dt at the saved times: zero for the exact motion."""
        if self.record.energy is None or self.record.work is None:
            raise NotSavedError(
                "there is no energy balance: the law has no energy or no power, was not integrated, or watch='nothing'."
            )
        return self.energy - self._energy_start[..., None] - self.record.work

    @property
    def charges(self) -> dict[str, ChargeRecord]:
        """Noether charges by name, each with value, rate, parts and balance [T]: those that the run was asked for."""
        if self.record.charges is None:
            raise NotSavedError('there are no charges: ask for them, charges={"name": ll.charge(law, generator)}.')
        return self.record.charges

    def plot(self, *, most: int = 48) -> Any:
        """Draws what the run has kept, a panel each, of a batch quantiles over its runs: `ll.plot.trajectory`. Neither
        rates nor accelerations are drawn.

        Arguments:
            most: the most lines in a panel; of more entries the median and 5 to 95 % a leaf are drawn.

        Returns matplotlib's Figure. Raises ModuleNotFoundError without the extra `plot`.
        """
        from lagrangian_learning.plot import trajectory

        return trajectory(self, most=most)

    def to_xarray(self) -> Any:
        """The records as an `xarray.Dataset` over time, and before it the lanes of a batch.

        A variable a leaf, named by its path in the tree, as W[0], with dimensions W[0]_0, …; beside them energy,
        energy_balance, constraint_residual and velocity_residual, where they were read. Attributes are what print(path)
        says of law and settings, the result, and the statistics; for a batch result and statistics are variables.

        Raises ModuleNotFoundError without the extra `xarray`.
        """
        return dataset(self, self._numbers())

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return table(*self._title_and_rows())

    def _repr_html_(self) -> str:
        return html_table(*self._title_and_rows())

    @abc.abstractmethod
    def _title_and_rows(self) -> tuple[str, list[Row]]:
        """What it prints of itself."""

    @abc.abstractmethod
    def _numbers(self) -> dict[str, Any]:
        """Numbers of a run as a whole: its statistics."""

    @property
    @abc.abstractmethod
    def _energy_start(self) -> Values:
        """E(t0) of the run, or of the run that it resumes."""

    def _named(self, name: str) -> PyTree:
        holds, aliases = self.record.saved, dict(self.names.aliases)
        if isinstance(holds, dict) and name in holds:
            return holds[name]
        if not self.names.custom_save and name in aliases and aliases[name][0] in holds:
            return aliased(holds, aliases[name])
        raise NotSavedError(self._missing(name))

    def _missing(self, name: str) -> str:
        held = ", ".join(self.names.known(self.record.saved))
        held = held or "one unnamed record (path.saved)"
        if self.names.custom_save:
            return (
                f"there is no {name}: this run's save function kept {held}. An observable of the law must be returned "
                f'by it to be kept: save=lambda t, observables: {{"{name}": observables["{name}"]}}. {_BESIDE}'
            )
        return f"there is no {name}: this run recorded {held}. {_BESIDE}"

    def __getattr__(self, name: str) -> Any:
        """Further records by name: path.loss for what `save` returned as {"loss": ...}."""
        if name.startswith("_"):
            raise AttributeError(name)
        known = getattr(type(self), name, None)
        if isinstance(known, property) and known.fget is not None:
            return known.fget(self)  # Python asks here after a property raised NotSavedError: let it say so again
        return self._named(name)


class Trajectory(AbstractSolution):
    """The solution of a law at the times ts, in the state's dtype. All leaves are arrays; time is their first axis.
    Those of a batch are NumPy arrays whose first axis counts lanes, before time.

    ts: times [T].
    q, v, a, multipliers: coordinates, velocities, accelerations, normalised multipliers δ.
    x, W, x_dot, W_dot: neurons of a network, its weights, rates of the neurons, rates of the weights.
    saved: all records; a dict by default, or what `save` returned.
    constraint_residual: max|G| [T]; zero without constraints, and where the coordinates satisfy them by construction
    (reduced ones).
    velocity_residual: max|DG| [T], likewise.
    energy: E [T].
    charges: of the charges that were asked for, by name, value, rate, parts and balance [T], see
    `ll.simulate(..., charges=)`.
    energy_start: E(t0). energy_balance: E(t) − E(t0) − ∫ power dt [T].
    result: a code of `ll.RESULTS`.
    final_state: the law's state where the run ended.
    stats: steps taken, accepted and rejected, evaluations of the law in them (where the stepper specifies how many a
    step takes), and extrema over all accepted steps (with watch="saved" over saved times): largest residuals after and
    before projection, energy_min, energy_max, and the largest |energy_balance| as max_energy_defect_absolute and, over
    the energy that moves, as max_energy_defect: over the mean of p·v, twice the kinetic energy, or the energy
    exchanged, whichever is larger, neither of which depends on the origin of E.

    at(t): the state at any time, of a run with dense=True.
    event: where an event ended the run, with t (NaN: it was not met), mask, state and saved, a record of its own; None:
    no event was asked for. Records after it are NaN.
    engine: what integrated a batch, an `ll.batch.AbstractEngine`; None: one run.

    Records at times that a failed run did not reach are NaN. So is every derivative of what a failed run leaves, unless
    its cotangent is zero: jnp.where(path.result == ll.RESULTS.successful, loss, 0) leaves a lane out, where the loss
    itself has a derivative at NaN (otherwise put `where` on the records). To a derivative the extrema in stats are
    constants; records, final_state, energy_start and energy_balance are not.

    What was not saved raises `NotSavedError`, which is an AttributeError.
    """

    ts: Values
    record: Record
    result: RESULTS
    statistics: Statistics
    steps: dict[str, Any]
    carry: Carry
    names: Names = eqx.field(static=True)
    engine: Any = eqx.field(static=True, default=None)
    event: Event | None = None
    dense: diffrax.DenseInterpolation | None = None

    def at(self, t: Any) -> PyTree:
        """The law's state at any time of the run, [...] times at once: what the stepper itself interpolates.

        Needs `simulate(..., dense=True)`. NaN outside the run, and beyond where it ended.
        """
        dense = self.dense
        if dense is None:
            raise NotSavedError("path.at(t) needs ll.simulate(..., dense=True, max_steps=...), without projection.")
        times = jnp.asarray(t, self.carry.t.dtype)
        states = jax.vmap(lambda s: dense.evaluate(s).state)(times.reshape(-1))
        inside = (times >= dense.t0) & (times <= self.carry.t)

        def shaped(leaf: Array) -> Array:
            known = inside.reshape(inside.shape + (1,) * (leaf.ndim - 1))
            return jnp.where(known, leaf.reshape(times.shape + leaf.shape[1:]), jnp.nan)

        return jax.tree.map(shaped, states)

    @property
    def final_state(self) -> PyTree:
        """The law's state where the run ended."""
        return self.carry.y.state

    @property
    def stats(self) -> dict[str, Values]:
        """Steps taken, and extrema over all accepted steps."""
        return self.statistics.as_dict()

    @property
    def _energy_start(self) -> Values:
        energy = self.statistics.monitor.energy
        assert energy is not None
        return energy.start

    def _title_and_rows(self) -> tuple[str, list[Row]]:
        rows = [
            *self.names.description,
            steps_row(self.steps),
            times_row(self.ts),
            saved_row(self.saved, self.names.known(self.saved)),
            *charge_rows(self.record.charges),
            *outcome_rows(self.statistics, self.result),
            *ended_row(self.result, self.carry.t if self.event is None else self.event.t),
        ]
        return f"Trajectory{run_title(self.statistics)}", rows

    def _numbers(self) -> dict[str, Any]:
        return self.stats
