"""Kinetic energies given by one function: K(v), or its Legendre transform K*(p); the other side by Newton's method."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import (
    all_finite,
    dtype_of,
    max_abs,
    tree_add,
    tree_dot,
    tree_scale,
    tree_sub,
    tree_zeros,
)
from lagrangian_learning._checks import function, module_named, real_result, require

from .kinetic import AbstractKinetic

_MEANING = "it takes a pytree like the coordinates and returns one number."


class Kinetic(AbstractKinetic):
    """K(v) = fn(v), any convex function of the velocities; v = K*_p(p) solves K_v(v) = p by Newton's method.

    Matrix-free: a step of Newton is solved by conjugate gradients on the Hessian of K, and its derivative is implicit.
    A kinetic energy with a closed form is faster as a subclass of `AbstractKinetic`.

    Arguments:
        fn: K, a twice differentiable, strictly convex function or Equinox module of a pytree like the coordinates, with
            K_v(0) = 0.

    Raises an error (ValueError for known values, a run-time error of Equinox for traced ones) where Newton's method
    does not converge.
    """

    fn: Callable[[PyTree], Array] = eqx.field(converter=module_named("fn", _MEANING))

    def velocity(self, p: PyTree) -> PyTree:
        return _inverse_gradient(self.fn, p)

    def momentum(self, v: PyTree) -> PyTree:
        return jax.grad(self._value)(v)

    def energy(self, v: PyTree) -> Float[Array, ""]:
        return self._value(v) - self._value(tree_zeros(v))

    def dual(self, p: PyTree) -> Float[Array, ""]:
        v = self.velocity(p)
        return tree_dot(p, v) - self.energy(v)

    def _value(self, v: PyTree) -> Array:
        return _number(self.fn, v)


class DualMap(AbstractKinetic):
    """K*(p) = fn(p): the velocity is the gradient of a convex map of the momenta, v = ∇fn(p)   (docs/theory.md §11).

    Descent preconditioned in the dual space. Mirror descent proper needs a kinetic energy that depends on W.

    Arguments:
        fn: K*, a differentiable, convex function or Equinox module of a pytree like the coordinates, with ∇K*(0) = 0.
            Momenta of given velocities, which only a start that moves needs, are found by Newton's method: fn must be
            twice differentiable and strictly convex then.

    Raises an error (ValueError for known values, a run-time error of Equinox for traced ones) where Newton's method
    does not converge.
    """

    fn: Callable[[PyTree], Array] = eqx.field(converter=module_named("fn", _MEANING))

    def velocity(self, p: PyTree) -> PyTree:
        return jax.grad(self._value)(p)

    def momentum(self, v: PyTree) -> PyTree:
        return _inverse_gradient(self.fn, v)

    def energy(self, v: PyTree) -> Float[Array, ""]:
        p = self.momentum(v)
        return tree_dot(p, v) - self.dual(p)

    def dual(self, p: PyTree) -> Float[Array, ""]:
        return self._value(p) - self._value(tree_zeros(p))

    def _value(self, p: PyTree) -> Array:
        return _number(self.fn, p)


def as_kinetic(kinetic: Any) -> AbstractKinetic:
    """A kinetic energy as it is; any other callable K(v) as `Kinetic`."""
    if isinstance(kinetic, AbstractKinetic):
        return kinetic
    return Kinetic(function(kinetic, "kinetic", "a kinetic energy such as ll.Quadratic(1.0), or a function K(v)."))


def _number(fn: Callable[[PyTree], Array], tree: PyTree) -> Array:
    value = real_result(fn(tree), "the kinetic energy", dtype_of(tree))
    if value.shape != ():
        raise ValueError(
            f"a kinetic energy must return a scalar, got shape {value.shape}: sum it over the coordinates."
        )
    return value


def _inverse_gradient(fn: Callable[[PyTree], Array], target: PyTree) -> PyTree:
    """z with ∇fn(z) = target, from 0, where both vanish."""
    z = _solved(fn, target)
    # Of momenta that are NaN nothing can be found: a run says so by its own result code.
    return require(z, all_finite(z) | ~all_finite(target), _NOT_FOUND)


_NOT_FOUND = (
    "Newton's method found no velocity of this kinetic energy: it must be convex, smooth and at rest in 0. Give the "
    "velocity in closed form, as a subclass of ll.AbstractKinetic."
)


@eqx.filter_custom_jvp
def _solved(fn: Callable[[PyTree], Array], target: PyTree) -> PyTree:
    """The same, NaN where it is not found."""
    z, found = _minimised(lambda z: _number(fn, z) - tree_dot(target, z), tree_zeros(target))
    return jax.tree.map(lambda leaf: jnp.where(found, leaf, jnp.nan), z)


@_solved.def_jvp
def _solved_jvp(primals: tuple, tangents: tuple) -> tuple[PyTree, PyTree]:
    """H dz = d(target − ∇fn) of the solution, whatever way led to it."""
    fn, target = primals
    z = _solved(fn, target)

    def left(fn: Callable[[PyTree], Array], target: PyTree) -> PyTree:
        return tree_sub(target, jax.grad(lambda z: _number(fn, z))(z))

    _, moved = eqx.filter_jvp(left, primals, tangents)
    return z, _newton_step(jax.grad(lambda z: _number(fn, z)), z, moved)


class _Newton(NamedTuple):
    z: PyTree
    length: Array
    step: Array


def _minimised(fn: Callable[[PyTree], Array], start: PyTree) -> tuple[PyTree, Array]:
    """The minimum of a convex function by Newton's method, steps halved until they descend; and whether found."""
    slope = jax.grad(fn)

    def small(now: _Newton) -> Array:
        return now.length <= _accuracy(now.z) * max_abs(now.z)

    def step(now: _Newton) -> _Newton:
        downhill = tree_scale(-1, slope(now.z))
        newton = _newton_step(slope, now.z, downhill)
        size, begin = _size(downhill), fn(now.z)

        def at(share: Array) -> PyTree:
            return tree_add(now.z, tree_scale(share, newton))

        def too_long(share: Array) -> Array:
            # Where values only round off, the gradient still shrinks.
            descends = (fn(at(share)) < begin) | (_size(slope(at(share))) < size)
            return ~descends & (share > _SHORTEST)

        share = lax.while_loop(too_long, lambda share: share / 2, jnp.ones_like(begin))
        # Uphill is where the function is not convex.
        length = jnp.where(tree_dot(newton, downhill) >= 0, share * max_abs(newton), jnp.nan)
        return _Newton(at(share), length, now.step + 1)

    def unfinished(now: _Newton) -> Array:
        return ~small(now) & ~jnp.isnan(now.length) & (now.step < _MOST_STEPS)

    first = _Newton(start, jnp.full_like(max_abs(start), jnp.inf), jnp.asarray(0))
    end = lax.while_loop(unfinished, step, first)
    return end.z, small(end) & all_finite(end.z)


def _newton_step(slope: Callable[[PyTree], PyTree], z: PyTree, right: PyTree) -> PyTree:
    """H⁻¹ right, H being the derivative of the slope at z, by conjugate gradients."""
    hessian = jax.linearize(slope, z)[1]
    accuracy = _accuracy(z)

    def solve(matrix: Callable[[PyTree], PyTree], right: PyTree) -> PyTree:
        return cg(matrix, right, tol=accuracy)[0]

    return lax.custom_linear_solve(hessian, right, solve, symmetric=True)


def _size(tree: PyTree) -> Array:
    return tree_dot(tree, tree)


def _accuracy(tree: PyTree) -> float:
    return float(jnp.finfo(dtype_of(tree)).eps) ** 0.75


_MOST_STEPS = 100
_SHORTEST = 2.0**-30
