"""The memory of the device that computes."""

import os

import jax


def device_memory() -> int:
    """Bytes of the device, or of the host where the device does not report its own."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return stats.get("bytes_limit") or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
