"""Reference problems that nobody in this project wrote; each is met at its published or derived gate."""

import jax.numpy as jnp
import numpy as np
import pytest

ENERGY_GATE = 1e-8


@pytest.fixture
def gate(record_property):
    """gate(what, value, bound): the value, measured and recorded, is within its bound."""

    def within(what, value, bound):
        value = float(np.max(np.abs(value)))
        record_property(what, f"{value:.3g} (gate {bound:.3g})")
        print(f"{what}: {value:.3g} (gate {bound:.3g})")  # seen with pytest -rP
        assert value <= bound, f"{what}: {value:.3g} is over the gate {bound:.3g}"

    return within


@pytest.fixture
def balanced(gate):
    """The energy balance E(t) − E(t₀) − ∫ power dt is closed along a whole run, relative to max|E|."""

    def closes(path, bound=ENERGY_GATE):
        assert float(jnp.max(jnp.abs(path.energy))) > 0.01, "an energy of zero is no scale"
        gate("energy balance at saved times", path.energy_balance / jnp.max(jnp.abs(path.energy)), bound)
        gate("energy balance over all steps", path.stats["max_energy_defect"], bound)

    return closes
