import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.signals import Constant, Function, Patterns, Sampled, Sinusoids, Stimulus, Stream

TS = np.linspace(0.0, 4.0, 9)
FRAMES = np.random.default_rng(8).normal(size=(9, 2))


def test_callables_arrays_and_numbers_become_signals():
    stimulus = Stimulus(input=lambda t: jnp.stack([t, t]), target=[0.5])
    assert isinstance(stimulus.input, Function)
    assert isinstance(stimulus.target, Constant)
    np.testing.assert_array_equal(stimulus.input(2.0), [2.0, 2.0])
    assert Stimulus(1.0, np.float32(2.0)).target(0.0).shape == ()


def test_smoothness_and_domain_are_those_of_both():
    stimulus = Stimulus(Sampled(TS, FRAMES, 4), Stream(FRAMES, 0.25))
    assert stimulus.smoothness == 2
    assert stimulus.input.smoothness == 4
    assert stimulus.domain == (0.0, 2.0)
    assert Stimulus(Sampled(TS, FRAMES), 0.0).domain == (0.0, 4.0)
    assert Stimulus(0.0, 0.0).domain is None


def test_shift_moves_streams_and_leaves_constants():
    stimulus = Stimulus(Stream(FRAMES), 0.5).shift(3)
    np.testing.assert_allclose(stimulus.input(0.0), FRAMES[3], atol=1e-14)
    assert stimulus.target(0.0) == 0.5
    with pytest.raises(ValueError, match="has no frames to shift by"):
        Stimulus(Sinusoids(1.0), 0.5).shift(3)


def test_check_lets_a_good_stimulus_pass():
    stimulus = Stimulus(Sampled(TS, FRAMES, 4), 0.0)
    assert stimulus.check(2, 4, 0.0, 4.0) is stimulus
    out = jax.jit(lambda s, t: s.check(2, 4, t, t + 1.0).input(t))(stimulus, jnp.float32(1.0))
    np.testing.assert_allclose(out, FRAMES[2], atol=1e-6)
    jax.jit(lambda t: Stimulus(lambda t: jnp.stack([t]), lambda t: t).check(1, 2, t))(0.0)


@pytest.mark.parametrize(
    ("stimulus", "arguments", "message"),
    [
        (Stimulus(Sampled(TS, FRAMES), 0.0), (3, 2, 0.0), "the network has 3 input neurons"),
        (Stimulus(0.5, 0.0), (1, 2, 0.0), r"it has shape \(\)"),
        (Stimulus(Sampled(TS, FRAMES, 2), 0.0), (2, 4, 0.0), "build it with smoothness=4"),
        (Stimulus(Patterns(FRAMES, 1.0, 0.5), 0.0), (2, 4, 0.0), "build it with smoothness=4"),
        (Stimulus(Sampled(TS, FRAMES), 0.0), (2, 2, -1.0), r"defined \(0 to 4\): begin and end ts inside"),
        (Stimulus(Sampled(TS, FRAMES), 0.0), (2, 2, 0.0, 4.1), "begin and end ts inside"),
        (Stimulus(FRAMES[0], Sampled(TS, FRAMES)), (2, 2, 0.0, 4.1), "begin and end ts inside"),
        (Stimulus(lambda t: jnp.log(t)[None], 0.0), (1, 2, 0.0), "NaN or inf at the first time"),
        (Stimulus([0.0], lambda t: t / 0.0 * 0.0), (1, 2, 0.0), "NaN or inf at the first time"),
    ],
)
def test_check_refuses_what_does_not_fit(stimulus, arguments, message):
    with pytest.raises(ValueError, match=message):
        stimulus.check(*arguments)


def test_check_refuses_traced_times_outside_the_domain():
    stimulus = Stimulus(Sampled(TS, FRAMES), 0.0)
    run = eqx.filter_jit(lambda t: stimulus.check(2, 2, t).input(t))
    with pytest.raises(eqx.EquinoxRuntimeError, match="begin and end ts inside"):
        jax.block_until_ready(run(5.0))
