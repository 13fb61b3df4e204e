"""Charges along a run: their values, and what their rates make of the first of them."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import tree_scale
from lagrangian_learning._checks import kind_of
from lagrangian_learning._types import Args, Time
from lagrangian_learning.mechanics import AbstractCharge, Charge, ChargeRates
from lagrangian_learning.mechanics.law import AbstractLaw

if TYPE_CHECKING:
    Values = Array  # NumPy's arrays, which a batch leaves, support whatever is asked of records
else:
    Values = Array | np.ndarray

Charges = dict[str, AbstractCharge]


class ChargeRecord(NamedTuple):
    """A charge along a run (docs/theory.md §12).

    value: Q. rate: dQ/dt as the law states it, and its parts. predicted: Q(t0) + ∫ rate dt, integrated beside the
    state. All [T], of a batch with lanes first.
    """

    value: Values
    rate: Values
    parts: ChargeRates
    predicted: Values

    @property
    def balance(self) -> Values:
        """Q(t) − Q(t0) − ∫ rate dt: zero for the exact motion."""
        return self.value - self.predicted


class BackwardCharge(AbstractCharge):
    """A charge in τ = −t: the same value, its rate with the other sign."""

    law: AbstractLaw
    charge: AbstractCharge

    def reading(self, t: Any, state: PyTree, args: PyTree) -> Charge:
        value, rate, parts = self.charge.reading(-t, state, args)
        return Charge(value, -rate, tree_scale(-1, parts))


def checked_charges(given: Any) -> Charges | None:
    """Charges by name; None for none. ValueError for anything else."""
    if given is None:
        return None
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise ValueError(
            f'charges must be a dict of names and charges, as {{"spin": ll.charge(law, generator)}}, got '
            f"{kind_of(given)}."
        )
    for name, charge in given.items():
        if not isinstance(charge, AbstractCharge):
            raise ValueError(f"charges[{name!r}] must be made by ll.charge(law, generator), got {kind_of(charge)}.")
    return dict(given) or None


def backward_charges(charges: Charges | None) -> Charges | None:
    """Charges in t as those in τ = −t."""
    return None if charges is None else {name: BackwardCharge(each.law, each) for name, each in charges.items()}


def stabilised_charges(charges: Charges | None, stabilisation: Any) -> Charges | None:
    """The charges of the laws that are integrated: Baumgarte's terms change multipliers."""
    if charges is None:
        return None

    def stabilised(charge: AbstractCharge) -> AbstractCharge:
        law: Any = charge.law
        if law.constrained_part is None:
            return charge
        changed = stabilisation.stabilised(law)
        return charge if changed is law else dataclasses.replace(charge, law=changed)

    return {name: stabilised(charge) for name, charge in charges.items()}


def values_of(charges: Charges | None, t: Time, state: PyTree, args: Args) -> dict[str, Array] | None:
    """Q by name; None for none."""
    return None if charges is None else {name: _reading(each, t, state, args).value for name, each in charges.items()}


def rates_by_name(charges: Charges | None, t: Time, state: PyTree, args: Args) -> dict[str, Array] | None:
    """dQ/dt by name; None for none."""
    return None if charges is None else {name: _reading(each, t, state, args).rate for name, each in charges.items()}


def records_of(
    charges: Charges | None, t: Time, state: PyTree, args: Args, predicted: dict[str, Array] | None
) -> dict[str, ChargeRecord] | None:
    """What is kept of the charges at a saved time."""
    if charges is None or predicted is None:
        return None
    return {name: ChargeRecord(*_reading(each, t, state, args), predicted[name]) for name, each in charges.items()}


def turned_records(records: dict[str, ChargeRecord] | None) -> dict[str, ChargeRecord] | None:
    """Records in τ as those in t, and the other way round: rates change their sign."""
    if records is None:
        return None
    return {
        name: each._replace(rate=-each.rate, parts=jax.tree.map(jnp.negative, each.parts))
        for name, each in records.items()
    }


def same_charges(carried: dict[str, Array] | None, charges: Charges | None) -> None:
    """ValueError unless a run that goes on keeps the charges of the one before."""
    before, now = sorted(carried or ()), sorted(charges or ())
    if before != now:
        kept = ", ".join(before) or "no charges"
        raise ValueError(f"the trajectory to resume kept {kept}: give the same charges again.")


def _reading(charge: AbstractCharge, t: Time, state: PyTree, args: Args) -> Charge:
    read = charge.reading(t, state, args)
    if jnp.shape(read.value) != () or jnp.shape(read.rate) != ():
        raise ValueError(
            f"a charge must be one number, got {kind_of(read.value)} with the rate {kind_of(read.rate)}: a charge each."
        )
    return read
