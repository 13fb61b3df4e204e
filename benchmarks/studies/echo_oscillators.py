"""Coupled oscillators that hear speech: the action, the cost, and its gradient by echo and by reverse mode."""

from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PyTree

import lagrangian_learning as ll

FRAMES = 16  # of each utterance, its own being spread over them evenly
STEPS_A_FRAME = 4
SPACING = 0.5  # time between frames
LEAST_MASS = 0.3  # lighter ones outrun the step in the course of learning, and reverse mode learns NaN there


class Utterances(NamedTuple):
    """[n, FRAMES, channels], centred and scaled channel by channel as the training part has it, and labels [n]."""

    frames: np.ndarray
    labels: np.ndarray


def utterances(split: str) -> Utterances:
    """The Japanese vowels with as many frames each."""
    train, chosen = ll.data.japanese_vowels("train"), ll.data.japanese_vowels(split)
    frames = (chosen.frames - train.frames.mean(axis=0)) / train.frames.std(axis=0)
    even = [_spread(frames[part]) for part in chosen.slices]
    return Utterances(np.stack(even).astype(np.float32), chosen.labels)


def _spread(frames: np.ndarray) -> np.ndarray:
    at, own = np.linspace(0, 1, FRAMES), np.linspace(0, 1, len(frames))
    return np.stack([np.interp(at, own, channel) for channel in frames.T], axis=1)


class Sound(NamedTuple):
    """What one run hears, and what it should say: frames [FRAMES, channels], one-hot label."""

    frames: Array
    label: Array


class Oscillators(eqx.Module):
    """½ Σ m_i v_i² − ½ Σ k_i q_i² − ¼ Σ q_i⁴ + ½ s·J s + s·B u(t), s = tanh q, J symmetric; u straight between frames.

    Stiffnesses are held as logarithms, masses as those of what they have beyond `LEAST_MASS`, J as a square matrix and
    its transpose.
    """

    log_mass: Float[Array, " n"]
    log_stiffness: Float[Array, " n"]
    coupling: Float[Array, "n n"]
    driving: Float[Array, "n channels"]

    def __call__(self, t: Array, q: Array, v: Array, sound: Sound) -> Array:
        s = jnp.tanh(q)
        stored = jnp.sum(jnp.exp(self.log_stiffness) * q**2) / 2 + jnp.sum(q**4) / 4
        coupled = s @ (self.coupling + self.coupling.T) @ s / 4
        mass = LEAST_MASS + jnp.exp(self.log_mass)
        return jnp.sum(mass * v**2) / 2 - stored + coupled + s @ (self.driving @ _heard(t, sound))


def _heard(t: Array, sound: Sound) -> Array:
    at = jnp.clip(t / SPACING, 0, FRAMES - 1)
    first = jnp.minimum(at.astype(jnp.int32), FRAMES - 2)
    share = at - first.astype(at.dtype)
    return (1 - share) * sound.frames[first] + share * sound.frames[first + 1]


class Readout(eqx.Module):
    """Cross entropy of the logits R q + b, averaged over the run; they are averaged to decide."""

    weights: Float[Array, "labels n"]
    offset: Float[Array, " labels"]

    def __call__(self, t: Array, q: Array, sound: Sound) -> Array:
        return -(sound.label @ jax.nn.log_softmax(self.logits(q))) / END

    def logits(self, q: Array) -> Array:
        """R q + b."""
        return self.weights @ q + self.offset


class Learner(NamedTuple):
    """What is trained."""

    oscillators: Oscillators
    readout: Readout

    def law(self, theta: float | Array) -> ll.EulerLagrange:
        """Their motion with friction ϑ."""
        lagrangian = ll.Lagrangian(self.oscillators, ll.ExponentialDissipation(theta))
        return ll.EulerLagrange(lagrangian, multiplier_solver=ll.multipliers.DenseSchur())

    @property
    def at_rest(self) -> ll.State:
        """How every run begins."""
        zero = jnp.zeros_like(self.oscillators.log_mass)
        return ll.State(zero, zero)


END = SPACING * (FRAMES - 1)
STEPS = STEPS_A_FRAME * (FRAMES - 1)


def drawn(key: Array, size: int, channels: int, labels: int) -> Learner:
    """A learner at random, in single precision."""
    keys = jax.random.split(key, 5)

    def draw(key: Array, scale: float, *shape: int) -> Array:
        return scale * jax.random.normal(key, shape, jnp.float32)

    oscillators = Oscillators(
        draw(keys[0], 0.3, size),
        draw(keys[1], 0.5, size),
        draw(keys[2], 0.5 / size**0.5, size, size),
        draw(keys[3], 0.5 / channels**0.5, size, channels),
    )
    return Learner(oscillators, Readout(draw(keys[4], 0.1, labels, size), jnp.zeros(labels, jnp.float32)))


class Gradient(NamedTuple):
    """Of one run: its cost, the gradient, and what the echo says of its rounding (0 of reverse mode)."""

    cost: Array
    gradient: Learner
    rounding: Array


def by_echo(learner: Learner, sound: Sound, theta: float | Array, nudge: float | Array, steps: int = STEPS) -> Gradient:
    """By the echo: three runs back, side by side."""
    law, ts = learner.law(theta), [0.0, END]
    settings = {"dt0": END / steps, "nudge": nudge, "extrapolate": False}
    echo = ll.echo_gradient(law, learner.at_rest, ts, sound, learner.readout, **settings)
    return Gradient(echo.cost, Learner(echo.by_law.lagrangian.density, echo.by_cost), echo.rounding)


def by_reverse_mode(learner: Learner, sound: Sound, theta: float | Array, steps: int = STEPS) -> Gradient:
    """By backpropagation through time, all steps kept."""
    cost, gradient = eqx.filter_value_and_grad(lambda these: run(these, sound, theta, steps)[0])(learner)
    return Gradient(cost, gradient, jnp.zeros_like(cost))


def run(learner: Learner, sound: Sound, theta: float | Array, steps: int = STEPS) -> tuple[Array, Array]:
    """The cost of one run of `ll.Rattle`, by the trapezoidal rule, and the logits averaged over its step ends."""
    terms, stepper, readout = diffrax.ODETerm(learner.law(theta).vector_field), ll.Rattle(), learner.readout
    ts = jnp.linspace(0.0, END, steps + 1, dtype=jnp.float32)

    def step(now: tuple[ll.State, PyTree], row: tuple[Array, Array]) -> tuple[Any, tuple[Array, Array]]:
        state, kept = now
        state, _, _, kept, _ = stepper.step(terms, *row, state, sound, kept, False)
        return (state, kept), (readout(row[1], state.q, sound), readout.logits(state.q))

    begin = learner.at_rest
    kept = stepper.init(terms, ts[0], ts[1], begin, sound)
    (end, _), (costs, logits) = lax.scan(step, (begin, kept), (ts[:-1], ts[1:]))
    ends = (readout(ts[0], begin.q, sound) - readout(ts[-1], end.q, sound)) / 2
    return (jnp.sum(costs) + ends) * END / steps, jnp.mean(logits, axis=0)
