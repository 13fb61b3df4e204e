"""Which numbers to compute once, where the compiler would rather repeat them for everyone who uses them."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from .functions import TRANSCENDENTAL
from .graph import Scalar, Source

# XLA on a CPU counts these as expensive and does not repeat them; sine and cosine it counts as cheap.
_NOT_REPEATED = TRANSCENDENTAL - {"cos", "sin", "tan"} | {"div", "rem", "rsqrt", "sqrt"}
_SINE = 16  # operations of a sine or a cosine


def worth_keeping(order: Sequence[Any], results: Sequence[Any], worth: int) -> frozenset[Scalar]:
    """Numbers whose repetition, for all who use them but one, would cost `worth` operations or more."""
    users = _users(order, results)
    cost: dict[Scalar, int] = {}
    kept = set()
    for node in order:
        if not isinstance(node, Scalar):
            continue
        cost[node] = _own_cost(node) + sum(cost[arg] for arg in node.args) if _is_repeated(node) else 0
        if cost[node] * (users[node] - 1) >= worth and np.issubdtype(node.dtype, np.floating):
            kept.add(node)
            cost[node] = 0
    return frozenset(kept)


def _users(order: Sequence[Any], results: Sequence[Any]) -> Counter[Scalar]:
    users: Counter[Scalar] = Counter()
    for node in order:
        if isinstance(node, Scalar):
            users.update(node.args)
    for result in results:
        if not isinstance(result, Source):
            users.update(result.ravel())
    return users


def _is_repeated(node: Scalar) -> bool:
    return node.primitive is not None and node.primitive.name not in _NOT_REPEATED


def _own_cost(node: Scalar) -> int:
    return _SINE if node.primitive is not None and node.primitive.name in {"sin", "cos"} else 1
