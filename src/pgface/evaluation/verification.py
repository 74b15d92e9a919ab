"""The error rates of verification (1:1), from all pairs of a set of photos.

Terms and protocol: ISO/IEC 19795-1:2021. A comparison is a match if its similarity reaches the threshold. FMR is the
share of non-mated pairs that match. FNMR is the share of mated pairs that do not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pgface.evaluation.bootstrap import Interval, Replicates
from pgface.evaluation.histogram import ScoreHistogram, index_of, thresholds
from pgface.evaluation.pairwise import PairComparisons, Pairs

_GRID = np.linspace(-1, 1, 801)
"""Thresholds of the replicates' curves."""
_FMR_TARGETS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
ERRORS_NEEDED = 30
"""Number of errors that gives a rate within 30 % with a confidence of 90 %, the rule of 30: G. R. Doddington et al.,
"The NIST speaker recognition evaluation", Speech Communication 31 (2000)."""


def needed_trials(rate: float) -> int:
    """Return the number of trials that suffices to count a rate (rule of 30)."""
    return math.ceil(ERRORS_NEEDED / rate)


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold and its error rates."""

    threshold: float
    fmr: float
    fmr_interval: Interval
    fnmr: float
    fnmr_interval: Interval

    @property
    def rates(self) -> dict[str, tuple[float, Interval]]:
        """The rates with their intervals, by name."""
        return {"FMR": (self.fmr, self.fmr_interval), "FNMR": (self.fnmr, self.fnmr_interval)}


@dataclass(frozen=True, slots=True)
class FmrTarget:
    """The lowest threshold of four decimal places at which the FMR is not above a target."""

    target: float
    point: OperatingPoint | None
    """None if there are too few pairs."""
    more_pairs_needed: int
    """Number of missing non-mated pairs. 0 if there are enough for the target."""


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """The rates of 1:1 comparisons at each of `histogram.thresholds()`."""

    fmr: NDArray[np.float64]
    """Shape (20001,)."""
    fnmr: NDArray[np.float64]
    """Shape (20001,)."""
    mated_pairs: int
    non_mated_pairs: int
    equal_error_rate: float
    equal_error_interval: Interval
    equal_error_threshold: float
    area_under_curve: float
    """Area under the ROC: the probability that a mated pair is more similar than a non-mated one. A tie counts half."""
    area_interval: Interval
    best_accuracy: float
    """The maximum of 1 - (FMR + FNMR) / 2 over all thresholds. Both kinds of pairs have the same weight."""
    best_accuracy_interval: Interval
    targets: tuple[FmrTarget, ...]


def verification(compared: PairComparisons, replicates: Replicates) -> Verification:
    """Return the rates of all pairs, with intervals at the thresholds of the targets."""
    fmr_trials = compared.non_mated.total
    fmr = compared.non_mated.at_or_above() / fmr_trials
    fnmr = compared.mated.below() / compared.mated.total
    known = [target for target in _FMR_TARGETS if fmr_trials * target >= ERRORS_NEEDED]
    indices = [int(np.argmax(fmr <= target)) for target in known]
    points = dict(zip(known, operating_points(compared, replicates, thresholds()[indices]), strict=True))
    equal, equal_threshold = _equal_error(fmr, fnmr)
    equal_interval, area_interval, accuracy_interval = _intervals_of_curves(compared, replicates)
    return Verification(
        fmr=fmr,
        fnmr=fnmr,
        mated_pairs=compared.mated.total,
        non_mated_pairs=fmr_trials,
        equal_error_rate=equal,
        equal_error_interval=equal_interval,
        equal_error_threshold=equal_threshold,
        area_under_curve=_area_under_curve(compared.mated, compared.non_mated),
        area_interval=area_interval,
        best_accuracy=float(1 - (fmr + fnmr).min() / 2),
        best_accuracy_interval=accuracy_interval,
        targets=tuple(
            FmrTarget(target, points.get(target), 0 if target in points else needed_trials(target) - fmr_trials)
            for target in _FMR_TARGETS
        ),
    )


def operating_point(compared: PairComparisons, replicates: Replicates, threshold: float) -> OperatingPoint:
    """Return FMR and FNMR at a threshold, with their intervals."""
    (point,) = operating_points(compared, replicates, np.array([threshold]))
    return point


def operating_points(
    compared: PairComparisons, replicates: Replicates, at: NDArray[np.float64]
) -> list[OperatingPoint]:
    """Return FMR and FNMR at some thresholds, with their intervals."""
    matches, misses = compared.non_mated.at_or_above(), compared.mated.below()
    # The FMR without an error is at most the FMR at the highest threshold with enough errors.
    counted = np.flatnonzero(matches >= ERRORS_NEEDED)[-1:]
    fmr_intervals = replicates.fmr_intervals(compared, np.append(at, thresholds()[counted]))
    bound = fmr_intervals[-1].high if len(counted) else 1.0
    points = []
    for threshold, fmr_interval in zip(at.tolist(), fmr_intervals[: len(at)], strict=True):
        index = index_of(threshold)
        fmr = float(matches[index] / compared.non_mated.total)
        points.append(
            OperatingPoint(
                threshold=threshold,
                fmr=fmr,
                fmr_interval=fmr_interval if fmr else Interval(0.0, min(fmr_interval.high, bound)),
                fnmr=float(misses[index] / compared.mated.total),
                fnmr_interval=replicates.interval_of_people(
                    *_misses_of_people(compared.mated_sample, compared.people, threshold)
                ),
            )
        )
    return points


def _misses_of_people(
    mated: Pairs, people: NDArray[np.int64], threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the mated pairs of each person below a threshold, and all of them, shapes (p,)."""
    owners, count = people[mated.first], int(people.max()) + 1
    below = mated.similarities < np.float32(threshold)
    return np.bincount(owners[below], minlength=count), np.bincount(owners, minlength=count)


def _equal_error(fmr: NDArray[np.float64], fnmr: NDArray[np.float64]) -> tuple[float, float]:
    """Return the equal error rate and its threshold, interpolated linearly where FMR and FNMR cross."""
    after = int(np.argmax(fnmr >= fmr))
    if after == 0 or fnmr[after] == fmr[after]:
        return float(fnmr[after]), float(thresholds()[after])
    gap_before, gap = fmr[after - 1] - fnmr[after - 1], fnmr[after] - fmr[after]
    share = gap_before / (gap_before + gap)
    rate, threshold = (
        float(values[after - 1] + share * (values[after] - values[after - 1])) for values in (fnmr, thresholds())
    )
    return rate, threshold


def _intervals_of_curves(compared: PairComparisons, replicates: Replicates) -> tuple[Interval, Interval, Interval]:
    """Return the intervals of the equal error rate, of the area under the ROC and of the best accuracy."""
    fmr = replicates.fmr_of_replicates(compared, _GRID)
    fnmr = replicates.rates_of_replicates(*_misses_at_thresholds(compared.mated_sample, compared.people, _GRID))
    nearest = np.abs(fmr - fnmr).argmin(axis=1)[:, np.newaxis]
    equal = (np.take_along_axis(fmr, nearest, 1) + np.take_along_axis(fnmr, nearest, 1))[:, 0] / 2
    wrongly_ordered = (np.diff(fnmr, append=1.0) * (fmr + np.pad(fmr[:, 1:], ((0, 0), (0, 1)))) / 2).sum(axis=1)
    wrong = (fmr + fnmr).min(axis=1) / 2
    equal_interval, wrong_order, inaccuracy = (
        replicates.interval(rates, people=replicates.people) for rates in (equal, wrongly_ordered, wrong)
    )
    return equal_interval, wrong_order.complement, inaccuracy.complement


def _misses_at_thresholds(
    mated: Pairs, people: NDArray[np.int64], at: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the mated pairs of each person below each threshold, shape (p, thresholds), and all of them."""
    owners, count = people[mated.first], int(people.max()) + 1
    indices = np.searchsorted(at, mated.similarities, side="right")  # the lowest threshold above each similarity
    counted = np.zeros((count, len(at) + 1), np.int64)
    np.add.at(counted, (owners, indices), 1)
    return counted[:, :-1].cumsum(axis=1), np.bincount(owners, minlength=count)


def _area_under_curve(mated: ScoreHistogram, non_mated: ScoreHistogram) -> float:
    less_similar = non_mated.below()[:-1] + non_mated.counts / 2
    return float((mated.counts * less_similar).sum() / (mated.total * non_mated.total))
