"""A block of photos compared with another: counted, and searched both ways, from one product.

Each pair of photos is multiplied once, as it is in only one of the blocks above and on the diagonal.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pgface.evaluation.histogram import count_similarities

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
    """Shape (n,): the nearest photo of somebody else; -2 where there is none."""
    nearer: NDArray[np.int64]
    """Shape (n,): how many other people are nearer than the photo's own person."""


@dataclass(frozen=True, slots=True, eq=False)
class BlockFindings:
    """What comparing one block found."""

    searches: tuple[Search, ...]
    non_mated: NDArray[np.int64]
    """Shape (BINS,): how many similarities of two people fell into each bin."""
    mated: Pairs
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

    def __call__(self, rows: slice, columns: slice) -> BlockFindings:
        """Compare the photos of one range with those of the same, or of a later one; each holds whole people."""
        at_once = max(1, _AT_ONCE // (columns.stop - columns.start))
        parts = [
            self._compare(slice(begin, min(begin + at_once, rows.stop)), columns, on_diagonal=rows == columns)
            for begin in range(rows.start, rows.stop, at_once)
        ]
        if len(parts) == 1:
            findings, people, best = parts[0]
        else:
            findings = _joined([part for part, _, _ in parts])
            people, best = _best_of(parts)
        if rows == columns:
            return findings
        back = self._search(columns, best, people)
        return BlockFindings((*findings.searches, back), findings.non_mated, findings.mated, findings.nearest)

    def _compare(
        self, rows: slice, columns: slice, *, on_diagonal: bool
    ) -> tuple[BlockFindings, slice, NDArray[np.float32]]:
        """The findings, and for the columns how near they are to each person of the rows."""
        similarities = self.embeddings[rows] @ self.embeddings[columns].T
        people, best = self._best(similarities, columns, axis=1)
        there = self._search(rows, best.T, people)
        back = self._best(similarities, rows, axis=0)
        first, second = np.nonzero(similarities >= np.float32(self.nearest_from))
        nearest = Pairs(first + rows.start, second + columns.start, similarities[first, second])
        mated = _NO_PAIRS
        if on_diagonal:
            different = self.owners[nearest.first] != self.owners[nearest.second]
            nearest = chosen(nearest, different & (nearest.second > nearest.first))
            mated = self._mated(similarities, rows, columns)
            owners = self.owners[columns]
            later = np.arange(columns.start, columns.stop) > np.arange(rows.start, rows.stop)[:, np.newaxis]
            similarities = similarities[later & (owners != self.owners[rows, np.newaxis])]
        return BlockFindings((there,), count_similarities(similarities), mated, nearest), *back

    def _best(self, similarities: NDArray[np.float32], photos: slice, axis: int) -> tuple[slice, NDArray[np.float32]]:
        """Which people some photos along an axis are of, and how similar each one's nearest is."""
        people = slice(int(self.owners[photos.start]), int(self.owners[photos.stop - 1]) + 1)
        starts = np.maximum(self.starts[people], photos.start) - photos.start
        return people, np.maximum.reduceat(similarities, starts, axis=axis)

    def _search(self, photos: slice, best: NDArray[np.float32], people: slice) -> Search:
        """What the photos find among people, given how similar they are to each: shape (people, photos)."""
        owners = self.owners[photos]
        own = np.flatnonzero((owners >= people.start) & (owners < people.stop))
        if len(own):
            best = best.copy()
            best[owners[own] - people.start, own] = -2
        nearer = np.count_nonzero(best > self.best_mated[photos], axis=0)
        return Search(photos, best.max(axis=0), nearer)

    def _mated(self, similarities: NDArray[np.float32], rows: slice, columns: slice) -> Pairs:
        """Every photo of the rows with the later ones of the same person."""
        photos = np.arange(rows.start, rows.stop)
        ends = np.append(self.starts[1:], len(self.owners))
        first, second = with_all_from(photos, photos + 1, ends[self.owners[photos]])
        return Pairs(first, second, similarities[first - rows.start, second - columns.start])


def in_threads(compare: BlockComparison, borders: Sequence[slice]) -> Iterator[BlockFindings]:
    """Compare every range with itself and all later ones, on all cores; the findings come in order."""
    workers = os.cpu_count() or 1
    waiting: deque[Future[BlockFindings]] = deque()
    with ThreadPoolExecutor(workers) as executor:
        for place, rows in enumerate(borders):
            for columns in borders[place:]:
                waiting.append(executor.submit(compare, rows, columns))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


_NO_PAIRS = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))


def _joined(parts: Sequence[BlockFindings]) -> BlockFindings:
    return BlockFindings(
        tuple(search for part in parts for search in part.searches),
        np.sum([part.non_mated for part in parts], axis=0),
        joined([part.mated for part in parts]),
        joined([part.nearest for part in parts]),
    )


def _best_of(
    parts: Sequence[tuple[BlockFindings, slice, NDArray[np.float32]]],
) -> tuple[slice, NDArray[np.float32]]:
    """The nearest of each person, some of whom have photos in several parts."""
    people = slice(parts[0][1].start, parts[-1][1].stop)
    best = np.full((people.stop - people.start, parts[0][2].shape[1]), -2, np.float32)
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
