"""Which accuracy do scikit-learn's classical classifiers reach on the speech and the digits of `learn`?

Speech: each frame is classified by itself, and log-probabilities are summed over a recording. The cepstra are scaled
as `learn speech` scales them, by means and deviations of the training frames. Digits: pixels from −1 to 1, as
`learn digits` takes them. Logistic regression has C = 1 and no limit of iterations that matters, SVC the default
kernel and C = 10. Logistic regression on raw cepstra, or with another C, is reported beside, since it depends on both.

    python benchmarks/classical.py        (half a minute; writes benchmarks/results/classical.json)
"""

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

import lagrangian_learning as ll
from lagrangian_learning.commands.digits.task import digits

if __package__:
    from . import common
else:
    import common

REGULARISATIONS = (0.1, 1.0, 10.0)


def logistic(C: float = 1.0) -> LogisticRegression:
    return LogisticRegression(C=C, max_iter=5000)


def summed(classifier, train, test):
    """The share of recordings whose label has the largest sum of log-probabilities over the frames."""
    classifier.fit(train.frames.astype(np.float64), np.repeat(train.labels, train.lengths))
    frame_by_frame = classifier.predict_log_proba(test.frames.astype(np.float64))
    starts = [part.start for part in test.slices]
    return float(np.mean(np.argmax(np.add.reduceat(frame_by_frame, starts), axis=1) == test.labels))


def speech():
    raw = ll.data.japanese_vowels("train"), ll.data.japanese_vowels("test")
    scaled = ll.data.standardise(*raw)
    classifiers = {"LDA": LinearDiscriminantAnalysis(), "logistic": logistic(), "QDA": QuadraticDiscriminantAnalysis()}
    return {
        "accuracy": {name: summed(classifier, *scaled) for name, classifier in classifiers.items()},
        "logistic_by_C": {str(C): summed(logistic(C), *scaled) for C in REGULARISATIONS},
        "logistic_on_raw_cepstra_by_C": {str(C): summed(logistic(C), *raw) for C in REGULARISATIONS},
    }


def images():
    train, test = digits()
    seen, judged = (every.images.reshape(len(every.labels), -1).astype(np.float64) for every in (train, test))

    def accuracy(classifier):
        return float(classifier.fit(seen, train.labels).score(judged, test.labels))

    classifiers = {"1-NN": KNeighborsClassifier(1), "SVC": SVC(C=10), "logistic": logistic()}
    return {
        "accuracy": {name: accuracy(classifier) for name, classifier in classifiers.items()},
        "logistic_by_C": {str(C): accuracy(logistic(C)) for C in REGULARISATIONS},
    }


def headline(found):
    parts = (
        f"{what}: {', '.join(f'{name} {100 * share:.1f} %' for name, share in found[what]['accuracy'].items())}"
        for what in ("speech", "digits")
    )
    return "; ".join(parts)


def main() -> None:
    common.options(__doc__)
    found = {"speech": speech(), "digits": images()}
    path = common.write("classical", question=__doc__.splitlines()[0], headline=headline(found), missed=[], **found)
    print(headline(found), path, sep="\n")


if __name__ == "__main__":
    main()
