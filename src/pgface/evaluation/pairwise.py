"""A block of photos compared with another: counted, and searched both ways, from one product.

Each pair of photos is multiplied once, as it is in only one of the blocks above and on the diagonal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from pgface.evaluation.histogram import ScoreHistogram, count_similarities
from pgface.system.resources import usable_cores

_FURTHEST = 1_000
_AT_ONCE = 8_000_000
"""Similarities of one product: 32 MB. A person may have more photos than go together."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Single comparisons, kept with the photos that were compared."""

    first: NDArray[np.int64]
    """Shape (n,), rows of the embeddings."""
    second: NDArray[np.int64]
    """Of the same shape; each is a later row than `first`."""
    similarities: NDArray[np.float32]
    """Of the same shape, -1 to 1."""

    def __len__(self) -> int:
        return len(self.similarities)


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """What searches of some photos among others found."""

    photos: slice
    """Which were searched."""
    best: NDArray[np.float32]
    """Shape (n,): similarity with the nearest photo of somebody else; -1 where there is nobody else."""
    nearer: NDArray[np.int64]
    """Shape (n,): how many other people are nearer than the photo's own person."""


@dataclass(frozen=True, slots=True, eq=False)
class BlockFindings:
    """What comparing one block found."""

    searches: tuple[Search, ...]
    non_mated: NDArray[np.int64]
    """Shape (BINS,): how many similarities of two people's photos fell into each bin."""
    mated: NDArray[np.int64]
    """Shape (BINS,): the same of one person's."""
    searched: NDArray[np.int64]
    """Shape (BINS,): how many similarities of a photo with the nearest one of another person fell into each bin."""
    mated_sample: Pairs
    furthest_mated: Pairs
    """The least similar mated pairs."""
    nearest: Pairs
    """The non-mated pairs that are similar enough to be kept."""


@dataclass(frozen=True, slots=True, eq=False)
class BlockComparison:
    """Compares photos, which are sorted by person, with others; safe to use from many threads."""

    embeddings: NDArray[np.float32]
    owners: NDArray[np.int64]
    starts: NDArray[np.int64]
    """Shape (p,): each person's first photo."""
    best_mated: NDArray[np.float32]
    nearest_from: float
    mated_share: float
    """Of the mated pairs, how many are kept for the sample."""
    seed: int

    def __call__(self, rows: slice, columns: slice) -> BlockFindings:
        """Compare the photos of one range with those of the same, or of a later one; each holds whole people."""
        at_once = max(1, _AT_ONCE // (columns.stop - columns.start))
        parts = [
            self._compare(slice(begin, min(begin + at_once, rows.stop)), columns, on_diagonal=rows == columns)
            for begin in range(rows.start, rows.stop, at_once)
        ]
        findings = _joined([part for part, _, _ in parts])
        if rows == columns:
            return findings
        back, searched = self._search(columns, *_best_of(parts))
        return replace(findings, searches=(*findings.searches, back), searched=findings.searched + searched)

    def _compare(
        self, rows: slice, columns: slice, *, on_diagonal: bool
    ) -> tuple[BlockFindings, slice, NDArray[np.float32]]:
        """The findings, and for the columns how near they are to each person of the rows."""
        similarities = self.embeddings[rows] @ self.embeddings[columns].T
        people, starts = self._people(columns)
        there, searched = self._search(rows, people, np.maximum.reduceat(similarities, starts, axis=1).T)
        back = self._nearest_of_each(similarities, rows)
        # In one dimension, which is several times faster where few are found.
        found = np.flatnonzero((similarities >= np.float32(self.nearest_from)).ravel())
        first, second = np.divmod(found, similarities.shape[1])
        nearest = Pairs(first + rows.start, second + columns.start, similarities[first, second])
        mated = NO_PAIRS
        if on_diagonal:
            different = self.owners[nearest.first] != self.owners[nearest.second]
            nearest = chosen(nearest, different & (nearest.second > nearest.first))
            mated = self._mated(similarities, rows, columns)
            owners = self.owners[columns]
            later = np.arange(columns.start, columns.stop) > np.arange(rows.start, rows.stop)[:, np.newaxis]
            similarities = similarities[later & (owners != self.owners[rows, np.newaxis])]
        findings = BlockFindings(
            searches=(there,),
            non_mated=count_similarities(similarities),
            mated=ScoreHistogram.of(mated.similarities).counts,
            searched=searched,
            mated_sample=self._some(mated, rows.start),
            furthest_mated=least_similar(mated),
            nearest=nearest,
        )
        return findings, *back

    def _people(self, photos: slice) -> tuple[slice, NDArray[np.int64]]:
        """Which people some photos are of, and where among them each one's begin."""
        people = slice(int(self.owners[photos.start]), int(self.owners[photos.stop - 1]) + 1)
        return people, np.maximum(self.starts[people], photos.start) - photos.start

    def _nearest_of_each(self, similarities: NDArray[np.float32], rows: slice) -> tuple[slice, NDArray[np.float32]]:
        """Which people the rows are of, and how similar the nearest of each is to the columns: (people, columns)."""
        people, starts = self._people(rows)
        best = np.empty((len(starts), similarities.shape[1]), np.float32)
        # A slab at a time: `reduceat` goes down a column at a time, which takes ten times as long.
        for number, (start, end) in enumerate(pairwise([*starts.tolist(), len(similarities)])):
            similarities[start:end].max(axis=0, out=best[number])
        return people, best

    def _search(self, photos: slice, people: slice, best: NDArray[np.float32]) -> tuple[Search, NDArray[np.int64]]:
        """What the photos find among people, given how similar they are to each: shape (people, photos)."""
        owners = self.owners[photos]
        own = np.flatnonzero((owners >= people.start) & (owners < people.stop))
        best = best.copy()
        best[owners[own] - people.start, own] = _NOBODY
        nearer = np.count_nonzero(best > self.best_mated[photos], axis=0)
        search = Search(photos, best.max(axis=0), nearer)
        counts = count_similarities(best)
        counts[0] -= len(own)  # which are nobody's, and went into the lowest bin
        return search, counts

    def _mated(self, similarities: NDArray[np.float32], rows: slice, columns: slice) -> Pairs:
        """Every photo of the rows with the later ones of the same person."""
        photos = np.arange(rows.start, rows.stop)
        ends = np.append(self.starts[1:], len(self.owners))
        first, second = with_all_from(photos, photos + 1, ends[self.owners[photos]])
        return Pairs(first, second, similarities[first - rows.start, second - columns.start])

    def _some(self, pairs: Pairs, first_row: int) -> Pairs:
        if self.mated_share >= 1:
            return pairs
        random = np.random.default_rng((self.seed, first_row))
        return chosen(pairs, random.random(len(pairs)) < self.mated_share)


def in_threads(compare: BlockComparison, borders: Sequence[slice]) -> Iterator[BlockFindings]:
    """Compare every range with itself and all later ones, on all cores; the findings come in order."""
    workers = usable_cores()
    waiting: deque[Future[BlockFindings]] = deque()
    # Else each product would take all cores, and its threads would wait for work while the others count.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(workers) as executor:
        for place, rows in enumerate(borders):
            for columns in borders[place:]:
                waiting.append(executor.submit(compare, rows, columns))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


NO_PAIRS = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
_NOBODY = -1
"""Similarity with one's own person, in a search among others."""


def _joined(parts: Sequence[BlockFindings]) -> BlockFindings:
    if len(parts) == 1:
        return parts[0]
    return BlockFindings(
        searches=tuple(search for part in parts for search in part.searches),
        non_mated=np.sum([part.non_mated for part in parts], axis=0),
        mated=np.sum([part.mated for part in parts], axis=0),
        searched=np.sum([part.searched for part in parts], axis=0),
        mated_sample=joined([part.mated_sample for part in parts]),
        furthest_mated=least_similar(joined([part.furthest_mated for part in parts])),
        nearest=joined([part.nearest for part in parts]),
    )


def _best_of(
    parts: Sequence[tuple[BlockFindings, slice, NDArray[np.float32]]],
) -> tuple[slice, NDArray[np.float32]]:
    """The nearest of each person, some of whom have photos in several parts."""
    if len(parts) == 1:
        return parts[0][1:]
    people = slice(parts[0][1].start, parts[-1][1].stop)
    best = np.full((people.stop - people.start, parts[0][2].shape[1]), _NOBODY, np.float32)
    for _, of_part, values in parts:
        within = slice(of_part.start - people.start, of_part.stop - people.start)
        best[within] = np.maximum(best[within], values)
    return people, best


def joined(parts: Sequence[Pairs]) -> Pairs:
    """Pairs, one after the other."""
    return Pairs(
        np.concatenate([part.first for part in parts]),
        np.concatenate([part.second for part in parts]),
        np.concatenate([part.similarities for part in parts]),
    )


def least_similar(pairs: Pairs) -> Pairs:
    """The least similar of some pairs, 1,000 at most, the least first."""
    return chosen(pairs, np.argsort(pairs.similarities, kind="stable")[:_FURTHEST])


def chosen(pairs: Pairs, which: NDArray[np.bool_] | NDArray[np.int64]) -> Pairs:
    """Some of the pairs."""
    return Pairs(pairs.first[which], pairs.second[which], pairs.similarities[which])


def with_all_from(
    photos: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each photo with all of a range of its own, from its start to before its end."""
    counts = ends - starts
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(photos, counts), np.repeat(starts, counts) + within
