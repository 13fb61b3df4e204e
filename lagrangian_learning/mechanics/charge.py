"""Charges of a law: what a motion keeps for each generator, and what changes it (docs/theory.md §12)."""

import abc
from typing import Any, NamedTuple

import equinox as eqx
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import as_time

from .method import compiled


class ChargeRates(NamedTuple):
    """dQ/dt by what causes it (docs/theory.md §12); their sum is dQ/dt.

    dissipation: −r Q.
    kinetic: the change under the generator of that part of ℓ that moves, ℓ(t, q, v) − ℓ(t, q, 0): zero where g leaves
    the kinetic energy as it is.
    potential: ∂_q ℓ(t, q, 0)·g, that is −V_q·g: zero where g leaves the potential as it is.
    constraint: the work of the multipliers on g.
    forces: Q_f·g, generalised forces.
    """

    dissipation: Float[Array, ""]
    kinetic: Float[Array, ""]
    potential: Float[Array, ""]
    constraint: Float[Array, ""]
    forces: Float[Array, ""]


class Charge(NamedTuple):
    """Q at an instant, dQ/dt along the motion, and the parts of that rate. Arrays [T] where a run recorded them."""

    value: Float[Array, "..."]
    rate: Float[Array, "..."]
    parts: ChargeRates


class AbstractCharge(eqx.Module):
    """Q(t, state, args) of a law and a generator, with dQ/dt: `charge(t, state, args)` returns a `Charge`.

    Made by `ll.charge(law, generator)`; compiled when called outside a transformation.
    """

    law: eqx.AbstractVar[eqx.Module]

    @abc.abstractmethod
    def reading(self, t: Any, state: PyTree, args: PyTree) -> Charge:
        """Q, dQ/dt and its parts."""

    @compiled
    def __call__(self, t: Any, state: PyTree, args: PyTree = None) -> Charge:
        """Q, dQ/dt and its parts."""
        return self.reading(as_time(t, state), state, args)
