"""Charges along a run: kept beside the state, by any stepper, and without a change of the motion."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from tests.problems import pendulum

TIMES = np.linspace(0.0, 1.0, 6)


def planet(theta=0.3):
    """A particle in a central field with friction, and its two momenta."""
    lagrangian = ll.Lagrangian(lambda t, q, v, args: v @ v / 2 + 1 / jnp.sqrt(q @ q), ll.ExponentialDissipation(theta))
    law = ll.EulerLagrange(lagrangian)
    charges = {"spin": ll.charge(law, ll.SpaceRotation()), "push": ll.charge(law, lambda t, q, args: jnp.cos(t) * q)}
    return law, ll.State(jnp.array([1.0, 0.2]), jnp.array([0.1, 1.0])), charges


def test_charges_change_no_step():
    law, state, charges = planet()
    with_them, without = (ll.simulate(law, state, TIMES, charges=given) for given in (charges, None))
    np.testing.assert_array_equal(with_them.q, without.q)
    assert with_them.stats["num_steps"] == without.stats["num_steps"]
    np.testing.assert_array_equal(with_them.energy_balance, without.energy_balance)
    with pytest.raises(ll.NotSavedError, match="there are no charges"):
        _ = without.charges


def test_a_run_that_keeps_no_charges_compiles_to_the_same_program():
    """None is an empty pytree: nothing is carried, nothing computed."""
    law, state, _ = planet()
    carry = ll.simulate(law, state, TIMES[:2], charges={}).carry
    assert carry.y.charges is None
    assert len(jax.tree.leaves(carry.y)) == 3


def test_printed():
    law, state, charges = planet()
    text = str(ll.simulate(law, state, TIMES, charges=charges))
    lines = [line for line in text.splitlines() if line.strip().startswith("charge")]
    assert [line.split()[1] for line in lines] == ["push", "spin"]
    assert all("balance closed to" in line for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("solver", "order"),
    [(ll.KickDrift(), 1), (ll.ExponentialMidpoint(), 2), (ll.ExponentialRK4(), 4), (ll.Rattle(), 2)],
)
def test_balances_converge_with_the_stepper(solver, order):
    """Of the spin: the defect of the other charge changes its sign as steps shorten."""
    law, state, charges = planet()
    defects = []
    for steps in (20, 40, 80):
        path = ll.simulate(law, state, TIMES[[0, -1]], solver=solver, dt0=1 / steps, charges=charges)
        defects.append(float(abs(path.charges["spin"].balance[-1])))
    assert np.all(-np.diff(np.log2(defects)) > order - 0.3)


@pytest.mark.slow
def test_resumed():
    law, state, charges = planet()
    whole = ll.simulate(law, state, TIMES, dt0=0.02, charges=charges)
    first = ll.simulate(law, state, TIMES[:3], dt0=0.02, charges=charges)
    second = ll.simulate(law, None, TIMES[2:], dt0=0.02, resume=first, charges=charges)
    np.testing.assert_array_equal(second.charges["push"].balance, whole.charges["push"].balance[2:])
    with pytest.raises(ValueError, match="kept push, spin: give the same charges"):
        ll.simulate(law, None, TIMES[2:], dt0=0.02, resume=first)


@pytest.mark.slow
def test_backward_in_time():
    law, state, charges = planet()
    there = ll.simulate(law, state, TIMES, charges=charges)
    back = ll.simulate(law, there.final_state, TIMES[::-1], charges=charges)
    for name, kept in back.charges.items():
        np.testing.assert_allclose(kept.value, there.charges[name].value[::-1], atol=1e-9)
        np.testing.assert_allclose(kept.rate, there.charges[name].rate[::-1], atol=1e-8)
        np.testing.assert_allclose(sum(kept.parts), kept.rate, rtol=1e-12)
        np.testing.assert_allclose(kept.balance, 0, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("watch", ["saved", "nothing"])
def test_kept_whatever_is_watched(watch):
    law, state, charges = planet()
    path = ll.simulate(law, state, TIMES, watch=watch, charges=charges, save=lambda t, observables: ())
    np.testing.assert_allclose(path.charges["push"].balance, 0, atol=1e-9)


@pytest.mark.slow
def test_baumgarte_is_part_of_the_multipliers():
    """Off the constraint, where coarse steps go, its reaction is another one: the charge is of the law that is run."""
    law = pendulum(theta=0.2)
    state = law.initial_state(0.0, jnp.array([1.0, 0.1]), jnp.array([0.3, -0.4]), consistent="project")

    def generator(t, q, args):
        return jnp.stack([q[0] ** 2, 1 + 0 * q[1]])

    kwargs = {"stabilisation": ll.Baumgarte(5.0, 5.0), "solver": diffrax.Tsit5(), "dt0": 0.1}
    path = ll.simulate(law, state, TIMES, charges={"Q": ll.charge(law, generator)}, **kwargs)
    plain, run = (
        np.array(
            [ll.charge(each, generator)(t, ll.State(*y)).rate for t, *y in zip(TIMES, path.q, path.v, strict=True)]
        )
        for each in (law, law.baumgarte(5.0, 5.0))
    )
    np.testing.assert_allclose(path.charges["Q"].rate, run, rtol=1e-11, atol=1e-11)
    assert np.max(np.abs(run - plain)) > 1e-6


@pytest.mark.slow
def test_lanes_by_vmap_and_float32():
    @eqx.filter_vmap
    def run(theta):
        law, state, charges = planet(theta)
        state = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), state)
        return ll.simulate(law, state, TIMES, charges=charges)

    thetas = np.array([0.1, 0.5], np.float32)
    path = run(thetas)
    spin = path.charges["spin"]
    assert spin.value.dtype == jnp.float32
    np.testing.assert_allclose(spin.value, 0.98 * np.exp(-np.outer(thetas, TIMES)), rtol=1e-4)
    assert "charge" in str(path)


@pytest.mark.slow
def test_gradients_go_through_values_and_balances():
    """dL/dϑ at the end of L = L₀ e^{−ϑt}; the balance has none."""

    def ends(theta):
        law, state, charges = planet(theta)
        spin = ll.simulate(law, state, TIMES, dt0=0.01, charges=charges, max_steps=128).charges["spin"]
        return jnp.stack([spin.value[-1], spin.balance[-1]])

    found = jax.jacrev(ends)(jnp.asarray(0.3))
    np.testing.assert_allclose(found, [-0.98 * np.exp(-0.3), 0.0], atol=1e-9)


@pytest.mark.slow
def test_at_an_event():
    law, state, charges = planet()
    event = diffrax.Event(lambda t, y, args, **kw: y.q[0] - 0.9, root_finder=None)
    path = ll.simulate(law, state, TIMES, event=event, charges=charges)
    reached = np.isfinite(path.charges["push"].value)
    assert 0 < reached.sum() < len(TIMES)
    np.testing.assert_allclose(path.charges["push"].balance[reached], 0, atol=1e-9)


def test_refusals(unchecked):
    law, state, charges = planet()
    with pytest.raises(ValueError, match="must be a dict of names and charges"):
        ll.simulate(law, state, TIMES, charges=charges["spin"])
    with pytest.raises(ValueError, match=r"charges\['spin'\] must be made by ll.charge"):
        ll.simulate(law, state, TIMES, charges={"spin": ll.SpaceRotation()})
    with pytest.raises(ValueError, match="simulate_batch keeps no charges"):
        ll.simulate_batch(law, state, TIMES, charges=charges)
