"""Explicit Runge–Kutta methods of Diffrax, their stages summed leaf by leaf as they come."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import diffrax
import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import cast, tree_add, tree_scale
from lagrangian_learning._tuning import FEW_STAGES, WORTH_UNROLLING
from lagrangian_learning._types import Args, Terms, Time


class Staged(diffrax.AbstractWrappedSolver):
    """The method inside, to rounding, without an array that holds all stages of a step.

    Diffrax copies each stage into such an array and sums along its first axis, number by number; a loop over stages
    compiles the law once. Here sums are as fast as memory, and each stage is a copy of the law to compile. So methods
    of few stages are written out, others where a state has so many numbers that it repays.

    For runs whose saved times are step ends: what a step leaves to interpolate by is a tuple of stages under "k".
    scans: whether stages that are not written out are a `lax.scan`, which differentiates in every mode; otherwise they
    are Diffrax's own loop.
    """

    solver: Any
    scans: bool = eqx.field(static=True, default=False)
    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar = diffrax.LocalLinearInterpolation

    @property
    def tableau(self) -> diffrax.ButcherTableau:
        return self.solver.tableau

    def order(self, terms: Terms) -> int | None:
        return self.solver.order(terms)

    def error_order(self, terms: Terms) -> Any:
        return self.solver.error_order(terms)

    def writes_out(self, y0: PyTree) -> bool:
        """Whether a step of such a state writes its stages out; leaves may be shapes."""
        numbers = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(y0))
        return self.tableau.num_stages <= FEW_STAGES or numbers >= WORTH_UNROLLING

    def init(self, terms: Terms, t0: Array, t1: Array, y0: PyTree, args: Args) -> PyTree:
        return self.solver.init(terms, t0, t1, y0, args)

    def func(self, terms: Terms, t0: Time, y0: PyTree, args: Args) -> PyTree:
        return self.solver.func(terms, t0, y0, args)

    def step(
        self, terms: Terms, t0: Array, t1: Array, y0: PyTree, args: Args, solver_state: PyTree, made_jump: Any
    ) -> tuple[PyTree, PyTree, dict[str, Any], PyTree, diffrax.RESULTS]:
        if not self.writes_out(y0):
            whole = self._in_a_loop if self.scans else self.solver.step
            return whole(terms, t0, t1, y0, args, solver_state, made_jump)
        tableau, h = self.tableau, t1 - t0
        rates = [_first_rate(terms, t0, y0, args, solver_state, made_jump)]
        slopes = [tree_scale(h, rates[0])]
        for a, c in zip(tableau.a_lower, tableau.c, strict=True):
            end = _along(y0, a, slopes)
            rates.append(terms.vf(t1 if c == 1 else t0 + cast(c, h) * h, end, args))
            slopes.append(tree_scale(h, rates[-1]))
        y1 = _along(y0, tableau.b_sol, slopes)
        error = _along(None, tableau.b_error, slopes)
        state = None if solver_state is None else (jnp.asarray(False), rates[-1])
        return y1, error, {"y0": y0, "y1": y1, "k": tuple(slopes)}, state, diffrax.RESULTS.successful

    def _in_a_loop(
        self, terms: Terms, t0: Array, t1: Array, y0: PyTree, args: Args, solver_state: PyTree, made_jump: Any
    ) -> tuple[PyTree, PyTree, dict[str, Any], PyTree, diffrax.RESULTS]:
        tableau, h = self.tableau, t1 - t0
        known, last = _known(y0, solver_state, made_jump)
        count = tableau.num_stages
        lower = np.zeros((count, count))
        for number, row in enumerate(tableau.a_lower, 1):
            lower[number, : len(row)] = row
        nodes = np.concatenate([[0], tableau.c])

        def stage(slopes: PyTree, one: tuple) -> tuple[PyTree, PyTree]:
            index, weights, c = one
            t = jnp.where(c == 1, t1, t0 + c * h)

            def evaluated() -> PyTree:
                return terms.vf(t, _weighted(y0, weights, slopes), args)

            rate = evaluated() if known is False else lax.cond(known & (index == 0), lambda: last, evaluated)
            new = jax.tree.map(lambda row, k: lax.dynamic_update_index_in_dim(row, h * k, index, 0), slopes, rate)
            return (new, rate), None

        start = jax.tree.map(lambda leaf: jnp.zeros((count, *leaf.shape), leaf.dtype), y0)
        rows = (jnp.arange(count), cast(lower, y0), cast(nodes, y0))
        (slopes, rate), _ = lax.scan(lambda carry, one: stage(carry[0], one), (start, y0), rows)
        y1 = _weighted(y0, cast(tableau.b_sol, y0), slopes)
        error = _weighted(None, cast(tableau.b_error, y0), slopes)
        state = None if solver_state is None else (jnp.asarray(False), rate)
        return y1, error, {"y0": y0, "y1": y1, "k": slopes}, state, diffrax.RESULTS.successful


def _known(y0: PyTree, solver_state: PyTree, made_jump: Any) -> tuple[Any, PyTree]:
    """Whether the first rate is that of the last stage before, and that rate."""
    if solver_state is None or made_jump is True:
        return False, y0
    first_step, last = solver_state
    return ~eqxi.unvmap_any(first_step | made_jump), last


def _weighted(start: PyTree, weights: Array, slopes: PyTree) -> PyTree:
    """start + Σ weight · slope, over the first axis."""
    total = jax.tree.map(lambda rows: jnp.tensordot(weights, rows, 1), slopes)
    return total if start is None else tree_add(start, total)


def staged(stepper: diffrax.AbstractSolver, *, scans: bool = False) -> diffrax.AbstractSolver:
    """The stepper, its stages summed as they come where it is an explicit Runge–Kutta method as Diffrax steps it."""
    usual = isinstance(stepper, diffrax.AbstractERK) and type(stepper).step is diffrax.AbstractRungeKutta.step
    return Staged(stepper, scans) if usual and isinstance(stepper.tableau, diffrax.ButcherTableau) else stepper


def _first_rate(terms: Terms, t0: Array, y0: PyTree, args: Args, solver_state: PyTree, made_jump: Any) -> PyTree:
    """f(t0, y0): that of the last stage before, of a method whose first stage is the same, unless there was a jump."""
    if solver_state is None or made_jump is True:
        return terms.vf(t0, y0, args)
    first_step, last = solver_state
    return lax.cond(first_step | made_jump, lambda: terms.vf(t0, y0, args), lambda: last)


def _along(start: PyTree, weights: np.ndarray, slopes: Sequence[PyTree]) -> PyTree:
    """start + Σ weight · slope; without a start the sum alone."""
    total = start
    for weight, slope in zip(weights, slopes, strict=True):
        if weight == 0:
            continue
        part = tree_scale(cast(weight, slope), slope)
        total = part if total is None else tree_add(total, part)
    assert total is not None
    return total
