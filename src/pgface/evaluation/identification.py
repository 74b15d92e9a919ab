"""The error rates of open-set identification (1:N): every photo is searched among all the others.

All other people are enrolled. In a mated search, the other photos of the same person are enrolled too. In a non-mated
search, they are not. FPIR is the share of non-mated searches that return a person. FNIR is the share of mated searches
that do not return the right person first and above the threshold. Terms: ISO/IEC 19795-1:2021. Protocol: NIST FRTE 1:N
(FNIR(N, R=1, T), FPIR(N, T)).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pgface.evaluation.bootstrap import Interval, Replicates
from pgface.evaluation.histogram import ScoreHistogram, thresholds
from pgface.evaluation.pairwise import Comparisons
from pgface.evaluation.verification import needed_trials

_FPIR_TARGETS = (1e-1, 1e-2, 1e-3)
_RANKS = 20


@dataclass(frozen=True, slots=True)
class SearchPoint:
    """A threshold and its error rates."""

    threshold: float
    fpir: float
    fpir_interval: Interval
    fnir: float
    """NaN if no person has a second photo."""
    fnir_interval: Interval

    @property
    def rates(self) -> dict[str, tuple[float, Interval]]:
        """The rates with their intervals, by name."""
        return {"FPIR": (self.fpir, self.fpir_interval), "FNIR": (self.fnir, self.fnir_interval)}


@dataclass(frozen=True, slots=True)
class FpirTarget:
    """The lowest threshold of four decimal places at which the FPIR is not above a target."""

    target: float
    point: SearchPoint | None
    """None if there are too few searches."""
    more_searches_needed: int
    """Number of missing non-mated searches. 0 if there are enough for the target."""


@dataclass(frozen=True, slots=True, eq=False)
class IdentificationRates:
    """The rates of 1:N searches at each of `histogram.thresholds()`."""

    fpir: NDArray[np.float64]
    """Shape (20001,)."""
    fnir: NDArray[np.float64]
    """Shape (20001,). Photos without a usable face count as misses."""
    gallery_people: int
    """Number of people who are enrolled in a non-mated search: all except one."""
    mated_searches: int
    """Number of mated searches, including photos without a usable face."""
    non_mated_searches: int
    failures: int
    """Number of photos without a usable face."""
    cumulative_match: NDArray[np.float64]
    """Shape (20,): share of mated searches with the right person among the first 1, 2, … 20."""
    cumulative_match_intervals: tuple[Interval, ...]


def identification(
    compared: Comparisons, replicates: Replicates, *, failures: NDArray[np.int64] | None = None
) -> IdentificationRates:
    """Return the rates of searching every photo among all the others.

    A photo without a usable face counts as a mated search that misses. `failures` is the number of such photos of each
    person, shape (p,). None is 0.
    """
    count = int(compared.people.max()) + 1
    failed = np.zeros(count, np.int64) if failures is None else failures
    mated = compared.ranks > 0
    first = compared.ranks == 1
    right = ScoreHistogram.of(compared.best_mated[first]).at_or_above()
    trials = np.bincount(compared.people[mated], minlength=count) + failed
    searches = int(trials.sum())
    found = _found_by_rank(compared, count)
    false_positives = ScoreHistogram.of(compared.best_non_mated).at_or_above()
    return IdentificationRates(
        fpir=false_positives / len(compared.people),
        fnir=1 - right / searches,
        gallery_people=int(compared.people.max()),
        mated_searches=searches,
        non_mated_searches=len(compared.people),
        failures=int(failed.sum()),
        cumulative_match=found.sum(axis=0) / searches,
        cumulative_match_intervals=_rising(
            replicates.interval_of_people(trials - by_person, trials).complement for by_person in found.T
        ),
    )


def _found_by_rank(compared: Comparisons, count: int) -> NDArray[np.int64]:
    """Count the searches of each person that find them among the first 1, 2, … 20, shape (p, 20)."""
    found = np.zeros((count, _RANKS + 2), np.int64)
    np.add.at(found, (compared.people, np.minimum(compared.ranks, _RANKS + 1)), 1)
    return found[:, 1 : _RANKS + 1].cumsum(axis=1)


def _rising(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """Make the intervals rise with the ranks. The rule of 3 may give a lower end than the interval of a lower rank."""
    lows, highs = np.maximum.accumulate(np.array(list(intervals)), axis=0).T
    return tuple(Interval(low, high) for low, high in zip(lows.tolist(), highs.tolist(), strict=True))


def search_point(
    compared: Comparisons,
    replicates: Replicates,
    threshold: float,
    *,
    failures: NDArray[np.int64] | None = None,
    searched: NDArray[np.bool_] | None = None,
) -> SearchPoint:
    """Return FPIR and FNIR at a threshold. The intervals are over the searched people, not over the enrolled ones.

    `failures` is as for `identification`. `searched` is a mask of the photos to search, shape (n,). None is all photos.
    All photos are enrolled in any case.
    """
    count = int(compared.people.max()) + 1
    included = np.ones(len(compared.people), bool) if searched is None else searched
    named = included & (compared.best_non_mated >= np.float32(threshold))
    mated = included & (compared.ranks > 0)
    missed = mated & ((compared.ranks > 1) | (compared.best_mated < np.float32(threshold)))

    def by_person(which: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(compared.people[which], minlength=count)

    failed = np.zeros(count, np.int64) if failures is None else failures
    errors, trials = by_person(missed) + failed, by_person(mated) + failed
    return SearchPoint(
        threshold=threshold,
        fpir=float(named.sum() / max(included.sum(), 1)),
        fpir_interval=replicates.interval_of_people(by_person(named), by_person(included)),
        fnir=float(errors.sum() / trials.sum()) if trials.any() else math.nan,
        fnir_interval=replicates.interval_of_people(errors, trials),
    )


def fpir_targets(
    compared: Comparisons, rates: IdentificationRates, replicates: Replicates, failures: NDArray[np.int64]
) -> tuple[FpirTarget, ...]:
    """Return the lowest threshold for each target, if there are enough searches for it (rule of 30)."""
    found = []
    for target in _FPIR_TARGETS:
        missing = needed_trials(target) - rates.non_mated_searches
        point = None
        if missing <= 0:
            threshold = float(thresholds()[np.argmax(rates.fpir <= target)])
            point = search_point(compared, replicates, threshold, failures=failures)
        found.append(FpirTarget(target, point, max(missing, 0)))
    return tuple(found)
