"""A trajectory as HTML, and as a dataset of xarray."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.simulate import simulate
from lagrangian_learning.simulate.dataset import named_records
from lagrangian_learning.simulate.table import html_table, messages_of
from tests.laws import NaNAfter, Oscillator, Pendulum, array, at_rest, released

TS = np.linspace(0, 1, 3)


def test_html_says_what_print_says():
    path = simulate(Pendulum(array(9.81)), released(), TS, dt0=0.1)
    shown = path._repr_html_()
    for line in str(path).splitlines()[1:]:
        name, text = line[2:18].strip(), line[18:].strip()
        assert f">{name}</th>" in shown
        assert text.replace("|G|", "|G|") in shown
    assert shown.count("<tr>") == shown.count("</tr>") == len(str(path).splitlines()) - 1


def test_html_is_escaped():
    shown = html_table("<b>", [("a<b", "x & <script>\n  more")])
    assert "<b>" not in shown
    assert "<script>" not in shown
    assert "x &amp; &lt;script&gt;<br>more" in shown


def test_without_xarray_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    path = simulate(Oscillator(array(2.0)), at_rest(), TS, dt0=0.1)
    with pytest.raises(ModuleNotFoundError, match=r"lagrangian-learning\[xarray\]"):
        path.to_xarray()


def test_a_dataset_holds_the_records():
    pytest.importorskip("xarray")
    path = simulate(Pendulum(array(9.81)), released(), TS, dt0=0.1)
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
    path = simulate(Oscillator(array(2.0)), at_rest(), TS, dt0=0.1)
    result = jax.tree.map(lambda code: jnp.broadcast_to(code, (2, 3)), path.result)
    assert messages_of(result).shape == (2, 3)
    assert set(messages_of(result).ravel()) == {"successful"}


def test_records_have_the_names_that_the_law_gives_them():
    path = simulate(Oscillator(array(2.0)), at_rest(), TS, dt0=0.1)
    assert set(named_records(path)) == {"W", "x", "v"}  # the law calls q also W, and its first entry x
    own = simulate(Oscillator(array(2.0)), at_rest(), TS, dt0=0.1, save=lambda t, o: {"q": o["q"]})
    assert set(named_records(own)) == {"q"}
