"""G_xi and G_M by automatic differentiation: products, and dense matrices for tests and guards."""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from .network import AbstractNetwork


def _at_rest(network: AbstractNetwork, x: PyTree) -> Array:
    # G is affine in u with a constant slope, so that Jacobians do not depend on u.
    return jnp.zeros(network.input_shape, jax.tree.leaves(x)[0].dtype)


def weight_jvp(network: AbstractNetwork, x: PyTree, W: PyTree, dW: PyTree) -> PyTree:
    """G_M dW, with the structure of x: how the constraints (4) change when W moves along dW and x is held.

    Arguments:
        network: any network.
        x, W: its neurons and weights.
        dW: a direction, like W.
    """
    u = _at_rest(network, x)
    return jax.jvp(lambda weights: network.constraint(x, weights, u), (W,), (dW,))[1]


def weight_vjp(network: AbstractNetwork, x: PyTree, W: PyTree, delta: PyTree) -> PyTree:
    """G_M^T delta, with the structure of W: the generalised force of the multipliers delta on the weights.

    Arguments:
        network: any network.
        x, W: its neurons and weights.
        delta: multipliers, like x.
    """
    u = _at_rest(network, x)
    (force,) = jax.vjp(lambda weights: network.constraint(x, weights, u), W)[1](delta)
    return force


def weight_gram_matrix(network: AbstractNetwork, x: PyTree, W: PyTree) -> Float[Array, "num_neurons num_neurons"]:
    """Dense G_M G_M^T in the raveled order of x; by products with basis vectors where weights are shared.

    Arguments:
        network: any network.
        x, W: its neurons and weights.
    """
    if not network.shares_weights:
        return jnp.diag(ravel_pytree(network.weight_gram(x, W))[0])
    flat, unravel = ravel_pytree(x)
    linearised = network.linearised(x, W)
    basis = jnp.eye(flat.size, dtype=flat.dtype)
    return jax.lax.map(lambda e: ravel_pytree(linearised.gram(unravel(e)))[0], basis)


def state_jacobian(network: AbstractNetwork, x: PyTree, W: PyTree) -> Float[Array, "num_neurons num_neurons"]:
    """Dense G_xi[j, i] = dG_j/dx_i, rows are constraints, in the raveled order of x (inputs first).

    Arguments:
        network: any network.
        x, W: its neurons and weights.
    """
    flat, unravel = ravel_pytree(x)
    u = _at_rest(network, x)
    return jax.jacfwd(lambda xi: ravel_pytree(network.constraint(unravel(xi), W, u))[0])(flat)


def weight_jacobian(network: AbstractNetwork, x: PyTree, W: PyTree) -> Float[Array, "num_neurons num_weights"]:
    """Dense G_M[j, m] = dG_j/dw_m, rows are constraints, in the raveled orders of x and W.

    Arguments:
        network: any network.
        x, W: its neurons and weights.
    """
    flat, unravel = ravel_pytree(W)
    u = _at_rest(network, x)
    return jax.jacfwd(lambda weights: ravel_pytree(network.constraint(x, unravel(weights), u))[0])(flat)
