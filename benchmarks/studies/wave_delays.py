"""What their delays make of the gradient that discrete waves (1)–(3) form, against the gradient of the present frame.

Once the waves are full and while weights stand still, each factor of

    g_{t,l} = σ′_l ⊙ W_lᵀ (σ′_{l+1} ⊙ W_{l+1}ᵀ ( … σ′_L ⊙ ∂V/∂x(x_L, y))) x_{l−1}ᵀ

is that of an earlier frame: x_{l−1} of t − (l−1); the target of t − (L−l); the slope σ′_k of layer k, and the output
x_L (k = L), of t − (2k−l). Let ∂_f g be the rate of g, a radian of the input, with its factor f alone in motion. For an
input of ω radians a frame then, over all times and to second order in ω,

    1 − cos(g_l, g*_l) = ½ ω² K_l,   K_l = |Σ_f τ_f ∂_f g_l|²_⊥ / |g*_l|²   (⊥: across g*),

so that a cosine is reached at a period of 2π √(K_l / 2(1 − cos)): relative errors are of first order in the delays,
cosines of second, and as all delays grow with L the period grows with them. Where the output is small beside the
target and slopes are constant, K_l = ω_y² (L−l)² + ω_x² (l−1)², for the rates ω_y and ω_x (root mean square) of target
and input: greatest at an end, so that the period is proportional to L − 1, not to L. An output that answers is 2L − 1
frames old at layer 1, three times as old as the target at L = 2, twice for many layers; and sharp answers (slopes that
change within a period) raise K further in deep networks.
"""

if __name__ == "__main__":  # a file does not know its checkout: it is run as a command of the package
    from lagrangian_learning.commands.study import run_file

    run_file(__file__)

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

import lagrangian_learning as ll
from lagrangian_learning.commands.progress import progress

from .study import begun, ended_undrawn, print_table

QUESTION = "At which input period do delays alone lower the cosine of discrete waves?"


def delayed_gradient(
    network: ll.Layered, W: PyTree, signals: Callable[[Array], tuple[Array, Array]], phase: Array, rate: Array
) -> tuple[Array, ...]:
    """g of layers 1, …, L at one phase of the signals, each factor read `rate` times its delay in frames before.

    network: without biases;  signals: phase ↦ (input, target);  rate: ω, radians a frame; 0: the present gradient.
    The loss is `ll.SquaredError`. To rounding this is the gradient of `ll.waves.backprop_waves` from frame 2L − 1 on.
    """
    L = len(W)
    read = [signals(phase - rate * delay) for delay in range(2 * L)]
    x = [network.forward(W, u) for u, _ in read]
    return tuple(_delta(network, W, l, x, read[L - l][1])[:, None] * x[l - 1][l - 1] for l in range(1, L + 1))


def _delta(network: ll.Layered, W: PyTree, l: int, x: list[PyTree], y: Array) -> Array:
    """δ of layer l from neurons x[delay] and a target: the error of layer L, carried back through slopes on its way."""
    L = len(W)

    def slopes(k: int) -> Array:
        activity = jnp.matmul(W[k - 1], x[2 * k - l][k - 1], precision="highest")
        return ll.networks.slope(network.activations[k - 1], activity)

    delta = slopes(L) * (x[2 * L - l][L] - y)
    for k in range(L - 1, l - 1, -1):
        delta = slopes(k) * jnp.matmul(W[k].T, delta, precision="highest")
    return delta


@functools.partial(jax.jit, static_argnums=(0, 2))
def sensitivities(
    network: ll.Layered, W: PyTree, signals: Callable[..., tuple[Array, Array]], offsets: Array, phases: Array
) -> Float[Array, " L"]:
    """K of every layer, a frame squared: means over `phases` of signals(phase, offsets)."""

    def of(phase: Array) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        at = functools.partial(delayed_gradient, network, W, lambda phase: signals(phase, offsets), phase)
        still = jnp.zeros_like(phase)
        return jax.jvp(at, (still,), (jnp.ones_like(still),))

    return jnp.stack([_across(change, g) for g, change in zip(*jax.vmap(of)(phases), strict=True)])


def _across(change: Array, g: Array) -> Array:
    """|change|²/|g|² without what lies along g."""
    along, square = jnp.vdot(change, g), jnp.vdot(g, g)
    return jnp.vdot(change, change) / square - (along / square) ** 2


def period_of(sensitivity: Float[np.ndarray, "... L"], cosine: float) -> Any:
    """The period in frames at which delays lower the least cosine of a layer to this; layers are the last axis."""
    return 2 * np.pi * np.sqrt(np.max(sensitivity, axis=-1) / (2 * (1 - cosine)))


def study(seed: int = 0, quick: bool = False, json: Path | None = None) -> None:
    """At which input period do delays alone lower the cosine of discrete waves to 0.99, by the number of layers?

    Args:
        seed: Draws the networks and the phases of their signals.
        quick: Tiny sizes, to see that the study runs.
        json: Write all numbers to this file too; "-" prints them, and what is for readers goes to standard error.
    """
    from . import phase_diagram

    line = begun("wave_delays", seed, None, json)
    depths = np.array(phase_diagram.DEPTHS[:3] if quick else phase_diagram.DEPTHS)
    number = 2 if quick else phase_diagram.NUM_WAVE_NETWORKS
    periods = []
    with progress("wave_delays", "depths") as report:
        for done, depth in enumerate(depths):
            report(done, len(depths), now=f"{depth} layers")
            periods.append(float(phase_diagram.by_delays(depths[done : done + 1], number, seed)[0]))
        report(len(depths), len(depths))
    law = phase_diagram.power_law(np.array(periods), depths - 1)
    line(f"[bold]Input period at which delays alone lower a layer's cosine to {phase_diagram.FAITHFUL:g}[/]")
    rows = [(f"{depth}", f"{at:.1f}", f"{at / (depth - 1):.1f}") for depth, at in zip(depths, periods, strict=True)]
    print_table(line, ("layers L", "period,\nframes", "period\nover L − 1"), rows)
    line(f"  medians over {number} random networks; the period grows as (L − 1)^{law.slope:.2f}")
    found = {"layers": depths, "period": periods, "slope": law.slope}
    ended_undrawn(line, json, QUESTION, seed=seed, networks=number, cosine=phase_diagram.FAITHFUL, **found)
