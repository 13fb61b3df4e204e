"""Proposition 1: are the constraints (4) independent? Always on feedforward graphs; on cycles it must be checked."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PyTree

from .edges import MAX_NAMED
from .jacobians import state_jacobian, weight_jacobian
from .network import AbstractNetwork


class RankReport(eqx.Module):
    """What `constraint_rank` found: ranks, least singular values, and whether all constraints are independent.

    num_constraints: how many there are.
    feedforward: whether the network is, so that its ranks are exact.
    state_rank: the rank of G_ξ.
    rank: the rank of (G_ξ G_M).
    state_singular_value: the least of G_ξ.
    singular_value: the least of (G_ξ G_M).
    full_rank: whether all constraints are independent.
    """

    num_constraints: int = eqx.field(static=True)
    feedforward: bool = eqx.field(static=True)
    state_rank: Int[Array, ""]  # of G_xi
    rank: Int[Array, ""]  # of (G_xi G_M)
    state_singular_value: Float[Array, ""]  # the least, of G_xi
    singular_value: Float[Array, ""]  # the least, of (G_xi G_M)
    full_rank: Bool[Array, ""]

    def __str__(self) -> str:
        reason = "Proposition 1, feedforward" if self.feedforward else "computed, cyclic"
        least = "least singular value"
        lines = [
            f"constraints           {self.num_constraints}",
            f"rank of G_xi          {_show(self.state_rank)}   {least} {_show(self.state_singular_value)}",
            f"rank of (G_xi G_M)    {_show(self.rank)}   {least} {_show(self.singular_value)}",
            f"full rank             {_show(self.full_rank)}   ({reason})",
        ]
        return "\n".join(lines)


def _show(value: Array) -> str:
    return np.array2string(np.asarray(value), precision=3)


def constraint_rank(network: AbstractNetwork, x: PyTree, W: PyTree, rtol: float | None = None) -> RankReport:
    """Rank of (G_xi G_M) at (x, W); Proposition 1 of the paper, and what holds where its triangular hypothesis fails.

    G_M G_M^T = diag(d), so u^T (G_xi G_M) = 0 means u^T G_xi = 0 and u_j d_j = 0 for all j: full rank if and only if
    the rows of G_xi of the neurons with d_j = 0 are independent. The matrix (G_xi, diag(sqrt d)) has the same singular
    values and only 2 num_neurons columns; where weights are shared (G_xi G_M) itself is formed. Singular values up to
    `rtol` times the largest count as zero (None: number of columns times eps). On a feedforward graph G_xi is unit
    triangular after renumbering: its ranks are known exactly, and the singular values only measure how well it is
    conditioned. Costs a dense singular value decomposition.

    Arguments:
        network: any network.
        x, W: its neurons and weights.
        rtol: singular values of at most this times the largest count as zero; None: number of columns times eps.
    """
    jacobian, augmented = _matrices(network, x, W)
    state_values = jnp.linalg.svd(jacobian, compute_uv=False)
    values = jnp.linalg.svd(augmented, compute_uv=False)
    size = jnp.asarray(network.num_neurons)
    threshold = _threshold(augmented, rtol)
    state_rank = size if network.feedforward else _rank(state_values, threshold)
    rank = size if network.feedforward else _rank(values, threshold)
    return RankReport(
        network.num_neurons, network.feedforward, state_rank, rank, state_values[-1], values[-1], rank == size
    )


def guard_rank(network: AbstractNetwork, x: PyTree, W: PyTree, rtol: float | None = None) -> PyTree:
    """x, with a runtime error that names the cycle if the constraints lose rank at (x, W), as `constraint_rank` finds.

    A feedforward network passes by Proposition 1 and nothing is computed.

    Arguments:
        network: any network.
        x, W: its neurons and weights.
        rtol: as for `constraint_rank`.
    """
    if network.feedforward:
        return x
    _, augmented = _matrices(network, x, W)
    left, values, _ = jnp.linalg.svd(augmented, full_matrices=False)
    # u^T G_xi = 0 is carried upstream from where it arises: the cycle farthest downstream is the singular one.
    present = jnp.stack([_amplitude(left[:, -1], cycle) for cycle in network.cycles])
    present = present > jnp.sqrt(jnp.finfo(present.dtype).eps)
    culprit = len(network.cycles) - 1 - jnp.argmax(present[::-1])
    lost = _rank(values, _threshold(augmented, rtol)) < network.num_neurons
    return eqx.branched_error_if(x, lost, culprit, [_message(cycle) for cycle in network.cycles])


def _matrices(network: AbstractNetwork, x: PyTree, W: PyTree) -> tuple[Array, Array]:
    jacobian = state_jacobian(network, x, W)
    if network.shares_weights:
        return jacobian, jnp.concatenate([jacobian, weight_jacobian(network, x, W)], axis=1)
    gram, _ = ravel_pytree(network.weight_gram(x, W))
    return jacobian, jnp.concatenate([jacobian, jnp.diag(jnp.sqrt(gram))], axis=1)


def _threshold(augmented: Array, rtol: float | None) -> float:
    return augmented.shape[1] * float(jnp.finfo(augmented.dtype).eps) if rtol is None else rtol


def _rank(values: Array, rtol: float) -> Array:
    return jnp.sum(values > rtol * values[0])


def _amplitude(vector: Array, neurons: tuple[int, ...]) -> Array:
    return jnp.max(jnp.abs(vector[np.asarray(neurons)]))


def _message(neurons: tuple[int, ...]) -> str:
    named = ", ".join(str(neuron) for neuron in neurons[:MAX_NAMED])
    more = f" and {len(neurons) - MAX_NAMED} more" if len(neurons) > MAX_NAMED else ""
    return (
        f"the constraints (4) lose rank on the cycle through neurons {named}{more}: their multipliers are not unique. "
        "Move x or W off this point, give the action a finite speed, or take an edge of the cycle out."
    )
