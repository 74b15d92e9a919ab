"""Finds thresholds for target rates, and sets them with a history that explains each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from psycopg.rows import class_row

from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import EvaluationError, GalleryError, ModelMismatchError
from pgface.evaluation.bootstrap import Interval, Replicates
from pgface.evaluation.embeddings import EmbeddedPhotos
from pgface.evaluation.extreme_value import Estimate, NonMatedTrials
from pgface.evaluation.identification import SearchPoint, search_point
from pgface.evaluation.pairwise import Comparisons, compare_all
from pgface.evaluation.verification import ERRORS_NEEDED
from pgface.faces.models.registry import ModelIdentity, model_defaults
from pgface.gallery.config import GalleryConfig, store_anchors
from pgface.thresholds import (
    CONFIDENCE_OF_FMR,
    Anchor,
    Kind,
    PastCalibration,
    Tail,
    advise,
    anchors_of,
    calibration_in_use,
    fpir_of,
    rate_of_each,
)

_MIN_PEOPLE = 5
_MAX_MISS_RATE = 0.5
"""A threshold that misses a larger share of the photos is useless."""


@dataclass(frozen=True, slots=True)
class Check:
    """The FPIR at the new threshold with the people of the photos enrolled: counted, and as estimated."""

    people_enrolled: int
    counted: float
    counted_interval: Interval
    estimated: float


@dataclass(frozen=True, slots=True)
class ThresholdChange:
    """A proposed threshold."""

    kind: Kind
    target: float
    """FMR for `verify`, FPIR for `identify`."""
    before: float
    threshold: float
    """The safe threshold: the upper end of the interval, or above."""
    threshold_likely: float
    """The threshold at which these photos have the target rate. Photos of other people may have a higher rate there."""
    threshold_interval: Interval
    rate: float
    """FMR or FPIR at the threshold."""
    rate_interval: Interval
    extrapolated: bool
    """Whether the rate comes from the tail of the similarities, because there are too few comparisons to count."""
    miss_rate: float | None = None
    """FNMR or FNIR at the threshold. None if nothing was measured."""
    miss_rate_interval: Interval | None = None
    miss_rate_before: float | None = None
    people_enrolled: int | None = None
    """Number of people that a threshold of `identify` is for."""
    tail: Tail | None = None
    """The tail that gives a threshold of `identify` for other numbers of people."""
    check: Check | None = None
    trials: int | None = None
    """Number of comparisons of a photo with another person that gave the rate. None if nothing was measured."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The changes of a calibration, and the photos that they were measured on."""

    changes: tuple[ThresholdChange, ...]
    anchors: tuple[Anchor, ...] | None
    """The new confidence scale. None keeps the old scale."""
    source: str
    people: int
    photos: int
    failures_to_enroll: int
    mated_pairs: int
    non_mated_pairs: int
    measured_by: ModelIdentity | None = None
    """The model that embedded the photos. None if no photo was embedded."""

    def to_json(self) -> dict[str, Any]:
        """Return values that `json.dumps` accepts."""
        return asdict(self)


def propose(
    source: str,
    embedded: EmbeddedPhotos,
    config: GalleryConfig,
    *,
    fmr: float | None,
    fpir: float | None,
    people_enrolled: int,
) -> Calibration:
    """Find the thresholds for target rates on embedded photos, without a change to the gallery.

    The targets are rates between 0 and 1, as for `propose_calibration`. The history shows `source`.

    Raises:
        EvaluationError: there are too few people or comparisons.

    """
    if len(embedded.people) < _MIN_PEOPLE:
        raise EvaluationError(
            f"A calibration needs photos of {_MIN_PEOPLE} people or more, and better of hundreds, because all photos "
            f"of a person show the same face. There are {len(embedded.people)}."
        )
    compared = compare_all(embedded.embeddings, embedded.owners)
    replicates = Replicates.draw(len(embedded.people))
    trials = NonMatedTrials.of_searches(compared, replicates)
    changes = []
    if fmr is not None:
        changes.append(_verify_change(compared, replicates, trials, fmr, config.verify_threshold))
    if fpir is not None:
        rates_at = partial(search_point, compared, replicates, failures=embedded.missed_searches())
        changes.append(
            _identify_change(
                trials, rates_at, len(embedded.people) - 1, fpir, config.identify_threshold, people_enrolled
            )
        )
    for change in changes:
        _refuse_useless_threshold(change)
    return Calibration(
        changes=tuple(changes),
        anchors=_anchors(NonMatedTrials.of_pairs(compared, replicates), config.model_name or ""),
        source=source,
        people=len(embedded.people),
        photos=len(embedded.photos) + len(embedded.refusals),
        failures_to_enroll=len(embedded.refusals),
        mated_pairs=compared.mated.total,
        non_mated_pairs=compared.non_mated.total,
        measured_by=config.identity,
    )


def _refuse_useless_threshold(change: ThresholdChange) -> None:
    if change.miss_rate is not None and (change.threshold >= 1 or change.miss_rate > _MAX_MISS_RATE):
        raise EvaluationError(
            f"The safe threshold for the target of {change.target:g}, {change.threshold:.4f}, would miss "
            f"{change.miss_rate:.0%} of the photos. Some photos may have a wrong label: see `pgface evaluate --html` "
            "or `pgface audit-gallery`. Otherwise, give photos of more people, or accept more errors."
        )


def _verify_change(
    compared: Comparisons, replicates: Replicates, trials: NonMatedTrials, target: float, before: float
) -> ThresholdChange:
    """Propose a threshold for verification, which compares a probe with the nearest photo of a user."""
    estimate = trials.estimate(target)
    mated = compared.ranks > 0

    def missed(threshold: float) -> tuple[float, Interval]:
        below = mated & (compared.best_mated < np.float32(threshold))
        errors, of_each = (np.bincount(compared.people[which], minlength=replicates.people) for which in (below, mated))
        return float(below.sum() / mated.sum()), replicates.interval_of_people(errors, of_each)

    miss_rate, miss_rate_interval = missed(estimate.threshold)
    change = _change("verify", trials, estimate, target, before)
    return replace(
        change, miss_rate=miss_rate, miss_rate_interval=miss_rate_interval, miss_rate_before=missed(before)[0]
    )


def _identify_change(
    trials: NonMatedTrials,
    rates_at: Callable[[float], SearchPoint],
    others: int,
    target: float,
    before: float,
    people: int,
) -> ThresholdChange:
    """Propose a threshold for searches among `people`. The rates are those of searches with `others` enrolled."""
    estimate = trials.estimate(rate_of_each(target, people))
    rates = rates_at(estimate.threshold)
    return replace(
        _change("identify", trials, estimate, target, before),
        rate=fpir_of(estimate.rate, people),
        rate_interval=Interval(*(fpir_of(rate, people) for rate in estimate.rate_interval)),
        miss_rate=rates.fnir,
        miss_rate_interval=rates.fnir_interval,
        miss_rate_before=rates_at(before).fnir,
        people_enrolled=people,
        tail=trials.tail(),
        check=Check(others, rates.fpir, rates.fpir_interval, fpir_of(estimate.rate, others)),
    )


def _change(kind: Kind, trials: NonMatedTrials, estimate: Estimate, target: float, before: float) -> ThresholdChange:
    return ThresholdChange(
        kind=kind,
        target=target,
        before=before,
        threshold=estimate.threshold,
        threshold_likely=estimate.likely,
        threshold_interval=estimate.interval,
        rate=estimate.rate,
        rate_interval=estimate.rate_interval,
        extrapolated=estimate.extrapolated,
        trials=trials.total,
    )


def _anchors(pairs: NonMatedTrials, model_name: str) -> tuple[Anchor, ...]:
    """Return the similarity of every FMR that has a confidence, counted, or from the tail as far as it reaches.

    Beyond the tail, similarity grows as in the model's published figures.
    """
    published = {fmr: similarity for fmr, similarity, _ in model_defaults(model_name).fmr_thresholds}
    found: list[tuple[float, float, bool]] = []
    for fmr in CONFIDENCE_OF_FMR:
        if pairs.total * fmr >= ERRORS_NEEDED:
            found.append((fmr, pairs.lowest_threshold(fmr), False))
        elif pairs.reaches(fmr):
            found.append((fmr, pairs.estimate(fmr).likely, True))
        elif found:
            last, similarity, _ = found[-1]
            found.append((fmr, min(1.0, similarity + published[fmr] - published[last]), True))
        else:
            found.append((fmr, published[fmr], True))
    return anchors_of(found)


def apply(database: Database, calibration: Calibration) -> None:
    """Set the thresholds, write the history and store the confidence scale, all in one transaction.

    Raises:
        GalleryError: a threshold or the model has changed since the calibration was made.
        DatabaseError: PostgreSQL failed. Nothing was changed.

    """
    with database.transaction() as connection:
        with connection.cursor(row_factory=class_row(GalleryConfig)) as cursor:
            (config,) = cursor.execute(queries()["lock_gallery_row"]).fetchall()
        if calibration.measured_by not in (None, config.identity):
            raise ModelMismatchError("The gallery was bound to another model in the meantime. Calibrate again.")
        for change in calibration.changes:
            now = config.verify_threshold if change.kind == "verify" else config.identify_threshold
            if now != change.before:
                raise GalleryError(
                    f"The threshold to {change.kind} was changed to {now:g} in the meantime. Calibrate again."
                )
            connection.execute(queries()[f"set_{change.kind}_threshold"], {"threshold": change.threshold})
            connection.execute(queries()["insert_calibration"], _row(calibration, change, config))
        if calibration.anchors is not None:
            store_anchors(connection, calibration.anchors)


def _row(calibration: Calibration, change: ThresholdChange, config: GalleryConfig) -> dict[str, Any]:
    """Return the values of a row of `calibrations`, among others."""
    return {
        **asdict(calibration),
        **asdict(change),
        **_bounds("threshold", change.threshold_interval),
        **_bounds("rate", change.rate_interval),
        **_bounds("miss_rate", change.miss_rate_interval),
        **{f"tail_{name}": getattr(change.tail, name, None) for name in ("start", "share", "scale", "shape")},
        "threshold_before": change.before,
        "model_name": config.model_name or "",
        "alignment_size": config.alignment_size,
        "weights_sha256": config.weights_sha256,
    }


def _bounds(name: str, interval: Interval | None) -> dict[str, float | None]:
    low, high = (None, None) if interval is None else interval
    return {f"{name}_low": low, f"{name}_high": high}


def follow(config: GalleryConfig, past: Sequence[PastCalibration], people: int) -> Calibration | None:
    """Adapt the threshold of identification to the number of people, without a new measurement.

    Returns:
        The change, or None if the threshold in use fits.

    """
    advice = advise(config.identity, config.identify_threshold, past, people)
    if not advice.due:
        return None
    row = calibration_in_use(past, "identify", config.identity, config.identify_threshold)
    change = ThresholdChange(
        kind="identify",
        target=advice.target,
        before=config.identify_threshold,
        threshold=advice.threshold,
        threshold_likely=advice.threshold,
        threshold_interval=Interval(advice.threshold, advice.threshold),
        rate=advice.target,
        rate_interval=Interval(0.0, 1.0),
        extrapolated=True,
        people_enrolled=people,
    )
    if row is None:
        return Calibration((change,), None, "the model's published figures", 0, 0, 0, 0, 0)
    increase = advice.threshold - row.threshold
    likely, low, high = (
        min(1.0, value + increase) for value in (row.threshold_likely, row.threshold_low, row.threshold_high)
    )
    change = replace(
        change,
        threshold_likely=likely,
        threshold_interval=Interval(low, high),
        rate_interval=Interval(row.rate_low, row.rate_high),
        tail=row.tail,
    )
    measured = (row.people, row.photos, row.failures_to_enroll, row.mated_pairs, row.non_mated_pairs)
    return Calibration((change,), None, row.source, *measured)
