"""The version and the date stand in several files, and are the same."""

import re

import lagrangian_learning as ll
from tests.pages import ROOT


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_changelog_opens_with_the_version_and_its_date():
    version, date = re.search(r"^## \[(.+?)\] - (\d{4}-\d{2}-\d{2})$", text("CHANGELOG.md"), re.MULTILINE).groups()
    assert version == ll.__version__
    cited = dict(re.findall(r"^([a-z-]+): (.+)$", text("CITATION.cff"), re.MULTILINE))
    assert (cited["version"], cited["date-released"]) == (version, date)


def test_the_changelog_has_the_kinds_of_its_form():
    kinds = set(re.findall(r"^### (.+)$", text("CHANGELOG.md"), re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_citation_names_the_paper():
    assert "arXiv:1912.04635" in text("CITATION.cff")
