"""A small model that optimisers are tested on, and its loss on a signal."""

import equinox as eqx
import jax.numpy as jnp


def model(key):
    return eqx.nn.MLP(2, 1, 4, 1, activation=jnp.tanh, key=key)


def loss(model, t):
    inputs = jnp.stack([jnp.sin(t), jnp.cos(2 * t)])
    return (model(inputs)[0] - jnp.sin(3 * t)) ** 2
