"""Thresholds: what a similarity means, how often strangers reach one, and whether a threshold still fits.

Similarity as a confidence from 0 to 100 that means the same for every model, because false match rates fix it.

A typical pair of strangers has 0: half of all pairs are at or below it. 50 is what one pair of strangers in 100 reaches
(FMR 1e-2), 80 one in 1,000, 90 one in 10,000, 95 one in 100,000 and 99 one in a million. 100 is the similarity 1.

Between two anchors the confidence rises in a straight line over the similarity. Far out, the similarities of strangers
fall off about exponentially, so that equal steps of similarity divide the FMR by equal factors, as the scale does from
one anchor to the next. Nothing is assumed of the model beyond its anchors.

The confidence is about one pair. It says nothing of how many people a gallery holds: in a search among 10,000, one
stranger reaches 90 with one of them.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from psycopg.rows import class_row

from pgface.database.pool import Database
from pgface.faces import model_defaults

if TYPE_CHECKING:
    from pgface.gallery.config import GalleryConfig

CONFIDENCE_OF_FMR = {0.5: 0.0, 1e-2: 50.0, 1e-3: 80.0, 1e-4: 90.0, 1e-5: 95.0, 1e-6: 99.0}
"""What a false match rate is as a confidence; a rate of 0.5 is the median of non-matching pairs."""

_STEP = 1e-4
"""Between the similarities of two anchors at least, so that the confidence rises from one to the next."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A similarity of one model, and what it means."""

    similarity: float
    confidence: float
    fmr: float
    extrapolated: bool
    """Whether the FMR was not counted but follows from the similarities of more frequent ones."""


def anchors_of(thresholds: Iterable[tuple[float, float, bool]]) -> tuple[Anchor, ...]:
    """Anchors from FMRs, the similarities that have them, and whether those are extrapolated; the highest FMR first."""
    made: list[Anchor] = []
    lowest = -1.0
    for fmr, similarity, extrapolated in sorted(thresholds, reverse=True):
        lowest = max(similarity, lowest + _STEP)
        if lowest < 1:
            made.append(Anchor(lowest, CONFIDENCE_OF_FMR[fmr], fmr, extrapolated))
    return tuple(made)


def confidence(similarity: float, anchors: Sequence[Anchor]) -> float:
    """The confidence of a similarity: 0 up to the first anchor, 100 at a similarity of 1.

    Args:
        similarity: cosine, -1 to 1.
        anchors: the model's, in the order of their similarities; at least one.

    """
    points = [(-1.0, 0.0), *((anchor.similarity, anchor.confidence) for anchor in anchors), (1.0, 100.0)]
    place = min(max(bisect_right(points, (similarity, 100.0)), 1), len(points) - 1)
    (low, low_confidence), (high, high_confidence) = points[place - 1], points[place]
    share = (min(max(similarity, -1.0), 1.0) - low) / (high - low)
    return low_confidence + share * (high_confidence - low_confidence)


@dataclass(frozen=True, slots=True)
class Tail:
    """How often a stranger reaches a similarity with one person, from a similarity on."""

    start: float
    share: float
    """Of all trials: those that reach the start."""
    scale: float
    shape: float
    """0 for an exponential tail, more for a heavier one."""

    def rate(self, threshold: float) -> float:
        """Share of trials that reach a threshold, which is not below the start."""
        beyond = max(0.0, threshold - self.start) / self.scale
        if self.shape == 0:
            return self.share * math.exp(-beyond)
        return float(self.share * (1 + self.shape * beyond) ** (-1 / self.shape))

    def threshold(self, rate: float) -> float:
        """The threshold that a share of trials reaches; the start for all larger ones, and 1 at most."""
        if rate >= self.share:
            return self.start
        fewer = self.share / rate
        beyond = math.log(fewer) if self.shape == 0 else (fewer**self.shape - 1) / self.shape
        return min(1.0, self.start + self.scale * beyond)


def rate_of_each(fpir: float, people: int) -> float:
    """How often a stranger may be taken for one enrolled person, so that a search among so many gives a name so often.

    People are taken to be independent. Strangers of whom some resemble many and others few make the true FPIR lower
    (Jensen's inequality); relatives who are enrolled together, and more photos of each person, make it higher.
    """
    return -math.expm1(math.log1p(-fpir) / people)


def fpir_of(rate: float, people: int) -> float:
    """The reverse: how often a search among so many people gives a stranger a name."""
    return -math.expm1(people * math.log1p(-min(rate, 1 - 1e-12)))


Kind = Literal["verify", "identify"]


@dataclass(frozen=True, slots=True)
class PastCalibration:
    """A row of the history."""

    id: int
    calibrated_at: datetime
    kind: Kind
    threshold: float
    threshold_likely: float
    threshold_low: float
    threshold_high: float
    threshold_before: float
    target: float
    rate: float
    rate_low: float
    rate_high: float
    extrapolated: bool
    miss_rate: float | None
    miss_rate_low: float | None
    miss_rate_high: float | None
    people_enrolled: int | None
    tail_start: float | None
    tail_share: float | None
    tail_scale: float | None
    tail_shape: float | None
    source: str
    people: int
    photos: int
    failures_to_enroll: int
    mated_pairs: int
    non_mated_pairs: int
    model_name: str
    detector_size: int | None
    weights_sha256: str | None

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self) | {"calibrated_at": self.calibrated_at.isoformat()}


def history(database: Database) -> list[PastCalibration]:
    """Every threshold that was set by calibration, the newest first."""
    return database.read("select_calibrations", row_factory=class_row(PastCalibration))


def current(past: Iterable[PastCalibration], kind: Kind, config: GalleryConfig) -> PastCalibration | None:
    """The calibration that a threshold in use comes from; None where it was set otherwise, or for another model."""
    threshold = config.verify_threshold if kind == "verify" else config.identify_threshold
    for row in past:
        if row.kind == kind:
            same = (row.model_name, row.detector_size, row.weights_sha256) == (
                config.model_name,
                config.detector_size,
                config.weights_sha256,
            )
            return row if same and row.threshold == threshold else None
    return None


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


def advise(config: GalleryConfig, past: Sequence[PastCalibration], people: int) -> Advice:
    """The threshold that searches among so many people need.

    Args:
        config: the thresholds in use.
        past: the history, the newest first.
        people: who are enrolled now.

    """
    row = current(past, "identify", config)
    if row is None or row.people_enrolled is None:
        needed = _published(config.model_name or "", people)
        return Advice(needed, people, DEFAULT_FPIR, None, needed - config.identify_threshold >= _WORTH_SAYING)
    needed = row.threshold
    tail = tail_of(row)
    if tail is not None and people > row.people_enrolled:
        then, now = (tail.threshold(rate_of_each(row.target, count)) for count in (row.people_enrolled, people))
        needed = row.threshold + now - then
        if rate_of_each(row.target, row.people_enrolled) > tail.share:
            # The tail does not reach down to the former number of people, so it tells of now and not of the difference.
            needed = max(row.threshold, now + row.threshold - row.threshold_likely)
        needed = min(1.0, math.ceil(needed * 1e4) / 1e4)
    due = needed - config.identify_threshold >= _WORTH_SAYING
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
