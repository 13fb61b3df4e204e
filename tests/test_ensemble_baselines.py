"""The rivals of the ensemble benchmark move the paper's XOR network as a NumPy program of its own does."""

import runpy
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from tests.problems import xor_action

pytestmark = pytest.mark.slow

BASELINES = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "baselines.py"))
STEPS = 30
needs_compiler = pytest.mark.skipif(BASELINES["c_compiler"]() is None, reason="no C compiler")
needs_torch = pytest.mark.skipif(BASELINES["missing_torch"]() is not None, reason="the extra bench-torch")


@pytest.fixture(scope="module")
def lanes():
    return BASELINES["ensemble"](19)  # no multiple of the lanes that C takes at once


@pytest.fixture(scope="module")
def reference(lanes):
    return BASELINES["reference"](lanes, STEPS)


@needs_compiler
@pytest.mark.parametrize("flags", BASELINES["FLAGS"])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_c_program_is_exact(lanes, reference, flags, threads):
    library = BASELINES["built"](BASELINES["FLAGS"][flags], np.float64)
    np.testing.assert_allclose(BASELINES["c_program"](library, lanes, STEPS, threads)(), reference, rtol=0, atol=1e-13)


@needs_compiler
def test_its_functions_are_exact_far_out(lanes):
    """Large weights saturate tanh, late phases turn sine and cosine many times."""
    far = lanes._replace(W=40 * lanes.W, phase=lanes.phase + 300 * np.arange(19.0)[:, None])
    library = BASELINES["built"](BASELINES["FLAGS"]["C"], np.float64)
    found = BASELINES["c_program"](library, far, 1, 1)()  # one step: such lanes soon magnify any rounding
    np.testing.assert_allclose(found, BASELINES["reference"](far, 1), rtol=1e-11, atol=1e-11)


@needs_compiler
def test_the_c_program_in_single_precision(lanes, reference):
    single = type(lanes)(*(leaf.astype(np.float32) for leaf in lanes))
    library = BASELINES["built"](BASELINES["FLAGS"]["C"], np.float32)
    np.testing.assert_allclose(BASELINES["c_program"](library, single, STEPS, 2)(), reference, rtol=0, atol=5e-6)


def test_vmap_of_diffeqsolve(lanes, reference):
    np.testing.assert_allclose(BASELINES["jax_dense"](lanes, STEPS)(), reference, rtol=0, atol=1e-13)


@needs_torch
def test_torchdiffeq(lanes, reference):
    np.testing.assert_allclose(BASELINES["torchdiffeq_dense"](lanes, STEPS, 1)(), reference, rtol=0, atol=1e-13)


def test_our_law_has_the_rates_of_the_reference(lanes):
    """The equations that all rivals write by hand are those that the library derives."""
    names = ("STEP", "MASS_X", "MASS_W", "THETA", "TARGET")
    step, mass_x, mass_W, theta, target = (BASELINES[name] for name in names)
    action = xor_action(mass_x, mass_W, theta)
    W, W_dot, frequency, phase = (leaf[0] for leaf in lanes)
    stimulus = ll.Stimulus(ll.Sinusoids(frequency, jnp.ones(2), phase), jnp.array([target]))
    W_ddot, _ = action.law().accelerations(3 * step, ll.State(jnp.asarray(W), jnp.asarray(W_dot)), stimulus)
    expected = BASELINES["numpy_rates"](3 * step, np.concatenate([W, W_dot]), frequency, phase)[6:]
    np.testing.assert_allclose(W_ddot, expected, rtol=0, atol=1e-12)
