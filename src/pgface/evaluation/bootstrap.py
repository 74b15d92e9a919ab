"""The 95 % interval of a rate, by a bootstrap over people.

The bootstrap draws people and not pairs, because all pairs of a person share a face. A bootstrap over pairs gives
intervals that are far too short. If a person is drawn twice, the pairs with other people count twice. The two draws
remain one person, so no non-mated pair comes from them.

Source: R. M. Bolle, N. K. Ratha, S. Pankanti, "Error analysis of pattern recognition systems: the subsets bootstrap",
Computer Vision and Image Understanding 93 (2004).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pgface.evaluation.pairwise import Comparisons, PairComparisons, Pairs

_REPLICATES = 400
_BATCH_PAIRS = 4_096
"""Number of pairs that are weighted together, which limits the memory."""


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float

    @property
    def complement(self) -> Interval:
        """The interval of 1 minus the rate."""
        return Interval(1 - self.high, 1 - self.low)


@dataclass(frozen=True, slots=True, eq=False)
class Replicates:
    """Replicates of a set of people: random draws of as many people, with replacement."""

    weights: NDArray[np.float32]
    """Shape (replicates, p): how often each person was drawn."""

    @property
    def people(self) -> int:
        """The number of people in the set."""
        return len(self.weights[0])

    @classmethod
    def draw(cls, people: int, *, count: int = _REPLICATES, seed: int = 0) -> Replicates:
        """Draw the replicates of a number of people."""
        random = np.random.default_rng(seed)
        return cls(random.multinomial(people, np.full(people, 1 / people), count).astype(np.float32))

    def interval_of_people(self, errors: NDArray[np.int64], trials: NDArray[np.int64]) -> Interval:
        """Return the interval of a rate, from the numbers of errors and trials of each person, shapes (p,)."""
        people = int(np.count_nonzero(trials))
        if people < 2:  # one person shows nothing about others
            return Interval(0.0, 1.0)
        bound = _rule_of_three(people)
        if not errors.any():
            return Interval(0.0, bound)
        if (errors == trials).all():
            return Interval(1 - bound, 1.0)
        drawn = self.weights @ trials.astype(np.float64)
        rates = (self.weights @ errors.astype(np.float64))[drawn > 0] / drawn[drawn > 0]
        return percentile_interval(rates)

    def fmr_intervals(self, compared: PairComparisons, thresholds: NDArray[np.float64]) -> list[Interval]:
        """Return the intervals of the FMR at some thresholds. Every trial belongs to two people."""
        rates = self.fmr_of_replicates(compared, thresholds)
        return [self.interval(column, people=self.people // 2) for column in rates.T]

    def fmr_of_replicates(self, compared: PairComparisons, thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the FMR of each replicate at some thresholds, shape (replicates, thresholds). NaN without a pair.

        It counts the nearest pairs at thresholds where all of them are kept. Below, it counts a sample of all pairs.
        """
        counted = np.empty((len(self.weights), len(thresholds)))
        complete = thresholds >= compared.nearest_from
        sample = compared.non_mated_sample
        counted[:, complete] = self._count_reaching(compared.nearest_non_mated, compared.people, thresholds[complete])
        counted[:, ~complete] = self._count_reaching(sample, compared.people, thresholds[~complete])
        counted[:, ~complete] *= compared.non_mated.total / max(len(sample), 1)
        trials = self._non_mated_trials(compared)[:, np.newaxis]
        return np.divide(counted, trials, out=np.full_like(counted, np.nan), where=trials > 0)

    def rates_of_replicates(self, errors: NDArray[np.int64], trials: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return n rates of each replicate, shape (replicates, n). NaN without a trial.

        The arguments are the numbers of errors of each person, shape (p, n), and of trials, shape (p,).
        """
        counted = self.weights @ errors.astype(np.float64)
        drawn = (self.weights @ trials.astype(np.float64))[:, np.newaxis]
        return np.divide(counted, drawn, out=np.full_like(counted, np.nan), where=drawn > 0)

    def interval(self, rates: NDArray[np.float64], *, people: int) -> Interval:
        """Return the interval of the replicates' rates, shape (replicates,). Without an error, apply the rule of 3."""
        known = rates[~np.isnan(rates)]
        return percentile_interval(known) if known.any() else Interval(0.0, _rule_of_three(people))

    def count_non_mated(self, people: NDArray[np.int64]) -> NDArray[np.float64]:
        """Count the non-mated pairs of each replicate, shape (replicates,), given each photo's person, shape (n,)."""
        drawn = self.weights.astype(np.float64) * np.bincount(people, minlength=self.people)
        return np.asarray((drawn.sum(axis=1) ** 2 - (drawn**2).sum(axis=1)) / 2)

    def _non_mated_trials(self, compared: PairComparisons) -> NDArray[np.float64]:
        if isinstance(compared, Comparisons):
            return self.count_non_mated(compared.people)
        return self._count_reaching(compared.non_mated_sample, compared.people, np.array([-2.0]))[:, 0]

    def _count_reaching(
        self, pairs: Pairs, people: NDArray[np.int64], thresholds: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return how many pairs of each replicate reach each threshold, shape (replicates, thresholds)."""
        order = np.argsort(-pairs.similarities, kind="stable")
        reaching = np.searchsorted(-pairs.similarities[order], -thresholds, side="right")
        first, second = people[pairs.first[order]], people[pairs.second[order]]
        counted = np.zeros((len(self.weights), len(thresholds)))
        by_person = np.ascontiguousarray(self.weights.T)  # copying whole rows is faster than single values
        # The sums go on from one threshold to the next, so each pair is weighted once.
        begin, sums = 0, np.zeros(len(self.weights))
        for place in np.argsort(reaching, kind="stable").tolist():
            end = int(reaching[place])
            for start in range(begin, end, _BATCH_PAIRS):
                part = slice(start, min(start + _BATCH_PAIRS, end))
                sums += np.einsum("ij,ij->j", by_person[first[part]], by_person[second[part]])
            begin = end
            counted[:, place] = sums
        return counted


def percentile_interval(values: NDArray[Any] | list[float]) -> Interval:
    """Return the 95 % interval of the values of the replicates."""
    low, high = np.percentile(values, (2.5, 97.5)).tolist()
    return Interval(low, high)


def _rule_of_three(trials: int) -> float:
    """Return the upper 95 % limit of a rate after a number of independent trials without an error.

    Source: ISO/IEC 19795-1:2021, "rule of 3".
    """
    return min(1.0, 3 / max(trials, 1))
