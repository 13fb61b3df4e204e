"""A law run backward: dy/dτ = −f(−τ, y) in τ = −t, so that whatever integrates forward in τ goes back in t."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, PyTree

from lagrangian_learning._arrays import tree_scale
from lagrangian_learning.mechanics.law import (
    AbstractConstrainedPart,
    AbstractEnergyPart,
    AbstractLaw,
    AbstractMechanicalPart,
    EnergyReading,
    Rates,
    Residual,
)
from lagrangian_learning.mechanics.linear_part import AbstractLinearPart

from .charges import turned_records
from .settings import Settings
from .trajectory import Trajectory

_FORWARD_ONLY = (
    "ts decreases, and {what} only goes forward in time: use a Diffrax stepper such as diffrax.Dopri8(), with "
    "projection (the default) where there are constraints, or ts that increase."
)


class Backward(AbstractLaw):
    """The law in τ = −t. Its energy and constraints are those of the law; the work is ∫ power dt as before."""

    law: AbstractLaw

    def rates(self, t: Any, state: PyTree, args: PyTree) -> Rates:
        rates = self.law.rates(-t, state, args)
        return Rates(tree_scale(-1, rates.state), None if rates.power is None else -rates.power)

    def observables(self, t: Any, state: PyTree, args: PyTree) -> dict[str, PyTree]:
        return self.law.observables(-t, state, args)

    def check(self, ts: Array, state: PyTree, args: PyTree) -> PyTree:
        return self.law.check(-ts[::-1], state, args)

    def stops(self, t: Any, state: PyTree, args: PyTree) -> Bool[Array, ""] | None:
        return self.law.stops(-t, state, args)

    @property
    def constrained_part(self) -> "BackwardConstraints | None":
        part = self.law.constrained_part
        return None if part is None else BackwardConstraints(part)

    @property
    def energy_part(self) -> "BackwardEnergy | None":
        part = self.law.energy_part
        return None if part is None else BackwardEnergy(part)

    @property
    def mechanical_part(self) -> AbstractMechanicalPart | None:
        raise ValueError(_FORWARD_ONLY.format(what="ll.Rattle"))

    @property
    def linear_part(self) -> AbstractLinearPart | None:
        raise ValueError(_FORWARD_ONLY.format(what="a stepper that takes out damping or decay exactly"))

    @property
    def description(self) -> dict[str, str]:
        named = self.law.description
        return named | {"equation": f"{named.get('equation', type(self.law).__name__)}, backward in time"}

    @property
    def aliases(self) -> dict[str, tuple[str, int | None]]:
        return self.law.aliases


class BackwardConstraints(AbstractConstrainedPart):
    """The constraints of a law in τ = −t."""

    part: AbstractConstrainedPart

    def residual(self, t: Any, state: PyTree, args: PyTree) -> Residual:
        return self.part.residual(-t, state, args)

    def project(
        self, t: Any, state: PyTree, args: PyTree, allowed: PyTree | None = None
    ) -> tuple[PyTree, Bool[Array, ""]]:
        return self.part.project(-t, state, args, allowed)

    def baumgarte(self, alpha: Any, beta: Any) -> AbstractLaw:
        raise ValueError(_FORWARD_ONLY.format(what="Baumgarte's method"))


class BackwardEnergy(AbstractEnergyPart):
    """The energy of a law in τ = −t."""

    part: AbstractEnergyPart

    def energy(self, t: Any, state: PyTree, args: PyTree) -> Array:
        return self.part.energy(-t, state, args)

    def reading(self, t: Any, state: PyTree, args: PyTree) -> EnergyReading:
        return self.part.reading(-t, state, args)


class SaveBackward(eqx.Module):
    """A save function of t as one of τ."""

    save: Callable[[Array, dict[str, PyTree]], PyTree] = eqx.field(static=True)

    def __call__(self, t: Array, observables: dict[str, PyTree]) -> PyTree:
        return self.save(-t, observables)


def in_tau(law: AbstractLaw, settings: Settings, resume: Any) -> tuple[Backward, Settings, Any]:
    """Law, settings and trajectory to go on from, of a run in t, as those of one in τ."""
    for name in ("event", "kinks", "dense"):
        if (given := getattr(settings, name)) is not None and given is not False:
            raise ValueError(_FORWARD_ONLY.format(what=f"{name}="))
    save, controller = settings.save, settings.stepsize_controller
    turned = settings._replace(
        save=None if save is None else SaveBackward(save),
        stepsize_controller=None if controller is None else controller.wrap(jnp.asarray(-1)),
    )
    return Backward(law), turned, turned_round(resume) if isinstance(resume, Trajectory) else resume


def turned_round(path: Trajectory) -> Trajectory:
    """A trajectory in τ as one in t, and the other way round."""
    record = dataclasses.replace(path.record, charges=turned_records(path.record.charges))
    return eqx.tree_at(lambda p: (p.ts, p.carry.t, p.record), path, (-path.ts, -path.carry.t, record))
