"""`Echo`: the cost of a run, and its gradient."""

from typing import Any, NamedTuple

from jaxtyping import Array, Float, PyTree

from lagrangian_learning.mechanics.state import State


class Echo(NamedTuple):
    """C and its gradient, of the discrete run, by everything that the run depends on (docs/theory.md §13).

    Gradients by pytrees have None where there is no floating array. Those by constants hold the start: where it depends
    on them itself, add what `by_start` gives, as in `jax.vjp(start, constants)[1](echo.by_start)`. The gradient by the
    start is that of the run from any (q, v), on the constraints or off them, as reverse mode through the same run gives
    it.

    cost: C.
    by_law: ∂C/∂θ for every constant of the law.
    by_args: the same for args, signals among them.
    by_start: `State(∂C/∂q₀, ∂C/∂v₀)`.
    by_cost, by_terminal: the same for the constants of the two costs; None: not given.
    retraced: how far the run back without a nudge misses the start, relative to its largest entry.
    rounding: the same miss over what the nudge moves the start by: the relative error to expect from rounding. Friction
        makes it grow as e^{ϑT}; a larger nudge makes it smaller.
    """

    cost: Float[Array, ""]
    by_law: Any
    by_args: PyTree
    by_start: State
    by_cost: PyTree
    by_terminal: PyTree
    retraced: Float[Array, ""]
    rounding: Float[Array, ""]
