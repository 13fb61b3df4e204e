"""Sine and cosine as plain arithmetic: XLA's on a CPU are calls of a library, one number at a time.

The multiple n of π/2 next to the argument is split into a high and a low part, and π/2 into short ones, so that all
products but the last are exact; Taylor's series do the rest. Errors stay below an ulp of 1 up to `largest(dtype)`,
where neighbouring numbers are already far apart; beyond it there is NaN.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

_PI = Fraction(314159265358979323846264338327950288419716939937510582097494459230781640628620899, 10**80)


class SineCosine:
    """Sine and cosine of numbers; of the same number, the same array, both come from the same two sums.

    keep: applied to these sums, so that a compiler that repeats what is cheap computes them once, see `Program`.
    """

    def __init__(self, keep: Callable[[Array], Array] = lambda x: x) -> None:
        self.keep = keep
        self._known: dict[int, tuple[Array, _Quarters]] = {}

    def sine(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """sin x."""
        return self._of(x).ahead(0)

    def cosine(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """cos x."""
        return self._of(x).ahead(1)

    def _of(self, x: Array) -> "_Quarters":
        if id(x) not in self._known:  # x is kept beside, so that no other array comes to its place
            self._known[id(x)] = x, _quarters(x, self.keep)
        return self._known[id(x)][1]


def sine(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """sin x."""
    return SineCosine().sine(x)


def cosine(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """cos x."""
    return SineCosine().cosine(x)


def largest(dtype: Any) -> float:
    """The largest argument that is not NaN: 2⁴⁵ in float64, 2¹⁸ in float32."""
    return 2.0**45 if np.dtype(dtype) == np.float64 else 2.0**18


class _Quarters(NamedTuple):
    """x = r + n π/2: sin r, cos r, and n but for a multiple of four; NaN where x is too large."""

    odd: Array
    even: Array
    turns: Array

    def ahead(self, quarters: int) -> Array:
        """sin(x + quarters · π/2)."""
        quadrant = self.turns.astype(jnp.int32) + quarters
        value = jnp.where((quadrant & 1) == 1, self.even, self.odd)
        return jnp.where((quadrant & 2) == 2, -value, value)


def _quarters(x: Array, keep: Callable[[Array], Array]) -> _Quarters:
    turns = lax.round(x * (2 / math.pi), lax.RoundingMethod.TO_NEAREST_EVEN)
    r, low = _reduced(jnp.where(jnp.abs(x) <= largest(x.dtype), x, jnp.nan), turns)
    r, low = keep(r), keep(low)
    square = r * r
    odd = r + r * (square * _series(1, square))
    even = 1 - (square / 2 - square * square * _series(2, square))
    return _Quarters(keep(odd), keep(even), low)


def _reduced(x: Array, turns: Array) -> tuple[Array, Array]:
    """x − turns · π/2, and the low part of turns."""
    bits = _bits(x.dtype)
    high = lax.round(turns * 2.0**-bits, lax.RoundingMethod.TO_NEAREST_EVEN) * 2.0**bits
    low = turns - high
    for part in _parts(bits):
        x = (x - high * part) - low * part
    return x, low


def _bits(dtype: Any) -> int:
    """Half the digits of a number: products of two such halves are exact."""
    return (np.finfo(dtype).nmant + 1) // 2


def _parts(bits: int) -> list[float]:
    """π/2 in parts of so many bits each, down to twice the precision of a number."""
    parts, rest = [], _PI / 2
    for k in range(4):
        unit = Fraction(1, 2 ** (bits * (k + 1) - 1))
        part = (rest // unit) * unit
        parts.append(float(part))
        rest -= part
    return parts


def _series(first: int, square: Array) -> Array:
    """Σ (−1)ⁿ z^{n−first}/(2n + 1)! for the sine (first = 1), with (2n)! for the cosine (first = 2)."""
    last = 9 if square.dtype == jnp.float64 else 6
    odd = 1 if first == 1 else 0
    coefficients = [(-1) ** n / math.factorial(2 * n + odd) for n in range(first, last)]
    total = jnp.full_like(square, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * square + coefficient
    return total
