"""Systems that tests of several rooms share, and motions of theirs in closed form."""

import jax.numpy as jnp
import numpy as np

import lagrangian_learning as ll

# -- a pendulum in Cartesian coordinates -------------------------------------------------------------------------------


def circle(t, q, args):
    """|q| = 1."""
    return 0.5 * (q @ q - 1)


def pendulum(gravity=9.81, floor=0.0, theta=0.0):
    """Unit mass and length about the origin, ½(|q|² − 1) = 0; the energy counts heights from `floor`."""
    lagrangian = ll.Lagrangian(
        lambda t, q, v, args: 0.5 * v @ v - gravity * (q[1] - floor), ll.ExponentialDissipation(theta)
    )
    return ll.EulerLagrange(lagrangian, ll.Holonomic(circle))


# -- Bloch's knife edge on an inclined plane ---------------------------------------------------------------------------

MASS, INERTIA, GRAVITY, SLOPE, OMEGA = 1.25, 0.13, 9.81, 0.5, 0.8
KNIFE_EDGE_START = (np.zeros(3), np.array([0.0, 0.0, OMEGA]))  # at rest but for the spin


def knife_edge(rule):
    """q = (x down the plane, y, angle); `rule` keeps the blade from slipping: `ll.DAlembert` or `ll.Vakonomic`."""

    def density(t, q, v, args):
        kinetic = 0.5 * MASS * (v[0] ** 2 + v[1] ** 2) + 0.5 * INERTIA * v[2] ** 2
        return kinetic + MASS * GRAVITY * q[0] * np.sin(SLOPE)

    def blade(t, q, v, args):
        return v[0] * jnp.sin(q[2]) - v[1] * jnp.cos(q[2])

    return ll.EulerLagrange(ll.Lagrangian(density), rule(blade))


def cycloid(t):
    """The motion under d'Alembert's rule, and its multiplier."""
    turn, size = OMEGA * t, GRAVITY * np.sin(SLOPE) / (2 * OMEGA**2)
    q = np.stack([size * np.sin(turn) ** 2, size * (turn - np.sin(2 * turn) / 2), turn], axis=1)
    return q, 2 * MASS * GRAVITY * np.sin(SLOPE) * np.sin(turn)


# -- the paper's network of five neurons -------------------------------------------------------------------------------

XOR_EDGES = ((0, 2), (1, 2), (0, 3), (1, 3), (2, 4), (3, 4))
XOR_WEIGHTS = np.array([0.5, -0.8, 0.3, 1.1, -0.6, 0.9])


def xor_action(mass_x, mass_W, theta, **kwargs):
    """Its cognitive action."""
    return ll.CognitiveAction(
        ll.networks.xor_network(), mass_x=mass_x, mass_W=mass_W, dissipation=ll.ExponentialDissipation(theta), **kwargs
    )
