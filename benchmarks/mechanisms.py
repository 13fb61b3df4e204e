"""How much longer does a mechanical system take from its Lagrangian than written out by hand for plain Diffrax?

By the defaults of `simulate`, against `diffrax.diffeqsolve` with the same stepper and tolerances over a field written
by hand: a Toda lattice of 200, and a chain of 32 links, ours in the 64 Cartesian coordinates of its joints under 32
constraints, theirs in its 32 angles, where nothing is constrained. Kepler's ellipse by `ll.Rattle` against a `lax.scan`
of leapfrog steps written by hand. Each pair must come to the same end, which is the only threshold; aims are reported
as they are.

    python benchmarks/mechanisms.py [--quick]
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import lagrangian_learning as ll

if __package__:
    from . import common
else:
    import common

jax.config.update("jax_enable_x64", True)

GRAVITY = 9.81
AIMS = {"Toda lattice": 3.0, "Kepler, Rattle": 4.0, "chain": 1.5}
# How far the ends of a pair may lie apart: both follow the motion to 1e-10 a step, the leapfrogs are one map.
SAME = {"Toda lattice": 1e-6, "Kepler, Rattle": 1e-8, "chain": 1e-4}


class Pair(NamedTuple):
    """Two programs without arguments, each to its end in the same coordinates."""

    ours: Callable[[], Any]
    theirs: Callable[[], Any]


def solved(field: Callable, y0: Any, end: float) -> Any:
    """The end of a run by Diffrax, with the stepper and the tolerances that `simulate` takes by default."""
    return diffrax.diffeqsolve(
        diffrax.ODETerm(field), diffrax.Dopri8(), 0.0, end, None, y0,
        stepsize_controller=diffrax.PIDController(rtol=1e-10, atol=1e-10), max_steps=2**20,
    ).ys  # fmt: skip


def toda(size: int, end: float) -> Pair:
    """ℓ = ½|v|² − Σ exp(qᵢ − qᵢ₊₁), the ends free, from a bump."""
    q = jnp.exp(-((jnp.arange(size) - size / 2) ** 2) / 20)

    def potential(q: Any) -> Any:
        return jnp.sum(jnp.exp(q[:-1] - q[1:]))

    law = ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, args: v @ v / 2 - potential(q)))

    def field(t: Any, y: Any, args: Any) -> Any:
        pull = jnp.exp(y[0][:-1] - y[0][1:])
        return y[1], jnp.pad(pull, (1, 0)) - jnp.pad(pull, (0, 1))

    @jax.jit
    def theirs() -> Any:
        return solved(field, (q, jnp.zeros(size)), end)[0][-1]

    start = law.initial_state(0.0, q)

    @jax.jit
    def ours() -> Any:
        return ll.simulate(law, start, np.array([0.0, end])).final_state.q

    return Pair(ours, theirs)


def kepler(steps: int) -> Pair:
    """An ellipse of eccentricity 0.3, by constant steps of the leapfrog."""
    h, q, v = 0.01, jnp.array([0.7, 0.0]), jnp.array([0.0, np.sqrt(1.3 / 0.7)])
    law = ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, args: v @ v / 2 + 1 / jnp.sqrt(q @ q)))

    def force(q: Any) -> Any:
        return -q / (q @ q) ** 1.5

    @jax.jit
    def theirs() -> Any:
        def step(y: Any, _: Any) -> tuple[Any, None]:
            q, v, a = y
            v = v + h / 2 * a
            q = q + h * v
            a = force(q)
            return (q, v + h / 2 * a, a), None

        return jax.lax.scan(step, (q, v, force(q)), None, length=steps)[0][0]

    start = law.initial_state(0.0, q, v)

    @jax.jit
    def ours() -> Any:
        return ll.simulate(law, start, np.array([0.0, steps * h]), solver=ll.Rattle(), dt0=h).final_state.q

    return Pair(ours, theirs)


def chain(links: int, end: float) -> Pair:
    """Unit masses on unit rods, one below the other, let go at a slope that grows along the chain."""
    angles = 0.3 + 0.4 * jnp.arange(links) / links
    below = links - jnp.arange(links)
    shared = jnp.minimum(below[:, None], below[None, :]).astype(float)  # masses that hang from both joints

    def joints(angles: Any) -> Any:
        return jnp.cumsum(jnp.stack([jnp.sin(angles), -jnp.cos(angles)], axis=1), axis=0)

    def rods(t: Any, q: Any, args: Any) -> Any:
        along = jnp.diff(q, axis=0, prepend=jnp.zeros((1, 2)))
        return (jnp.sum(along**2, axis=1) - 1) / 2

    weight = ll.Lagrangian(lambda t, q, v, args: jnp.sum(v**2) / 2 - GRAVITY * jnp.sum(q[:, 1]))
    law = ll.EulerLagrange(weight, ll.Holonomic(rods))

    def field(t: Any, y: Any, args: Any) -> Any:
        angle, rate = y
        between = angle[:, None] - angle[None, :]
        pull = -(shared * jnp.sin(between)) @ rate**2 - GRAVITY * below * jnp.sin(angle)
        return rate, jax.scipy.linalg.solve(shared * jnp.cos(between), pull, assume_a="pos")

    @jax.jit
    def theirs() -> Any:
        return joints(solved(field, (angles, jnp.zeros(links)), end)[0][-1])

    start = law.initial_state(0.0, joints(angles))

    @jax.jit
    def ours() -> Any:
        return ll.simulate(law, start, np.array([0.0, end])).final_state.q

    return Pair(ours, theirs)


def row(name: str, pair: Pair, rounds: int) -> dict[str, Any]:
    """The ratio of medians, where both come to the same end."""
    apart = float(np.max(np.abs(np.asarray(pair.ours()) - np.asarray(pair.theirs()))))
    times = common.interleaved({"ours": pair.ours, "theirs": pair.theirs}, rounds)
    found = {
        "problem": name,
        "ends apart by": apart,
        "milliseconds": {key: 1e3 * common.median(values) for key, values in times.items()},
        "ours over theirs": common.ratio(times, "ours", "theirs"),
    }
    print(f"{name:16}  {found['ours over theirs']:6.2f} times by hand, ends apart by {apart:.1e}", flush=True)
    return found


def measure(*, quick: bool) -> list[dict[str, Any]]:
    rounds = 2 if quick else 11
    pairs = {
        "Toda lattice": toda(8 if quick else 200, 1.0 if quick else 20.0),
        "Kepler, Rattle": kepler(64 if quick else 20_000),
        "chain": chain(3 if quick else 32, 0.2 if quick else 2.0),
    }
    return [row(name, pair, rounds) for name, pair in pairs.items()]


def missed(rows: list[dict[str, Any]]) -> list[str]:
    """Pairs that do not come to the same end."""
    return [one["problem"] for one in rows if not one["ends apart by"] <= SAME[one["problem"]]]


def picture(rows: list[dict[str, Any]]) -> None:
    made, ((ax,),) = common.figure("From a Lagrangian, beside equations by hand")
    for k, one in enumerate(rows):
        ax.plot(one["ours over theirs"], k, "o", color=common.COLOURS[0], ms=7, label="measured" if k == 0 else None)
        ax.plot(AIMS[one["problem"]], k, "|", color=common.COLOURS[1], ms=14, mew=2, label="aim" if k == 0 else None)
    ax.axvline(1, color=common.GREY, lw=1)
    ax.set_yticks(range(len(rows)), [one["problem"] for one in rows])
    ax.invert_yaxis()
    ax.set_xlim(left=0)
    common.finish(ax, "Time of simulate over time by hand", "ratio of medians", "")
    common.save(made, "mechanisms")


def main() -> None:
    quick = common.options(__doc__)
    rows = measure(quick=quick)
    wrong = missed(rows)
    headline = "times by hand: " + ", ".join(f"{one['problem']} {one['ours over theirs']:.2g}" for one in rows)
    print(headline)
    picture(rows)
    record = {"headline": headline, "rows": rows, "aims": AIMS, "missed": wrong}
    common.write("mechanisms", question=__doc__.splitlines()[0], **record)
    if wrong and not quick:
        raise SystemExit(f"not the same end: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
