"""Gradients of a run from runs back in time, nudged by a cost: `ll.echo_gradient` (docs/theory.md §13)."""

from .echo import Echo as Echo
from .echo_gradient import echo_gradient as echo_gradient
