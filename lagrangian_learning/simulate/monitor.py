"""What is watched on a run: residuals of constraints, and the energy balance against what moves."""

from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from lagrangian_learning._arrays import observed, tree_where
from lagrangian_learning._types import Args
from lagrangian_learning.mechanics.law import AbstractLaw, EnergyReading, Residual

from .stability import Stability
from .work import Worked

if TYPE_CHECKING:
    Values = Array  # NumPy's arrays, which a batch leaves, support whatever is asked of records
else:
    Values = Array | np.ndarray


class Balance(eqx.Module):
    """E − E(t0) − work, and what it is measured against.

    defect: its largest absolute value. exchanged: Σ |work over a step|, about ∫ |power| dt. action: ∫ p·v dt, None for
    a law that has no p·v. duration: the time so far.
    """

    defect: Values
    exchanged: Values
    action: Values | None
    duration: Values

    def including(self, defect: Array, work: Array, moving: Array | None, h: Array) -> "Balance":
        """With one more step of length h."""
        action = None if self.action is None or moving is None else self.action + h * moving
        exchanged = self.exchanged + jnp.abs(work)
        return Balance(jnp.maximum(self.defect, jnp.abs(defect)), exchanged, action, self.duration + h)

    def relative(self, size: Values) -> Values:
        """The defect over the energy that moves: the mean of p·v, twice the kinetic energy, or the energy exchanged.

        size: max |E|, which depends on the origin of E, and so counts only where a law has no p·v; rounding of it is
        no defect.
        """
        xp = np if isinstance(self.defect, np.ndarray) else jnp
        mean = size if self.action is None else self.action / xp.where(self.duration > 0, self.duration, 1)
        scale = xp.maximum(xp.maximum(xp.abs(mean), self.exchanged), 1e4 * np.finfo(self.defect.dtype).eps * size)
        return self.defect / xp.where(scale > 0, scale, 1)


class EnergyRange(eqx.Module):
    """Energy at the start and its extrema; balance is None where there is no power."""

    start: Values
    least: Values
    most: Values
    balance: Balance | None

    def including(self, reading: EnergyReading, work: tuple[Any, Any], h: Array) -> "EnergyRange":
        """With one more step end; work: at the start of the step and at its end."""
        energy, (before, after) = reading.energy, work
        balance = self.balance
        if balance is not None:
            defect = energy - lax.stop_gradient(self.start) - after
            balance = balance.including(defect, after - before, reading.moving, h)
        return EnergyRange(self.start, jnp.minimum(self.least, energy), jnp.maximum(self.most, energy), balance)

    @property
    def relative_defect(self) -> Values | None:
        """The largest defect of the balance over the energy that moves."""
        if self.balance is None:
            return None
        xp = np if isinstance(self.least, np.ndarray) else jnp
        return self.balance.relative(xp.maximum(xp.abs(self.least), xp.abs(self.most)))


class Monitor(eqx.Module):
    """Largest residuals at step ends, as the stepper left them and after stabilisation, and the energy's range.

    Extrema over accepted steps only. Residuals are None for a law that has no constraints to drift off, energy for a
    law without one, stability for steps that are not constant or not explicit.
    """

    stepped: Residual | None
    settled: Residual | None
    energy: EnergyRange | None
    stability: Stability | None = None

    def including(self, stepped: Residual | None, settled: Residual | None, energy: EnergyRange | None) -> "Monitor":
        """The extrema with one more step end."""
        return Monitor(_larger(self.stepped, stepped), _larger(self.settled, settled), energy, self.stability)


class StepKind(NamedTuple):
    """What is known of the steps of a run beforehand.

    evaluations: of the law a step, None where the stepper does not specify it. alarm: the relative defect of the energy
    balance from which on a printed run warns. advice: what to do then.
    """

    evaluations: int | None
    alarm: float
    advice: str


class Statistics(eqx.Module):
    """Steps taken, and what the monitor has seen over all accepted ones."""

    num_steps: Values
    num_accepted_steps: Values
    num_rejected_steps: Values
    monitor: Monitor
    kind: StepKind = eqx.field(static=True)

    def as_dict(self) -> dict[str, Values]:
        """By name, those that the law has."""
        counts = ("num_steps", "num_accepted_steps", "num_rejected_steps")
        stats: dict[str, Any] = {name: getattr(self, name) for name in counts}
        if self.kind.evaluations is not None:
            stats["num_evaluations"] = self.num_steps * self.kind.evaluations
        settled, stepped, energy = self.monitor.settled, self.monitor.stepped, self.monitor.energy
        if settled is not None:
            stats |= {"max_constraint_residual": settled.position, "max_velocity_residual": settled.velocity}
        if stepped is not None:
            stats |= {
                "max_constraint_residual_before_projection": stepped.position,
                "max_velocity_residual_before_projection": stepped.velocity,
            }
        if energy is not None:
            stats |= {"energy_min": energy.least, "energy_max": energy.most}
            if energy.balance is not None:
                stats |= {
                    "max_energy_defect": energy.relative_defect,
                    "max_energy_defect_absolute": energy.balance.defect,
                }
        return stats

    @property
    def unbalanced(self) -> Values | None:
        """Whether energy comes from nowhere; None where there is no balance."""
        energy = self.monitor.energy
        relative = None if energy is None else energy.relative_defect
        return None if relative is None else relative > self.kind.alarm


# -- readings ------------------------------------------------------------------------------------------------------


def residual_of(law: AbstractLaw, t: Array, y: Worked, args: Args) -> Residual | None:
    """max |G| and max |DG|; None where nothing drifts."""
    constraints = law.constrained_part
    return None if constraints is None else constraints.residual(t, y.state, args)


def energy_of(law: AbstractLaw, t: Array, y: Worked, args: Args) -> Float[Array, ""] | None:
    """E; None where the law has none."""
    return None if law.energy_part is None else law.energy_part.energy(t, y.state, args)


def first_reading(law: AbstractLaw, t: Array, y: Worked, args: Args, stability: Stability | None = None) -> Monitor:
    """The monitor at the start of a run."""
    law, t, y, args = observed((law, t, y, args))
    residual = residual_of(law, t, y, args)
    if law.energy_part is None:
        return Monitor(residual, residual, None, stability)
    first = law.energy_part.reading(t, y.state, args)
    balance = None
    if y.work is not None:
        zero = y.work * 0
        balance = Balance(zero, zero, None if first.moving is None else zero, jnp.zeros_like(t))
    return Monitor(residual, residual, EnergyRange(first.energy, first.energy, first.energy, balance), stability)


def reading(
    monitor: Monitor,
    law: AbstractLaw,
    times: tuple[Array, Array],
    ends: tuple[Worked, Worked],
    args: Args,
    stepped: Residual | None,
) -> Monitor:
    """The monitor after a step that ended, stabilised, in ends[1]; `stepped` is the residual before, None: the same."""
    law, (t0, t1), (y0, y1), args = observed((law, times, ends, args))
    settled = residual_of(law, t1, y1, args)
    energy = monitor.energy
    if energy is not None:
        assert law.energy_part is not None
        energy = energy.including(law.energy_part.reading(t1, y1.state, args), (y0.work, y1.work), t1 - t0)
    return monitor.including(settled if stepped is None else stepped, settled, energy)


def over_records(monitor: Monitor, ts: Array, record: Any) -> Monitor:
    """The monitor of the start, after all saved times that a run has reached, as `Record` has them."""
    residual, energy, work = observed((record.residual, record.energy, record.work))

    def largest(values: Array) -> Array:
        return jnp.max(jnp.where(jnp.isfinite(values), values, 0))

    settled = None if residual is None else Residual(largest(residual.position), largest(residual.velocity))
    if monitor.energy is None:
        return Monitor(None, settled, None, monitor.stability)

    def one_more(energies: EnergyRange, ends: tuple) -> tuple[EnergyRange, None]:
        h, energy, moving, *work = ends
        new = energies.including(EnergyReading(energy, moving), tuple(work) or (None, None), h)
        return tree_where(jnp.isfinite(energy), new, energies), None

    works = () if work is None else (work[:-1], work[1:])
    ends = (jnp.diff(ts), energy[1:], None if record.moving is None else observed(record.moving[1:]), *works)
    return Monitor(None, settled, lax.scan(one_more, monitor.energy, ends)[0], monitor.stability)


def _larger(largest: Residual | None, new: Residual | None) -> Residual | None:
    if largest is None or new is None:
        return largest
    return Residual(jnp.maximum(largest.position, new.position), jnp.maximum(largest.velocity, new.velocity))
