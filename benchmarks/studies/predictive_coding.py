"""How close soft constraints and predictive coding come to backpropagation, and what that costs.

Run it in a checkout: lagrangian-learning study predictive_coding

Four measurements: the weight force of neurons at rest against backpropagation's over κ and depth; weights of the action
with soft constraints against those with G = 0; steps of implicit methods over κ for neurons that relax; and the time of
one weight force beside FabricPC's, which relaxes the neurons by gradient descent. Without FabricPC that part is ours
alone: pip install fabricpc.
"""

if __name__ == "__main__":  # a file does not know its checkout: it is run as a command of the package
    from lagrangian_learning.commands.study import run_file

    run_file(__file__)

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, PyTree

import lagrangian_learning as ll
from benchmarks.common import interleaved, median, slope
from lagrangian_learning.commands.files import Files
from lagrangian_learning.commands.output import Line
from lagrangian_learning.commands.progress import progress

from .predictive_coding_picture import draw
from .predictive_coding_rival import gradients
from .study import begun, ended, print_table

FILES = Files(Path("predictive_coding.png"))
QUESTION = "How close do soft constraints and predictive coding come to backpropagation, and at what cost?"
DEPTHS, WIDTH = (2, 4, 8, 16), 16
SIZES = ((2, 3, 1), (2, 3, 3))
TIMED, BATCH, RATE = (32, 64, 64, 64, 10), 64, 0.3
NEWTON = {"root_finder": optx.Newton(rtol=1e-5, atol=1e-6), "root_find_max_steps": 20}
STEPPERS = {
    "Kvaerno5, Newton": lambda: diffrax.Kvaerno5(**NEWTON),
    "Kvaerno3, Newton": lambda: diffrax.Kvaerno3(**NEWTON),
    "Kvaerno3": diffrax.Kvaerno3,
}


def signals(network: ll.Layered) -> ll.Stimulus:
    """Sinusoids as inputs, constant targets."""
    frequency = 1 + jnp.arange(network.num_inputs) / 2
    return ll.Stimulus(ll.Sinusoids(frequency, 0.6, 0.2 * frequency), jnp.full(network.output_shape, 0.4))


def _norm(tree: PyTree) -> float:
    return float(np.sqrt(sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(tree))))


def _error(found: PyTree, expected: PyTree) -> float:
    return _norm(jax.tree.map(jnp.subtract, found, expected)) / _norm(expected)


def at_rest(depth: int, kappas: np.ndarray, seed: int) -> dict[str, Any]:
    """Relative error, and least cosine of a layer, of the weight force with backpropagation's, over κ."""
    network = ll.Layered((WIDTH,) * depth + (4,))
    W, stimulus = network.init(jax.random.key(seed)), signals(network)
    state = ll.State(W, None)
    expected = ll.GradientFlow(network).velocities(0.4, state, stimulus)[0]
    errors, cosines = [], []
    for kappa in kappas:
        found = ll.PredictiveCoding(network, stiffness=kappa).velocities(0.4, state, stimulus)[0]
        errors.append(_error(found, expected))
        cosines.append(float(jnp.min(ll.learning.fidelity(found, expected).cosine)))
    stiff = kappas >= 1e4  # where 1/κ rules
    return {
        "layers": depth,
        "kappa": kappas,
        "error": errors,
        "cosine": cosines,
        "slope": slope(kappas[stiff].tolist(), np.array(errors)[stiff].tolist()),
    }


def soft_weights(sizes: tuple[int, ...], kappas: np.ndarray, seed: int, *, moving: bool) -> dict[str, Any]:
    """max |W − W_hard| of the action over κ, from a start on G = δ/κ."""
    network = ll.Layered(sizes)
    W, stimulus = network.init(jax.random.key(seed)), signals(network)
    W_dot = jax.tree.map(lambda w: 0.4 * jnp.cos(3 * w), W) if moving else None
    settings = {"solver": diffrax.Dopri8(), "rtol": 1e-9, "atol": 1e-11, "max_steps": 400_000}
    constants = {"mass_x": 0.05, "mass_W": 0.7, "dissipation": ll.ExponentialDissipation(0.6)}

    def weights(kappa: float | None) -> PyTree:
        law = ll.CognitiveAction(network, stiffness=kappa, **constants).law()
        state = law.initial_state(0.0, W, W_dot, stimulus)
        return ll.simulate(law, state, jnp.linspace(0.0, 2.0, 101), args=stimulus, **settings).W

    exact = weights(None)
    errors = [_furthest(weights(float(kappa)), exact) for kappa in kappas]
    return {"sizes": sizes, "moving": moving, "kappa": kappas, "error": errors, "slope": slope(kappas.tolist(), errors)}


def _furthest(found: PyTree, exact: PyTree) -> float:
    gaps = jax.tree.map(lambda a, b: jnp.max(jnp.abs(a - b)), found, exact)
    return float(jnp.max(jnp.stack(jax.tree.leaves(gaps))))


def relaxing_steps(stepper: str, kappas: np.ndarray, seed: int) -> dict[str, Any]:
    """Accepted and rejected steps over κ of neurons that relax, on (2, 3, 1) to t = 2."""
    network = ll.Layered(SIZES[0])
    W, stimulus = network.init(jax.random.key(seed)), signals(network)
    solver, steps, rejected = STEPPERS[stepper](), [], []
    for kappa in kappas:
        law = ll.PredictiveCoding(network, gamma=0.7, gamma_x=0.3, stiffness=kappa)
        path = ll.simulate(
            law, law.initial_state(0.0, W, args=stimulus), jnp.array([0.0, 2.0]), args=stimulus, solver=solver,
            rtol=1e-6, atol=1e-8, max_steps=20_000,
        )  # fmt: skip
        steps.append(int(path.stats["num_steps"]))
        rejected.append(int(path.stats["num_rejected_steps"]))
    return {"stepper": stepper, "kappa": kappas, "steps": steps, "rejected": rejected}


def timed(kappa: float, inference: tuple[int, ...], seed: int, rounds: int) -> dict[str, Any]:
    """Seconds and relative errors of one weight force of a batch: at rest, FabricPC's by steps, backpropagation."""
    network = ll.Layered(TIMED)
    keys = jax.random.split(jax.random.key(seed), 3)
    W = network.init(keys[0])
    u, y = jax.random.normal(keys[1], (BATCH, TIMED[0])), jnp.tanh(jax.random.normal(keys[2], (BATCH, TIMED[-1])))
    batched, state, stimulus = ll.Batched(network, BATCH), ll.State(W, None), ll.Stimulus(u, y)
    laws = {"ours": ll.PredictiveCoding(batched, stiffness=kappa), "backprop": ll.GradientFlow(batched)}
    forces = {name: _force(law, state, stimulus) for name, law in laws.items()}
    theirs = _theirs(network, W, (u, y), kappa, inference)
    calls = forces | {f"{steps}": call for steps, call in theirs.items()}
    seconds = {name: median(times) for name, times in interleaved(calls, rounds).items()}
    exact = forces["backprop"]()
    downhill = jax.tree.map(jnp.negative, exact)
    return {
        "kappa": kappa,
        "ours": seconds["ours"],
        "our_error": _error(forces["ours"](), exact),
        "backprop": seconds["backprop"],
        "inference": list(theirs),
        "theirs": [seconds[f"{steps}"] for steps in theirs],
        "their_error": [_error(call(), downhill) for call in theirs.values()],
    }


def _force(law: Any, state: ll.State, stimulus: ll.Stimulus) -> Callable[[], PyTree]:
    run = eqx.filter_jit(lambda law, state, stimulus: law.velocities(0.0, state, stimulus)[0])
    return lambda: run(law, state, stimulus)


def _theirs(
    network: ll.Layered, W: Any, signals: tuple[Array, Array], kappa: float, inference: tuple[int, ...]
) -> dict[int, Callable[[], PyTree]]:
    try:
        return {steps: gradients(network, W, *signals, kappa, RATE, steps) for steps in inference}
    except ModuleNotFoundError:
        return {}


def study(seed: int = 0, quick: bool = False, files: Files = FILES) -> None:
    """How close do soft constraints and predictive coding come to backpropagation, and at what cost?

    Args:
        seed: Draws the weights.
        quick: Tiny sizes, to see that the study runs.
    """
    line = begun("predictive_coding", seed, files)
    jax.config.update("jax_enable_x64", True)
    tens = 10.0 ** np.arange(1, 9)
    kappas, stiff = (tens[3::2], tens[3::2]) if quick else (tens, tens[3:])
    found: dict[str, Any] = {}
    with progress("predictive_coding", "parts") as report:
        report(0, 4, now="at rest")
        found["rest"] = [at_rest(depth, kappas, seed) for depth in (DEPTHS[:1] if quick else DEPTHS)]
        report(1, 4, now="soft constraints")
        cases = [(SIZES[0], False)] if quick else [(sizes, moving) for sizes in SIZES for moving in (False, True)]
        soft_kappas = 10.0 ** np.arange(2, 4 if quick else 6)
        found["soft"] = [soft_weights(sizes, soft_kappas, seed, moving=moving) for sizes, moving in cases]
        report(2, 4, now="relaxing")
        found["relaxing"] = [relaxing_steps(name, stiff, seed) for name in (list(STEPPERS)[:1] if quick else STEPPERS)]
        report(3, 4, now="times")
        inference = (10,) if quick else (10, 30, 100, 300, 1000)
        found["times"] = [timed(kappa, inference, seed, 3 if quick else 7) for kappa in (1e2, 1e4)]
        report(4, 4)
    _tables(line, found)
    ended(line, files, lambda path: draw(path, found), QUESTION, seed=seed, **found)


def _tables(line: Line, found: dict[str, Any]) -> None:
    line("[bold]Neurons at rest against backpropagation[/]")
    rows = [
        (f"{one['layers']}", f"{kappa:.0e}", f"{error:.2e}", f"{1 - cosine:.1e}", f"{one['slope']:.4f}")
        for one in found["rest"]
        for kappa, error, cosine in zip(one["kappa"], one["error"], one["cosine"], strict=True)
    ]
    print_table(line, ("layers", "κ", "relative\nerror", "1 − least\ncosine", "slope\nfrom 1e4"), rows)
    line("[bold]Weights of the soft action against those of G = 0[/]")
    rows = [
        (
            str(one["sizes"]),
            "yes" if one["moving"] else "no",
            *(f"{e:.1e}" for e in one["error"]),
            f"{one['slope']:.3f}",
        )
        for one in found["soft"]
    ]
    heads = ("sizes", "Ẇ(0) ≠ 0", *(f"κ = {kappa:.0e}" for kappa in found["soft"][0]["kappa"]), "slope")
    print_table(line, heads, rows)
    line("[bold]Steps of neurons that relax[/]  (rejected)")
    rows = [
        (one["stepper"], *(f"{a} ({r})" for a, r in zip(one["steps"], one["rejected"], strict=True)))
        for one in found["relaxing"]
    ]
    print_table(line, ("stepper", *(f"κ = {kappa:.0e}" for kappa in found["relaxing"][0]["kappa"])), rows)
    line(f"[bold]One weight force[/]  layers {TIMED}, {BATCH} examples, float64")
    rows = []
    for one in found["times"]:
        kappa = f"{one['kappa']:.0e}"
        rows.append(("backpropagation", kappa, f"{1e3 * one['backprop']:.2f}", "0"))
        rows.append(("at rest, Newton", kappa, f"{1e3 * one['ours']:.2f}", f"{one['our_error']:.1e}"))
        rows += [
            (f"FabricPC, {steps} steps", kappa, f"{1e3 * seconds:.2f}", f"{error:.1e}")
            for steps, seconds, error in zip(one["inference"], one["theirs"], one["their_error"], strict=True)
        ]
    print_table(line, ("way", "κ", "ms", "relative\nerror"), rows)
    if not found["times"][0]["theirs"]:
        line("  FabricPC is not installed: not compared")
