"""Hand-written laws, independent of the package's mechanics: what `simulate` is tested on."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from scipy.special import ellipj, ellipk

from lagrangian_learning.mechanics.law import (
    AbstractConstrainedPart,
    AbstractEnergyPart,
    AbstractLaw,
    Rates,
    Residual,
)


class Motion(eqx.Module):
    q: object
    v: object


def array(value, dtype=jnp.float64):
    return jnp.asarray(value, dtype)


class Oscillator(AbstractLaw, AbstractEnergyPart):
    """q̈ = −ω² q − r q̇ + args (if any); E = ½v² + ½ω²q², dE/dt = −r v² + args v."""

    omega: object
    friction: object = 0.0

    def rates(self, t, state, args):
        force = 0 if args is None else args
        omega = jnp.asarray(self.omega, state.q.dtype)
        friction = jnp.asarray(self.friction, state.q.dtype)
        acceleration = -(omega**2) * state.q - friction * state.v + force
        return Rates(Motion(state.v, acceleration), jnp.sum((force - friction * state.v) * state.v))

    def energy(self, t, state, args):
        omega = jnp.asarray(self.omega, state.q.dtype)
        return jnp.sum(state.v**2 + (omega * state.q) ** 2) / 2

    @property
    def aliases(self):
        return {"W": ("q", None), "x": ("q", 0)}


class Pendulum(AbstractLaw, AbstractConstrainedPart, AbstractEnergyPart):
    """|q| = 1 in the plane under gravity g, index-reduced: q̈ = −δ q + (0, −g), δ = |v|² − g y."""

    gravity: object = 1.0
    gains: object = None

    def rates(self, t, state, args):
        q, v = state.q, state.v
        g = jnp.asarray(self.gravity, q.dtype)
        weight = jnp.stack([jnp.zeros_like(g), -g])
        bias = jnp.sum(v**2)
        if self.gains is not None:
            alpha, beta = self.gains  # pyright: ignore[reportGeneralTypeIssues]
            bias = bias + 2 * alpha * jnp.sum(q * v) + beta**2 * (jnp.sum(q**2) - 1) / 2
        delta = (bias + jnp.sum(q * weight)) / jnp.sum(q**2)
        return Rates(Motion(v, weight - delta * q), jnp.zeros((), q.dtype))

    def observables(self, t, state, args):
        return {"q": state.q, "v": state.v, "a": self.rates(t, state, args).state.v}

    def residual(self, t, state, args):
        return Residual(jnp.abs(jnp.sum(state.q**2) - 1) / 2, jnp.abs(jnp.sum(state.q * state.v)))

    def energy(self, t, state, args):
        return jnp.sum(state.v**2) / 2 + jnp.asarray(self.gravity, state.q.dtype) * state.q[1]

    def project(self, t, state, args, allowed=None):
        q = state.q / jnp.sqrt(jnp.sum(state.q**2))
        return Motion(q, state.v - jnp.sum(q * state.v) * q), jnp.all(jnp.isfinite(q))

    def baumgarte(self, alpha, beta):
        return Pendulum(self.gravity, (alpha, beta))


class BlowUp(AbstractLaw):
    """q̇ = q²: q = 1/(1/q0 − t) ends at t = 1/q0."""

    def rates(self, t, state, args):
        return Rates(Motion(state.q**2, jnp.zeros_like(state.v)), None)


class NaNAfter(AbstractLaw):
    """q̇ = v until the time args, then NaN."""

    def rates(self, t, state, args):
        return Rates(Motion(jnp.where(t > args, jnp.nan, state.v), jnp.zeros_like(state.v)), None)


class Singular(Pendulum):
    """A pendulum whose multiplier is 0/0 while state and constraints are fine."""

    def rates(self, t, state, args):
        zero = jnp.sum(state.q * 0)
        return Rates(Motion(state.v, state.v + zero / zero), zero)


class NeverProjects(Pendulum):
    """Its projection reports that it did not converge, after the start."""

    def project(self, t, state, args, allowed=None):
        return state, t <= 0


class Counting(Oscillator):
    """Counts how often it is traced."""

    traces: list = eqx.field(static=True, default=None)

    def rates(self, t, state, args):
        self.traces.append(1)
        return Oscillator(self.omega, self.friction).rates(t, state, args)


def oscillator_at(ts, omega, q0, v0):
    return q0 * np.cos(omega * ts) + v0 / omega * np.sin(omega * ts)


def pendulum_at(ts, gravity):
    """Released at rest from the horizontal, at (1, 0): by Jacobi's elliptic functions, k² = ½."""
    k2, omega = 0.5, np.sqrt(gravity)
    sn, cn, dn, _ = ellipj(omega * ts + ellipk(k2), k2)
    half = np.sqrt(k2) * sn  # sin(θ/2), θ from the vertical
    x, y = 2 * half * dn, 2 * half**2 - 1
    speed = 2 * np.sqrt(k2) * omega * cn  # θ̇
    return np.stack([x, y], 1), np.stack([-y * speed, x * speed], 1)


def released(dtype=jnp.float64):
    return Motion(array([1, 0], dtype), array([0, 0], dtype))


def at_rest(q=1.0, dtype=jnp.float64):
    return Motion(array([q], dtype), array([0], dtype))
