"""Whether constant steps of an explicit stepper are longer than its stability allows."""

import functools
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Int, PyTree

from lagrangian_learning._arrays import cast, tree_add, tree_dot, tree_scale, tree_sub

from .work import Worked

# Steps beyond stability, less the steps within it, that end a run. A transient that a stable run resolves badly is over
# sooner; what an unstable one multiplies at every step has grown a thousandfold by then.
_MOST_BEYOND = 16

# A run that ends before so many is unstable if no step was stable, from this many on.
_FEWEST_BEYOND = 3


class Stability(eqx.Module):
    """How many more steps were beyond the stability of the stepper than within it, of late.

    h|λ| is estimated from two stages of a step, or two steps of Euler's method, as |h f(y₁) − h f(y₀)|/|y₁ − y₀|
    (Hairer and Wanner, Solving Ordinary Differential Equations II, IV.2). A step counts where that exceeds the length
    of the real stability interval, the two points being so far apart that their difference is not rounding.

    last: the last increment of Euler's method, which has one stage.
    """

    beyond: Int[Array, ""]
    last: PyTree

    @staticmethod
    def at_start(stepper: Any, state: PyTree) -> "Stability | None":
        """None for a stepper that is not explicit, or of which nothing is known."""
        if isinstance(stepper, diffrax.Euler):
            return Stability(jnp.asarray(0, jnp.int32), jax.tree.map(jnp.zeros_like, state))
        tableau = getattr(stepper, "tableau", None)
        known = isinstance(tableau, diffrax.ButcherTableau) and not tableau.implicit and tableau.num_stages > 1
        return Stability(jnp.asarray(0, jnp.int32), None) if known else None

    def after(self, stepper: Any, y0: Worked, y1: Worked, dense: dict[str, Any]) -> "Stability":
        """After one more step."""
        start, end, slopes = lax.stop_gradient((y0.state, y1.state, dense.get("k")))
        if self.last is None:
            apart, change = _last_stage(stepper.tableau, slopes)
            limit, last = real_interval(type(getattr(stepper, "solver", stepper))), None
        else:
            last = tree_sub(end, start)
            apart, change, limit = self.last, tree_sub(last, self.last), 2.0
        over = _exceeds(change, apart, start, limit)
        return Stability(jnp.maximum(self.beyond + jnp.where(over, 1, -1), 0), last)

    @property
    def lost(self) -> Bool[Array, ""]:
        """Whether it is time to end the run."""
        return self.beyond >= _MOST_BEYOND

    def never_held(self, steps: Array) -> Bool[Array, ""]:
        """Whether a run of few steps was beyond stability at each of them; Euler's method cannot tell at the first."""
        return self.beyond >= jnp.maximum(steps.astype(self.beyond.dtype) - 1, _FEWEST_BEYOND)


def _last_stage(tableau: diffrax.ButcherTableau, slopes: Any) -> tuple[PyTree, PyTree]:
    """The way from y₀ to the last stage, and the change of the increment on it; slopes in one array or one by one."""
    weights = tableau.a_lower[-1]
    if isinstance(slopes, tuple):
        first, *_, last = (slope.state for slope in slopes)
        scaled = [tree_scale(cast(a, first), slope.state) for a, slope in zip(weights, slopes, strict=False) if a != 0]
        return functools.reduce(tree_add, scaled), tree_sub(last, first)
    apart = jax.tree.map(lambda k: jnp.tensordot(jnp.asarray(weights, k.dtype), k[:-1], 1), slopes.state)
    return apart, jax.tree.map(lambda k: k[-1] - k[0], slopes.state)


def _exceeds(change: PyTree, apart: PyTree, start: PyTree, limit: float) -> Bool[Array, ""]:
    """|change| > limit |apart|, where points apart differ by more than rounding; of squares, which need no root."""
    distance = tree_dot(apart, apart)
    rounding = jnp.finfo(distance.dtype).eps * tree_dot(start, start)
    return (tree_dot(change, change) > limit**2 * distance) & (distance > rounding)


@functools.cache
def real_interval(stepper: type) -> float:
    """The largest s with |R(−x)| ≤ 1 for 0 ≤ x ≤ s, R the stability function of an explicit Runge–Kutta method."""
    tableau = stepper.tableau  # pyright: ignore[reportAttributeAccessIssue]
    stages = tableau.num_stages
    a = np.zeros((stages, stages))
    for row, entries in enumerate(tableau.a_lower, start=1):
        a[row, :row] = entries
    outer = np.outer(np.ones(stages), tableau.b_sol)
    points = np.linspace(0, 50, 5001)[1:]
    values = [np.linalg.det(np.eye(stages) + x * (a - outer)) for x in points]
    return float(points[np.argmax(np.abs(values) > 1 + 1e-9) - 1])
