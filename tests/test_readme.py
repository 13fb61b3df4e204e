"""README and the guide say what is: their commands are complete, their programs run and print what is claimed."""

import re

import pytest

from tests.pages import BATCHES, DOCS, GUIDE, GUIDES, README, ROOT, blocks, run

NUMBER = r"-?\d+\.?\d*(?:e[+-]?\d+)?"


def block(page, word):
    """The one program of a page that holds a word."""
    (code,) = [code for code in blocks(page, "python") if word in code]
    return code


def numbers(text):
    return [float(number) for number in re.findall(NUMBER, text)]


def test_the_readme_is_short_and_shows_a_picture_first():
    lines = README.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    picture = re.search(r"!\[[^\]]*\]\((.+?)\)", "\n".join(lines[:6]))
    assert 0 < (ROOT / picture[1]).stat().st_size < 700_000


def test_the_commands_are_single_lines_that_make_their_own_environment():
    commands = [line for block in blocks(README, "sh") for line in block.splitlines()]
    assert len(commands) == 2
    assert all(line.startswith("python3 -m venv ") for line in commands)
    assert commands[0].endswith("lagrangian-learning learn speech")
    assert commands[1].endswith("-m pytest -n auto")


@pytest.mark.parametrize("page", [README, *sorted(DOCS.glob("*.md"))], ids=lambda page: page.stem)
def test_every_program_of_a_page_is_run_by_a_test(page):
    """A program that is added must be added to those that run."""
    words = {"README": ("xor_network", "Holonomic", "jax.grad"), "guide": GUIDE_WORDS, "batches": BATCHES_WORDS}
    if page.stem in words:
        assert len(blocks(page, "python")) == len(words[page.stem])
        assert all(block(page, word) for word in words[page.stem])
    else:  # run by test_docs
        assert page.stem in {"accelerators", "extending", "gradients", "scale", *GUIDES} or not blocks(page, "python")


GUIDE_WORDS = ("japanese_vowels", "Holonomic", "Batched")
BATCHES_WORDS = ("simulate_batch", "resume=", "ll.save")


@pytest.mark.slow
def test_xor_is_learned_as_the_readme_says():
    printed = run(block(README, "xor_network"))
    assert "successful" in printed
    last = printed.splitlines()[-1]
    claimed = re.search(r"It ends with `(\[.+?\])`", README.read_text(encoding="utf-8"))[1]
    assert numbers(last) == pytest.approx(numbers(claimed), abs=0.011)
    zero, one, both, other = numbers(last)
    assert max(zero, both) < 0.5 < min(one, other)


@pytest.mark.slow
def test_the_lowest_point_of_the_pendulum_and_its_derivative():
    """x depends on t √g alone: ∂x/∂g = ẋ t/2g, with ẋ = −√(2g) at the lowest point, where ∂y/∂g = 0."""
    x, y, dx, dy = numbers(run(block(README, "Holonomic")))
    g, time = 13.750371636040746, 0.5
    assert [x, y] == pytest.approx([0.0, -1.0], abs=1e-4)
    assert [dx, dy] == pytest.approx([-((2 * g) ** 0.5) * time / (2 * g), 0.0], abs=1e-4)


@pytest.mark.slow
def test_the_derivatives_through_a_learning_run_are_those_of_differences():
    """In float64, by central differences of the same program: each constant of the action, and a frequency."""
    differences = """
import equinox as eqx


def difference(where, eps=1e-5):
    def moved(sign):
        both = eqx.tree_at(where, (action, stimulus), where((action, stimulus)) + sign * eps)
        return mean_loss(*both)
    return float(moved(1) - moved(-1)) / (2 * eps)


places = (lambda both: both[0].mass_x, lambda both: both[0].mass_W, lambda both: both[0].dissipation.theta)
for place in places:
    by, off = float(place((by_action, by_stimulus))), difference(place)
    assert abs(by - off) < 1e-6 * abs(off) + 1e-9, (by, off)
by = float(by_stimulus.input.frequency.sum())
off = difference(lambda both: both[1].input.frequency)
assert abs(by - off) < 1e-6 * abs(off), (by, off)
"""
    printed = run(block(README, "jax.grad") + differences, JAX_ENABLE_X64="1")
    assert len(numbers(printed)) == 5


@pytest.mark.slow
def test_the_derivatives_through_a_learning_run_as_printed():
    assert len(numbers(run(block(README, "jax.grad")))) == 5


def test_pendulum():
    code = block(GUIDE, "Holonomic")
    assert len(code.strip().splitlines()) == 10
    checks = """
assert jnp.allclose(path.q[-1], jnp.array([1.0, 0.0]), atol=2e-3), path.q[-1]
assert path.constraint_residual.max() < 5e-6
"""
    run(code + checks)


@pytest.mark.slow
def test_a_batch():
    printed = run(block(BATCHES, "simulate_batch") + "\nassert batch.W[0].shape == (200, 11, 2, 2)\n")
    assert "all 200 successful" in printed


@pytest.mark.slow
def test_mini_batches():
    printed = run(block(GUIDE, "Batched"))
    assert "Trajectory" in printed
    losses = numbers(printed.splitlines()[-1])
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.slow
def test_going_on_with_a_run():
    assert run(block(BATCHES, "resume=")).strip() == "True"


@pytest.mark.slow
def test_the_speech_run_in_public_calls():
    code = block(GUIDE, "japanese_vowels")
    assert ", 20\n" in code
    printed = run(code.replace(", 20\n", ", 1\n") + "\nassert test.accuracy(outputs) > 0.85\n")
    assert "Trajectory" in printed
    assert "test accuracy" in printed


def test_what_is_saved_is_loaded_or_named():
    printed = run(block(BATCHES, "ll.save"))
    assert "'tanh' in the file, and 'sigmoid'" in printed
