"""`python -m lagrangian_learning` is `lagrangian-learning`."""

from lagrangian_learning.commands.cli import process

if __name__ == "__main__":
    process()
