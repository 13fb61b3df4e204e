"""What a device can do, for estimates: measured here, or as its maker publishes it."""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Hardware(NamedTuple):
    """One device.

    name;  flops: peak operations a second, by dtype name, vector units and not the matrix units of low precision;
    bandwidth: bytes a second of its memory;  memory: bytes;  cache_bandwidth, cache: the same of its last cache;
    launch: seconds that one more product in a sequence costs however small it is;  link_bandwidth, link_latency: bytes
    a second and seconds of one exchange between devices.
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
    if hardware not in KNOWN:
        raise ValueError(
            f"hardware must be an ll.Hardware, None (measure the device at hand) or one of {', '.join(KNOWN)}; "
            f"got {hardware!r}."
        )
    return KNOWN[hardware]


def measure_hardware(entries: int = 2**25, cached_entries: int = 2**20) -> Hardware:
    """The default device, measured in a few seconds: how fast it reads a matrix that is larger than any cache and one
    that is not, multiplies two, and starts a product.

    Exchanges between devices are not measured: the link is taken to be as fast as memory.
    """
    device = jax.devices()[0]
    flops = {"float32": _peak(jnp.float32)}
    if jax.config.read("jax_enable_x64"):
        flops["float64"] = _peak(jnp.float64)
    bandwidth, launch = _bandwidth(entries), _launch()
    cached = max(_bandwidth(cached_entries), bandwidth)
    return Hardware(
        str(device.device_kind), flops, bandwidth, _memory(device), cached, _cache(), launch, bandwidth, 10 * launch
    )


def _bandwidth(entries: int) -> float:
    side = int(entries**0.5)
    matrix, vector = jnp.ones((side, side), jnp.float32), jnp.ones(side, jnp.float32)
    return matrix.nbytes / _seconds(jax.jit(jnp.matmul), matrix, vector)


def _cache(otherwise: float = 32e6) -> float:
    """Bytes of the last cache, as Linux tells them."""
    sizes = sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"))
    return 1024.0 * int(sizes[-1].read_text().strip().rstrip("K")) if sizes else otherwise


def _peak(dtype: Any, side: int = 1024) -> float:
    matrix = jnp.ones((side, side), dtype)
    return 2 * side**3 / _seconds(jax.jit(lambda a: jnp.matmul(a, a, precision="highest")), matrix)


def _launch(count: int = 64, side: int = 32) -> float:
    """Seconds that one more small product adds to a sequence."""
    matrix = jnp.eye(side, dtype=jnp.float32)

    def sequence(vector: Any, length: int) -> Any:
        for _ in range(length):
            vector = jnp.tanh(matrix @ vector)
        return vector

    times = [_seconds(jax.jit(lambda v, n=n: sequence(v, n)), jnp.ones(side, jnp.float32)) for n in (count, 2 * count)]
    return max(times[1] - times[0], 0.0) / count


def _memory(device: Any) -> float:
    told = device.memory_stats()
    if told and "bytes_limit" in told:
        return float(told["bytes_limit"])
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _seconds(call: Callable, *args: Any, rounds: int = 7) -> float:
    jax.block_until_ready(call(*args))
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        jax.block_until_ready(call(*args))
        times.append(time.perf_counter() - start)
    return statistics.median(times)
