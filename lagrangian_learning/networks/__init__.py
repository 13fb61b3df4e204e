"""Neurons as constraints: networks, their forward and adjoint sweeps, and the rank of their constraints."""

from .activations import ACTIVATIONS as ACTIVATIONS, Activation as Activation, slope as slope
from .batched import Batched as Batched
from .chain import Chain as Chain
from .digraph import Digraph as Digraph
from .examples import xor_network as xor_network
from .jacobians import (
    state_jacobian as state_jacobian,
    weight_gram_matrix as weight_gram_matrix,
    weight_jacobian as weight_jacobian,
    weight_jvp as weight_jvp,
    weight_vjp as weight_vjp,
)
from .layered import Layered as Layered, LayeredLinearisation as LayeredLinearisation
from .linearisation import AbstractLinearisation as AbstractLinearisation, TaylorSweep as TaylorSweep
from .network import AbstractNetwork as AbstractNetwork
from .rank import RankReport as RankReport, constraint_rank as constraint_rank, guard_rank as guard_rank
from .rescaled import Rescaled as Rescaled
from .sharding import shard_weights as shard_weights
