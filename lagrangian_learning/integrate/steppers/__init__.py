"""Steppers of our own: subclasses of `diffrax.AbstractSolver` that `simulate` takes as `solver`.

What is integrated is an `Augmented` pytree; `integrate.augmented.law_of(terms)` gives the law and so its linear part.
"""
