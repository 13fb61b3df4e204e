import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def run(code):
    """In a fresh process, as a newcomer runs it, with warnings as errors."""
    call = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(call, capture_output=True, text=True, timeout=850, check=False)  # noqa: S603  # our own code
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_commands_are_single_lines_that_make_their_own_environment():
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(commands) == 2
    assert all(line.startswith("python3 -m venv ") for line in commands)
    assert commands[0].endswith("lagrangian-learning learn speech")
    assert commands[1].endswith("-m pytest -n auto")


def test_pendulum():
    code = next(block for block in blocks("python") if "Holonomic" in block)
    assert len(code.strip().splitlines()) == 10
    checks = """
assert jnp.allclose(path.q[-1], jnp.array([1.0, 0.0]), atol=2e-3), path.q[-1]
assert path.constraint_residual.max() < 5e-6
"""
    run(code + checks)


@pytest.mark.slow
def test_a_batch():
    code = next(block for block in blocks("python") if "simulate_batch" in block)
    told = run(code + "\nassert batch.W[0].shape == (200, 11, 2, 2)\n")
    assert "all 200 successful" in told


@pytest.mark.slow
def test_mini_batches():
    code = next(block for block in blocks("python") if "Batched" in block)
    told = run(code)
    assert "Trajectory" in told
    losses = [float(number) for number in re.findall(r"[\d.]+", told.splitlines()[-1])]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.slow
def test_the_speech_run_in_public_calls():
    code = next(block for block in blocks("python") if "japanese_vowels" in block)
    assert ", 20\n" in code
    told = run(code.replace(", 20\n", ", 1\n") + "\nassert test.accuracy(outputs) > 0.85\n")
    assert "Trajectory" in told
    assert "test accuracy" in told
