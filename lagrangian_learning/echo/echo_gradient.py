"""`echo_gradient`: a run forward, runs back that are nudged by its cost, and what they say of its gradient."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, PyTree

from lagrangian_learning._arrays import all_finite, is_concrete, tree_add
from lagrangian_learning._checks import flag, function, instance, positive, require
from lagrangian_learning.mechanics.law import AbstractLaw
from lagrangian_learning.mechanics.state import State
from lagrangian_learning.simulate.inputs import check_law, checked_state, checked_times
from lagrangian_learning.steppers.rattle import Rattle

from .backward import backward, nudges
from .costs import Costs
from .echo import Echo
from .forward import Constants, forward
from .refusals import check_action, equations_of


def echo_gradient(
    law: AbstractLaw,
    state: State,
    ts: Any,
    args: PyTree,
    cost: Callable[..., Any] | None,
    *,
    terminal: Callable[..., Any] | None = None,
    dt0: Any,
    nudge: Any,
    extrapolate: bool = True,
    solver: Rattle | None = None,
) -> Echo:
    """C = ∫ c(t, q, args) dt + Φ(q(t₁), args) of a run of `ll.Rattle`, and its gradient from runs back in time:

        dC/dθ = ∫ c_θ dt − d/dβ ∫ [∂_θ(ϖℓ) − λ·G_θ] dt + (dq₀/dθ)·d_βP₀ − (dP₀/dθ)·d_βq₀,   P = ϖ ℓ_v,
        dC/dq₀ = d_βP₀ at fixed P₀,   dC/dP₀ = −d_βq₀

    (docs/theory.md §13). The echo is the motion back in time from the end of the run, pushed by −(β/ϖ) c_q, and off
    with the momentum P₁ + βΦ_q; d/dβ is a difference over ±β. It is the gradient of the discrete cost, up to O(β²) and
    rounding over β. No step is kept and no Jacobian transposed: memory does not grow with the number of steps.

    Arguments:
        law: an `EulerLagrange` of first order, or of a network `action.law("full")`; free or with a `Holonomic`
            constraint, its Lagrangian ½ v·M v − V(t, q, args), friction by its dissipation, forces of time alone.
        state: as `law.initial_state` makes it; on the constraints.
        ts: times [T], increasing and known outside jit, the first and the last of them those of the run; each is a step
            end.
        args: what the law's equations and the costs take.
        cost: c(t, q, args), one number, per unit of time; integrated by the trapezoidal rule over step ends. None: 0.
        terminal: Φ(q, args), one number. None: 0.
        dt0: constant steps, as in `ll.simulate`: each interval of ts in the fewest equal steps not longer than dt0.
        nudge: β > 0, in units of action over cost, where ϖ = 1 at ts[0]. It moves the start of the echo by β dC/dP₀.
        extrapolate: run at ±β/2 too, for O(β⁴), at 5/3 of the price.
        solver: `ll.Rattle(iterations)`, which makes the run. None: `ll.Rattle()`.

    Returns an `Echo`. Works under jit and vmap. Raises ValueError for laws whose echo is no gradient and for
    arguments that do not fit, and a run-time error of Equinox where the equations of a step are not solved.
    """
    check_law(law, None)
    equations_of(law)
    costs = _costs(cost, terminal)
    state, dtype = checked_state(state)
    grid = step_ends(ts, dt0, dtype)
    state = law.check(jnp.asarray(grid), state, args)
    state = check_action(equations_of(law), jnp.asarray(grid[0]), state, args)
    beta = positive(nudge, "nudge", "the size of the push on the way back, such as 1e-4.").astype(dtype)
    stepper = instance(Rattle() if solver is None else solver, "solver", Rattle, "ll.Rattle(iterations), or None")
    given = (Constants(law, args, costs), state, jnp.asarray(grid), beta)
    echo, solved = _compiled(*given, stepper, flag(extrapolate, "extrapolate"))
    return echo._replace(cost=require(echo.cost, solved, _UNSOLVED))


def step_ends(ts: Any, dt0: Any, dtype: Any) -> np.ndarray:
    """All step ends, as `ll.simulate` makes them of ts and dt0."""
    if not is_concrete(ts, dt0):
        raise ValueError("ts and dt0 must be known outside jit: they set how many steps there are.")
    with jax.ensure_compile_time_eval():  # under jit too their number is known
        times, step = np.asarray(checked_times(np.asarray(ts), dtype)), float(positive(dt0, "dt0"))
    spans = np.diff(times)
    rounding = 4 * np.finfo(times.dtype).eps * np.maximum(np.abs(times[:-1]), np.abs(times[1:])) / step
    counts = np.maximum(np.ceil(spans / step * (1 - 1e-6) - rounding), 1)
    if not np.sum(counts) < _MOST_STEPS or step <= np.finfo(times.dtype).eps * np.max(np.abs(times)):
        raise ValueError(
            f"dt0 is too short for ts: more than 2**30 steps, or below the rounding of {times.dtype}; lengthen it."
        )
    rows = [a + (b - a) * (np.arange(n) / n) for a, b, n in zip(times[:-1], times[1:], counts, strict=True)]
    return np.append(np.concatenate(rows), times[-1]).astype(dtype)


_MOST_STEPS = 2**30
_UNSOLVED = (
    "the equations of a step are not solved to rounding, or the run or its echo is not finite: shorten dt0, or take a "
    "smaller nudge, which friction enlarges by e^{ϑT} on the way back."
)


def _costs(cost: Any, terminal: Any) -> Costs:
    if cost is None and terminal is None:
        raise ValueError("there is no cost: give cost(t, q, args), terminal=phi(q, args), or both.")
    for given, name in ((cost, "cost"), (terminal, "terminal")):
        if given is not None:
            function(given, name, "it returns one number.")
    return Costs(cost, terminal)


@eqx.filter_jit
def _compiled(
    constants: Constants, state: State, ts: Array, beta: Array, stepper: Rattle, extrapolate: bool
) -> tuple[Echo, Bool[Array, ""]]:
    """The echo, and whether all of its steps were solved."""
    went = forward(constants, state, ts, stepper)
    came = backward(constants, state, went.end, ts, nudges(beta, extrapolate=extrapolate), stepper.iterations)
    by = tree_add(went.gradient, came.gradient)
    given = constants.costs
    by_cost = None if given.running is None else by.costs.running
    by_terminal = None if given.terminal is None else by.costs.terminal
    echo = Echo(went.cost, by.law, by.args, came.by_start, by_cost, by_terminal, came.retraced, came.rounding)
    return echo, went.solved & came.solved & all_finite((by, came.by_start))
