"""The error rates of identification (1:N), open set: every photo is searched among all the others.

For the mated search the person's other photos are enrolled; for the non-mated one they are not, and everybody else is.
FPIR: share of non-mated searches that give anybody. FNIR: share of mated searches that do not give the right person
first and above the threshold. Terms: ISO/IEC 19795-1:2021; protocol as in NIST FRTE 1:N (FNIR(N, R=1, T), FPIR(N, T)).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pgface.evaluation.bootstrap import Interval, Replicates
from pgface.evaluation.histogram import ScoreHistogram, thresholds
from pgface.evaluation.pairwise import Comparisons
from pgface.evaluation.verification import ERRORS_NEEDED

FPIR_TARGETS = (1e-1, 1e-2, 1e-3)
_RANKS = 20


@dataclass(frozen=True, slots=True)
class SearchPoint:
    """A threshold and what it does."""

    threshold: float
    fpir: float
    fpir_interval: Interval
    fnir: float
    """NaN where nobody has a second photo."""
    fnir_interval: Interval


@dataclass(frozen=True, slots=True)
class FpirTarget:
    """The least threshold, of four places, at which the FPIR is not above a target."""

    target: float
    point: SearchPoint | None
    """None where there are too few searches to know."""
    more_searches_needed: int
    """Non-mated searches that are missing for the target to be known; 0 where it is."""


@dataclass(frozen=True, slots=True, eq=False)
class IdentificationRates:
    """The rates of 1:N searches over all thresholds."""

    thresholds: NDArray[np.float64]
    """Shape (20001,), -1 to 1, ascending."""
    fpir: NDArray[np.float64]
    """Of the same shape."""
    fnir: NDArray[np.float64]
    """Of the same shape; photos without a usable face count as misses."""
    gallery_people: int
    """People who are enrolled in a non-mated search: all but one."""
    mated_searches: int
    """With those whose photo had no usable face."""
    non_mated_searches: int
    failures: int
    """Photos of the mated searches in which no usable face was found."""
    cumulative_match: NDArray[np.float64]
    """Shape (20,): share of mated searches in which the right person is among the first 1, 2, … 20 of all."""
    cumulative_match_intervals: tuple[Interval, ...]
    """Of each of them."""


def identification(
    compared: Comparisons, replicates: Replicates, *, failures: NDArray[np.int64] | None = None
) -> IdentificationRates:
    """The rates of searching every photo among all the others.

    Args:
        compared: all comparisons.
        replicates: of the people who were compared.
        failures: shape (p,), photos of each person in which no usable face was found: mated searches that miss; none if
            not given.

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
        thresholds=thresholds(),
        fpir=false_positives / len(compared.people),
        fnir=1 - right / searches,
        gallery_people=int(compared.people.max()),
        mated_searches=searches,
        non_mated_searches=len(compared.people),
        failures=int(failed.sum()),
        cumulative_match=found.sum(axis=0) / searches,
        cumulative_match_intervals=_rising(_share_interval(replicates, by_person, trials) for by_person in found.T),
    )


def _found_by_rank(compared: Comparisons, count: int) -> NDArray[np.int64]:
    """How many searches of each person find them among the first 1, 2, … 20, shape (p, 20)."""
    found = np.zeros((count, _RANKS + 2), np.int64)
    np.add.at(found, (compared.people, np.minimum(compared.ranks, _RANKS + 1)), 1)
    return found[:, 1 : _RANKS + 1].cumsum(axis=1)


def _rising(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """Intervals of shares that only rise: without an error the rule of 3 alone would say less than is known already."""
    lows, highs = np.maximum.accumulate(np.array(list(intervals)), axis=0).T
    return tuple(Interval(low, high) for low, high in zip(lows.tolist(), highs.tolist(), strict=True))


def _share_interval(replicates: Replicates, found: NDArray[np.int64], trials: NDArray[np.int64]) -> Interval:
    missed = replicates.of_people(trials - found, trials)
    return Interval(1 - missed.high, 1 - missed.low)


def search_point(
    compared: Comparisons,
    replicates: Replicates,
    threshold: float,
    *,
    failures: NDArray[np.int64] | None = None,
    searched: NDArray[np.bool_] | None = None,
) -> SearchPoint:
    """FPIR and FNIR at a threshold, with intervals over the people who are searched for (not over those enrolled).

    Args:
        compared: all comparisons.
        replicates: of the people who were compared.
        threshold: least similarity.
        failures: shape (p,), photos of each person without a usable face: searches that miss; none if not given.
        searched: shape (n,): which of the photos are searched; all if not given. All are enrolled.

    """
    count = int(compared.people.max()) + 1
    asked = np.ones(len(compared.people), bool) if searched is None else searched
    given = asked & (compared.best_non_mated >= np.float32(threshold))
    mated = asked & (compared.ranks > 0)
    missed = mated & ((compared.ranks > 1) | (compared.best_mated < np.float32(threshold)))

    def by_person(which: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(compared.people[which], minlength=count)

    failed = np.zeros(count, np.int64) if failures is None else failures
    errors, trials = by_person(missed) + failed, by_person(mated) + failed
    return SearchPoint(
        threshold=threshold,
        fpir=float(given.sum() / max(asked.sum(), 1)),
        fpir_interval=replicates.of_people(by_person(given), by_person(asked)),
        fnir=float(errors.sum() / trials.sum()) if trials.any() else math.nan,
        fnir_interval=replicates.of_people(errors, trials),
    )


def fpir_targets(
    compared: Comparisons,
    rates: IdentificationRates,
    replicates: Replicates,
    *,
    failures: NDArray[np.int64] | None = None,
    targets: Sequence[float] = FPIR_TARGETS,
) -> tuple[FpirTarget, ...]:
    """The least threshold for each target, as far as the number of searches carries (rule of 30)."""
    found = []
    for target in targets:
        missing = math.ceil(ERRORS_NEEDED / target) - rates.non_mated_searches
        point = None
        if missing <= 0:
            threshold = float(rates.thresholds[np.argmax(rates.fpir <= target)])
            point = search_point(compared, replicates, threshold, failures=failures)
        found.append(FpirTarget(target, point, max(missing, 0)))
    return tuple(found)
