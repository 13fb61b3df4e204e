"""XOR learned by the motion of the paper's five neurons."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

import lagrangian_learning as ll
from lagrangian_learning.commands.residuals import recorded, relative_residuals

# Inputs and targets are 0 and 1: a tanh network without biases is odd, and XOR of ±1 is even.
INPUTS = ((0.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, 0.0))
TARGETS = (0.0, 1.0, 0.0, 1.0)
# One unit of time a pattern, half of it to go over to the next.
DWELL, RISE = 1.0, 0.5
GAMMA, THETA, MASS_RATIO = 0.5, 1.0, 1e-2
DURATION = 1000.0
RECORDS_A_UNIT = 8


class Motion(NamedTuple):
    """A motion, with what drives it and what it ends in.

    outputs: of the four patterns, with the weights at the end.
    residuals: what (8), (9) and D²G = 0 leave over at the recorded times, relative to their largest terms, at worst.
    """

    law: Any
    stimulus: ll.Stimulus
    path: ll.Trajectory
    outputs: Float[np.ndarray, " patterns"]
    residuals: Float[np.ndarray, " equations"]

    @property
    def learned(self) -> bool:
        """Whether the output is on its target's side of ½ for every pattern."""
        return bool(np.all((self.outputs > 0.5) == (np.array(TARGETS) > 0.5)))


def learn_xor(seed: int, duration: float = DURATION) -> Motion:
    """The motion of the cognitive action from the weights of a seed. Call it with x64 on."""
    network = ll.networks.xor_network()
    stimulus = ll.Stimulus(
        input=ll.Patterns(np.array(INPUTS), DWELL, RISE, periodic=True),
        target=ll.Patterns(np.array(TARGETS)[:, None], DWELL, RISE, periodic=True),
    )
    mass_W = GAMMA / THETA
    action = ll.CognitiveAction(
        network, mass_x=MASS_RATIO * mass_W, mass_W=mass_W, dissipation=ll.ExponentialDissipation(THETA)
    )
    law = action.law()
    state = law.initial_state(0.0, network.init(jax.random.key(seed)), args=stimulus)
    # Saved times are step ends, and patterns are C² where they start and end to rise: no step should go over that.
    ts = np.arange(round(duration * RECORDS_A_UNIT) + 1) / RECORDS_A_UNIT
    path = ll.simulate(law, state, ts, stimulus)
    W = path.final_state.q
    outputs = jax.vmap(lambda u: network.output(network.forward(W, u))[0])(jnp.asarray(INPUTS))
    return Motion(law, stimulus, path, np.asarray(outputs), np.asarray(_residuals(law, path, stimulus)))


@jax.jit
def _residuals(law: Any, path: ll.Trajectory, stimulus: ll.Stimulus) -> Array:
    def one(t: Array, record: tuple[PyTree, ...]) -> Array:
        return relative_residuals(law, t, record, stimulus)

    return jnp.max(jax.vmap(one)(path.ts, recorded(path)), axis=0)
