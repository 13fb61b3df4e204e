"""Does `ll.estimate` predict how long a step takes?

Runs of the XOR network, of the speech network and of networks up to 10⁷ weights, alone and as lanes of
`ll.simulate_batch`, against what `ll.estimate` said before (docs/scale.md holds the model). Threshold: every time
within a factor of three. Memory, operations and bytes: benchmarks/scale_compiled.py.

    python benchmarks/scale.py [--quick]
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from common import COLOURS, GREY, figure, finish, interleaved, options, save, write

import lagrangian_learning as ll

STEP = 0.01
FACTOR = 3.0
XOR, SPEECH = (2, 2, 1), (13, 32, 9)
# (sizes, lanes, steps of the longer of two runs)
RUNS = (
    (XOR, 1, 20_000), (SPEECH, 1, 2000), ((64,) * 5, 1, 1000), ((160,) * 5, 1, 200), ((512,) * 5, 1, 24),
    ((1600,) * 5, 1, 8), (XOR, 1024, 400), (XOR, 8192, 100), (SPEECH, 16, 200), ((64,) * 5, 64, 24),
)  # fmt: skip
QUICK = ((XOR, 1, 200), ((32,) * 3, 1, 40), (XOR, 16, 100))


class Point(NamedTuple):
    """One run: what was predicted of it, and what was measured."""

    network: str
    weights: int
    lanes: int
    predicted_seconds_a_step: float
    seconds_a_step: float

    @property
    def ratio(self) -> float:
        return self.seconds_a_step / self.predicted_seconds_a_step

    @property
    def kind(self) -> str:
        return "one run" if self.lanes == 1 else "lanes of simulate_batch"

    @property
    def within(self) -> bool:
        """Whether the estimate was within the factor."""
        return 1 / FACTOR < self.ratio < FACTOR


def problem(sizes: tuple[int, ...], lanes: int = 1) -> tuple[Any, Any, Any]:
    """A law, a state (of each lane, if there are many) and a stimulus of a layered network."""
    network = ll.Layered(sizes)
    law = ll.CognitiveAction(network, mass_x=1e-3 / max(sizes)).law()
    signal = ll.Sinusoids(jnp.linspace(0.5, 1.5, sizes[0]), 1.0, jnp.arange(1.0 * sizes[0]))
    stimulus = ll.Stimulus(signal, jnp.full(sizes[-1], 0.3))
    if lanes == 1:
        return law, law.initial_state(0.0, network.init(jax.random.key(0)), args=stimulus), stimulus
    keys = jax.random.split(jax.random.key(1), lanes)
    states = jax.jit(jax.vmap(lambda key: law.initial_state(0.0, network.init(key), args=stimulus)))(keys)
    return law, states, stimulus


def last_output(t: Any, observables: dict[str, Any]) -> Any:
    return observables["x"][-1]


def seconds_a_step(run: Callable[[int], Any], steps: int, rounds: int = 5) -> float:
    """Of two runs that differ in their steps alone: what calling, compiling and recording cost drops out. The best of
    some rounds: what else the machine does makes runs longer, never shorter.
    """
    few = max(steps // 4, 1)
    times = interleaved({"few": lambda: run(few), "many": lambda: run(steps)}, rounds=rounds, least=0)
    return (min(times["many"]) - min(times["few"])) / (steps - few)


def predicted_of(sizes: tuple[int, ...], lanes: int, hardware: ll.costs.Hardware) -> ll.costs.Estimate:
    law, state, stimulus = problem(sizes)
    saved = jax.ShapeDtypeStruct((sizes[-1],), jnp.float32)
    return ll.estimate(law, state, [0.0, 1.0], stimulus, steps=100, hardware=hardware, saved=saved, lanes=lanes)


def measured(sizes: tuple[int, ...], lanes: int, steps: int, hardware: ll.costs.Hardware) -> Point:
    law, state, stimulus = problem(sizes, lanes)
    predicted = predicted_of(sizes, lanes, hardware)

    def alone(state: Any, times: Any) -> Any:
        return ll.simulate(law, state, times, stimulus, dt0=STEP, save=last_output).final_state

    compiled = eqx.filter_jit(alone)

    def simulated(steps: int) -> Any:
        times = jnp.asarray([0.0, STEP * steps])
        if lanes == 1:
            return compiled(state, times)
        return ll.simulate_batch(
            law, state, times, stimulus, in_axes=(None, 0, None), dt0=STEP, save=last_output, progress=False
        ).final_state

    # The estimate is of a step of the lanes that are at once on the device; the batch goes through all.
    seconds = seconds_a_step(simulated, steps) * predicted.lanes_at_once / lanes
    name = "–".join(map(str, sizes))
    return Point(name, law.network.num_weights, lanes, predicted.seconds_a_step, seconds)


def drawn(points: list[Point]) -> Any:
    made, axes = figure("What a run needs: predicted before, measured after")
    ax = axes[0, 0]
    for colour, kind in zip(COLOURS, dict.fromkeys(point.kind for point in points), strict=False):
        mine = [point for point in points if point.kind == kind]
        x, y = [point.predicted_seconds_a_step for point in mine], [point.seconds_a_step for point in mine]
        ax.loglog(x, y, "o", color=colour, label=kind)
    predicted = [point.predicted_seconds_a_step for point in points]
    ends = np.array([min(predicted) / 3, max(predicted) * 3])
    ax.loglog(ends, ends, color=GREY, lw=1)
    ax.fill_between(ends, ends / FACTOR, ends * FACTOR, color=GREY, alpha=0.12, lw=0, label="a factor of three")
    finish(ax, "time of a step", "ll.estimate, seconds", "measured, seconds")
    return made


def written(points: list[Point], hardware: ll.costs.Hardware, missed: list[str]) -> None:
    ratios = [point.ratio for point in points]
    write(
        "scale",
        question="Does ll.estimate predict how long a step takes?",
        headline=f"measured over predicted: a step {min(ratios):.2g} to {max(ratios):.2g}, from 6 to 1e7 weights",
        hardware=hardware._asdict(),
        points=[point._asdict() | {"ratio": point.ratio} for point in points],
        missed=missed,
    )


def main() -> None:
    quick = options(__doc__)
    hardware = ll.costs.measure_hardware(2**22 if quick else 2**25)
    points = []
    print(f"{'network':>24} {'weights':>11} {'lanes':>6} {'predicted':>9} {'measured':>9} {'ratio':>6}")
    for sizes, lanes, steps in QUICK if quick else RUNS:
        p = measured(sizes, lanes, steps, hardware)
        times = f"{p.predicted_seconds_a_step:>9.3g} {p.seconds_a_step:>9.3g} {p.ratio:>6.2f}"
        print(f"{p.network:>24} {p.weights:>11,} {p.lanes:>6} {times}")
        points.append(p)
    missed = [f"{p.network}, {p.lanes} lanes" for p in points if not quick and not p.within]
    written(points, hardware, missed)
    save(drawn(points), "scale")
    assert not missed, f"off by more than {FACTOR:g}: {missed}"


if __name__ == "__main__":
    main()
