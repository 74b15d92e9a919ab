"""Accuracy over folds, compared with a case worked by hand and with all possible thresholds."""

from __future__ import annotations

import numpy as np
import pytest

from pgface.errors import EvaluationError
from pgface.evaluation.folds import fold_accuracy
from support.sentences import evaluation as says


def test_a_hand_worked_case() -> None:
    # Thresholds from 0.3 to 0.5 classify all of fold 0 correctly, and one pair of fold 1 wrongly. From 0.1 to 0.2, they
    # classify all of fold 1 correctly, and one pair of fold 0 wrongly.
    similarities = np.array([0.5, 0.6, 0.3, 0.1, 0.2, 0.9, 0.1, 0.0], np.float32)
    mated = np.array([True, True, False, False] * 2)
    found = fold_accuracy(similarities, mated, np.repeat([0, 1], 4))
    assert found.accuracies == (0.75, 0.75)
    assert found.mean == 0.75
    assert found.standard_error == 0
    assert 0.1 < found.thresholds[0] <= 0.2
    assert 0.3 < found.thresholds[1] <= 0.5


def test_pairs_without_a_usable_face_do_not_match() -> None:
    similarities = np.array([0.5, np.nan, 0.1, np.nan] * 2, np.float32)
    mated = np.array([True, True, False, False] * 2)
    found = fold_accuracy(similarities, mated, np.repeat([0, 1], 4))
    assert found.accuracies == (0.75, 0.75)


def test_mean_and_standard_error_are_those_of_the_folds() -> None:
    random = np.random.default_rng(3)
    mated = np.tile(np.arange(60) < 30, 10)
    similarities = np.where(mated, 0.5, 0.2).astype(np.float32) + random.normal(0, 0.1, 600).astype(np.float32)
    folds = np.repeat(np.arange(10), 60)
    found = fold_accuracy(similarities, mated, folds)
    expected = []
    for fold in range(10):
        others, this = folds != fold, folds == fold
        candidates = np.sort(similarities[others])
        right = [((similarities[others] >= t) == mated[others]).sum() for t in candidates]
        best = [t for t, r in zip(candidates, right, strict=True) if r == max(right)]
        accuracies = [((similarities[this] >= t) == mated[this]).mean() for t in best]
        expected.append((min(accuracies), max(accuracies)))
    for accuracy, (low, high) in zip(found.accuracies, expected, strict=True):
        assert low - 1 / 60 - 1e-9 <= accuracy <= high + 1 / 60 + 1e-9
    assert found.mean == pytest.approx(np.mean(found.accuracies))
    assert found.standard_error == pytest.approx(np.std(found.accuracies, ddof=1) / np.sqrt(10))


def test_one_fold_is_not_enough() -> None:
    with pytest.raises(EvaluationError, match=says.THERE_IS_ONLY_ONE_FOLD.pattern()):
        fold_accuracy(np.array([0.5, 0.1], np.float32), np.array([True, False]), np.zeros(2, int))
