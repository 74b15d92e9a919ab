"""Accuracy over folds, as LFW defines it: each fold at the threshold that is best for the other folds.

Source: G. B. Huang, M. Ramesh, T. Berg, E. Learned-Miller, "Labeled Faces in the Wild", University of Massachusetts,
Technical Report 07-49 (2007), view 2: mean and standard error of the folds' accuracies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pgface.errors import EvaluationError
from pgface.evaluation.histogram import ScoreHistogram, thresholds


@dataclass(frozen=True, slots=True)
class FoldAccuracy:
    """Share of pairs that are classified correctly."""

    mean: float
    standard_error: float
    """The standard error of the mean."""
    accuracies: tuple[float, ...]
    """The accuracy of each fold."""
    thresholds: tuple[float, ...]
    """The threshold of each fold."""


def fold_accuracy(
    similarities: NDArray[np.float32], mated: NDArray[np.bool_], folds: NDArray[np.int64]
) -> FoldAccuracy:
    """Measure each fold at the threshold that classifies the most pairs of the other folds correctly.

    Args:
        similarities: shape (n,), the similarity of each pair. NaN for a photo without a usable face. NaN never matches.
        mated: shape (n,): whether both photos are of one person.
        folds: shape (n,): 0 to k - 1.

    Raises:
        EvaluationError: there is only one fold.

    """
    count = int(folds.max()) + 1
    if count < 2:
        raise EvaluationError("Accuracy over folds needs at least two folds, got one.")
    correct = np.stack([_count_correct(similarities, mated, folds == fold) for fold in range(count)])
    sizes = np.bincount(folds)
    accuracies, chosen = [], []
    for fold in range(count):
        others = correct.sum(axis=0) - correct[fold]
        best = np.flatnonzero(others == others.max())
        best_index = best[len(best) // 2]  # the middle one if several thresholds are equally good
        accuracies.append(float(correct[fold, best_index] / sizes[fold]))
        chosen.append(float(thresholds()[best_index]))
    error = float(np.std(accuracies, ddof=1) / np.sqrt(count))
    return FoldAccuracy(float(np.mean(accuracies)), error, tuple(accuracies), tuple(chosen))


def _count_correct(
    similarities: NDArray[np.float32], mated: NDArray[np.bool_], within: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Count the pairs that are classified correctly at each threshold."""
    usable = within & ~np.isnan(similarities)
    matching = ScoreHistogram.of(similarities[usable & mated]).at_or_above()
    rejected = ScoreHistogram.of(similarities[usable & ~mated]).below()
    return matching + rejected + int((within & ~usable & ~mated).sum())
