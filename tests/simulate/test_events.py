"""Events against closed forms: their times, states and derivatives, projected and free, and what comes after."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest
from scipy.special import ellipk

import lagrangian_learning as ll
from tests.problems import pendulum

NEWTON = optx.Newton(1e-13, 1e-13)
FALL = ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, g: v @ v / 2 - g * q[0]))
GROUND = diffrax.Event(lambda t, y, args: y.q[0], NEWTON, direction=False)
TS = np.linspace(0.0, 2.0, 9)
G = jnp.asarray(9.81)


def dropped(g, height=1.0, **settings):
    start = ll.State(jnp.array([1.0]) * height, jnp.zeros(1))
    return ll.simulate(FALL, start, TS, g, event=GROUND, **settings)


@pytest.mark.parametrize("steps", [{}, pytest.param({"dt0": 0.1, "solver": diffrax.Heun()}, marks=pytest.mark.slow)])
def test_a_ball_that_falls(steps):
    """A parabola, which every stepper of second order follows exactly: down at √(2h/g), with speed √(2gh)."""
    path = dropped(G, **steps)
    t = np.sqrt(2 / 9.81)
    assert bool(path.result == ll.RESULTS.event_occurred)
    np.testing.assert_allclose(path.event.t, t, rtol=1e-12)
    np.testing.assert_allclose(path.event.state.v, [-np.sqrt(2 * 9.81)], rtol=1e-12)
    np.testing.assert_allclose(path.event.saved["q"], [0.0], atol=1e-12)
    np.testing.assert_array_equal(np.isfinite(path.q[:, 0]), t >= TS)
    assert path.event.mask
    assert path.stats["num_steps"] == path.stats["num_accepted_steps"]
    assert "ended by an event" in str(path)


@pytest.mark.slow
def test_a_ball_that_bounces():
    """Half of the speed is kept: the n-th bounce comes at √(2h/g) (1 + 2 Σ e^k)."""
    t, state, times = 0.0, ll.State(jnp.ones(1), jnp.zeros(1)), []
    for _ in range(3):
        path = ll.simulate(FALL, state, np.array([t, t + 5.0]), G, event=GROUND)
        t = float(path.event.t)
        state = ll.State(path.final_state.q, -path.final_state.v / 2)
        times.append(t)
    np.testing.assert_allclose(times, np.sqrt(2 / 9.81) * np.array([1.0, 2.0, 2.5]), rtol=1e-10)


def test_to_go_on_is_not_to_meet_it_again():
    path = dropped(G)
    on = ll.simulate(FALL, None, np.array([float(path.event.t), 1.5]), G, event=GROUND, resume=path)
    assert bool(on.result == ll.RESULTS.successful)
    np.testing.assert_allclose(on.q[-1], [1 - 9.81 * 1.5**2 / 2], rtol=1e-12)
    assert np.isnan(on.event.t)
    assert not on.event.mask


@pytest.mark.slow
def test_a_run_without_its_event_is_the_run_without_one():
    never = diffrax.Event(lambda t, y, args: y.q[0] + 100, NEWTON)
    start = ll.State(jnp.ones(1), jnp.zeros(1))
    one, other = (ll.simulate(FALL, start, TS, G, event=event, dt0=0.1) for event in (None, never))
    np.testing.assert_allclose(one.q, other.q, rtol=1e-13)  # another program, rounded otherwise
    assert one.event is None
    assert bool(other.result == ll.RESULTS.successful)


def lowest(g, **settings):
    """The time at which a pendulum released at 90 degrees passes its lowest point, in Cartesian coordinates."""
    law = pendulum(g)
    start = law.initial_state(0.0, jnp.array([1.0, 0.0]))
    event = diffrax.Event(lambda t, y, args: y.q[0], NEWTON)
    return ll.simulate(law, start, np.array([0.0, 0.3, 5.0]), event=event, **settings)


@pytest.mark.parametrize("steps", [{}, pytest.param({"dt0": 0.005}, marks=pytest.mark.slow)])
def test_a_pendulum_held_by_projection(steps):
    """A quarter of the period: K(sin² 45°)/√g. The state is on the circle, and the condition is zero there."""
    path = lowest(G, **steps)
    np.testing.assert_allclose(path.event.t, ellipk(0.5) / np.sqrt(9.81), rtol=1e-9)
    np.testing.assert_allclose(path.event.state.q, [0.0, -1.0], atol=1e-12)
    np.testing.assert_allclose(path.event.state.v, [-np.sqrt(2 * 9.81), 0.0], rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("run", [dropped, lowest])
def test_derivatives_of_the_time_of_an_event(run):
    """dt/dg = −t/(2g) by scaling, free and projected, in reverse and in forward mode."""

    def time(g, adjoint=None):
        return run(g, rtol=1e-9, adjoint=adjoint).event.t

    value, slope = jax.value_and_grad(time)(G)
    np.testing.assert_allclose(slope, -value / (2 * 9.81), rtol=1e-7)
    np.testing.assert_allclose(jax.jacfwd(lambda g: time(g, diffrax.ForwardMode()))(G), slope, rtol=1e-7)


@pytest.mark.slow
def test_a_batch_ends_lane_by_lane():
    heights = np.array([[0.5], [1.0], [30.0]])
    start = ll.State(heights, np.zeros((3, 1)))
    path = ll.simulate_batch(FALL, start, TS, G, in_axes=(None, 0, None), event=GROUND, progress=False)
    np.testing.assert_allclose(path.event.t, [*np.sqrt(2 * heights[:2, 0] / 9.81), np.nan], rtol=1e-10)
    assert "all 3 successful, 2 of them ended by an event" in str(path)
    with pytest.raises(ValueError, match="FusedEngine cannot integrate this: it looks for no event"):
        ll.simulate_batch(
            FALL, start, TS, G, in_axes=(None, 0, None), event=GROUND, progress=False, engine=ll.fused.FusedEngine()
        )


@pytest.mark.slow
def test_the_first_of_several_conditions():
    event = diffrax.Event(
        {"ground": lambda t, y, a: y.q[0], "half": lambda t, y, a: y.q[0] - 0.5, "late": lambda t, y, a: t > 1.0},
        NEWTON,
    )
    path = ll.simulate(FALL, ll.State(jnp.ones(1), jnp.zeros(1)), np.array([0.0, 2.0]), G, event=event, dt0=2.0)
    np.testing.assert_allclose(path.event.t, np.sqrt(1 / 9.81), rtol=1e-12)
    assert path.event.mask["half"]
    assert not path.event.mask["ground"]
    assert not path.event.mask["late"]


@pytest.mark.slow
def test_booleans_and_events_without_a_root_finder_end_with_the_step():
    for condition in (lambda t, y, a: y.q[0] < 0, lambda t, y, a: y.q[0]):
        path = ll.simulate(FALL, ll.State(jnp.ones(1), jnp.zeros(1)), TS, G, event=diffrax.Event(condition), dt0=0.25)
        assert path.event.t == 0.5
        np.testing.assert_allclose(path.q[2], [1 - 9.81 / 8], rtol=1e-12)  # a saved time is the end of that step
        assert np.isnan(path.q[3:]).all()


@pytest.mark.slow
def test_learning_ends_where_the_loss_is_low_enough():
    """The time agrees with that of the loss on a fine grid, by interpolation."""
    network = ll.Layered((2, 3, 1))
    stimulus = ll.Stimulus(ll.Sinusoids(jnp.array([1.0, 1.6]), 0.7, 0.1), jnp.array([0.4]))
    law = ll.GradientFlow(network, gamma=5.0)
    start = law.initial_state(0.0, network.init(jax.random.key(1)), args=stimulus)

    def excess(t, state, args):
        return law.energy(t, state, args) - 1e-3

    ts = np.linspace(0.0, 0.5, 2001)
    event = diffrax.Event(excess, optx.Bisection(1e-9, 1e-9, flip="detect"), direction=False)
    path = ll.simulate(law, start, np.array([0.0, 20.0]), stimulus, event=event)
    loss = np.asarray(ll.simulate(law, start, ts, stimulus).energy) - 1e-3
    first = int(np.argmax((loss[1:] <= 0) & (loss[:-1] > 0)))
    found = ts[first] + (ts[1] - ts[0]) * loss[first] / (loss[first] - loss[first + 1])
    np.testing.assert_allclose(path.event.t, found, atol=1e-6)


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_event_is_refused():
    start = ll.State(jnp.ones(1), jnp.zeros(1))
    with pytest.raises(ValueError, match=r"event must be a diffrax\.Event"):
        ll.simulate(FALL, start, TS, G, event=lambda t, y, a: y.q[0])
    with pytest.raises(ValueError, match="must return one real number or boolean, got float64 of shape"):
        ll.simulate(FALL, start, TS, G, event=diffrax.Event(lambda t, y, a: y.q))
    with pytest.raises(ValueError, match="looks for no event"):
        ll.simulate(FALL, start, TS, G, event=GROUND, adjoint=diffrax.BacksolveAdjoint())


def test_an_event_that_is_not_found_is_no_success():
    lost = diffrax.Event(lambda t, y, a: jnp.sign(y.q[0]), NEWTON)  # a jump, of which Newton's method has no slope
    path = ll.simulate(FALL, ll.State(jnp.ones(1), jnp.zeros(1)), TS, G, event=lost, throw=False)
    assert bool(path.result == ll.RESULTS.event_not_located)
    assert np.isfinite(path.final_state.q).all()
