"""Learning as mechanics: cognitive actions, their Euler-Lagrange equations, and their integration in JAX."""
