"""Pictures show what the record holds."""

import time
import types

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

import lagrangian_learning as ll
from lagrangian_learning.plot import trajectory
from tests.laws import NaNAfter, Oscillator, Pendulum, array, at_rest, released

TS = np.linspace(0, 2, 21)


@pytest.fixture(autouse=True)
def figures_are_closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def pendulum():
    return ll.simulate(Pendulum(array(9.81)), released(), TS, dt0=0.05, stabilisation=ll.NoStabilisation())


@pytest.fixture(scope="module")
def batch():
    """Six runs of an oscillator from other starts."""
    starts = jnp.linspace(-1.0, 2.0, 6)[:, None]
    law = Oscillator(array(2.0))
    return jax.vmap(lambda q: ll.simulate(law, type(at_rest())(q, q * 0), TS, dt0=0.1))(starts)


@pytest.fixture
def oscillator(batch):
    return jax.tree.map(lambda leaf: leaf[3], batch)


def record_of(saved, ts=TS, result=ll.RESULTS.successful):
    """A stand-in for a solution whose records are given."""
    names = types.SimpleNamespace(description=(), custom_save=True, known=sorted)
    record = types.SimpleNamespace(residual=None, energy=None, work=None)
    return types.SimpleNamespace(ts=ts, saved=saved, names=names, record=record, result=result, **saved)


@pytest.fixture
def learning():
    """Records of three inputs, four hidden neurons and an output, and delta errors beside them."""
    rng = np.random.default_rng(0)

    def over_time(*shapes):
        return tuple(rng.normal(size=(len(TS), *shape)) for shape in shapes)

    neurons = (3,), (4,), (1,)
    W = over_time((4, 3), (1, 4))
    path = record_of({"x": over_time(*neurons), "W": W, "W_dot": W, "multipliers": over_time(*neurons)})
    path.__dict__["energy"] = path.saved["x"][0][:, 0]
    path.record.energy = path.energy
    path.energy_balance = 0 * path.energy
    return path, over_time(*neurons)


def titles(figure):
    return [ax.get_title(loc="left") for ax in figure.axes]


def lines(ax):
    """Label -> values of the lines that have a name."""
    return {line.get_label(): line.get_ydata() for line in ax.lines if not line.get_label().startswith("_")}


def panel(figure, word):
    return next(ax for ax in figure.axes if word in ax.get_title(loc="left"))


# -- one run -----------------------------------------------------------------------------------------------------------


def test_the_panels_are_what_the_run_has(pendulum, learning):
    words = ["Coordinates", "Velocities", "Energy E", "Energy balance", "Constraint residuals"]
    assert [title.startswith(word) for title, word in zip(titles(pendulum.plot()), words, strict=True)] == [True] * 5
    words, figure = ["Neurons x", "Weights W", "Multipliers", "Energy E", "Energy balance"], trajectory(learning[0])
    assert [title.startswith(word) for title, word in zip(titles(figure), words, strict=True)] == [True] * 5


def test_the_lines_are_the_record(pendulum):
    figure = pendulum.plot()
    drawn = lines(panel(figure, "Coordinates"))
    assert set(drawn) == {"q[0]", "q[1]"}
    np.testing.assert_array_equal(drawn["q[1]"], pendulum.q[:, 1])
    np.testing.assert_array_equal(panel(figure, "Coordinates").lines[0].get_xdata(), TS)
    np.testing.assert_array_equal(panel(figure, "Energy E").lines[0].get_ydata(), pendulum.energy)
    np.testing.assert_array_equal(panel(figure, "balance").lines[-1].get_ydata(), pendulum.energy_balance)
    assert figure.get_suptitle() == "Pendulum: successful"


def test_residuals_are_logarithmic_and_exact_zeros_are_left_out(pendulum):
    ax = ll.plot.residuals(pendulum)
    assert ax.get_yscale() == "log"
    drawn = lines(ax)["max|G|"]
    exact = np.asarray(pendulum.constraint_residual)
    assert (exact == 0).any()
    np.testing.assert_array_equal(np.isnan(drawn), exact == 0)
    np.testing.assert_array_equal(drawn[exact > 0], exact[exact > 0])


def test_energy_and_its_balance_have_axes_of_their_own(oscillator):
    level, balance = ll.plot.energy(oscillator)
    np.testing.assert_array_equal(level.lines[0].get_ydata(), oscillator.energy)
    np.testing.assert_array_equal(balance.lines[-1].get_ydata(), oscillator.energy_balance)
    assert level.get_shared_x_axes().joined(level, balance)
    _, given = plt.subplots(1, 2)
    assert ll.plot.energy(oscillator, given) == tuple(given)


def test_axes_that_are_given_are_drawn_on(oscillator):
    _, ax = plt.subplots()
    assert ll.plot.weights(oscillator, ax) is ax
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), oscillator.W[:, 0])
    assert plt.get_fignums() == [1]


def test_what_was_not_saved_is_a_named_error_and_no_panel(oscillator):
    with pytest.raises(ll.NotSavedError, match="no multipliers"):
        ll.plot.multipliers(oscillator)
    with pytest.raises(ll.NotSavedError, match="no residuals"):
        ll.plot.residuals(oscillator)
    silent = eqx.tree_at(lambda path: path.record.energy, oscillator, None)
    with pytest.raises(ll.NotSavedError, match="no energy"):
        ll.plot.energy(silent)
    assert not any("nergy" in title for title in titles(silent.plot()))
    assert plt.get_fignums() == [1]  # what was refused has left no figure


def test_records_of_ones_own():
    size = np.cos(TS)
    figure = trajectory(record_of({"size": size, "tree": {"a": np.zeros((len(TS), 2))}, "none": ()}))
    assert titles(figure) == ["size", "tree"]
    np.testing.assert_array_equal(lines(panel(figure, "size"))["size"], size)
    assert set(lines(panel(figure, "tree"))) == {"tree['a'][0]", "tree['a'][1]"}
    with pytest.raises(ValueError, match="kept nothing"):
        trajectory(record_of({}))


def test_a_run_that_failed_is_drawn_as_far_as_it_came(oscillator):
    q = np.array(oscillator.q)
    q[12:] = np.nan
    path = eqx.tree_at(lambda path: (path.record.saved["q"], path.result), oscillator, (q, ll.RESULTS.non_finite))
    figure = path.plot()
    ax = panel(figure, "Weights")
    np.testing.assert_array_equal(lines(ax)["W[0]"], q[:, 0])
    assert TS[11] <= ax.get_xlim()[1] < TS[12] < TS[-1]  # the title says that something is missing
    assert "FAILED" in figure.get_suptitle()
    figure.canvas.draw()


@pytest.mark.slow
def test_a_run_of_a_law_that_fails():
    path = ll.simulate(NaNAfter(), at_rest(0.5), TS, array(1.05), dt0=0.1, throw=False)
    drawn = lines(panel(path.plot(), "Coordinates"))["q[0]"]
    assert 0 < np.isfinite(drawn).sum() < len(TS)


def test_nothing_is_drawn_of_what_is_traced(oscillator):
    with pytest.raises(ValueError, match="outside jit"):
        jax.jit(lambda path: path.plot())(oscillator)


# -- multipliers -------------------------------------------------------------------------------------------------------


def test_multipliers_stand_beside_deltas(learning):
    path, deltas = learning
    ax = ll.plot.multipliers(path, deltas)
    sizes = [np.abs(np.asarray(leaf)).max(axis=0) for leaf in deltas]
    ours, theirs = np.concatenate(path.multipliers, axis=1), np.concatenate(deltas, axis=1)
    largest = np.sort(np.argsort(-np.concatenate(sizes))[:7])
    drawn = [line.get_ydata() for line in ax.lines[:-1]]
    np.testing.assert_array_equal(drawn[::2], ours.T[largest])
    np.testing.assert_array_equal(drawn[1::2], theirs.T[largest])
    assert "1 smaller ones not drawn" in ax.lines[-1].get_label()


def test_deltas_that_do_not_fit(learning):
    path, deltas = learning
    with pytest.raises(ValueError, match=r"leaves of \[3\], \[4\], \[1\] at a time, and are \[4\]"):
        ll.plot.multipliers(path, deltas[1:2])
    with pytest.raises(ValueError, match="runs and times first"):
        ll.plot.multipliers(path, jax.tree.map(lambda leaf: leaf[:-1], deltas))


# -- many entries ------------------------------------------------------------------------------------------------------


def test_a_layer_of_many_weights_is_its_quantiles(learning):
    path, _ = learning
    ax = ll.plot.weights(path, most=10)
    assert set(lines(ax)) == {"W[0], 12 entries", "W[1], 4 entries"}
    first = np.asarray(path.W[0]).reshape(len(TS), -1)
    np.testing.assert_allclose(lines(ax)["W[0], 12 entries"], np.median(first, axis=1))
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == pytest.approx(np.quantile(first, 0.05, axis=1).min())
    assert band.max() == pytest.approx(np.quantile(first, 0.95, axis=1).max())
    assert len(ll.plot.weights(path, most=16).lines) == 16


def test_a_million_weights_take_a_moment():
    ts = np.linspace(0, 1, 5)
    W = np.random.default_rng(0).normal(size=(5, 1000, 1000)).astype(np.float32)
    start = time.perf_counter()
    ax = ll.plot.weights(record_of({"W": (W,)}, ts))
    assert time.perf_counter() - start < 5
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.median(W.reshape(5, -1), axis=1), atol=1e-6)


def test_many_layers_are_root_mean_squares():
    rng = np.random.default_rng(0)
    W = tuple(rng.normal(size=(len(TS), 3, 3)) for _ in range(12))
    ax = ll.plot.weights(record_of({"W": W}))
    np.testing.assert_allclose(
        [line.get_ydata() for line in ax.lines], [np.sqrt(np.mean(leaf**2, axis=(1, 2))) for leaf in W]
    )
    assert set(lines(ax)) == {"W[0], 9 entries", "W[11], 9 entries"}


# -- batches -----------------------------------------------------------------------------------------------------------


def test_a_batch_is_its_quantiles(batch):
    ax = ll.plot.quantiles(batch, "W", levels=[(0.1, 0.9)])
    values = np.asarray(batch.W)[..., 0]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.median(values, axis=0))
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    low, high = np.quantile(values, [0.1, 0.9], axis=0)
    np.testing.assert_allclose([band.min(), band.max()], [low.min(), high.max()])
    assert ax.get_title(loc="left") == "W, 6 runs:\nmedian, 10–90 %"


def test_quantiles_of_a_function(batch):
    ax = ll.plot.quantiles(batch, lambda path: path.energy)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.median(batch.energy, axis=0))
    with pytest.raises(ValueError, match=r"runs and times first, \[6, 21\], and has the shape \[6\]"):
        ll.plot.quantiles(batch, lambda path: path.energy[:, 0])
    with pytest.raises(ValueError, match="low < high"):
        ll.plot.quantiles(batch, "W", levels=[(0.9, 0.1)])


def test_runs_that_failed_are_left_out_after_their_end(batch):
    values = np.array(batch.energy)
    values[2, 10:] = np.nan
    ax = ll.plot.quantiles(batch, lambda path: values)
    kept = np.delete(values, 2, axis=0)
    expected = np.concatenate([np.median(values[:, :10], axis=0), np.median(kept[:, 10:], axis=0)])
    np.testing.assert_allclose(ax.lines[0].get_ydata(), expected)


def test_a_batch_plots_as_quantiles(batch):
    figure = batch.plot()
    assert figure.get_suptitle() == "Oscillator: all 6 successful"
    np.testing.assert_allclose(panel(figure, "Energy E").lines[0].get_ydata(), np.median(batch.energy, axis=0))
    assert all(len(ax.collections) == 2 for ax in figure.axes)


def test_one_run_has_no_quantiles(oscillator):
    with pytest.raises(ValueError, match="one run"):
        ll.plot.quantiles(oscillator, "W")


def test_runs_with_times_of_their_own_are_refused():
    ts = np.stack([TS, TS + 1])
    path = record_of({"W": np.zeros((2, len(TS), 1))}, ts)
    with pytest.raises(ValueError, match="times of their own"):
        ll.plot.quantiles(path, "W")


# -- phase diagrams ----------------------------------------------------------------------------------------------------


def test_a_border_is_where_the_values_cross_it():
    across, up = np.geomspace(0.1, 10, 41), np.geomspace(1, 4, 9)
    values = np.log(across)[None] - 0 * up[:, None]
    ax = ll.plot.phase_diagram(across, up, values, border=0.0, border_label="1")
    border = next(c for c in ax.collections if type(c).__name__ == "QuadContourSet").get_paths()[0]
    np.testing.assert_allclose(border.vertices[:, 0], 1.0)
    mesh = ax.collections[0]
    np.testing.assert_array_equal(np.ravel(mesh.get_array()), np.ravel(values))
    with pytest.raises(ValueError, match=r"\[9, 41\], and are \[41, 9\]"):
        ll.plot.phase_diagram(across, up, values.T)


@pytest.mark.parametrize("shade", [-3.0, 3.0])
def test_a_border_is_seen_on_the_darkest_shade_and_on_the_lightest(shade):
    """Pixels across the line: a dark line with light edges, whatever is around it."""
    across, up = np.geomspace(0.1, 10, 40), np.geomspace(0.1, 10, 9)
    values = np.repeat(np.where(across < 1, shade, 0.999 * shade)[None], 9, axis=0)  # all of one shade
    figure, ax = plt.subplots(figsize=(4, 3), dpi=100)
    ll.plot.phase_diagram(across, up, values, border=0.9995 * shade, limits=(-3.0, 3.0), ax=ax)
    figure.canvas.draw()
    column, row = ax.transData.transform((1.0, 1.0)).astype(int)
    brightness = np.asarray(figure.canvas.buffer_rgba())[-row, column - 8 : column + 9, :3].mean(axis=1) / 255
    assert brightness.min() < 0.3
    assert brightness.max() > 0.85


def test_noise_of_single_cells_draws_no_border():
    across, up = np.geomspace(0.1, 10, 21), np.geomspace(1, 4, 21)
    values = np.repeat(np.log(across)[None], 21, axis=0)
    values[4, 15] = values[12, 17] = -3.0

    def islands(over):
        ax = ll.plot.phase_diagram(across, up, values, border=0.0, over=over)
        paths = next(c for c in ax.collections if type(c).__name__ == "QuadContourSet").get_paths()
        return len(paths[0].to_polygons(closed_only=False))

    assert (islands((1, 1)), islands((3, 3))) == (3, 1)
    with pytest.raises(ValueError, match="odd"):
        ll.plot.phase_diagram(across, up, values, border=0.0, over=(2, 2))
