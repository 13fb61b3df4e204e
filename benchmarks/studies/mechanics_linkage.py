"""Masses, spring and damper of a four-bar linkage from its observed motion; for the study `mechanics_by_gradient`."""

import math
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.signal import savgol_filter

import lagrangian_learning as ll

from .identification import FURTHER, QUANTILE, Case

CRANK, COUPLER, ROCKER, GROUND = 0.10, 0.40, 0.20, 0.35  # m, of notebook 12
ANCHOR, REST = np.array([0.55, 0.25]), 0.10  # where the spring is held, and its length without force; m
GRAVITY, FORCE = 9.81, 12.0  # m/s²; a force on joint A, upward, N
CONSTANTS = {"m_A": 0.8, "m_B": 1.2, "k": 80.0, "c": 2.0}  # kg, kg, N/m, N s/m
PUSHED, FREE = 1.5, 0.7  # rad, of the crank at rest at the start, with the force and without; fitted as well
END, RECORDS = 1.0, 100  # s; the motion is seen at so many instants, from one to the next by one step
NOISES = (1e-4, 3e-4, 1e-3, 3e-3)  # m, of each coordinate that is seen
JUDGED = 1e-3
WINDOWS = (3, 5, 7, 11, 15, 21, 31)  # instants of a smoothing polynomial of degree 4; 3: plain differences
FIRST = 30  # records that a fit begins with
LANES, SMALL = 26, 1e-8  # fits side by side; a step, and a share of the squares, at which they end
TIMES = np.linspace(0.0, END, RECORDS)


# -- the linkage -------------------------------------------------------------------------------------------------------


def density(t: Array, q: Array, v: Array, args: dict[str, Array]) -> Array:
    """½ m_A |Ȧ|² + ½ m_B |Ḃ|² − g (m_A A_y + m_B B_y) − ½ k (|B − anchor| − rest)²."""
    masses, stretch = jnp.stack([args["m_A"], args["m_B"]]), jnp.linalg.norm(q[1] - ANCHOR) - REST
    return jnp.sum(masses * (jnp.sum(v**2, axis=1) / 2 - GRAVITY * q[:, 1])) - args["k"] * stretch**2 / 2


def bars(t: Array, q: Array, args: dict[str, Array]) -> Array:
    """Half the squares of crank, coupler and rocker, less what they are."""
    arms = jnp.stack([q[0], q[1] - q[0], q[1] - jnp.array([GROUND, 0.0])])
    return (jnp.sum(arms**2, axis=1) - jnp.array([CRANK, COUPLER, ROCKER]) ** 2) / 2


def forces(t: Array, q: Array, v: Array, args: dict[str, Array]) -> Array:
    """The damper and the known force, both on joint A."""
    return jnp.stack([jnp.stack([jnp.zeros_like(args["force"]), args["force"]]) - args["c"] * v[0], jnp.zeros(2)])


LAW = ll.EulerLagrange(ll.Lagrangian(density), ll.Holonomic(bars), forces=forces)


def joints(angle: Array) -> Float[Array, "2 2"]:
    """A and B where the crank is at that angle: B is where two circles meet."""
    A = CRANK * jnp.stack([jnp.cos(angle), jnp.sin(angle)])
    across = jnp.array([GROUND, 0.0]) - A
    square = across @ across
    along = (COUPLER**2 - ROCKER**2 + square) / (2 * square)
    aside = jnp.sqrt(COUPLER**2 / square - along**2)
    return jnp.stack([A, A + along * across + aside * jnp.stack([-across[1], across[0]])])


def moved(logs: Array, force: Array, settings: dict[str, Any]) -> Float[Array, "records 4"]:
    """A and B at `TIMES`; logs: of m_A, m_B, k, c, and of the crank's angle at the start."""
    args = dict(zip(CONSTANTS, jnp.exp(logs[:-1]), strict=True)) | {"force": force}
    start = LAW.initial_state(0.0, joints(jnp.exp(logs[-1])), args=args)
    path = ll.simulate(LAW, start, TIMES, args, watch="nothing", throw=False, **settings)
    return path.q.reshape(RECORDS, 4)


def predicted(logs: Array, force: Array, W: None) -> Float[Array, "records 4"]:
    """By constant steps."""
    return moved(logs, force, {"solver": diffrax.Tsit5(), "dt0": END})


@jax.jit
def _precise(logs: Array, force: Array) -> Array:
    return moved(logs, force, {"solver": diffrax.Dopri8(), "rtol": 1e-12, "atol": 1e-13})


def linkage_case(force: float) -> Case:
    """The linkage let go from rest, as seen by Dopri8 to twelve digits."""
    constants = CONSTANTS | {"angle": PUSHED if force else FREE}
    seen = _precise(jnp.log(jnp.array(list(constants.values()))), jnp.asarray(force))
    name = "pushed by a known force" if force else "free"
    return Case(name, constants, predicted, jnp.asarray(force), None, np.asarray(seen), FIRST)


def begin(case: Case, seen: np.ndarray) -> np.ndarray:
    """Log constants to begin with, off by `FURTHER` to either side; the angle is that of the first record."""
    off = case.off
    off[-1] = math.log(np.arctan2(seen[0, 1], seen[0, 0]))
    return off


# -- fits --------------------------------------------------------------------------------------------------------------


@eqx.filter_jit
def _slopes(how: Any, at: Array, force: Array) -> tuple[Array, Array]:
    """What the constants of each lane [lanes, p] predict [lanes, n], and its derivatives by them [lanes, n, p]."""

    def both(logs: Array) -> tuple[Array, Array]:
        values = how(logs, force, None).ravel()
        return values, values

    slopes, values = jax.vmap(jax.jacfwd(both, has_aux=True))(at)
    return values, slopes


class Fits(NamedTuple):
    """Log constants [draws, p], derivatives of what is predicted by them [draws, n, p], and what is left [draws, n]."""

    logs: np.ndarray
    slopes: np.ndarray
    left: np.ndarray

    def deviations(self, free: slice = slice(None)) -> np.ndarray:
        """From the covariance s² (JᵀJ)⁻¹, s² being the mean square of what is left; the other constants are known."""
        J = self.slopes[..., free]
        variance = np.sum(self.left**2, axis=1) / (self.left.shape[1] - J.shape[2])
        return np.sqrt(variance[:, None] * np.diagonal(np.linalg.inv(J.swapaxes(1, 2) @ J), axis1=1, axis2=2))


def fits(case: Case, seen: np.ndarray, lanes: int = LANES) -> Fits:
    """Constants of each draw of what is seen [draws, records, 4], by Levenberg and Marquardt, `lanes` side by side.

    As `identification.fitted` has it: first over few records, then over all. Every lane has a damping of its own, and
    one program serves values and derivatives, steps and covariances: the loop of a solver would be compiled longer.
    """
    found = []
    for first in range(0, len(seen), lanes):
        which = np.minimum(np.arange(first, first + lanes), len(seen) - 1)  # the last lanes may be spare
        logs, aims = np.array([begin(case, seen[one]) for one in which]), seen[which].reshape(lanes, -1)
        logs = _marquardt(case, logs, aims, slice(4 * FIRST), 15)[0]
        found.append(_marquardt(case, logs, aims, slice(None), 30))
    return Fits(*(np.concatenate(parts)[: len(seen)] for parts in zip(*found, strict=True)))


def _marquardt(
    case: Case, logs: np.ndarray, aims: np.ndarray, used: slice, most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(JᵀJ + damping · its diagonal) step = −Jᵀ left, in each lane; a step that does not help is not taken."""

    def at(logs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        values, slopes = (np.asarray(part) for part in _slopes(case.predicted, jnp.asarray(logs), case.stimulus))
        left, followed = values - aims, np.all(np.isfinite(slopes), axis=(1, 2))  # by the steps; it may be too fast
        return left, slopes, np.where(followed, np.sum(left[:, used] ** 2, axis=1), np.inf)

    (left, slopes, squares), damping = at(logs), np.full(len(logs), 1e-2)
    for _ in range(most):
        J = slopes[:, used]
        normal = J.swapaxes(1, 2) @ J
        damped = normal * (1 + damping[:, None, None] * np.eye(logs.shape[1]))
        step = -np.nan_to_num(np.linalg.solve(damped, J.swapaxes(1, 2) @ left[:, used, None]))[..., 0]
        step /= np.maximum(1, np.abs(step).max(axis=1, keepdims=True))  # no constant by more than a factor of e
        tried = at(logs + step)
        helps = tried[2] < squares
        with np.errstate(invalid="ignore"):
            done = (np.abs(step).max(axis=1) < SMALL) | (helps & (squares - tried[2] < SMALL * squares))
        logs = np.where(helps[:, None], logs + step, logs)
        left, slopes = np.where(helps[:, None], tried[0], left), np.where(helps[:, None, None], tried[1], slopes)
        squares = np.where(helps, tried[2], squares)
        damping = np.clip(np.where(helps, damping / 10, 10 * damping), 1e-9, 1e9)
        if np.all(done):
            break
    return logs, slopes, left


def noisy(case: Case, noise: float, draws: int, rng: np.random.Generator) -> np.ndarray:
    """What is seen [draws, records, 4], each coordinate with an error of its own."""
    return case.weights + noise * rng.normal(size=(draws, *case.weights.shape))


def intervals(case: Case, draws: int, rng: np.random.Generator, lanes: int = LANES) -> dict[str, Any]:
    """Errors with noise, stated deviations, and the share of 90 % intervals that hold the truth; errors without noise.

    A free motion shows no more than ratios to m_A: it is compared as such, and m_A is left out.
    """
    seen = np.concatenate([case.weights[None], noisy(case, JUDGED, draws, rng)])
    found, kept = fits(case, seen, lanes), slice(None) if case.stimulus else slice(1, None)
    errors = found.logs - case.truth
    if not case.stimulus:
        errors -= errors[:, :1] * np.array([1, 1, 1, 1, 0])
    errors, deviations = errors[:, kept], found.deviations(kept)
    return {
        "constants": [
            name if case.stimulus or name == "angle" else f"{name}/m_A" for name in list(case.constants)[kept]
        ],
        "truth": [
            value if case.stimulus or name == "angle" else value / case.constants["m_A"]
            for name, value in list(case.constants.items())[kept]
        ],
        "noiseless": np.abs(np.expm1(errors[0])),
        "errors": errors[1:],
        "deviations": deviations[1:],
        "root_mean_square": np.sqrt(np.mean(errors[1:] ** 2, axis=0)),
        "stated": np.median(deviations[1:], axis=0),
        "hit": np.mean(np.abs(errors[1:]) <= QUANTILE * deviations[1:], axis=0),
        "condition": _condition(found.slopes[0]),
        "condition_of_ratios": _condition(found.slopes[0][:, 1:]),
        "least": least_seen(found.slopes[0]),
    }


def _condition(slopes: np.ndarray) -> float:
    singular = np.linalg.svd(slopes, compute_uv=False)
    return float(singular[0] / singular[-1])


def least_seen(slopes: np.ndarray) -> np.ndarray:
    """The direction in the log constants along which the motion changes least, its largest part positive."""
    direction = np.linalg.svd(slopes, full_matrices=False)[2][-1]
    return direction * np.sign(direction[np.argmax(np.abs(direction))])


# -- without a simulator -----------------------------------------------------------------------------------------------


def derivatives(seen: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions, velocities and accelerations [instants, 2, 2] from those seen, without the ends of the record.

    window: of a moving polynomial of degree 4 (Savitzky and Golay); 3: central differences.
    """
    step, cut = TIMES[1], slice(window // 2, -(window // 2))
    degree = min(4, window - 1)
    parts = (savgol_filter(seen, window, degree, deriv=order, delta=step, axis=0)[cut] for order in range(3))
    q, v, a = (part.reshape(-1, 2, 2) for part in parts)
    return q, v, a


def regressed(seen: np.ndarray, force: float, window: int) -> np.ndarray:
    """The constants by linear regression in the equation of virtual power, in which the forces of the bars do no work.

    Σ_j m_j (a_j + g)·τ_j + k s n·τ_B + c v_A·τ_A = F·τ_A, where τ are the velocities that the bars allow.
    """
    q, v, a = derivatives(seen, window)
    A, B = q[:, 0], q[:, 1]
    along, about = B - A, B - np.array([GROUND, 0.0])
    for_A = np.stack([-A[:, 1], A[:, 0]], axis=1)
    right = np.stack([np.sum(along * for_A, axis=1), np.zeros(len(A))], axis=1)
    for_B = np.linalg.solve(np.stack([along, about], axis=1), right[..., None])[..., 0]
    spring = B - ANCHOR
    length = np.linalg.norm(spring, axis=1)
    weighed = a + np.array([0.0, GRAVITY])
    design = np.stack(
        [
            np.sum(weighed[:, 0] * for_A, axis=1),
            np.sum(weighed[:, 1] * for_B, axis=1),
            (length - REST) / length * np.sum(spring * for_B, axis=1),
            np.sum(v[:, 0] * for_A, axis=1),
        ],
        axis=1,
    )
    return np.linalg.lstsq(design, force * for_A[:, 1], rcond=None)[0]


def against_regression(case: Case, draws: int, rng: np.random.Generator, lanes: int = LANES) -> dict[str, Any]:
    """Relative errors of the four constants over the noise, medians over draws: fits, and regressions of derivatives.

    The regression smooths by that window which, at each noise, has the least error: nobody who does not know the truth
    can choose better. Plain central differences are beside it.
    """
    truth, found = np.exp(case.truth[:-1]), {"noise": np.array(NOISES), "draws": draws}
    rows: dict[str, list[Any]] = {"fitted": [], "smoothed": [], "differences": [], "window": []}
    drawn = [noisy(case, noise, draws, rng) for noise in NOISES]
    errors = np.abs(np.expm1(fits(case, np.concatenate(drawn), lanes).logs - case.truth))[:, :-1]
    for seen, of_fits in zip(drawn, errors.reshape(len(NOISES), draws, -1), strict=True):
        rows["fitted"].append(np.median(of_fits, axis=0))
        by_window = np.array([
            np.median([np.abs(regressed(one, float(case.stimulus), window) / truth - 1) for one in seen], axis=0)
            for window in WINDOWS
        ])  # fmt: skip
        best = int(np.argmin(np.exp(np.mean(np.log(by_window), axis=1))))
        rows["smoothed"].append(by_window[best])
        rows["differences"].append(by_window[0])
        rows["window"].append(WINDOWS[best])
    exact = [np.abs(regressed(case.weights, float(case.stimulus), window) / truth - 1) for window in WINDOWS]
    return found | rows | {"regressed_without_noise": min(exact, key=np.max), "off_by": FURTHER}
