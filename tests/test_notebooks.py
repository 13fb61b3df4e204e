"""Notebooks read well where they are hosted: executed, small, the same as their scripts, and ending in asserts.

Nothing is executed here; `.ci/run` does that.
"""

import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
NAMES = sorted({path.stem for path in FOLDER.glob("[0-9][0-9]_*")})
README = (FOLDER / "README.md").read_text(encoding="utf-8")
MACHINE = re.compile(r"/(?:home|root|tmp|work|usr|opt|Users|var)/|ipykernel_\d|[A-Z]:\\\\|site-packages")
LARGEST = 300_000


def notebook(name):
    return json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))


def text(source):
    return "".join(source)


def code_cells(name):
    return [cell for cell in notebook(name)["cells"] if cell["cell_type"] == "code"]


def outputs(name):
    return [output for cell in code_cells(name) for output in cell["outputs"]]


def shown(output):
    """What an output says in words: streams and data that are no pictures."""
    data = {kind: value for kind, value in output.get("data", {}).items() if not kind.startswith("image/")}
    return text(output.get("text", "")) + json.dumps(data, ensure_ascii=False)


def cells_of_script(name):
    """(kind, source) of each cell of the py:percent twin."""
    _, *parts = re.split(r"^# %%(.*)\n", (FOLDER / f"{name}.py").read_text(encoding="utf-8"), flags=re.MULTILINE)
    for marker, source in zip(parts[::2], parts[1::2], strict=True):
        body = source.strip("\n")
        if "[markdown]" in marker:
            yield "markdown", "\n".join(re.sub(r"^# ?", "", line) for line in body.splitlines())
        else:
            yield "code", body


@pytest.mark.parametrize("name", NAMES)
def test_every_code_cell_was_executed_in_order_without_errors_and_warnings(name):
    counts = [cell["execution_count"] for cell in code_cells(name)]
    assert counts == list(range(1, len(counts) + 1))
    assert not [
        output for output in outputs(name) if output["output_type"] == "error" or output.get("name") == "stderr"
    ]


@pytest.mark.parametrize("name", NAMES)
def test_it_shows_numbers_and_a_picture(name):
    kinds = {kind for output in outputs(name) for kind in output.get("data", {})}
    assert "image/png" in kinds
    assert any(re.search(r"\d", shown(output)) for output in outputs(name))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_same_as_its_script(name):
    cells = [(cell["cell_type"], text(cell["source"]).strip("\n")) for cell in notebook(name)["cells"]]
    assert cells == list(cells_of_script(name)), f"run python notebooks/execute.py {name[:2]}"
    assert notebook(name)["metadata"]["jupytext"]["formats"] == "ipynb,py:percent"


@pytest.mark.parametrize("name", NAMES)
def test_it_ends_in_asserts(name):
    assert len(re.findall(r"^\s*assert ", text(code_cells(name)[-1]["source"]), re.MULTILINE)) >= 3


@pytest.mark.parametrize("name", NAMES)
def test_it_is_small_and_names_no_machine(name):
    path = FOLDER / f"{name}.ipynb"
    assert path.stat().st_size <= LARGEST
    parts = [text(cell["source"]) for cell in notebook(name)["cells"]] + [shown(output) for output in outputs(name)]
    assert not MACHINE.search("\n".join(parts))
    assert not any("execution" in cell["metadata"] for cell in notebook(name)["cells"])


@pytest.mark.parametrize("name", NAMES)
def test_it_opens_with_its_number_and_is_listed(name):
    first = text(notebook(name)["cells"][0]["source"])
    assert first.startswith(f"# {int(name[:2])} · ")
    assert f"({name}.ipynb)" in README


def test_links_between_notebooks_lead_somewhere():
    cells = [cell for name in NAMES for cell in notebook(name)["cells"] if cell["cell_type"] == "markdown"]
    pages = [README, *(text(cell["source"]) for cell in cells)]
    linked = {target for page in pages for target in re.findall(r"\]\((?!https?:)([^)#]+)", page)}
    missing = {target for target in linked if not (FOLDER / target).exists()}
    assert not missing
