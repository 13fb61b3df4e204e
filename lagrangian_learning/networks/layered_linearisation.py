"""The constraints of a layered network linearised: sweeps layer by layer, of one example or of a batch."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import matmul

from .affine import Matrix, Values, activity, activity_transpose, matrix_of, times, transpose_times
from .gram_kernel import gram_kernel
from .linearisation import AbstractLinearisation

Layers = tuple[Values, ...]


class LayeredLinearisation(AbstractLinearisation):
    """G_ξ is block bidiagonal with blocks −σ′(a_l) W_l: a sweep goes once over the layers.

    x, r and δ are those of one example, or have a batch axis first: G_ξ is then block diagonal by example, and the
    examples share W, so that

        (G_M G_Mᵀ δ)_l = s_l (K_l (s_l δ_l)),   K_l = x_{l−1} x_{l−1}ᵀ [+ 1 with a bias],   s_l = σ′(a_l).

    K_l is a number for one example, whose G_M G_Mᵀ is diagonal, and [B, B] for a batch; None where products with
    x_{l−1} are cheaper.
    """

    x: Layers
    slopes: Layers
    matrices: tuple[Matrix, ...]
    kernels: tuple[Float[Array, "..."] | None, ...]
    bias: bool = eqx.field(static=True)

    def forward(self, r: Layers) -> Layers:
        y = [r[0]]
        for s, matrix, r_l in zip(self.slopes, self.matrices, r[1:], strict=True):
            y.append(r_l + s * times(matrix, y[-1]))
        return tuple(y)

    def backward(self, r: Layers) -> Layers:
        y = [r[-1]]
        for s, matrix, r_l in reversed(tuple(zip(self.slopes, self.matrices, r[:-1], strict=True))):
            y.append(r_l + transpose_times(matrix, s * y[-1]))
        return tuple(reversed(y))

    def gram(self, delta: Layers) -> Layers:
        if self.x[0].ndim == 1:
            return jax.tree.map(jnp.multiply, self.diagonal(), delta)
        layers = zip(self.slopes, self.kernels, self.x[:-1], delta[1:], strict=True)
        return (jnp.zeros_like(self.x[0]), *(s * self._coupled(K, below, s * d) for s, K, below, d in layers))

    def diagonal(self) -> Layers:
        """d_j = σ′(a_j)² (Σ_k x_k² [+ 1 with a bias]), 0 for inputs: G_M G_Mᵀ of one example."""
        if self.x[0].ndim > 1:
            raise ValueError("G_M G_Mᵀ of a batch is not diagonal: `gram(delta)` multiplies by it.")
        images = [jnp.zeros_like(self.x[0])]
        for s, kernel in zip(self.slopes, self.kernels, strict=True):
            assert kernel is not None  # of one example it is a number
            images.append(s**2 * kernel)
        return tuple(images)

    def jacobian(self) -> Float[Array, "neurons neurons"]:
        """G_ξ of one example as a dense matrix, put together from its blocks."""
        sizes = [x.size for x in self.x]
        starts = [0, *itertools.accumulate(sizes)]
        dense = jnp.eye(starts[-1], dtype=self.x[0].dtype)
        for l, (s, matrix) in enumerate(zip(self.slopes, self.matrices, strict=True)):
            above, below = (slice(starts[k], starts[k + 1]) for k in (l + 1, l))
            dense = dense.at[above, below].set(-s[:, None] * matrix)
        return dense

    def weight_jvp(self, dW: PyTree) -> Layers:
        layers = zip(self.slopes, dW, self.x[:-1], strict=True)
        return (jnp.zeros_like(self.x[0]), *(-s * activity(rates, below) for s, rates, below in layers))

    def weight_vjp(self, delta: Layers) -> PyTree:
        layers = zip(self.slopes, self.x[:-1], delta[1:], strict=True)
        return tuple(activity_transpose(-s * d, below, bias=self.bias) for s, below, d in layers)

    def _coupled(self, kernel: Array | None, below: Values, errors: Values) -> Values:
        """K errors, with K or without."""
        if kernel is not None:
            return matmul(kernel, errors)
        return activity(activity_transpose(errors, below, bias=self.bias), below)


def linearised_layers(x: Layers, W: PyTree, slopes: Layers, *, bias: bool) -> LayeredLinearisation:
    """The linearisation at (x, W), where σ′(a) is `slopes`."""
    kernels = tuple(gram_kernel(below, s.shape[-1], bias=bias) for below, s in zip(x[:-1], slopes, strict=True))
    return LayeredLinearisation(x, slopes, tuple(matrix_of(weights) for weights in W), kernels, bias)
