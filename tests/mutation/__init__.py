"""Mutation testing of `mechanics`, `learning` and `steppers`: are the tests that execute a line sensitive to it?

    python -m tests.mutation            # reach, a seeded sample of mutants, the table; goes on where it stopped
    python -m tests.mutation --table    # the table of what there is

It takes some hours on two cores and is no part of the test suite; see README.md beside this file.
"""
