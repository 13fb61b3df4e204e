"""Backpropagation as the degenerate multipliers, T δ = −V_x, (16) and (17), and how closely a gradient matches it."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import is_concrete, tree_scale
from lagrangian_learning.networks import AbstractNetwork

from .potential import AbstractPotential


def potential_gradient(network: AbstractNetwork, potential: AbstractPotential, x: PyTree, y: Any) -> PyTree:
    """V_x, like x: the gradient of V(x_out, y) with respect to all neurons.

    Arguments:
        network: any network.
        potential: V(x_out, y).
        x: its neurons.
        y: the target.
    """
    return jax.grad(lambda neurons: potential(network.output(neurons), y))(x)


def delta_errors(network: AbstractNetwork, potential: AbstractPotential, x: PyTree, W: PyTree, y: Any) -> PyTree:
    """δ = −T⁻¹ V_x, T = G_ξᵀ: the multipliers of (16), (17) by one adjoint sweep, like x.

    δ_j is −dV/dx_j with everything downstream of neuron j following: the delta error of backpropagation, after the
    activation (before it, it is −∂V/∂a_j = σ′(a_j) δ_j).

    Arguments:
        network: any network.
        potential: V(x_out, y).
        x, W: neurons and weights of the network;  y: the target.

    Raises ValueError when x or W does not look like the neurons or weights of the network.
    """
    try:
        return network.solve_backward(x, W, tree_scale(-1, potential_gradient(network, potential, x, y)))
    except (IndexError, TypeError, ValueError):
        _check_shapes(network, x, W)  # asked late: lists serve as well as tuples
        raise


def _check_shapes(network: AbstractNetwork, x: PyTree, W: PyTree) -> None:
    """ValueError unless x and W have structure, shapes and dtypes of a network's; their values may be traced."""
    blank = jax.tree.map(lambda leaf: np.broadcast_to(np.zeros((), jnp.result_type(leaf)), np.shape(leaf)), (x, W))
    network.check_neurons(blank[0])
    network.check_weights(blank[1])


def descent_force(network: AbstractNetwork, x: PyTree, W: PyTree, delta: PyTree) -> PyTree:
    """−G_Mᵀ δ = σ′(a_i) δ_i x_j, like W: with the δ of `delta_errors` it is −∂V/∂W.

    The right side of (15) times γ, in the sign that descends; the paper prints the other (docs/theory.md §9).

    Arguments:
        network: any network.
        x, W: its neurons and weights.
        delta: multipliers, like x.
    """
    return tree_scale(-1, network.linearised(x, W).weight_vjp(delta))


def loss(network: AbstractNetwork, potential: AbstractPotential, W: PyTree, u: Array, y: Any) -> Array:
    """V(f(W, u), y), the potential of (12) as a function of the weights.

    Arguments:
        network: any network.
        potential: V(x_out, y).
        W: weights.
        u: an input, of the network's input_shape.
        y: the target.
    """
    return potential(network.output(network.forward(W, u)), y)


class Fidelity(eqx.Module):
    """Cosine and norm ratio |gradient|/|reference|, one entry a layer; prints as a table.

    cosine: [layers].
    norm_ratio: [layers].

    A layer in which either is zero has cosine NaN: there is no direction to compare.
    """

    cosine: Float[Array, " layers"]
    norm_ratio: Float[Array, " layers"]

    def __str__(self) -> str:
        if not is_concrete(self.cosine) or self.cosine.ndim != 1:
            return f"Fidelity(cosine={self.cosine}, norm_ratio={self.norm_ratio})"
        rows = zip(np.asarray(self.cosine), np.asarray(self.norm_ratio), strict=True)
        lines = [f"{layer:>5}  {cosine:>10.6f}  {ratio:>10.6f}" for layer, (cosine, ratio) in enumerate(rows)]
        return "\n".join(["layer      cosine  norm ratio", *lines])


def fidelity(gradient: PyTree, reference: PyTree) -> Fidelity:
    """cos(g, g*) = g·g*/(|g||g*|) and |g|/|g*|, layer by layer: leaf by leaf of two pytrees of one structure.

    Compare like with like: gradients with gradients (+∂V/∂W), multipliers with multipliers (δ = −dV/dx after the
    activation). A leaf is taken as one long vector, so that a record [T, n] is compared over all its times.

    Arguments:
        gradient: a pytree of arrays, a leaf a layer.
        reference: one of the same structure and shapes.

    Raises ValueError when structures or shapes differ.
    """
    shapes = [jax.tree.map(jnp.shape, tree) for tree in (gradient, reference)]
    if jax.tree.structure(gradient) != jax.tree.structure(reference) or shapes[0] != shapes[1]:
        raise ValueError(f"fidelity compares like with like: the shapes are {shapes[0]} and {shapes[1]}.")
    pairs = zip(jax.tree.leaves(gradient), jax.tree.leaves(reference), strict=True)
    cosines, ratios = zip(*(_compare(jnp.ravel(g), jnp.ravel(r)) for g, r in pairs), strict=True)
    return Fidelity(jnp.stack(cosines), jnp.stack(ratios))


def _compare(g: Array, r: Array) -> tuple[Array, Array]:
    g_norm, r_norm = jnp.linalg.norm(g), jnp.linalg.norm(r)
    return jnp.vdot(g, r) / (g_norm * r_norm), g_norm / r_norm
