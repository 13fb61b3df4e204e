"""Which constants moved these weights? Rate, momentum, masses and friction from checkpoints of a learning run.

Run it in a checkout: lagrangian-learning study identification
"""

if __name__ == "__main__":  # a file does not know its checkout: it is run as a command of the package
    from lagrangian_learning.commands.study import run_file

    run_file(__file__)

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optimistix as optx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, PyTree

import lagrangian_learning as ll
from lagrangian_learning.commands.files import Files
from lagrangian_learning.commands.output import Line, check_counts
from lagrangian_learning.commands.progress import progress

from .identification_picture import draw
from .study import begun, ended, print_table

FILES = Files(Path("identification.png"))
QUESTION = "Which constants does a run of learning show, how surely, and does it show the rest of the run?"
RATE, MOMENTUM = 0.01, 0.8
STEPS, EVERY = 400, 20  # of SGD, and from checkpoint to checkpoint
MASS_X, MASS_W, THETA = 0.1, 1.0, 0.6
END, RECORDS, STEP = 20.0, 40, 0.05  # of the motion of the action
NOISES = (1e-3, 1e-2, 1e-1)  # of how far the weights went
JUDGED = 1e-2
DRAWS = 11  # of each noise, where fits stand beside regressions
QUANTILE, LEAST, MOST = 1.6448536, 0.80, 0.97  # of 90 % of a normal distribution; the share of intervals that may hit
FURTHER = 2.0  # a factor: how far from the truth a fit begins
WILDEST = 15.0  # log constants of a trial step end there: an infinite one would be refused
EXACT = 1e-4  # what is asked of constants found without noise


class Case(NamedTuple):
    """A run of learning of which the weights were kept [records, weights], and how constants predict them.

    predicted(log constants, stimulus, W0) has the shape of `weights`; `start` is the flat W0.
    """

    name: str
    constants: dict[str, float]
    predicted: Callable[..., Array]
    stimulus: PyTree
    W: PyTree
    weights: np.ndarray
    first: int  # records that a fit begins with
    every_step: np.ndarray | None = None  # the weights after every step, of a run that has steps
    gradients: Callable[[np.ndarray], Array] | None = None  # at the weights after each step, of the loss of the next

    @property
    def truth(self) -> np.ndarray:
        """The logarithms of the constants."""
        return np.log(list(self.constants.values()))

    @property
    def off(self) -> np.ndarray:
        """Log constants to begin a fit with, wrong by `FURTHER`, each to the other side than the one before."""
        return self.truth + math.log(FURTHER) * (-1.0) ** np.arange(len(self.truth))

    @property
    def start(self) -> np.ndarray:
        """The weights at the start."""
        return np.asarray(ravel_pytree(self.W)[0])

    @property
    def way(self) -> float:
        """How far the weights went, as the root of a mean square."""
        return float(np.sqrt(np.mean((self.weights[-1] - self.start) ** 2)))

    def noisy(self, share: float, rng: np.random.Generator) -> np.ndarray:
        """The weights with errors of that share of their way."""
        return self.weights + share * self.way * rng.normal(size=self.weights.shape)


class Fit(NamedTuple):
    """Log constants [p], their covariance [p, p], and how many times the run was made with its p derivatives."""

    log_constants: np.ndarray
    covariance: np.ndarray
    linearised: int

    @property
    def deviations(self) -> np.ndarray:
        """Standard deviations of the log constants: relative errors."""
        return np.sqrt(np.diag(self.covariance))


# -- two runs of learning ----------------------------------------------------------------------------------------------


def _flat(t: Array, observables: dict[str, Any]) -> Array:
    return ravel_pytree(observables["W"])[0]


def sgd_case(steps: int = STEPS) -> Case:
    """704 weights learn speech by Optax's SGD with momentum; explained by damped descent (13), stepped by KickDrift."""
    (speech,) = ll.data.standardise(ll.data.japanese_vowels("train"))
    stimulus = speech.stream(speech.shuffled(jax.random.key(1)), ll.data.label_codes(speech.num_labels))
    network = ll.Layered((13, 32, 9))
    W, optimiser = network.init(jax.random.key(0), jnp.float64), optax.sgd(RATE, momentum=MOMENTUM)

    def loss(W: PyTree, t: Array) -> Array:
        return ll.learning.loss(network, ll.SquaredError(), W, stimulus.input(t), stimulus.target(t))

    def step(carry: tuple, t: Array) -> tuple[tuple, Array]:
        W, memory = carry
        change, memory = optimiser.update(jax.grad(loss)(W, t), memory)
        W = optax.apply_updates(W, change)
        return (W, memory), ravel_pytree(W)[0]

    times = jnp.arange(steps, dtype=float)
    every_step = np.asarray(jax.jit(lambda W: jax.lax.scan(step, (W, optimiser.init(W)), times)[1])(W))
    unravel = ravel_pytree(W)[1]
    gradients = jax.jit(jax.vmap(lambda flat, t: ravel_pytree(jax.grad(loss)(unravel(flat), t))[0]))
    ts = np.arange(0.0, steps + 1, EVERY)

    def predicted(log_constants: Array, stimulus: PyTree, W: PyTree) -> Array:
        rate, theta = jnp.exp(log_constants)
        mass = -jnp.expm1(-theta) / (rate * theta)
        law = ll.DampedDescent(network, ll.SquaredError(), mass, ll.ExponentialDissipation(theta))
        start = law.initial_state(0.0, W, args=stimulus)
        path = ll.simulate(
            law,
            start,
            ts,
            stimulus,
            solver=ll.KickDrift(),
            dt0=1.0,
            max_steps=steps,
            watch="nothing",
            save=_flat,
            throw=False,
        )
        return path.saved[1:]

    constants = {"rate": RATE, "−log momentum": -math.log(MOMENTUM)}
    weights = every_step[EVERY - 1 :: EVERY]
    return Case(
        "SGD on speech",
        constants,
        predicted,
        stimulus,
        W,
        weights,
        1,
        every_step,
        lambda seen: gradients(seen, times[1:]),
    )


def action_case(records: int = RECORDS) -> Case:
    """Nine weights moved by (8)–(10), by Dopri8 to twelve digits; explained by constant steps of Tsit5."""
    network = ll.Layered((2, 3, 1))
    stimulus = ll.Stimulus(
        ll.Sinusoids(jnp.array([1.0, 1.7]), jnp.array([1.0, 0.8]), jnp.array([0.3, 0.0])),
        ll.Sinusoids(jnp.array([0.7]), jnp.array([0.6]), jnp.array([0.2])),
    )
    W = network.init(jax.random.key(0), jnp.float64)
    ts = np.linspace(0.0, END * records / RECORDS, records + 1)

    def moved(log_constants: Array, stimulus: PyTree, W: PyTree, **settings: Any) -> Array:
        mass_x, mass_W, theta = jnp.exp(log_constants)
        action = ll.CognitiveAction(network, mass_x=mass_x, mass_W=mass_W, dissipation=ll.ExponentialDissipation(theta))
        law = action.law()
        start = law.initial_state(0.0, W, args=stimulus)
        return ll.simulate(law, start, ts, stimulus, watch="nothing", save=_flat, throw=False, **settings).saved[1:]

    def predicted(log_constants: Array, stimulus: PyTree, W: PyTree) -> Array:
        return moved(log_constants, stimulus, W, solver=diffrax.Tsit5(), dt0=STEP)

    constants = {"m_x": MASS_X, "m_W": MASS_W, "ϑ": THETA}
    precise: dict[str, Any] = {"solver": diffrax.Dopri8(), "rtol": 1e-12, "atol": 1e-13}
    weights = jax.jit(lambda p: moved(p, stimulus, W, **precise))(jnp.log(jnp.array(list(constants.values()))))
    return Case("the action, (8)–(10)", constants, predicted, stimulus, W, np.asarray(weights), 4)


# -- Gauss–Newton ------------------------------------------------------------------------------------------------------


def fitted(case: Case, seen: np.ndarray, begin: np.ndarray, used: int | None = None) -> Fit:
    """Log constants by least squares over the first `used` records (all by default), by Levenberg and Marquardt.

    First over few records, then over more and more: over a long run other constants lead elsewhere, and the sum of
    squares has hills. The covariance is s² (JᵀJ)⁻¹, s² the mean square of what is left.
    """
    used = len(seen) if used is None else used
    log_constants, linearised = jnp.asarray(begin), 1
    horizons = [case.first * 2**k for k in range(10) if case.first * 2**k < used]
    for horizon in (*horizons, used):
        given = case.predicted, log_constants, jnp.asarray(seen), np.arange(len(seen)) < horizon, case.stimulus, case.W
        log_constants, steps = _least_squares(*given)
        linearised += int(steps)
    covariance = _covariance(case.predicted, log_constants, jnp.asarray(seen), np.arange(len(seen)) < used,
                             case.stimulus, case.W)  # fmt: skip
    return Fit(np.asarray(log_constants), np.asarray(covariance), linearised)


def _left(log_constants: Array, given: tuple) -> Float[Array, " records*weights"]:
    predicted, seen, used, stimulus, W = given
    trial = jnp.clip(log_constants, -WILDEST, WILDEST)
    return jnp.where(used[:, None], predicted(trial, stimulus, W) - seen, 0).ravel()


@eqx.filter_jit
def _least_squares(
    predicted: Callable, begin: Array, seen: Array, used: Bool[np.ndarray, " records"], stimulus: PyTree, W: PyTree
) -> tuple[Array, Array]:
    found = optx.least_squares(
        _left, optx.LevenbergMarquardt(rtol=1e-8, atol=1e-10), begin, (predicted, seen, jnp.asarray(used), stimulus, W),
        max_steps=100, throw=False,
    )  # fmt: skip
    return found.value, found.stats["num_steps"]


@eqx.filter_jit
def _covariance(
    predicted: Callable, at: Array, seen: Array, used: Bool[np.ndarray, " records"], stimulus: PyTree, W: PyTree
) -> Array:
    given = predicted, seen, jnp.asarray(used), stimulus, W
    left, slopes = _left(at, given), jax.jacfwd(_left)(at, given)
    free = jnp.sum(jnp.asarray(used)) * seen.shape[1] - at.size
    return jnp.sum(left**2) / free.astype(left.dtype) * jnp.linalg.inv(slopes.T @ slopes)


@eqx.filter_jit
def _prediction(predicted: Callable, at: Array, covariance: Array, stimulus: PyTree, W: PyTree) -> tuple[Array, Array]:
    """The weights, and their standard deviations that come of those of the constants."""
    slopes = jax.jacfwd(predicted)(at, stimulus, W)
    return predicted(at, stimulus, W), jnp.sqrt(jnp.einsum("rwp,pq,rwq->rw", slopes, covariance, slopes))


def regressed(case: Case, seen: np.ndarray) -> np.ndarray:
    """Rate and −log momentum by linear regression of each change on the one before and on the gradient; without a run.

    seen: the weights after every step, twenty times what the fits see.
    """
    assert case.gradients is not None
    changes = np.diff(np.vstack([case.start, seen]), axis=0)
    slopes = np.asarray(case.gradients(seen[:-1]))
    design = np.stack([-slopes.ravel(), changes[:-1].ravel()], axis=1)
    rate, momentum = np.linalg.lstsq(design, changes[1:].ravel(), rcond=None)[0]
    with np.errstate(invalid="ignore"):  # noise may leave a negative momentum, which has no logarithm
        return np.array([rate, -np.log(momentum)])


# -- what is found -----------------------------------------------------------------------------------------------------


def noiseless(case: Case) -> dict[str, Any]:
    """The relative errors of the constants from a start that is off by `FURTHER`."""
    fit = fitted(case, case.weights, case.off)
    return {"errors": np.abs(np.expm1(fit.log_constants - case.truth)), "linearised": fit.linearised}


def noisy(case: Case, runs: int, rng: np.random.Generator, told: Callable[[int], None]) -> dict[str, Any]:
    """Errors, stated deviations and the share of 90 % intervals that hold the truth, over draws of the noise."""
    errors, deviations = [], []
    for run in range(runs):
        told(run)
        fit = fitted(case, case.noisy(JUDGED, rng), case.off)
        errors.append(fit.log_constants - case.truth)
        deviations.append(fit.deviations)
    errors, deviations = np.array(errors), np.array(deviations)
    return {
        "errors": errors,
        "deviations": deviations,
        "root_mean_square": np.sqrt(np.mean(errors**2, axis=0)),
        "stated": np.median(deviations, axis=0),
        "hit": np.mean(np.abs(errors) <= QUANTILE * deviations, axis=0),
    }


def second_half(case: Case, rng: np.random.Generator) -> dict[str, Any]:
    """The second half of the run by constants from the first, with noise; errors as shares of the way of all.

    Beside it: weights that stay where they were last seen, and such that go on as they went over the last records.
    """
    seen, half = case.noisy(JUDGED, rng), len(case.weights) // 2
    fit = fitted(case, seen, case.off, used=half)
    weights, deviations = (np.asarray(part) for part in _prediction(case.predicted, jnp.asarray(fit.log_constants),
                           jnp.asarray(fit.covariance), case.stimulus, case.W))  # fmt: skip
    later, ahead = slice(half, None), np.arange(1, len(seen) - half + 1)[:, None]
    pace = (seen[half - 1] - seen[half // 2 - 1]) / (half - half // 2)

    def missed(predicted: np.ndarray) -> float:
        return float(np.sqrt(np.mean((predicted - case.weights[later]) ** 2)) / case.way)

    inside = np.abs(weights[later] - case.weights[later]) <= QUANTILE * deviations[later]
    return {
        "missed": missed(weights[later]),
        "staying": missed(seen[half - 1]),
        "straight_on": missed(seen[half - 1] + ahead * pace),
        "inside": float(np.mean(inside)),
        "seen": seen,
        "predicted": weights,
        "deviations": deviations,
        "half": half,
    }


def against_regression(case: Case, rng: np.random.Generator, draws: int, noises: tuple[float, ...]) -> dict[str, Any]:
    """Relative errors of rate and momentum by a fit of checkpoints and by regression of every step, over the noise.

    Medians of `draws`; a momentum that is negative has no logarithm, and counts as an error of one.
    """
    assert case.every_step is not None
    found: dict[str, Any] = {"noise": np.array(noises), "draws": draws, "fitted": [], "regressed": []}
    for noise in noises:
        fits, linear = [], []
        for _ in range(draws):
            fits.append(np.expm1(fitted(case, case.noisy(noise, rng), case.off).log_constants - case.truth))
            every = case.every_step + noise * case.way * rng.normal(size=case.every_step.shape)
            linear.append(np.nan_to_num(regressed(case, every) / np.exp(case.truth) - 1, nan=-1.0))
        found["fitted"].append(np.median(np.abs(fits), axis=0))
        found["regressed"].append(np.median(np.abs(linear), axis=0))
    exact = np.abs(regressed(case, case.every_step) / np.exp(case.truth) - 1)
    return found | {"regressed_without_noise": exact}


def study(seed: int = 0, runs: int = 100, quick: bool = False, files: Files = FILES) -> None:
    """Which constants does a run of learning show, how surely, and does its first half show the second?

    Args:
        seed: Draws the noise.
        runs: Fits of each run of learning, each with noise of its own.
        quick: Tiny sizes, to see that the study runs.
        files: Where the picture and the numbers go.
    """
    line = begun("identification", seed, files)
    check_counts("study identification", runs=runs)
    jax.config.update("jax_enable_x64", True)
    rng, runs = np.random.default_rng(seed), 1 if quick else runs
    cases = [sgd_case(), action_case()]
    found = []
    with progress("identification", "fits") as report:
        for number, case in enumerate(cases):
            exact = noiseless(case)
            tried = noisy(case, runs, rng, lambda run, number=number, case=case: report(
                number * runs + run, len(cases) * runs, now=case.name))  # fmt: skip
            found.append({"name": case.name, "constants": case.constants, "noiseless": exact, "noisy": tried,
                          "second_half": second_half(case, rng)})  # fmt: skip
        report(len(cases) * runs, len(cases) * runs)
    regression = against_regression(cases[0], rng, *((1, NOISES[:1]) if quick else (DRAWS, NOISES)))
    _print(line, found, regression, runs)
    missed = [] if quick else misses(found)
    for miss in missed:
        line(f"  missed: {miss}")

    def picture_at(path: Path) -> None:
        draw(path, found, cases, regression)

    kept = [{**one, "second_half": {name: value for name, value in one["second_half"].items() if name in SHOWN}}
            for one in found]  # fmt: skip
    ended(line, files, picture_at, QUESTION, seed=seed, runs=runs, noise=JUDGED, cases=kept, regression=regression,
          missed=missed)  # fmt: skip


SHOWN = ("missed", "staying", "straight_on", "inside", "half")


def misses(found: list[dict[str, Any]]) -> list[str]:
    """What is not as asked: constants without noise to `EXACT`, intervals that hold the truth in 80 to 97 % of runs."""
    missed = []
    for one in found:
        for k, name in enumerate(one["constants"]):
            if one["noiseless"]["errors"][k] > EXACT:
                missed.append(f"{one['name']}: {name} without noise is {one['noiseless']['errors'][k]:.1e} off")
            if not LEAST <= one["noisy"]["hit"][k] <= MOST:
                missed.append(f"{one['name']}: {100 * one['noisy']['hit'][k]:.0f} % of the intervals hold {name}")
    return missed


def _print(line: Line, found: list[dict[str, Any]], regression: dict[str, Any], runs: int) -> None:
    line(f"[bold]Constants from the weights of a run[/]  noise of {100 * JUDGED:g} % of their way, {runs} fits each")
    rows = [
        (
            f"{one['name']}: {name}", f"{truth:.4g}", f"{one['noiseless']['errors'][k]:.0e}",
            f"{one['noisy']['stated'][k]:.1e}", f"{one['noisy']['root_mean_square'][k]:.1e}",
            f"{100 * one['noisy']['hit'][k]:.0f} %",
        )
        for one in found
        for k, (name, truth) in enumerate(one["constants"].items())
    ]  # fmt: skip
    heads = (
        "constant",
        "truth",
        "relative error\nwithout noise",
        "with noise:\nstated",
        "root mean\nsquare",
        "90 % intervals\nthat hold it",
    )
    print_table(line, heads, rows)
    line()
    line("[bold]The second half of the run from the first[/]  error of the weights in per cent of their way")
    rows = [
        (one["name"], *(f"{100 * one['second_half'][name]:.2g} %" for name in ("missed", "staying", "straight_on")))
        for one in found
    ]
    print_table(line, ("run", "by the constants found", "weights stay", "weights go straight on"), rows)
    line()
    line(f"[bold]{found[0]['name']}: checkpoints fitted, against regression of every step[/]")
    line(f"  relative errors, medians of {regression['draws']} draws of the noise")
    rows = [
        (f"{100 * noise:g} %", *(f"{value:.0e}" for value in (*fit, *linear)))
        for noise, fit, linear in zip(regression["noise"], regression["fitted"], regression["regressed"], strict=True)
    ]
    names = list(found[0]["constants"])
    print_table(
        line, ("noise", *(f"fit:\n{name}" for name in names), *(f"regression:\n{name}" for name in names)), rows
    )
