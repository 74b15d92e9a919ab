"""Thresholds for rates that are too low to count with the available comparisons.

The largest non-mated similarities are assumed to follow a generalised Pareto distribution (J. Pickands, "Statistical
inference using extreme order statistics", Annals of Statistics 3, 1975), fitted by probability-weighted moments
(J. R. M. Hosking, J. R. Wallis, "Parameter and quantile estimation for the generalized Pareto distribution",
Technometrics 29, 1987). Its shape is at least 0, which is an exponential tail. A lighter tail would end at a similarity
that no other person could exceed. A threshold that is too high is the safer error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pgface.errors import EvaluationError
from pgface.evaluation.bootstrap import Interval, Replicates, percentile_interval
from pgface.evaluation.histogram import ScoreHistogram, index_of, thresholds
from pgface.evaluation.pairwise import Comparisons
from pgface.evaluation.verification import ERRORS_NEEDED
from pgface.thresholds import Tail

_TAIL_SHARE = 0.05
"""Share of all trials that are in the tail: the most similar ones."""
_MIN_IN_TAIL, _MAX_IN_TAIL = 50, 5_000
TAIL_REACH = 100
"""The lowest rate that can be counted (rule of 30), divided by the lowest rate that the tail gives."""
_BATCH_REPLICATES = 16
"""Number of replicates whose trials are weighted together, which limits the memory."""
_MAX_SHAPE = 0.5


@dataclass(frozen=True, slots=True)
class Estimate:
    """A threshold for a rate."""

    likely: float
    """The lowest threshold of four decimal places at which the photos do not exceed the rate."""
    interval: Interval
    """The 95 % interval of that threshold, by a bootstrap over people."""
    threshold: float
    """The safe threshold: the upper end of the interval, widened by Student's t for few people. At most 1."""
    rate: float
    """The rate at the safe threshold."""
    rate_interval: Interval
    extrapolated: bool
    """Whether the threshold comes from the tail, because there are too few trials to count the rate (rule of 30)."""


@dataclass(frozen=True, slots=True, eq=False)
class NonMatedTrials:
    """Comparisons of a photo with another person. All are counted, and the most similar ones kept."""

    counts: ScoreHistogram
    """The similarities of all trials."""
    similarities: NDArray[np.float32]
    """Shape (n,), descending: the most similar trials."""
    first: NDArray[np.int64]
    """Shape (n,): the person of the photo."""
    second: NDArray[np.int64]
    """Shape (n,): the person it was compared with."""
    weighted_totals: NDArray[np.float64]
    """Shape (replicates,): the number of trials of each replicate, 1 or more."""
    weights: NDArray[np.float32]
    """Shape (replicates, p): how often each person was drawn."""

    @classmethod
    def of_pairs(cls, compared: Comparisons, replicates: Replicates) -> NonMatedTrials:
        """Take each non-mated pair of photos as a trial."""
        pairs = compared.nearest_non_mated
        people = compared.people[pairs.first], compared.people[pairs.second]
        totals = replicates.count_non_mated(compared.people)
        return cls._sorted(compared.non_mated, pairs.similarities, *people, totals, replicates)

    @classmethod
    def of_searches(cls, compared: Comparisons, replicates: Replicates) -> NonMatedTrials:
        """Take each photo and the nearest photo of each other person as a trial, as verification and searches do."""
        pairs = compared.nearest_non_mated
        probes = np.concatenate([pairs.first, pairs.second])
        enrolled = compared.people[np.concatenate([pairs.second, pairs.first])]
        similarities = np.tile(pairs.similarities, 2)
        order = np.lexsort((-similarities, enrolled, probes))
        probes, enrolled, similarities = probes[order], enrolled[order], similarities[order]
        nearest = np.ones(len(order), bool)
        nearest[1:] = (np.diff(probes) != 0) | (np.diff(enrolled) != 0)
        sizes = np.bincount(compared.people)
        weights = replicates.weights.astype(np.float64)
        totals = (weights @ sizes) * weights.sum(axis=1) - (weights**2) @ sizes
        people = compared.people[probes[nearest]], enrolled[nearest]
        return cls._sorted(compared.searched, similarities[nearest], *people, totals, replicates)

    @classmethod
    def _sorted(
        cls,
        counts: ScoreHistogram,
        similarities: NDArray[np.float32],
        first: NDArray[np.int64],
        second: NDArray[np.int64],
        totals: NDArray[np.float64],
        replicates: Replicates,
    ) -> NonMatedTrials:
        order = np.argsort(-similarities, kind="stable")
        drawn = totals > 0
        return cls(counts, similarities[order], first[order], second[order], totals[drawn], replicates.weights[drawn])

    @property
    def total(self) -> int:
        """The number of trials."""
        return self.counts.total

    def tail(self) -> Tail:
        """Fit the tail of all trials.

        Raises:
            EvaluationError: there are too few trials.

        """
        count = self._tail_count()
        return _fit(self.similarities[:count], np.ones(count), count / self.total)

    def reaches(self, rate: float) -> bool:
        """Whether the trials suffice for a rate, counted, or at most 100 times lower and extrapolated."""
        return self.total >= self._needed(rate) and len(self.similarities) >= _MIN_IN_TAIL

    def estimate(self, rate: float) -> Estimate:
        """Estimate the threshold that at most this share of trials reaches.

        Raises:
            EvaluationError: there are too few trials for this rate.

        """
        if not self.reaches(rate):
            raise EvaluationError(
                f"{self.total:,} comparisons of a photo with another person are too few for one error in "
                f"{1 / rate:,.0f}, even by their tail. That needs {self._needed(rate):,}. Add photos of more people, "
                f"or accept more errors: these suffice for one in {self.total * TAIL_REACH / ERRORS_NEEDED:,.0f}."
            )
        counted = rate * self.total >= ERRORS_NEEDED
        likely, each = self._counted(rate) if counted else self._extrapolated(rate)
        interval = percentile_interval(each)
        people = self.weights.shape[1]
        threshold = _rounded_up(likely + _widening(people) * max(interval.high - likely, 0.0))
        at, rates = self._rates(threshold)
        return Estimate(likely, interval, threshold, at, percentile_interval(rates), extrapolated=not counted)

    def _needed(self, rate: float) -> int:
        return max(math.ceil(ERRORS_NEEDED / rate / TAIL_REACH), _MIN_IN_TAIL)

    def _counted(self, rate: float) -> tuple[float, list[float]]:
        """Return the threshold for a rate, and that of each replicate, by counting."""
        likely = self.lowest_threshold(rate)
        if rate * self.total < len(self.similarities):
            each = [_above(self.similarities, row, rate) for row in self._shares()]
        else:  # not all of its trials are kept, so the replicates deviate as at the lowest kept similarity
            each = [self.lowest_threshold(rate / factor) for factor in self._factors()]
        return likely, each

    def lowest_threshold(self, rate: float) -> float:
        """Return the lowest threshold of four decimal places that at most this share reaches, by counting."""
        return float(thresholds()[np.argmax(self.counts.at_or_above() <= rate * self.total)])

    def _factors(self) -> list[float]:
        """Return the rate of each replicate at the lowest kept similarity, divided by the rate of all trials there."""
        kept = len(self.similarities) / self.total
        return [max(float(row[-1]), 1e-12) / kept for row in self._shares()]

    def _extrapolated(self, rate: float) -> tuple[float, list[float]]:
        """Return the threshold for a rate from the tail, and that of each replicate."""
        return _rounded_up(self.tail().threshold(rate)), [tail.threshold(rate) for tail in self._tails()]

    def _rates(self, threshold: float) -> tuple[float, list[float]]:
        """Return the rate at a threshold, counted if there are 30 errors, and that of each replicate."""
        errors = int(self.counts.at_or_above()[index_of(threshold)])
        if errors < ERRORS_NEEDED:
            # The tail gives no rates below its start. There are more than 30 errors there, or only a few less.
            tail = self.tail()
            at = max(threshold, tail.start)
            return tail.rate(at), [found.rate(max(at, found.start)) for found in self._tails()]
        rate = errors / self.total
        if errors > len(self.similarities):
            return rate, [min(1.0, rate * factor) for factor in self._factors()]
        place = int(np.searchsorted(-self.similarities, -np.float32(threshold), side="right"))
        return rate, [float(row[max(place - 1, 0)]) for row in self._shares()]

    def _tails(self) -> list[Tail]:
        """Fit the tail of each replicate that has trials in it."""
        count = self._tail_count()
        weights = self._weights(slice(None), slice(0, count))
        return [
            _fit(self.similarities[:count], row, row.sum() / total)
            for row, total in zip(weights, self.weighted_totals, strict=True)
            if np.count_nonzero(row) >= 2
        ]

    def _tail_count(self) -> int:
        count = min(max(int(_TAIL_SHARE * self.total), _MIN_IN_TAIL), _MAX_IN_TAIL, len(self.similarities))
        if count < _MIN_IN_TAIL:
            raise EvaluationError(
                f"{self.total:,} non-mated comparisons are too few for low error rates. Add photos of more people."
            )
        return count

    def _weights(self, replicates: slice, trials: slice) -> NDArray[np.float64]:
        """Return how often each replicate has drawn each trial, shape (replicates, trials)."""
        weights = self.weights[replicates]
        return np.asarray(weights[:, self.first[trials]] * weights[:, self.second[trials]], np.float64)

    def _shares(self) -> Iterator[NDArray[np.float64]]:
        """Yield for each replicate the share of its trials that are at least as similar as each, shape (trials,)."""
        for begin in range(0, len(self.weighted_totals), _BATCH_REPLICATES):
            replicates = slice(begin, begin + _BATCH_REPLICATES)
            sums = np.cumsum(self._weights(replicates, slice(None)), axis=1)
            yield from sums / self.weighted_totals[replicates, np.newaxis]


def _fit(similarities: NDArray[np.float32], weights: NDArray[np.float64], share: float) -> Tail:
    """Fit a tail to similarities and their weights, shape (n,), descending. The last similarity is its start."""
    start = float(similarities[-1])
    excesses = similarities[::-1].astype(np.float64) - start  # ascending
    weights = weights[::-1]
    total = weights.sum()
    below = (np.cumsum(weights) - 0.35 * weights) / total  # the plotting positions of Hosking and Wallis
    mean = float((weights * excesses).sum() / total)
    moment = float((weights * (1 - below) * excesses).sum() / total)
    shape = 0.0
    if mean > 2 * moment > 0:
        shape = min(max(2 - mean / (mean - 2 * moment), 0.0), _MAX_SHAPE)
    # This scale gives the mean excess, for any shape.
    return Tail(start, share, max(mean * (1 - shape), 1e-9), shape)


def _above(similarities: NDArray[np.float32], shares: NDArray[np.float64], rate: float) -> float:
    """Return the lowest threshold of four decimal places that at most this share reaches."""
    place = int(np.searchsorted(shares, rate, side="right"))
    # The first trial beyond the share must stay below the threshold.
    return _rounded_up(float(similarities[min(place, len(similarities) - 1)]) + 1e-6)


def _widening(people: int) -> float:
    """Return the factor by which the bootstrap's interval is too narrow for a number of people.

    Student's t is wider than a normal distribution (R. A. Fisher's expansion from the normal quantile). Also, a
    bootstrap divides the variance by p people, and not by p - 1.
    """
    freedom, z = people - 1, 1.959964
    t = (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )
    return t / z * math.sqrt(people / freedom)


def _rounded_up(threshold: float) -> float:
    return min(1.0, math.ceil(threshold * 1e4) / 1e4)
