"""Checks of a run of the speech experiment: its equations, its multipliers, its neurons' mass."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

import lagrangian_learning as ll
from lagrangian_learning.commands.backprop import delta_errors
from lagrangian_learning.commands.output import recorded, relative_residuals

from .task import Piece

SAMPLES_A_PIECE = 4


class Sample(NamedTuple):
    """One recorded instant, examined; after `gathered` one more axis in front.

    residuals: what (8), (9) and D²G = 0 leave over, each relative to its own largest term.
    multipliers, deltas: δ of the run, and backpropagation's delta errors at the same weights and frame.
    mass, loss: |m_x G_ξ⁻¹(γ₂ + r G_t)|² and |V_ξ|².
    """

    residuals: Float[Array, "*batch 3"]
    multipliers: PyTree
    deltas: PyTree
    mass: Float[Array, "*batch"]
    loss: Float[Array, "*batch"]

    @property
    def worst_residuals(self) -> np.ndarray:
        """The largest residual of (8), (9) and D²G = 0 over all samples."""
        return np.max(self.residuals, axis=0)

    @property
    def fidelity(self) -> ll.learning.Fidelity:
        """How well the multipliers match the delta errors, layer by layer."""
        return eqx.filter_jit(ll.learning.fidelity)(self.multipliers, self.deltas)

    @property
    def mass_ratio(self) -> float:
        """The m_x term over V_ξ, root mean square over all samples."""
        return float(np.sqrt(np.mean(self.mass) / np.mean(self.loss)))


def examine(law: Any, piece: Piece) -> Sample:
    """A few recorded instants of a piece, evenly spread over its frames."""
    frames = piece.at_frames[np.linspace(0, piece.length, SAMPLES_A_PIECE + 2).astype(int)[1:-1]]
    path = piece.path
    chosen = jax.tree.map(lambda leaf: np.asarray(leaf)[frames], (path.ts, recorded(path)))
    return jax.tree.map(np.asarray, _examined(law, *chosen, piece.stimulus))


def gathered(samples: list[Sample]) -> Sample:
    """All samples as one."""
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *samples)


@jax.jit
def _examined(law: Any, ts: Array, records: tuple[PyTree, ...], stimulus: ll.Stimulus) -> Sample:
    return jax.vmap(lambda t, record: _one(law, t, record, stimulus))(ts, records)


def _one(law: Any, t: Array, record: tuple[PyTree, ...], stimulus: ll.Stimulus) -> Sample:
    W, W_dot, delta = record[1], record[3], record[-1]
    residuals = relative_residuals(law, t, record, stimulus)
    mass, loss = ll.learning.neuron_mass_force(law, t, ll.State(W, W_dot), stimulus)
    deltas = delta_errors(W, stimulus.input(t), stimulus.target(t))
    return Sample(residuals, delta, deltas, _square(mass), _square(loss))


def _square(tree: PyTree) -> Array:
    return jax.tree.reduce(jnp.add, jax.tree.map(lambda leaf: jnp.sum(leaf**2), tree))
