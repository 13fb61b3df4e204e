"""What the cognitive action is compared with: backpropagation as everyone writes it, by JAX and Optax alone."""

import functools

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree


def respond(W: PyTree, u: Array, nudges: tuple[Array, ...] | None = None) -> Float[Array, " outputs"]:
    """The output of a tanh network with weights W = (matrix, …); nudges are added to every layer, input layer first."""
    x = u if nudges is None else u + nudges[0]
    for level, matrix in enumerate(W, start=1):
        x = jnp.tanh(matrix @ x)
        x = x if nudges is None else x + nudges[level]
    return x


def squared_error(W: PyTree, u: Array, y: Array) -> tuple[Array, Array]:
    """½ |output − y|², and the output."""
    output = respond(W, u)
    return jnp.sum((output - y) ** 2) / 2, output


def delta_errors(W: PyTree, u: Array, y: Array) -> tuple[Array, ...]:
    """Backpropagation's δ = −∂V/∂x of every neuron, after its activation; one array a layer, input layer first."""
    nudges = (jnp.zeros_like(u), *(jnp.zeros_like(matrix[:, 0]) for matrix in W))
    slopes = jax.grad(lambda nudges: jnp.sum((respond(W, u, nudges) - y) ** 2) / 2)(nudges)
    return tuple(-slope for slope in slopes)


@functools.partial(jax.jit, static_argnames="rate")
def backprop(W: PyTree, inputs: Array, targets: Array, rate: float) -> tuple[PyTree, Float[Array, "frames outputs"]]:
    """Online stochastic gradient descent, one frame a step, in the order given.

    Returns the weights at the end, and the output at each frame before it was learned from.
    """
    optimiser = optax.sgd(rate)

    def step(carry: tuple[PyTree, PyTree], frame: tuple[Array, Array]) -> tuple[tuple[PyTree, PyTree], Array]:
        W, memory = carry
        gradient, output = jax.grad(squared_error, has_aux=True)(W, *frame)
        change, memory = optimiser.update(gradient, memory)
        return (optax.apply_updates(W, change), memory), output

    (W, _), outputs = jax.lax.scan(step, (W, optimiser.init(W)), (inputs, targets))
    return W, outputs
