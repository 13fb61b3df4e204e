"""Every bad input is an error that names its remedy, at once where values are known, else at run time."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.signals import Constant, Function, Patterns, Sampled, Sinusoids, Stimulus, Stream

TS = np.arange(6.0)
VALUES = np.zeros((6, 2))
BAD = VALUES.copy()
BAD[3, 1] = np.nan


class Holder(eqx.Module):
    fn: object

    def __call__(self, t):
        return t


CASES = {
    "constant nan": (lambda: Constant([np.nan]), "give finite numbers"),
    "constant complex": (lambda: Constant(1j), "must be real"),
    "sinusoids shapes": (lambda: Sinusoids(np.ones(2), np.ones(3)), "do not broadcast"),
    "sinusoids inf": (lambda: Sinusoids(np.inf), "give finite numbers"),
    "function no callable": (lambda: Function(3.0), "callable"),
    "function leaf": (lambda: Function(Holder(jnp.tanh)), "array leaves only"),
    "stimulus string": (lambda: Stimulus("speech", 0.0), "Give one such as ll.Sampled"),
    "stimulus none": (lambda: Stimulus(None, 0.0), "Give one such as ll.Sampled"),
    "two times": (lambda: Constant(1.0)(np.zeros(2)), "jax.vmap"),
    "sampled few": (lambda: Sampled(TS[:3], VALUES[:3]), "at least 4 samples, got 3"),
    "sampled few for C4": (lambda: Sampled(TS[:5], VALUES[:5], 4), "at least 6 samples, got 5"),
    "sampled empty": (lambda: Sampled([], []), "ts is empty"),
    "sampled sizes": (lambda: Sampled(TS, VALUES[:5]), "6 ts need values"),
    "sampled rank": (lambda: Sampled(TS[None], VALUES[None]), r"jax.vmap\(ll.Sampled\)"),
    "sampled nan": (lambda: Sampled(TS, BAD), "values contains NaN or inf: give finite"),
    "sampled nan time": (lambda: Sampled(np.where(TS == 2, np.nan, TS), VALUES), "ts contains NaN or inf"),
    "sampled equal times": (lambda: Sampled(np.minimum(TS, 4.0), VALUES), "increase strictly"),
    "sampled falling": (lambda: Sampled(-TS, VALUES), "increase strictly"),
    "sampled smoothness": (lambda: Sampled(TS, VALUES, 3), "smoothness must be one of 2, 4"),
    "sampled degree": (lambda: Sampled(TS, VALUES, 2, 3), "degree must be one of 0, 1, 2, 4, got 3"),
    "sampled degree array": (lambda: Sampled(TS, VALUES, 2, TS), "degree must be one of 0, 1, 2, 4"),
    "sampled values text": (lambda: Sampled(TS, ["x"] * 6), "values must be numbers"),
    "function complex": (
        lambda: Function(lambda t: jax.lax.complex(t, t))(1.0),
        "function of a signal returns must be real",
    ),
    "function none": (lambda: Function(lambda t: None)(1.0), "function of a signal returns must be real numbers"),
    "function dict": (lambda: Function(lambda t: {"a": t})(1.0), "returns must be real numbers, got dict"),
    "patterns none": (lambda: Patterns(np.zeros((0, 2)), 1.0, 0.5), "values is empty"),
    "patterns number": (lambda: Patterns(1.0, 1.0, 0.5), "at least one pattern"),
    "patterns rise": (lambda: Patterns(VALUES, 1.0, 1.0), "0 < rise < dwell"),
    "patterns no rise": (lambda: Patterns(VALUES, 1.0, 0.0), "0 < rise < dwell"),
    "patterns negative": (lambda: Patterns(VALUES, -1.0, -2.0), "0 < rise < dwell"),
    "patterns nan": (lambda: Patterns(BAD, 1.0, 0.5), "give finite numbers"),
    "patterns dwells": (lambda: Patterns(VALUES, np.ones(6), 0.5), "one number each"),
    "patterns smoothness": (lambda: Patterns(VALUES, 1.0, 0.5, 1), "smoothness must be one of 2, 4"),
    "stream rank": (lambda: Stream(np.zeros(8)), "add an axis"),
    "stream few": (lambda: Stream(VALUES[:3]), "at least 4 samples"),
    "stream nan": (lambda: Stream(BAD), "give finite numbers"),
    "stream spacing": (lambda: Stream(VALUES, 0.0), "must be positive"),
    "stream start": (lambda: Stream(VALUES, start=0.5), "whole number of frames"),
    "stream degree": (lambda: Stream(VALUES, degree=1), "degree must be one of 0, 2, 4"),
    "stream integers": (lambda: Stream(VALUES, spacing=[1, 2]), "one number each"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("build", "message"), CASES.values(), ids=CASES.keys())
def test_known_bad_input_is_a_value_error(build, message):
    with pytest.raises(ValueError, match=message):
        build()


TRACED = {
    "constant": (lambda bad: Constant(bad), np.array([np.nan])),
    "sinusoids": (lambda bad: Sinusoids(bad), np.array([np.inf])),
    "values": (lambda bad: Sampled(TS, bad), BAD),
    "times": (lambda bad: Sampled(bad, VALUES), TS[::-1].copy()),
    "patterns": (lambda bad: Patterns(VALUES, 1.0, bad), np.array(1.5)),
    "stream": (lambda bad: Stream(bad), BAD),
    "spacing": (lambda bad: Stream(VALUES, bad), np.array(-1.0)),
    "start": (lambda bad: Stream(VALUES, start=bad), np.array(0.5)),
}


@pytest.mark.parametrize(("build", "bad"), TRACED.values(), ids=TRACED.keys())
def test_traced_bad_input_is_a_run_time_error(build, bad):
    with pytest.raises(eqx.EquinoxRuntimeError):
        jax.block_until_ready(eqx.filter_jit(lambda bad: build(bad)(1.0))(bad))
