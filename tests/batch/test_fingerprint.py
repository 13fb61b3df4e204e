"""What a run is made from has one fingerprint, and a change that could change a result changes it."""

import functools
import types

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from lagrangian_learning.batch.fingerprint import fingerprint

SOURCE = """
import math
GAIN = {gain}
class Spring:
    stiffness = 2.0
    def force(self, q):
        return {body}
def helper(q):
    return {inner} * q
def outer(q, scale={default}):
    inside = lambda r: GAIN * helper(r)
    return inside(q) * math.sin(scale)
def made(k):
    return lambda q: k * q
closed = made({closed})
"""


def module(**changes):
    """A user's module, compiled anew, as another process would see it."""
    words = {"gain": "3.0", "body": "-q", "inner": "2", "default": "1.0", "closed": "4.0", **changes}
    made = types.ModuleType("users_module")
    exec(SOURCE.format(**words), vars(made))  # noqa: S102  # our own code
    return made


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("outer", {"gain": "3.5"}),
        ("outer", {"inner": "2 + 1e-9"}),
        ("outer", {"default": "1.5"}),
        ("closed", {"closed": "4.5"}),
        ("Spring", {"body": "-2 * q"}),
    ],
)
def test_code_and_what_it_sees(name, change):
    same, other = getattr(module(), name), getattr(module(**change), name)
    mine = fingerprint(getattr(module(), name))
    assert fingerprint(same) == mine != fingerprint(other)
    assert fingerprint(functools.partial(same, 1)) != fingerprint(functools.partial(same, 2))


def test_instances_by_class_and_contents():
    springs = [module().Spring(), module().Spring(), module(body="q").Spring(), module().Spring()]
    springs[3].stiffness = 3.0
    prints = [fingerprint(spring) for spring in springs]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_arrays_by_their_bits():
    values = [np.zeros(3), np.zeros(3, np.float32), np.zeros((3, 1)), -np.zeros(3), np.zeros(4), 0.0, 0, False, None]
    assert len({fingerprint(value) for value in values}) == len(values)
    assert fingerprint(np.arange(6).reshape(2, 3).T) == fingerprint(np.arange(6).reshape(2, 3).T.copy())
    assert fingerprint(jnp.arange(3.0)) == fingerprint(np.arange(3.0))
    assert fingerprint(jax.random.key(1)) != fingerprint(jax.random.key(2))


def test_laws():
    network = ll.Layered((2, 2, 1))
    base = ll.CognitiveAction(network, mass_x=1e-2).law()
    others = [
        ll.CognitiveAction(network, mass_x=2e-2).law(),
        ll.CognitiveAction(network, mass_x=1e-2).law("full"),
        ll.CognitiveAction(ll.Layered((2, 2, 1), activation="logistic"), mass_x=1e-2).law(),
        ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, args: jnp.dot(v, v) / 2 - q[1])),
        ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, args: jnp.dot(v, v) / 2 - 2 * q[1])),
    ]
    assert fingerprint(ll.CognitiveAction(network, mass_x=1e-2).law()) == fingerprint(base)
    assert len({fingerprint(law) for law in [base, *others]}) == len(others) + 1


def test_containers_and_cycles():
    loop = [1]
    loop.append(loop)
    again = [1]
    again.append(again)
    assert fingerprint(loop) == fingerprint(again) != fingerprint([1, [1]])
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 2, "b": 1})
    assert fingerprint({3, 1}) == fingerprint({1, 3})
    assert fingerprint((1, 2)) != fingerprint([1, 2])
    assert fingerprint(jax.jit(module().helper)) != fingerprint(jax.jit(module(inner="3").helper))
    shared = [np.ones(2)]
    assert fingerprint([shared, shared]) == fingerprint([[np.ones(2)], [np.ones(2)]])


def test_what_cannot_be_known_is_refused():
    with pytest.raises(ValueError, match="only its address is known"):
        fingerprint(eqx.nn.Lambda(object()))
    with pytest.raises(ValueError, match="Python objects"):
        fingerprint(np.array([object()]))
