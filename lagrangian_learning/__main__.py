"""`python -m lagrangian_learning` is `lagrangian-learning`."""

from lagrangian_learning.commands.cli import main

if __name__ == "__main__":
    main()
