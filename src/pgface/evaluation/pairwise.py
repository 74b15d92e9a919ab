"""Compares every photo with every other: similarities of mated and non-mated pairs, and the result of every search.

Photos are compared in blocks, so memory grows with the number of photos and not with the number of pairs. Each pair of
photos is multiplied once. Its similarity counts as one comparison and as two searches, one for each photo.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from pgface.errors import EvaluationError
from pgface.evaluation.histogram import BINS, ScoreHistogram, count_similarities
from pgface.system.resources import usable_cores

KEPT_PAIRS = 200_000
"""Approximate number of pairs in each sample."""
_SEED = 0
_MAX_LEAST_SIMILAR = 1_000
_BLOCK_PHOTOS = 1_024
"""Minimum number of photos in a block. All photos of a person are in one block."""
_PRODUCT_SIZE = 8_000_000
"""Maximum number of similarities in memory for each thread, 32 MB. Only people with very many photos reach it."""
_OWN_PERSON = -1
"""Similarity of a photo's own person in a search among other people, the lowest one."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pairs of photos with their similarities."""

    first: NDArray[np.int64]
    """Shape (n,), rows of the embeddings."""
    second: NDArray[np.int64]
    """Shape (n,), rows of the embeddings. Each is a later row than `first`."""
    similarities: NDArray[np.float32]
    """Shape (n,), -1 to 1."""

    def __len__(self) -> int:
        return len(self.similarities)

    def select(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> Pairs:
        """Return the pairs at a mask or at indices."""
        return Pairs(self.first[which], self.second[which], self.similarities[which])

    def least_similar(self) -> Pairs:
        """Return at most 1,000 pairs, the least similar first."""
        return self.select(np.argsort(self.similarities, kind="stable")[:_MAX_LEAST_SIMILAR])


@dataclass(frozen=True, slots=True, eq=False)
class PairComparisons:
    """Comparisons of pairs of photos: all pairs of a set, or those of a list.

    Terms: ISO/IEC 2382-37 (mated, non-mated) and ISO/IEC 19795-1.
    """

    people: NDArray[np.int64]
    """Shape (n,): the person of each photo, 0 to p - 1."""
    mated: ScoreHistogram
    """Similarities of all pairs of photos of one person."""
    non_mated: ScoreHistogram
    """Similarities of all pairs of photos of two people."""
    mated_sample: Pairs
    """A random sample of about 200,000 mated pairs, or all of them if there are fewer."""
    non_mated_sample: Pairs
    """A random sample of 200,000 non-mated pairs, or all of them if there are fewer."""
    nearest_non_mated: Pairs
    """About 200,000 non-mated pairs: all with a similarity of at least `nearest_from`."""
    nearest_from: float
    furthest_mated: Pairs
    """The least similar mated pairs, at most 1,000, the least similar first."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparisons(PairComparisons):
    """All comparisons of a set of photos: every pair once, and every photo searched among all others."""

    searched: ScoreHistogram
    """Similarity of each photo to each other person: to the nearest photo of that person."""
    best_mated: NDArray[np.float32]
    """Shape (n,): similarity of each photo to the nearest other photo of the same person. NaN if there is no other."""
    best_non_mated: NDArray[np.float32]
    """Shape (n,): similarity of each photo to the nearest photo of another person."""
    ranks: NDArray[np.int64]
    """Shape (n,): the rank of the photo's own person in a search, from 1. 0 if the person has no other photo."""


def compare_all(embeddings: NDArray[np.float32], people: NDArray[np.int64]) -> Comparisons:
    """Compare every photo with every other. Equal photos give equal random samples.

    Args:
        embeddings: shape (n, 512), float32, norm 1.
        people: shape (n,), integers: the person of each photo.

    Raises:
        EvaluationError: there are fewer than two people, or no person has two photos.

    """
    _, owners = np.unique(people, return_inverse=True)
    sizes = np.bincount(owners)
    if len(sizes) < 2:
        raise EvaluationError("There is only one person, so no two people can be compared. Add photos of others.")
    if sizes.max() < 2:
        raise EvaluationError("Every person has only one photo, so there is no mated pair. Add photos.")
    order = np.argsort(owners, kind="stable")
    photos = _SortedPhotos(embeddings[order], owners[order], np.cumsum(sizes) - sizes)
    mated_total = int((sizes * (sizes - 1) // 2).sum())
    non_mated_total = len(people) * (len(people) - 1) // 2 - mated_total
    non_mated_sample = _draw_non_mated(photos, non_mated_total, np.random.default_rng(_SEED))
    kept_share = KEPT_PAIRS / non_mated_total
    nearest_from = -1.1 if kept_share >= 1 else float(np.quantile(non_mated_sample.similarities, 1 - kept_share))
    best_mated = _best_mated(photos)
    compare = _BlockComparison(photos, best_mated, nearest_from, KEPT_PAIRS / mated_total)

    best_non_mated = np.full(len(people), _OWN_PERSON, np.float32)
    ranks = np.ones(len(people), np.int64)
    mated, non_mated, searched = np.zeros((3, BINS), np.int64)
    kept = []
    for found in _in_threads(compare, photos.blocks()):
        best_non_mated[found.photos] = np.maximum(best_non_mated[found.photos], found.best)
        ranks[found.photos] += found.nearer
        mated += found.mated
        non_mated += found.non_mated
        searched += found.searched
        kept.append((found.mated_sample, found.nearest, found.furthest_mated))
    mated_sample, nearest, furthest = (_in_given_order(_joined(parts), order) for parts in zip(*kept, strict=True))
    return Comparisons(
        people=_put_back(photos.owners, order),
        mated=ScoreHistogram(mated),
        non_mated=ScoreHistogram(non_mated),
        mated_sample=mated_sample,
        non_mated_sample=_in_given_order(non_mated_sample, order),
        nearest_non_mated=nearest,
        nearest_from=nearest_from,
        furthest_mated=furthest.least_similar(),
        searched=ScoreHistogram(searched),
        best_mated=_put_back(best_mated, order),
        best_non_mated=_put_back(best_non_mated, order),
        ranks=_put_back(np.where(np.isnan(best_mated), 0, ranks), order),
    )


def products(
    embeddings: NDArray[np.float32], first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the similarity of each pair of rows, shape (n,)."""
    blocks = [slice(begin, begin + _BLOCK_PHOTOS) for begin in range(0, len(first), _BLOCK_PHOTOS)]
    found = [np.einsum("ij,ij->i", embeddings[first[block]], embeddings[second[block]]) for block in blocks]
    return np.concatenate([np.empty(0, np.float32), *found])


def _joined(parts: Sequence[Pairs]) -> Pairs:
    return Pairs(
        np.concatenate([part.first for part in parts]),
        np.concatenate([part.second for part in parts]),
        np.concatenate([part.similarities for part in parts]),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _SortedPhotos:
    """Photos sorted by person."""

    embeddings: NDArray[np.float32]
    owners: NDArray[np.int64]
    """Shape (n,): the person of each photo, ascending."""
    starts: NDArray[np.int64]
    """Shape (p,): the first photo of each person."""

    @property
    def ends(self) -> NDArray[np.int64]:
        """Shape (p,): the photo after the last one of each person."""
        return np.append(self.starts[1:], len(self.owners))

    def blocks(self) -> list[slice]:
        """Divide the photos into blocks of whole people."""
        borders = [0]
        for end in self.ends.tolist():
            if end - borders[-1] >= _BLOCK_PHOTOS or end == len(self.owners):
                borders.append(end)
        return [slice(start, end) for start, end in pairwise(borders)]

    def people(self, photos: slice) -> tuple[slice, NDArray[np.int64]]:
        """Return the people in a range of photos, and the place in the range where the photos of each start."""
        people = slice(int(self.owners[photos.start]), int(self.owners[photos.stop - 1]) + 1)
        return people, np.maximum(self.starts[people], photos.start) - photos.start


def _best_mated(photos: _SortedPhotos) -> NDArray[np.float32]:
    """Return `Comparisons.best_mated`."""
    best = np.full(len(photos.owners), np.nan, np.float32)
    sizes = photos.ends - photos.starts
    for size in np.unique(sizes[sizes > 1]).tolist():
        starts = photos.starts[sizes == size]
        people_at_a_time = max(1, _BLOCK_PHOTOS // size)
        for begin in range(0, len(starts), people_at_a_time):
            rows = starts[begin : begin + people_at_a_time, np.newaxis] + np.arange(size)
            best[rows] = _nearest_other(photos.embeddings[rows])
    return best


def _nearest_other(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `Comparisons.best_mated` as shape (people, photos), from shape (people, photos, 512)."""
    people, size, _ = embeddings.shape
    best = np.empty((people, size), np.float32)
    for begin in range(0, size, _BLOCK_PHOTOS):  # more than once only for a person with very many photos
        photos = np.arange(begin, min(begin + _BLOCK_PHOTOS, size))
        similarities = embeddings[:, photos] @ embeddings.transpose(0, 2, 1)
        similarities[:, photos - begin, photos] = -2
        best[:, photos] = similarities.max(axis=2)
    return best


def _draw_non_mated(photos: _SortedPhotos, total: int, random: np.random.Generator) -> Pairs:
    """Draw `KEPT_PAIRS` non-mated pairs with replacement, or return all of them if there are no more."""
    starts, ends = photos.starts[photos.owners], photos.ends[photos.owners]
    count = len(photos.owners)
    if total <= KEPT_PAIRS:
        first, second = _with_all_from(np.arange(count), ends, np.full(count, count))
    else:
        # Draw a photo with a probability in proportion to its pairs, then a photo of another person.
        others = count - (ends - starts)
        cumulative = np.cumsum(others)
        first = np.searchsorted(cumulative, random.integers(0, cumulative[-1], KEPT_PAIRS), side="right")
        second = random.integers(0, others[first])
        second += np.where(second >= starts[first], (ends - starts)[first], 0)
    return Pairs(first, second, products(photos.embeddings, first, second))


def _in_given_order(pairs: Pairs, order: NDArray[np.int64]) -> Pairs:
    """Replace rows of sorted photos by the rows of the given photos."""
    one, other = order[pairs.first], order[pairs.second]
    return Pairs(np.minimum(one, other), np.maximum(one, other), pairs.similarities)


def _put_back(values: NDArray[Any], order: NDArray[np.int64]) -> NDArray[Any]:
    """Return the values of sorted photos in the order of the given photos."""
    given = np.empty_like(values)
    given[order] = values
    return given


def _with_all_from(
    photos: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair each photo with a range of photos, from its start to before its end."""
    counts = ends - starts
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(photos, counts), np.repeat(starts, counts) + within


NO_PAIRS = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class _Findings:
    """The result of searching some photos among those of a block, and of counting their pairs.

    A search in the other direction finds the same pairs, so it leaves them out.
    """

    photos: slice
    """The searched photos."""
    best: NDArray[np.float32]
    """Shape (n,): similarity to the nearest photo of another person, or -1."""
    nearer: NDArray[np.int64]
    """Shape (n,): number of other people who are nearer than the photo's own person."""
    searched: NDArray[np.int64]
    """Shape (BINS,): histogram of the similarity of each photo to each other person."""
    non_mated: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    """Shape (BINS,): histogram of the non-mated pairs."""
    mated: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    """Shape (BINS,): histogram of the mated pairs."""
    mated_sample: Pairs = NO_PAIRS
    furthest_mated: Pairs = NO_PAIRS
    nearest: Pairs = NO_PAIRS
    """The non-mated pairs that are similar enough to be kept."""


@dataclass(frozen=True, slots=True, eq=False)
class _BlockComparison:
    """Compares a block of photos with another. Safe to call from several threads."""

    photos: _SortedPhotos
    best_mated: NDArray[np.float32]
    nearest_from: float
    mated_share: float
    """Probability that a mated pair is in the sample. At 1 or more, all are."""

    def __call__(self, rows: slice, columns: slice) -> list[_Findings]:
        """Compare the photos of a block with those of the same block, or of a later one."""
        rows_at_a_time = max(1, _PRODUCT_SIZE // (columns.stop - columns.start))
        findings, nearest = [], []
        for begin in range(rows.start, rows.stop, rows_at_a_time):
            part = slice(begin, min(begin + rows_at_a_time, rows.stop))
            similarities = self.photos.embeddings[part] @ self.photos.embeddings[columns].T
            if rows != columns:
                nearest.append(self._nearest_of_each(similarities, part))
            findings.append(self._compare(similarities, part, columns, on_diagonal=rows == columns))
            del similarities  # before the next product takes the same memory
        if rows != columns:
            findings.append(self._search(columns, *_nearest_of_parts(nearest)))
        return findings

    def _compare(
        self, similarities: NDArray[np.float32], rows: slice, columns: slice, *, on_diagonal: bool
    ) -> _Findings:
        """Search the photos of the rows among the columns, and count their pairs. The similarities are overwritten."""
        people, starts = self.photos.people(columns)
        findings = self._search(rows, people, np.maximum.reduceat(similarities, starts, axis=1).T)
        # `flatnonzero` is several times faster than a search in two dimensions if few are found.
        found = np.flatnonzero((similarities >= np.float32(self.nearest_from)).ravel())
        first, second = np.divmod(found, similarities.shape[1])
        nearest = Pairs(first + rows.start, second + columns.start, similarities[first, second])
        mated = NO_PAIRS
        if on_diagonal:
            owners = self.photos.owners
            different = owners[nearest.first] != owners[nearest.second]
            nearest = nearest.select(different & (nearest.second > nearest.first))
            mated = self._mated(similarities, rows, columns)
            later = np.arange(columns.start, columns.stop) > np.arange(rows.start, rows.stop)[:, np.newaxis]
            similarities = similarities[later & (owners[columns] != owners[rows, np.newaxis])]
        return replace(
            findings,
            non_mated=count_similarities(similarities),
            mated=ScoreHistogram.of(mated.similarities).counts,
            mated_sample=self._sample(mated, rows.start),
            furthest_mated=mated.least_similar(),
            nearest=nearest,
        )

    def _nearest_of_each(self, similarities: NDArray[np.float32], rows: slice) -> tuple[slice, NDArray[np.float32]]:
        """Return the people of the rows, and the similarity of the nearest photo of each, shape (people, columns)."""
        people, starts = self.photos.people(rows)
        best = np.empty((len(starts), similarities.shape[1]), np.float32)
        # A loop over people, because `reduceat` along the columns takes ten times as long.
        for number, (start, end) in enumerate(pairwise([*starts.tolist(), len(similarities)])):
            similarities[start:end].max(axis=0, out=best[number])
        return people, best

    def _search(self, photos: slice, people: slice, best: NDArray[np.float32]) -> _Findings:
        """Search photos among people, given their similarities, shape (people, photos)."""
        owners = self.photos.owners[photos]
        own = np.flatnonzero((owners >= people.start) & (owners < people.stop))
        best = best.copy()
        best[owners[own] - people.start, own] = _OWN_PERSON
        nearer = np.count_nonzero(best > self.best_mated[photos], axis=0)
        nearest = best.max(axis=0)
        counts = count_similarities(best)
        counts[0] -= len(own)  # `_OWN_PERSON` is in the lowest bin
        return _Findings(photos, nearest, nearer, counts)

    def _mated(self, similarities: NDArray[np.float32], rows: slice, columns: slice) -> Pairs:
        """Pair every photo of the rows with the later photos of the same person."""
        photos = np.arange(rows.start, rows.stop)
        first, second = _with_all_from(photos, photos + 1, self.photos.ends[self.photos.owners[photos]])
        return Pairs(first, second, similarities[first - rows.start, second - columns.start])

    def _sample(self, pairs: Pairs, first_row: int) -> Pairs:
        if self.mated_share >= 1:
            return pairs
        random = np.random.default_rng((_SEED, first_row))
        return pairs.select(random.random(len(pairs)) < self.mated_share)


def _in_threads(compare: _BlockComparison, blocks: Sequence[slice]) -> Iterator[_Findings]:
    """Compare every block with itself and all later ones, on all cores. Yield the findings in order."""
    workers = usable_cores()
    waiting: deque[Future[list[_Findings]]] = deque()
    # Without the limit, each product would use all cores, and its threads would wait while the others count.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(workers) as executor:
        for place, rows in enumerate(blocks):
            for columns in blocks[place:]:
                waiting.append(executor.submit(compare, rows, columns))
                if len(waiting) > 2 * workers:
                    yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _nearest_of_parts(parts: Sequence[tuple[slice, NDArray[np.float32]]]) -> tuple[slice, NDArray[np.float32]]:
    """Join the results of `_nearest_of_each`. A person may have photos in several parts."""
    if len(parts) == 1:
        return parts[0]
    people = slice(parts[0][0].start, parts[-1][0].stop)
    best = np.full((people.stop - people.start, parts[0][1].shape[1]), _OWN_PERSON, np.float32)
    for of_part, values in parts:
        within = slice(of_part.start - people.start, of_part.stop - people.start)
        best[within] = np.maximum(best[within], values)
    return people, best
