"""Kinks: times at which a force or a signal jumps, so that no step reaches over one."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from lagrangian_learning._arrays import is_concrete
from lagrangian_learning._checks import require


class Kinks(eqx.Module):
    """Times at which steps end one rounding before, and begin one rounding after: no rate is read at the jump itself.

    times: sorted; those outside the run, or at its ends, are NaN.
    """

    times: Float[Array, " kinks"]

    @property
    def before(self) -> Float[Array, " kinks"]:
        """The last times before the kinks."""
        return jnp.nextafter(self.times, jnp.full_like(self.times, -jnp.inf))

    def stops(self, times: Float[Array, " times"]) -> Float[Array, " stops"]:
        """Saved times and those before kinks, sorted; what is no time is the end again."""
        before = jnp.where(jnp.isnan(self.times), times[-1], self.before)
        return jnp.sort(jnp.concatenate([times, before]))

    def passed(self, t: Float[Array, ""]) -> tuple[Float[Array, ""], Bool[Array, ""]]:
        """Where the step after t begins, and whether there was a kink in between."""
        here = t == self.before
        after = jnp.nextafter(self.times, jnp.full_like(self.times, jnp.inf))
        return jnp.where(jnp.any(here), jnp.max(jnp.where(here, after, -jnp.inf)), t), jnp.any(here)


def checked_kinks(kinks: Any, times: Float[Array, " times"], *, apart: bool) -> Kinks | None:
    """The kinks of a run over these times; ValueError for what is no row of times.

    apart: of the saved times only one may be as near to a kink as rounding.
    """
    if kinks is None:
        return None
    if not is_concrete(kinks):
        raise ValueError("kinks must be known when the run is traced: give numbers or a NumPy array.")
    row = np.atleast_1d(np.asarray(kinks))
    if row.ndim != 1 or row.dtype.kind not in "fiu" or not np.isfinite(row).all():
        raise ValueError("kinks must be finite times, one number or a row of them, at which a force or signal jumps.")
    if row.size == 0:
        return None
    with np.errstate(over="ignore"):
        at = jnp.asarray(np.sort(row).astype(times.dtype))
    inside = jnp.where((at > times[0]) & (at < times[-1]), at, jnp.nan)
    if not apart:
        return Kinks(inside)
    xp = np if is_concrete(times) else jnp
    near = xp.abs(xp.asarray(times)[:, None] - xp.asarray(inside)) <= 2 * np.finfo(times.dtype).eps * xp.abs(inside)
    message = (
        "two saved times are as near to one kink as rounding, and it is crossed at once: leave one of them out, or "
        "give adjoint=diffrax.RecursiveCheckpointAdjoint()."
    )
    return Kinks(require(inside, xp.sum(near, axis=0) <= 1, message))
