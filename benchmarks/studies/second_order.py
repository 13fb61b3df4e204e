"""A second-order action that learns: ℓ = ½ m_W |Ẇ|² − V ∓ ½ μ |Ẅ|², and which sign is stable.

Run it from the root: python -m benchmarks.studies.second_order
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import lagrangian_learning as ll

MASS = 1.0
THETA = 2.0


class Verdict(NamedTuple):
    """A sign of μ: the fastest growing root at curvature 0.2, the loss before and after, the largest weight."""

    mu: float
    growth: float
    loss_start: float
    loss_end: float
    largest_weight: float
    successful: bool


def characteristic_roots(mu: float, mass: float, theta: float, curvature: float) -> np.ndarray:
    """Roots s of μ z² − m z − κ = 0, z = s (s + ϑ): motions e^{st} of W about a minimum of V of curvature κ.

    From ℓ = ½ m Ẇ² + ½ μ Ẅ² − ½ κ W² by −(D + r) ℓ_v + (D + r)² ℓ_a + ℓ_q = 0. For μ > 0 one z is positive and one s
    grows (Ostrogradsky); for μ < 0 all decay as long as 4 |μ| κ ≤ m².
    """
    z = np.roots([mu, -mass, -curvature])
    return np.concatenate([np.roots([1.0, theta, -value]) for value in z])


class _Bending:
    """½ μ |Ẅ|² as a term of the action."""

    def __init__(self, mu: float) -> None:
        self.mu = mu

    def __call__(self, t: Array, x: Any, x_dot: Any, x_ddot: Any, W: Any, W_dot: Any, W_ddot: Any, args: Any) -> Array:
        return self.mu / 2 * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(W_ddot))


def learn(mu: float, end: float = 60.0) -> Verdict:
    """Learn a constant target with a second-order action; switch x64 on first."""
    network = ll.Layered((2, 2, 1))
    bending = ll.Term(_Bending(mu), order=2, weighted=True)
    action = ll.CognitiveAction(
        network, mass_x=0.0, mass_W=MASS, dissipation=ll.ExponentialDissipation(THETA), terms=(bending,)
    )
    stimulus = ll.Stimulus(jnp.array([0.8, -0.5]), jnp.array([0.6]))
    law = action.law()
    state = law.initial_state(0.0, network.init(jax.random.key(3)), args=stimulus)
    ts = jnp.linspace(0.0, end, 17)
    path = ll.simulate(law, state, ts, stimulus, rtol=1e-8, atol=1e-10, throw=False)
    loss = jax.vmap(lambda t, x: action.potential(network.output(x), stimulus.target(t)))(path.ts, path.x)
    growth = float(np.max(np.real(characteristic_roots(mu, MASS, THETA, 0.2))))
    largest = max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(path.final_state.q))
    return Verdict(mu, growth, float(loss[0]), float(loss[-1]), largest, bool(path.result == ll.RESULTS.successful))


def main() -> None:
    """Print the two signs side by side."""
    jax.config.update("jax_enable_x64", True)
    print(f"{'mu':>6}  {'growth rate':>11}  {'loss before':>11}  {'loss after':>11}  {'largest |W|':>11}  result")
    for mu in (-0.05, 0.05):
        verdict = learn(mu)
        losses = f"{verdict.loss_start:>11.4f}  {verdict.loss_end:>11.4g}  {verdict.largest_weight:>11.4g}"
        print(f"{mu:>6}  {verdict.growth:>11.3f}  {losses}  {'successful' if verdict.successful else 'failed'}")


if __name__ == "__main__":
    main()
