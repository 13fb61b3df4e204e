"""How many of ten thousand random signals are learned by the paper's five neurons, and how well do they keep (4)?

Every lane has weights, an input and a teacher of its own: e(t) is a mixture of sinusoids, y(t) the output of a network
of the same form with other random weights. The cognitive action in full coordinates, kept on its constraints by
projection, beside gradient flow (14) on the same signals from the same weights; both learn for the same time at the
same friction.

Steps are constant, and a lane whose step left the constraints far behind is run again with steps chosen by their error.
Of ten thousand lanes these are 33, none under gradient flow. They are not lost at the start, though they begin with
larger accelerations than others (medians of 4.6 and 2.0) before teachers of larger weights (1.6 and 1.2); their own
weights grow late, in a median of 176 of 200 units of time, to 4 and more (others: 1.6), and their neurons flip ever
faster (|ẋ| of 28, not 3). Half the step leaves 17 unresolved, an eighth 9: ten truly run away, to weights of 8 to 15
at energies of hundreds, which Tsit5 at 1e-7 in float64 confirms. Steps of float32 at 1e-4 follow all of them, with
the verdict of float64 on each. It is the neurons' mass that drives them: gradient flow learns all 33, and so does the
action with a tenth of the mass, at the constant step.

    lagrangian-learning study robustness [--quick] [--seed SEED] [--output PICTURE] [--json NUMBERS]
"""

if __name__ == "__main__":  # a file does not know its checkout: it is run as a command of the package
    from lagrangian_learning.commands.study import run_file

    run_file(__file__)

import functools
from pathlib import Path
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

import lagrangian_learning as ll
from lagrangian_learning.commands.files import Files
from lagrangian_learning.commands.output import Line
from lagrangian_learning.commands.progress import progress

from .robustness_picture import draw
from .study import begun, ended, picture, print_table

FILES = Files(Path("robustness.png"))
QUESTION = "How many of ten thousand random signals do the paper's five neurons learn?"
NETWORK = ll.Layered((2, 2, 1))
GAMMA, THETA, MASS_RATIO = 0.5, 1.0, 1e-2
SINUSOIDS, SLOWEST, FASTEST = 3, 0.3, 3.0
DURATION, STEP = 200.0, 0.025
HELD_OUT = 128
# Learned: the loss on the time after learning is under this share of what it was with the weights at the start.
LEARNED = 0.1
CODES = ("non_finite", "projection_failed", "singular_multipliers", "constraint_drift", "inconsistent_start")
# What float32 is held to.
KEPT = 5e-6
# A step that left its constraints so far was too long for its lane, even if projection brought it back.
UNRESOLVED = 0.1
COARSE = {"solver": diffrax.Heun(), "dt0": STEP}
FINE = {"solver": diffrax.Tsit5(), "rtol": 1e-4, "atol": 1e-5}


class Mixture(eqx.Module):
    """e_i(t) = Σ_k A_ik sin(ω_ik t + φ_ik); all [channels, sinusoids]."""

    amplitude: Float[Array, "channels sinusoids"]
    frequency: Float[Array, "channels sinusoids"]
    phase: Float[Array, "channels sinusoids"]

    def __call__(self, t: Array) -> Float[Array, " channels"]:
        return jnp.sum(self.amplitude * jnp.sin(self.frequency * t + self.phase), axis=-1)


class Teacher(eqx.Module):
    """y(t) = f(W, e(t)): the output of a network that knows."""

    W: PyTree
    input: Mixture

    def __call__(self, t: Array) -> Array:
        return NETWORK.output(NETWORK.forward(self.W, self.input(t)))


class Signals(NamedTuple):
    """The weights at the start and the stimulus of every lane, lanes first."""

    W: PyTree
    stimulus: ll.Stimulus


class Outcome(NamedTuple):
    """Of one law, lane by lane: the loss on held-out time over that at the start; whether the run ended successfully;
    max|G| over all steps, and what steps left before projection (both zero for a law without constraints).

    again: which lanes were run with finer steps, since the first did not resolve them.
    codes: how many lanes ended otherwise than well, by the name of their result code.
    """

    loss: np.ndarray
    successful: np.ndarray
    residual: np.ndarray
    before_projection: np.ndarray
    again: np.ndarray
    codes: dict[str, int]

    @property
    def learned(self) -> np.ndarray:
        """Which lanes learned; one that failed did not."""
        return self.successful & (self.loss < LEARNED)


def signals(count: int, seed: int = 0) -> Signals:
    """Random ones: LeCun normal weights of learner and teacher, three sinusoids a channel of frequencies 0.3 to 3."""
    return jax.jit(jax.vmap(_signal))(jax.random.split(jax.random.key(seed), count))


def _signal(key: Array) -> Signals:
    start, teacher, amplitude, frequency, phase = jax.random.split(key, 5)
    shape = (NETWORK.num_inputs, SINUSOIDS)
    exponent = jax.random.uniform(frequency, shape, minval=jnp.log(SLOWEST), maxval=jnp.log(FASTEST))
    mixture = Mixture(
        amplitude=jax.random.uniform(amplitude, shape, minval=0.2, maxval=1.0),
        frequency=jnp.exp(exponent),
        phase=jax.random.uniform(phase, shape, maxval=2 * jnp.pi),
    )
    target = Teacher(NETWORK.init(teacher, jnp.float32), mixture)
    return Signals(NETWORK.init(start, jnp.float32), ll.Stimulus(mixture, target))


def laws() -> dict[str, Any]:
    """The action's law and gradient flow, with one friction γ."""
    mass_W = GAMMA / THETA
    action = ll.CognitiveAction(
        NETWORK, mass_x=MASS_RATIO * mass_W, mass_W=mass_W, dissipation=ll.ExponentialDissipation(THETA)
    )
    return {
        "cognitive action": action.law(coordinates="full"),
        "gradient flow": ll.GradientFlow(NETWORK, ll.SquaredError(), GAMMA),
    }


def outcome(law: Any, given: Signals, duration: float = DURATION, *, progress: bool = False) -> Outcome:
    """All lanes of a law: with constant steps, and those that these do not resolve again with steps by their error."""
    coarse = _outcome(law, given, duration, COARSE, progress=progress)
    again = ~coarse.successful | (coarse.before_projection > UNRESOLVED)
    if not np.any(again):
        return coarse
    fine = _outcome(law, jax.tree.map(lambda leaf: leaf[again], given), duration, FINE, progress=progress)
    for all_lanes, finer in zip(coarse[:4], fine[:4], strict=True):
        all_lanes[again] = finer
    return coarse._replace(again=again, codes=fine.codes)


def _outcome(law: Any, given: Signals, duration: float, steps: dict[str, Any], *, progress: bool) -> Outcome:
    """All lanes in one batch, of which only numbers of a lane are kept."""
    states = jax.jit(jax.vmap(lambda W, stimulus: law.initial_state(0.0, W, args=stimulus)))(*given)
    path: Any = ll.simulate_batch(
        law,
        states,
        [0.0, duration],
        given.stimulus,
        engine=ll.fused.FusedEngine(),
        save=_nothing,
        progress=progress,
        **steps,
    )
    q = path.final_state.q
    W = q if isinstance(law, ll.GradientFlow) else q[1]
    before, after = (np.asarray(_losses(weights, given.stimulus, duration)) for weights in (given.W, W))
    kept, left = (
        np.array(path.stats.get(f"max_constraint_residual{when}", np.zeros(len(before))))
        for when in ("", "_before_projection")
    )
    counts = {name: int(np.sum(path.result == getattr(ll.RESULTS, name))) for name in CODES}
    codes = {name: count for name, count in counts.items() if count}
    successful = np.array(path.result == ll.RESULTS.successful)
    return Outcome(after / before, successful, kept, left, np.zeros(len(before), bool), codes)


def _nothing(t: Array, observables: dict[str, PyTree]) -> Array:
    return t


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, 0, None))
def _losses(W: PyTree, stimulus: ll.Stimulus, duration: Float[Array, ""] | float) -> Array:
    """The mean loss over a stretch of time that the lane did not learn from, as long as what it learned from."""

    def loss(t: Array) -> Array:
        return ll.SquaredError()(NETWORK.output(NETWORK.forward(W, stimulus.input(t))), stimulus.target(t))

    return jnp.mean(jax.vmap(loss)(jnp.linspace(duration, 2 * duration, HELD_OUT)))


def summary(one: Outcome) -> dict[str, Any]:
    """An outcome in numbers; quantiles are those of 5, 25, 50, 75 and 95 %."""
    good = one.loss[one.successful]
    return {
        "successful": float(np.mean(one.successful)),
        "learned": float(np.mean(one.learned)),
        "worse_than_at_the_start": float(np.mean(good > 1)),
        "loss_over_start": np.quantile(good, (0.05, 0.25, 0.5, 0.75, 0.95)),
        "failed": one.codes,
        "largest_residual": float(np.max(one.residual[one.successful])),
        "kept_to_5e-6": float(np.mean(one.residual[one.successful] <= KEPT)),
        "run_again_with_finer_steps": float(np.mean(one.again)),
        "learned_of_those": float(np.mean(one.learned[one.again])) if np.any(one.again) else None,
        "unresolved": float(np.mean(one.before_projection > UNRESOLVED)),
        "largest_residual_before_projection": float(np.max(one.before_projection[one.successful])),
    }


def agreement(outcomes: dict[str, Outcome]) -> dict[str, float]:
    """The shares of lanes that both laws learned, one alone, or none."""
    ours, theirs = (one.learned for one in outcomes.values())
    return {
        "both": float(np.mean(ours & theirs)),
        "action_alone": float(np.mean(ours & ~theirs)),
        "flow_alone": float(np.mean(~ours & theirs)),
        "none": float(np.mean(~ours & ~theirs)),
    }


def study(seed: int = 0, quick: bool = False, files: Files = FILES) -> None:
    """How many of ten thousand random signals do the paper's five neurons learn?

    Args:
        seed: Draws the signals, the teachers and the weights at the start.
        quick: Tiny sizes, to see that the study runs.
        files: Where the picture and the numbers go.
    """
    line = begun("robustness", seed, files)
    lanes, duration = (64, 5.0) if quick else (10_000, DURATION)
    given, outcomes = signals(lanes, seed), {}
    with progress("robustness", "laws") as report:
        for done, (name, law) in enumerate(laws().items()):
            report(done, len(laws()), now=name)
            outcomes[name] = outcome(law, given, duration, progress=True)
        report(len(outcomes), len(outcomes))
    findings, shares = {name: summary(one) for name, one in outcomes.items()}, agreement(outcomes)
    _print(line, lanes, duration, findings, shares)
    drawn = functools.partial(draw, outcomes=outcomes, learned=LEARNED)
    ended(
        line, files, lambda path: picture(path, 3, 1, drawn), QUESTION, seed=seed, lanes=lanes, duration=duration,
        laws=findings, learned_by=shares,
    )  # fmt: skip


def _print(line: Line, lanes: int, duration: float, findings: dict[str, dict], shares: dict[str, float]) -> None:
    line(f"[bold]{lanes:,} random signals, each learned for {duration:g} units of time by a network of its own[/]")
    heads = ("", "learned", "loss at the end\nover the start's", "runs that\nfailed", "largest |G|", "run again\nfiner")
    rows = [
        (
            name, f"{found['learned']:.1%}", f"{found['loss_over_start'][2]:.2g}", f"{1 - found['successful']:.2%}",
            f"{found['largest_residual']:.1e}", f"{found['run_again_with_finer_steps']:.2%}",
        )
        for name, found in findings.items()
    ]  # fmt: skip
    print_table(line, heads, rows)
    line(f"  learned: the loss on later time fell under {LEARNED:g} of that at the start; losses are medians")
    line("  |G|: how far neurons are from their constraints (4), which gradient flow has none of")
    line("  run again finer: constant steps were too long for the signal; steps by their error followed it")
    for name, found in findings.items():
        if found["failed"]:
            line(f"  {name}: failed runs by their reason: {found['failed']}")
    line(
        f"  learned by both {shares['both']:.1%}, by the action alone {shares['action_alone']:.1%}, by gradient flow "
        f"alone {shares['flow_alone']:.1%}, by neither {shares['none']:.1%}"
    )
