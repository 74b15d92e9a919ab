"""Every photo compared with every other: the similarities of mated and non-mated pairs, and what a search would find.

Blocks of photos are compared at once, so memory grows with the photos and not with their pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgface.errors import EvaluationError
from pgface.evaluation.histogram import BINS, ScoreHistogram
from pgface.evaluation.pairwise import BlockComparison, Pairs, in_threads, joined, least_similar, with_all_from

KEPT_PAIRS = 200_000
"""Pairs of each kind that are kept one by one, with whose they are."""
_TOGETHER = 1_024
"""Photos that are compared with as many others at once."""


@dataclass(frozen=True, slots=True, eq=False)
class PairComparisons:
    """Comparisons of pairs of photos: all of a set, or those of a list.

    Terms: ISO/IEC 2382-37 (mated, non-mated) and ISO/IEC 19795-1.
    """

    people: NDArray[np.int64]
    """Shape (n,): whose each photo is, 0 to p - 1."""
    mated: ScoreHistogram
    """Of all pairs of photos of one person."""
    non_mated: ScoreHistogram
    """Of all pairs of photos of two people."""
    mated_sample: Pairs
    """Mated pairs drawn at random; all where there are no more than 200,000."""
    non_mated_sample: Pairs
    """Non-mated pairs drawn at random; all where there are no more than 200,000."""
    nearest_non_mated: Pairs
    """The most similar non-mated pairs, about 200,000: all those that reach `nearest_from`."""
    nearest_from: float
    furthest_mated: Pairs
    """The least similar mated pairs, 1,000 at most, the least first."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparisons(PairComparisons):
    """All comparisons of a set of photos: every pair once, and every photo searched among all others."""

    searched: ScoreHistogram
    """Of each photo with the nearest one of each other person: what a search does with everybody enrolled."""
    best_mated: NDArray[np.float32]
    """Shape (n,): how similar each photo's nearest other one of the same person is; NaN where there is none."""
    best_non_mated: NDArray[np.float32]
    """Shape (n,): how similar the nearest photo of anybody else is."""
    ranks: NDArray[np.int64]
    """Shape (n,): the place of the photo's own person in a search, 1 for the first; 0 where there is no other photo."""


def compare_all(embeddings: NDArray[np.float32], people: NDArray[np.int64], *, seed: int = 0) -> Comparisons:
    """Compare every photo with every other.

    Args:
        embeddings: shape (n, 512), float32, norm 1.
        people: shape (n,), integers: whose each is.
        seed: of the pairs that are drawn.

    Raises:
        EvaluationError: there are fewer than two people, or no person has two photos.

    """
    _, owners = np.unique(people, return_inverse=True)
    sizes = np.bincount(owners)
    if len(sizes) < 2:
        raise EvaluationError("There is only one person, so no two people can be compared; add photos of others.")
    if sizes.max() < 2:
        raise EvaluationError("Everybody has one photo only, so no person can be compared with themselves; add photos.")
    order = np.argsort(owners, kind="stable")
    return _Comparing(embeddings[order], owners[order], order, seed).run()


class _Comparing:
    """One run over the photos, sorted by person."""

    def __init__(
        self,
        embeddings: NDArray[np.float32],
        owners: NDArray[np.int64],
        order: NDArray[np.int64],
        seed: int,
    ) -> None:
        self._embeddings = embeddings
        self._owners = owners
        self._order = order
        self._seed = seed
        self._random = np.random.default_rng(seed)
        self._starts = np.flatnonzero(np.diff(owners, prepend=-1))
        self._ends = np.append(self._starts[1:], len(owners))
        sizes = self._ends - self._starts
        self._mated_total = int((sizes * (sizes - 1) // 2).sum())
        self._non_mated_total = len(owners) * (len(owners) - 1) // 2 - self._mated_total

    def run(self) -> Comparisons:
        count = len(self._owners)
        non_mated_sample = self._draw_non_mated()
        nearest_from = self._nearest_from(non_mated_sample)
        best_mated = self._best_mated()
        best_non_mated = np.full(count, -1, np.float32)
        ranks = np.ones(count, np.int64)
        mated, non_mated, searched = np.zeros((3, BINS), np.int64)
        kept_mated: list[Pairs] = []
        kept_nearest: list[Pairs] = []
        furthest: list[Pairs] = []
        block = BlockComparison(
            self._embeddings,
            self._owners,
            self._starts,
            best_mated,
            nearest_from,
            mated_share=KEPT_PAIRS / self._mated_total,
            seed=self._seed,
        )
        for found in in_threads(block, self._borders()):
            for search in found.searches:
                best_non_mated[search.photos] = np.maximum(best_non_mated[search.photos], search.best)
                ranks[search.photos] += search.nearer
            mated += found.mated
            non_mated += found.non_mated
            searched += found.searched
            kept_mated.append(found.mated_sample)
            kept_nearest.append(found.nearest)
            furthest.append(found.furthest_mated)
        return Comparisons(
            people=_put_back(self._owners, self._order),
            mated=ScoreHistogram(mated),
            non_mated=ScoreHistogram(non_mated),
            mated_sample=self._join(kept_mated),
            non_mated_sample=self._join([non_mated_sample]),
            nearest_non_mated=self._join(kept_nearest),
            nearest_from=nearest_from,
            furthest_mated=least_similar(self._join(furthest)),
            searched=ScoreHistogram(searched),
            best_mated=_put_back(best_mated, self._order),
            best_non_mated=_put_back(best_non_mated, self._order),
            ranks=_put_back(np.where(np.isnan(best_mated), 0, ranks), self._order),
        )

    def _borders(self) -> list[slice]:
        """Photos of whole people, some thousands together."""
        borders = [0]
        for end in self._ends.tolist():
            if end - borders[-1] >= _TOGETHER or end == len(self._owners):
                borders.append(end)
        return [slice(start, end) for start, end in pairwise(borders)]

    def _best_mated(self) -> NDArray[np.float32]:
        """How similar the nearest other photo of the same person is; NaN where there is none."""
        best = np.full(len(self._owners), np.nan, np.float32)
        sizes = self._ends - self._starts
        for size in np.unique(sizes[sizes > 1]).tolist():
            starts = self._starts[sizes == size]
            if size > _TOGETHER:
                for start in starts.tolist():
                    best[start : start + size] = nearest_other(self._embeddings[start : start + size], _TOGETHER)
                continue
            together = max(1, _TOGETHER // size)
            for begin in range(0, len(starts), together):
                rows = starts[begin : begin + together, np.newaxis] + np.arange(size)
                photos = self._embeddings[rows]
                similarities = photos @ photos.transpose(0, 2, 1)
                similarities[:, np.arange(size), np.arange(size)] = -2
                best[rows] = similarities.max(axis=2)
        return best

    def _draw_non_mated(self) -> Pairs:
        starts, ends = self._starts[self._owners], self._ends[self._owners]
        count = len(self._owners)
        if self._non_mated_total <= KEPT_PAIRS:
            first, second = with_all_from(np.arange(count), ends, np.full(count, count))
        else:
            # A photo with as many chances as there are photos of others, and then one of those.
            others = count - (ends - starts)
            chances = np.cumsum(others)
            first = np.searchsorted(chances, self._random.integers(0, chances[-1], KEPT_PAIRS), side="right")
            second = self._random.integers(0, others[first])
            second += np.where(second >= starts[first], (ends - starts)[first], 0)
        return Pairs(first, second, products(self._embeddings, first, second))

    def _nearest_from(self, sample: Pairs) -> float:
        """A similarity that about as many non-mated pairs reach as are kept."""
        share = KEPT_PAIRS / self._non_mated_total
        return -1.1 if share >= 1 else float(np.quantile(sample.similarities, 1 - share))

    def _join(self, parts: list[Pairs]) -> Pairs:
        """One of several, with the photos in the order in which they were given."""
        pairs = joined(parts)
        one, other = self._order[pairs.first], self._order[pairs.second]
        return Pairs(np.minimum(one, other), np.maximum(one, other), pairs.similarities)


def nearest_other(embeddings: NDArray[np.float32], together: int) -> NDArray[np.float32]:
    """How similar the nearest other of some embeddings is, shape (n,), in blocks of rows."""
    best = np.empty(len(embeddings), np.float32)
    for begin in range(0, len(embeddings), together):
        rows = np.arange(begin, min(begin + together, len(embeddings)))
        similarities = embeddings[rows] @ embeddings.T
        similarities[rows - begin, rows] = -2
        best[rows] = similarities.max(axis=1)
    return best


def products(
    embeddings: NDArray[np.float32], first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The similarity of each pair of rows, shape (n,), in blocks."""
    blocks = [slice(begin, begin + _TOGETHER) for begin in range(0, len(first), _TOGETHER)]
    found = [np.einsum("ij,ij->i", embeddings[first[block]], embeddings[second[block]]) for block in blocks]
    return np.concatenate([np.empty(0, np.float32), *found])


def _put_back(values: NDArray[Any], order: NDArray[np.int64]) -> NDArray[Any]:
    """Values of sorted photos in the order in which the photos were given."""
    given = np.empty_like(values)
    given[order] = values
    return given
