"""Small systems that the tests of mechanics share."""

import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.mechanics import EulerLagrange, ExponentialDissipation, Holonomic, Lagrangian
from tests import problems

GRAVITY = 9.81


@pytest.fixture
def rng():
    return np.random.default_rng(20191204)


@pytest.fixture
def pendulum():
    """A Cartesian pendulum of unit length and mass."""
    return problems.pendulum(GRAVITY)


@pytest.fixture
def elastica():
    """½|q̈|² on the unit circle: a second-order action with a holonomic constraint."""
    lagrangian = Lagrangian(lambda t, q, v, a, args: 0.5 * a @ a, order=2)
    return EulerLagrange(lagrangian, Holonomic(problems.circle))


@pytest.fixture
def driven():
    """Three coordinates in a dict with dissipation, forces, a moving constraint, and constants from args."""

    def density(t, q, v, args):
        kinetic = 0.5 * args["mass"] * v["p"] @ v["p"] + 0.5 * v["s"] ** 2
        return kinetic - args["g"] * q["p"][1] - 0.5 * jnp.cos(t) * (q["s"] * q["p"][0]) ** 2

    def on_ellipse(t, q, args):
        return {"ellipse": q["p"][0] ** 2 + 2 * q["p"][1] ** 2 - 1 - 0.3 * jnp.sin(t) * q["s"]}

    def drag(t, q, v, args):
        return {"p": -0.1 * v["p"] * jnp.sqrt(1 + v["p"] @ v["p"]), "s": jnp.sin(3 * t) - 0.2 * v["s"]}

    return EulerLagrange(Lagrangian(density, ExponentialDissipation(0.4)), Holonomic(on_ellipse), forces=drag)


@pytest.fixture
def driven_args():
    return {"mass": jnp.asarray(1.7), "g": jnp.asarray(2.5)}


@pytest.fixture
def driven_start():
    q = {"p": jnp.array([0.8, 0.5]), "s": jnp.asarray(0.4)}
    v = {"p": jnp.array([0.3, -0.7]), "s": jnp.asarray(1.1)}
    return q, v
