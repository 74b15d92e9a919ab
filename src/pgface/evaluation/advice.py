"""Whether the threshold of identification still fits the number of people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from pgface.binding import Binding
from pgface.evaluation.bootstrap import Interval
from pgface.evaluation.calibration import Calibration, PastCalibration, ThresholdChange, current
from pgface.evaluation.tail import Tail, rate_of_each
from pgface.faces import model_defaults

_A_FEW = 10
"""People for whom the threshold that a gallery begins with was measured, or is enough."""
_WORTH_SAYING = 0.01
"""By how much a threshold must be too low before somebody is told."""
DEFAULT_FPIR = 1e-2
"""Target for galleries that were not calibrated."""


@dataclass(frozen=True, slots=True)
class Advice:
    """The threshold of identification for the people who are enrolled now."""

    threshold: float
    people: int
    target: float
    """FPIR."""
    calibrated_people: int | None
    """For how many the threshold in use was calibrated; None where the model's published figures are used."""
    due: bool
    """Whether the threshold in use is too low for them."""


def advise(binding: Binding, past: Sequence[PastCalibration], people: int) -> Advice:
    """The threshold that searches among so many people need.

    Args:
        binding: the thresholds in use.
        past: the history, the newest first.
        people: who are enrolled now.

    """
    row = current(past, "identify", binding)
    if row is None or row.people_enrolled is None:
        needed = _published(binding.model_name or "", people)
        return Advice(needed, people, DEFAULT_FPIR, None, needed - binding.identify_threshold >= _WORTH_SAYING)
    needed = row.threshold
    tail = tail_of(row)
    if tail is not None and people > row.people_enrolled:
        then, now = (tail.threshold(rate_of_each(row.target, count)) for count in (row.people_enrolled, people))
        needed = row.threshold + now - then
        if rate_of_each(row.target, row.people_enrolled) > tail.share:
            # The tail does not reach down to the former number of people, so it tells of now and not of the difference.
            needed = max(row.threshold, now + row.threshold - row.threshold_likely)
        needed = min(1.0, math.ceil(needed * 1e4) / 1e4)
    due = needed - binding.identify_threshold >= _WORTH_SAYING
    return Advice(needed, people, row.target, row.people_enrolled, due)


def follow(binding: Binding, past: Sequence[PastCalibration], people: int) -> Calibration | None:
    """The change that lets the threshold of identification follow the number of people; nothing is measured anew.

    None where the threshold in use fits.
    """
    advice = advise(binding, past, people)
    row = current(past, "identify", binding)
    if not advice.due:
        return None
    wider = advice.threshold - (advice.threshold if row is None else row.threshold)
    change = ThresholdChange(
        kind="identify",
        target=advice.target,
        before=binding.identify_threshold,
        threshold=advice.threshold,
        threshold_likely=advice.threshold if row is None else min(1.0, row.threshold_likely + wider),
        threshold_interval=Interval(advice.threshold, advice.threshold)
        if row is None
        else Interval(min(1.0, row.threshold_low + wider), min(1.0, row.threshold_high + wider)),
        rate=advice.target,
        rate_interval=Interval(0.0, 1.0) if row is None else Interval(row.rate_low, row.rate_high),
        extrapolated=True,
        miss_rate=None,
        miss_rate_interval=None,
        miss_rate_before=None,
        people_enrolled=people,
        tail=None if row is None else tail_of(row),
        check=None,
    )
    if row is None:
        return Calibration((change,), None, "the model's published figures", 0, 0, 0, 0, 0)
    measured = (row.people, row.photos, row.failures_to_enroll, row.mated_pairs, row.non_mated_pairs)
    return Calibration((change,), None, row.source, *measured)


def tail_of(row: PastCalibration) -> Tail | None:
    """The tail that a past calibration of identification was made by."""
    if row.tail_start is None or row.tail_share is None or row.tail_scale is None or row.tail_shape is None:
        return None
    return Tail(row.tail_start, row.tail_share, row.tail_scale, row.tail_shape)


def _published(model_name: str, people: int) -> float:
    """In straight lines over the logarithm of the number of people; below the first and beyond the last as at those.

    For a few people the threshold is the one that a gallery begins with.
    """
    defaults = model_defaults(model_name)
    begin = min(defaults.identify_threshold, defaults.identify_by_people[0][1])
    points = ((_A_FEW, begin), *defaults.identify_by_people)
    if people <= points[0][0]:
        return points[0][1]
    for (fewer, low), (more, high) in pairwise(points):
        if people <= more:
            share = math.log(people / fewer) / math.log(more / fewer)
            return round(low + share * (high - low), 4)
    return points[-1][1]
