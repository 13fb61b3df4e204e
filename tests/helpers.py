"""Comparisons that tests of several rooms share."""

import numpy as np
import pytest
from jax.flatten_util import ravel_pytree


def flat(tree):
    """All leaves as one NumPy vector."""
    return np.asarray(ravel_pytree(tree)[0])


def relative(found, expected):
    """The largest difference of two pytrees over the largest entry of the second."""
    found, expected = flat(found), flat(expected)
    return float(np.max(np.abs(found - expected)) / np.max(np.abs(expected)))


def mostly_slow(cases, *quick):
    """The cases as parameters: those named run by default, the others among the slow tests."""
    assert set(quick) <= set(cases)
    return [case if case in quick else pytest.param(case, marks=pytest.mark.slow) for case in cases]
