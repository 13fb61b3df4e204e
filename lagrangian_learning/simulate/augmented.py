"""The pytree that is integrated: the state of a law, and beside it the work ∫ power dt of its energy balance."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning.mechanics.law import AbstractLaw


class Augmented(eqx.Module):
    """A law's state and the work done since the start; work is None where the law tells no power."""

    state: PyTree
    work: Float[Array, ""] | None


class AugmentedField(eqx.Module):
    """(d state/dt, power): one evaluation of the law gives both."""

    law: AbstractLaw

    def __call__(self, t: Any, y: Augmented, args: PyTree) -> Augmented:
        rates = self.law.rates(t, y.state, args)
        return Augmented(rates.state, rates.power)


def law_of(terms: Any) -> AbstractLaw:
    """The law inside the terms that a solver or controller is given, however Diffrax has wrapped them."""
    return unwrapped(terms).vector_field.law


def unwrapped(terms: Any) -> diffrax.ODETerm:
    """The ODETerm inside Diffrax's own wrapper for the direction of time; ours is always forward."""
    return terms if isinstance(terms, diffrax.ODETerm) else terms.term


def start_of(law: AbstractLaw, t0: Array, state: PyTree, args: PyTree) -> Augmented:
    """The augmented start. ValueError where the law's rates do not look like its state."""
    rates = eqx.filter_eval_shape(law.rates, t0, state, args)
    if _shapes(rates.state) != _shapes(state):
        raise ValueError(
            f"the law's rates do not look like its state: rates {_shapes(rates.state)}, state {_shapes(state)}. "
            "Make the state by law.initial_state, and check the dtypes of the law's constants and of the stimulus."
        )
    return Augmented(state, None if rates.power is None else jnp.zeros((), rates.power.dtype))


def _shapes(tree: PyTree) -> PyTree:
    """Shapes and dtypes alone: on a mesh a shape also tells where it lies."""
    shapes = eqx.filter_eval_shape(lambda leaves: leaves, tree)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), shapes)
