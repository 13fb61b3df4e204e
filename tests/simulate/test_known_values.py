"""A repeated call with known values: its checks are part of the program, and speak as those of a first call do."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning import Stimulus
from lagrangian_learning._checks import require
from lagrangian_learning.learning import CognitiveAction
from lagrangian_learning.networks import Layered
from lagrangian_learning.simulate import RESULTS, simulate
from tests.laws import Oscillator, array, at_rest

TS, START = np.linspace(0.0, 1.0, 3), at_rest()


class Counted(Oscillator):
    """An oscillator for states q ≤ 2; counts how often it is asked in Python."""

    asked: list = eqx.field(static=True, default_factory=list)

    def check(self, ts, state, args):
        self.asked.append(isinstance(state.q, jax.core.Tracer))
        return require(state, state.q <= 2, f"q must be at most 2, got {state.q}.")


class Bounded(Oscillator):
    """An oscillator for states below what a function returns."""

    limit: object = eqx.field(static=True, default=None)

    def check(self, ts, state, args):
        return require(state, state.q <= self.limit(), "q is above the limit")


class Particular(Oscillator):
    """A law whose check takes the value of a state, which no traced check can."""

    def check(self, ts, state, args):
        if float(jnp.sum(state.q)) > 2:
            raise ValueError(f"q must be at most 2, got {float(jnp.sum(state.q))}.")
        return state


def scaled(factor):
    return jax.tree.map(lambda leaf: factor * leaf, START)


LARGE = jax.tree.map(lambda leaf: leaf + 3, START)


class Asked(list):
    """A static field that the structures of laws may hold."""

    def __hash__(self):
        return id(self)

    def __eq__(self, other):
        return self is other


def test_a_repeated_call_is_checked_by_its_program_alone():
    law = Counted(array(2.0), asked=Asked())
    first = simulate(law, START, TS, dt0=0.1)
    assert list(law.asked) == [False, True]
    again = simulate(law, scaled(0.5), TS + 1, dt0=0.05)
    assert list(law.asked) == [False, True]
    assert first.result == again.result == RESULTS.successful


@pytest.mark.parametrize("throw", [True, False])
@pytest.mark.parametrize("kind", [Counted, Particular])
def test_a_refusal_has_its_numbers_in_every_call(kind, throw):
    law = Counted(array(2.0), asked=Asked()) if kind is Counted else Particular(array(2.0))
    for state in (LARGE, START, LARGE, START, LARGE):
        if state is START:
            assert simulate(law, state, TS, dt0=0.1, throw=throw).result == RESULTS.successful
        else:
            with pytest.raises(ValueError, match=r"q must be at most 2, got .*\d"):
                simulate(law, state, TS, dt0=0.1, throw=throw)


def test_a_run_that_fails_by_itself_is_not_refused():
    law = Counted(array(1e200), asked=Asked())
    for _ in range(2):
        assert simulate(law, START, TS, dt0=0.1, throw=False).result == RESULTS.non_finite
        with pytest.raises(RuntimeError, match="NaN or an infinity"):
            simulate(law, START, TS, dt0=0.1)


def test_the_first_value_of_a_plain_function_is_checked_in_every_call():
    network = Layered((2, 1))
    action = CognitiveAction(network, mass_x=0.1, mass_W=1.0)
    stimulus = Stimulus(lambda t: jnp.where(t == 2, jnp.nan, jnp.ones(2) * t), lambda t: jnp.ones(1))
    law, W = action.law(), network.init(jax.random.key(0))
    state = law.initial_state(0.0, W, args=stimulus)
    for start in (0.0, 2.0, 1.0, 2.0):
        if start < 2:
            assert simulate(law, state, start + TS / 2, stimulus, dt0=0.1).result == RESULTS.successful
        else:
            with pytest.raises(ValueError, match="NaN or inf at the first time"):
                simulate(law, state, start + TS, stimulus, dt0=0.1)


def test_known_and_traced_runs_agree():
    law = Counted(array(2.0), asked=Asked())
    known = simulate(law, START, TS, dt0=0.1)
    traced = eqx.filter_jit(lambda state: simulate(law, state, TS, dt0=0.1))(START)
    np.testing.assert_allclose(known.q, traced.q, rtol=1e-14)
    assert known.names == traced.names
    assert jax.tree.structure(known) == jax.tree.structure(traced)


def test_functions_may_hold_traced_values():
    def end(factor, law):
        run = {"dt0": 0.1, "save": lambda t, observables: factor * observables["q"]}
        return sum(jnp.sum(simulate(law, state, TS, **run).saved) for state in (START, scaled(0.5)))

    law, factors = Oscillator(array(2.0)), jnp.array([1.0, 2.0])
    once = end(1.0, law)
    np.testing.assert_allclose(jax.vmap(lambda factor: end(factor, law))(factors), factors * once, rtol=1e-12)
    np.testing.assert_allclose(jax.grad(lambda factor: end(factor, law))(3.0), once, rtol=1e-12)


def test_a_check_by_a_function_that_holds_traced_values_is_not_lost():
    def run(limit):
        law = Bounded(array(2.0), limit=lambda: limit)
        return [simulate(law, START, TS, dt0=0.1).q for _ in range(2)]

    highest = float(jnp.max(START.q))
    jax.vmap(run)(highest + jnp.array([1.0, 2.0]))
    with pytest.raises(RuntimeError, match="q is above the limit"):
        jax.vmap(run)(highest + jnp.array([1.0, -1.0]))
