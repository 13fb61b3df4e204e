"""Does `ll.estimate` tell how long a step takes and how much memory a run needs?

Runs of one network from 10⁴ to 10⁷ weights, and batches of a small one, against what `ll.estimate` said before. The
model is told in docs/scale.md. Gate: every point of a single network within a factor of three.

    python benchmarks/scale.py [--quick]
"""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from common import COLOURS, GREY, figure, finish, interleaved, median, save, write

import lagrangian_learning as ll

DEPTH, STEP = 4, 0.01
FEW, MANY = 4, 12
FACTOR = 3.0


class Point(NamedTuple):
    """One run: what was told of it, and what was measured."""

    kind: str
    width: int
    weights: int
    lanes: int
    told_seconds_a_step: float
    seconds_a_step: float
    told_bytes: float
    measured_bytes: float

    @property
    def ratio(self) -> float:
        return self.seconds_a_step / self.told_seconds_a_step


def problem(width: int) -> tuple[Any, Any, Any]:
    """A law, a state and a stimulus of a layered network."""
    network = ll.Layered((width,) * (DEPTH + 1))
    law = ll.CognitiveAction(network, mass_x=1e-3 / width).law()
    signal = ll.Sinusoids(jnp.linspace(0.5, 1.5, width), 1.0, jnp.arange(1.0 * width))
    stimulus = ll.Stimulus(signal, jnp.full(width, 0.3))
    return law, law.initial_state(0.0, network.init(jax.random.key(0)), stimulus), stimulus


def last_output(t: Any, observables: dict[str, Any]) -> Any:
    return observables["x"][-1]


def seconds_a_step(run: Callable[[int], Any]) -> float:
    """Of two runs that differ in their steps alone: what calling, compiling and recording cost drops out."""
    times = interleaved({"few": lambda: run(FEW), "many": lambda: run(MANY)}, rounds=7)
    return (median(times["many"]) - median(times["few"])) / (MANY - FEW)


def single(width: int, hardware: ll.Hardware) -> Point:
    law, state, stimulus = problem(width)
    saved = jax.ShapeDtypeStruct((width,), jnp.float32)
    told = ll.estimate(law, state, [0.0, 1.0], stimulus, steps=MANY, hardware=hardware, saved=saved)

    def simulated(steps: int) -> Any:
        return ll.simulate(law, state, [0.0, STEP * steps], stimulus, dt0=STEP, save=last_output).final_state

    whole = eqx.filter_jit(lambda s: ll.simulate(law, s, [0.0, STEP], stimulus, dt0=STEP, save=last_output))
    used = whole.lower(state).compile().compiled.memory_analysis()
    measured = used.temp_size_in_bytes + used.argument_size_in_bytes
    weights = law.network.num_weights
    return Point(
        "one network", width, weights, 1, told.seconds_a_step, seconds_a_step(simulated), told.memory, measured
    )


def batch(width: int, lanes: int, hardware: ll.Hardware) -> Point:
    law, _, stimulus = problem(width)
    keys = jax.random.split(jax.random.key(1), lanes)
    states = jax.vmap(lambda key: law.initial_state(0.0, law.network.init(key), stimulus))(keys)
    one = jax.tree.map(lambda leaf: leaf[0], states)
    saved = jax.ShapeDtypeStruct((width,), jnp.float32)
    told = ll.estimate(law, one, [0.0, 1.0], stimulus, steps=MANY, hardware=hardware, saved=saved, lanes=lanes)

    @eqx.filter_jit
    def several(states: Any, ts: Any) -> Any:
        return jax.vmap(lambda s: ll.simulate(law, s, ts, stimulus, dt0=STEP, save=last_output).final_state)(states)

    used = several.lower(states, jnp.asarray([0.0, STEP])).compile().compiled.memory_analysis()
    measured = used.temp_size_in_bytes + used.argument_size_in_bytes
    seconds = seconds_a_step(lambda steps: several(states, jnp.asarray([0.0, STEP * steps])))
    weights = law.network.num_weights
    return Point("lanes", width, weights, lanes, told.seconds_a_step, seconds, told.memory, measured)


def drawn(points: list[Point]) -> Any:
    made, axes = figure("What a run needs: told before, measured after", columns=2)
    for ax, told, found, title, unit in (
        (axes[0, 0], "told_seconds_a_step", "seconds_a_step", "time of a step", "seconds"),
        (axes[0, 1], "told_bytes", "measured_bytes", "memory at once", "bytes"),
    ):
        for colour, kind in zip(COLOURS, dict.fromkeys(point.kind for point in points), strict=False):
            mine = [point for point in points if point.kind == kind]
            x, y = ([getattr(point, name) for point in mine] for name in (told, found))
            ax.loglog(x, y, "o", color=colour, label=kind)
        ends = np.array([min(getattr(p, told) for p in points) / 3, max(getattr(p, told) for p in points) * 3])
        ax.loglog(ends, ends, color=GREY, lw=1)
        ax.fill_between(ends, ends / FACTOR, ends * FACTOR, color=GREY, alpha=0.12, lw=0, label="a factor of three")
        finish(ax, title, f"ll.estimate, {unit}", f"measured, {unit}")
    return made


def main(arguments: list[str]) -> None:
    quick = "--quick" in arguments
    widths, batches = ((32, 64), ((16, 4),)) if quick else ((64, 256, 512, 1024, 2048), ((64, 4), (64, 16), (64, 64)))
    hardware = ll.measure_hardware(2**22 if quick else 2**25)
    points = [single(width, hardware) for width in widths]
    points += [batch(width, lanes, hardware) for width, lanes in batches]
    print(
        f"{'':>12} {'weights':>11} {'lanes':>6} {'told':>10} {'measured':>10} {'ratio':>6} {'memory told':>12} measured"
    )
    for p in points:
        times = f"{p.told_seconds_a_step:>10.3g} {p.seconds_a_step:>10.3g} {p.ratio:>6.2f}"
        print(f"{p.kind:>12} {p.weights:>11,} {p.lanes:>6} {times} {p.told_bytes:>12.3g} {p.measured_bytes:.3g}")
    if quick:
        return
    write(
        "scale",
        question="Does ll.estimate tell how long a step takes and how much memory a run needs?",
        hardware=hardware._asdict(),
        points=[point._asdict() | {"ratio": point.ratio} for point in points],
    )
    save(drawn(points), "scale")
    assert all(1 / FACTOR < point.ratio < FACTOR for point in points if point.kind == "one network")


if __name__ == "__main__":
    main(sys.argv[1:])
