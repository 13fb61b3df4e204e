"""A batch that cannot be meant is refused by name, before anything is compiled."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.batch import DiffraxEngine, simulate_batch as checked_simulate_batch
from lagrangian_learning.simulate import simulate
from tests.batches import SETTINGS, TS, released
from tests.laws import Motion, Oscillator, Pendulum, array, at_rest

# As it is called without the type checker of the test suite, which would speak first.
simulate_batch = getattr(checked_simulate_batch, "__wrapped__", checked_simulate_batch)
LAW, STARTS = Pendulum(array(9.81)), released(3)

SETTINGS_AND_WORDS = [
    ({"in_axes": 0}, r"in_axes must be \(law, state, args\)"),
    ({"in_axes": (None, 0)}, r"in_axes must be \(law, state, args\)"),
    ({"in_axes": (None, None, None)}, "nothing has an axis of lanes"),
    ({"in_axes": (None, 2, None)}, r"gives \.state\.q the axis 2"),
    ({"in_axes": (0, 0, None)}, r"gives \.law\.gravity the axis 0 of lanes, but its shape is \(\)"),
    ({"in_axes": (None, "lanes", None)}, "'lanes' for state"),
    ({"in_axes": (None, True, None)}, "True for state"),
    ({"in_axes": (None, (0, 0, 0), None)}, "for state is no prefix of it"),
    ({"in_axes": (None, Motion(0, 1), None)}, r"lanes differ: \.state\.v: 2, \.state\.q: 3\..*None in in_axes"),
    ({"chunk": 0}, "chunk must be a positive integer"),
    ({"chunk": 2.5}, "chunk must be a positive integer"),
    ({"chunk": True}, "chunk must be a positive integer"),
    (
        {"engine": "fused"},
        r"engine must be None, which picks one, or an engine: .*ll\.fused\.FusedEngine\(\).*got str",
    ),
    ({"engine": DiffraxEngine}, "engine must be None, which picks one, or an engine"),
    ({"mesh": 4}, "mesh must be a jax.sharding.Mesh"),
    ({"reduce": max}, r"reduce must be \(start, fn\)"),
    ({"reduce": (0.0, "sum")}, r"reduce must be \(start, fn\)"),
    ({"checkpoint": 3}, "checkpoint must be the name of a folder"),
    ({"resume": "yesterday"}, "resume must be a trajectory"),
    ({"save": "all"}, "save must be a function"),
    ({"rtol": -1.0, "dt0": None}, "rtol must be finite and > 0"),
    ({"dt0": 0.0}, "dt0 must be finite and > 0"),
    ({"max_steps": 0}, "max_steps"),
    ({"solver": "rk4"}, "Diffrax solver"),
    ({"stabilisation": "glue"}, r"ll\.NoStabilisation\(\), got 'glue'"),
]


@pytest.mark.parametrize(("settings", "says"), SETTINGS_AND_WORDS, ids=range(len(SETTINGS_AND_WORDS)))
def test_settings(settings, says):
    with pytest.raises(ValueError, match=says):
        simulate_batch(LAW, STARTS, TS, **{**SETTINGS, **settings})


def test_what_is_integrated():
    with pytest.raises(ValueError, match="law must be a law"):
        simulate_batch(jnp.sin, STARTS, TS)
    with pytest.raises(ValueError, match="no arrays"):
        simulate_batch(LAW, Motion(None, None), TS)
    with pytest.raises(ValueError, match="float32 or all float64"):
        simulate_batch(LAW, Motion(np.ones((3, 2), int), np.ones((3, 2))), TS)
    with pytest.raises(ValueError, match="batch is empty"):
        simulate_batch(LAW, released(0), TS)
    with pytest.raises(ValueError, match=r"gives \.args the axis 0"):
        simulate_batch(LAW, STARTS, TS, jnp.asarray(1.0))
    with pytest.raises(ValueError, match="increase strictly"):
        simulate_batch(LAW, STARTS, TS[::-1])
    with pytest.raises(ValueError, match="do not look like its state"):
        simulate_batch(Oscillator(array([1.0, 2.0])), Motion(np.ones((3, 1)), np.zeros((3, 1))), TS)


@pytest.mark.slow
def test_a_fold_that_changes_its_value():
    law, starts = Oscillator(array(2.0)), Motion(np.ones((2, 1)), np.zeros((2, 1)))
    with pytest.raises(ValueError, match=r"The start looks like \(\(\), 'float64'\), but fn returns \(\(1,\)"):
        simulate_batch(law, starts, TS, dt0=0.1, progress=False, reduce=(0.0, lambda total, path: total + path.q[-1]))


def test_an_axis_that_in_axes_leaves_out():
    laws = Pendulum(array([9.0, 10.0, 11.0]))
    with pytest.raises((ValueError, TypeError)) as raised:
        simulate_batch(laws, STARTS, TS, in_axes=(None, 0, None), **SETTINGS)
    assert "about one lane, as in_axes=(None, 0, None) makes it" in raised.value.__notes__[-1]


def test_a_run_and_a_batch_are_not_resumed_by_each_other():
    law, starts = Oscillator(array(2.0)), Motion(jnp.ones((2, 1)), jnp.zeros((2, 1)))
    first = lambda start: simulate(law, start, TS, solver=diffrax.Heun(), dt0=0.5)  # noqa: E731
    one, many = (jax.eval_shape(run, start) for run, start in ((first, at_rest()), (jax.vmap(first), starts)))
    with pytest.raises(ValueError, match=r"one run, and no batch: go on with it by ll\.simulate\."):
        simulate_batch(law, None, TS + 2, resume=one, **SETTINGS)
    with pytest.raises(ValueError, match=r"is a batch: go on with it by ll\.simulate_batch"):
        simulate(law, None, TS + 2, resume=many, dt0=0.5)


def test_a_traced_batch_is_for_vmap():
    with pytest.raises(ValueError, match=r"called from Python: inside jit or vmap use jax\.vmap of ll\.simulate"):
        jax.jit(lambda q: simulate_batch(LAW, Motion(q, q), TS).q)(jnp.ones((3, 2)))
    assert at_rest().q.shape == (1,)
