"""Slider-crank of SUNDIALS (idasSlCrank) with spring and damper: ∫ kinetic energy dt and its gradient in (k, c)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll

A, J1, J2, M2, L0, FORCE = 0.5, 1.0, 2.0, 1.0, 1.0, 1.0
SPRING = np.array([1.0, 1.0])  # k and c
PUBLISHED, CONVERGED = 3.336616, 3.3366068
PUBLISHED_GRADIENT = np.array([0.33346, -0.36375])

# Kinetic energy is smooth: Gauss–Legendre on saved times integrates it exactly, and every saved time is a step end.
NODES, WEIGHTS = np.polynomial.legendre.leggauss(64)
TIMES = np.concatenate([[0.0], 5 * (NODES + 1), [10.0]])


def kinetic(v):
    return 0.5 * (J1 * v[..., 0] ** 2 + M2 * v[..., 1] ** 2 + J2 * v[..., 2] ** 2)


def spring_length(q):
    q1, x, p = q
    return jnp.sqrt(x**2 - x * (jnp.cos(p) + A * jnp.cos(q1)) + (1 + A**2) / 4 + A * jnp.cos(p - q1) / 2)


def forces(t, q, v, args):
    k, c = args
    q1, x, p = q
    length, rate = jax.jvp(spring_length, (q,), (v,))
    f = (k * (length - L0) + c * rate) / length
    return jnp.stack(
        [
            -f * A * (jnp.sin(p - q1) / 2 + x * jnp.sin(q1)) / 2,
            f * (jnp.cos(p) / 2 - x + A * jnp.cos(q1) / 2) + FORCE,
            -f * (x * jnp.sin(p) - A * jnp.sin(p - q1) / 2) / 2 - FORCE * jnp.sin(p),
        ]
    )


def closed(t, q, args):
    q1, x, p = q
    return jnp.stack([x - jnp.cos(p) - A * jnp.cos(q1), jnp.sin(p) + A * jnp.sin(q1)])


LAW = ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, args: kinetic(v)), ll.Holonomic(closed), forces=forces)


@jax.jit
def run(parameters, rtol):
    """G, and the trajectory it comes from."""
    p = jnp.arcsin(-A)
    start = LAW.initial_state(0.0, jnp.stack([jnp.pi / 2, jnp.cos(p), p]), jnp.zeros(3), parameters)
    path = ll.simulate(LAW, start, TIMES, parameters, rtol=rtol, max_steps=4096)
    return 5 * jnp.asarray(WEIGHTS) @ kinetic(path.v[1:-1]), path


@pytest.mark.slow
def test_kinetic_energy_integral(gate, balanced):
    value, path = run(SPRING, 1e-10)
    gate("G against its converged value", value - CONVERGED, 1e-7)
    gate("G against the published value", value - PUBLISHED, 1e-5)
    balanced(path)


@pytest.mark.slow
def test_gradient_of_the_integral(gate):
    gradient = np.asarray(jax.grad(run, has_aux=True)(SPRING, 1e-10)[0])
    gate("gradient against the published one", gradient - PUBLISHED_GRADIENT, 1e-4)
    h = 1e-3
    stencil = np.array([1, -8, 8, -1]) / (12 * h)
    difference = [stencil @ [run(SPRING + s * h * axis, 1e-12)[0] for s in (-2, -1, 1, 2)] for axis in np.eye(2)]
    gate("reverse mode against finite differences", gradient / difference - 1, 1e-6)
