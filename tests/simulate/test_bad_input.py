"""Every setting that cannot be meant is refused by name, before anything is compiled."""

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning._checks import require
from lagrangian_learning.mechanics import State
from lagrangian_learning.simulate import RESULTS, Baumgarte, Projection, inputs, simulate as checked_simulate
from tests.laws import Motion, Oscillator, Pendulum, array, at_rest, released

TS = np.linspace(0, 1, 3)
LAW, START = Oscillator(array(2.0)), at_rest()
NAN = float("nan")

# As it is called without the type checker of the test suite, which would speak first.
simulate = getattr(checked_simulate, "__wrapped__", checked_simulate)

SETTINGS = [
    ({"rtol": 1e-15}, "10 eps"),
    ({"rtol": -1e-6}, "rtol must be finite and > 0"),
    ({"rtol": 0.0}, "rtol must be finite and > 0"),
    ({"rtol": NAN}, "rtol must be finite and > 0"),
    ({"rtol": np.inf}, "rtol must be finite and > 0"),
    ({"rtol": "fine"}, "one real number"),
    ({"rtol": [1e-6, 1e-6]}, "rtol must be one number"),
    ({"atol": -1e-6}, "atol must be finite and > 0"),
    ({"atol": 0.0}, "atol must be finite and > 0"),
    ({"atol": NAN}, "atol must be finite and > 0"),
    ({"dt0": 0.0}, "dt0 must be finite and > 0"),
    ({"dt0": -0.1}, "dt0 must be finite and > 0"),
    ({"dt0": NAN}, "dt0 must be finite and > 0"),
    ({"stepsize_controller": diffrax.PIDController(1e-6, 1e-6), "rtol": 1e-6}, "not both"),
    ({"stepsize_controller": "adaptive"}, "Diffrax controller"),
    ({"stepsize_controller": diffrax.ConstantStepSize()}, "give dt0"),
    ({"max_steps": 0}, "max_steps"),
    ({"max_steps": 1.5}, "max_steps"),
    ({"max_steps": True}, "max_steps"),
    ({"solver": diffrax.Tsit5}, "Diffrax solver"),
    ({"solver": "rk4"}, "Diffrax solver"),
    ({"solver": diffrax.Euler()}, "no error estimate"),
    ({"solver": diffrax.SemiImplicitEuler(), "dt0": 0.1}, "several terms"),
    ({"adjoint": "reverse"}, "Diffrax adjoint"),
    ({"save": "all"}, "save must be a function"),
    ({"stabilisation": "glue"}, r"ll\.Baumgarte\(alpha, beta\) or ll\.NoStabilisation\(\), got 'glue'"),
    ({"stabilisation": "projection"}, r"use ll\.Projection\(\), or leave it out"),
    ({"stabilisation": "none"}, r"use ll\.NoStabilisation\(\)"),
    ({"stabilisation": "baumgarte"}, r"use ll\.Baumgarte\(alpha, beta\)"),
    ({"stabilisation": 3}, "stabilisation must be"),
    ({"stabilisation": Projection()}, "cannot drift"),
    ({"stabilisation": Baumgarte(1.0, 1.0)}, "cannot drift"),
    ({"resume": "yesterday"}, "resume must be a trajectory"),
]


@pytest.mark.parametrize(
    ("settings", "says"), SETTINGS, ids=[f"{next(iter(s))}-{i}" for i, (s, _) in enumerate(SETTINGS)]
)
def test_settings(settings, says):
    with pytest.raises(ValueError, match=says):
        simulate(LAW, START, TS, **settings)


TIMES = [
    (1.0, "one-dimensional"),
    ([[0.0, 1.0]], "one-dimensional"),
    ([0.0], "at least two"),
    ([], "at least two"),
    ([0.0, 1.0, 1.0], "increase strictly"),
    ([1.0, 0.0, 0.5], "increase strictly"),
    ([0.0, NAN, 1.0], "NaN"),
    ([0.0, np.inf], "NaN or inf"),
    ([0.0, 1j], "real numbers"),
    (["now", "then"], "real numbers"),
]


@pytest.mark.parametrize(("ts", "says"), TIMES, ids=range(len(TIMES)))
def test_times(ts, says):
    with pytest.raises(ValueError, match=says):
        simulate(LAW, START, ts)


def test_times_that_coincide_in_float32():
    with pytest.raises(ValueError, match="rounding to float32"):
        simulate(Oscillator(array(2.0, jnp.float32)), at_rest(dtype=jnp.float32), [1e6, 1e6 + 1e-3])


def test_tolerance_finer_than_float32():
    with pytest.raises(ValueError, match="use float64"):
        simulate(Oscillator(array(2.0, jnp.float32)), at_rest(dtype=jnp.float32), TS, rtol=1e-8)


STATES = [
    (Motion(None, None), "no arrays"),
    (Motion(jnp.array([1]), jnp.array([0])), "float32 or all float64"),
    (Motion(jnp.ones(1), jnp.ones(1, jnp.float32)), "float32 or all float64"),
    (Motion(jnp.ones(1, jnp.complex128), jnp.ones(1, jnp.complex128)), "float32 or all float64"),
    (Motion("one", "zero"), "pytree of arrays"),
]


@pytest.mark.parametrize(("state", "says"), STATES, ids=range(len(STATES)))
def test_states(state, says):
    with pytest.raises(ValueError, match=says):
        simulate(LAW, state, TS)


def test_rates_that_do_not_look_like_the_state():
    class Broken(Oscillator):
        def rates(self, t, state, args):
            rates = Oscillator(self.omega).rates(t, state, args)
            return rates._replace(state=Motion(rates.state.q[0], rates.state.v))

    with pytest.raises(ValueError, match="do not look like its state"):
        simulate(Broken(array(2.0)), START, TS)


def test_no_law():
    with pytest.raises(ValueError, match="law must be a law"):
        simulate(lambda t, y, args: y, START, TS)


def test_projection_refuses_what_it_cannot_serve():
    law, start = Pendulum(array(9.81)), released()
    with pytest.raises(ValueError, match="BacksolveAdjoint"):
        simulate(law, start, TS, adjoint=diffrax.BacksolveAdjoint())
    with pytest.raises(ValueError, match="step ends"):
        simulate(law, start, TS, stepsize_controller=diffrax.ConstantStepSize(), dt0=0.1)
    with pytest.raises(ValueError, match="must include ts"):
        simulate(law, start, TS, stepsize_controller=diffrax.StepTo(jnp.array([0.0, 0.3, 1.0])))


@pytest.mark.parametrize("gains", [(-1.0, 1.0), (1.0, 0.0), (NAN, 1.0), ([1.0, 2.0], 1.0)])
def test_gains(gains):
    with pytest.raises(ValueError, match=r"gain|alpha must be one number"):
        Baumgarte(*gains)


def test_traced_values_are_refused_at_run_time():
    run = eqx.filter_jit(lambda ts, rtol: simulate(LAW, START, ts, rtol=rtol).q)
    run(jnp.asarray(TS), array(1e-6))
    with pytest.raises(RuntimeError, match="increase strictly"):
        run(jnp.asarray(TS[::-1]), array(1e-6))
    with pytest.raises(RuntimeError, match="rtol must be finite and > 0"):
        run(jnp.asarray(TS), array(-1e-6))


class Lasting(Oscillator):
    """An oscillator that may be followed for its lifetime alone; its check lets what it checked drop."""

    lifetime: object = 1.0

    def check(self, ts, state, args):
        require(ts, ts[-1] <= self.lifetime, "this oscillator does not last so long: shorten ts")
        return state


def test_what_a_law_checks_of_traced_values_is_not_lost():
    run = eqx.filter_jit(lambda lifetime: simulate(Lasting(2.0, 0.0, lifetime), START, TS, dt0=0.1).result)
    assert run(array(1.0)) == RESULTS.successful
    with pytest.raises(RuntimeError, match="does not last so long: shorten ts"):
        run(array(0.9))


@pytest.mark.slow
def test_what_a_law_checks_of_traced_values_is_told_where_nothing_is_thrown():
    run = eqx.filter_jit(lambda lifetime: simulate(Lasting(2.0, 0.0, lifetime), START, TS, dt0=0.1, throw=False))
    path = run(array(0.9))
    assert path.result == RESULTS.refused_start
    assert int(path.stats["num_steps"]) == 0
    assert run(array(1.0)).result == RESULTS.successful


@pytest.mark.parametrize("returned", ["everything", print])
def test_a_save_that_returns_no_arrays(returned):
    with pytest.raises(ValueError, match="save must return arrays or numbers"):
        simulate(LAW, START, TS, dt0=0.1, save=lambda t, observables: {"q": observables["q"], "more": returned})


def test_a_run_beyond_the_memory_is_refused_before_it_starts(monkeypatch):
    """A million times of 10⁵ numbers are 800 GB, of which a run would find out when the process is killed."""
    state, ts = State(jnp.zeros(50_000), jnp.zeros(50_000)), np.linspace(0.0, 1.0, 1_000_000)
    monkeypatch.setattr(inputs, "device_memory", lambda: 64_000_000_000)
    message = r"needs 800 GB at least.*0\.8 MB at 1000000 times of ts.*has 64 GB: give fewer ts.*or ask ll\.estimate"
    with pytest.raises(ValueError, match=message):
        simulate(LAW, state, ts, rtol=1e-3)
    inputs.check_room(state, ts.size, lambda t, observables: t)  # where save keeps less, nothing is known
