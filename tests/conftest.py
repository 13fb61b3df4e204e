import gc
import os
import sys
import types
from pathlib import Path

# Before SciPy is imported: threads of OpenBLAS that outnumber the cores stall small factorisations for seconds.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from tests import compiling

compiling.make_quick()

import beartype
import jax
import jaxtyping
import pytest
from jaxtyping import install_import_hook

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")

# Before any test module imports the package: every annotated shape is checked at run time. An int is a float, as
# PEP 484 has it; the hook takes its checker by name only. SHAPE_CHECKER=beartype.beartype is stricter: an int is none.
checker = types.ModuleType("shape_checker")
vars(checker)["check"] = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))
sys.modules["shape_checker"] = checker
if not jaxtyping.config.jaxtyping_disable:
    install_import_hook("lagrangian_learning", os.environ.get("SHAPE_CHECKER", "shape_checker.check"))


_MOST_MAPS = (
    30_000  # of the 65,530 that Linux gives to one process; each compiled program takes some, and XLA dies without
)


@pytest.fixture(autouse=True, scope="module")
def programs_fit_the_process():
    """Compiled programs are dropped after a file of tests that leaves very many of them."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_text().count("\n") > _MOST_MAPS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture
def optimised():
    """Programs compiled as users' are, for a test whose runs take longer than their compiling."""
    quick = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", quick)


@pytest.fixture
def key():
    return jax.random.key(20191204)


@pytest.fixture
def unchecked():
    """Without checks of shapes and types, which would get ahead of the package's own errors."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
