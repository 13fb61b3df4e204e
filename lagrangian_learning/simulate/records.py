"""Records: what is kept of a run at its saved times."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import all_finite
from lagrangian_learning._types import Args
from lagrangian_learning.mechanics.law import AbstractLaw, Residual

from .charges import ChargeRecord, Charges, records_of
from .monitor import energy_of, residual_of
from .work import Worked


class Record(eqx.Module):
    """One saved time: what the user asked for (default: all observables), and the scalars that are always kept.

    residual: None for a law that cannot drift. moving: p·v, where energy is read at saved times alone. charges: by
    name.
    """

    saved: PyTree
    residual: Residual | None
    energy: Array | None
    work: Array | None
    moving: Array | None = None
    charges: dict[str, ChargeRecord] | None = None

    def finite(self, save: Any) -> Array:
        """Whether it is finite; what a user's own save function returns may be infinite, as log 0 is, but no NaN."""
        # Not the parts of a charge's rate: a Lagrangian need have no derivative at rest.
        charges = [] if self.charges is None else [(each.value, each.predicted) for each in self.charges.values()]
        kept = all_finite((self.residual, self.energy, self.work, charges))
        return kept & (all_finite(self.saved) if save is None else _no_nan(self.saved))


def _no_nan(tree: PyTree) -> Array:
    leaves = [leaf for leaf in jax.tree.leaves(tree) if eqx.is_inexact_array(leaf)]
    return jnp.all(jnp.stack([jnp.asarray(True), *(~jnp.any(jnp.isnan(leaf)) for leaf in leaves)]))


class Recorder(eqx.Module):
    """Makes a record of a state; save(t, observables) replaces the observables."""

    law: AbstractLaw
    save: Callable[[Array, dict[str, PyTree]], PyTree] | None
    watch: str = eqx.field(static=True, default="steps")
    charges: Charges | None = None

    def __call__(self, t: Array, y: Worked, args: Args) -> Record:
        saved = self.law.observables(t, y.state, args)
        if self.save is not None:
            saved = _as_arrays(_chosen(self.save, t, with_aliases(saved, self.law.aliases)))
        charges = records_of(self.charges, t, y.state, args, y.charges)
        if self.watch == "nothing":
            return Record(saved, None, None, None, charges=charges)
        if self.watch == "saved" and self.law.energy_part is not None:
            read = self.law.energy_part.reading(t, y.state, args)
            return Record(saved, residual_of(self.law, t, y, args), read.energy, y.work, read.moving, charges)
        energy = energy_of(self.law, t, y, args)
        return Record(saved, residual_of(self.law, t, y, args), energy, y.work, charges=charges)


class Flat(eqx.Module):
    """A record as a list of its arrays: Equinox's loops carry no empty tuple, which a save function may return."""

    leaves: list[Array]
    structure: Any = eqx.field(static=True)

    @property
    def record(self) -> Record:
        return jax.tree.unflatten(self.structure, self.leaves)


class FlatRecorder(eqx.Module):
    """A recorder, as Diffrax calls it."""

    recorder: Recorder

    def __call__(self, t: Array, y: Worked, args: Args) -> Flat:
        return Flat(*jax.tree.flatten(self.recorder(t, y, args)))


def reached(records: Record, saved: Array) -> Record:
    """NaN at the times that the run did not reach, where Diffrax leaves inf."""

    def masked(leaf: Array) -> Array:
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            return leaf
        return jnp.where(saved.reshape(saved.shape + (1,) * (leaf.ndim - 1)), leaf, jnp.nan)

    return jax.tree.map(masked, records)


def with_aliases(observables: Mapping[str, PyTree], aliases: Mapping[str, tuple[str, int | None]]) -> dict[str, PyTree]:
    """Observables under their further names too: {"x": ("q", 0)} adds x = q[0], unless there is an x already."""
    further = {name: aliased(observables, where) for name, where in aliases.items() if where[0] in observables}
    return {**further, **observables}


def aliased(observables: Mapping[str, PyTree], where: tuple[str, int | None]) -> PyTree:
    """The observable, or its component, that an alias stands for."""
    name, component = where
    return observables[name] if component is None else observables[name][component]


def _chosen(save: Callable, t: Array, observables: dict[str, PyTree]) -> PyTree:
    try:
        return save(t, observables)
    except KeyError as error:
        name = error.args[0] if error.args else None
        if name in observables:
            raise
        raise ValueError(f"save asks for {name!r}, and this law records {', '.join(sorted(observables))}.") from None


def _as_arrays(saved: PyTree) -> PyTree:
    try:
        return jax.tree.map(jnp.asarray, saved)
    except TypeError as error:
        raise ValueError(f"save must return arrays or numbers, in any pytree: {error}") from None
