"""Figures 1, 2 and 3 of the paper, drawn from runs, and their animation."""
