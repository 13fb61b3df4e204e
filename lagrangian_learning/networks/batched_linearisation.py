"""The constraints of a batch of examples linearised, for networks that take one example at a time."""

import jax
from jaxtyping import PyTree

from .linearisation import AbstractLinearisation


class BatchedLinearisation(AbstractLinearisation):
    """One linearisation an example: G_ξ is block diagonal by example, and G_M stacks the examples over one W.

    `each` has a batch axis before all its arrays; W are the weights that the examples share.
    """

    each: AbstractLinearisation
    W: PyTree

    def forward(self, r: PyTree) -> PyTree:
        return jax.vmap(lambda one, r_b: one.forward(r_b))(self.each, r)

    def backward(self, r: PyTree) -> PyTree:
        return jax.vmap(lambda one, r_b: one.backward(r_b))(self.each, r)

    def gram(self, delta: PyTree) -> PyTree:
        return self.weight_jvp(self.weight_vjp(delta))

    def weight_jvp(self, dW: PyTree) -> PyTree:
        return jax.vmap(lambda one: one.weight_jvp(dW))(self.each)

    def weight_vjp(self, delta: PyTree) -> PyTree:
        # The transpose of the batched product; a vmap of `weight_vjp` would hold one gradient an example, and then sum.
        return jax.linear_transpose(self.weight_jvp, self.W)(delta)[0]
