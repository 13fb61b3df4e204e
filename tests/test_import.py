"""The package imports as users of other tools import it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EVERY_MODULE = """
import importlib, pkgutil
from jaxtyping import install_import_hook

install_import_hook("lagrangian_learning", "beartype.beartype")
import lagrangian_learning

for module in pkgutil.walk_packages(lagrangian_learning.__path__, "lagrangian_learning."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


@pytest.mark.slow
def test_every_module_imports_under_the_import_hook_of_jaxtyping():
    """With beartype as it comes: it takes no int for a float, unlike the checker of these tests."""
    call = [sys.executable, "-W", "error", "-c", EVERY_MODULE]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
