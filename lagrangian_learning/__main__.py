"""`python -m lagrangian_learning` is `lagrangian-learning`."""

from .cli import main

if __name__ == "__main__":
    main()
