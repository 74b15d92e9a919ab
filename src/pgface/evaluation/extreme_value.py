"""Thresholds for rates so low that few or none of the comparisons at hand tell of them.

Far out, the similarities of strangers are taken to follow a generalised Pareto distribution (J. Pickands, "Statistical
inference using extreme order statistics", Annals of Statistics 3, 1975), fitted by probability-weighted moments
(J. R. M. Hosking, J. R. Wallis, "Parameter and quantile estimation for the generalized Pareto distribution",
Technometrics 29, 1987). Its shape is never taken below 0, an exponential tail: a lighter one would have an end, beyond
which no stranger is believed to come, and a threshold that is too high is the safer mistake.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pgface.errors import EvaluationError
from pgface.evaluation.bootstrap import Interval, Replicates
from pgface.evaluation.histogram import ScoreHistogram, index_of, thresholds
from pgface.evaluation.pairwise import Comparisons
from pgface.evaluation.verification import ERRORS_NEEDED
from pgface.thresholds import Tail

_SHARE = 0.05
"""Of all trials, the most similar: the tail."""
_FEWEST, _MOST = 50, 5_000
"""Trials in the tail."""
REACH = 100
"""How many times rarer than what can be counted (rule of 30) a rate may be that the tail tells of."""
_TOGETHER = 16
"""Replicates whose trials are weighted at once."""
_HEAVIEST = 0.5
"""Shape at most."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A threshold for a rate."""

    likely: float
    """The least threshold, of four places, at which the photos show the rate."""
    interval: Interval
    """95 % interval of that, by drawing people anew."""
    threshold: float
    """The safe one: the upper end of the interval, wider for few people as Student's t is; 1 at most."""
    rate: float
    """At the safe threshold: counted, or of the tail."""
    rate_interval: Interval
    extrapolated: bool
    """Whether there are too few trials to count (rule of 30), and the tail tells."""


@dataclass(frozen=True, slots=True, eq=False)
class NonMatedTrials:
    """Trials in which two people's photos were compared: all of them counted, and the most similar ones kept."""

    counts: ScoreHistogram
    """Of all trials."""
    similarities: NDArray[np.float32]
    """Shape (n,), descending: the most similar."""
    first: NDArray[np.int64]
    """Shape (n,): whose photo was compared."""
    second: NDArray[np.int64]
    """Shape (n,): with whom."""
    weighted_totals: NDArray[np.float64]
    """Shape (replicates,): how many trials each replicate of the people has; none has none."""
    weights: NDArray[np.float32]
    """Shape (replicates, p): how often each person was drawn."""

    @classmethod
    def of_pairs(cls, compared: Comparisons, replicates: Replicates) -> NonMatedTrials:
        """Each non-mated pair of photos."""
        pairs = compared.nearest_non_mated
        people = compared.people[pairs.first], compared.people[pairs.second]
        totals = replicates.of_all_pairs(compared.people)
        return cls._sorted(compared.non_mated, pairs.similarities, *people, totals, replicates)

    @classmethod
    def of_searches(cls, compared: Comparisons, replicates: Replicates) -> NonMatedTrials:
        """Each photo with each other person's nearest one: what verification asks, and a search of everybody."""
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
        """How many trials there are."""
        return self.counts.total

    def tail(self) -> Tail:
        """The tail of all of them.

        Raises:
            EvaluationError: there are too few trials.

        """
        count = self._tail_count()
        return _fit(self.similarities[:count], np.ones(count), count / self.total)

    def reaches(self, rate: float) -> bool:
        """Whether the trials tell of a rate: they can be counted, or the tail goes no further than 100 times beyond."""
        return self.total >= self._needed(rate) and len(self.similarities) >= _FEWEST

    @property
    def least(self) -> float:
        """The smallest rate that the trials tell of."""
        return ERRORS_NEEDED / REACH / self.total

    def estimate(self, rate: float) -> Estimate:
        """The least threshold, of four places, that no larger share of trials than a rate reaches.

        Raises:
            EvaluationError: the trials do not tell of this rate.

        """
        if not self.reaches(rate):
            raise EvaluationError(
                f"{self.total:,} comparisons of a photo with another person do not tell of one error in {1 / rate:,.0f}"
                f", not even by their tail: that takes {self._needed(rate):,}. Add photos of more people, or accept "
                f"more errors: these tell of one in {1 / self.least:,.0f}."
            )
        counted = rate * self.total >= ERRORS_NEEDED
        likely, each = self._counted(rate) if counted else self._extrapolated(rate)
        interval = _interval(each)
        people = self.weights.shape[1]
        threshold = _up(likely + _widening(people) * max(interval.high - likely, 0.0))
        at, rates = self._rates(threshold)
        return Estimate(likely, interval, threshold, at, _interval(rates), extrapolated=not counted)

    def _needed(self, rate: float) -> int:
        return max(math.ceil(ERRORS_NEEDED / rate / REACH), _FEWEST)

    def _counted(self, rate: float) -> tuple[float, list[float]]:
        """The threshold for a rate, and that of each replicate."""
        likely = self._least(rate)
        if rate * self.total < len(self.similarities):
            each = [_above(self.similarities, row, rate) for shares in self._shares() for row in shares]
        else:  # not all of its trials are kept; each replicate is taken to differ as it does where they are
            each = [self._least(rate / factor) for factor in self._factors()]
        return likely, each

    def _least(self, rate: float) -> float:
        return float(thresholds()[np.argmax(self.counts.at_or_above() <= rate * self.total)])

    def _factors(self) -> list[float]:
        """How many times as many trials of each replicate as of all are as similar as the least that is kept."""
        kept = len(self.similarities) / self.total
        return [max(float(row[-1]), 1e-12) / kept for shares in self._shares() for row in shares]

    def _extrapolated(self, rate: float) -> tuple[float, list[float]]:
        """The same by the tail."""
        return _up(self.tail().threshold(rate)), [tail.threshold(rate) for tail in self._tails()]

    def _rates(self, threshold: float) -> tuple[float, list[float]]:
        """The rate at a threshold, counted where there are 30 errors, and that of each replicate."""
        errors = int(self.counts.at_or_above()[index_of(threshold)])
        if errors < ERRORS_NEEDED:
            # Below its start the tail says nothing, and there are more than 30 errors, or hardly fewer.
            tail = self.tail()
            at = max(threshold, tail.start)
            return tail.rate(at), [found.rate(max(at, found.start)) for found in self._tails()]
        rate = errors / self.total
        if errors > len(self.similarities):
            return rate, [min(1.0, rate * factor) for factor in self._factors()]
        place = int(np.searchsorted(-self.similarities, -np.float32(threshold), side="right"))
        return rate, [float(row[max(place - 1, 0)]) for shares in self._shares() for row in shares]

    def _tails(self) -> list[Tail]:
        """The tail of each replicate in which there is one."""
        count = self._tail_count()
        weights = self._weights(slice(None), slice(0, count))
        return [
            _fit(self.similarities[:count], row, row.sum() / total)
            for row, total in zip(weights, self.weighted_totals, strict=True)
            if np.count_nonzero(row) >= 2
        ]

    def _tail_count(self) -> int:
        count = min(max(int(_SHARE * self.total), _FEWEST), _MOST, len(self.similarities))
        if count < _FEWEST:
            raise EvaluationError(
                f"{self.total:,} non-mated comparisons are too few to say anything of low error rates; add photos of "
                "more people."
            )
        return count

    def _weights(self, replicates: slice, trials: slice) -> NDArray[np.float64]:
        """Shape (replicates, trials): how often each trial was drawn."""
        weights = self.weights[replicates]
        return np.asarray(weights[:, self.first[trials]] * weights[:, self.second[trials]], np.float64)

    def _shares(self) -> Iterator[NDArray[np.float64]]:
        """Shape (some replicates, trials): which share of a replicate's trials is as similar or more."""
        for begin in range(0, len(self.weighted_totals), _TOGETHER):
            replicates = slice(begin, begin + _TOGETHER)
            sums = np.cumsum(self._weights(replicates, slice(None)), axis=1)
            yield np.asarray(sums / self.weighted_totals[replicates, np.newaxis])


def _fit(similarities: NDArray[np.float32], weights: NDArray[np.float64], share: float) -> Tail:
    """Fit a tail to its trials, shape (n,), descending; the last is its start."""
    start = float(similarities[-1])
    excesses = similarities[::-1].astype(np.float64) - start  # ascending
    weights = weights[::-1]
    total = weights.sum()
    below = (np.cumsum(weights) - 0.35 * weights) / total  # Hosking and Wallis' plotting positions
    mean = float((weights * excesses).sum() / total)
    moment = float((weights * (1 - below) * excesses).sum() / total)
    shape = 0.0
    if mean > 2 * moment > 0:
        shape = min(max(2 - mean / (mean - 2 * moment), 0.0), _HEAVIEST)
    # For a given shape, the scale that gives the mean excess.
    return Tail(start, share, max(mean * (1 - shape), 1e-9), shape)


def _above(similarities: NDArray[np.float32], shares: NDArray[np.float64], rate: float) -> float:
    """The least threshold of four places that no larger share than a rate reaches."""
    place = int(np.searchsorted(shares, rate, side="right"))
    # The first that is one too many must stay below.
    return _up(float(similarities[min(place, len(similarities) - 1)]) + 1e-6)


def _widening(people: int) -> float:
    """How much wider than a bootstrap's an interval of so few people is.

    By Student's t (R. A. Fisher's expansion from the normal quantile), and because a bootstrap's variance is that of
    p people instead of p - 1.
    """
    freedom, z = people - 1, 1.959964
    t = (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )
    return t / z * math.sqrt(people / freedom)


def _up(threshold: float) -> float:
    return min(1.0, math.ceil(threshold * 1e4) / 1e4)


def _interval(values: list[float]) -> Interval:
    low, high = np.percentile(values, (2.5, 97.5)).tolist()
    return Interval(low, high)
