"""Make synthetic people, whose similarities are distributed like those of real faces.

A person is a direction, and a photo is that direction with noise. The amount of noise varies, so that some photos are
hard. The similarity of two photos of a person has a mean of 0.59 and a 5 % quantile of 0.44. ArcFace has 0.60 and 0.40
on LFW.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

DIMENSION = 512
PHOTOS_PER_PERSON = 5

_SUBSPACE_DIMENSION = 64
_SUBSPACE_SEED = 7
_NOISE = 0.8165
"""The typical length of the noise. Two such photos have a cosine of 1 / (1 + 0.8165²) = 0.6."""
_NOISE_SPREAD = 0.25
"""The standard deviation of the logarithm of the noise's length."""
_BATCH_PEOPLE = 2_000
"""The number of people in a batch. Their photos take 20 MB."""

_ENROLLED, _NON_MATED, _PROBES = range(3)
"""Streams of random numbers."""


class Kind(StrEnum):
    """The distribution of people."""

    ISOTROPIC = "isotropic"
    """People differ in all 512 dimensions, the hardest case for an index. 0.1 % of non-mated pairs are above 0.13."""
    CLUSTERED = "clustered"
    """People differ in 64 dimensions, as real faces do. 0.1 % of non-mated pairs are above 0.25 (LFW: 0.24)."""


@dataclass(frozen=True, slots=True)
class SyntheticPeople:
    """An unlimited number of people. The same kind and seed give the same people."""

    kind: Kind
    seed: int = 1

    def embeddings(self, people: int) -> NDArray[np.float32]:
        """Make the photos of the first people, person by person, shape (people × 5, 512), float32, norm 1."""
        photos = np.empty((people * PHOTOS_PER_PERSON, DIMENSION), np.float32)
        for first, batch in self.batches(people):
            photos[first * PHOTOS_PER_PERSON :][: len(batch)] = batch
        return photos

    def batches(self, people: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Make the same photos in batches. Gives the number of each batch's first person, too."""
        for first in range(0, people, _BATCH_PEOPLE):
            persons = np.arange(first, min(first + _BATCH_PEOPLE, people))
            directions = self._directions(_ENROLLED, persons).repeat(PHOTOS_PER_PERSON, axis=0)
            yield first, _photos(directions, np.random.default_rng((self.seed, _ENROLLED, first, 1)))

    def mated_probes(
        self, people: int, count: int, *, series: int = 0
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Make more photos of enrolled people.

        Args:
            people: the number of enrolled people.
            count: the number of probes. If there are enough people, each has one probe at most.
            series: another number gives other photos.

        Returns:
            The numbers of the people, shape (count,), and the probes, shape (count, 512), float32, norm 1.

        """
        random = np.random.default_rng((self.seed, _PROBES, _ENROLLED, series))
        persons = np.sort(random.choice(people, count, replace=count > people))
        probes = _photos(self._directions(_ENROLLED, persons), random)
        order = random.permutation(count)
        return persons[order], probes[order]

    def non_mated_probes(self, count: int, *, first: int = 0) -> NDArray[np.float32]:
        """Make one photo each of people who are never enrolled, shape (count, 512), float32, norm 1.

        Args:
            count: the number of people.
            first: the number of the first person. Other numbers are other people.

        """
        random = np.random.default_rng((self.seed, _PROBES, _NON_MATED, first))
        return _photos(self._directions(_NON_MATED, np.arange(first, first + count)), random)

    def _directions(self, stream: int, persons: NDArray[np.int64]) -> NDArray[np.float32]:
        """Make the directions of persons, in ascending order. Each batch of people has its own random numbers."""
        dimension = DIMENSION if self.kind is Kind.ISOTROPIC else _SUBSPACE_DIMENSION
        directions = np.empty((len(persons), dimension), np.float32)
        batches, starts = np.unique(persons // _BATCH_PEOPLE, return_index=True)
        for batch, start, end in zip(batches.tolist(), starts, [*starts[1:], len(persons)], strict=True):
            random = np.random.default_rng((self.seed, stream, batch * _BATCH_PEOPLE, 0))
            whole = random.standard_normal((_BATCH_PEOPLE, dimension), dtype=np.float32)
            directions[start:end] = whole[persons[start:end] % _BATCH_PEOPLE]
        unit = _unit(directions)
        return unit if self.kind is Kind.ISOTROPIC else unit @ _subspace()


@cache
def _subspace() -> NDArray[np.float32]:
    """Make orthonormal directions, shape (64, 512)."""
    random = np.random.default_rng(_SUBSPACE_SEED)
    basis, _ = np.linalg.qr(random.standard_normal((DIMENSION, _SUBSPACE_DIMENSION)))
    return np.ascontiguousarray(basis.T, dtype=np.float32)


def _photos(directions: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    # Lengths and noise have separate streams, so that a smaller number of photos is a prefix of a larger one.
    lengths, noise = random.spawn(2)
    count = len(directions)
    distances = _NOISE * np.exp(_NOISE_SPREAD * lengths.standard_normal((count, 1), dtype=np.float32))
    return _unit(directions + distances * _unit(noise.standard_normal((count, DIMENSION), dtype=np.float32)))


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
