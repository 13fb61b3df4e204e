"""Extrema of what a run should conserve, kept over its accepted steps only."""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from lagrangian_learning.mechanics.law import AbstractLaw, Residual

from .augmented import Augmented


class EnergyRange(eqx.Module):
    """Energy at the start, its extrema, and the largest |E − E(t0) − work|; defect is None where power is not told."""

    start: Float[Array, ""]
    least: Float[Array, ""]
    most: Float[Array, ""]
    defect: Float[Array, ""] | None

    def including(self, energy: Float[Array, ""], work: Float[Array, ""] | None) -> "EnergyRange":
        defect = None if work is None else jnp.maximum(self.defect, jnp.abs(energy - self.start - work))
        return EnergyRange(self.start, jnp.minimum(self.least, energy), jnp.maximum(self.most, energy), defect)

    @property
    def scale(self) -> Float[Array, ""]:
        """max |E|."""
        return jnp.maximum(jnp.abs(self.least), jnp.abs(self.most))

    @property
    def relative_defect(self) -> Float[Array, ""] | None:
        """The largest defect over max |E|; where E is zero throughout, the defect itself."""
        if self.defect is None:
            return None
        return self.defect / jnp.where(self.scale > 0, self.scale, 1)


class Monitor(eqx.Module):
    """Largest residuals at step ends, as the stepper left them and after stabilisation, and the energy's range."""

    stepped: Residual | None
    settled: Residual | None
    energy: EnergyRange | None

    def including(self, stepped: Residual | None, settled: Residual | None, energy: EnergyRange | None) -> "Monitor":
        return Monitor(_larger(self.stepped, stepped), _larger(self.settled, settled), energy)


def first_reading(law: AbstractLaw, t: Array, y: Augmented, args: PyTree) -> Monitor:
    """The monitor at the start of a run."""
    law, y, args = observed((law, y, args))
    residual = law.residual(t, y.state, args)
    energy = law.energy(t, y.state, args)
    if energy is None:
        return Monitor(residual, residual, None)
    return Monitor(residual, residual, EnergyRange(energy, energy, energy, None if y.work is None else y.work * 0))


def reading(
    monitor: Monitor, law: AbstractLaw, t: Array, y: Augmented, args: PyTree, stepped: Residual | None
) -> Monitor:
    """The monitor after a step that ended, stabilised, in y; `stepped` is the residual before, None: the same.

    The residual of a law that cannot drift is read at the start alone: it costs a forward pass to see a zero.
    """
    law, y, args = observed((law, y, args))
    settled = law.residual(t, y.state, args) if law.drifts else None
    energy = monitor.energy
    if energy is not None:
        energy = energy.including(law.energy(t, y.state, args), y.work)
    return monitor.including(settled if stepped is None else stepped, settled, energy)


def observed(tree: PyTree) -> PyTree:
    """The same values, out of the derivative: watching a run must neither cost nor change its gradient."""
    arrays, rest = eqx.partition(tree, eqx.is_array)
    return eqx.combine(lax.stop_gradient(arrays), rest)


def _larger(largest: Residual | None, new: Residual | None) -> Residual | None:
    if largest is None or new is None:
        return largest
    return Residual(jnp.maximum(largest.position, new.position), jnp.maximum(largest.velocity, new.velocity))
