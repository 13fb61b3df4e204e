"""What pictures of the studies mark."""

import numpy as np
import pytest

from benchmarks.studies.stability_atlas import unstable


def test_what_is_unstable_ends_where_growth_crosses_zero():
    ratio = np.linspace(0, 3, 61)
    assert unstable(ratio, 1 - ratio) == [pytest.approx((0, 1))]
    assert unstable(ratio, ratio - 1.02) == [pytest.approx((1.02, 3))]
    assert unstable(ratio, -1 - ratio) == []
    assert unstable(ratio, (ratio - 0.5) * (ratio - 2)) == [pytest.approx((0, 0.5)), pytest.approx((2, 3))]
