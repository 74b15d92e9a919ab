"""Exact answers, and the agreement of other answers with them."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pgface.operations.bench.results import Proportion
from pgface.operations.bench.synthetic import PHOTOS_PER_PERSON

_BATCH_ROWS = 2_000 * PHOTOS_PER_PERSON
"""The number of embeddings compared at a time. With 2,000 probes the similarities take 80 MB."""
_ROUNDING_ERROR = 1e-6
"""Similarities that differ by less are equal, because float32 sums depend on the order of their terms."""


@dataclass(frozen=True, slots=True, eq=False)
class ExactAnswers:
    """The most similar people of each probe, best first, by the cosine with each person's best embedding."""

    persons: NDArray[np.int64]
    """Numbers of people as in `SyntheticPeople`, shape (probes, people for each)."""
    similarities: NDArray[np.float32]
    """The similarities of these people, of the same shape, -1 to 1."""

    def share_above(self, threshold: float) -> Proportion:
        """Measure the share of probes with a person at or above a threshold, for non-mated probes the FPIR."""
        return Proportion.of(int((self.similarities[:, 0] >= threshold).sum()), len(self.similarities))

    def agreement(self, persons: Sequence[int], similarities: Sequence[float]) -> Proportion:
        """Measure how often another search finds the best person, or one who is equally similar.

        Args:
            persons: the answers to the first probes, -1 for none.
            similarities: the exact similarity of each answer.

        """
        theirs, best = np.array(persons, np.int64), slice(len(persons))
        same = theirs == self.persons[best, 0]
        equal = (theirs >= 0) & (np.array(similarities) >= self.similarities[best, 0] - _ROUNDING_ERROR)
        return Proportion.of(int((same | equal).sum()), len(theirs))

    def recall(self, threshold: float, found: Sequence[AbstractSet[int]]) -> Proportion:
        """Measure the share of the people above the threshold that another search finds.

        Args:
            threshold: the minimum similarity. A person within a rounding error of it may be missing.
            found: the people found for each of the first probes, at most as many as in these answers.

        """
        above = self.similarities[: len(found)] >= threshold + _ROUNDING_ERROR
        wanted = [set(row[mask].tolist()) for row, mask in zip(self.persons, above, strict=False)]
        hits = sum(len(want & have) for want, have in zip(wanted, found, strict=True))
        return Proportion.of(hits, sum(map(len, wanted)))


def exact_answers(
    embeddings: NDArray[np.float32], probes: NDArray[np.float32], *, people_for_each: int = 10
) -> ExactAnswers:
    """Compare every probe with every embedding.

    Args:
        embeddings: shape (people × photos, 512), norm 1, as `SyntheticPeople.embeddings` gives them.
        probes: shape (n, 512), norm 1.
        people_for_each: the maximum number of people for each probe.

    """
    most = min(people_for_each, len(embeddings) // PHOTOS_PER_PERSON)
    persons = np.empty((len(probes), 0), np.int64)
    similarities = np.empty((len(probes), 0), np.float32)
    for first in range(0, len(embeddings), _BATCH_ROWS):
        products = probes @ embeddings[first : first + _BATCH_ROWS].T
        best = products.reshape(len(probes), -1, PHOTOS_PER_PERSON).max(axis=2)
        numbers = np.arange(best.shape[1]) + first // PHOTOS_PER_PERSON
        similarities = np.concatenate([similarities, best], axis=1)
        persons = np.concatenate([persons, np.broadcast_to(numbers, best.shape)], axis=1)
        kept = min(most, similarities.shape[1])
        best_columns = np.argpartition(-similarities, kept - 1, axis=1)[:, :kept]
        similarities = np.take_along_axis(similarities, best_columns, axis=1)
        persons = np.take_along_axis(persons, best_columns, axis=1)
    order = np.argsort(-similarities, axis=1)
    return ExactAnswers(np.take_along_axis(persons, order, axis=1), np.take_along_axis(similarities, order, axis=1))


def threshold_at_fpir(non_mated: ExactAnswers, fpir: float) -> float:
    """Find the threshold that this share of the non-mated probes reaches, to three decimal places."""
    return round(float(np.quantile(non_mated.similarities[:, 0], 1 - fpir)), 3)
