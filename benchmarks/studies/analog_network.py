"""Analog networks no two parts of which are alike, and what they have learned after a given time; of `analog_yield`."""

import functools
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

import lagrangian_learning as ll

NETWORK = ll.Layered((2, 4, 1))
TEACHER = 8  # the seed of its weights
FREQUENCY = (1.0, 0.77)  # of the inputs
SPREAD, FARTHEST = 0.2, 3.0  # of the logs of all speeds and rates; parts farther off, in spreads, are sorted out
SPEED, DURATION, STEP = 5.0, 60.0, 0.04  # the mean speed, which is the power; time to learn; of Heun, stable to c = 50
PARTS = (2, 4, 1, 4, 1)  # neurons of the input, hidden and output layer; error cells of the hidden and output layer
HELD_OUT = 8  # phases of each input in the held-out signals
BLOCK, CHUNK = 512, 64  # lanes of a call, and of a core at a time


class Analog(ll.AbstractLaw):
    """ẋ = c (σ(Wx) − x),  δ̇ = −c′ (G_ξᵀδ + V_ξ),  Ẇ_ij = η_ij σ′(a_i) δ_i x_j: (18), (20), constants of each part.

    Arguments:
        speed, error_speed: c and c′, like the neurons;  rate: η, like the weights.
    """

    speed: PyTree
    error_speed: PyTree
    rate: PyTree

    def rates(self, t: Any, state: ll.State, args: ll.Stimulus) -> ll.Rates:
        (x, W), delta = state.q, state.multipliers
        gap, pull_back = jax.vjp(lambda neurons: NETWORK.constraint(neurons, W, args.input(t)), x)
        slope = jax.grad(lambda neurons: ll.SquaredError()(NETWORK.output(neurons), args.target(t)))(x)
        x_dot = jax.tree.map(lambda c, g: -c * g, self.speed, gap)
        delta_dot = jax.tree.map(lambda c, r, v: -c * (r + v), self.error_speed, pull_back(delta)[0], slope)
        force = ll.learning.descent_force(NETWORK, x, W, delta)
        return ll.Rates(ll.State((x_dot, jax.tree.map(jnp.multiply, self.rate, force)), None, multipliers=delta_dot))


class Teacher(eqx.Module):
    """y(t) = f(W, u(t)), the output of a network of the same form."""

    W: PyTree
    input: ll.Sinusoids

    def __call__(self, t: Array) -> Array:
        return NETWORK.output(NETWORK.forward(self.W, self.input(t)))


class Device(NamedTuple):
    """What chance makes of a device: deviations of logs of its constants, its weights at the start, its phases.

    speed, error_speed: [3] arrays like the layers;  rate: like the weights.
    """

    speed: PyTree
    error_speed: PyTree
    rate: PyTree
    W: PyTree
    phase: Float[Array, "2"]


@functools.partial(jax.jit, static_argnums=1)
def devices(key: PRNGKeyArray, count: int, scale: Any = 1.0) -> Device:
    """Random ones, lanes first; scale: of all spreads."""
    return jax.vmap(functools.partial(_device, scale))(jax.random.split(key, count))


def _device(scale: Any, key: PRNGKeyArray) -> Device:
    def normal(k: int, like: PyTree) -> PyTree:
        leaves, form = jax.tree.flatten(like)
        keys = jax.random.split(jax.random.fold_in(key, k), len(leaves))
        draws = [
            scale * jax.random.truncated_normal(one, -FARTHEST, FARTHEST, leaf.shape, jnp.float32)
            for one, leaf in zip(keys, leaves, strict=True)
        ]
        return jax.tree.unflatten(form, draws)

    neurons = tuple(jnp.zeros(size) for size in NETWORK.sizes)
    W = NETWORK.init(jax.random.fold_in(key, 3), jnp.float32)
    phase = jax.random.uniform(jax.random.fold_in(key, 4), (2,), jnp.float32, maxval=2 * jnp.pi)
    return Device(normal(0, neurons), normal(1, neurons), normal(2, W), W, phase)


def made(design: Float[Array, "7"], device: Device) -> Analog:
    """A device of a design; the powers of its speeds are those of `speeds`."""
    c = speeds(design)
    layers = (c[0], c[1], c[2]), (c[0], c[3], c[4])  # nothing reads the errors of input neurons
    speed, error_speed = (
        jax.tree.map(lambda nominal, off: nominal * jnp.exp(SPREAD * off), given, offs)
        for given, offs in zip(layers, (device.speed, device.error_speed), strict=True)
    )
    rate = jax.tree.map(lambda log, off: jnp.exp(log + SPREAD * off), (design[0], design[1]), device.rate)
    return Analog(speed, error_speed, rate)


def speeds(design: Float[Array, "7"]) -> Float[Array, "5"]:
    """The nominal speeds of `PARTS`: their ratios are the design's, their sum over all neurons is the power."""
    parts = jnp.asarray(PARTS, design.dtype)
    c = jnp.exp(design[2:])
    return SPEED * jnp.sum(parts) * c / jnp.sum(parts * c)


def stimulus(device: Device) -> ll.Stimulus:
    """The inputs in the device's phases, and what the teacher makes of them."""
    shown = ll.Sinusoids(jnp.array(FREQUENCY, device.phase.dtype), jnp.ones_like(device.phase), device.phase)
    return ll.Stimulus(shown, Teacher(_teacher(device.phase), shown))


def held_out(W: PyTree) -> Array:
    """The loss over the power of the target, at inputs of all phases."""
    angles = jnp.arange(HELD_OUT, dtype=W[0].dtype) * (2 * jnp.pi / HELD_OUT)
    u = jnp.sin(jnp.stack(jnp.meshgrid(angles, angles), -1)).reshape(-1, 2)
    goals = _outputs(_teacher(u), u)
    return jnp.sum((_outputs(W, u) - goals) ** 2) / jnp.sum(goals**2)


def _outputs(W: PyTree, u: Float[Array, "inputs 2"]) -> Array:
    return jax.vmap(lambda u: NETWORK.output(NETWORK.forward(W, u)))(u)


def _teacher(like: Array) -> PyTree:
    return jax.tree.map(lambda w: w.astype(like.dtype), NETWORK.init(jax.random.key(TEACHER), jnp.float32))


def begun_at(device: Device) -> ll.State:
    """The device before it learns, its waves at rest."""
    return ll.BackpropDiffusion(NETWORK).initial_state(0.0, device.W, args=stimulus(device))


# -- learning ----------------------------------------------------------------------------------------------------------


def losses(designs: Float[np.ndarray, "lanes 7"], given: Device) -> np.ndarray:
    """Held-out losses after learning, a device of its own for each design; a batch that nothing differentiates.

    In blocks of one size, the last filled up, so that one program serves every number of lanes.
    """
    count = len(designs)
    filled = np.arange(-(-count // BLOCK) * BLOCK) % count
    lanes = jax.tree.map(lambda leaf: np.asarray(leaf)[filled], (designs, given))
    blocks = [jax.tree.map(lambda leaf, k=k: leaf[k : k + BLOCK], lanes) for k in range(0, len(filled), BLOCK)]
    return np.concatenate([_block(*block) for block in blocks])[:count]


def _block(designs: np.ndarray, given: Device) -> np.ndarray:
    laws, states, stimuli = _prepared(designs, given)
    path: Any = ll.simulate_batch(
        laws, states, [0.0, DURATION], stimuli, in_axes=(0, 0, 0), engine=ll.fused.FusedEngine(), chunk=CHUNK,
        solver=diffrax.Heun(), dt0=STEP, save=_nothing, watch="nothing", progress=False,
    )  # fmt: skip
    W = jax.tree.map(jnp.asarray, path.final_state.q[1])
    return np.where(path.result == ll.RESULTS.successful, np.asarray(_held_out(W)), np.inf)


@jax.jit
@jax.vmap
def _prepared(design: Array, device: Device) -> tuple[Analog, ll.State, ll.Stimulus]:
    return made(design, device), begun_at(device), stimulus(device)


_held_out = jax.jit(jax.vmap(held_out))


def _nothing(t: Array, observables: dict[str, PyTree]) -> Array:
    return t


def of_all(designs: np.ndarray, given: Device) -> np.ndarray:
    """Losses [designs, devices] of the same devices in all designs."""
    number, count = len(designs), len(given.phase)
    repeated = jax.tree.map(lambda leaf: np.tile(leaf, (number, *(1,) * (leaf.ndim - 1))), given)
    return losses(np.repeat(designs.astype(np.float32), count, axis=0), repeated).reshape(number, count)


def loss(design: Float[Array, "7"], device: Device) -> tuple[Array, Array]:
    """One device's held-out loss after learning, differentiable by the design through all of it; whether the run ended.

    A device whose run failed has the loss of its weights at the start, without a derivative.
    """
    path = ll.simulate(
        made(design, device), begun_at(device), np.array([0.0, DURATION]), stimulus(device), solver=diffrax.Heun(),
        dt0=STEP, save=_nothing, watch="nothing", throw=False,
    )  # fmt: skip
    ended = path.result == ll.RESULTS.successful
    W = jax.tree.map(lambda late, early: jnp.where(ended, late, early), path.final_state.q[1], device.W)
    return held_out(W), ended
