"""The reference of the site holds every public name once, the gallery every picture: none can be forgotten."""

import functools
import importlib
import pkgutil
import re
import types
from collections import Counter

import lagrangian_learning as ll
from docs.site.docstrings import Known, rewritten
from docs.site.names import public
from docs.site.repository import links_of, page_of, relinked
from tests.pages import DOCS, ROOT

ENTRIES = [
    entry
    for page in sorted((DOCS / "reference").glob("*.md"))
    for entry in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
]
KNOWN = Known({"rtol", "atol", "args"}, {"ts", "energy"}, lambda code: code, lambda text: text)


def namespaces():
    """Every package of the library that is not private; the command line exports no name."""
    found = pkgutil.walk_packages(ll.__path__, ll.__name__ + ".")
    names = [module.name for module in found if module.ispkg and "._" not in module.name]
    return [ll, *(importlib.import_module(name) for name in names if not name.startswith(f"{ll.__name__}.commands"))]


def exported():
    """(name, object) of all that these packages export."""
    return {
        (name, id(value))
        for space in namespaces()
        for name, value in vars(space).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType) and name != "TYPE_CHECKING"
    }


def at(path):
    """The object that a path such as ll.laws.FullDynamics means."""
    space, _, name = path.rpartition(".")
    if space.startswith("ll"):
        return functools.reduce(getattr, path.split(".")[1:], ll)
    return getattr(importlib.import_module(space), name)


def test_every_public_name_is_on_one_page():
    shown = Counter((entry.rsplit(".", 1)[1], id(at(entry))) for entry in ENTRIES)
    names = {key: key[0] for key in exported() | set(shown)}
    assert sorted(names[key] for key in exported() - set(shown)) == []
    assert sorted(names[key] for key in set(shown) - exported()) == []
    assert [names[key] for key, count in shown.items() if count > 1] == []


def test_the_site_finds_every_name_where_it_is_defined():
    for path in ENTRIES:
        module, _, name = public()[path].rpartition(".")
        assert getattr(importlib.import_module(module), name) is at(path), path


def test_every_page_of_the_reference_is_listed():
    listed = (DOCS / "reference" / "index.md").read_text(encoding="utf-8")
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in sorted((DOCS / "reference").glob("*.md")):
        assert page.name == "index.md" or f"]({page.name})" in listed
        assert f"- reference/{page.name}\n" in settings


def test_every_picture_is_in_the_gallery():
    text = (DOCS / "gallery.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    pictures = [*(DOCS / "images").glob("*.png"), *(ROOT / "benchmarks" / "results").glob("*.png")]
    assert {(DOCS / target).resolve() for target in shown} == {picture.resolve() for picture in pictures}


def test_several_names_before_a_colon_become_one_each():
    text = "y = x.\n\nArguments:\n    rtol, atol: tolerances;\n        in all.  args: what f takes."
    assert rewritten(text, KNOWN) == (
        "y = x.\n\nArgs:\n    rtol: tolerances; in all.\n    atol: tolerances; in all.\n    args: what f takes."
    )


def test_members_at_the_start_of_a_line_become_attributes():
    assert rewritten("A run.\n\nts: times [T]. energy: E [T].", KNOWN) == (
        "A run.\n\nAttributes:\n    ts: times [T].\n    energy: E [T]."
    )


def test_prose_with_a_colon_stays_prose_and_code_stays_code():
    text = "Two ways:\n\n    a * b = c\n\nNote: g* is `g*`. Raises ValueError for |g| < 1."
    assert rewritten(text, KNOWN) == (
        "Two ways:\n\n    a * b = c\n\nNote: g\\* is `g*`.\n\n**Raises** ValueError for |g| &lt; 1."
    )


def test_links_lead_to_where_the_site_shows_a_file():
    text = "[`a`](../benchmarks/scale.py), [b](../notebooks/07_waves.ipynb), [c](theory.md#x), `[d](../e.py)`"
    assert relinked(text, "docs/guide.md", "") == (
        "[`a`](source/benchmarks/scale.py.md), [b](notebooks/07_waves.md), [c](theory.md#x), `[d](../e.py)`"
    )
    address = "https://host/name/blob/main"
    assert relinked("[a](../benchmarks/scale.py)", "docs/guide.md", address) == f"[a]({address}/benchmarks/scale.py)"
    assert links_of(text, "docs/guide.md") == {"benchmarks/scale.py", "notebooks/07_waves.ipynb", "docs/theory.md"}


def test_a_notebook_keeps_its_text_and_its_pictures():
    text, pictures = page_of("notebooks/07_waves.ipynb")
    assert text.startswith("# 7 · Waves")
    assert re.search(r"^````python$", text, re.MULTILINE)
    assert "import jax\n" in text
    assert pictures
    assert all(name in text and content.startswith(b"\x89PNG") for name, content in pictures.items())
