"""Nine speakers told apart: the cognitive action of a 12 + constant → 32 → 9 network, driven by a stream of speech."""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

import lagrangian_learning as ll

# Chosen by benchmarks/speech_constants.py, by mean accuracy on three training recordings a speaker that were left out,
# over eight choices of them; no test recording was looked at. Numbers: benchmarks/results/speech_constants.json.
GAMMA = 140.0
THETA = 1.0
MASS_RATIO = 1e-4

NETWORK = ll.Layered((13, 32, 9))
PASSES = 20
# Two steps a frame, one frame a unit of time.
STEP = 0.5
# A piece of 1024 frames keeps local time exact in float32, records of a piece under 10 MB, and a second away from
# the next word of progress.
PIECE = 1024
# Compiles in 0.85 of the time, and runs as fast.
_CHEAPER: dict[str, Any] = {"xla_backend_optimization_level": 1}


@dataclasses.dataclass(frozen=True)
class Constants:
    """The physical constants of a run: gamma γ = ϑ m_W, theta ϑ, and mass_ratio m_x/m_W."""

    gamma: float = GAMMA
    theta: float = THETA
    mass_ratio: float = MASS_RATIO

    @property
    def mass_W(self) -> float:
        """m_W = γ/ϑ."""
        return self.gamma / self.theta

    @property
    def mass_x(self) -> float:
        """m_x."""
        return self.mass_ratio * self.mass_W

    def law(self) -> ll.laws.ReducedDynamics:
        """The Euler–Lagrange equations (8)–(10) of the cognitive action with these constants."""
        action = ll.CognitiveAction(
            NETWORK,
            potential=ll.SquaredError(),
            mass_x=self.mass_x,
            mass_W=self.mass_W,
            dissipation=ll.ExponentialDissipation(self.theta),
        )
        return action.law()  # pyright: ignore[reportReturnType]


class Task(NamedTuple):
    """What is learned: the stream, the start, and the recordings that only are measured."""

    train: ll.data.Recordings
    judged: ll.data.Recordings
    order: np.ndarray
    stimulus: ll.Stimulus
    W: PyTree

    @property
    def num_frames(self) -> int:
        """Frames of the whole stream, all passes together."""
        return self.stimulus.input.num_frames  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def outputs_at_start(self) -> Array:
        """The outputs at the first frame of the stream, before anything is learned."""
        return _first_outputs(self.W, self.stimulus)

    def outputs(self, W: PyTree) -> Array:
        """The outputs of the network with weights W at every judged frame [frames, 9]."""
        return _outputs(W, jnp.asarray(self.judged.inputs()))

    def accuracy(self, W: PyTree) -> float:
        """The share of judged recordings whose largest mean output is their speaker's."""
        return float(self.judged.accuracy(self.outputs(W)))


def make_task(seed: int, train: ll.data.Recordings, judged: ll.data.Recordings, passes: int = PASSES) -> Task:
    """The stream of `passes` shuffled passes and the initial weights of a seed; scales come from `train` alone."""
    order_key, weight_key = jax.random.split(jax.random.key(seed))
    train, judged = ll.data.standardise(train, judged)
    order = train.shuffled(order_key, passes)
    stimulus = train.stream(order, ll.data.label_codes(NETWORK.num_outputs))
    return Task(train, judged, order, stimulus, NETWORK.init(weight_key, jnp.float32))


class Piece(NamedTuple):
    """A piece of the run: its first frame, how many frames it takes, the stimulus in local time, what was recorded."""

    first: int
    length: int
    stimulus: ll.Stimulus
    path: ll.Trajectory

    @property
    def at_frames(self) -> np.ndarray:
        """Which records are those of the frames first, …, first + length."""
        return np.concatenate([[0], PIECE - self.length + np.arange(1, self.length + 1)])


class Learner:
    """Integrates a law along a stream, piece by piece in local time, with one compiled run for all pieces.

    Arguments:
        law: a learning law; its constants may differ from those of the run that was compiled.
        state, stimulus: as the run starts.
        save: what to record at every frame; None: everything.
        meanwhile: called with a piece of zeros while another thread compiles, to compile what reads pieces.

    `compile_s` is the time that compilation took.
    """

    def __init__(
        self,
        law: Any,
        state: PyTree,
        stimulus: ll.Stimulus,
        save: Callable | None = None,
        meanwhile: Callable[[Piece], object] | None = None,
    ):
        start = time.perf_counter()
        times = jnp.asarray(_times(PIECE), jnp.float32)
        lowered = jax.jit(functools.partial(_piece, save=save)).lower(law, state, times, stimulus)
        with ThreadPoolExecutor(1) as beside:
            compiling = beside.submit(lowered.compile, _CHEAPER if jax.default_backend() == "cpu" else None)
            if meanwhile is not None:
                path = jax.tree.map(lambda like: np.zeros(like.shape, like.dtype), lowered.out_info)
                meanwhile(Piece(0, PIECE, stimulus.shift(0), path))
            self._compiled = compiling.result()
        self.compile_s = time.perf_counter() - start

    def pieces(self, law: Any, state: PyTree, stimulus: ll.Stimulus, num_frames: int) -> Iterator[Piece]:
        """The pieces of a run over the first `num_frames` frames, as they are done."""
        for first in range(0, num_frames - 1, PIECE):
            length = min(PIECE, num_frames - 1 - first)
            local = stimulus.shift(first)
            path = self._compiled(law, state, jnp.asarray(_times(length), jnp.float32), local)
            if path.result != ll.RESULTS.successful:
                raise RuntimeError(
                    f"the motion ended within frames {first} to {first + length}: {ll.RESULTS[path.result]}"
                )
            state = jax.block_until_ready(path.final_state)
            yield Piece(first, length, local, path)


def _piece(law: Any, state: PyTree, times: Array, stimulus: ll.Stimulus, save: Callable | None) -> ll.Trajectory:
    return ll.simulate(law, state, times, stimulus, solver=diffrax.Heun(), dt0=STEP, save=save, throw=False)


def _times(length: int) -> np.ndarray:
    """A record a frame. A shorter piece has as many records, the further ones within its first frame, so that what was
    compiled serves it too.
    """
    return np.concatenate([np.linspace(0, 1, PIECE + 2 - length), np.arange(2, length + 1)])


@jax.jit
def _first_outputs(W: PyTree, stimulus: ll.Stimulus) -> Array:
    return NETWORK.output(NETWORK.forward(W, stimulus.input(jnp.zeros((), jnp.float32))))


@jax.jit
def _outputs(W: PyTree, inputs: Array) -> Array:
    return jax.vmap(lambda u: NETWORK.output(NETWORK.forward(W, u)))(inputs)
