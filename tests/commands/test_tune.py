"""Tuning the physics of learning: scores against Optax and written recursions, gradients against differences."""

import importlib.util
import json
import sys
import types

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lagrangian_learning as ll
from lagrangian_learning.commands import cli
from lagrangian_learning.commands.tune import command, physics, report, rivals, search
from lagrangian_learning.commands.tune.task import CASES, JUDGED, TASKS, Case, Examples, Task

FRAMES = 40
NETWORK = ll.Layered((2, 3, 1))


def cases(seed, count):
    def case(key):
        u, w = jax.random.split(key)
        inputs = jax.random.normal(u, (FRAMES + 1, 2))
        goals = ll.Stream(jnp.sin(inputs[:, :1]), degree=0)
        return Case(ll.Stimulus(ll.Stream(inputs, degree=0), goals), NETWORK.init(w))

    return jax.vmap(case)(jax.random.split(jax.random.key(seed), count))


def small_task(on_line):
    inputs = jax.random.normal(jax.random.key(5), (20, 2))
    held_out = None if on_line else Examples(inputs, jnp.sin(inputs[:, :1]))
    return Task(NETWORK, ll.SquaredError(), cases(0, 3), cases(1, 2), held_out, held_out, 0.5, FRAMES, "small", "", "")


def made(theta, rate, mass_ratio):
    return physics.Physics(jnp.log(jnp.array([theta])), jnp.full(2, jnp.log(rate)), jnp.log(jnp.array(mass_ratio)))


@pytest.mark.parametrize("on_line", [pytest.param(False, marks=pytest.mark.slow), True])
def test_light_neurons_score_as_sgd_with_momentum_does(on_line):
    """Two programs: (8)–(10) by KickDrift, and Optax in a scan."""
    task = small_task(on_line)
    theta, rate = 0.3, 0.2
    ours = search.scores_of_physics(jax.tree.map(lambda leaf: leaf[None], made(theta, rate, 1e-12)), task, task.tuned)
    sgd = next(rival for rival in rivals.RIVALS if rival.name == "SGD, constant")
    numbers = {"rate": jnp.array([rate]), "forgetting": -jnp.expm1(jnp.array([-theta]))}
    np.testing.assert_allclose(ours, search.scores_of_rival(sgd, numbers, task, task.tuned), rtol=1e-9)


@pytest.mark.slow
def test_a_friction_of_equal_knots_is_the_constant_one():
    task = small_task(on_line=True)
    constant = made(0.4, 0.1, 1e-3)
    scores = [
        search.scores_of_physics(jax.tree.map(lambda leaf: leaf[None], one), task, task.tuned)
        for one in (constant, physics.with_knots(constant))
    ]
    np.testing.assert_allclose(*scores, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(("windows", "on_line"), [(1, False), (1, True), (4, True)])
def test_gradients_are_those_of_differences(windows, on_line, monkeypatch):
    """Of whole runs; and of windows by the last knot, which acts in the last window alone, so that no cut matters.

    Multipliers are solved to more digits than differences need.
    """
    monkeypatch.setattr(physics, "RTOL", 1e-12)
    task, at = small_task(on_line), physics.with_knots(made(0.4, 0.1, 1e-2), knots=5)
    compiled = eqx.filter_jit(lambda *given: search.gradients(*given))  # not one that was traced with another RTOL
    slope = compiled(at, task, windows)[1]
    h = 1e-5
    if windows == 1:
        way = jax.tree.map(lambda leaf: jnp.asarray(np.random.default_rng(0).normal(size=leaf.shape)), at)
    else:
        way = jax.tree.map(jnp.zeros_like, at)
        way = physics.Physics(way.log_thetas.at[-1].set(1.0), way.log_rates, way.log_mass_x)
    ahead, behind = (compiled(jax.tree.map(lambda a, b, h=h: a + h * b, at, way), task, windows)[0] for h in (h, -h))
    along = sum(jnp.tensordot(a, b, b.ndim) for a, b in zip(jax.tree.leaves(slope), jax.tree.leaves(way), strict=True))
    np.testing.assert_allclose(along, (ahead - behind) / (2 * h), rtol=1e-5)


@pytest.mark.slow
def test_windows_cut_the_derivative_and_not_the_run():
    task = small_task(on_line=True)
    at = physics.with_knots(made(0.4, 0.1, 1e-2), knots=5)
    whole, cut = (eqx.filter_jit(search.gradients)(at, task, windows) for windows in (1, 4))
    np.testing.assert_allclose(cut[0], whole[0], rtol=1e-12)  # the mean over windows is that over frames
    assert np.all(np.abs(cut[1].log_thetas[:, 0] / whole[1].log_thetas[:, 0] - 1) > 0.01)


def test_gradients_are_shortened_and_those_that_are_not_finite_left_out():
    slopes = {"a": jnp.array([[3.0], [0.3], [jnp.inf]]), "b": jnp.array([4.0, 0.4, 0.0])}
    found = jax.vmap(search._shortened)(slopes)
    np.testing.assert_allclose(found["a"], [[0.6], [0.3], [0.0]])
    np.testing.assert_allclose(found["b"], [0.8, 0.4, 0.0])


@pytest.mark.slow
def test_a_run_that_fails_scores_as_if_it_had_learned_nothing():
    task = small_task(on_line=False)
    lost = jax.tree.map(lambda leaf: leaf[None], made(1e-2, 1e9, 1e-3))
    scores = np.asarray(search.scores_of_physics(lost, task, task.tuned))
    assert np.all(np.isfinite(scores))


def test_schedules_are_those_of_optax():
    numbers = {"rate": jnp.array(0.3), "end": jnp.array(0.1), "start": jnp.array(0.05), "rise": jnp.array(0.25)}
    steps = jnp.arange(0.0, 201.0, 10.0)
    one_cycle = rivals._one_cycle(numbers, 200)
    theirs = optax.cosine_onecycle_schedule(200, 0.3, pct_start=0.25, div_factor=20.0, final_div_factor=0.5)
    with jax.numpy_dtype_promotion("standard"):  # Optax mixes dtypes
        np.testing.assert_allclose(jax.vmap(one_cycle)(steps), jax.vmap(theirs)(steps), rtol=1e-6)


@pytest.mark.slow
def test_the_gradient_lowers_the_score_and_its_price_is_counted():
    task = small_task(on_line=True)
    rng = np.random.default_rng(0)
    begin = search.by_random_physics("constants", task, 4, rng)
    with jax.numpy_dtype_promotion("standard"):  # Optax mixes dtypes
        found = search.by_gradient("gradient", task, begin, 12, 1, lambda step: None)
    assert found.tuned < 0.98 * begin.tuned
    assert len(found.course) == 4 + 12 * search.PRICE
    assert np.all(np.diff(found.course) <= 0)
    np.testing.assert_allclose(found.course[:4], begin.course)
    assert found.has_schedule
    assert not begin.has_schedule
    again = search.scores_of_physics(jax.tree.map(lambda leaf: leaf[None], found.numbers), task, task.tuned)
    np.testing.assert_allclose(np.mean(again), found.tuned, rtol=1e-9)


def test_tables_compare_seed_by_seed(capsys):
    def way(name, judged):
        return search.Found(name, made(0.4, 0.1, 1e-2), 1.0, np.array(judged), np.array([1.0]), 1.0)

    found = [way(report.WHOLE, [1.0, 2.0, 3.0]), way("other", [1.5, 1.9, 3.5])]
    lines = []
    report.print_results(lambda text="": lines.append(text), found, 3.5)
    row = next(line for line in lines if line.startswith("  other"))
    assert "+0.3000 ± 0.2000" in row  # of 0.5, −0.1, 0.5: mean 0.3, standard deviation 0.3464, over √3
    assert row.endswith("2 of 3")
    assert report.as_dict(small_task(True), found, 3.5)["ways"][1]["worse_than_the_gradient"] == pytest.approx(0.3)


def test_streams_come_from_river(monkeypatch):
    """What is asked of river, and that its inputs and targets are scaled; by a stand-in where it is not installed."""
    asked = []

    class FriedmanDrift:
        def __init__(self, kind, position, seed):
            asked.append((kind, position, seed))

        def take(self, count):
            return (({j: 0.1 * j for j in range(10)}, 14.0 + 5.0 * k) for k in range(count))

    synth = types.SimpleNamespace(FriedmanDrift=FriedmanDrift)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "river", types.ModuleType("river"))
    monkeypatch.setitem(sys.modules, "river.datasets", types.SimpleNamespace(synth=synth))
    made = TASKS["drift"](0, 100)
    assert len(asked) == CASES + JUDGED
    assert len({seed for *_, seed in asked}) == len(asked)
    assert all(10 <= first < second < third < 90 for _, (first, second, third), _ in asked)
    np.testing.assert_allclose(made.tuned.stimulus.input.frames[0, 0], [*np.linspace(-1, 0.8, 10), 1.0], atol=1e-6)
    np.testing.assert_allclose(made.tuned.stimulus.target.frames[0, :3, 0], [0.0, 1.0, 2.0], atol=1e-6)


def test_without_river_the_remedy_is_said(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "river" else object())
    with pytest.raises(SystemExit, match=r'tune drift: the streams are made by river.*pip install "river'):
        cli.main(["tune", "drift"])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--runs", "10"], "tune speech: --runs must be at least 84"),
        (["--frames", "50"], "tune speech: --frames must be at least 100"),
        (["--seed", "-1"], "tune speech: --seed must be at least 0"),
        (["--output", "a.txt"], "tune speech: --output cannot be"),
    ],
)
def test_bad_options_end_the_command_before_it_works(option, message, monkeypatch):
    monkeypatch.setattr(command, "ways_of_tuning", None)
    with pytest.raises(SystemExit, match=message):
        cli.main(["tune", "speech", *option])


@pytest.mark.slow
def test_speech_is_tuned(tmp_path, capsys):
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):  # as users run it
        cli.main(["tune", "speech", "--runs", "84", "--frames", "100", "--output", str(tmp_path / "a.png"),
                  "--json", str(tmp_path / "a.json")])  # fmt: skip
    numbers = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert len(numbers["ways"]) == len(rivals.RIVALS) + 4
    assert all(way["runs"] == 84 and len(way["judged"]) == JUDGED for way in numbers["ways"])
    assert (tmp_path / "a.png").stat().st_size > 10_000
