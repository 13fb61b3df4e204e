"""The room of the fused engine is used with versions that its tests have run with, and with no others."""

import subprocess
import sys
import warnings

import diffrax
import numpy as np
import pytest

import lagrangian_learning as ll
from lagrangian_learning.batch import engines as engine_choice
from lagrangian_learning.fused import choice, internals
from tests.batches import DIFFRAX, FUSED
from tests.laws import Motion, Oscillator

SETTINGS = {"in_axes": (None, 0, None), "dt0": 0.5, "solver": diffrax.Heun(), "progress": False}
STARTS = Motion(np.linspace(0.5, 1.5, 64)[:, None], np.zeros((64, 1)))


def batch(**settings):
    return ll.simulate_batch(Oscillator(2.0), STARTS, [0.0, 1.0], **SETTINGS, **settings)


@pytest.fixture
def newer(monkeypatch):
    """As if another JAX were installed."""
    monkeypatch.setattr(internals, "version", lambda name: "0.99.1.dev3" if name == "jax" else "0.12.0")
    monkeypatch.setattr(internals, "TESTED", {name: internals.TESTED[name] for name in ("jax", "jaxlib")})
    choice._usable.cache_clear()
    yield
    choice._usable.cache_clear()


def test_the_installed_versions_are_tested():
    assert internals.untested() is None


def test_an_untested_version_leaves_batches_to_diffrax_with_one_warning(newer):
    with pytest.warns(
        RuntimeWarning, match=r"tests have not run with jax 0\.99\.1\.dev3 \(tested: 0\.10\.2 to before"
    ) as told:
        first = batch()
    assert first.engine == DIFFRAX
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert batch().engine == DIFFRAX


def test_an_untested_version_is_refused_where_the_engine_is_asked_for(newer):
    with pytest.raises(ValueError, match=r"FusedEngine cannot integrate this: .*jax 0\.99\.1.*Use engine=None\."):
        batch(engine=FUSED)


@pytest.mark.parametrize(
    ("installed", "is_tested"),
    [("0.10.1", False), ("0.10.2", True), ("0.12.0.1", True), ("0.12.9", True), ("0.13.0rc1", False), ("1.0", False)],
)
def test_bounds(monkeypatch, installed, is_tested):
    monkeypatch.setattr(internals, "version", lambda name: installed)
    monkeypatch.setattr(internals, "TESTED", {"jax": ("0.10.2", "0.13")})
    assert (internals.untested() is None) == is_tested


def test_a_room_that_cannot_be_loaded_leaves_batches_to_diffrax_with_one_warning(monkeypatch):
    monkeypatch.setattr(engine_choice, "_OPTIONAL", ("lagrangian_learning.gone",))
    with pytest.warns(RuntimeWarning, match=r"lagrangian_learning\.gone cannot be loaded here"):
        assert batch().engine == DIFFRAX
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert batch().engine == DIFFRAX


LOADED = """
import sys
import numpy as np
import lagrangian_learning as ll
law = ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, args: v @ v / 2 - q @ q / 2))
ll.simulate(law, law.initial_state(0.0, np.ones(1), np.zeros(1)), [0.0, 1.0], dt0=0.5)
starts = ll.State(np.ones((2, 1)), np.zeros((2, 1)))
engine = ll.batch.DiffraxEngine()
ll.simulate_batch(law, starts, [0.0, 1.0], engine=engine, in_axes=(None, 0, None), dt0=0.5, progress=False)
assert not [name for name in sys.modules if name.startswith("lagrangian_learning.fused")]
ll.fused.FusedEngine()
"""


@pytest.mark.slow
def test_nothing_loads_the_room_before_it_is_used():
    subprocess.run([sys.executable, "-c", LOADED], check=True)  # noqa: S603  # our own code
