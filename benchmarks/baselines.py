"""What others do with the paper's XOR network, many at once: the same equations, the same steps, other machines.

Equations (8) and (10) in reduced coordinates, tanh neurons 3, 4, 5 on inputs 1, 2, formed densely by hand,

    (G_ξ G_ξᵀ/m_x + G_M G_Mᵀ/m_W) δ = γ₂ − ϑ(G_ξ ẋ + G_M Ẇ) − G_ξ V_ξ/m_x,   Ẅ = −ϑẆ − G_Mᵀ δ/m_W

by Heun's method with constant steps. `jax.vmap` of a plain `diffrax.diffeqsolve`, and torchdiffeq with all lanes in
one tensor, each in the fastest setting that its documentation gives; a C program (xor_ensemble.c), compiled here, with
the same equations written out on scalars; and NumPy, slow, to check them all: (10) as `verify` has it by hand.
"""

import ctypes
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from lagrangian_learning.verify.handwritten import HandEquations, Moment, layered

STEP, MASS_X, MASS_W, THETA, TARGET = 0.01, 1e-2, 1.0, 1.0, 0.3
TO, FROM = np.array([2, 2, 3, 3, 4, 4]), np.array([0, 1, 0, 1, 2, 3])
XOR = layered((2, 2, 1))
SOURCE = Path(__file__).with_suffix(".c").with_name("xor_ensemble.c")
# The second asks what the compiler's leave to reorder sums is worth.
FLAGS = {
    "C": ("-O3", "-march=native", "-ffast-math", "-mprefer-vector-width=512"),
    "C, strict": ("-O3", "-march=native", "-mprefer-vector-width=512"),
}
PORTABLE = ("-O3", "-ffast-math")


class Ensemble(NamedTuple):
    """Lanes that differ in weights, their velocities and inputs sin(frequency t + phase): W, W_dot [lanes, 6] in the
    order w31 w32 w41 w42 w53 w54, frequency, phase [lanes, 2].
    """

    W: np.ndarray
    W_dot: np.ndarray
    frequency: np.ndarray
    phase: np.ndarray


def ensemble(lanes: int, dtype: Any = np.float64, seed: int = 0) -> Ensemble:
    """Lanes drawn at random."""
    random = np.random.default_rng(seed)
    W, W_dot = random.normal(size=(2, lanes, 6))
    frequency, phase = random.uniform(0.5, 1.5, (lanes, 2)), random.uniform(0, 2 * np.pi, (lanes, 2))
    return Ensemble(*(np.asarray(leaf, dtype) for leaf in (W, 0.3 * W_dot, frequency, phase)))


# -- JAX: vmap of diffeqsolve, dense -----------------------------------------------------------------------------------


def dense_field(t: Any, y: Any, args: Any) -> Any:
    """(Ẇ, Ẅ) of one lane: the saddle-point system as a matrix of five neurons, by Cholesky."""
    (W, W_dot), (frequency, phase) = y, args
    angle = frequency * t + phase
    e, e_dot = jnp.sin(angle), frequency * jnp.cos(angle)
    x3, v3, g3, s3 = _layer(W[:4].reshape(2, 2), W_dot[:4].reshape(2, 2), e, e_dot)
    x5, _, g5, s5 = _layer(W[4:].reshape(1, 2), W_dot[4:].reshape(1, 2), x3, v3)
    x, slope = jnp.concatenate([e, x3, x5]), jnp.concatenate([jnp.zeros_like(e), s3, s5])
    closing = jnp.concatenate([frequency**2 * e - THETA * e_dot, g3, g5])
    of_input = slope[TO] * x[FROM]  # −G_M, one entry a weight
    G = jnp.eye(5, dtype=W.dtype).at[TO, FROM].add(-slope[TO] * W)
    diagonal = jnp.zeros_like(x).at[TO].add(of_input**2) / MASS_W
    right = closing - G[:, 4] * (x[4] - TARGET) / MASS_X
    schur = G @ G.T / MASS_X + jnp.diag(diagonal)
    delta = jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(schur, lower=True), right)
    return W_dot, of_input * delta[TO] / MASS_W - THETA * W_dot


def _layer(W: Any, W_dot: Any, x: Any, x_dot: Any) -> tuple[Any, Any, Any, Any]:
    """Outputs of a layer, their velocities, γ₂ and the slopes."""
    value = jnp.tanh(W @ x)
    slope, a_dot, bent = 1 - value**2, W @ x_dot + W_dot @ x, W_dot @ x_dot
    return value, slope * a_dot, 2 * slope * (value * a_dot**2 - bent), slope


@jax.jit
def _diffeqsolve(lanes: Ensemble, end: Any) -> Any:
    def one(lane: Ensemble) -> Any:
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(dense_field),
            diffrax.Heun(),
            jnp.zeros_like(end),
            end,
            jnp.full_like(end, STEP),
            (lane.W, lane.W_dot),
            (lane.frequency, lane.phase),
            saveat=diffrax.SaveAt(t1=True),
            adjoint=diffrax.ForwardMode(),  # keeps nothing for a gradient
            max_steps=None,
            throw=False,
        )
        return jnp.concatenate([leaf[0] for leaf in solution.ys])

    return jax.vmap(one)(lanes)


def jax_dense(lanes: Ensemble, steps: int) -> Callable[[], Any]:
    """A call that moves all lanes, compiled at its first: (W, Ẇ) [lanes, 12]."""
    placed = jax.tree.map(jnp.asarray, lanes)
    return lambda: _diffeqsolve(placed, jnp.asarray(steps * STEP, lanes.W.dtype))


# -- PyTorch -----------------------------------------------------------------------------------------------------------


def missing_torch() -> str | None:
    """Why torchdiffeq cannot be timed, or None."""
    missing = [name for name in ("torch", "torchdiffeq") if importlib.util.find_spec(name) is None]
    return f"{' and '.join(missing)} not installed: the extra bench-torch has them" if missing else None


def torchdiffeq_dense(lanes: Ensemble, steps: int, threads: int) -> Callable[[], Any]:
    """A call that moves all lanes by torchdiffeq's heun2: the same dense equations, lanes first on every tensor."""
    import torch
    import torchdiffeq

    torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    W, W_dot, frequency, phase = (torch.as_tensor(leaf, device=device) for leaf in lanes)
    identity = torch.eye(5, dtype=W.dtype, device=device)
    to, source = (torch.as_tensor(index, device=device) for index in (TO, FROM))

    def layer(W: Any, W_dot: Any, x: Any, x_dot: Any) -> tuple[Any, Any, Any, Any]:
        value = torch.tanh((W * x[:, None]).sum(-1))
        slope, a_dot = 1 - value**2, (W * x_dot[:, None] + W_dot * x[:, None]).sum(-1)
        bent = (W_dot * x_dot[:, None]).sum(-1)
        return value, slope * a_dot, 2 * slope * (value * a_dot**2 - bent), slope

    def field(t: Any, y: Any) -> Any:
        W, W_dot = y[:, :6], y[:, 6:]
        angle = frequency * t + phase
        e, e_dot = torch.sin(angle), frequency * torch.cos(angle)
        x3, v3, g3, s3 = layer(W[:, :4].reshape(-1, 2, 2), W_dot[:, :4].reshape(-1, 2, 2), e, e_dot)
        x5, _, g5, s5 = layer(W[:, 4:].reshape(-1, 1, 2), W_dot[:, 4:].reshape(-1, 1, 2), x3, v3)
        x, slope = torch.cat([e, x3, x5], 1), torch.cat([torch.zeros_like(e), s3, s5], 1)
        closing = torch.cat([frequency**2 * e - THETA * e_dot, g3, g5], 1)
        of_input = slope[:, to] * x[:, source]
        G = identity.repeat(len(x), 1, 1)
        G[:, to, source] = -slope[:, to] * W
        diagonal = torch.zeros_like(x).index_add_(1, to, of_input**2) / MASS_W
        right = closing - G[:, :, 4] * (x[:, 4:] - TARGET) / MASS_X
        factor, _ = torch.linalg.cholesky_ex(G @ G.mT / MASS_X + torch.diag_embed(diagonal))
        delta = torch.cholesky_solve(right[..., None], factor)[..., 0]
        return torch.cat([W_dot, of_input * delta[:, to] / MASS_W - THETA * W_dot], 1)

    start, ends = torch.cat([W, W_dot], 1), torch.tensor([0.0, steps * STEP], dtype=W.dtype, device=device)
    grid = torch.linspace(0.0, steps * STEP, steps + 1, dtype=W.dtype, device=device)

    def run() -> np.ndarray:
        with torch.no_grad():
            options = {"grid_constructor": lambda *_: grid}
            return torchdiffeq.odeint(field, start, ends, method="heun2", options=options)[-1].cpu().numpy()

    return run


# -- C -----------------------------------------------------------------------------------------------------------------


def c_compiler() -> str | None:
    """The C compiler at hand, or None."""
    names = (os.environ.get("CC"), "gcc", "cc", "clang")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def built(flags: tuple[str, ...], dtype: Any) -> ctypes.CDLL:
    """The C program as a library, for this processor; without its special flags where the compiler refuses them."""
    compiler = c_compiler()
    if compiler is None:
        raise ValueError("no C compiler was found: install gcc or clang, or name one in the variable CC.")
    folder = Path(tempfile.mkdtemp(prefix="xor-ensemble-"))
    single = ["-DSINGLE"] if np.dtype(dtype) == np.float32 else []
    for tried in ((*flags, "-fopenmp"), (*PORTABLE, "-fopenmp"), PORTABLE):
        # Linked without -ffast-math: gcc would add start-up code that rounds this whole process' subnormals to zero.
        openmp = [flag for flag in tried if flag == "-fopenmp"]
        compiled = [compiler, *tried, *single, "-fPIC", "-c", str(SOURCE), "-o", str(folder / "library.o")]
        linked = [compiler, *openmp, "-shared", str(folder / "library.o"), "-o", str(folder / "library.so"), "-lm"]
        for call in (compiled, linked):
            done = subprocess.run(call, capture_output=True, text=True, check=False)
            if done.returncode:
                break
        else:
            return ctypes.CDLL(str(folder / "library.so"))
    raise ValueError(f"{compiler} cannot compile {SOURCE.name}: {done.stderr}")


def c_program(library: ctypes.CDLL, lanes: Ensemble, steps: int, threads: int) -> Callable[[], np.ndarray]:
    """A call that moves all lanes by the library: (W, Ẇ) [lanes, 12]."""
    real = np.ctypeslib.ndpointer(lanes.W.dtype, flags="C_CONTIGUOUS")
    constants = np.array([TARGET, MASS_X, MASS_W, THETA])
    library.heun.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_double, real, real]
    library.heun.argtypes += [np.ctypeslib.ndpointer(np.float64), ctypes.c_int]
    library.heun.restype = None
    start = np.ascontiguousarray(np.concatenate([lanes.W, lanes.W_dot], 1).T)
    inputs = np.ascontiguousarray(np.concatenate([lanes.frequency, lanes.phase], 1).T)

    def run() -> np.ndarray:
        state = start.copy()
        library.heun(state.shape[1], steps, STEP, state, inputs, constants, threads)
        return state.T

    return run


# -- NumPy -------------------------------------------------------------------------------------------------------------


def reference(lanes: Ensemble, steps: int) -> np.ndarray:
    """(W, Ẇ) [lanes, 12] in float64, lane by lane and neuron by neuron, by the equations in NumPy."""
    return np.stack([_numpy_lane(*(leaf[k].astype(np.float64) for leaf in lanes), steps) for k in range(len(lanes.W))])


def _numpy_lane(W: np.ndarray, W_dot: np.ndarray, frequency: np.ndarray, phase: np.ndarray, steps: int) -> np.ndarray:
    y = np.concatenate([W, W_dot])
    for n in range(steps):
        first = numpy_rates(n * STEP, y, frequency, phase)
        y = y + STEP / 2 * (first + numpy_rates((n + 1) * STEP, y + STEP * first, frequency, phase))
    return y


def numpy_rates(t: float, y: np.ndarray, frequency: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """(Ẇ, Ẅ) at (W, Ẇ), from (4), (9) and (10) by hand."""
    W, W_dot = np.split(y, 2)
    angle = frequency * t + phase
    x = XOR.settle(W, np.sin(angle))
    x_dot = XOR.rates(x, W, W_dot, frequency * np.cos(angle))
    at = Moment(x, W, x_dot, W_dot, -(frequency**2) * np.sin(angle), weight_dot=THETA)
    pull = -XOR.outputs(x[-1:] - TARGET)
    return np.concatenate([W_dot, HandEquations(XOR, MASS_X, MASS_W).accelerations(at, pull, np.zeros(6))[1]])
