"""`RESULTS`: how a run ended. Diffrax's codes, and names of our own for what only a law can know."""

import enum

import diffrax
from jaxtyping import Array, Int


class RESULTS(diffrax.RESULTS):  # pyright: ignore[reportGeneralTypeIssues]
    """How a simulation ended; an extension of `diffrax.RESULTS`, usable in its place."""

    inconsistent_start = (
        "The initial state is off the constraints (G or DG is not zero at ts[0]). Nothing was integrated. Likely "
        "causes: the state was made for another time, stimulus or other constants, or altered by hand. Make it by "
        'law.initial_state(ts[0], ..., args), with consistent="project" if the data are only approximate.'
    )
    non_finite = (
        "A NaN or an infinity appeared in the constants, the stimulus, the state, its rates or its records. Likely "
        "causes: NaN in the weights, constants, stimulus or forces; a singular multiplier system; a step too long for "
        "the stiffness of the law (shorten dt0, or give rtol instead); a motion that runs off to infinity. The records "
        "before it are valid."
    )
    singular_multipliers = (
        "State and constraints are finite, but the equations for accelerations and multipliers have no finite solution "
        "there. Likely causes: dependent constraints, a singular cycle of the network, a mass that is zero, a force "
        "that is NaN, or multipliers that took more than max_steps (deep layered networks with heavy weights: "
        "ll.multipliers.LowRankElimination()). See law.regularity(t, state, args) where the law offers it."
    )
    projection_failed = (
        "The projection back onto the constraints did not converge. Likely causes: a step so long that it leaves the "
        "neighbourhood of the constraint (shorten dt0 or tighten rtol), or constraints that become dependent."
    )
    constraint_drift = (
        "max|G| exceeded drift_limit, or the run ended far off its constraints. Integration errors carry the state off "
        "them: use ll.Projection(), shorten the steps, raise the gains of Baumgarte's method, or raise drift_limit."
    )
    step_underflow = (
        "The step size shrank to the rounding error of the time. Likely causes: the solution blows up at a finite "
        "time, the stimulus jumps or is not finite beyond this time, the law is too stiff for this stepper, or rtol "
        "and atol are finer than the dtype resolves."
    )
    refused_start = (
        "The law refused this run's state, stimulus or constants, and nothing was integrated. Likely causes: NaN in "
        "the weights, times outside the stimulus, a costate that grows. The printed batch says why for the first such "
        "run; ll.simulate of one run alone raises its own reason."
    )
    unstable_costate = (
        "The costate law is unstable as an initial-value problem and grows exponentially. Choose a causal costate, or "
        "solve it as a boundary-value problem with ll.solve_boundary."
    )
    unstable_step = (
        "Constant steps were longer than the stability of this explicit stepper allows, and errors grow by a factor at "
        "each. Shorten dt0, give rtol in its place, or take ll.ExponentialRK4() where dissipation is what is fast."
    )
    event_not_located = (
        "A condition of the event changed sign in a step, but its root finder found no time for it there. Give "
        "diffrax.Event(cond_fn, optimistix.Bisection(rtol, atol)), or shorter steps."
    )
    boundary_not_converged = (
        "The boundary-value problem was not solved: its iteration did not converge, or diverged. Likely causes: "
        "learning so fast, over so long a time, that solutions are lost or many. With ll.boundary.Sweeps lower the "
        "relaxation, raise max_iterations, or use ll.boundary.Newton(). With Newton shorten the time span, raise gamma "
        "(or mass_W), or give more intervals."
    )
    boundary_mesh_too_coarse = (
        "The boundary-value problem was solved on its mesh, but between mesh points the equations are off by more than "
        "tol. Give more intervals (solution.intervals_needed estimates how many), or raise tol."
    )


class FailureCode(enum.IntEnum):
    """Why a step or a start fails or ends the run, as a number small enough to travel as a float; zero: it does not."""

    NONE = 0
    NON_FINITE = 1
    PROJECTION_FAILED = 2
    CONSTRAINT_DRIFT = 3
    STEP_UNDERFLOW = 4
    INCONSISTENT_START = 5
    SINGULAR_MULTIPLIERS = 6
    UNSTABLE_COSTATE = 7
    REFUSED_START = 8
    UNSTABLE_STEP = 9
    EVENT_OCCURRED = 10
    EVENT_NOT_LOCATED = 11


# Steps and controllers may only return codes of Diffrax itself: this one ends the loop, and the failure kept beside it
# replaces it at the end.
STOP = diffrax.RESULTS.dt_min_reached


def translate(failure: Int[Array, ""], base: diffrax.RESULTS) -> RESULTS:
    """The result of a failure; without one, Diffrax's own result."""
    result = RESULTS.promote(base)
    for known in list(FailureCode)[1:]:
        result = RESULTS.where(failure == int(known), getattr(RESULTS, known.name.lower()), result)
    return result
