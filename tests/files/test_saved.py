"""What is saved comes back to the bit, or is refused by name: no file is read for another, and none runs code."""

import errno
import json
import os
import pickle

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import lagrangian_learning as ll
from lagrangian_learning.files import WrongFileError, whole
from tests import batches

NETWORK = ll.Layered((2, 2, 1))
WEIGHTS = NETWORK.init(jax.random.key(0))
STIMULUS = ll.Stimulus(np.array([0.5, -0.5]), np.array([0.4]))


def law(activation="tanh", **settings):
    return ll.CognitiveAction(ll.Layered((2, 2, 1), activation), **settings).law()


def run(law, state):
    return ll.simulate(law, state, jnp.linspace(0, 1, 3), STIMULUS, solver=ll.KickDrift(), dt0=0.25)


def bits(tree):
    """Every leaf as its type, dtype, shape and bytes."""

    def of(leaf):
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        array = np.asarray(leaf)
        return isinstance(leaf, np.ndarray), array.dtype.str, array.shape, array.tobytes()

    return jax.tree.structure(tree), [of(leaf) for leaf in jax.tree.leaves(tree)]


TREES = {
    "weights": lambda: WEIGHTS,
    "weights in float32": lambda: jax.tree.map(lambda leaf: leaf.astype(jnp.float32), WEIGHTS),
    "state": lambda: law().initial_state(0.0, WEIGHTS, args=STIMULUS),
    "law": law,
    "law on a graph": lambda: ll.CognitiveAction(ll.networks.xor_network(), speed=3.0).law(),
    "law with functions": lambda: ll.GradientFlow(NETWORK, lambda x, y: jnp.sum((x - y) ** 4), 0.3),
    "chain": lambda: ll.GradientFlow(ll.Chain([eqx.nn.Linear(2, 1, key=jax.random.key(0)), jnp.tanh])),
    "stimulus": lambda: ll.Stimulus(ll.Sampled(np.arange(8.0), np.ones((8, 2))), ll.Stream(np.ones((8, 1)))),
    "one number": lambda: jnp.float32(np.nan),
    "keys, numbers and words": lambda: {
        "k": jax.random.key(3),
        "n": [1, 0.1, True, None, "αβ", -np.inf],
        "e": np.zeros((0, 3)),
    },
}


@pytest.mark.parametrize("make", TREES.values(), ids=TREES.keys())
def test_it_comes_back_to_the_bit(make, tmp_path):
    tree = make()
    ll.save(tmp_path / "tree.safetensors", tree)
    assert bits(ll.load(tmp_path / "tree.safetensors", tree)) == bits(tree)


@pytest.mark.slow
def test_trajectories_and_batches_come_back_and_go_on(tmp_path):
    path = run(law(), law().initial_state(0.0, WEIGHTS, args=STIMULUS))
    ll.save(tmp_path / "path", path)
    like = eqx.filter_eval_shape(run, law(), path.final_state)
    loaded = ll.load(tmp_path / "path", like)
    assert bits(loaded) == bits(path)
    assert str(loaded) == str(path)
    ts = jnp.linspace(1, 2, 3)
    on = [ll.simulate(law(), None, ts, STIMULUS, solver=ll.KickDrift(), dt0=0.25, resume=p).W for p in (path, loaded)]
    assert bits(on[0]) == bits(on[1])
    batch = batches.run()
    ll.save(tmp_path / "batch", batch)
    assert bits(ll.load(tmp_path / "batch", batch)) == bits(batch)


@pytest.mark.parametrize(
    ("saved", "like", "message"),
    [
        (law(), law("sigmoid"), "network.activation is 'tanh' in the file, and 'sigmoid' in like"),
        (
            law(),
            jax.tree.map(lambda x: x.astype(jnp.float32), law()),
            "theta.array is float64 in the file",
        ),
        (law(), ll.GradientFlow(NETWORK), "class is .*ReducedDynamics in the file, and .*GradientFlow in like"),
        (law(), law(potential=ll.CrossEntropy()), "potential.class is .*SquaredError in the file, and .*CrossEntropy"),
        (law(), law(potential=lambda x, y: 0.0), "potential.class is .*SquaredError"),
        (law(speed=2.0), law(), "class is .*FiniteSpeedDynamics"),
        (WEIGHTS, ll.Layered((2, 3, 1)).init(jax.random.key(0)), r"\[0\].shape\[0\] is 2 in the file, and 3 in like"),
        (WEIGHTS, WEIGHTS[0], "class is builtins.tuple in the file|class is only in the file"),
        ({"a": 1.0}, {"a": 1}, "leaf is float in the file, and int in like"),
        ({"a": 1.0}, {"b": 1.0}, "'[ab]' is only in"),
        (ll.Holonomic(lambda t, q, a: q), ll.Holonomic(lambda t, q, a: 2 * q), "code is .* in the file"),
    ],
)
def test_what_does_not_fit_is_named(saved, like, message, tmp_path):
    ll.save(tmp_path / "tree", saved)
    with pytest.raises(WrongFileError, match=message) as caught:
        ll.load(tmp_path / "tree", like)
    assert len(str(caught.value).replace(str(tmp_path), "")) <= 300


def mutated(data, rng):
    """One of the things that can happen to a file."""
    at, other = rng.integers(len(data), size=2)
    kinds = [
        lambda: data[:at] + bytes([data[at] ^ int(1 << rng.integers(8))]) + data[at + 1 :],
        lambda: data[:at] + rng.bytes(8) + data[at + 8 :],
        lambda: data[:at],
        lambda: data[:at] + data[at + int(rng.integers(1, 64)) :],
        lambda: data[:at] + rng.bytes(int(rng.integers(1, 64))) + data[at:],
        lambda: data[: min(at, other)] + data[max(at, other) :] + data[min(at, other) : max(at, other)],
        lambda: data.replace(b"F64", b"I64", 1),
        lambda: data.replace(b"[2,2]", b"[4,1]", 1),
    ]
    return kinds[rng.integers(len(kinds))]()


def test_a_thousand_mutated_files(tmp_path):
    """None is read for what it is not: each is refused, or is still the original to the bit."""
    tree, path = {"law": law(), "W": WEIGHTS}, tmp_path / "tree"
    ll.save(path, tree)
    data, wanted, rng = path.read_bytes(), bits(tree), np.random.default_rng(12)
    refused = 0
    for _ in range(1000):
        path.write_bytes(mutated(data, rng))
        try:
            found = bits(ll.load(path, tree))
        except WrongFileError:
            refused += 1
        else:
            assert found == wanted
    assert refused > 900


def forged(path, change):
    """The file with its header changed and the checksum computed again."""
    data = path.read_bytes()
    tensors = safetensors.numpy.load(data)
    header = json.loads(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["header"])
    change(header, tensors)
    text = json.dumps(header, sort_keys=True)
    checksum = ll.files.saved._checksum(text, tensors)
    path.write_bytes(safetensors.numpy.save(tensors, {"header": text, "sha256": checksum}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header, tensors: header.update(version=99), "version 99"),
        (lambda header, tensors: header.update(format="other"), "no file that ll.save wrote"),
        (
            lambda header, tensors: tensors.update({"[0]": tensors["[0]"].T.copy().reshape(4)}),
            "says otherwise of itself",
        ),
        (lambda header, tensors: tensors.update({"[0]": tensors["[0]"].view(np.int64)}), "says otherwise of itself"),
        (lambda header, tensors: tensors.pop("[1]"), "not those that it says it has"),
        (lambda header, tensors: tensors.update(more=np.ones(1)), "not those that it says it has"),
    ],
)
def test_forged_files_with_a_right_checksum_are_refused(change, message, tmp_path):
    path = tmp_path / "W"
    ll.save(path, WEIGHTS)
    forged(path, change)
    with pytest.raises(WrongFileError, match=message):
        ll.load(path, WEIGHTS)


def test_no_code_is_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    (tmp_path / "trap").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(WrongFileError, match="no file of safetensors"):
        ll.load(tmp_path / "trap", WEIGHTS)
    assert not (tmp_path / "sprung").exists()


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "W"
    ll.save(path, WEIGHTS)

    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(whole.os, "fsync", full)
        with pytest.raises(OSError, match="W was not written, and is as it was before: No space left") as caught:
            ll.save(path, law())
    assert caught.value.errno == errno.ENOSPC
    assert bits(ll.load(path, WEIGHTS)) == bits(WEIGHTS)
    assert os.listdir(tmp_path) == ["W"]  # noqa: PTH208  # names, hidden ones too


def test_odd_places(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for place in ("pipe", "."):
        with pytest.raises(ValueError, match="no regular file"):
            ll.load(tmp_path / place, WEIGHTS)
    for odd in ("", None, 3):
        with pytest.raises(ValueError, match="path must be the name of a file"):
            ll.save(odd, WEIGHTS)
    with pytest.raises(FileNotFoundError):
        ll.load(tmp_path / "nothing", WEIGHTS)
    with pytest.raises(OSError, match="was not written"):
        ll.save(tmp_path / "no" / "folder", WEIGHTS)
    with pytest.raises(ValueError, match="complex128, which safetensors does not hold"):
        ll.save(tmp_path / "c", {"z": np.ones(2, complex)})
    with pytest.raises(ValueError, match="is a shape and no array"):
        ll.save(tmp_path / "s", jax.ShapeDtypeStruct((2,), jnp.float64))
