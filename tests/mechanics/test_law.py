"""What a law is that defines nothing but its rates."""

import jax.numpy as jnp

import lagrangian_learning as ll


class Growth(ll.AbstractLaw):
    def rates(self, t, state, args):
        return ll.Rates(ll.State(state.v, state.q))


def test_every_default_is_true_of_a_law_that_has_only_rates():
    law, q, v = Growth(), jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0])
    state = law.initial_state(0.0, q, v)
    assert (state.q is q, state.v is v) == (True, True)
    assert set(law.observables(0.0, state, None)) == {"q", "v"}
    assert law.observables(0.0, q, None) == {"q": q}
    assert law.check(jnp.array([0.0, 1.0]), state, None) is state
    assert law.stops(0.0, state, None) is None
    parts = (law.constrained_part, law.energy_part, law.linear_part, law.mechanical_part)
    assert parts == (None, None, None, None)
    assert not law.solves_multipliers
    assert law.splitting() == (None, law)
    assert law.description == {"equation": "Growth"}
    assert law.aliases == {}


def test_vector_field_is_one_method_and_no_other():
    law = Growth()
    field = law.vector_field
    assert field == field  # noqa: PLR0124  # a method hashed by identity is itself
    assert field != law.vector_field
    assert hash(field) != hash(law.vector_field)
