"""Whether the threshold of identification still fits the number of people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from pgface.binding import Binding
from pgface.evaluation.history import PastCalibration, current
from pgface.evaluation.pareto import Tail, rate_of_each
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
