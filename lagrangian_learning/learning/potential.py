"""Potentials V(x_out, y) on the outputs, and further terms of an action, weight decay among them."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import Function, cast, tree_dot
from lagrangian_learning._checks import flag, function, module_named, nonnegative, one_of, real_result

_ONE_EACH = "give one target value an output neuron; of a label k of n its code, ll.data.label_codes(n)[k]."


class AbstractPotential(eqx.Module):
    """V(x_out, y), a scalar; F = −ϖV in the paper's reductions, (12)–(17)."""

    @abc.abstractmethod
    def __call__(self, x_out: Float[Array, "..."], y: Any) -> Float[Array, ""]:
        """The loss of outputs x_out, of the network's output_shape as [num_outputs], against a target y."""


class SquaredError(AbstractPotential):
    """V = ½ Σ_i (x_i − y_i)²: the loss of (12), the sum over a batch if outputs have one.

    Raises ValueError when outputs and target differ in shape.
    """

    def __call__(self, x_out: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, ""]:
        _same_shape(x_out, y, _ONE_EACH)
        return jnp.sum((x_out - (cast(y, x_out) if jnp.issubdtype(jnp.result_type(y), jnp.integer) else y)) ** 2) / 2


class CrossEntropy(AbstractPotential):
    """V = Σ_i y_i (logsumexp(x) − x_i): cross entropy of the softmax of the outputs, y a distribution over them.

    Use it with output_activation="identity". The softmax is over the last axis, and V the sum over all before it.
    Raises ValueError when outputs and target differ in shape.
    """

    def __call__(self, x_out: Float[Array, "*batch outputs"], y: Float[Array, "*batch outputs"]) -> Float[Array, ""]:
        _same_shape(x_out, y, "give a distribution over the outputs; a label k is one-hot, jax.nn.one_hot(k, outputs).")
        return -jnp.sum(y * jax.nn.log_softmax(x_out))


class FunctionPotential(AbstractPotential):
    """Any callable fn(x_out, y) -> scalar as a potential."""

    fn: Callable[..., Array]

    def __call__(self, x_out: Float[Array, "..."], y: Any) -> Float[Array, ""]:
        value = real_result(self.fn(x_out, y), "the potential", x_out.dtype)
        if value.shape != ():
            raise ValueError(f"a potential must return a scalar, got shape {value.shape}: sum over the outputs.")
        return value


def as_potential(potential: Callable[..., Array]) -> AbstractPotential:
    """A potential as it is; any other callable of (x_out, y) wrapped."""
    if isinstance(potential, AbstractPotential):
        return potential
    if isinstance(potential, type):
        raise ValueError(f"potential is the class {potential.__name__}: make one, {potential.__name__}().")
    function(potential, "potential", "it is V(x_out, y), such as ll.SquaredError().")
    return FunctionPotential(Function(potential) if jax.tree_util.all_leaves([potential]) else potential)


class BatchSum(AbstractPotential):
    """V = Σ_b V₁(x_b, y_b): a potential of one example, summed over the batch of an `ll.Batched`.

    The target has a batch axis [B, …] before every array. Raises ValueError when the batches differ.
    """

    potential: AbstractPotential = eqx.field(converter=as_potential)

    def __call__(self, x_out: Float[Array, "batch ..."], y: Any) -> Float[Array, ""]:
        return jnp.sum(_each(self.potential, x_out, y))


class BatchMean(AbstractPotential):
    """V = (1/B) Σ_b V₁(x_b, y_b): the mean, as mini-batches are used to; otherwise as `BatchSum`.

    V_ξ is then smaller by 1/B, and so is the part of the multipliers that comes from it; m_x is still the mass of every
    neuron of every example.
    """

    potential: AbstractPotential = eqx.field(converter=as_potential)

    def __call__(self, x_out: Float[Array, "batch ..."], y: Any) -> Float[Array, ""]:
        return jnp.mean(_each(self.potential, x_out, y))


class Term(eqx.Module):
    """A further term F(t, x, ẋ, ẍ, W, Ẇ, Ẅ, args) of the action (5).

    Arguments:
        fn: takes (t, x, x_dot, x_ddot, W, W_dot, W_ddot, args) and returns a scalar, which is added to the action.
            x_ddot and W_ddot are None unless order is 2; x_dot and W_dot are None when order is 0.
        order: the highest derivative that fn uses: 0, 1 or 2. A term of order 0 leaves the inertia of the action alone,
            so that the structured multiplier solvers keep working.
        weighted: whether F stands inside the weight ϖ (∫ F ϖ dt) or, as printed in (5), outside it (∫ F dt).
    """

    fn: Callable[..., Array] = eqx.field(converter=module_named("fn"))
    order: int = eqx.field(static=True, default=1)
    weighted: bool = eqx.field(static=True, default=False)

    def __check_init__(self) -> None:
        one_of(self.order, "order", (0, 1, 2), "the highest derivative that fn uses.")
        flag(self.weighted, "weighted")

    def __call__(self, t: Array, jet: tuple[PyTree, ...], args: PyTree) -> Float[Array, ""]:
        """F on the jet ((x, W), (ẋ, Ẇ)[, (ẍ, Ẅ)])."""
        known = [jet[k] if k <= self.order else (None, None) for k in range(3)]
        (x, W), (x_dot, W_dot), (x_ddot, W_ddot) = known
        return real_result(self.fn(t, x, x_dot, x_ddot, W, W_dot, W_ddot, args), "fn of a term", t.dtype)


class _Decay(eqx.Module):
    rate: Array

    def __call__(self, t: Array, x: Any, x_dot: Any, x_ddot: Any, W: PyTree, *_: Any) -> Array:
        return -cast(self.rate, W) * tree_dot(W, W) / 2


def WeightDecay(rate: Any) -> Term:
    """Weight decay as a potential on W: the term −½ κ |W|² inside the weight, κ = rate ≥ 0, for `terms=`.

    Arguments:
        rate: κ ≥ 0, in units of V over W².

    Raises ValueError for a negative rate.
    """
    return Term(_Decay(nonnegative(rate, "rate")), order=0, weighted=True)


def _each(potential: AbstractPotential, x_out: Array, y: Any) -> Float[Array, " batch"]:
    batches = [jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(y)]
    if jnp.ndim(x_out) == 0 or any(batch != x_out.shape[:1] for batch in batches):
        raise ValueError(
            f"outputs have shape {jnp.shape(x_out)} and the target {jax.tree.map(jnp.shape, y)}: a potential of a "
            "batch needs one first axis for both, one entry an example."
        )
    return jax.vmap(potential)(x_out, y)


def _same_shape(x_out: Array, y: Array, remedy: str) -> None:
    if jnp.shape(x_out) != jnp.shape(y):
        raise ValueError(f"outputs have shape {jnp.shape(x_out)} and the target {jnp.shape(y)}: {remedy}")
