"""Optax transformations from the mechanics of learning."""

from .kick_drift import optimizer as optimizer
