"""Sine and cosine as plain arithmetic: XLA's on a CPU are calls of a library, one number at a time.

The multiple n of π/2 next to the argument is split into a high and a low part, and π/2 into short ones, so that all
products but the last are exact; Taylor's series do the rest. Errors stay below an ulp of 1 up to `largest(dtype)`,
where neighbouring numbers are already far apart; beyond it there is NaN.
"""

import math
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

_PI = Fraction(314159265358979323846264338327950288419716939937510582097494459230781640628620899, 10**80)


def sine(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """sin x."""
    return _quarter(x, 0)


def cosine(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """cos x."""
    return _quarter(x, 1)


def largest(dtype: Any) -> float:
    """The largest argument that is not NaN: 2⁴⁵ in float64, 2¹⁸ in float32."""
    return 2.0**45 if np.dtype(dtype) == np.float64 else 2.0**18


def _quarter(x: Array, ahead: int) -> Array:
    """sin(x + ahead · π/2)."""
    turns = lax.round(x * (2 / math.pi), lax.RoundingMethod.TO_NEAREST_EVEN)
    r, low = _reduced(x, turns)
    square = r * r
    odd = r + r * (square * _series(1, square))
    even = 1 - (square / 2 - square * square * _series(2, square))
    quadrant = low.astype(jnp.int32) + ahead  # the high part is a multiple of four
    value = jnp.where((quadrant & 1) == 1, even, odd)
    value = jnp.where((quadrant & 2) == 2, -value, value)
    return jnp.where(jnp.abs(x) <= largest(x.dtype), value, jnp.nan)


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
