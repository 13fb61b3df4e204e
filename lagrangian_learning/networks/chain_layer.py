"""One layer of a chain: any callable of one array, taken apart into weights and what is fixed."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from lagrangian_learning._jaxprs import constants

from ._checks import probe_dtypes
from .activations import smoothness
from .callables import HiddenModuleError, opened
from .convolutions import channels_last, convolves
from .edges import FrozenArray


@final
class FrozenPytree:
    """A pytree held hashably. Raises TypeError for leaves and static fields that cannot be hashed."""

    def __init__(self, tree: PyTree) -> None:
        leaves, self.structure = jax.tree.flatten(tree)
        self.leaves = tuple(FrozenArray(np.asarray(leaf)) if eqx.is_array(leaf) else _held(leaf) for leaf in leaves)
        self._hash = hash((self.leaves, self.structure))

    def thawed(self) -> PyTree:
        """The pytree itself, its arrays JAX's."""
        leaves = [jnp.asarray(leaf.array) if isinstance(leaf, FrozenArray) else leaf for leaf in self.leaves]
        return jax.tree.unflatten(self.structure, leaves)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, FrozenPytree) or hash(self) != hash(other):
            return False
        return self.structure == other.structure and self.leaves == other.leaves


def _held(leaf: Any) -> Any:
    return FrozenArray(leaf) if isinstance(leaf, np.ndarray) else leaf


_NORMALISATIONS = (eqx.nn.LayerNorm, eqx.nn.GroupNorm, eqx.nn.RMSNorm)
_KINKED_POOLING = (jax.lax.max, jax.lax.min, jnp.max, jnp.min)


@dataclasses.dataclass(frozen=True)
class _Normal:
    """Weights that are LeCun normal at first: fan-in over all axes but the first."""

    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class _Zero:
    """Biases, zero at first."""

    shape: tuple[int, ...]


Shape = tuple[int, ...]


@final
class ChainLayer:
    """f(W_l, x): a callable whose inexact arrays are W_l, a pytree like the callable with None for all that is fixed.

    Modules that the callable reaches through closures, partials, bound methods or wrappers are part of it, see
    `opened`; arrays that no module holds are constants, which `constants` lists.

    Arguments:
        module: the callable, examined here and nowhere else: it is traced once on an array of `input_shape`.
        number: its place in the chain, for messages.
        input_shape: of the layer below.

    Raises ValueError for a module that is non-callable, keeps state, draws random numbers, cannot be held statically,
    or does not turn one array of that shape into one array.
    """

    name: str
    input_shape: Shape
    output_shape: Shape
    smoothness: int | float
    bias: bool | None
    """Whether a linear map of vectors adds a bias; None for any other module."""
    convolves: bool
    constants: tuple[str, ...]
    """Dtype and shape of each array that is no weight."""
    dtype: Any
    """In which the layer was examined: JAX's default, or float32 where its constants ask for it."""

    def __init__(self, module: Any, number: int, input_shape: Shape) -> None:
        self.name, self.input_shape = _name_of(module), input_shape
        self._label = label = f"layer {number} of the chain, {self.name},"
        module = _checked(module, label)
        weights, fixed = eqx.partition(module, eqx.is_inexact_array)
        _check_real(weights, label)
        self.smoothness, self.bias = _smoothness(fixed), _bias(module)
        try:
            self._fixed = FrozenPytree(fixed)
            self._start = FrozenPytree(_start(weights))
        except TypeError as error:
            raise ValueError(
                f"{label} cannot be held statically ({error}): its fields other than arrays must be hashable."
            ) from error
        self._examine(weights)

    def __call__(self, weights: PyTree, x: Float[Array, "..."]) -> Array:
        """f(W_l, x), by example where x has a batch axis before those of the layer."""
        module = self.module(weights)
        function = channels_last(module) if self.convolves else module
        return jax.vmap(function)(x) if x.ndim > len(self.input_shape) else function(x)

    def module(self, weights: PyTree) -> Callable[[Array], Array]:
        """The callable with these weights in it."""
        return eqx.combine(weights, self._fixed.thawed())

    def init(self, key: PRNGKeyArray, dtype: DTypeLike) -> PyTree:
        """The initial weights."""
        leaves, structure = jax.tree.flatten(self._start.thawed())
        keys = jax.random.split(key, max(len(leaves), 1))
        return jax.tree.unflatten(structure, [_initial(leaf, k, dtype) for leaf, k in zip(leaves, keys, strict=False)])

    @property
    def weight_shapes(self) -> PyTree:
        """W_l as a pytree of `jax.ShapeDtypeStruct`."""
        return self._shapes(jnp.float32)

    @property
    def num_weights(self) -> int:
        """How many scalars W_l has."""
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(self.weight_shapes))

    def check_dtype(self, dtype: Any) -> None:
        """ValueError for weights of a dtype that this layer does not keep, as its own constants are of another."""
        if dtype != self.dtype and not _keeps(self, dtype):
            raise ValueError(
                f"{self._label} does not keep {dtype}, because of constants of another dtype in it: take weights and "
                f"signals in {self.dtype}, or make the constants Python numbers."
            )

    def __hash__(self) -> int:
        return hash(self._identity)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChainLayer) and self._identity == other._identity

    def __repr__(self) -> str:
        held = [f"{self.num_weights} weights"] if self.num_weights else []
        held += [f"constant: {', '.join(self.constants)}"] if self.constants else []
        return f"{self.name}({'; '.join(held)})" if held else self.name

    @property
    def _identity(self) -> tuple[FrozenPytree, FrozenPytree, Shape]:
        return self._fixed, self._start, self.input_shape

    def _shapes(self, dtype: Any) -> PyTree:
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype), self._start.thawed())

    def _examine(self, weights: PyTree) -> None:
        """Find the shape of f(W_l, x), its dtype, what it holds constant, and whether it convolves."""
        self.dtype, (traced, above, wrong) = self._first_that_fits()
        if wrong is not None:
            raise ValueError(wrong)
        held = [array for array in constants(traced) if hasattr(array, "shape")]
        own = {id(leaf) for leaf in jax.tree.leaves(weights)}
        if any(id(array) in own for array in held):
            raise ValueError(
                f"{self._label} holds a weight as a constant as well, as a function that calls itself does: make it an "
                "eqx.Module."
            )
        self.output_shape, self.convolves = above.shape, convolves(traced.jaxpr)
        self.constants = tuple(f"{array.dtype}{list(array.shape)}" for array in held)

    def _first_that_fits(self) -> tuple[Any, tuple[Any, Any, str | None]]:
        default, *others = probe_dtypes()
        first = self._traced(default)
        tries = ((dtype, self._traced(dtype)) for dtype in others) if first[2] else ()
        return next((found for found in tries if found[1][2] is None), (default, first))

    def _traced(self, dtype: Any) -> tuple[Any, Any, str | None]:
        """The program in a dtype, its result, and what is wrong with it."""
        tried = f"{self._label[:-1]}, on a {dtype} array of shape {self.input_shape}"
        below = jax.ShapeDtypeStruct(self.input_shape, dtype)
        program = jax.make_jaxpr(lambda W, x: self.module(W)(x), return_shape=True)
        try:
            traced, above = program(self._shapes(dtype), below)
        except Exception as error:  # noqa: BLE001 - whatever a user's layer raises is the reason
            reason = f"{type(error).__name__}: {error}".partition("\n")[0][:120]
            wrong = (
                f"{tried} fails ({reason}): a layer is called with one array and nothing else; look at input_shape. "
            )
            return None, None, f"{wrong}One that needs a key or a state cannot be a constraint."
        if isinstance(above, jax.ShapeDtypeStruct) and above.dtype == below.dtype:
            return traced, above, None
        return None, None, f"{tried} gives {above}: a layer of neurons is one array, in the dtype of its input."


@functools.lru_cache(maxsize=256)
def _keeps(layer: ChainLayer, dtype: Any) -> bool:
    return layer._traced(dtype)[2] is None  # noqa: SLF001 - its own


def _bias(module: Any) -> bool | None:
    if type(module) is not eqx.nn.Linear or "scalar" in (module.in_features, module.out_features):
        return None
    return module.use_bias


def _name_of(module: Any) -> str:
    name, wrapped = getattr(module, "__name__", None), getattr(module, "__wrapped__", None)
    if wrapped is not None and (not isinstance(name, str) or name.startswith("<unnamed")):
        return _name_of(wrapped)
    return name if isinstance(name, str) else type(module).__name__


# -- initial weights ---------------------------------------------------------------------------------------------------


def _start(weights: PyTree) -> PyTree:
    """A rule for every weight and bias; scales and offsets of normalisations, and all other arrays, as given."""

    def rule(path: tuple[Any, ...], part: Any) -> Any:
        if isinstance(part, _NORMALISATIONS):
            return part
        field = getattr(path[-1], "name", None) if path else None
        if field == "weight" and part.ndim > 1:
            return _Normal(part.shape)
        return _Zero(part.shape) if field == "bias" else part

    return jax.tree_util.tree_map_with_path(rule, weights, is_leaf=lambda part: isinstance(part, _NORMALISATIONS))


def _initial(rule: _Normal | _Zero | Array, key: PRNGKeyArray, dtype: DTypeLike) -> Array:
    if isinstance(rule, _Normal):
        fan_in = max(math.prod(rule.shape[1:]), 1)
        return jax.random.normal(key, rule.shape, dtype) * jnp.asarray(fan_in**-0.5, dtype)
    return jnp.zeros(rule.shape, dtype) if isinstance(rule, _Zero) else rule.astype(dtype)


# -- what a layer may be -----------------------------------------------------------------------------------------------


def _checked(module: Any, label: str) -> Any:
    """The module with all modules that it reaches as branches."""
    if not callable(module):
        raise ValueError(f"{label} is non-callable: give Equinox modules or functions of one array.")
    try:
        module = opened(module)
    except HiddenModuleError as error:
        raise ValueError(f"{label} {error}") from error
    _check_deterministic(module, label)
    return module


def _check_deterministic(module: Any, label: str) -> None:
    parts = jax.tree.leaves(module, is_leaf=lambda part: isinstance(part, eqx.nn.StateIndex | eqx.nn.Dropout))
    if any(isinstance(part, eqx.nn.StateIndex) for part in parts):
        raise ValueError(
            f"{label} keeps state (as BatchNorm does), and a state is not a coordinate of this motion: use a stateless "
            "normalisation such as eqx.nn.LayerNorm or eqx.nn.GroupNorm."
        )
    if any(isinstance(part, eqx.nn.Dropout) and not part.inference and part.p != 0 for part in parts):
        raise ValueError(
            f"{label} draws random numbers, and a constraint is deterministic: leave eqx.nn.Dropout out, or build the "
            "chain of eqx.nn.inference_mode(module)."
        )


def _check_real(weights: PyTree, label: str) -> None:
    if any(jnp.iscomplexobj(leaf) for leaf in jax.tree.leaves(weights)):
        raise ValueError(f"{label} has complex weights: give real and imaginary parts as two arrays.")


def _smoothness(fixed: PyTree) -> int | float:
    """The least of all functions in the layer; a callable that is not known to have kinks is taken to be smooth."""
    parts = jax.tree.leaves(fixed, is_leaf=lambda part: isinstance(part, eqx.nn.PReLU))
    return min((_smoothness_of(part) for part in parts), default=math.inf)


def _smoothness_of(part: Any) -> int | float:
    if isinstance(part, eqx.nn.PReLU) or any(part is known for known in _KINKED_POOLING):
        return 0
    function: Any = part
    return smoothness(function) if callable(part) else math.inf
