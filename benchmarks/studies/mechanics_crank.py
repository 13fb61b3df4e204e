"""The slider-crank of SUNDIALS and the published gradient of its energy; for the study `mechanics_by_gradient`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import lagrangian_learning as ll
from benchmarks.common import interleaved, median, ratio

CRANK, INERTIAS, REST, FORCE = 0.5, np.array([1.0, 1.0, 2.0]), 1.0, 1.0  # inertias of q = (crank, slider, rod)
SPRING = np.array([1.0, 1.0])  # stiffness k and damping c, by which the energy is differentiated
PUBLISHED, CONVERGED = np.array([0.33346, -0.36375]), np.array([0.333448, -0.363754])
INTEGRAL = 3.3366068  # G, converged
END, NODES = 10.0, 64
RELATIVE, MOST = 1e-10, 1024  # tolerance of the runs that are differentiated; more steps than any run takes

# Gauss–Legendre quadrature of a smooth function is exact to rounding, and each of its nodes is the end of a step.
PLACES, WEIGHTS = np.polynomial.legendre.leggauss(NODES)
TIMES = np.concatenate([[0.0], END / 2 * (PLACES + 1), [END]])


def length(q: Array) -> Array:
    """Of the spring between the middles of crank and rod."""
    middle = jnp.stack([CRANK * jnp.cos(q[0]), CRANK * jnp.sin(q[0])]) / 2
    other = jnp.stack([q[1] - jnp.cos(q[2]) / 2, -jnp.sin(q[2]) / 2])
    return jnp.sqrt(jnp.sum((other - middle) ** 2))


def forces(t: Array, q: Array, v: Array, args: Array) -> Array:
    """Spring and damper along the spring, and a force on slider and rod, by the power that they have."""
    (stretched, rate), pull = jax.jvp(length, (q,), (v,)), jax.grad(length)(q)
    push = FORCE * jnp.stack([jnp.zeros(()), jnp.ones(()), -jnp.sin(q[2])])
    return push - (args[0] * (stretched - REST) + args[1] * rate) * pull


def closed(t: Array, q: Array, args: Array) -> Array:
    """Crank and rod meet the slider."""
    return jnp.stack([q[1] - jnp.cos(q[2]) - CRANK * jnp.cos(q[0]), jnp.sin(q[2]) + CRANK * jnp.sin(q[0])])


def kinetic(v: Array) -> Array:
    """½ Σ Jᵢ vᵢ²."""
    return jnp.sum(INERTIAS * v**2, axis=-1) / 2


LAW = ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, args: kinetic(v)), ll.Holonomic(closed), forces=forces)


def energy(spring: Array, rtol: Array) -> Array:
    """G = ∫₀¹⁰ kinetic energy dt, from rest with the crank upright."""
    rod = jnp.arcsin(-CRANK)
    start = LAW.initial_state(0.0, jnp.stack([jnp.array(jnp.pi / 2), jnp.cos(rod), rod]), args=spring)
    path = ll.simulate(LAW, start, TIMES, spring, watch="nothing", rtol=rtol, max_steps=MOST)
    return END / 2 * jnp.sum(WEIGHTS * kinetic(path.v[1:-1]))


_run = jax.jit(energy)
_reverse = jax.jit(jax.value_and_grad(energy))
_forward = jax.jit(jax.jacfwd(energy))


def differences(h: float = 1e-3) -> np.ndarray:
    """Central differences of fourth order, of runs at 1e-12."""

    def value(k: int, shift: float) -> float:
        return float(_run(jnp.asarray(SPRING + shift * h * np.eye(2)[k]), jnp.asarray(1e-12)))

    return np.array([(8 * (value(k, 1) - value(k, -1)) - (value(k, 2) - value(k, -2))) / (12 * h) for k in range(2)])


def crank_gradients(rounds: int = 7) -> dict[str, Any]:
    """The gradient in three ways, their differences from what is published and from each other, and what each costs."""
    given = jnp.asarray(SPRING), jnp.asarray(RELATIVE)
    value, reverse = _reverse(*given)
    found = {
        "reverse mode": np.asarray(reverse),
        "forward mode": np.asarray(_forward(*given)),
        "central differences": differences(),
    }
    times = interleaved(
        {"run": lambda: _run(*given), "reverse": lambda: _reverse(*given), "forward": lambda: _forward(*given)}, rounds
    )
    return {
        "integral": float(value),
        "gradients": found,
        "from_published": {name: float(np.abs(one - PUBLISHED).max()) for name, one in found.items()},
        "from_converged": {name: float(np.abs(one - CONVERGED).max()) for name, one in found.items()},
        "apart": float(max(np.abs(a / b - 1).max() for a in found.values() for b in found.values())),
        "modes_apart": float(np.abs(found["reverse mode"] / found["forward mode"] - 1).max()),
        "run_seconds": median(times["run"]),
        "cost": {
            "reverse mode": ratio(times, "reverse", "run"),
            "forward mode": ratio(times, "forward", "run"),
            "central differences": 8.0,
        },
    }
