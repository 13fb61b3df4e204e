"""A second-order action that learns: ℓ = ½ m_W |Ẇ|² − V ∓ ½ μ |Ẅ|², and which sign is stable.

Run it in a checkout: lagrangian-learning study second_order
"""

if __name__ == "__main__":  # a file does not know its checkout: it is run as a command of the package
    from lagrangian_learning.commands.study import run_file

    run_file(__file__)

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import lagrangian_learning as ll
from lagrangian_learning.commands.progress import progress

from .study import begun, ended_undrawn, print_table

MASS = 1.0
THETA = 2.0
SIGNS = (-0.05, 0.05)
END = 60.0
QUESTION = "With which sign of μ does an action with ½ μ |Ẅ|² learn?"


class Verdict(NamedTuple):
    """A sign of μ: the fastest growing root at curvature 0.2, the loss before and after, the largest weight."""

    mu: float
    growth: float
    loss_start: float
    loss_end: float
    largest_weight: float
    successful: bool

    @property
    def verdict(self) -> str:
        """In words."""
        if not self.successful:
            return "run ended early"
        return "learns" if self.growth < 0 and self.loss_end < self.loss_start else "runs away"


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


def learn(mu: float, end: float = END, seed: int = 3) -> Verdict:
    """Learn a constant target with a second-order action; switch x64 on first."""
    network = ll.Layered((2, 2, 1))
    bending = ll.Term(_Bending(mu), order=2, weighted=True)
    action = ll.CognitiveAction(
        network, mass_x=0.0, mass_W=MASS, dissipation=ll.ExponentialDissipation(THETA), terms=(bending,)
    )
    stimulus = ll.Stimulus(jnp.array([0.8, -0.5]), jnp.array([0.6]))
    law = action.law()
    state = law.initial_state(0.0, network.init(jax.random.key(seed)), args=stimulus)
    ts = jnp.linspace(0.0, end, 17)
    path = ll.simulate(law, state, ts, stimulus, rtol=1e-8, atol=1e-10, throw=False)
    loss = jax.vmap(lambda t, x: action.potential(network.output(x), stimulus.target(t)))(path.ts, path.x)
    growth = float(np.max(np.real(characteristic_roots(mu, MASS, THETA, 0.2))))
    largest = max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(path.final_state.q))
    return Verdict(mu, growth, float(loss[0]), float(loss[-1]), largest, bool(path.result == ll.RESULTS.successful))


def study(seed: int = 3, quick: bool = False, json: Path | None = None) -> None:
    """With which sign of μ does the action ½ m_W |Ẇ|² − V + ½ μ |Ẅ|² learn, and with which does it run away?

    Args:
        seed: Draws the weights at the start.
        quick: Tiny sizes, to see that the study runs.
        json: Write all numbers to this file too; "-" prints them, and what is for readers goes to standard error.
    """
    line = begun("second_order", seed, None, json)
    jax.config.update("jax_enable_x64", True)
    verdicts = []
    with progress("second_order", "signs") as report:
        for done, mu in enumerate(SIGNS):
            report(done, len(SIGNS), now=f"μ = {mu:g}")
            verdicts.append(learn(mu, 6.0 if quick else END, seed))
        report(len(SIGNS), len(SIGNS))
    line("[bold]A second-order action learns a constant target: which sign of μ is stable?[/]")
    heads = (
        "μ",
        "fastest growth\nof a small motion",
        "loss at\nthe start",
        "loss at\nthe end",
        "largest |W|\nat the end",
        "verdict",
    )
    rows = [
        (
            f"{one.mu:g}", f"{one.growth:.3f}", f"{one.loss_start:.4f}", f"{one.loss_end:.4g}",
            f"{one.largest_weight:.4g}", one.verdict,
        )
        for one in verdicts
    ]  # fmt: skip
    print_table(line, heads, rows)
    line(
        "  growth: largest real part of the rates s of motions e^{st} about a minimum of curvature 0.2; < 0: they decay"
    )
    ended_undrawn(line, json, QUESTION, seed=seed, signs=[one._asdict() for one in verdicts])
