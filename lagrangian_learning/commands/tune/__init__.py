"""Friction, masses and neurons' mass of learning, tuned by the gradient through whole learning runs."""
