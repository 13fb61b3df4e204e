"""How many analog networks learn, and how many after design centring by gradients through their learning?

Run it in a checkout: lagrangian-learning study analog_yield

A device is a network whose neurons follow (18) and whose errors follow (20) with the causal sign. No two of its parts
are alike: each neuron and each error cell has a speed of its own, each weight a learning rate of its own, log-normal
about the nominal constants. It begins with random weights and has a fixed time to learn a teacher, the same for all
devices, from an input of random phases. Delays make fast learning unstable, and slow learning does not end in time.
Speed costs power: the sum of all speeds is given, and the design divides it among the layers of both waves.

The yield is the share of devices that learn. Its smooth relative, the mean of a sigmoid of the log loss over sampled
devices, has a gradient by the nominal constants through the whole of learning; Adam follows it.
"""

if __name__ == "__main__":  # a file does not know its checkout: it is run as a command of the package
    from lagrangian_learning.commands.study import run_file

    run_file(__file__)

import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from lagrangian_learning.commands.files import Files
from lagrangian_learning.commands.output import Line, check_counts
from lagrangian_learning.commands.progress import progress

from .analog_network import DURATION, SPEED, SPREAD, Device, devices, loss, of_all, speeds
from .analog_yield_picture import draw
from .study import begun, ended, print_table

FILES = Files(Path("analog_yield.png"))
QUESTION = "How many analog networks with unequal parts learn, and how many after centring by gradients?"
NOMINAL = np.log([0.4, 0.4, *(SPEED,) * 5])  # learning rates of both layers, speeds of `PARTS`
LEARNED, WIDTH = 0.05, 0.5  # held-out loss over the power of the target; width of the sigmoid in its logarithm
ITERATIONS, SAMPLE, RATE, AVERAGED = (
    60,
    128,
    0.15,
    10,
)  # Adam, its rate falling to 0; the centre is the mean of the last
BOX = np.log([10.0, 10.0, *(3.0,) * 5])  # how far off the nominal design a random search looks, each way
HAND = np.geomspace(0.02, 2.0, 9)  # rates of both layers, tried by hand
SPREADS, SPREAD_LANES = (0.0, 1.0, 2.0), 2500  # times the spread, and devices of each
CURVE, MAP = 1000, (15, 64)  # devices of each point of the curves; rates of each layer in the map, and devices of each
GAIN, SURE = 0.1, 3.0  # what centring is asked to add to the nominal yield; standard errors


def smooth(losses: Any) -> Any:
    """What stands for the yield where it must be smooth: a sigmoid of the log loss, one half at `LEARNED`."""
    return jax.nn.sigmoid((np.log(LEARNED) - jnp.log(losses)) / WIDTH)


def smooth_yield(design: Float[Array, "7"], given: Device) -> Array:
    """The mean over devices, differentiable by the design through all of learning."""
    losses, ended = jax.vmap(loss, (None, 0))(design, given)
    return jnp.mean(jnp.where(ended, smooth(losses), 0))


value = jax.jit(smooth_yield)
value_and_slope = jax.jit(jax.value_and_grad(smooth_yield))


# -- three ways to a design --------------------------------------------------------------------------------------------


class Search(NamedTuple):
    """A design, the designs on the way to it with how many runs of devices they took, and seconds."""

    design: np.ndarray
    path: np.ndarray
    runs: np.ndarray
    seconds: float


def cost(key: PRNGKeyArray, sample: int) -> float:
    """Runs that a value with its gradient takes the time of; compiled, the least of three."""
    given, design = devices(key, sample), jnp.asarray(NOMINAL, jnp.float32)

    def seconds(call: Any) -> float:
        begin = time.perf_counter()
        jax.block_until_ready(call(design, given))
        return time.perf_counter() - begin

    plain, both = (min([seconds(call) for _ in range(4)][1:]) for call in (value, value_and_slope))
    return both / plain


def centred(key: PRNGKeyArray, iterations: int, sample: int, runs: float) -> Search:
    """Adam up the gradient of the smooth yield, on other devices in every iteration, each of so many runs."""
    begin, optimiser = time.perf_counter(), optax.adam(optax.cosine_decay_schedule(RATE, iterations))
    design = jnp.asarray(NOMINAL, jnp.float32)
    memory, path = optimiser.init(design), [np.asarray(design)]
    for one in jax.random.split(key, iterations):
        _, slope = value_and_slope(design, devices(one, sample))
        change, memory = optimiser.update(-slope, memory)
        design = optax.apply_updates(design, change)
        path.append(np.asarray(design))
    return Search(np.mean(path[-AVERAGED:], axis=0), np.array(path), runs * sample * np.arange(iterations + 1.0),
                  time.perf_counter() - begin)  # fmt: skip


def chosen(key: PRNGKeyArray, designs: np.ndarray, sample: int) -> Search:
    """Of given designs the one of the largest smooth yield, all tried on the same devices; path: the best so far."""
    begin = time.perf_counter()
    worth = np.mean(np.asarray(smooth(of_all(designs, devices(key, sample)))), axis=1)
    best = np.array([int(np.argmax(worth[: k + 1])) for k in range(len(designs))])
    return Search(
        designs[best[-1]], designs[best], sample * np.arange(1.0, len(designs) + 1), time.perf_counter() - begin
    )


def around(seed: int, count: int) -> np.ndarray:
    """Random designs in the box about the nominal one, which is the first."""
    off = np.random.default_rng(seed).uniform(-1.0, 1.0, (count, len(NOMINAL)))
    return NOMINAL + BOX * np.vstack([np.zeros(len(NOMINAL)), off[1:]])


def by_hand() -> np.ndarray:
    """One rate for both layers, and equal speeds."""
    return np.column_stack([np.log(HAND), np.log(HAND), np.tile(NOMINAL[2:], (len(HAND), 1))])


# -- what is found -----------------------------------------------------------------------------------------------------


def judged(design: np.ndarray, given: Device) -> dict[str, Any]:
    """The yield of a design, its standard error, and the losses of all devices."""
    found = of_all(design[None], given)[0]
    share = float(np.mean(found < LEARNED))
    return {"yield": share, "error": float(np.sqrt(share * (1 - share) / len(found))), "losses": found}


def curve(search: Search, given: Device, points: int = 9) -> dict[str, np.ndarray]:
    """The yield on the way of a search, on devices that it has not seen."""
    at = np.unique(np.linspace(0, len(search.path) - 1, points).astype(int))
    return {"runs": search.runs[at], "yield": np.mean(of_all(search.path[at], given) < LEARNED, axis=1)}


def over_rates(design: np.ndarray, given: Device, number: int) -> dict[str, np.ndarray]:
    """The yield over the learning rates of both layers, with the speeds of a design; [layer 2, layer 1]."""
    rates = np.geomspace(HAND[0], HAND[-1], number)
    second, first = (part.ravel() for part in np.meshgrid(np.log(rates), np.log(rates), indexing="ij"))
    designs = np.column_stack([first, second, np.tile(design[2:], (first.size, 1))])
    return {"rates": rates, "yield": np.mean(of_all(designs, given) < LEARNED, axis=1).reshape(number, number)}


def study(seed: int = 0, lanes: int = 10_000, quick: bool = False, files: Files = FILES) -> None:
    """How many analog networks with unequal parts learn, and how many after their constants were centred?

    Args:
        seed: Draws the devices, and the designs of the random search.
        lanes: Devices by which each design is judged.
        quick: Tiny sizes, to see that the study runs.
        files: Where the picture and the numbers go.
    """
    line = begun("analog_yield", seed, files)
    check_counts("study analog_yield", lanes=lanes)
    lanes, iterations, sample, points = (64, 2, 64, 64) if quick else (lanes, ITERATIONS, SAMPLE, CURVE)
    number, few = (2, 64) if quick else MAP
    keys = jax.random.split(jax.random.key(seed), 6)
    with progress("analog_yield", "parts") as report:
        report(0, 8, now="centring")
        runs = cost(keys[0], sample)
        searches = {"centred by gradient": centred(keys[1], iterations, sample, runs)}
        report(1, 8, now="other searches")
        searches["random search"] = chosen(keys[2], around(seed, round(iterations * runs)), sample)
        searches["rate by hand"] = chosen(keys[2], by_hand(), sample)
        designs = {"nominal": NOMINAL} | {name: searches[name].design for name in reversed(searches)}
        found = {}
        for name, design in designs.items():
            report(2 + len(found), 8, now=f"{lanes:,} devices: {name}")
            found[name] = judged(design, devices(keys[3], lanes))
        report(6, 8, now="spreads and curves")
        ends = np.stack([designs["nominal"], designs["centred by gradient"]])
        spreads = [
            np.mean(of_all(ends, devices(keys[4], min(lanes, SPREAD_LANES), scale)) < LEARNED, axis=1)
            for scale in SPREADS
        ]
        curves = {name: curve(searches[name], devices(keys[5], points)) for name in list(searches)[:2]}
        report(7, 8, now="map")
        plane = over_rates(designs["centred by gradient"], devices(keys[5], few), number)
        report(8, 8)
    _print(line, designs, found, searches, spreads, runs)
    missed = [] if quick else misses(found)
    for miss in missed:
        line(f"  missed: {miss}")
    ended(
        line, files, lambda path: draw(path, found, curves, plane, searches, LEARNED), QUESTION, seed=seed,
        devices=lanes, learned=LEARNED, spread=SPREAD, duration=DURATION, gradient_in_runs=runs,
        spreads=np.array(SPREADS), yields_over_spreads=np.array(spreads), curves=curves, missed=missed,
        designs={name: {"rates": np.exp(design[:2]), "speeds": np.asarray(speeds(jnp.asarray(design))),
                        "yield": found[name]["yield"], "error": found[name]["error"]}
                 for name, design in designs.items()},
        searches={name: {"runs": one.runs[-1], "seconds": one.seconds} for name, one in searches.items()},
    )  # fmt: skip


def misses(found: dict[str, dict[str, Any]]) -> list[str]:
    """What is not as asked of the centred design: more than the nominal one, not less than the others."""
    ours = found["centred by gradient"]
    missed = []
    for name, one in found.items():
        error = SURE * np.hypot(ours["error"], one["error"])
        least = one["yield"] + (GAIN if name == "nominal" else -error)
        if ours["yield"] < least:
            missed.append(f"centring yields {ours['yield']:.1%}, and {name} {one['yield']:.1%}")
    return missed


def _print(
    line: Line, designs: dict[str, np.ndarray], found: dict[str, dict[str, Any]], searches: dict[str, Search],
    spreads: list[np.ndarray], runs: float,
) -> None:  # fmt: skip
    count = len(found["nominal"]["losses"])
    line(f"[bold]Analog networks that learn, of {count:,}[/]  parts that differ by {100 * SPREAD:g} %")
    rows = []
    for name, design in designs.items():
        one, search = found[name], searches.get(name)
        used = ("", "") if search is None else (f"{search.runs[-1]:,.0f}", f"{search.seconds:.0f} s")
        c = " ".join(f"{speed:.1f}" for speed in np.asarray(speeds(jnp.asarray(design, jnp.float32))))
        rates = " ".join(f"{rate:.2f}" for rate in np.exp(design[:2]))
        rows.append((name, f"{one['yield']:.1%} ± {one['error']:.1%}", *used, rates, c))
    print_table(
        line,
        ("design", "yield", "runs of\ndevices", "time", "rates,\nlayers 1, 2", "speeds, forward 0 1 2,\nerror 1 2"),
        rows,
    )
    line(f"  learned: the held-out loss fell under {LEARNED:g} of the target's power; a gradient takes {runs:.1f} runs")
    line()
    line("[bold]Yield over the spread of the parts[/]")
    rows = [(f"{100 * SPREAD * scale:g} %", *(f"{share:.1%}" for share in shares))
            for scale, shares in zip(SPREADS, spreads, strict=True)]  # fmt: skip
    print_table(line, ("spread", "nominal", "centred"), rows)
