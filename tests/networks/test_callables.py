"""Layers as people write them. The oracle is a plain Equinox model and `jax.grad`."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.learning import GradientFlow
from lagrangian_learning.networks import Chain, Layered
from lagrangian_learning.signals import Stimulus
from tests.helpers import flat

KEYS = jax.random.split(jax.random.key(3), 4)
EACH = eqx.nn.Linear(4, 4, key=KEYS[0])
LAST = eqx.nn.Linear(8, 2, key=KEYS[1])
SCALE = jnp.array([1.0, -2.0, 0.5, 3.0])
U, Y = jnp.cos(jnp.arange(8.0)).reshape(2, 4), jnp.array([0.3, -0.7])


@jax.tree_util.register_pytree_node_class
class Registered:
    """A class of a user's, registered without key paths."""

    def __init__(self, linear):
        self.linear = linear

    def __call__(self, x):
        return jax.vmap(self.linear)(x)

    def tree_flatten(self):
        return (self.linear,), None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(*children)


class Opaque:
    def __init__(self, linear):
        self.linear = linear

    def __call__(self, x):
        return jax.vmap(self.linear)(x)


class ReadsAGlobal(eqx.Module):
    def __call__(self, x):
        return jax.vmap(EACH)(x)


class Static(eqx.Module):
    fn: object = eqx.field(static=True)

    def __call__(self, x):
        return self.fn(x)


def closed_over():
    linear = EACH
    return lambda x: jax.vmap(linear)(x)


def in_a_list():
    parts = {"layers": [EACH, SCALE]}
    return lambda x: jax.vmap(parts["layers"][0])(x)


def calls_a_function(x):
    return closed_over()(x)


def applied(linear, x):
    return jax.vmap(linear)(x)


def with_default(x, linear=EACH):
    return jax.vmap(linear)(x)


LAYERS = {
    "jax.vmap": jax.vmap(EACH),
    "filter_vmap": eqx.filter_vmap(EACH),
    "jit": jax.jit(jax.vmap(EACH)),
    "filter_jit": eqx.filter_jit(eqx.filter_vmap(EACH)),
    "partial": functools.partial(applied, EACH),
    "tree_util.Partial": jax.tree_util.Partial(applied, EACH),
    "eqx.Partial": eqx.Partial(applied, EACH),
    "bound method": jax.vmap(EACH.__call__),
    "Lambda": eqx.nn.Lambda(lambda x: jax.vmap(EACH)(x)),
    "closure": closed_over(),
    "container": in_a_list(),
    "default": with_default,
    "checkpoint": jax.checkpoint(lambda x: jax.vmap(EACH)(x)),
    "checkpoint of a module": jax.vmap(jax.checkpoint(EACH)),
    "filter_checkpoint": eqx.filter_checkpoint(eqx.filter_vmap(EACH)),
    "registered": Registered(EACH),
}


def chain(layer):
    return [layer, jnp.tanh, jnp.ravel, LAST]


def plain_gradient():
    def loss(parts):
        each, last = parts
        return jnp.sum((last(jnp.ravel(jnp.tanh(jax.vmap(each)(U)))) - Y) ** 2) / 2

    return flat(jax.grad(loss)((EACH, LAST)))


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_weights_of_modules_that_are_out_of_sight_are_weights(layer):
    network, W = Chain(chain(layer), U.shape), Chain.weights_of(chain(layer))
    assert network.num_weights == 38
    assert network == Chain(chain(layer), U.shape)
    np.testing.assert_array_equal(flat(W), flat((EACH, LAST)))

    def loss(W):
        return jnp.sum((network.output(network.forward(W, U)) - Y) ** 2) / 2

    np.testing.assert_allclose(flat(jax.grad(loss)(network.check_weights(W))), plain_gradient(), rtol=1e-12)


def test_a_law_moves_them():
    network = Chain(chain(jax.vmap(EACH)), U.shape)
    law, stimulus = GradientFlow(network), Stimulus(U, Y)
    state = law.initial_state(0.0, Chain.weights_of(chain(jax.vmap(EACH))), args=stimulus)
    velocities = law.velocities(0.0, state, stimulus)[0]
    np.testing.assert_allclose(flat(velocities), -plain_gradient(), rtol=1e-12)


def test_new_weights_are_drawn_for_them_and_two_wrappers_make_one_structure():
    networks = [Chain(chain(jax.vmap(eqx.nn.Linear(4, 4, key=key))), U.shape) for key in KEYS[2:]]
    assert networks[0] == networks[1]
    assert hash(networks[0]) == hash(networks[1])
    assert networks[0] != Chain(chain(jax.vmap(eqx.nn.Linear(4, 4, key=KEYS[2]), axis_size=2)), U.shape)
    (weight, bias), *_ = (jax.tree.leaves(layer) for layer in networks[0].init(KEYS[0]))
    assert weight.shape == (4, 4)
    assert np.std(weight) > 0.2
    assert not np.any(bias)


def test_bare_arrays_are_constants_and_the_printout_lists_them():
    network = Chain([functools.partial(jnp.multiply, SCALE), lambda x: jax.vmap(EACH)(x * SCALE), jnp.ravel], (2, 4))
    assert network.num_weights == 20
    assert [layer.constants for layer in network.layers] == [("float64[4]",), ("float64[4]",), ()]
    shown = " ".join(repr(network).split())
    assert "partial(constant: float64[4]), <lambda>(20 weights; constant: float64[4]), ravel" in shown


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Opaque(EACH), "reaches a module by way of Opaque, .*make that class an eqx.Module"),
        (jax.vmap(Opaque(EACH)), "by way of Opaque"),
        (lambda x: Opaque(EACH)(x), None),
        (ReadsAGlobal(), "by way of ReadsAGlobal"),
        (lambda x: ReadsAGlobal()(x), "by way of ReadsAGlobal"),
        (Static(jax.vmap(EACH.__call__)), "by way of Static"),
        (lambda x: with_default(x) + jax.vmap(EACH)(x), "one array in two ways"),
    ],
)
def test_what_is_out_of_reach_is_refused_by_name(layer, message):
    if message is None:  # a module that the function hands on is one that it reaches
        assert Chain(chain(layer), U.shape).num_weights == 38
        return
    with pytest.raises(ValueError, match=f"layer 1 of the chain, .*{message}") as caught:
        Chain(chain(layer), U.shape)
    assert len(str(caught.value)) <= 300


def counted(x, times):
    """A function that calls itself, and through itself the module that it reads."""
    return counted(jax.vmap(EACH)(x), times - 1) if times else x


def test_a_weight_that_stays_a_constant_as_well_is_refused():
    assert Chain(chain(lambda x: counted(x, 1)), U.shape).num_weights == 38
    with pytest.raises(ValueError, match="holds a weight as a constant as well"):
        Chain(chain(lambda x: counted(x, 2)), U.shape)


def test_constants_of_float64_ask_for_float64():
    mean = np.linspace(0.0, 1.0, 3)
    network = Chain([lambda x: (x - mean) / 2.0, eqx.nn.Linear(3, 2, key=KEYS[0])], 3)
    W = network.init(KEYS[1])
    expected = W[1].weight @ ((1 - mean) / 2) + W[1].bias
    np.testing.assert_allclose(network.forward(W, jnp.ones(3))[-1], expected, rtol=1e-14)
    with pytest.raises(ValueError, match=r"layer 1 of the chain, <lambda>, does not keep float32.*in float64"):
        network.check_weights(jax.tree.map(lambda w: w.astype(jnp.float32), W))


def test_a_layer_of_float32_is_used_in_float32():
    network = Chain([lambda x: x * np.ones(3, np.float32), eqx.nn.Linear(3, 2, key=KEYS[0])], 3)
    assert network.check_weights(network.init(KEYS[1], jnp.float32))[1].weight.dtype == jnp.float32
    with pytest.raises(ValueError, match="does not keep float64"):
        network.check_weights(network.init(KEYS[1]))


def test_an_activation_with_a_float64_constant_is_one_of_float64():
    network = Layered((2, 2, 1), activation=lambda a: np.float64(1.7159) * jnp.tanh(a))
    W = network.check_weights(network.init(KEYS[0]))
    hidden = 1.7159 * np.tanh(W[0] @ np.ones(2))
    np.testing.assert_allclose(network.forward(W, jnp.ones(2))[1], hidden, rtol=1e-14)
    with pytest.raises(ValueError, match=r"activation .* float32.* or take weights of the dtype of its constants"):
        network.check_weights(network.init(KEYS[0], jnp.float32))
