"""On many devices and on two hosts a batch has the bits it has on one; weights lie where they were put."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll

ROOT = Path(__file__).resolve().parents[2]


def started(script, *arguments, devices):
    environment = os.environ | {
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
    }
    call = [sys.executable, str(ROOT / "tests" / "batch" / script), *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(call, cwd=ROOT, env=environment, text=True, **pipes)  # noqa: S603  # our own code


def found_by(process):
    out, errors = process.communicate(timeout=800)
    assert process.returncode == 0, errors
    return json.loads(out)


@pytest.fixture(scope="module")
def eight_devices():
    return found_by(started("on_devices.py", devices=8))


@pytest.mark.slow
@pytest.mark.parametrize(
    "lanes",
    ["2", "4", "8", "permuted", "chunked", "reduced", "bad lane", "networks", "fused", "serial", "adaptive"],
)
def test_lanes_on_devices_are_those_on_one(eight_devices, lanes):
    assert eight_devices["devices"] == 8
    assert eight_devices["lanes"][lanes]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["diffrax", "serial", "fused"])
def test_no_device_waits_for_another(eight_devices, engine):
    assert eight_devices["collectives"][engine] == 0
    assert eight_devices["collectives"]["plain"] > 0, "a plain jit has them: the search would find them"


@pytest.mark.slow
@pytest.mark.parametrize("network", ["layered", "chain"])
def test_sharded_weights_stay_where_they_are(eight_devices, network):
    found = eight_devices["weights"][network]
    assert found["error"] < 1e-12
    assert found["placed"] == found["end"] == [[16, 8], [16], [8, 64], [8], [1, 32], [1]]
    assert found["records"] == [[3, 16, 8], [3, 16], [3, 8, 64], [3, 8], [3, 1, 32], [3, 1]]
    assert 0 < found["moved"] <= 108, "all neurons at most, never a matrix"


@pytest.mark.slow
def test_two_hosts_share_a_batch(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    hosts = [started("on_hosts.py", str(k), address, str(tmp_path), devices=2) for k in range(2)]
    found = [found_by(host) for host in hosts]
    assert [host["share"] for host in found] == [[0, 5], [5, 11]]
    assert [host["lanes"] for host in found] == [5, 6]
    for host in found:
        assert host["devices"] == [2, 4]
        assert host["same"]
        assert host["own"]
        assert host["resumed"]
    assert "too few for 4 devices" in found[0]["too few"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["process-0-of-2", "process-1-of-2"]


def test_bad_meshes():
    network = ll.Layered((2, 3, 1))
    W = network.init(jax.random.key(0))
    shard = getattr(ll.networks.shard_weights, "__wrapped__", ll.networks.shard_weights)
    with pytest.raises(ValueError, match=r"mesh must be a jax\.sharding\.Mesh"):
        shard(network, W, 4)
    with pytest.raises(ValueError, match=r"network must be a network such as ll\.Layered, got tuple"):
        shard(W, network, jax.make_mesh((1,), ("x",)))
    with pytest.raises(ValueError, match="expected shapes"):
        shard(network, W[:1], jax.make_mesh((1,), ("x",)))
    placed = ll.networks.shard_weights(network, W, jax.make_mesh((1,), ("x",)))
    np.testing.assert_array_equal(placed[0], W[0])
    assert ll.batch.local_lanes(7) == range(7) == ll.batch.local_lanes(7, jax.make_mesh((1,), ("x",)))
    assert jnp.asarray(placed[1]).shape == (1, 3)
