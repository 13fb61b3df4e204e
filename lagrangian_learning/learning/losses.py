"""Losses V(t, W, args) of the weights alone: of a network and its stimulus, or any function."""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import all_finite, dtype_of, time_derivative, tree_dot, tree_scale
from lagrangian_learning._checks import about, instance, module_named, real_result, reals, require
from lagrangian_learning.mechanics.state import matches
from lagrangian_learning.networks import AbstractNetwork

from .checks import check_stimulus
from .delta_errors import delta_errors, descent_force, loss
from .potential import AbstractPotential, SquaredError, as_potential


class Downhill(NamedTuple):
    """−V_W and V at one time, and what else was found on the way: of a network x and δ."""

    force: PyTree
    value: Float[Array, ""]
    found: dict[str, PyTree]


class AbstractLoss(eqx.Module):
    """V(t, W, args), a scalar of the weights, which may depend on time and on the stimulus."""

    @abc.abstractmethod
    def downhill(self, t: Array, W: PyTree, args: Any) -> Downhill:
        """−V_W and V."""

    @abc.abstractmethod
    def explicit_rate(self, t: Array, W: PyTree, downhill: Downhill, args: Any) -> Float[Array, ""]:
        """V_t: what the time in V alone changes."""

    @abc.abstractmethod
    def check_weights(self, W: PyTree) -> PyTree:
        """The weights as floating arrays. ValueError where they do not fit."""

    @abc.abstractmethod
    def check_args(self, ts: Array, W: PyTree, args: Any) -> None:
        """ValueError where what the loss takes does not fit."""

    @abc.abstractmethod
    def __call__(self, t: Array, W: PyTree, args: Any = None) -> Float[Array, ""]:
        """V(t, W, args)."""


class NetworkLoss(AbstractLoss):
    """V(f(W, e(t)), y(t)): neurons without mass follow at once, and −V_W is backpropagation, (15)–(17).

    Arguments:
        network: a feedforward network, or one whose cycles its forward pass solves.
        potential: V(x_out, y), `SquaredError()` by default.

    Raises ValueError for anything else. Its args are a `Stimulus`.
    """

    network: AbstractNetwork
    potential: AbstractPotential = eqx.field(converter=as_potential, default=SquaredError())

    def __check_init__(self) -> None:
        instance(self.network, "network", AbstractNetwork, "a network such as ll.Layered((2, 2, 1))")

    def downhill(self, t: Array, W: PyTree, args: Any) -> Downhill:
        """One forward and one adjoint sweep; found are x and the multipliers δ."""
        x = self.network.forward(W, args.input(t))
        y = args.target(t)
        delta = delta_errors(self.network, self.potential, x, W, y)
        value = self.potential(self.network.output(x), y)
        return Downhill(descent_force(self.network, x, W, delta), value, {"x": x, "multipliers": delta})

    def __call__(self, t: Array, W: PyTree, args: Any = None) -> Float[Array, ""]:
        return loss(self.network, self.potential, W, args.input(t), args.target(t))

    def explicit_rate(self, t: Array, W: PyTree, downhill: Downhill, args: Any) -> Float[Array, ""]:
        """δ·G_t + V_y·ẏ, no further sweep: V_x·x_t = −V_x G_ξ⁻¹ G_t and T δ = −V_x. It needs ė and ẏ alone."""
        x, delta = downhill.found["x"], downhill.found["multipliers"]

        def constraint(s: Array) -> PyTree:
            return self.network.constraint(x, W, args.input(s))

        def potential(s: Array) -> Array:
            return self.potential(self.network.output(x), args.target(s))

        return tree_dot(delta, time_derivative(constraint, t)) + time_derivative(potential, t)

    def check_weights(self, W: PyTree) -> PyTree:
        return self.network.check_weights(W)

    def check_args(self, ts: Array, W: PyTree, args: Any) -> None:
        # Smoothness 0: the input is only read, never differentiated.
        check_stimulus(self.network, self.potential, 0, ts, args)


class FunctionLoss(AbstractLoss):
    """fn(t, W, args): any differentiable function of weights that are any pytree of floating arrays.

    Arguments:
        fn: takes a scalar array t, the weights, and the args of the run, and returns a scalar.
    """

    fn: Callable[..., Array] = eqx.field(converter=module_named("fn", "it is V(t, W, args), a scalar."))

    def downhill(self, t: Array, W: PyTree, args: Any) -> Downhill:
        value, gradient = jax.value_and_grad(lambda W: self(t, W, args))(W)
        return Downhill(tree_scale(-1, gradient), value, {})

    def explicit_rate(self, t: Array, W: PyTree, downhill: Downhill, args: Any) -> Float[Array, ""]:
        return time_derivative(lambda s: self(s, W, args), t)

    def check_weights(self, W: PyTree) -> PyTree:
        W = reals(W, "W", "a pytree of real floating arrays")
        if not jax.tree.leaves(W):
            raise ValueError("W has no arrays: give the weights that the loss takes.")
        W = require(W, all_finite(W), "W contains NaN or inf: give finite weights.")
        if len({leaf.dtype for leaf in jax.tree.leaves(W)}) > 1:
            raise ValueError("the weights of a run must have one floating dtype: convert them to one.")
        return W

    def check_args(self, ts: Array, W: PyTree, args: Any) -> None:
        jax.eval_shape(lambda W, args: self(jnp.ravel(ts)[0].astype(dtype_of(W)), W, args), W, args)

    def __call__(self, t: Array, W: PyTree, args: Any = None) -> Float[Array, ""]:
        value = real_result(self.fn(t, W, args), "the loss", dtype_of(W))
        if value.shape:
            raise ValueError(f"a loss must return a scalar, got shape {value.shape}: sum or average over its entries.")
        return value


def as_loss(loss: Any) -> AbstractLoss:
    """A loss as it is; a network with `SquaredError`; any other callable V(t, W, args) wrapped."""
    if isinstance(loss, AbstractLoss):
        return loss
    if isinstance(loss, AbstractNetwork):
        return NetworkLoss(loss)
    if not callable(loss) or isinstance(loss, type):
        raise ValueError(
            "loss must be a network, ll.NetworkLoss(network, potential), or a function V(t, W, args) that returns a "
            f"scalar, got {'a class: make one' if isinstance(loss, type) else type(loss).__name__}."
        )
    return FunctionLoss(loss)


def velocities_like(loss: AbstractLoss, W: PyTree, v: PyTree, name: str) -> PyTree:
    """Velocities or momenta, which must look like the weights, in their dtype; zero when None."""
    if v is None:
        return jax.tree.map(jnp.zeros_like, W)
    with about(name):
        v = loss.check_weights(v)
    matches(v, W, name, "give one entry a weight", "W")
    return jax.tree.map(lambda leaf, weight: leaf.astype(weight.dtype), v, W)
