"""What an evaluation says, from a confusion matrix; the definitions are scikit-learn's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Metrics:
    """Fractions in [0, 1].

    accuracy: the share of images that are right.
    balanced_accuracy: the mean recall of the classes that the labels hold; others do not count
    (`sklearn.metrics.balanced_accuracy_score`).
    macro_f1: the mean F1 of the classes that labels or predictions hold; 0 for one never predicted rightly
    (`sklearn.metrics.f1_score(average="macro", zero_division=0)`).
    """

    accuracy: float
    balanced_accuracy: float
    macro_f1: float


def confusion_matrix(labels: npt.NDArray[np.int64], predictions: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.int64]:
    """(classes, classes) counts; rows are labels, columns are predictions. labels, predictions: (N,)."""
    return np.bincount(labels * classes + predictions, minlength=classes * classes).reshape(classes, classes)


def metrics_of(confusion: npt.NDArray[np.int64]) -> Metrics:
    """confusion: (classes, classes), with at least one image."""
    right = np.diag(confusion)
    labelled = confusion.sum(axis=1)
    predicted = confusion.sum(axis=0)
    present = labelled > 0
    seen = labelled + predicted > 0
    return Metrics(
        accuracy=float(right.sum() / labelled.sum()),
        balanced_accuracy=float(np.mean(right[present] / labelled[present])),
        macro_f1=float(np.mean(2 * right[seen] / (labelled + predicted)[seen])),
    )
