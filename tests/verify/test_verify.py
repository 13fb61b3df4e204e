"""`verify`: every check behaves as documented, all of the paper is covered, and broken code is noticed."""

import json
import pydoc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from lagrangian_learning.learning import losses
from lagrangian_learning.learning.laws import backprop_diffusion, layer_gains
from lagrangian_learning.mechanics.equations import AbstractEquations
from lagrangian_learning.networks import LayeredLinearisation, state_jacobian
from lagrangian_learning.verify import constraints, costate, reduction, registry, synchronisation, verification
from lagrangian_learning.verify.claim import Claim, Measured
from lagrangian_learning.verify.problems import Problem

QUICK = (
    "outputs-of-the-network",
    "proof-of-proposition-1",
    "stationary-costate",
    "three-neurons",
)
ELSEWHERE = (
    *("XOR example", "three-neuron example", "synchronisation", "video bound", "Proposition 1", "Table 1"),
    *(f"Figure {number}" for number in (1, 2, 3)),
    *(f"Erratum {number}" for number in range(1, 8)),
    *(f"Remark {number}" for number in range(8, 12)),
    *("soft constraints", "optimisers", "Noether charges", "echo"),
)


@pytest.mark.parametrize("name", QUICK)
def test_quick_checks_behave_as_documented(name):
    finding = ll.verify.claim(name).measure()
    assert finding.as_documented, str(finding)


@pytest.mark.slow
def test_all_checks_behave_as_documented_and_the_table_says_so():
    progress = []
    found = ll.verify.run(progress=lambda done, total, check: progress.append((done, total, check.name)))
    assert found.as_documented, str(found)
    assert progress == [(k, len(ll.verify.claims()), check.name) for k, check in enumerate(ll.verify.claims())]
    assert "all as documented" in str(found)
    rows = json.loads(found.to_json())
    assert {row["equation"] for row in rows} == {*map(str, range(1, 21)), *ELSEWHERE}
    assert all(row["as_documented"] for row in rows)
    assert all(row["residual"] <= row["tolerance"] for row in rows)


def test_every_number_of_the_paper_and_every_erratum_has_a_check():
    assert set(registry.labels()) == {*map(str, range(1, 21)), *ELSEWHERE}
    assert registry.labels()[:20] == tuple(map(str, range(1, 21)))


def test_checks_are_complete_and_named_once():
    names = [check.name for check in ll.verify.claims()]
    assert len(set(names)) == len(names)
    for check in ll.verify.claims():
        assert check.claim.endswith("."), check.name
        assert check.method, check.name
        assert check.verdict in {"holds", "holds with a condition", "erratum"}, check.name
        assert (check.verdict == "holds") == (not check.remark), check.name
        assert check.tolerance <= 1e-8 or check.tolerance == 0.05, check.name  # algebra, or a fitted rate
        if check.verdict == "erratum":
            assert any(label.startswith("Erratum") for label in check.equations), check.name


def test_json_names_every_equation_singly():
    rows = json.loads(ll.verify.run("three-neuron example").to_json())
    assert [row["equation"] for row in rows] == ["17", "three-neuron example"]
    assert all(row["as_documented"] for row in rows)
    assert {"claim", "method", "verdict", "residual", "tolerance", "reference"} <= set(rows[0])


def test_several_equations_and_names_in_the_order_of_the_paper():
    names = [check.name for check in verification.select(["weights-ascend", "(10)", 8])]
    assert {"neuron-equation", "multipliers", "weights-ascend"} <= set(names)
    assert names == [check.name for check in ll.verify.claims() if check.name in names]
    with pytest.raises(ValueError, match="no check is about '21'"):
        verification.select(["10", "21"])


def test_a_notebook_shows_a_table_of_markdown():
    check = ll.verify.Claim("one|two", ("15",), "|u| is 1.", "", "erratum", 1e-10, lambda shared: None, "it is 2.")
    lines = ll.verify.Verification((ll.verify.Finding(check, 1.0, {}, {}, 0.1),))._repr_markdown_().splitlines()
    assert lines[0] == "about|claim|verdict|residual|tolerance|as documented"
    assert lines[2] == r"(15)|\|u\| is 1. *it is 2.*|erratum|1.0e+00|1e-10|NO"
    assert "residual 1.0e+00 over the tolerance 1e-10" in lines[4]


def test_for_unknown_equations_and_names_the_error_lists_those_there_are():
    with pytest.raises(ValueError, match=r"no check is about '21'. There are checks about: .*15"):
        ll.verify.run("21")
    with pytest.raises(ValueError, match=r"no check is called 'nothing'. There are: .*three-neurons"):
        ll.verify.claim("nothing")


def test_float32_is_refused_with_the_remedy():
    with jax.enable_x64(False), pytest.raises(ValueError, match="jax_enable_x64"):
        ll.verify.run(15)


# -- findings ----------------------------------------------------------------------------------------------------------


def a_check(residual=0.0, demands=None, error=None, **changes):
    def measure(shared):
        if error is not None:
            raise error
        return Measured(residual, {"a number": 2.0}, demands or {})

    fields = {"name": "a-check", "equations": ("15", "Erratum 1"), "claim": "A claim.", "method": "a method"}
    return Claim(
        **{**fields, "verdict": "erratum", "tolerance": 1e-10, "remark": "a remark", **changes}, measured_by=measure
    )


def test_a_residual_over_its_tolerance_nan_or_an_unmet_demand_is_not_as_documented():
    assert a_check(1e-11).measure().as_documented
    assert not a_check(1e-9).measure().as_documented
    assert a_check(1e-9).measure().reasons == ("residual 1.0e-09 over the tolerance 1e-10",)
    assert not a_check(np.nan).measure().as_documented
    unmet = a_check(0.0, {"the printed form fails": np.False_}).measure()
    assert unmet.reasons == ("not so: the printed form fails",)
    assert "NOT AS DOCUMENTED" in str(unmet)


def test_a_finding_prints_claim_remark_and_numbers():
    printed = str(a_check().measure())
    for words in ("A claim.", "a remark", "a number", "as documented", "15, Erratum 1"):
        assert words in printed


def test_a_measurement_that_raises_fails_its_row_and_spares_the_others(monkeypatch):
    broken, sound = a_check(error=RuntimeError("broken\nlong story")), a_check(name="sound")
    monkeypatch.setattr(verification, "CLAIMS", (broken, sound))
    found = ll.verify.run("15")
    assert [finding.as_documented for finding in found.findings] == [False, True]
    assert "the measurement failed: RuntimeError: broken" in str(found)
    assert "NOT as documented: a-check" in found.summary
    rows = json.loads(found.to_json())
    assert rows[0]["residual"] is None


@pytest.mark.parametrize("check", ll.verify.claims(), ids=lambda check: check.name)
def test_help_of_a_claim_shows_what_is_claimed(check):
    shown = pydoc.plain(pydoc.render_doc(check))
    assert all(part in shown for part in (f"    {check.claim}", f"Measured: {check.method}", check.remark))


def test_a_measuring_function_becomes_the_claim_of_its_name():
    @ll.verify.as_claim("15", "Figure 2", claim="A claim.", method="a method", tolerance=1e-10)
    def some_claim(shared):
        return Measured(1e-11, {}, {})

    assert some_claim.name == "some-claim"
    assert some_claim.equations == ("15", "Figure 2")
    assert some_claim.verdict == "holds"
    assert some_claim.measure().as_documented


def test_a_condition_without_its_remark_is_refused():
    with pytest.raises(ValueError, match="needs its remark"):
        a_check(remark="")


# -- broken on purpose -------------------------------------------------------------------------------------------------


@pytest.fixture
def compiled_anew():
    """Programs compiled before are of the sound package; those compiled meanwhile must serve no other test."""
    jax.clear_caches()
    yield
    jax.clear_caches()


def fails(*names):
    return {name for name in names if not ll.verify.claim(name).measure().as_documented} == set(names)


def transposed(*args):
    return state_jacobian(*args).T


def gains_of_twice_the_friction(rule, speed, theta, num_layers):
    return layer_gains(rule, speed, 2 * theta, num_layers)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "name", "broken", "noticed_by"),
    [
        (constraints, "state_jacobian", transposed, "proof-of-proposition-1"),
        (reduction, "state_jacobian", transposed, "three-neurons"),
        (costate, "layer_gains", gains_of_twice_the_friction, "stationary-costate"),
        (synchronisation, "synchronisation_time", lambda L, dt: L * dt, "video-bound"),
        (constraints, "state_jacobian", transposed, "proposition-1"),
        (reduction, "state_jacobian", transposed, "backward-structure"),
    ],
)
def test_a_broken_function_of_the_package_is_noticed(compiled_anew, monkeypatch, module, name, broken, noticed_by):
    monkeypatch.setattr(module, name, broken)
    assert fails(noticed_by)


@pytest.mark.slow
def test_laws_that_forget_their_input_are_noticed(compiled_anew, monkeypatch):
    """(18) and (19) as printed for input neurons."""
    forgetful = property(lambda p: ll.Stimulus(jnp.zeros(p.hand.num_inputs), jnp.asarray(p.target)))
    monkeypatch.setattr(Problem, "stimulus", forgetful)
    assert fails("delayed-constraints", "neuron-delay")


@pytest.mark.slow
def test_a_wrong_sign_of_the_force_on_the_weights_is_noticed(compiled_anew, monkeypatch):
    """(15) as printed in the place of the corrected one."""
    right = reduction.descent_force
    monkeypatch.setattr(reduction, "descent_force", lambda *args: jax.tree.map(jnp.negative, right(*args)))
    assert fails("weights-ascend")


@pytest.mark.slow
def test_a_wrong_sign_of_damped_descent_is_noticed(compiled_anew, monkeypatch):
    """The same in (13): energy would rise."""
    right = losses.descent_force
    monkeypatch.setattr(losses, "descent_force", lambda *args: jax.tree.map(jnp.negative, right(*args)))
    assert fails("dissipation")


@pytest.mark.slow
def test_a_wrong_sign_of_the_reaction_on_the_weights_is_noticed(compiled_anew, monkeypatch):
    """The reaction −G_Mᵀδ of (9), its sign turned."""
    right = LayeredLinearisation.weight_vjp
    monkeypatch.setattr(
        LayeredLinearisation, "weight_vjp", lambda self, delta: jax.tree.map(jnp.negative, right(self, delta))
    )
    assert fails("weight-equation", "unconstrained-action", "action-to-gradient-flow")


def drop_second_derivatives(monkeypatch):
    right = AbstractEquations.system

    def without(self, *args):
        system, force, closing = right(self, *args)
        return system, force, jax.tree.map(jnp.zeros_like, closing)

    monkeypatch.setattr(AbstractEquations, "system", without)


@pytest.mark.slow
def test_multipliers_without_the_second_derivatives_of_the_constraints_are_noticed(compiled_anew, monkeypatch):
    """γ₂ = D²G at zero acceleration dropped from the closing equation."""
    drop_second_derivatives(monkeypatch)
    assert fails("smoothness-of-the-input")


@pytest.mark.slow
def test_multipliers_without_them_are_noticed_by_equation_10_itself(compiled_anew, monkeypatch):
    drop_second_derivatives(monkeypatch)
    assert fails("multipliers", "reduced-coordinates")


@pytest.mark.slow
def test_the_term_that_20_loses_is_noticed(compiled_anew, monkeypatch):
    """(20) as printed, δ̇ without −ϑδ."""
    right = backprop_diffusion.costate_rate

    def printed(rule, speed, theta, *rest):
        return right(rule, speed, 0 * theta, *rest)

    monkeypatch.setattr(backprop_diffusion, "costate_rate", printed)
    assert fails("backprop-diffusion", "costate-in-time")
