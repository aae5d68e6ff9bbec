from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from cbam_search.training.metrics import confusion_matrix, metrics_of

CASES = {
    "all classes": ([0, 1, 2, 2, 1, 0, 2], [0, 2, 2, 1, 1, 0, 2]),
    "a class absent from the labels": ([0, 1, 1, 0, 3, 3], [0, 1, 2, 0, 3, 1]),
    "a class absent from both": ([0, 0, 1, 1], [0, 1, 1, 1]),
    "a class never predicted": ([0, 1, 2, 3], [0, 1, 1, 1]),
    "all wrong": ([0, 1], [1, 0]),
    "one class alone": ([2, 2, 2], [2, 2, 2]),
}


@pytest.mark.parametrize("case", CASES)
def test_metrics_are_those_of_scikit_learn(case: str) -> None:
    labels, predictions = (np.array(values, dtype=np.int64) for values in CASES[case])
    ours = metrics_of(confusion_matrix(labels, predictions, classes=5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        balanced = sklearn_metrics.balanced_accuracy_score(labels, predictions)
        macro_f1 = sklearn_metrics.f1_score(labels, predictions, average="macro", zero_division=0)
    assert ours.accuracy == pytest.approx(sklearn_metrics.accuracy_score(labels, predictions))
    assert ours.balanced_accuracy == pytest.approx(balanced)
    assert ours.macro_f1 == pytest.approx(macro_f1)


def test_metrics_of_random_predictions_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    labels, predictions = random.integers(0, 7, 400), random.integers(0, 7, 400)
    confusion = confusion_matrix(labels, predictions, classes=7)
    np.testing.assert_array_equal(confusion, sklearn_metrics.confusion_matrix(labels, predictions))
    expected = sklearn_metrics.f1_score(labels, predictions, average="macro")
    assert metrics_of(confusion).macro_f1 == pytest.approx(expected)
