"""`verify`: every check behaves as documented, all of the paper is covered, and broken code is noticed."""

import json

import jax
import pytest

import lagrangian_learning as ll
from lagrangian_learning.report.verify.verification import select

QUICK = ("three-neurons",)


@pytest.mark.parametrize("name", QUICK)
def test_quick_checks_behave_as_documented(name):
    finding = ll.check(name).measure()
    assert finding.as_documented, str(finding)


@pytest.mark.slow
@pytest.mark.parametrize("check", [check for check in ll.checks() if check.name not in QUICK], ids=lambda c: c.name)
def test_every_other_check_behaves_as_documented(check):
    finding = check.measure()
    assert finding.as_documented, str(finding)


def test_json_names_every_equation_singly():
    rows = json.loads(ll.verify("three-neuron example").to_json())
    assert [row["equation"] for row in rows] == ["17", "three-neuron example"]
    assert all(row["as_documented"] for row in rows)
    assert {"claim", "method", "verdict", "residual", "tolerance", "reference"} <= set(rows[0])


def test_several_equations_and_names_in_the_order_of_the_paper():
    names = [check.name for check in select(["weights-ascend", "(10)", 8])]
    assert names[0] == "neuron-equation"
    assert names[-1] == "weights-ascend"
    assert "multipliers" in names
    assert len(names) == len(set(names))
    with pytest.raises(ValueError, match="no check is about '21'"):
        select(["10", "21"])


def test_a_notebook_shows_a_table_of_markdown():
    check = ll.Check("one|two", ("15",), "|u| is 1.", "", "erratum", 1e-10, lambda shared: None, "it is 2.")
    lines = ll.Verification((ll.Finding(check, 1.0, {}, {}, 0.1),))._repr_markdown_().splitlines()
    assert lines[0] == "about|claim|verdict|residual|tolerance|as documented"
    assert lines[2] == r"(15)|\|u\| is 1. *it is 2.*|erratum|1.0e+00|1e-10|NO"
    assert "residual 1.0e+00 over the tolerance 1e-10" in lines[4]


def test_unknown_equations_and_names_are_told_what_there_is():
    with pytest.raises(ValueError, match=r"no check is about '21'. There are checks about: .*15"):
        ll.verify("21")
    with pytest.raises(ValueError, match=r"no check is called 'nothing'. There are: .*three-neurons"):
        ll.check("nothing")


def test_float32_is_refused_with_the_remedy():
    with jax.enable_x64(False), pytest.raises(ValueError, match="jax_enable_x64"):
        ll.verify(15)
