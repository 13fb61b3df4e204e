"""Stages summed as they come are those of Diffrax, which holds them in one array."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from lagrangian_learning.steppers import staged as module
from lagrangian_learning.steppers.staged import Staged, staged
from tests.helpers import flat, mostly_slow

METHODS = {
    method.__name__: method()
    for method in (diffrax.Heun, diffrax.Midpoint, diffrax.Ralston, diffrax.Bosh3, diffrax.Tsit5, diffrax.Dopri8)
}
START = {"q": jnp.array([0.3, -1.2]), "v": (jnp.array(0.7), None)}
STEPS = jnp.array([0.0, 0.1, 0.25, 0.3])


def field(t, y, args):
    return {"q": jnp.sin(y["q"]) * args - t, "v": (jnp.sum(y["q"]) * jnp.cos(y["v"][0]), None)}


def marched(stepper, jumps=(False, False, True)):
    """States, error estimates and the rate that is kept for the next step, of three steps, the last after a jump."""
    terms, args, found = diffrax.ODETerm(field), jnp.asarray(1.3), []
    y, state = START, stepper.init(terms, STEPS[0], STEPS[1], START, args)
    for t0, t1, jump in zip(STEPS, STEPS[1:], jumps, strict=False):
        y, error, dense, state, _ = stepper.step(terms, t0, t1, y, args, state, jnp.asarray(jump))
        kept = None if state is None else state[1]
        found += [y, error, kept, dense["y1"]]
    return found


@pytest.fixture
def always(monkeypatch):
    """Written out however few numbers there are."""
    monkeypatch.setattr(module, "WORTH_UNROLLING", 0)


@pytest.mark.parametrize("name", mostly_slow(METHODS, "Heun", "Bosh3"))
def test_steps_errors_and_kept_rates_are_those_of_diffrax(name, always):
    method = METHODS[name]
    ours, theirs = flat(jax.jit(lambda: marched(Staged(method)))()), flat(jax.jit(lambda: marched(method))())
    np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("name", ["Bosh3"])
def test_a_rate_is_kept_unless_there_was_a_jump(name, always):
    """The first rate is the last one kept, here made wrong, and after a jump it is evaluated."""
    stepper, terms, args = Staged(METHODS[name]), diffrax.ODETerm(field), jnp.asarray(1.3)
    wrong = (jnp.asarray(False), jax.tree.map(jnp.zeros_like, START))
    fresh = stepper.init(terms, *STEPS[:2], START, args)

    def end(state, jump):
        return flat(stepper.step(terms, *STEPS[:2], START, args, state, jump)[0])

    right = end(fresh, jnp.asarray(False))
    assert np.max(np.abs(end(wrong, jnp.asarray(False)) - right)) > 1e-3
    np.testing.assert_array_equal(end(wrong, jnp.asarray(True)), right)
    np.testing.assert_array_equal(end(wrong, True), right)


def test_which_methods_are_written_out():
    """Few stages, or many numbers; and only what Diffrax steps in its usual way."""

    class Other(diffrax.Heun):
        def step(self, *args, **kwargs):
            return super().step(*args, **kwargs)

    def written_out(method, size):
        y, terms = jnp.zeros(size), diffrax.ODETerm(lambda t, y, args: -y)
        dense = jax.eval_shape(
            lambda: staged(method).step(terms, *STEPS[:2], y, None, method.init(terms, *STEPS[:2], y, None), False)
        )[2]
        return isinstance(dense["k"], tuple)

    assert written_out(diffrax.Heun(), 2)
    assert not written_out(diffrax.Tsit5(), 2)
    assert written_out(diffrax.Tsit5(), module.WORTH_UNROLLING)
    for method in (
        Other(),
        diffrax.Euler(),
        diffrax.Kvaerno3(),
        diffrax.HalfSolver(diffrax.Heun()),
        ll.ExponentialRK4(),
    ):
        assert staged(method) is method


@pytest.mark.parametrize("stepper", [diffrax.Heun(), pytest.param(diffrax.Tsit5(), marks=pytest.mark.slow)])
def test_a_run_and_its_gradient_are_those_of_plain_diffrax(stepper, always):
    law = ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, k: (v @ v - k * q @ q) / 2))
    start, ts = ll.State(jnp.array([1.0, 0.2]), jnp.array([0.0, -0.5])), np.linspace(0, 1, 6)

    def ours(k):
        return jnp.sum(ll.simulate(law, start, ts, k, solver=stepper, dt0=0.1, max_steps=32).q ** 2)

    def theirs(k):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(law.vector_field), stepper, 0.0, 1.0, None, start, k, saveat=diffrax.SaveAt(ts=ts),
            stepsize_controller=diffrax.StepTo(np.linspace(0, 1, 11)), max_steps=32,
        )  # fmt: skip
        return jnp.sum(solution.ys.q**2)

    k = jnp.asarray(2.0)
    for found, wanted in zip(jax.value_and_grad(ours)(k), jax.value_and_grad(theirs)(k), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-13)


def test_a_scan_over_stages_takes_the_steps_of_diffrax():
    scanned = Staged(diffrax.Dopri8(), scans=True)
    assert not scanned.writes_out(START)
    ours, theirs = flat(jax.jit(lambda: marched(scanned))()), flat(jax.jit(lambda: marched(diffrax.Dopri8()))())
    np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-14)
