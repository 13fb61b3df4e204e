"""The costate rules of (20) over ϑ/c: spectrum, stationary gain of each layer, fidelity of the gradient.

Run it from the root: python -m benchmarks.studies.stability_atlas. The formulas: docs/theory.md §7.
"""

import itertools
import pathlib
from typing import NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

import lagrangian_learning as ll

RULES = ("forward", "sign_flip", "parity")
SPEED = 40.0
FROZEN = 1e12  # a friction at which the weights stand still


class Atlas(NamedTuple):
    """For each rule [R] and ratio ϑ/c [K] (and layer l = 0 … L).

    growth: the largest real part of the costate's spectrum over c, by the formula;  eigenvalue: the same by eigenvalues
    of the assembled matrix;  gain: norm of the stationary δ over backprop's, signed;  formula: (1 − sϑ/c)^{−(L−l+1)};
    cosine: of the weights' force with −∂V/∂W under a slowly moving input, layer by layer; NaN where unstable.
    """

    ratio: np.ndarray
    growth: np.ndarray
    eigenvalue: np.ndarray
    gain: np.ndarray
    formula: np.ndarray
    cosine: np.ndarray


def stability_atlas(ratios: Array | None = None, key: Array | None = None) -> Atlas:
    """The atlas of a (3, 4, 4, 2) network, all ratios of a rule in one vmapped run; float64 is advised."""
    ratios = jnp.linspace(0.0, 3.0, 61) if ratios is None else ratios
    key = jax.random.key(0) if key is None else key
    network = ll.Layered((3, 4, 4, 2))
    W = network.init(key)
    slow = ll.Sinusoids(jnp.array([0.5, 0.8, 1.1]), 1.0, jnp.array([0.2, 1.0, 2.0]))
    stimulus = ll.Stimulus(slow, jnp.array([0.4, -0.3]))

    def chart(rule: str) -> tuple[Array, ...]:
        def cell(ratio: Array) -> tuple[Array, ...]:
            law = ll.BackpropDiffusion(network, ll.SquaredError(), FROZEN, SPEED, SPEED * ratio, costate=rule)
            return _cell(law, W, stimulus)

        return eqx.filter_jit(jax.vmap(cell))(ratios)

    columns = zip(*(chart(rule) for rule in RULES), strict=True)
    return Atlas(np.asarray(ratios), *(np.stack([np.asarray(part) for part in column]) for column in columns))


def _cell(law: ll.BackpropDiffusion, W: tuple[Array, ...], stimulus: ll.Stimulus) -> tuple[Array, ...]:
    network, costate, speed, theta = law.network, law.costate, law.speed, law.theta
    t = jnp.asarray(0.3)
    x = network.forward(W, stimulus.input(t))
    growth = ll.laws.growth_rate(network, costate, speed, theta, x, W) / speed
    forward = ll.laws.direction(costate) * speed * ll.networks.state_jacobian(network, x, W).T
    matrix = forward - theta * jnp.eye(network.num_neurons)
    eigenvalue = jnp.max(jnp.real(jnp.linalg.eigvals(matrix))) / speed
    gain, formula = _gains(law, x, W, stimulus.target(t), matrix)
    cosine = _cosine(law, W, stimulus)
    return growth, eigenvalue, gain, formula, jnp.where(growth > 0, jnp.nan, cosine)


def _gains(law: ll.BackpropDiffusion, x: tuple[Array, ...], W: tuple[Array, ...], y: Array, matrix: Array) -> tuple:
    """The stationary δ, solved from δ̇ = 0 with x and W frozen, against backprop's."""
    backprop = ll.delta_errors(law.network, law.potential, x, W, y)
    slope, unravel = ravel_pytree(ll.learning.potential_gradient(law.network, law.potential, x, y))
    stationary = unravel(jnp.linalg.solve(matrix, -ll.laws.direction(law.costate) * law.speed * slope))
    if law.costate == "parity":
        stationary = ll.laws.without_gains(law.costate, law.speed, law.theta, stationary)
    formula = ll.laws.layer_gains(law.costate, law.speed, law.theta, len(W))
    formula = jnp.ones_like(formula) if law.costate == "parity" else formula
    gain = jnp.stack([jnp.vdot(s, b) / jnp.vdot(b, b) for s, b in zip(stationary, backprop, strict=True)])
    return gain, formula


def _cosine(law: ll.BackpropDiffusion, W: tuple[Array, ...], stimulus: ll.Stimulus) -> Float[Array, " layers"]:
    """cos between the force of the travelling waves and −∂V/∂W of the present frame, after the waves have filled in."""
    state = law.initial_state(0.0, W, args=stimulus)
    end = diffrax.diffeqsolve(
        diffrax.ODETerm(law.vector_field), diffrax.Tsit5(), 0.0, 2.0, 2e-3, state, stimulus, max_steps=1100, throw=False
    )
    final = jax.tree.map(lambda leaf: leaf[-1], end.ys)
    x, weights = final.q
    force = ll.learning.descent_force(law.network, x, weights, law.learning_multipliers(final))
    t = jnp.asarray(2.0)
    x_now = law.network.forward(weights, stimulus.input(t))
    delta = ll.delta_errors(law.network, law.potential, x_now, weights, stimulus.target(t))
    return ll.learning.fidelity(force, ll.learning.descent_force(law.network, x_now, weights, delta)).cosine


def draw(atlas: Atlas, path: str | pathlib.Path) -> pathlib.Path:
    """One picture: a row a rule; growth rate, gain a layer, cosine a layer; shaded where waves grow."""
    from lagrangian_learning.plot import style

    with style():
        return _drawn(atlas, pathlib.Path(path))


def _drawn(atlas: Atlas, path: pathlib.Path) -> pathlib.Path:
    from matplotlib.figure import Figure

    from lagrangian_learning.plot import colour, heading

    figure = Figure(figsize=(12.5, 9.5))
    heading(figure, "Costate rules of backprop diffusion (20); shaded: unstable forward in time")
    grid = figure.subplots(len(RULES), 3, sharex=True)
    for rule, row in enumerate(grid):
        name = RULES[rule].replace("_", " ")
        for axes, panel in zip(row, (_growth_panel, _gain_panel, _cosine_panel), strict=True):
            panel(axes, atlas, rule, name)
            for span in unstable(atlas.ratio, atlas.growth[rule]):
                axes.axvspan(*span, color=colour("alarm"), alpha=0.12, lw=0)
            axes.grid(visible=True)
            axes.set_xlim(atlas.ratio[0], atlas.ratio[-1])
    for axes in grid[-1]:
        axes.set_xlabel("ϑ / c")
    for axes, place in zip(grid[0], ("upper right", "lower right", "center right"), strict=True):
        axes.legend(loc=place)
    figure.savefig(path)
    return path


def unstable(ratio: np.ndarray, growth: np.ndarray) -> list[tuple[float, float]]:
    """The spans of ratios in which growth is positive, their ends being where it crosses zero between grid points."""
    crossings = [
        ratio[k] - growth[k] * (ratio[k + 1] - ratio[k]) / (growth[k + 1] - growth[k])
        for k in np.flatnonzero((growth[:-1] > 0) != (growth[1:] > 0))
    ]
    ends = [ratio[0], *crossings, ratio[-1]]
    return [(float(a), float(b)) for a, b in itertools.pairwise(ends) if np.interp((a + b) / 2, ratio, growth) > 0]


def _growth_panel(axes, atlas: Atlas, rule: int, name: str) -> None:
    axes.plot(atlas.ratio, atlas.growth[rule], label="formula")
    axes.plot(atlas.ratio[::4], atlas.eigenvalue[rule][::4], "o", ms=5, mfc="none", label="eigenvalues")
    axes.axhline(0, color="k", lw=0.6)
    axes.set_title(f"{name}: growth rate / c")


def _gain_panel(axes, atlas: Atlas, rule: int, name: str) -> None:
    """Each layer thinner than the one before, so that equal ones are all seen."""
    for layer in range(1, atlas.gain.shape[-1]):
        axes.plot(atlas.ratio, atlas.gain[rule, :, layer], lw=7 - 2 * layer, label=f"layer {layer}")
    axes.set_ylim(-4, 4)
    axes.axhline(1, color="k", lw=0.6, ls=":")
    axes.set_title(f"{name}: δ at rest / backprop's")


def _cosine_panel(axes, atlas: Atlas, rule: int, name: str) -> None:
    """Of the layers of weights, each thinner than the one before; unstable ones have no cosine."""
    for layer in range(atlas.cosine.shape[-1]):
        axes.plot(atlas.ratio, atlas.cosine[rule, :, layer], lw=5 - 1.7 * layer, label=f"weights {layer + 1}")
    axes.set_ylim(-1.05, 1.05)
    axes.set_title(f"{name}: cosine with the gradient")


def main() -> None:
    """Compute the atlas and write stability_atlas.png."""
    jax.config.update("jax_enable_x64", True)
    print("picture:", draw(stability_atlas(), "stability_atlas.png"))


if __name__ == "__main__":
    main()
