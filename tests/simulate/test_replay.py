"""`ll.Replay`: derivatives by steps made again, in every mode, against Diffrax's and finite differences."""

import functools
import re

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from tests.laws import Motion, Oscillator, Pendulum, array, released

TS = np.array([0.0, 0.3, 1.0])
CHECKPOINTED = diffrax.RecursiveCheckpointAdjoint()
REPLAY = ll.Replay()


def swing(g, ts=TS, adjoint=REPLAY, **settings):
    """Of the projected pendulum, by all its records."""
    path = ll.simulate(Pendulum(g), released(), ts, adjoint=adjoint, **{"solver": diffrax.Tsit5(), **settings})
    return jnp.sum(path.q @ jnp.array([1.0, 2.0])) + path.v[1, 0] ** 2


STEPS = {"constant": {"dt0": 0.03}, "adaptive": {"rtol": 1e-8}}


@pytest.mark.parametrize(
    ("steps", "segments", "levels"),
    [
        ("constant", 4, 1),
        *(pytest.param("constant", segments, 1, marks=pytest.mark.slow) for segments in (1, 64)),
        *(pytest.param("constant", *pieces, marks=pytest.mark.slow) for pieces in ((4, 2), (1, 3), (2, 4), (128, 2))),
        pytest.param("adaptive", 4, 1, marks=pytest.mark.slow),
        pytest.param("adaptive", None, 2, marks=pytest.mark.slow),
    ],
)
def test_reverse_mode_is_that_of_diffrax(steps, segments, levels):
    """In as many segments as there are states to keep, and in few: the distance between them doubles on the way."""
    # Diffrax's loop halves the last step after a rejection, ours does not: two sequences of steps.
    same = 1e-12 if steps == "constant" else 1e-8
    np.testing.assert_allclose(gradient(steps, ll.Replay(segments, levels=levels)), by_diffrax(steps), rtol=same)


def gradient(steps, adjoint):
    def value(g, end):
        return swing(g, jnp.stack([array(0.0), array(0.3), end]), adjoint, max_steps=200, **STEPS[steps])

    return jax.jit(jax.grad(value, (0, 1)))(array(9.81), array(1.0))


@functools.cache
def by_diffrax(steps):
    return gradient(steps, CHECKPOINTED)


def test_all_that_moves_has_its_derivative():
    """Constants of the law, the start, what is added to it, times, a value that the save function closes over."""

    def value(given, adjoint):
        omega, friction, q, force, end, scale = given
        law, start = Oscillator(omega, friction), Motion(q, jnp.zeros(2))
        path = ll.simulate(
            law, start, jnp.stack([array(0.0), array(0.5), end]), force, dt0=0.02, max_steps=256, adjoint=adjoint,
            solver=diffrax.Heun(), save=lambda t, seen: scale * t * seen["q"],
        )  # fmt: skip
        return jnp.sum(path.saved**2) + path.final_state.v[0] + jnp.sum(path.energy)

    given = (array(2.0), array(0.3), jnp.array([1.0, 0.5]), array(0.1), array(1.0), array(1.5))
    ours, theirs = (jax.grad(value)(given, adjoint) for adjoint in (REPLAY, CHECKPOINTED))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
        assert np.all(np.asarray(b) != 0)


def curve(g):
    return swing(g, dt0=0.03, max_steps=128, adjoint=ll.Replay(4))


def difference(f, at, h=1e-3):
    return (8 * (f(at + h) - f(at - h)) - (f(at + 2 * h) - f(at - 2 * h))) / (12 * h)


@pytest.mark.parametrize(
    "mode", ["jvp", "vmap", *(pytest.param(mode, marks=pytest.mark.slow) for mode in ("jacfwd", "grad of vmap"))]
)
def test_modes(mode):
    at, other = array(9.81), array(4.0)
    exact, there = (difference(jax.jit(curve), g) for g in (at, other))
    both = jnp.stack([at, other])
    found = {
        "jvp": lambda: jax.jvp(curve, (at,), (array(1.0),))[1],
        "jacfwd": lambda: jax.jacfwd(curve)(at),
        "vmap": lambda: jax.vmap(jax.grad(curve))(both),
        "grad of vmap": lambda: jax.grad(lambda g: jnp.sum(jax.vmap(curve)(g)))(both),
    }[mode]()
    np.testing.assert_allclose(found, [exact, there] if np.ndim(found) else exact, rtol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["hessian", "reverse over forward", "forward over forward"])
def test_second_derivatives(mode):
    at = array(9.81)
    second = {
        "hessian": jax.hessian,
        "reverse over forward": lambda f: jax.jacrev(jax.jacfwd(f)),
        "forward over forward": lambda f: jax.jacfwd(jax.jacfwd(f)),
    }[mode](curve)
    np.testing.assert_allclose(jax.jit(second)(at), by_differences(9.81), rtol=1e-7)


@functools.cache
def by_differences(at):
    return difference(jax.jit(jax.grad(curve)), array(at))


@pytest.mark.slow
def test_reverse_over_reverse_is_refused_by_name():
    with pytest.raises(RuntimeError, match=r"reverse mode over reverse mode .* jax\.hessian"):
        jax.jacrev(jax.jacrev(curve))(array(9.81))


def test_lanes_of_different_lengths():
    """Each of a batch that ends sooner waits, and keeps its records and its derivative."""

    def one(end):
        path = ll.simulate(
            Oscillator(2.0), Motion(jnp.ones(1), jnp.zeros(1)), jnp.stack([array(0.0), end]), rtol=1e-9, adjoint=REPLAY
        )
        return path.final_state.q[0]

    ends = jnp.array([0.1, 2.0, 0.7])
    lanes = jax.jit(jax.vmap(jax.value_and_grad(one)))(ends)
    np.testing.assert_allclose(lanes[0], np.cos(2 * ends), atol=1e-8)
    np.testing.assert_allclose(lanes[1], -2 * np.sin(2 * ends), atol=1e-7)


@pytest.mark.slow
def test_without_a_bound_on_steps_there_is_forward_mode_alone():
    def value(g, dt0):
        return swing(g, dt0=dt0, max_steps=None)

    expected = jax.grad(curve)(array(9.81))
    slope = jax.jvp(lambda g: value(g, array(0.03)), (array(9.81),), (array(1.0),))[1]
    np.testing.assert_allclose(slope, expected, rtol=1e-10)
    with pytest.raises(ValueError, match="give max_steps"):
        jax.jit(jax.grad(value))(array(9.81), array(0.03))
    # Constant steps over known times are as many as they are.
    np.testing.assert_allclose(jax.grad(value)(array(9.81), 0.03), expected, rtol=1e-10)


def test_what_a_comparison_reads_has_no_derivative():
    start = ll.State(jnp.ones(2), jnp.zeros(2))

    def stiffness(t, q, v, threshold):
        return jnp.dot(v, v) / 2 - jnp.where(t > threshold, 1.0, 2.0) * jnp.dot(q, q) / 2

    def value(threshold, adjoint):
        law = ll.EulerLagrange(ll.Lagrangian(stiffness))
        settings = {"dt0": 0.1, "solver": diffrax.Heun(), "adjoint": adjoint}
        return jnp.sum(ll.simulate(law, start, [0.0, 1.0], threshold, **settings).q)

    assert jax.grad(value)(array(0.5), REPLAY) == jax.grad(value)(array(0.5), CHECKPOINTED) == 0


def test_levels_keep_less():
    """Of 2^20 steps 2^10 states twice, or 2^7, 2^7 and 2^6, each store but the last with one more."""
    state = Motion(jnp.ones(1), jnp.zeros(1))
    assert [ll.Replay(levels=n).copies(2**20, state) for n in (1, 2)] == [1025 + 1024, 129 + 129 + 64]
    with pytest.raises(ValueError, match="levels must be"):
        ll.Replay(levels=0)


@pytest.mark.parametrize("segments", [0, -1, 2.5])
def test_segments_are_a_number_of_pieces(segments):
    with pytest.raises(ValueError, match="segments"):
        ll.Replay(segments)


@pytest.mark.parametrize("levels", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_lanes_that_end_as_checkpoints_move_apart(levels):
    """A lane that has ended stands at a step of which a longer one would have kept the state."""

    def value(omega, end):
        settings = {"dt0": 0.125, "solver": diffrax.Heun(), "max_steps": 64, "adjoint": ll.Replay(4, levels=levels)}
        start = Motion(jnp.ones(1), jnp.zeros(1))
        return ll.simulate(Oscillator(omega), start, jnp.stack([0 * end, end]), **settings).q[-1, 0]

    omegas, ends = jnp.linspace(0.5, 1.5, 7), 0.125 * jnp.array([4.0, 8.0, 16.0, 32.0, 5.0, 17.0, 40.0])
    slope = jax.jit(jax.grad(value))
    alone = [slope(omega, end) for omega, end in zip(omegas, ends, strict=True)]
    np.testing.assert_allclose(jax.vmap(jax.grad(value))(omegas, ends), alone, rtol=1e-12)


def kept(value, *given):
    """How many states reverse mode keeps: the length of the longest array of the lowered program."""
    text = jax.jit(jax.grad(value)).lower(*given).as_text()
    return max(int(size) for size in re.findall(r"tensor<(\d+)x2xf64>", text))


def test_steps_that_are_known_are_all_that_is_kept():
    start = Motion(jnp.ones(2), jnp.zeros(2))

    def value(state, end=3.0, **settings):
        ts = [0.0, end] if isinstance(end, float) else jnp.stack([jnp.zeros(()), end])
        path = ll.simulate(Oscillator(2.0), state, ts, adjoint=ll.Replay(), **settings)
        return jnp.sum(path.final_state.q)

    steps = {"dt0": 0.05, "solver": diffrax.Heun()}
    assert kept(functools.partial(value, **steps), start) in (64, 65, 128)
    assert kept(functools.partial(value, rtol=1e-6), start) >= 1024  # of 2**20
    assert kept(lambda end: value(start, end, **steps), jnp.asarray(3.0)) >= 1024


def test_dense_output_is_differentiated_by_diffrax():
    def between(omega):
        path = ll.simulate(
            Oscillator(omega),
            Motion(jnp.ones(1), jnp.zeros(1)),
            [0.0, 1.0],
            rtol=1e-9,
            dense=True,
            max_steps=200,
            adjoint=REPLAY,
        )
        return path.at(0.4).q[0]

    np.testing.assert_allclose(jax.grad(between)(array(2.0)), -0.4 * np.sin(0.8), atol=1e-7)


def test_saved_times_that_one_kink_swallows_are_refused():
    before, after = np.nextafter(1.0, 0.0), np.nextafter(1.0, 2.0)
    with pytest.raises(ValueError, match="near to one kink"):
        ll.simulate(
            Oscillator(2.0),
            Motion(jnp.ones(1), jnp.zeros(1)),
            np.array([0.0, before, after, 2.0]),
            kinks=1.0,
            rtol=1e-6,
            adjoint=REPLAY,
        )


def test_a_run_of_diffrax_alone_is_left_to_diffrax():
    def value(k, adjoint):
        term = diffrax.ODETerm(lambda t, y, args: -k * y)
        return diffrax.diffeqsolve(term, diffrax.Heun(), 0.0, 1.0, 0.1, jnp.ones(1), adjoint=adjoint).ys[0, 0]

    ours, theirs = (jax.value_and_grad(value)(1.0, adjoint) for adjoint in (REPLAY, CHECKPOINTED))
    assert ours == theirs
