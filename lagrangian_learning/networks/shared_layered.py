"""A batch of examples through a layered network: every wave a product of matrices."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .activations import resolve, slope
from .layered import Layered, LayerJet, carried
from .linearisation import AbstractLinearisation, TaylorSweep

Rows = Float[Array, "batch _"]
Layers = tuple[Rows, ...]
Matrix = Float[Array, "_ _"]


class SharedLayeredLinearisation(AbstractLinearisation):
    """`LayeredLinearisation` with a batch axis: G_ξ is block diagonal by example, and the examples share W, so that

        (G_M G_Mᵀ δ)_l = s_l (K_l (s_l δ_l)),   K_l = x_{l−1} x_{l−1}ᵀ [+ 1 with a bias],   s_l = σ′(a_l),

    K_l [B, B] being known once for all products, where that is cheaper than two products with x_{l−1}.
    """

    x: Layers
    slopes: Layers
    matrices: tuple[Matrix, ...]
    kernels: tuple[Float[Array, "batch batch"] | None, ...]
    bias: bool = eqx.field(static=True)

    def forward(self, r: Layers) -> Layers:
        y = [r[0]]
        for s, matrix, r_l in zip(self.slopes, self.matrices, r[1:], strict=True):
            y.append(r_l + s * _raised(y[-1], matrix))
        return tuple(y)

    def backward(self, r: Layers) -> Layers:
        y = [r[-1]]
        for s, matrix, r_l in reversed(tuple(zip(self.slopes, self.matrices, r[:-1], strict=True))):
            y.append(r_l + _product(s * y[-1], matrix))
        return tuple(reversed(y))

    def gram(self, delta: Layers) -> Layers:
        images = []
        for s, kernel, below, d in zip(self.slopes, self.kernels, self.x[:-1], delta[1:], strict=True):
            images.append(s * (self._spread(below, s * d) if kernel is None else _product(kernel, s * d)))
        return (jnp.zeros_like(self.x[0]), *images)

    def weight_jvp(self, dW: PyTree) -> Layers:
        moved = [
            _raised(below, rate[0]) + rate[1] if self.bias else _raised(below, rate)
            for rate, below in zip(dW, self.x[:-1], strict=True)
        ]
        return (jnp.zeros_like(self.x[0]), *(-s * a for s, a in zip(self.slopes, moved, strict=True)))

    def weight_vjp(self, delta: Layers) -> PyTree:
        errors = [-s * d for s, d in zip(self.slopes, delta[1:], strict=True)]
        products = [_product(error.T, below) for error, below in zip(errors, self.x[:-1], strict=True)]
        if not self.bias:
            return tuple(products)
        return tuple((product, jnp.sum(error, 0)) for product, error in zip(products, errors, strict=True))

    def _spread(self, below: Rows, error: Rows) -> Rows:
        """K error without K."""
        image = _product(below, _product(below.T, error))
        return image + jnp.sum(error, 0) if self.bias else image


def shared_layered_linearisation(network: Layered, x: Layers, W: PyTree) -> SharedLayeredLinearisation:
    """The linearisation at neurons x that need not solve the constraints."""
    layers = zip(network.activations, W, x[:-1], strict=True)
    slopes = tuple(slope(sigma, _activity(network, weights, below)) for sigma, weights, below in layers)
    return _linearisation(network, x, W, slopes)


def shared_layered_sweep(network: Layered, W: PyTree, W_dot: PyTree, u_jet: LayerJet) -> TaylorSweep:
    """The forward pass of all examples along W + Ẇτ, each matrix read once."""
    jets, slopes = [u_jet], []
    for sigma, weights, rates in zip(network.activations, W, W_dot, strict=True):
        jet, s = carried(resolve(sigma), _activity_jet(network, weights, rates, jets[-1]))
        jets.append(jet)
        slopes.append(s)
    x, x_dot, x_ddot = zip(*jets, strict=True)
    return TaylorSweep(x, x_dot, x_ddot, _linearisation(network, x, W, tuple(slopes)))


def _linearisation(network: Layered, x: Layers, W: PyTree, slopes: Layers) -> SharedLayeredLinearisation:
    kernels = tuple(_kernel(below, network.bias) for below in x[:-1])
    matrices = tuple(_matrix(network, weights) for weights in W)
    return SharedLayeredLinearisation(x, slopes, matrices, kernels, network.bias)


def _activity(network: Layered, weights: PyTree, below: Rows) -> Rows:
    return _raised(below, weights[0]) + weights[1] if network.bias else _raised(below, weights)


def _activity_jet(network: Layered, weights: PyTree, rates: PyTree, below: LayerJet) -> LayerJet:
    """a = Wx, ȧ = Wẋ + Ẇx, ä = Wẍ + 2Ẇẋ (+ biases)."""
    matrix, rate = _matrix(network, weights), _matrix(network, rates)
    a, a_dot, a_ddot = jnp.split(_raised(jnp.concatenate(below), matrix), 3)
    moved, moved_dot = jnp.split(_raised(jnp.concatenate(below[:2]), rate), 2)
    if network.bias:
        a, a_dot = a + weights[1], a_dot + rates[1]
    return a, a_dot + moved, a_ddot + 2 * moved_dot


def _matrix(network: Layered, weights: PyTree) -> Matrix:
    return weights[0] if network.bias else weights


def _kernel(below: Rows, bias: bool) -> Float[Array, "batch batch"] | None:
    batch, width = below.shape
    # K costs B² a neuron above, x (xᵀ …) twice B times the width of the layer below.
    return _product(below, below.T) + float(bias) if batch <= 2 * width else None


def _product(left: Matrix, right: Matrix) -> Matrix:
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)


def _raised(rows: Rows, matrix: Matrix) -> Rows:
    """matrix · row for every row."""
    return jnp.einsum("bn,mn->bm", rows, matrix, precision=jax.lax.Precision.HIGHEST)
