"""Torques that swing a two-link arm up, found through its constrained motion; for the study `mechanics_by_gradient`."""

import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from scipy.integrate import solve_ivp
from scipy.optimize import differential_evolution, minimize

import lagrangian_learning as ll
from benchmarks.common import interleaved, ratio

MASSES, LENGTHS, GRAVITY = np.array([1.0, 1.0]), np.array([0.5, 0.5]), 9.81  # kg, at the ends of two rods; m; m/s²
BOUNDS = np.array([6.0, 3.0])  # N m, at shoulder and elbow; holding the arm out level would take 14.7 and 4.9
END, KNOTS, STEPS = 2.0, 21, 5  # s; torques are straight between so many knots, with so many steps between two
SPEED, EFFORT = 0.1, 1e-6  # weights in the loss of squares of m/s, and of ∫ τ² dt, beside squares of m
FIRST, RATE = 0.1, 0.1  # spread of the first unknowns; step of Adam at the start
UPRIGHT = np.array([[0.0, LENGTHS[0]], [0.0, LENGTHS.sum()]])
TIMES = np.linspace(0.0, END, KNOTS)


# -- the arm, in Cartesian coordinates of its two masses ---------------------------------------------------------------


def density(t: Array, q: Array, v: Array, torques: Array) -> Array:
    """Σ mᵢ (½ |vᵢ|² − g yᵢ)."""
    return jnp.sum(MASSES * (jnp.sum(v**2, axis=1) / 2 - GRAVITY * q[:, 1]))


def rods(t: Array, q: Array, torques: Array) -> Array:
    """Half the squares of the rods, less what they are."""
    return (jnp.sum(_arms(q) ** 2, axis=1) - LENGTHS**2) / 2


def forces(t: Array, q: Array, v: Array, torques: Array) -> Array:
    """A torque τ on a rod is the pair of forces ± τ n/l across it, of the power τ θ̇; the elbow's acts on both rods."""
    shoulder, elbow = (jnp.interp(t, jnp.asarray(TIMES), torques[:, k]) for k in range(2))
    arms = _arms(q)
    across = jnp.stack([-arms[:, 1], arms[:, 0]], axis=1) / jnp.sum(arms**2, axis=1, keepdims=True)
    return jnp.stack([(shoulder - elbow) * across[0] - elbow * across[1], elbow * across[1]])


def _arms(q: Array) -> Array:
    return jnp.stack([q[0], q[1] - q[0]])


LAW = ll.EulerLagrange(ll.Lagrangian(density), ll.Holonomic(rods), forces=forces)


def swung(torques: Array, **settings: Any) -> ll.Trajectory:
    """From hanging at rest, under torques [knots, 2]."""
    start = LAW.initial_state(0.0, -jnp.asarray(UPRIGHT), args=torques)
    return ll.simulate(LAW, start, TIMES, torques, **settings)


def torques_of(unknowns: Array) -> Float[Array, "knots 2"]:
    """Within `BOUNDS`, whatever the unknowns [2 knots]."""
    return BOUNDS * jnp.tanh(unknowns.reshape(KNOTS, 2))


def effort(torques: Array) -> Array:
    """∫ τ² dt of torques that are straight between knots (Simpson's rule is exact)."""
    middle = (torques[1:] + torques[:-1]) / 2
    return jnp.sum(torques[1:] ** 2 + torques[:-1] ** 2 + 4 * middle**2) * (END / (KNOTS - 1)) / 6


def loss(unknowns: Array) -> Array:
    """|q − upright|² + `SPEED` |v|² at the end, + `EFFORT` ∫ τ² dt."""
    torques = torques_of(unknowns)
    end = swung(torques, solver=diffrax.Tsit5(), dt0=END / (KNOTS - 1) / STEPS, watch="nothing").final_state
    return jnp.sum((end.q - UPRIGHT) ** 2) + SPEED * jnp.sum(end.v**2) + EFFORT * effort(torques)


value = jax.jit(loss)
value_and_slope = jax.jit(jax.value_and_grad(loss))


@jax.jit
def precisely(torques: Array) -> ll.Trajectory:
    """By Dopri8 to twelve digits, no step over a knot."""
    return swung(torques, solver=diffrax.Dopri8(), rtol=1e-12, atol=1e-12, max_steps=4096)


# -- searches ----------------------------------------------------------------------------------------------------------


class Found(NamedTuple):
    """The best unknowns of a search, and after every call how many calls it has made and the least loss so far."""

    unknowns: np.ndarray
    calls: np.ndarray
    least: np.ndarray
    seconds: float


class _Enough(Exception):  # noqa: N818  # no error: the search has used its calls
    pass


class _Counted:
    """Calls a loss no more than `most` times, and keeps the best."""

    def __init__(self, call: Callable, most: int) -> None:
        self.call, self.most, self.best = call, most, np.zeros(2 * KNOTS)
        self.calls, self.least = [0], [np.inf]

    def __call__(self, unknowns: np.ndarray) -> Any:
        if self.calls[-1] >= self.most:
            raise _Enough
        given = self.call(jnp.asarray(unknowns))
        loss, slope = given if isinstance(given, tuple) else (given, None)
        if float(loss) < self.least[-1]:
            self.best = np.array(unknowns)
        self.calls.append(self.calls[-1] + 1)
        self.least.append(min(float(loss), self.least[-1]))
        return float(loss) if slope is None else (float(loss), np.asarray(slope))


def searched(how: Callable, call: Callable, start: np.ndarray, most: int, rng: np.random.Generator) -> Found:
    """`how(counted, start, rng)` with no more than `most` calls."""
    counted, began = _Counted(call, most), time.perf_counter()
    with suppress(_Enough):
        how(counted, start, rng)
    return Found(counted.best, np.array(counted.calls[1:]), np.array(counted.least[1:]), time.perf_counter() - began)


def by_adam(counted: _Counted, start: np.ndarray, rng: np.random.Generator) -> None:
    """Optax's Adam over all calls."""
    _adam(counted, start, counted.most)


def by_both(counted: _Counted, start: np.ndarray, rng: np.random.Generator) -> None:
    """Adam for half of the calls, then BFGS from the best that it found."""
    _adam(counted, start, counted.most // 2)
    by_bfgs(counted, counted.best, rng)


def by_bfgs(counted: _Counted, start: np.ndarray, rng: np.random.Generator) -> None:
    """SciPy's BFGS, which is given the gradient."""
    minimize(counted, start, jac=True, method="BFGS", options={"gtol": 1e-10, "maxiter": 10**6})


def _adam(counted: _Counted, start: np.ndarray, steps: int) -> None:
    """Its step decays to nothing."""
    optimiser = optax.adam(optax.cosine_decay_schedule(RATE, steps))
    unknowns = jnp.asarray(start)
    memory = optimiser.init(unknowns)
    for _ in range(steps):
        updates, memory = optimiser.update(jnp.asarray(counted(np.asarray(unknowns))[1]), memory)
        unknowns = jnp.asarray(optax.apply_updates(unknowns, updates))


def by_powell(counted: _Counted, start: np.ndarray, rng: np.random.Generator) -> None:
    """SciPy's method of Powell."""
    minimize(counted, start, method="Powell", options={"maxfev": 10**6, "maxiter": 10**6})


def by_nelder_mead(counted: _Counted, start: np.ndarray, rng: np.random.Generator) -> None:
    """SciPy's simplex, with constants for many dimensions."""
    corners = np.vstack([start, start + 0.5 * np.eye(len(start))])
    options = {"adaptive": True, "initial_simplex": corners, "maxfev": 10**6, "maxiter": 10**6}
    minimize(counted, start, method="Nelder-Mead", options=options)


def by_evolution(counted: _Counted, start: np.ndarray, rng: np.random.Generator) -> None:
    """SciPy's differential evolution, 42 at a time, within ± 2: torques of ± 96 % of the bounds."""
    bounds = [(-2.0, 2.0)] * len(start)
    differential_evolution(counted, bounds, popsize=1, maxiter=10**6, tol=0, polish=False, x0=start, seed=rng)


def by_covariance(counted: _Counted, start: np.ndarray, rng: np.random.Generator, spread: float = 0.5) -> None:
    """Evolution with an adapted covariance matrix (CMA-ES), with Hansen's usual constants."""
    n, mean, size = len(start), np.array(start), 16
    weights = np.log(size / 2 + 0.5) - np.log(np.arange(1, size // 2 + 1))
    weights /= weights.sum()
    mu = 1 / np.sum(weights**2)
    c_s, c_c = (mu + 2) / (n + mu + 5), (4 + mu / n) / (n + 4 + 2 * mu / n)
    c_1 = 2 / ((n + 1.3) ** 2 + mu)
    c_mu = min(1 - c_1, 2 * (mu - 2 + 1 / mu) / ((n + 2) ** 2 + mu))
    damp, usual = (
        1 + 2 * max(0, np.sqrt((mu - 1) / (n + 1)) - 1) + c_s,
        np.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n**2)),
    )
    C, path_s, path_c = np.eye(n), np.zeros(n), np.zeros(n)
    while True:
        squares, axes = np.linalg.eigh(C)
        roots = np.sqrt(np.maximum(squares, 1e-20))
        steps = (rng.normal(size=(size, n)) * roots) @ axes.T
        order = np.argsort([counted(one) for one in mean + spread * steps])[: size // 2]
        step = weights @ steps[order]
        mean = mean + spread * step
        path_s = (1 - c_s) * path_s + np.sqrt(c_s * (2 - c_s) * mu) * (axes / roots) @ (axes.T @ step)
        spread *= np.exp(c_s / damp * (np.linalg.norm(path_s) / usual - 1))
        path_c = (1 - c_c) * path_c + np.sqrt(c_c * (2 - c_c) * mu) * step
        C = (1 - c_1 - c_mu) * C + c_1 * np.outer(path_c, path_c) + c_mu * (steps[order].T * weights) @ steps[order]


BY_GRADIENT = {"Adam": by_adam, "Adam, BFGS": by_both, "BFGS": by_bfgs}
WITHOUT = {"CMA-ES": by_covariance, "differential evolution": by_evolution, "Powell": by_powell,
           "Nelder–Mead": by_nelder_mead}  # fmt: skip


# -- what is found -----------------------------------------------------------------------------------------------------


def in_angles(torques: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places and velocities of the masses at the end by SciPy, from equations in two angles from the vertical."""
    (m1, m2), (a, b), g = MASSES, LENGTHS, GRAVITY

    def rates(t: float, y: np.ndarray) -> np.ndarray:
        (p, r), (dp, dr) = y[:2], y[2:]
        shoulder, elbow = (np.interp(t, TIMES, torques[:, k]) for k in range(2))
        cross, swing = m2 * a * b * np.cos(p - r), m2 * a * b * np.sin(p - r)
        mass = np.array([[(m1 + m2) * a**2, cross], [cross, m2 * b**2]])
        push = [
            shoulder - elbow - swing * dr**2 - (m1 + m2) * g * a * np.sin(p),
            elbow + swing * dp**2 - m2 * g * b * np.sin(r),
        ]
        return np.concatenate([y[2:], np.linalg.solve(mass, push)])

    y = np.zeros(4)
    for begin, end in pairwise(TIMES):
        y = solve_ivp(rates, (begin, end), y, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    arms = LENGTHS[:, None] * np.stack([np.sin(y[:2]), -np.cos(y[:2])], axis=1)
    turns = (LENGTHS * y[2:])[:, None] * np.stack([np.cos(y[:2]), np.sin(y[:2])], axis=1)
    return np.cumsum(arms, axis=0), np.cumsum(turns, axis=0)


def judged(found: Found) -> dict[str, Any]:
    """Where the arm ends, by a precise run and by `in_angles`; distances in m, speeds in m/s."""
    torques = torques_of(jnp.asarray(found.unknowns))
    path = precisely(torques)
    q, v = (np.asarray(part) for part in (path.final_state.q, path.final_state.v))
    places, speeds = in_angles(np.asarray(torques))
    return {
        "loss": float(found.least[-1]),
        "distance": float(np.linalg.norm(q - UPRIGHT)),
        "speed": float(np.linalg.norm(v)),
        "effort": float(effort(torques)),
        "largest_torque": np.abs(torques).max(axis=0),
        "residual": float(np.max(np.asarray(path.constraint_residual))),
        "apart": float(max(np.abs(places - q).max(), np.abs(speeds - v).max())),
        "calls": int(found.calls[-1]),
        "seconds": found.seconds,
    }


def cost_of_gradient(rounds: int) -> float:
    """A value with its gradient in runs, measured side by side."""
    at = jnp.full(2 * KNOTS, 0.1)
    times = interleaved({"run": lambda: value(at), "gradient": lambda: value_and_slope(at)}, rounds)
    return ratio(times, "gradient", "run")


def along_a_direction(rng: np.random.Generator, h: float = 1e-4) -> tuple[float, float, float]:
    """The slope along a direction by the gradient and by a central difference, and the gradient's norm at zero."""
    at, direction = rng.normal(size=(2, 2 * KNOTS)) / 2
    slope = float(value_and_slope(jnp.asarray(at))[1] @ direction)
    up, down = (float(value(jnp.asarray(at + sign * h * direction))) for sign in (1, -1))
    still = np.linalg.norm(value_and_slope(jnp.zeros(2 * KNOTS))[1])
    return slope, (up - down) / (2 * h), float(still)
