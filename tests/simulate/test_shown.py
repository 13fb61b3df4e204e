"""A trajectory as HTML, and as a dataset of xarray."""

import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.simulate import RESULTS, simulate
from lagrangian_learning.simulate.dataset import named_records
from lagrangian_learning.simulate.table import html_table, messages_of
from lagrangian_learning.simulate.trajectory import Names
from tests.laws import NaNAfter, Pendulum, array, at_rest, released

TS = np.linspace(0, 1, 3)


class Holding(types.SimpleNamespace):
    """A stand-in for a solution."""

    def __init__(self, saved, names, **aliased):
        super().__init__(saved=saved, names=names, **aliased)


@pytest.fixture(scope="module")
def pendulum():
    return simulate(Pendulum(array(9.81)), released(), TS, dt0=0.1)


def test_html_says_what_print_says(pendulum):
    path = pendulum
    shown = path._repr_html_()
    for line in str(path).splitlines()[1:]:
        name, text = line[2:18].strip(), line[18:].strip()
        assert f">{name}</th>" in shown
        assert text in shown
    assert shown.count("<tr>") == shown.count("</tr>") == len(str(path).splitlines()) - 1


def test_html_is_escaped():
    shown = html_table("<b>", [("a<b", "x & <script>\n  more")])
    assert "<b>" not in shown
    assert "<script>" not in shown
    assert "x &amp; &lt;script&gt;<br>more" in shown


def test_without_xarray_the_error_names_the_extra(monkeypatch, pendulum):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ModuleNotFoundError, match=r"lagrangian-learning\[xarray\]"):
        pendulum.to_xarray()


def test_a_dataset_holds_the_records(pendulum):
    pytest.importorskip("xarray")
    path = pendulum
    found = path.to_xarray()
    assert found["q"].dims == ("time", "q_0")
    np.testing.assert_array_equal(found["time"], TS)
    for name in ("q", "v", "a", "energy", "energy_balance", "constraint_residual"):
        np.testing.assert_array_equal(found[name], getattr(path, name))
    assert found.attrs["equation"] == "Pendulum"
    assert found.attrs["result"] == "successful"
    assert found.attrs["num_steps"] == 10


@pytest.mark.slow
def test_a_batch_has_lanes_first_and_says_which_failed():
    pytest.importorskip("xarray")
    law = NaNAfter()
    ends = jnp.array([0.3, 5.0])
    path = jax.vmap(lambda end: simulate(law, at_rest(0.5), TS, end, dt0=0.1, throw=False))(ends)
    found = path.to_xarray()
    assert found["q"].dims == ("lane", "time", "q_0")
    assert found["num_steps"].dims == ("lane",)
    assert found["result"].values[1] == "successful"
    assert "NaN" in found["result"].values[0]
    np.testing.assert_array_equal(found["q"], path.q)
    assert "energy" not in found


def test_messages_have_the_shape_of_the_runs():
    result = jax.tree.map(lambda code: jnp.broadcast_to(code, (2, 3)), RESULTS.successful)
    assert messages_of(result).shape == (2, 3)
    assert set(messages_of(result).ravel()) == {"successful"}


def test_records_have_the_names_that_the_law_gives_them():
    def named(saved, aliases, *, custom_save=False):
        names = Names(custom_save, tuple(aliases.items()), ())
        return named_records(Holding(saved, names, **{name: name for name in aliases}))

    q, v = (1, 2), 3
    parts = {"x": ("q", 0), "W": ("q", 1)}
    assert named({"q": q, "v": v}, parts) == {"x": "x", "W": "W", "v": v}
    assert named({"q": q, "v": v}, {"W": ("q", None)}) == {"W": "W", "v": v}
    assert named({"q": q}, {"x": ("q", 0)}) == {"q": q}  # half of it has no name
    assert named({"q": np.zeros(2)}, parts)["q"].shape == (2,)  # the first axis of an array is time
    assert named({"q": q}, parts, custom_save=True) == {"q": q}
    assert named(4, {}) == {"saved": 4}
