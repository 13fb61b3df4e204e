"""What a checkpoint sees of the run that it belongs to: a new process a row."""

import json
import os
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.batch.fingerprint import fingerprint_of_arrays, fingerprint_of_program

ROOT = Path(__file__).resolve().parents[2]


def process(folder, change, **environment):
    """What `seen.py` prints, in a process of its own."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", **environment}
    call = [sys.executable, str(ROOT / "tests" / "batch" / "seen.py"), str(folder), change]
    found = subprocess.run(call, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=600, check=False)  # noqa: S603  # our own code
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A finished checkpoint, and its value."""
    folder = tmp_path_factory.mktemp("kept")
    first = process(folder, "nothing", PYTHONHASHSEED="1")
    assert first["refused"] is None
    return folder, first["value"]


@pytest.mark.slow
def test_the_same_run_in_another_process_goes_on(kept):
    folder, value = kept
    assert process(folder, "nothing", PYTHONHASHSEED="2") == {"refused": None, "value": value}


# What is changed, the environment, and what the refusal names.
TABLE = [
    ("closure", {}, "differs in program"),
    ("loss", {}, "differs in program"),  # a module edited
    ("stiffness", {}, "differs in program"),  # a class constant
    ("pull", {}, "differs in program"),  # a classmethod
    ("function attribute", {}, "differs in program"),
    ("large array", {}, "differs in program"),
    ("this library", {}, "differs in program"),
    ("a variable that the function reads", {"STRENGTH_OF_A_TEST": "1.25"}, "differs in program"),
    ("XLA_FLAGS", {"XLA_FLAGS": "--xla_cpu_enable_fast_math=true"}, "differs in XLA_FLAGS"),
    ("matmul precision", {}, "jax_default_matmul_precision"),
    ("engine", {}, "differs in program, engine"),
    ("fold", {}, "differs in reduce"),
    ("callback", {}, "call Python functions on the host"),
    ("callback in the fold", {}, "reduce call Python functions on the host"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("change", "environment", "names"), TABLE, ids=[row[0] for row in TABLE])
def test_a_change_is_refused_by_name(kept, change, environment, names):
    folder, _ = kept
    refused = process(folder, change, **environment)["refused"]
    assert refused is not None, "it went on with another program"
    assert names in refused


def test_arrays_by_their_bits():
    values = [np.zeros(3), np.zeros(3, np.float32), np.zeros((3, 1)), -np.zeros(3), np.zeros(4), (np.zeros(3),), None]
    assert len({fingerprint_of_arrays(value) for value in values}) == len(values)
    assert fingerprint_of_arrays(np.arange(6).reshape(2, 3).T) == fingerprint_of_arrays(
        np.arange(6).reshape(2, 3).T.copy()
    )
    assert fingerprint_of_arrays(jnp.arange(3.0)) == fingerprint_of_arrays(np.arange(3.0))
    assert fingerprint_of_arrays(jax.random.key(1)) != fingerprint_of_arrays(jax.random.key(2))


def test_errors_of_equinox_are_no_callbacks_of_the_user():
    checked = jax.jit(lambda x: eqx.error_if(x, x > 3, "too large"))
    text, jaxpr = checked.lower(1.0).as_text(), lambda: jax.make_jaxpr(checked)(1.0).jaxpr
    assert "python_cpu_callback" in text
    assert fingerprint_of_program(text, jaxpr, "law") == fingerprint_of_program(text, jaxpr, "law")
