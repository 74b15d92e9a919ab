"""The meaning of a similarity: confidence, error rates, and whether a threshold still fits the gallery.

A confidence is a similarity on a scale from 0 to 100. It means the same for every model, because false match rates
define the scale. 0 is a typical non-mated pair: half of all such pairs are at or below it. 50 is reached by one
non-mated pair in 100 (FMR 1e-2), 80 by one in 1,000, 90 by one in 10,000, 95 by one in 100,000 and 99 by one in a
million. 100 is the similarity 1.

Between two anchors, the confidence grows linearly with the similarity. The similarities of non-mated pairs have an
approximately exponential tail, so equal steps of similarity divide the FMR by equal factors. The scale does the same
from one anchor to the next. It assumes nothing about the model beyond its anchors.

The confidence is about one pair. It does not depend on the size of the gallery. In a search among 10,000 people, one
unknown person reaches 90 with one of them.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Literal

from psycopg.rows import class_row

from pgface.database.pool import Database
from pgface.faces.models.registry import ModelIdentity, model_defaults

CONFIDENCE_OF_FMR = {0.5: 0.0, 1e-2: 50.0, 1e-3: 80.0, 1e-4: 90.0, 1e-5: 95.0, 1e-6: 99.0}
"""The confidence at each false match rate. A rate of 0.5 is the median of non-mated pairs."""

CALIBRATE_AGAIN = "pgface calibrate --follow, or pgface calibrate FOLDER"
"""The commands for a threshold that is too low for the number of people."""
NOT_CALIBRATED = (
    "The thresholds are the model's published ones. They were not calibrated on your photos.",
    "pgface calibrate FOLDER",
)
"""The advice for a gallery without a calibration: a sentence and a command."""

_MIN_STEP = 1e-4
"""Minimum distance between the similarities of two anchors, so that the confidence grows from one to the next."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A similarity of one model, with its confidence and its error rate."""

    similarity: float
    confidence: float
    fmr: float
    extrapolated: bool
    """Whether the FMR was extrapolated from higher ones, because too few pairs reach this similarity to count them."""


def anchors_of(thresholds: Iterable[tuple[float, float, bool]]) -> tuple[Anchor, ...]:
    """Make anchors from rows of FMR, similarity, and whether the FMR is extrapolated. The highest FMR comes first."""
    anchors: list[Anchor] = []
    lowest = -1.0
    for fmr, similarity, extrapolated in sorted(thresholds, reverse=True):
        lowest = max(similarity, lowest + _MIN_STEP)
        if lowest < 1:
            anchors.append(Anchor(lowest, CONFIDENCE_OF_FMR[fmr], fmr, extrapolated))
    return tuple(anchors)


def confidence(similarity: float, anchors: Sequence[Anchor]) -> float:
    """Return the confidence of a similarity: 0 up to the first anchor, 100 at a similarity of 1.

    Args:
        similarity: cosine, -1 to 1.
        anchors: the model's anchors in the order of their similarities, at least one.

    """
    points = _points_of(anchors)
    upper = min(max(bisect_right(points, (similarity, 100.0)), 1), len(points) - 1)
    (low, low_confidence), (high, high_confidence) = points[upper - 1], points[upper]
    share = (min(max(similarity, -1.0), 1.0) - low) / (high - low)
    return low_confidence + share * (high_confidence - low_confidence)


def similarity_at(confidence: float, anchors: Sequence[Anchor]) -> float:
    """Return the lowest similarity with a confidence: the inverse of `confidence`. It is -1 for 0."""
    points = _points_of(anchors)
    for (low, low_confidence), (high, high_confidence) in pairwise(points):
        if low_confidence < confidence <= high_confidence:
            return low + (high - low) * (confidence - low_confidence) / (high_confidence - low_confidence)
    return -1.0 if confidence <= 0 else 1.0


def _points_of(anchors: Sequence[Anchor]) -> list[tuple[float, float]]:
    """Return the similarities and confidences between which the confidence is linear."""
    return [(-1.0, 0.0), *((anchor.similarity, anchor.confidence) for anchor in anchors), (1.0, 100.0)]


@dataclass(frozen=True, slots=True)
class Tail:
    """The tail of the non-mated similarities: how often a probe of another person reaches a similarity to a user."""

    start: float
    share: float
    """Share of all trials that reach `start`."""
    scale: float
    shape: float
    """0 for an exponential tail, more for a heavier one."""

    def rate(self, threshold: float) -> float:
        """Return the share of trials that reach a threshold. The threshold must not be below `start`."""
        beyond = max(0.0, threshold - self.start) / self.scale
        if self.shape == 0:
            return self.share * math.exp(-beyond)
        return float(self.share * (1 + self.shape * beyond) ** (-1 / self.shape))

    def threshold(self, rate: float) -> float:
        """Return the threshold that a share of trials reaches. It is `start` for larger shares, and at most 1."""
        if rate >= self.share:
            return self.start
        fewer = self.share / rate
        beyond = math.log(fewer) if self.shape == 0 else (fewer**self.shape - 1) / self.shape
        return min(1.0, self.start + self.scale * beyond)


def rate_of_each(fpir: float, people: int) -> float:
    """Return the false match rate per enrolled person that gives this FPIR in a search among a number of people.

    The formula assumes independent people. If some probes resemble many people and others few, the true FPIR is lower
    (Jensen's inequality). If relatives are enrolled together, or people have several photos, it is higher.
    """
    return -math.expm1(math.log1p(-fpir) / people)


def fpir_of(rate: float, people: int) -> float:
    """Return the FPIR of a search among a number of people: the inverse of `rate_of_each`."""
    return -math.expm1(people * math.log1p(-min(rate, 1 - 1e-12)))


Kind = Literal["verify", "identify"]


@dataclass(frozen=True, slots=True)
class PastCalibration:
    """One row of the calibration history."""

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
    alignment_size: int | None
    weights_sha256: str | None

    @property
    def tail(self) -> Tail | None:
        """The tail of a calibration of identification, if it has one."""
        if self.tail_start is None or self.tail_share is None or self.tail_scale is None or self.tail_shape is None:
            return None
        return Tail(self.tail_start, self.tail_share, self.tail_scale, self.tail_shape)

    def to_json(self) -> dict[str, Any]:
        """Return values that `json.dumps` accepts."""
        return asdict(self) | {"calibrated_at": self.calibrated_at.isoformat()}


def history(database: Database) -> list[PastCalibration]:
    """Read all thresholds that calibrations have set, newest first."""
    return database.read("select_calibrations", row_factory=class_row(PastCalibration))


def was_calibrated(past: Iterable[PastCalibration], model_name: str | None, weights_sha256: str | None) -> bool:
    """Whether a threshold was ever set by a calibration with this model."""
    return any((row.model_name, row.weights_sha256) == (model_name, weights_sha256) for row in past)


def calibration_in_use(
    past: Iterable[PastCalibration], kind: Kind, model: ModelIdentity, threshold: float
) -> PastCalibration | None:
    """Return the calibration that set the threshold in use. None if it was set otherwise, or for another model."""
    row = next((row for row in past if row.kind == kind), None)
    if row is None or row.threshold != threshold:
        return None
    calibrated = (row.model_name, row.alignment_size or 0, row.weights_sha256 or "")
    return row if calibrated == (model.name, model.alignment_size, model.weights_sha256) else None


_FEW_PEOPLE = 10
"""The number of people for whom the threshold of a new gallery is high enough."""
_MIN_DIFFERENCE = 0.01
"""Minimum difference between the advised threshold and the one in use at which calibration is due."""
DEFAULT_FPIR = 1e-2
"""The target of galleries that were not calibrated."""


@dataclass(frozen=True, slots=True)
class Advice:
    """The identification threshold that the number of enrolled people needs."""

    threshold: float
    people: int
    target: float
    """The FPIR for which `threshold` is."""
    calibrated_people: int | None
    """The number of people for which the threshold was calibrated. None if it is the model's published one."""
    due: bool
    """Whether the threshold in use is too low for these people."""


def advise(model: ModelIdentity, threshold: float, past: Sequence[PastCalibration], people: int) -> Advice:
    """Return the threshold that searches among so many people need.

    Args:
        model: the gallery's model.
        threshold: the threshold in use for identification.
        past: the history, the newest first.
        people: the number of people who are enrolled now.

    """
    row = calibration_in_use(past, "identify", model, threshold)
    if row is None or row.people_enrolled is None:
        needed = _published(model.name, people)
        return Advice(needed, people, DEFAULT_FPIR, None, needed - threshold >= _MIN_DIFFERENCE)
    needed = row.threshold
    tail = row.tail
    if tail is not None and people > row.people_enrolled:
        then, now = (tail.threshold(rate_of_each(row.target, count)) for count in (row.people_enrolled, people))
        needed = row.threshold + now - then
        if rate_of_each(row.target, row.people_enrolled) > tail.share:
            # The tail starts above the earlier threshold, so it gives the new threshold and not the change.
            needed = max(row.threshold, now + row.threshold - row.threshold_likely)
        needed = min(1.0, math.ceil(needed * 1e4) / 1e4)
    due = needed - threshold >= _MIN_DIFFERENCE
    return Advice(needed, people, row.target, row.people_enrolled, due)


def _published(model_name: str, people: int) -> float:
    """Interpolate between the published thresholds, linearly over the logarithm of the number of people.

    Up to 10 people, it is the threshold of a new gallery. Beyond the last published number, it is the last threshold.
    """
    defaults = model_defaults(model_name)
    begin = min(defaults.identify_threshold, defaults.identify_by_people[0][1])
    points = ((_FEW_PEOPLE, begin), *defaults.identify_by_people)
    if people <= points[0][0]:
        return points[0][1]
    for (fewer, low), (more, high) in pairwise(points):
        if people <= more:
            share = math.log(people / fewer) / math.log(more / fewer)
            return round(low + share * (high - low), 4)
    return points[-1][1]
