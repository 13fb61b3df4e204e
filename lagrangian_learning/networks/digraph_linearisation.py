"""The constraints of a digraph linearised: sweeps level by level where it is acyclic, dense solves on cycles."""

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jaxtyping import Array, Float

from .edges import FrozenArray, Schedule, take
from .linearisation import AbstractLinearisation

Neurons = Float[Array, " num_neurons"]
Weights = Float[Array, " num_edges"]

# A dense matrix of this size is 34 MB in double precision, and its LU takes as much again.
MAX_CYCLIC_NEURONS = 2048

_SINGULAR = (
    "G_xi is singular on a cycle of the digraph, so that forward and adjoint sweeps do not exist: guard_rank names the "
    "cycle; change its weights, or solve for the multipliers in the delta form"
)


class DigraphLinearisation(AbstractLinearisation):
    """G_ξ = I − C with C_jk = σ′(a_j) w_jk on every edge (k, j); G_M G_Mᵀ is diagonal.

    slopes: σ′(a), zero for inputs;  coupling: C, one entry an edge;  throw: whether a failed solve is an error,
    otherwise NaN.
    """

    x: Neurons
    slopes: Neurons
    coupling: Weights
    edges: FrozenArray = eqx.field(static=True)
    schedule: Schedule | None = eqx.field(static=True)  # None on a graph with cycles
    throw: bool = eqx.field(static=True)

    def forward(self, r: Neurons) -> Neurons:
        return self._solved(r, transposed=False)

    def backward(self, r: Neurons) -> Neurons:
        return self._solved(r, transposed=True)

    def gram(self, delta: Neurons) -> Neurons:
        return self.diagonal() * delta

    def diagonal(self) -> Neurons:
        """d_j = σ′(a_j)² Σ_k x_k² over the edges that enter neuron j; 0 for inputs."""
        return self.slopes**2 * self._collected(self.x[self._source] ** 2)

    def weight_jvp(self, dW: Weights) -> Neurons:
        return -self.slopes * self._collected(dW * self.x[self._source])

    def weight_vjp(self, delta: Neurons) -> Weights:
        return -(self.slopes * delta)[self._target] * self.x[self._source]

    def jacobian(self) -> Float[Array, "num_neurons num_neurons"]:
        """G_ξ as a dense matrix."""
        check_dense(self.x.size)
        eye = jnp.eye(self.x.size, dtype=self.coupling.dtype)
        return eye.at[self._target, self._source].add(-self.coupling)

    def _solved(self, r: Neurons, *, transposed: bool) -> Neurons:
        if self.schedule is not None:
            return _substituted(self.schedule, self.coupling, r, reverse=transposed)
        matrix = self.jacobian().T if transposed else self.jacobian()
        solved = lx.linear_solve(lx.MatrixLinearOperator(matrix), r, lx.LU(), throw=False)
        return unless_failed(solved.value, solved.result != lx.RESULTS.successful, _SINGULAR, throw=self.throw)

    def _collected(self, values: Weights) -> Neurons:
        return jnp.zeros(self.x.size, values.dtype).at[self._target].add(values)

    @property
    def _source(self) -> np.ndarray:
        return self.edges.array[:, 0]

    @property
    def _target(self) -> np.ndarray:
        return self.edges.array[:, 1]


def check_dense(num_neurons: int) -> None:
    """ValueError for a cyclic digraph that is too large for dense solves."""
    if num_neurons > MAX_CYCLIC_NEURONS:
        raise ValueError(
            f"a cyclic digraph of {num_neurons} neurons needs dense solves, which end at {MAX_CYCLIC_NEURONS}: "
            "give the action a finite speed, which solves nothing, or take the cycles out"
        )


def unless_failed(value: Neurons, failed: Array, message: str, *, throw: bool) -> Neurons:
    """The value of a solve; where it failed an error with the message, or NaN."""
    return eqx.error_if(value, failed, message) if throw else jnp.where(failed, jnp.nan, value)


def _substituted(schedule: Schedule, coupling: Weights, r: Neurons, *, reverse: bool) -> Neurons:
    """(I − C)⁻¹ r; transposed, and in the opposite order, with `reverse`."""
    start, end = jnp.asarray(schedule.source.array), jnp.asarray(schedule.target.array)
    if reverse:
        start, end = end, start

    def step(y: Neurons, at: tuple[Array, Array, Array]) -> tuple[Neurons, None]:
        c, start, end = at
        return y.at[end].add(c * take(y, start), mode="drop"), None

    return jax.lax.scan(step, r, (take(coupling, schedule.edge.array), start, end), reverse=reverse)[0]
