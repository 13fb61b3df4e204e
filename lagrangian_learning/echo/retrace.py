"""One step of `Rattle` back in time, nudged: friction is anti-friction, and the costs push."""

from typing import NamedTuple

from jaxtyping import Array, Bool, PyTree

from lagrangian_learning._arrays import tree_scale, tree_sub
from lagrangian_learning.mechanics.equations import AbstractEquations
from lagrangian_learning.mechanics.state import State
from lagrangian_learning.steppers.rattle import drifted, force_at_rest, kicked_onto_velocity

from .costs import Costs
from .discrete_action import Recorded, Span


class Returning(NamedTuple):
    """A run on its way back: the state, with F and c_q there."""

    state: State
    force: PyTree
    slope: PyTree


class Retrace(NamedTuple):
    """(q₁, v₁) ↦ (q₀, v₀) of the step Φ_{h/2} ∘ RATTLE_h ∘ Φ_{h/2}, with the force −(β/ϖ_{k+½}) c_q in both half kicks.

    Reactions of one node change its momentum alone, so that one projection on to DG = 0 does for the kick and for the
    two halves of the damping that meet there.
    """

    law: AbstractEquations
    args: PyTree
    costs: Costs
    iterations: int

    def at(self, t: Array, state: State) -> Returning:
        """The state at a node, with the forces there."""
        return Returning(state, force_at_rest(self.law, t, state, self.args), self.costs.slope(t, state.q, self.args))

    def off(self, last: Span, beta: Array, end: State) -> tuple[Returning, PyTree]:
        """The end of the run with the momentum P₁ + βΦ_q, and the impulse Λ of what keeps it on DG = 0."""
        t, weight = last.t1, last.weight(self.law, last.t1)
        push = tree_scale(beta / weight, self.costs.final_slope(end.q, self.args))
        state, rest = kicked_onto_velocity(self.law, t, end, push, self.args)
        return self.at(t, state), tree_scale(-weight, rest)

    def back(self, span: Span, beta: Array, end: Returning) -> tuple[Returning, Recorded, Bool[Array, ""]]:
        """The start of the step from its end, and whether that was found."""
        law, (_, t0, t1), middle = self.law, span, span.middle
        weights = [span.weight(law, t) for t in (t0, middle)]
        push, half = beta / weights[1], (t1 - t0) / 2
        quick = State(end.state.q, tree_scale(span.growth(law, middle, t1), end.state.v))
        halfway, impulse, found = drifted(law, t1, t0, quick, self.args, _pushed(end, push), self.iterations)
        begin = self.at(t0, halfway)
        growth = span.growth(law, t0, middle)
        v = tree_scale(growth, halfway.v)
        kick = tree_scale(-half * growth, _pushed(begin, push))
        state, rest = kicked_onto_velocity(law, t0, State(halfway.q, v), kick, self.args)
        impulses = tree_scale(-weights[0], rest), tree_scale(-weights[1], impulse)
        return begin._replace(state=state), Recorded(halfway.q, end.state.q, halfway.v, *impulses), found


def _pushed(at: Returning, push: Array) -> PyTree:
    """F − (β/ϖ) c_q."""
    return tree_sub(at.force, tree_scale(push, at.slope))
