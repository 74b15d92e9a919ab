"""The 95 % interval of a rate, by a bootstrap over people.

The bootstrap draws people and not pairs, because all pairs of a person share a face. A bootstrap of pairs gives
intervals that are far too short. A person who is drawn twice counts twice in the pairs with all others, and never as
two people.

Source: R. M. Bolle, N. K. Ratha, S. Pankanti, "Error analysis of pattern recognition systems: the subsets bootstrap",
Computer Vision and Image Understanding 93 (2004).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pgface.evaluation.pairwise import Comparisons, PairComparisons, Pairs

REPLICATES = 400
_BATCH_PAIRS = 4_096
"""Pairs that are weighted at once."""


class Interval(NamedTuple):
    """The 95 % interval of a rate."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Replicates:
    """Replicates of a set of people, each drawn from it with replacement."""

    weights: NDArray[np.float32]
    """Shape (replicates, p): how often each person was drawn."""

    @classmethod
    def draw(cls, people: int, *, count: int = REPLICATES, seed: int = 0) -> Replicates:
        """Draw as many people as the set has, with replacement."""
        random = np.random.default_rng(seed)
        return cls(random.multinomial(people, np.full(people, 1 / people), count).astype(np.float32))

    def interval_of_people(self, errors: NDArray[np.int64], trials: NDArray[np.int64]) -> Interval:
        """Return the interval of a rate whose every trial belongs to one person.

        Args:
            errors: shape (p,), the errors of each person.
            trials: shape (p,), the trials of each person.

        """
        people = int(np.count_nonzero(trials))
        if people < 2:  # one person tells nothing about others
            return Interval(0.0, 1.0)
        bound = _rule_of_three(people)
        if not errors.any():
            return Interval(0.0, bound)
        if (errors == trials).all():
            return Interval(1 - bound, 1.0)
        drawn = self.weights @ trials.astype(np.float64)
        rates = (self.weights @ errors.astype(np.float64))[drawn > 0] / drawn[drawn > 0]
        return _percentiles(rates)

    def fmr_intervals(self, compared: PairComparisons, thresholds: NDArray[np.float64]) -> list[Interval]:
        """Return the intervals of the FMR at some thresholds. Every trial belongs to two people.

        It uses the most similar pairs as far down as all of them are kept, and a sample of the pairs below.
        """
        rates = self.fmr_of_replicates(compared, thresholds)
        return [self.interval(column, people=len(self.weights[0]) // 2) for column in rates.T]

    def fmr_of_replicates(self, compared: PairComparisons, thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the FMR of each replicate at some thresholds, shape (replicates, thresholds). NaN without a pair."""
        counted = np.empty((len(self.weights), len(thresholds)))
        complete = thresholds >= compared.nearest_from
        sample = compared.non_mated_sample
        counted[:, complete] = self._drawn(compared.nearest_non_mated, compared.people, thresholds[complete])
        counted[:, ~complete] = self._drawn(sample, compared.people, thresholds[~complete])
        counted[:, ~complete] *= compared.non_mated.total / max(len(sample), 1)
        trials = self._non_mated_trials(compared)[:, np.newaxis]
        return np.divide(counted, trials, out=np.full_like(counted, np.nan), where=trials > 0)

    def shares_of_replicates(self, errors: NDArray[np.int64], trials: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return a rate of each replicate whose every trial belongs to one person, shape (replicates, n), or NaN.

        Args:
            errors: shape (p, n), the errors of each person.
            trials: shape (p,), the trials of each person.

        """
        counted = self.weights @ errors.astype(np.float64)
        drawn = (self.weights @ trials.astype(np.float64))[:, np.newaxis]
        return np.divide(counted, drawn, out=np.full_like(counted, np.nan), where=drawn > 0)

    def interval(self, rates: NDArray[np.float64], *, people: int) -> Interval:
        """Return the interval of the replicates' rates, shape (replicates,), by the rule of 3 if there is no error."""
        known = rates[~np.isnan(rates)]
        return _percentiles(known) if known.any() else Interval(0.0, _rule_of_three(people))

    def of_all_pairs(self, people: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the number of non-mated pairs of photos of each replicate, shape (replicates,).

        Args:
            people: shape (n,), the person of each photo.

        """
        drawn = self.weights.astype(np.float64) * np.bincount(people, minlength=len(self.weights[0]))
        return np.asarray((drawn.sum(axis=1) ** 2 - (drawn**2).sum(axis=1)) / 2)

    def _non_mated_trials(self, compared: PairComparisons) -> NDArray[np.float64]:
        if isinstance(compared, Comparisons):
            return self.of_all_pairs(compared.people)
        return self._drawn(compared.non_mated_sample, compared.people, np.array([-2.0]))[:, 0]

    def _drawn(self, pairs: Pairs, people: NDArray[np.int64], thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how many pairs of each replicate reach each threshold, shape (replicates, thresholds)."""
        order = np.argsort(-pairs.similarities, kind="stable")
        reaching = np.searchsorted(-pairs.similarities[order], -thresholds, side="right")
        first, second = people[pairs.first[order]], people[pairs.second[order]]
        counted = np.zeros((len(self.weights), len(thresholds)))
        by_person = np.ascontiguousarray(self.weights.T)  # gathering whole rows is faster than single values
        # From one threshold to the next, so that each pair is weighted once.
        begin, sums = 0, np.zeros(len(self.weights))
        for place in np.argsort(reaching, kind="stable").tolist():
            end = int(reaching[place])
            for start in range(begin, end, _BATCH_PAIRS):
                part = slice(start, min(start + _BATCH_PAIRS, end))
                sums += np.einsum("ij,ij->j", by_person[first[part]], by_person[second[part]])
            begin = end
            counted[:, place] = sums
        return counted


def _percentiles(rates: NDArray[Any]) -> Interval:
    low, high = np.percentile(rates, (2.5, 97.5)).tolist()
    return Interval(low, high)


def _rule_of_three(trials: int) -> float:
    """Return the upper 95 % limit of a rate after a number of independent trials without an error.

    Source: ISO/IEC 19795-1:2021, "rule of 3".
    """
    return min(1.0, 3 / max(trials, 1))
