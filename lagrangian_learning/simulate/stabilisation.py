"""What keeps a drifting law on its constraints: projection, Baumgarte's method, or nothing."""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from lagrangian_learning._arrays import as_constant
from lagrangian_learning._checks import require
from lagrangian_learning.mechanics.law import AbstractLaw
from lagrangian_learning.steppers.rattle import Rattle


def _optional_constant(value: Any) -> Array | None:
    return None if value is None else _positive(value, "drift_limit")


def _positive(value: Any, name: str) -> Array:
    constant = as_constant(value)
    if constant.ndim:
        raise ValueError(f"{name} must be one number, got shape {constant.shape}.")
    return require(constant, constant > 0, f"{name} must be positive.")


def _gain(value: Any) -> Array:
    return _positive(value, "a gain of Baumgarte's method")


class AbstractStabilisation(eqx.Module):
    """A way to keep G = 0. drift_limit: the run ends as `constraint_drift` once max|G| after a step exceeds it."""

    drift_limit: eqx.AbstractVar[Float[Array, ""] | None]

    @abc.abstractmethod
    def stabilised(self, law: AbstractLaw) -> AbstractLaw:
        """The law that is integrated."""

    @property
    @abc.abstractmethod
    def description(self) -> str:
        """How the printed trajectory calls it."""


class Projection(AbstractStabilisation):
    """After each step G = 0 and then DG = 0 are restored, orthogonally in the mass metric (Hairer, Lubich and Wanner,
    Geometric Numerical Integration, IV.4).

    Keeps the order of the stepper. Saved times are step ends, since interpolation between projected steps drifts.
    drift_limit bounds the residual that a step may leave to the projection; None: no bound.
    """

    drift_limit: Float[Array, ""] | None = eqx.field(converter=_optional_constant, default=None)

    def stabilised(self, law: AbstractLaw) -> AbstractLaw:
        return law

    @property
    def description(self) -> str:
        return "projection after each step"


class Baumgarte(AbstractStabilisation):
    """D²G + 2α DG + β² G = 0 in place of D²G = 0 (Baumgarte 1972): the residual decays at a rate of about α.

    α = β is critical damping. Gains much above the inverse step make the law stiff.
    """

    alpha: Float[Array, ""] = eqx.field(converter=_gain)
    beta: Float[Array, ""] = eqx.field(converter=_gain)
    drift_limit: Float[Array, ""] | None = eqx.field(converter=_optional_constant, default=None)

    def stabilised(self, law: AbstractLaw) -> AbstractLaw:
        return law.baumgarte(self.alpha, self.beta)

    @property
    def description(self) -> str:
        return "Baumgarte's method"


class NoStabilisation(AbstractStabilisation):
    """Nothing: the residual is only recorded, and grows with time for a law that drifts."""

    drift_limit: Float[Array, ""] | None = eqx.field(converter=_optional_constant, default=None)

    def stabilised(self, law: AbstractLaw) -> AbstractLaw:
        return law

    @property
    def description(self) -> str:
        return "no stabilisation"


class KeptByStepper(AbstractStabilisation):
    """The stepper itself ends each step on the constraints, to rounding."""

    drift_limit: Float[Array, ""] | None = None

    def stabilised(self, law: AbstractLaw) -> AbstractLaw:
        return law

    @property
    def description(self) -> str:
        return "constraints kept by the stepper"


def resolve(stabilisation: Any, law: AbstractLaw, solver: Any = None) -> AbstractStabilisation:
    """The stabilisation meant; None: projection where the law drifts and the stepper lets it.

    ValueError for names, laws and steppers that do not fit.
    """
    if isinstance(solver, Rattle):
        return _beside_rattle(stabilisation)
    if stabilisation is None:
        return Projection() if law.drifts else NoStabilisation()
    if isinstance(stabilisation, str):
        stabilisation = _named(stabilisation)
    if not isinstance(stabilisation, AbstractStabilisation):
        raise ValueError(
            f"stabilisation must be ll.Projection(), ll.Baumgarte(alpha, beta) or ll.NoStabilisation(), "
            f"got {stabilisation!r}."
        )
    if not law.drifts and not isinstance(stabilisation, NoStabilisation):
        raise ValueError(
            "this law cannot drift (it has no constraints, or is integrated in reduced coordinates): leave "
            "stabilisation out."
        )
    return stabilisation


def _beside_rattle(stabilisation: Any) -> AbstractStabilisation:
    if stabilisation is None or stabilisation == "none":
        return KeptByStepper()
    if isinstance(stabilisation, NoStabilisation):
        return stabilisation
    raise ValueError(
        "ll.Rattle keeps the constraints itself, and would no longer be symplectic after a projection: leave "
        "stabilisation out."
    )


def _named(name: str) -> AbstractStabilisation:
    if name == "baumgarte":
        raise ValueError("Baumgarte's method needs its gains: stabilisation=ll.Baumgarte(alpha, beta).")
    if name not in ("projection", "none"):
        raise ValueError(
            f'stabilisation must be "projection", "none" or an object such as ll.Projection(), got {name!r}.'
        )
    return Projection() if name == "projection" else NoStabilisation()


def as_limit(stabilisation: AbstractStabilisation, dtype: Any) -> Float[Array, ""] | None:
    """The drift limit in the dtype of the state."""
    limit = stabilisation.drift_limit
    return None if limit is None else jnp.asarray(limit).astype(dtype)
