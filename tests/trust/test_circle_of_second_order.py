"""½|q̈|² on the unit circle, reduced by hand to the angle and solved by SciPy.

In the angle the action is ½(φ̈² + φ̇⁴), so that with ϖ = e^{ϑt}: (D + ϑ)²φ̈ = (D + ϑ)(2φ̇³), that is
φ⁗ = 6φ̇²φ̈ + 2ϑφ̇³ − 2ϑφ⃛ − ϑ²φ̈; without dissipation φ⁗ = 6φ̇²φ̈.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import lagrangian_learning as ll
from tests.problems import circle

THETAS = np.array([0.0, 0.8])
ANGLE = np.array([0.3, 0.7, -0.2, 0.4])  # φ and its first three derivatives


def reference(theta, ts):
    """The angle and its derivatives up to the fourth."""

    def field(t, y):
        _, w, a, j = y
        return [w, a, j, 6 * w**2 * a + 2 * theta * (w**3 - j) - theta**2 * a]

    solution = solve_ivp(field, (ts[0], ts[-1]), ANGLE, method="DOP853", rtol=3e-14, atol=1e-14, t_eval=ts)
    return np.vstack([solution.y, [field(0.0, y)[3] for y in solution.y.T]])


def cartesian(phi, w, a, j):
    """q = e^{iφ} and its first three derivatives, as points of the plane."""
    on_circle = np.exp(1j * phi)
    jet = [on_circle, 1j * w * on_circle, (1j * a - w**2) * on_circle, (1j * (j - w**3) - 3 * w * a) * on_circle]
    return [np.stack([z.real, z.imag], axis=-1) for z in jet]


@pytest.mark.slow
def test_against_the_reduction(gate, balanced):
    ts = np.linspace(0.0, 2.5, 26)
    q, v, a, j = cartesian(*ANGLE)

    def run(theta):
        lagrangian = ll.Lagrangian(lambda t, q, v, a, args: 0.5 * a @ a, ll.ExponentialDissipation(theta), order=2)
        law = ll.EulerLagrange(lagrangian, ll.Holonomic(circle))
        return ll.simulate(law, law.initial_state(0.0, q, v, a=a, j=j), ts, rtol=1e-12)

    paths = jax.jit(jax.vmap(run))(jnp.asarray(THETAS))
    for i, theta in enumerate(THETAS):
        path = jax.tree.map(lambda leaf, i=i: leaf[i], paths)
        phi, *derivatives, _ = reference(theta, ts)
        for name, value, exact in zip(
            "qvaj", (path.q, path.v, path.a, path.j), cartesian(phi, *derivatives), strict=True
        ):
            gate(f"{name} at ϑ = {theta}", value - exact, 1e-9)
        balanced(path)
