"""The documentation is true: snippets run, the map from equations to code is complete, and its links exist."""

import inspect
import re

import pytest

import lagrangian_learning as ll
from lagrangian_learning.verify import registry
from tests.pages import DOCS, GUIDES, ROOT, blocks, run

PAGES = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md", "notebooks/README.md"]
PAGES += [f"docs/{page.name}" for page in sorted(DOCS.glob("*.md"))]
EXTENDED = """
assert jax.tree.structure(W_ddot) == jax.tree.structure(W)
assert float(jnp.max(jnp.abs(sparse_top[0]))) > 0
assert float(path.constraint_residual.max()) < 1e-12
assert float(own_path.constraint_residual.max()) < 1e-12
assert skips.feedforward
assert annealed.action.dissipation.rate(jnp.asarray(2.0)) == 1
assert pulsed.result == ll.RESULTS.successful
assert 0 < float(jnp.max(jnp.abs(jnp.diff(bounded_path.W[0], axis=0)))) <= 0.25  # |Ẇ| < 1 for a quarter of a unit
single, _ = ll.EulerLagrange(ll.Lagrangian(density), bead.constraint).accelerations(0.0, state)
assert jnp.allclose(acceleration, single, atol=1e-12)
"""


def text(name):
    return (DOCS / name).read_text(encoding="utf-8")


def rows():
    """(label, the cells of its row) of docs/equations.md."""
    lines = [line for line in text("equations.md").splitlines() if line.startswith("| [")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {re.match(r"\[\(?(.+?)\)?\]\(", row[0])[1]: row for row in cells}


def links(markdown):
    return re.findall(r"\]\(([^)]+)\)", markdown)


def anchors(page):
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


def test_the_map_has_a_row_for_everything_that_is_checked():
    assert set(rows()) == set(registry.labels())
    assert {str(number) for number in range(1, 21)} <= set(rows())


@pytest.mark.parametrize("label", registry.labels())
def test_a_row_links_equation_code_notebook_and_its_checks(label):
    equation, _, code, notebook, checks = rows()[label]
    assert len(links(equation)) == len(links(code)) == len(links(notebook)) == 1
    assert links(code)[0].startswith("../lagrangian_learning/")
    assert links(notebook)[0].startswith("../notebooks/")
    named = re.findall(r"\[`(.+?)`\]\((.+?)\)", checks)
    expected = {check.name: check for check in ll.verify.claims() if label in check.equations}
    assert {name for name, _ in named} == set(expected)
    for name, file in named:
        assert file.endswith(expected[name].measured_by.__module__.rsplit(".", 1)[-1] + ".py")


@pytest.mark.parametrize("name", PAGES)
def test_links_exist(name):
    page = ROOT / name
    for link in links(re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)):
        file, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_a_path_is_called_by_its_name():
    """A link whose text is a path of the package leads to that path."""
    for title, link in re.findall(r"\[`?([\w/]+/\w+\.py)`?\]\(([^)]+)\)", text("equations.md")):
        assert link.endswith(f"lagrangian_learning/{title}"), (title, link)


def test_every_section_that_the_code_cites_is_a_section_of_the_theory():
    sections = set(re.findall(r"^## (\d+)\. ", text("theory.md"), re.MULTILINE))
    sources = [
        file for folder in ("lagrangian_learning", "benchmarks", "tests") for file in (ROOT / folder).rglob("*.py")
    ]
    cited = {
        (number, str(file.relative_to(ROOT)))
        for file in sources
        for number in re.findall(r"§ ?(\d+)", file.read_text(encoding="utf-8"))
    }
    assert len(cited) > 20
    assert {number for number, _ in cited} <= sections, sorted(cited)


def test_the_theory_is_cited_by_its_page():
    """A name that no reader can open is no citation."""
    for file in (ROOT / "lagrangian_learning").rglob("*.py"):
        for before in re.findall(r"(\S*) ?§", file.read_text(encoding="utf-8")):
            assert before.endswith("docs/theory.md"), (file, before)


def test_the_readme_counts_the_claims():
    counted = re.search(r"measures (\d+) claims", (ROOT / "README.md").read_text(encoding="utf-8"))[1]
    assert int(counted) == len(ll.verify.claims())


def test_every_reference_of_a_check_is_explained_and_names_it():
    page = text("errata.md")
    sections = {
        title.lower().replace(" ", "-"): body
        for title, body in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    }
    for check in ll.verify.claims():
        if check.reference is not None:
            section = check.reference.split("#")[1]
            assert f"`{check.name}`" in sections[section], (check.name, section)
    named = set(re.findall(r"`([a-z0-9]+(?:-[a-z0-9]+)+)`", page))
    assert named <= {check.name for check in ll.verify.claims()}


@pytest.mark.slow
def test_the_snippets_of_extending_run():
    """They are one program, top to bottom."""
    run("\n".join(blocks(DOCS / "extending.md", "python")) + EXTENDED)


@pytest.mark.slow
def test_the_program_of_scale_predicts_what_its_model_says():
    """Given 1, left 2, carried 2, 6 slopes of Tsit5 and an evaluation: 12 copies of the state, 2 m b each, on four."""
    (code,) = blocks(DOCS / "scale.md", "python")
    checks = """
m = sum(leaf.size for leaf in jax.tree.leaves(W))
copies = predicted.memory / (2 * m * 4 / 4)
assert 12 <= copies < 13, copies
"""
    assert "4 × NVIDIA H100" in run(code + checks)


def test_the_program_of_accelerators_finds_the_same_run_on_the_device_and_the_cpu():
    (code,) = blocks(DOCS / "accelerators.md", "python")
    *_, found = run(code).splitlines()
    assert float(found.split()[-1]) < 1e-5


@pytest.mark.slow
def test_the_program_of_gradients_asserts_its_claims():
    """The snippets are one program, top to bottom."""
    run("\n".join(blocks(DOCS / "gradients.md", "python")))


def test_troubleshooting_explains_every_result_code():
    rows = [line for line in text("troubleshooting.md").splitlines() if line.startswith("| `")]
    explained = {name for row in rows for name in re.findall(r"`(\w+)`", row.split(" | ")[0])}
    assert explained == set(ll.RESULTS._name_to_item)


@pytest.mark.slow
@pytest.mark.parametrize("page", GUIDES)
def test_the_program_of_a_guide_asserts_its_claims(page):
    """The snippets are one program, top to bottom."""
    run("\n".join(blocks(DOCS / f"{page}.md", "python")))


def test_a_page_uses_every_public_name():
    """Classes and functions at the top of the package, as ll.NAME in a guide, a reference page or the README."""
    pages = [ROOT / "README.md", *DOCS.glob("*.md")]
    used = {name for page in pages for name in re.findall(r"\bll\.(\w+)", page.read_text(encoding="utf-8"))}
    public = {name for name, value in vars(ll).items() if not (name.startswith("_") or inspect.ismodule(value))}
    assert public - {"TYPE_CHECKING"} <= used, sorted(public - used)
