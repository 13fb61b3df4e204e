"""No public argument lets a bad value pass silently, or answers it with an error that does not say which it was."""

import re

import pytest

from tests import bad_input
from tests.pages import DOCS

pytestmark = pytest.mark.usefixtures("unchecked")


# The others take long, and are tested by the whole table alone.
QUICK = [room for room in bad_input.ROOMS if room not in ("runs", "command line")]


@pytest.mark.parametrize("room", QUICK)
def test_every_argument_answers_for_itself(room):
    defects = {
        f"{name}({argument}={column})": verdict
        for (name, argument), row in bad_input.found(room).items()
        for column, verdict in row.items()
        if verdict.letter in "SU"
    }
    assert not defects


def test_a_defect_is_seen():
    """The judge itself: what is accepted though it cannot be held, and what is refused without a name."""

    def careless(size, other):
        if other != 1.0:
            raise ValueError("something is wrong with this argument")
        return size

    right = {"size": 1.0, "other": 1.0}
    kinds = {"size": bad_input.positive, "other": bad_input.positive}
    row = bad_input.table([bad_input.Case("careless", careless, right, kinds)])
    assert row["careless", "size"]["negative"].letter == "S"
    assert row["careless", "size"]["integer"].letter == "v"
    assert row["careless", "other"]["negative"].letter == "U"


@pytest.mark.slow
def test_the_page_holds_the_table():
    """In float64 and float32: the whole of it, as it is now."""
    table = bad_input.printed()
    assert table in (DOCS / "bad_input.md").read_text(encoding="utf-8")
    assert not re.search(r"\| ([SUvr]?[SU]|[SU][vr]) \|", table), "a defect"
