"""Thresholds for target rates: finding them, and setting them with a history that explains each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg.rows import class_row

from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import EvaluationError, GalleryError, ModelMismatchError
from pgface.evaluation.bootstrap import Interval, Replicates
from pgface.evaluation.embeddings import EmbeddedPhotos
from pgface.evaluation.extreme_value import NonMatedTrials
from pgface.evaluation.histogram import thresholds
from pgface.evaluation.identification import search_point
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

MIN_PEOPLE = 5
_MAX_MISSED = 0.5
"""A threshold that misses a larger share of mated searches is useless."""


@dataclass(frozen=True, slots=True)
class Check:
    """The estimate for a search and the counted rate, with the people of the photos enrolled."""

    people_enrolled: int
    counted: float
    """FPIR at the new threshold."""
    counted_interval: Interval
    estimated: float


@dataclass(frozen=True, slots=True)
class ThresholdChange:
    """A proposed threshold."""

    kind: Kind
    target: float
    """FMR for "verify", FPIR for "identify"."""
    before: float
    threshold: float
    """The safe threshold: the upper end of the interval, or above."""
    threshold_likely: float
    """The threshold at which the photos show the target. With few people, other people may have a higher rate there."""
    threshold_interval: Interval
    rate: float
    """FMR or FPIR at the threshold."""
    rate_interval: Interval
    extrapolated: bool
    """Whether the rate comes from the tail of the similarities, because there are too few comparisons to count."""
    miss_rate: float | None
    """FNMR or FNIR at the threshold. None if nothing was measured."""
    miss_rate_interval: Interval | None
    miss_rate_before: float | None
    people_enrolled: int | None
    """Number of people for whom a threshold of "identify" holds."""
    tail: Tail | None
    """The tail that gives a threshold of "identify" for other numbers of people."""
    check: Check | None
    trials: int | None = None
    """Number of comparisons of a photo with another person, which gave the rate. None if nothing was measured."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The changes of a calibration, and what they were measured on."""

    changes: tuple[ThresholdChange, ...]
    anchors: tuple[Anchor, ...] | None
    """The new confidence scale. None leaves the scale as it is."""
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
    seed: int = 0,
) -> Calibration:
    """Find the thresholds for target rates on photos of people, without a change to the gallery.

    Args:
        source: the origin of the photos, for the history.
        embedded: the photos, embedded by the gallery's model.
        config: the configuration, with the thresholds in use.
        fmr: target of verification. None leaves its threshold as it is.
        fpir: target of identification. None leaves its threshold as it is.
        people_enrolled: the number of people in a search, 1 or more.
        seed: the seed of the random samples.

    Raises:
        EvaluationError: there are too few people or comparisons, or a target is not between 0 and 1.

    """
    check_targets(fmr, fpir)
    if len(embedded.people) < MIN_PEOPLE:
        raise EvaluationError(
            f"A calibration needs {MIN_PEOPLE} people or more, and better hundreds, because all pairs of two people "
            f"share their faces. There are {len(embedded.people)}."
        )
    compared = compare_all(embedded.embeddings, embedded.owners, seed=seed)
    replicates = Replicates.draw(len(embedded.people), seed=seed)
    trials = NonMatedTrials.of_searches(compared, replicates)
    changes = []
    if fmr is not None:
        changes.append(_verify_change(compared, replicates, trials, fmr, config.verify_threshold))
    if fpir is not None:
        failures = embedded.missed_searches()
        before = config.identify_threshold
        changes.append(_identify_change(compared, replicates, trials, fpir, before, people_enrolled, failures))
    for change in changes:
        _refuse_useless_threshold(change)
    pairs = NonMatedTrials.of_pairs(compared, replicates)
    return Calibration(
        changes=tuple(changes),
        anchors=_anchors(compared, pairs, config.model_name or ""),
        source=source,
        people=len(embedded.people),
        photos=len(embedded.photos) + len(embedded.refusals),
        failures_to_enroll=len(embedded.refusals),
        mated_pairs=compared.mated.total,
        non_mated_pairs=compared.non_mated.total,
        measured_by=config.identity,
    )


def check_targets(*targets: float | None) -> None:
    """Check that targets are rates.

    Raises:
        EvaluationError: a target is not between 0 and 1.

    """
    for target in targets:
        if target is not None and not 0 < target < 1:
            raise EvaluationError(f"A target must be between 0 and 1, got {target:g}. Write 0.01 for one in a hundred.")


def _refuse_useless_threshold(change: ThresholdChange) -> None:
    if change.miss_rate is not None and (change.threshold >= 1 or change.miss_rate > _MAX_MISSED):
        raise EvaluationError(
            f"The safe threshold for the target of {change.target:g}, {change.threshold:.4f}, would miss "
            f"{change.miss_rate:.0%} of the photos. Some photos may have a wrong label: see `pgface evaluate --html` "
            "or `pgface audit-gallery`. Otherwise, give photos of more people, or accept more errors."
        )


def _verify_change(
    compared: Comparisons, replicates: Replicates, trials: NonMatedTrials, target: float, before: float
) -> ThresholdChange:
    """Return the trials of verification, as `Gallery.verify` decides: by the user's nearest photo."""
    estimate = trials.estimate(target)
    miss_rate, interval = _missed(compared, replicates, estimate.threshold)
    return ThresholdChange(
        kind="verify",
        target=target,
        before=before,
        threshold=estimate.threshold,
        threshold_interval=estimate.interval,
        threshold_likely=estimate.likely,
        rate=estimate.rate,
        rate_interval=estimate.rate_interval,
        extrapolated=estimate.extrapolated,
        miss_rate=miss_rate,
        miss_rate_interval=interval,
        miss_rate_before=_missed(compared, replicates, before)[0],
        people_enrolled=None,
        tail=None,
        check=None,
        trials=trials.total,
    )


def _missed(compared: Comparisons, replicates: Replicates, threshold: float) -> tuple[float, Interval]:
    """Return the share of photos whose nearest other photo of the same person is below a threshold."""
    there = compared.ranks > 0
    below = there & (compared.best_mated < np.float32(threshold))
    count = len(replicates.weights[0])
    errors, trials = (np.bincount(compared.people[which], minlength=count) for which in (below, there))
    return float(below.sum() / there.sum()), replicates.interval_of_people(errors, trials)


def _identify_change(
    compared: Comparisons,
    replicates: Replicates,
    trials: NonMatedTrials,
    target: float,
    before: float,
    people: int,
    failures: NDArray[np.int64],
) -> ThresholdChange:
    estimate = trials.estimate(rate_of_each(target, people))
    at = search_point(compared, replicates, estimate.threshold, failures=failures)
    at_before = search_point(compared, replicates, before, failures=failures)
    others = len(replicates.weights[0]) - 1
    return ThresholdChange(
        kind="identify",
        target=target,
        before=before,
        threshold=estimate.threshold,
        threshold_interval=estimate.interval,
        threshold_likely=estimate.likely,
        rate=fpir_of(estimate.rate, people),
        rate_interval=Interval(*(fpir_of(rate, people) for rate in estimate.rate_interval)),
        extrapolated=estimate.extrapolated,
        miss_rate=at.fnir,
        miss_rate_interval=at.fnir_interval,
        miss_rate_before=at_before.fnir,
        people_enrolled=people,
        tail=trials.tail(),
        check=Check(others, at.fpir, at.fpir_interval, fpir_of(estimate.rate, others)),
        trials=trials.total,
    )


def _anchors(compared: Comparisons, pairs: NonMatedTrials, model_name: str) -> tuple[Anchor, ...]:
    """Return the similarity of every FMR that has a confidence, counted, or from the tail as far as it goes.

    Beyond the tail, similarity grows as in the model's published figures.
    """
    counted = compared.non_mated.at_or_above() / compared.non_mated.total
    published = {fmr: similarity for fmr, similarity, _ in model_defaults(model_name).fmr_thresholds}
    found: list[tuple[float, float, bool]] = []
    for fmr in CONFIDENCE_OF_FMR:
        if compared.non_mated.total * fmr >= ERRORS_NEEDED:
            found.append((fmr, float(thresholds()[np.argmax(counted <= fmr)]), False))
        elif pairs.reaches(fmr):
            found.append((fmr, pairs.estimate(fmr).likely, True))
        elif found:
            last, similarity, _ = found[-1]
            found.append((fmr, min(1.0, similarity + published[fmr] - published[last]), True))
        else:
            found.append((fmr, published[fmr], True))
    return anchors_of(found)


def apply(database: Database, calibration: Calibration) -> None:
    """Set the thresholds, write the history and store the confidence scale: all of it, or nothing.

    Raises:
        GalleryError: a threshold or the model has changed since the calibration was made.
        DatabaseError: PostgreSQL could not do it. Nothing was changed.

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
    tail = change.tail
    return {
        "kind": change.kind,
        "threshold": change.threshold,
        "threshold_likely": change.threshold_likely,
        **_bounds("threshold", change.threshold_interval),
        "threshold_before": change.before,
        "target": change.target,
        "rate": change.rate,
        **_bounds("rate", change.rate_interval),
        "extrapolated": change.extrapolated,
        "miss_rate": change.miss_rate,
        **_bounds("miss_rate", change.miss_rate_interval),
        "people_enrolled": change.people_enrolled,
        **{f"tail_{name}": getattr(tail, name, None) for name in ("start", "share", "scale", "shape")},
        "source": calibration.source,
        "people": calibration.people,
        "photos": calibration.photos,
        "failures_to_enroll": calibration.failures_to_enroll,
        "mated_pairs": calibration.mated_pairs,
        "non_mated_pairs": calibration.non_mated_pairs,
        "model_name": config.model_name or "",
        "detector_size": config.detector_size,
        "weights_sha256": config.weights_sha256,
    }


def _bounds(name: str, interval: Interval | None) -> dict[str, float | None]:
    low, high = (None, None) if interval is None else interval
    return {f"{name}_low": low, f"{name}_high": high}


def follow(config: GalleryConfig, past: Sequence[PastCalibration], people: int) -> Calibration | None:
    """Return the change that adapts the threshold of identification to the number of people, without a new measurement.

    None if the threshold in use fits.
    """
    advice = advise(config, past, people)
    row = calibration_in_use(past, "identify", config)
    if not advice.due:
        return None
    wider = advice.threshold - (advice.threshold if row is None else row.threshold)
    change = ThresholdChange(
        kind="identify",
        target=advice.target,
        before=config.identify_threshold,
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
        tail=None if row is None else row.tail,
        check=None,
    )
    if row is None:
        return Calibration((change,), None, "the model's published figures", 0, 0, 0, 0, 0)
    measured = (row.people, row.photos, row.failures_to_enroll, row.mated_pairs, row.non_mated_pairs)
    return Calibration((change,), None, row.source, *measured)
