"""What a run records at its saved times."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import all_finite
from lagrangian_learning.mechanics.law import AbstractLaw, Residual

from .augmented import Augmented


class Record(eqx.Module):
    """One saved time: what the user asked for (default: all observables), and the scalars that are always kept.

    residual: None for a law that cannot drift.
    """

    saved: PyTree
    residual: Residual | None
    energy: Array | None
    work: Array | None


class Recorder(eqx.Module):
    """Makes a record of a state; save(t, observables) replaces the observables."""

    law: AbstractLaw
    save: Callable[[Array, dict[str, PyTree]], PyTree] | None

    def __call__(self, t: Array, y: Augmented, args: PyTree) -> Record:
        observables = self.law.observables(t, y.state, args)
        saved = observables
        if self.save is not None:
            saved = _as_arrays(self.save(t, with_aliases(observables, self.law.aliases)))
        residual = self.law.residual(t, y.state, args) if self.law.drifts else None
        return Record(saved, residual, self.law.energy(t, y.state, args), y.work)


def _as_arrays(saved: PyTree) -> PyTree:
    try:
        return jax.tree.map(jnp.asarray, saved)
    except TypeError as error:
        raise ValueError(f"save must return arrays or numbers, in any pytree: {error}") from None


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

    def __call__(self, t: Array, y: Augmented, args: PyTree) -> Flat:
        return Flat(*jax.tree.flatten(self.recorder(t, y, args)))


def with_aliases(observables: Mapping[str, PyTree], aliases: Mapping[str, tuple[str, int | None]]) -> dict[str, PyTree]:
    """Observables under their further names too: {"x": ("q", 0)} adds x = q[0], unless there is an x already."""
    further = {name: aliased(observables, where) for name, where in aliases.items() if where[0] in observables}
    return {**further, **observables}


def aliased(observables: Mapping[str, PyTree], where: tuple[str, int | None]) -> PyTree:
    """The observable, or its component, that an alias stands for."""
    name, component = where
    return observables[name] if component is None else observables[name][component]


def reached(records: Record, saved: Array) -> Record:
    """NaN at the times that the run did not reach, where Diffrax leaves inf."""

    def masked(leaf: Array) -> Array:
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            return leaf
        return jnp.where(saved.reshape(saved.shape + (1,) * (leaf.ndim - 1)), leaf, jnp.nan)

    return jax.tree.map(masked, records)


def default_records_finite(records: Record, save: Any) -> Array:
    """Whether the records are finite; what a user's own save function returns may mean anything."""
    return all_finite((records.residual, records.energy, records.work, records.saved if save is None else None))
