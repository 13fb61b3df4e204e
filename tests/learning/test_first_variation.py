"""Table 1's last row measured: the action is stationary along a solution among admissible perturbations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll


class Path:
    """What `action(path, stimulus)` reads of a trajectory."""

    def __init__(self, ts, x, W, x_dot, W_dot):
        self.ts, self.x, self.W, self.x_dot, self.W_dot = ts, x, W, x_dot, W_dot


def admissible(network, stimulus, ts, W, W_dot):
    """The path of weights completed by the neurons that the constraints (4) demand."""

    def lift(t, W, W_dot):
        def forward(t, W):
            return network.forward(W, stimulus.input(t))

        return jax.jvp(forward, (t, W), (jnp.ones_like(t), W_dot))

    x, x_dot = jax.vmap(lift)(ts, W, W_dot)
    return Path(ts, x, W, x_dot, W_dot)


@pytest.mark.slow
def test_the_action_is_stationary_along_a_solution_and_nowhere_near_by():
    """dA/dε at ε = 0 for W + ε η, η(0) = η(T) = 0, six random η, against its size along a path that is no solution."""
    network = ll.Layered((2, 3, 1))
    action = ll.CognitiveAction(network, mass_x=0.2, mass_W=0.5, dissipation=ll.ExponentialDissipation(0.8))
    stimulus = ll.Stimulus(ll.Sinusoids(jnp.array([1.0, 2.0]), 1.0, jnp.array([0.1, 0.5])), jnp.array([0.4]))
    law = action.law()
    ts = jnp.linspace(0.0, 2.0, 801)
    path = ll.simulate(law, law.initial_state(0.0, network.init(jax.random.key(4)), stimulus), ts, stimulus)
    table = ll.verify.table_one(path, action, stimulus)
    np.testing.assert_allclose(table.action, action(path, stimulus), rtol=1e-12)
    assert "9 of weights, 6 of neurons, at 801 times" in str(table)
    keys = jax.random.split(jax.random.key(5), 6)
    bump, bump_dot = (ts * (2 - ts)) ** 2, 4 * ts * (2 - ts) * (1 - ts)

    def variation(key, W, W_dot):
        eta = jax.tree.map(lambda w: jax.random.normal(key, w.shape[1:]), W)

        def moved(epsilon):
            def along(weight):
                return lambda w, e: w + epsilon * weight.reshape(-1, 1, 1) * e

            return admissible(
                network, stimulus, ts, jax.tree.map(along(bump), W, eta), jax.tree.map(along(bump_dot), W_dot, eta)
            )

        return jax.grad(lambda epsilon: action(moved(epsilon), stimulus))(0.0)

    first = jax.jit(jax.vmap(variation, (0, None, None)))
    at_solution = first(keys, path.W, path.W_dot)
    bent = jax.tree.map(lambda w: w + 0.1 * jnp.sin(3 * ts).reshape(-1, 1, 1), path.W)
    bent_dot = jax.tree.map(lambda v: v + 0.3 * jnp.cos(3 * ts).reshape(-1, 1, 1), path.W_dot)
    elsewhere = first(keys, bent, bent_dot)
    assert np.max(np.abs(at_solution)) < 1e-8 * np.max(np.abs(elsewhere)), (at_solution, elsewhere)
