"""What a device can do, for estimates: measured here, or as its maker publishes it."""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lagrangian_learning._checks import shown
from lagrangian_learning._tuning import MOST_LANES_CPU, MOST_LANES_ELSEWHERE


class Hardware(NamedTuple):
    """One device: what `estimate` knows of it.

    Arguments:
        name: how the printed estimate calls it.
        flops: peak operations a second, by dtype name, of vector units and not of the matrix units of low precision.
        bandwidth: bytes a second of its memory.
        memory: bytes.
        cache_bandwidth: bytes a second of its last cache.
        cache: bytes of it.
        launch: seconds that one more kernel in a sequence costs however small it is.
        link_bandwidth: bytes a second of one exchange between devices.
        link_latency: seconds of one.
        scalars: operations a second of one number after another.
        elementwise: operations a second of many lanes of such numbers.
        batched: operations a second of products of a small matrix with a vector, one a lane.
        lanes: the most that `simulate_batch` puts on it at once.
        cores: on how many lanes of many numbers go one after the other, as on CPUs; 0: all side by side.
    """

    name: str
    flops: dict[str, float]
    bandwidth: float
    memory: float
    cache_bandwidth: float
    cache: float
    launch: float
    link_bandwidth: float
    link_latency: float
    scalars: float = 1e8
    elementwise: float = 1e12
    batched: float = 1e13
    lanes: int = MOST_LANES_ELSEWHERE
    cores: int = 0

    def seconds_to_move(self, moved: float, working_set: float) -> float:
        """Seconds to move so many bytes of a working set, which may lie in the cache."""
        return moved / (self.cache_bandwidth if working_set <= self.cache else self.bandwidth)


# NVIDIA's data sheets of the H100 SXM and H200 SXM (vector peaks, 50 MB of cache); the cache's bandwidth, launches and
# latencies are orders of magnitude.
_H100_FLOPS = {"float32": 67e12, "float64": 34e12}
KNOWN = {
    "h100": Hardware("NVIDIA H100 SXM", _H100_FLOPS, 3.35e12, 80e9, 5.5e12, 50e6, 4e-6, 450e9, 10e-6),
    "h200": Hardware("NVIDIA H200 SXM", _H100_FLOPS, 4.8e12, 141e9, 5.5e12, 50e6, 4e-6, 450e9, 10e-6),
}


def as_hardware(hardware: Any) -> Hardware:
    """A `Hardware` as it is, one by its name, or for None the device at hand, measured."""
    if isinstance(hardware, Hardware):
        return hardware
    if hardware is None:
        return measure_hardware()
    if not isinstance(hardware, str) or hardware not in KNOWN:
        raise ValueError(
            f"hardware must be an ll.costs.Hardware, None (measure the device at hand) or one of {', '.join(KNOWN)}; "
            f"got {shown(hardware)}."
        )
    return KNOWN[hardware]


def usable_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def measure_hardware(entries: int = 2**25, cached_entries: int = 2**20) -> Hardware:
    """The default device, measured in a few seconds: how fast it reads a matrix that is larger than any cache and one
    that is not, multiplies two, starts a kernel, and does arithmetic on single numbers and on many lanes of them.

    Exchanges between devices are not measured: the link is taken to be as fast as memory.

    Arguments:
        entries: numbers of the matrix that is larger than any cache.
        cached_entries: numbers of the one that is not.
    """
    device = jax.devices()[0]
    flops = {"float32": _peak(jnp.float32)}
    if jax.config.read("jax_enable_x64"):
        flops["float64"] = _peak(jnp.float64)
    bandwidth, launch = _bandwidth(entries), _launch()
    scalars, elementwise = _elementwise(1), _elementwise(1024)
    batched = _batched()
    lanes, cores = (MOST_LANES_CPU, usable_cores()) if device.platform == "cpu" else (MOST_LANES_ELSEWHERE, 0)
    cached = max(_bandwidth(cached_entries), bandwidth)
    return Hardware(
        str(device.device_kind), flops, bandwidth, _memory(device), cached, _cache(), launch, bandwidth, 10 * launch,
        scalars, elementwise, batched, lanes, cores,
    )  # fmt: skip


def _bandwidth(entries: int) -> float:
    side = int(entries**0.5)
    matrix, vector = jnp.ones((side, side), jnp.float32), jnp.ones(side, jnp.float32)
    return matrix.nbytes / _seconds(jax.jit(jnp.matmul), matrix, vector)


def _cache(otherwise: float = 32e6) -> float:
    """Bytes of the last cache, as Linux reports them."""
    sizes = sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"))
    return 1024.0 * int(sizes[-1].read_text().strip().rstrip("K")) if sizes else otherwise


def _peak(dtype: Any, side: int = 1024) -> float:
    matrix = jnp.ones((side, side), dtype)
    return 2 * side**3 / _seconds(jax.jit(lambda a: jnp.matmul(a, a, precision="highest")), matrix)


def _launch(count: int = 32, side: int = 32, rounds: int = 64) -> float:
    """Seconds that one more small kernel adds to a sequence within a loop, where steps are: every product is followed
    by another kernel, which XLA cannot fuse into it.
    """

    @jax.jit
    def run(matrix: Any, vector: Any) -> Any:
        def sequence(_: Any, vector: Any) -> Any:
            for _ in range(count):
                vector = jnp.tanh(jnp.matmul(matrix, vector, precision="highest"))
            return vector

        return jax.lax.fori_loop(0, rounds, sequence, vector)

    return _seconds(run, jnp.eye(side, dtype=jnp.float32), jnp.ones(side, jnp.float32)) / (2 * count * rounds)


def _elementwise(lanes: int, count: int = 32, rounds: int = 64) -> float:
    """Operations a second on lanes of single numbers: products, sums and now and then a function, one after another."""

    @jax.jit
    def run(x: Any) -> Any:
        def sequence(_: Any, x: Any) -> Any:
            for _ in range(count):
                x = jnp.tanh(x)
                for number in (0.9, 1.1, 0.8, 1.2, 0.7):
                    x = number * x + x
            return x

        return jax.lax.fori_loop(0, rounds, sequence, x)

    return 20 * count * rounds * lanes / _seconds(run, jnp.ones(lanes, jnp.float32))


def _batched(lanes: int = 64, side: int = 24, count: int = 8, rounds: int = 8) -> float:
    """Operations a second of products of small matrices with vectors, both of every lane, within a loop."""

    @jax.jit
    def run(matrix: Any, vector: Any) -> Any:
        def sequence(_: Any, vector: Any) -> Any:
            for _ in range(count):
                vector = jnp.tanh(jax.vmap(lambda a, x: jnp.matmul(a, x, precision="highest"))(matrix, vector))
            return vector

        return jax.lax.fori_loop(0, rounds, sequence, vector)

    matrix, vector = jnp.ones((lanes, side, side), jnp.float32) / side, jnp.ones((lanes, side), jnp.float32)
    return 2 * matrix.size * count * rounds / _seconds(run, matrix, vector)


def _memory(device: Any) -> float:
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        return float(stats["bytes_limit"])
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _seconds(call: Callable, *args: Any, rounds: int = 7) -> float:
    jax.block_until_ready(call(*args))
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        jax.block_until_ready(call(*args))
        times.append(time.perf_counter() - start)
    return statistics.median(times)
