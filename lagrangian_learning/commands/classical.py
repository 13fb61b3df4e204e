"""What classical classifiers reach on the data of `learn`, in percent of the test set.

Measured by `benchmarks/classical.py` with scikit-learn, which the speech command does not need.
"""

SPEECH = {"LDA": 96.2, "logistic": 97.0, "QDA": 97.8}
DIGITS = {"1-NN": 96.5, "SVC": 96.5, "logistic": 92.3}
SOURCE = "benchmarks/classical.py"


def in_words(shares: dict[str, float]) -> str:
    """LDA 96.2 %, logistic 97.0 %, …"""
    return ", ".join(f"{name} {share:.1f} %" for name, share in shares.items())
