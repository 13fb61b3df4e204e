"""Runs of the study `learned_action`, and fits of laws to them by reverse mode through whole runs."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree
from scipy.optimize import minimize

import lagrangian_learning as ll

from .learned_action_models import learned_law

END, RECORDS = 8.0, 32  # of the runs that are learned from; those that are predicted are twice as long
STEP = 0.25  # of Tsit5 in a fit
FIRST, GROWING = 8, 0.3  # records that Adam begins with; the part of its steps in which they become all
FURTHER = 2  # gradients of L-BFGS for each of Adam
FAILED = 1e3  # the error of a run that failed, relative to staying
PRECISE = {"solver": diffrax.Dopri8(), "rtol": 1e-10, "atol": 1e-11, "max_steps": 4096}
PROBE = 1e-5  # of a central difference


class Runs(NamedTuple):
    """Weights [runs, records, weights], and the largest defect of the energy balance of each run, over its energies."""

    weights: np.ndarray
    defect: np.ndarray


class Fit(NamedTuple):
    """The model found, its error as a share of the way, how many times the runs were differentiated, and seconds."""

    model: Any
    left: float
    gradients: int
    seconds: float


# -- runs --------------------------------------------------------------------------------------------------------------


def _flat(t: Array, observables: dict[str, Any]) -> Array:
    return ravel_pytree(observables["W"])[0]


def times(records: int) -> np.ndarray:
    """Zero, and the times of so many records."""
    return np.linspace(0.0, END * records / RECORDS, records + 1)


def _path(law: ll.AbstractLaw, start: tuple[ll.Stimulus, PyTree], records: int, **settings: Any) -> ll.Trajectory:
    stimulus, W = start
    state = law.initial_state(0.0, W, args=stimulus)
    return ll.simulate(law, state, times(records), stimulus, save=_flat, throw=False, **settings)


@eqx.filter_jit
def _weights(law: ll.AbstractLaw, starts: PyTree) -> Array:
    return jax.vmap(lambda start: _path(law, start, 2 * RECORDS, watch="nothing", **PRECISE).saved)(starts)


@eqx.filter_jit
def _weights_and_energy(law: ll.AbstractLaw, starts: PyTree) -> tuple[Array, Array]:
    def one(start: tuple) -> tuple[Array, Array]:
        path = _path(law, start, 2 * RECORDS, watch="saved", **PRECISE)
        return path.saved, jnp.max(jnp.abs(path.energy_balance)) / (jnp.max(path.energy) - jnp.min(path.energy))

    return jax.vmap(one)(starts)


def runs_of(law: ll.AbstractLaw, starts: PyTree) -> Runs:
    """Runs to 2 `END`, by Dopri8 to ten digits."""
    weights, defect = _weights_and_energy(law, starts)
    return Runs(np.asarray(weights), np.asarray(defect))


def weights_of(law: ll.AbstractLaw, starts: PyTree) -> np.ndarray:
    """The weights of the same, of a law that need not have an energy."""
    return np.asarray(_weights(law, starts))


def way(weights: np.ndarray) -> float:
    """How far weights are from where they began, as the root of a mean square."""
    return float(np.sqrt(np.mean((weights - weights[..., :1, :]) ** 2)))


# -- fits --------------------------------------------------------------------------------------------------------------


def squares(law: ll.AbstractLaw, seen: Array, used: Array, starts: PyTree) -> Float[Array, ""]:
    """The mean square error of whole runs over the records in use, relative to that of weights that stay."""

    def one(start: tuple) -> Array:
        return _path(law, start, RECORDS, watch="nothing", solver=diffrax.Tsit5(), dt0=STEP).saved

    left = used[:, None] * (jax.vmap(one)(starts) - seen)
    return jnp.sum(left**2) / jnp.sum((used[:, None] * (seen - seen[:, :1])) ** 2)


@eqx.filter_jit
def slopes(
    made: Callable[[PyTree], ll.AbstractLaw], static: PyTree, arrays: PyTree, seen: Array, used: Array, starts: PyTree
) -> tuple[Array, PyTree]:
    """Squares and their gradient, by `jax.value_and_grad` on the arrays of a model."""
    return jax.value_and_grad(lambda arrays: squares(made(eqx.combine(arrays, static)), seen, used, starts))(arrays)


@eqx.filter_jit
def slopes_by_equinox(
    made: Callable[[PyTree], ll.AbstractLaw], model: PyTree, seen: Array, used: Array, starts: PyTree
) -> tuple[Array, PyTree]:
    """The same by `eqx.filter_value_and_grad` on the model as it is."""
    return eqx.filter_value_and_grad(lambda model: squares(made(model), seen, used, starts))(model)


def fitted(
    made: Callable[[PyTree], ll.AbstractLaw],
    model: PyTree,
    free: PyTree,
    seen: np.ndarray,
    starts: PyTree,
    rate: float,
    steps: int,
) -> Fit:
    """A model by Adam through longer and longer runs, then by L-BFGS through whole ones.

    Adam finds the valley and L-BFGS its floor, with at most `FURTHER` · `steps` gradients.

    Arguments:
        made: the law of a model.
        model: where the fit begins.
        free: 1 for every number that is fitted, 0 for the others, as the arrays of the model.
        seen: weights [runs, records, weights].
        starts: stimuli and first weights of the runs.
        rate: of Adam at its first step; it falls as a cosine.
        steps: of Adam.
    """
    began, (arrays, static) = time.perf_counter(), eqx.partition(model, eqx.is_array)
    flat, unravel = ravel_pytree(arrays)
    mask, records, counted = ravel_pytree(free)[0], jnp.asarray(seen), 0

    def value_and_slope(flat: np.ndarray, used: Array) -> tuple[float, np.ndarray]:
        nonlocal counted
        counted += 1
        value, gradient = slopes(made, static, unravel(jnp.asarray(flat)), records, used, starts)
        slope = mask * ravel_pytree(gradient)[0]
        if not np.isfinite(value) or not np.all(np.isfinite(slope)):
            return FAILED, np.zeros_like(flat)
        return float(value), np.asarray(slope)

    flat, adam = np.asarray(flat), optax.adam(optax.cosine_decay_schedule(rate, steps), b2=0.99)
    memory, update = adam.init(jnp.asarray(flat)), jax.jit(adam.update)
    for step in range(steps):
        change, memory = update(jnp.asarray(value_and_slope(flat, _used(step / steps))[1]), memory)
        flat = flat + np.asarray(change)
    options = {"maxfun": FURTHER * steps, "maxiter": FURTHER * steps, "ftol": 1e-14, "gtol": 1e-9}
    best = minimize(value_and_slope, flat, args=(_used(1.0),), jac=True, method="L-BFGS-B", options=options)
    found = eqx.combine(unravel(jnp.asarray(best.x)), static)
    return Fit(found, float(np.sqrt(best.fun)), counted * len(seen), time.perf_counter() - began)


def _used(spent: float) -> Array:
    """1 for the records in use after that part of Adam's steps, 0 for others; they grow by equal factors."""
    last = min(RECORDS, int(FIRST * (RECORDS / FIRST) ** (spent / GROWING)))
    return jnp.asarray((np.arange(RECORDS + 1) <= last).astype(float))


def gradient_checks(key: Array, model: PyTree, seen: np.ndarray, starts: PyTree) -> dict[str, float]:
    """Equinox's gradient of a learned law against `jax.grad`'s, and a slope along a direction against a difference.

    All records are in use. Errors are relative.
    """
    used, records, (arrays, static) = jnp.ones(RECORDS + 1), jnp.asarray(seen), eqx.partition(model, eqx.is_array)
    flat, unravel = ravel_pytree(arrays)
    direction = jax.random.normal(key, flat.shape)
    direction /= jnp.linalg.norm(direction)
    by_jax = ravel_pytree(slopes(learned_law, static, arrays, records, used, starts)[1])[0]
    _, gradient = slopes_by_equinox(learned_law, model, records, used, starts)
    by_equinox = ravel_pytree(eqx.filter(gradient, eqx.is_array))[0]
    up, down = (slopes(learned_law, static, unravel(flat + h * direction), records, used, starts)[0]
                for h in (PROBE, -PROBE))  # fmt: skip
    return {
        "equinox": float(jnp.linalg.norm(by_equinox - by_jax) / jnp.linalg.norm(by_jax)),
        "difference": abs(float(by_jax @ direction) / (float(up - down) / (2 * PROBE)) - 1),
    }
