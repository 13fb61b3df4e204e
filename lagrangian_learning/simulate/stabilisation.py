"""What keeps a law on its constraints: projection, Baumgarte's method, the stepper itself, or nothing."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import cast, held, max_abs
from lagrangian_learning._checks import positive, shown
from lagrangian_learning.mechanics.law import AbstractLaw

DRIFT_LIMIT = 0.01  # of the largest entry of the state: what drifts further is no motion of the system any more


class Accuracy(eqx.Module):
    """How far a projected state may be from its constraints: a tenth of the error that its step may have.

    rtol, atol: of adaptive steps; None: constant steps, whose states are projected to rounding.
    """

    rtol: PyTree
    atol: PyTree

    def allowed(self, before: PyTree, after: PyTree, reach: PyTree) -> PyTree:
        """The largest last update of the projection; reach: the largest |entry| of the run so far, leaf by leaf."""
        if self.rtol is None:
            return jax.tree.map(jnp.full_like, after, rounding_of_sizes(reach))

        def of_leaf(start: Array, end: Array, most: Array) -> Array:
            size = jnp.maximum(jnp.abs(start), jnp.abs(end))
            rounding = 16 * jnp.finfo(end.dtype).eps * most
            return (cast(self.atol, end) + cast(self.rtol, end) * size) / 10 + rounding

        return lax.stop_gradient(jax.tree.map(of_leaf, before, after, reach))


def has_drifted(law: AbstractLaw, t: Array, state: PyTree, args: PyTree) -> Array:
    """Whether a state that nothing projects is off its constraints by over a hundredth of its size, or out of reach."""
    law, state, args = held((law, state, args))
    constraints = law.constrained_part
    assert constraints is not None
    projected, converged = constraints.project(t, state, args)
    distance = max_abs(jax.tree.map(jnp.subtract, projected, state))
    return ~converged | ~(distance <= DRIFT_LIMIT * max_abs(state))


def reach_of(state: PyTree) -> PyTree:
    """The largest |entry| of each leaf."""
    return jax.tree.map(lambda leaf: lax.stop_gradient(jnp.max(jnp.abs(leaf), initial=0)), state)


def rounding_of_sizes(reach: PyTree) -> PyTree:
    """What may be called rounding of leaves of these sizes: eps^¾ of each, and eps of the largest, for what is zero."""
    largest = max_abs(reach)
    eps = jnp.finfo(largest.dtype).eps
    return jax.tree.map(lambda size: eps**0.75 * size + 8 * eps * largest, reach)


def _limit(value: Any) -> Array | None:
    return None if value is None else positive(value, "drift_limit")


def _gain(name: str) -> Callable[[Any], Array]:
    return lambda value: positive(value, name, "it is a gain of Baumgarte's method.")


class AbstractStabilisation(eqx.Module):
    """A way to keep G = 0.

    drift_limit: the run ends as `constraint_drift` once max|G| after a step exceeds it; None: no bound.
    projects: the state is projected after each step. corrects: the law or the state is changed at all.
    description: how the printed trajectory calls it.
    """

    drift_limit: eqx.AbstractVar[Float[Array, ""] | None]
    projects: eqx.AbstractClassVar[bool]
    corrects: eqx.AbstractClassVar[bool]
    description: eqx.AbstractClassVar[str]

    @property
    def drifts(self) -> bool:
        """Whether a state may end off its constraints."""
        return not self.projects and not isinstance(self, KeptByStepper)

    @abc.abstractmethod
    def stabilised(self, law: AbstractLaw) -> AbstractLaw:
        """The law that is integrated."""

    def limit(self, dtype: Any) -> Float[Array, ""] | None:
        """The drift limit in the dtype of the state."""
        return None if self.drift_limit is None else jnp.asarray(self.drift_limit).astype(dtype)


class Projection(AbstractStabilisation):
    """After each step G = 0 and then DG = 0 are restored, orthogonally in the mass metric (Hairer, Lubich and Wanner,
    Geometric Numerical Integration, IV.4).

    Keeps the order of the stepper. Saved times are step ends, since interpolation between projected steps drifts.

    Arguments:
        drift_limit: the largest max|G| that a step may leave to the projection; None: no bound.
    """

    drift_limit: Float[Array, ""] | None = eqx.field(converter=_limit, default=None)
    projects: ClassVar[bool] = True
    corrects: ClassVar[bool] = True
    description: ClassVar[str] = "projection after each step"

    def stabilised(self, law: AbstractLaw) -> AbstractLaw:
        return law


class Baumgarte(AbstractStabilisation):
    """D²G + 2α DG + β² G = 0 in place of D²G = 0 (Baumgarte 1972): the residual decays at a rate of about α.

    α = β is critical damping. Gains much above the inverse step make the law stiff.

    Arguments:
        alpha: α > 0, in 1/time.
        beta: β > 0, in 1/time.
        drift_limit: the run ends as `constraint_drift` once max|G| exceeds it; None: no bound.
    """

    alpha: Float[Array, ""] = eqx.field(converter=_gain("alpha"))
    beta: Float[Array, ""] = eqx.field(converter=_gain("beta"))
    drift_limit: Float[Array, ""] | None = eqx.field(converter=_limit, default=None)
    projects: ClassVar[bool] = False
    corrects: ClassVar[bool] = True
    description: ClassVar[str] = "Baumgarte's method"

    def stabilised(self, law: AbstractLaw) -> AbstractLaw:
        constraints = law.constrained_part
        return law if constraints is None else constraints.baumgarte(self.alpha, self.beta)


class NoStabilisation(AbstractStabilisation):
    """Nothing: the residual is only recorded, and grows with time for a law with constraints.

    A run that ends over a hundredth of its size off the constraints, or where they cannot be reached, is a
    `constraint_drift`; so is one by Baumgarte's method. Where branches of a mechanism meet it may change to another.

    Arguments:
        drift_limit: the run ends as `constraint_drift` once max|G| exceeds it; None: no bound.
    """

    drift_limit: Float[Array, ""] | None = eqx.field(converter=_limit, default=None)
    projects: ClassVar[bool] = False
    corrects: ClassVar[bool] = False
    description: ClassVar[str] = "no stabilisation"

    def stabilised(self, law: AbstractLaw) -> AbstractLaw:
        return law


class KeptByStepper(AbstractStabilisation):
    """The stepper itself ends each step on the constraints, to rounding."""

    drift_limit: Float[Array, ""] | None = None
    projects: ClassVar[bool] = False
    corrects: ClassVar[bool] = False
    description: ClassVar[str] = "constraints kept by the stepper"

    def stabilised(self, law: AbstractLaw) -> AbstractLaw:
        return law


_REMEDIES = {
    "projection": "use ll.Projection(), or leave it out: None projects wherever the law can drift",
    "none": "use ll.NoStabilisation()",
    "baumgarte": "use ll.Baumgarte(alpha, beta), with its gains",
}


def resolve(stabilisation: Any, *, drifts: bool, kept_by_stepper: bool) -> AbstractStabilisation:
    """The stabilisation of a run; None: projection where the law drifts and the stepper does not keep it.

    ValueError for names, laws and steppers that do not fit.
    """
    if stabilisation is None:
        if kept_by_stepper:
            return KeptByStepper()
        return Projection() if drifts else NoStabilisation()
    if not isinstance(stabilisation, AbstractStabilisation):
        remedy = _REMEDIES.get(stabilisation, "") if isinstance(stabilisation, str) else ""
        raise ValueError(
            "stabilisation must be ll.Projection(), ll.Baumgarte(alpha, beta) or ll.NoStabilisation(), "
            f"got {shown(stabilisation)}{': ' + remedy if remedy else ''}."
        )
    if stabilisation.corrects and kept_by_stepper:
        raise ValueError(
            "this stepper (ll.Rattle) keeps the constraints itself, and would no longer be symplectic after a "
            "projection: leave stabilisation out."
        )
    if stabilisation.corrects and not drifts:
        raise ValueError(
            "this law cannot drift (it has no constraints, or is integrated in reduced coordinates): leave "
            "stabilisation out."
        )
    return stabilisation
