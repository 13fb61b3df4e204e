"""docs/tolerances.md says what the code says."""

import importlib
import re

import pytest

from tests.pages import DOCS

PAGE = DOCS / "tolerances.md"
ROW = re.compile(r"^\| (.+) \| (\S+) \| (\S+) \| `([\w.]+)` \| `(.+)` \|$", re.MULTILINE)
ROWS = ROW.findall(PAGE.read_text(encoding="utf-8"))


def test_every_row_is_read():
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert len(ROWS) == len(lines) - 1 >= 20


@pytest.mark.parametrize(("what", "single", "double", "module", "expression"), ROWS, ids=[row[0] for row in ROWS])
def test_the_values_are_those_of_the_code(what, single, double, module, expression):
    names = vars(importlib.import_module(f"lagrangian_learning.{module}"))
    for printed, dtype in ((single, "float32"), (double, "float64")):
        value = eval(expression, names, {"dtype": dtype})  # noqa: S307  # our own page
        assert f"{float(value):.6g}" == printed, what
