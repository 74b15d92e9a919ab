"""An evaluation as text and numbers, for the terminal and the page."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from pgface.evaluation.bootstrap import Interval
from pgface.evaluation.evaluate import Evaluation
from pgface.evaluation.identification import IdentificationRates
from pgface.text import counted

_REASONS = {
    "NoFaceError": "no face was found",
    "SeveralFacesError": "several faces",
    "LowQualityError": "of too low quality",
    "PhotoFormatError": "not a photo that can be decoded",
    "PhotoTooLargeError": "over a limit",
    "PhotoNotReadableError": "cannot be read",
}


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with a title."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that readers look for first."""

    name: str
    value: str
    what: str
    """The rest of a sentence that starts with the value."""


def summary(evaluation: Evaluation) -> Iterator[str]:
    """Yield sentences about what was evaluated."""
    embedded, rates = evaluation.embedded, evaluation.verification
    photos = len(embedded.photos) + len(embedded.refusals)
    yield (
        f"{counted(photos, 'photo')} of {counted(len(embedded.people), 'person', 'people')}, "
        f"{evaluation.used.model}: {rates.mated_pairs:,} mated "
        f"and {rates.non_mated_pairs:,} non-mated pairs."
    )
    if embedded.refusals:
        reasons = ", ".join(f"{count:,} {_REASONS.get(name, name)}" for name, count in embedded.reasons().most_common())
        failed = f"{counted(len(embedded.refusals), 'photo')}, {percent(embedded.failure_to_enroll_rate)}"
        yield f"Failures to enroll: {failed} ({reasons})."
    yield from _refused_pairs(evaluation)
    if not evaluation.people_known:
        yield (
            "The list does not name the person of each photo, so photos that mated pairs link count as one person. "
            "In truth, there are fewer people, and the intervals are wider. Put the photos into a folder for each "
            "person."
        )
    if evaluation.folds is not None:
        folds = evaluation.folds
        yield (
            f"Accuracy over {len(folds.accuracies)} folds: {100 * folds.mean:.2f} ± {100 * folds.standard_error:.2f} % "
            "(standard error), as LFW defines it."
        )
    area = rates.area_interval
    yield (
        f"EER {rate(rates.equal_error_rate, rates.equal_error_interval)} at {rates.equal_error_threshold:.4f}, "
        f"area under the ROC {rates.area_under_curve:.6f} ({area.low:.6f} to {area.high:.6f}), "
        f"accuracy at the best threshold {rate(rates.best_accuracy, rates.best_accuracy_interval)}."
    )


def figures(evaluation: Evaluation) -> Iterator[Figure]:
    """Yield the error rates at the thresholds in use, which most readers look for."""
    rates, used = evaluation.verification, evaluation.in_use
    yield Figure("Threshold (1:1)", f"{used.threshold:g}", "is in use for verification.")
    yield Figure("FMR", percent(used.fmr), f"of {rates.non_mated_pairs:,} pairs of two people pass as one person.")
    yield Figure("FNMR", percent(used.fnmr), f"of {rates.mated_pairs:,} pairs of one person do not pass.")
    if evaluation.search is not None:
        search = evaluation.search.in_use
        yield Figure("Threshold (1:N)", f"{search.threshold:g}", "is in use for identification.")
        yield Figure("FPIR", percent(search.fpir), "of searches for people who are not enrolled name a person.")
        yield Figure("FNIR", percent(search.fnir), "of searches for enrolled people do not name them.")


def _refused_pairs(evaluation: Evaluation) -> Iterator[str]:
    """Yield the part of FNMR that comes from refused photos."""
    refused, compared = evaluation.refused_mated, evaluation.compared.mated.total
    if not refused.total:
        return
    pairs = compared if refused.counted else compared + refused.total
    reasons = ", ".join(
        f"{count:,} {_REASONS.get(name, name)} ({percent(count / pairs)})"
        for name, count in refused.reasons.most_common()
    )
    if refused.counted:
        yield f"FNMR counts {refused.total:,} mated pairs with a refused photo as not matching: {reasons}."
    else:
        yield (
            f"FNMR leaves out {refused.total:,} mated pairs with a refused photo: {reasons}. If they count as not "
            f"matching, it is {percent(evaluation.fnmr_with_refusals)} at the threshold in use."
        )
    if refused.reasons["LowQualityError"]:
        yield "`pgface evaluate --no-quality` takes photos of any quality."


def tables(evaluation: Evaluation) -> Iterator[Table]:
    """Make the tables of the error rates."""
    yield _verification(evaluation)
    if evaluation.search is not None:
        yield _identification(evaluation)
        yield _ranks(evaluation)
    if evaluation.groups:
        yield _groups(evaluation)
    if evaluation.differentials:
        yield _differentials(evaluation)


def _verification(evaluation: Evaluation) -> Table:
    rows = []
    missing = []
    for target in evaluation.verification.targets:
        if target.point is None:
            missing.append(f"{target.target:g} ({target.more_pairs_needed:,} more)")
            continue
        point = target.point
        rows.append(
            (
                f"FMR {target.target:g}",
                f"{point.threshold:.4f}",
                rate(point.fmr, point.fmr_interval),
                rate(point.fnmr, point.fnmr_interval),
            )
        )
    used = evaluation.in_use
    rows.append(
        ("in use", f"{used.threshold:.4f}", rate(used.fmr, used.fmr_interval), rate(used.fnmr, used.fnmr_interval))
    )
    note = f"There are too few non-mated pairs to know the threshold for FMR {', '.join(missing)}. " if missing else ""
    return Table("Verification (1:1)", ("target", "threshold", "FMR", "FNMR"), tuple(rows), note + _INTERVALS)


def _identification(evaluation: Evaluation) -> Table:
    search = evaluation.search
    assert search is not None  # noqa: S101 - the caller's
    rows = []
    missing = []
    for target in search.targets:
        if target.point is None:
            missing.append(f"{target.target:g} ({target.more_searches_needed:,} more)")
            continue
        point = target.point
        rows.append(
            (
                f"FPIR {target.target:g}",
                f"{point.threshold:.4f}",
                rate(point.fpir, point.fpir_interval),
                rate(point.fnir, point.fnir_interval),
            )
        )
    used = search.in_use
    rows.append(
        ("in use", f"{used.threshold:.4f}", rate(used.fpir, used.fpir_interval), rate(used.fnir, used.fnir_interval))
    )
    failures = search.rates.failures
    note = f"FPIR grows with the number of people enrolled. This one is for {search.rates.gallery_people:,}."
    if missing:
        note += f" There are too few photos to know the threshold for FPIR {', '.join(missing)}."
    if failures:
        note += f" FNIR counts {counted(failures, 'photo')} without a usable face as misses."
    return Table("Identification (1:N, open set)", ("target", "threshold", "FPIR", "FNIR"), tuple(rows), note)


def _ranks(evaluation: Evaluation) -> Table:
    search = evaluation.search
    assert search is not None  # noqa: S101 - the caller's
    shares = search.rates.cumulative_match
    intervals = search.rates.cumulative_match_intervals
    rows = tuple((f"{rank}", rate(shares[rank - 1], intervals[rank - 1])) for rank in _shown_ranks(search.rates))
    note = f"{search.rates.mated_searches:,} searches without a threshold."
    return Table("Cumulative match", ("rank", "the right person is among the first"), rows, note)


def _shown_ranks(rates: IdentificationRates) -> list[int]:
    """Yield ranks up to the number of people, because every person is found from there on."""
    return [rank for rank in (1, 2, 5, 10, 20) if rank <= rates.gallery_people + 1]


def _groups(evaluation: Evaluation) -> Table:
    rows = []
    photos = Counter[str]()
    for group in evaluation.groups:
        photos[group.attribute] += group.photos
    unknown = len(evaluation.embedded.photos) - min(photos.values())
    for group in evaluation.groups:
        point, search, rates = group.in_use, group.search, group.verification
        rows.append(
            (
                f"{group.attribute}: {group.group}",
                f"{group.people:,}",
                f"{group.photos:,}",
                percent(group.failure_to_enroll_rate),
                "-" if rates is None else percent(rates.equal_error_rate),
                "-" if point is None else rate(point.fmr, point.fmr_interval),
                "-" if point is None else rate(point.fnmr, point.fnmr_interval),
                "-" if search is None else rate(search.fpir, search.fpir_interval),
                "-" if search is None or math.isnan(search.fnir) else rate(search.fnir, search.fnir_interval),
            )
        )
    columns = ("group", "people", "photos", "FTE", "EER", "FMR", "FNMR", "FPIR", "FNIR")
    return Table(
        "Groups, at the thresholds in use",
        columns,
        tuple(rows),
        "Photos are those with a usable face. FMR is of pairs within the group. FPIR and FNIR are of its photos, "
        "searched among the photos of all groups."
        + (f" {counted(unknown, 'photo is', 'photos are')} in no group of some attribute." if unknown else ""),
    )


def _differentials(evaluation: Evaluation) -> Table:
    rows = tuple(
        (
            f"{found.attribute}, {found.rate}",
            found.worst or "-",
            "-" if found.max_to_min is None else f"{found.max_to_min:.2f}",
            "-" if found.max_to_geometric_mean is None else f"{found.max_to_geometric_mean:.2f}",
        )
        for found in evaluation.differentials
    )
    return Table(
        "How far apart the groups are",
        ("rate", "highest for", "highest / lowest", "highest / geometric mean"),
        rows,
        "There is no ratio if a group has no error at all, because there are too few trials.",
    )


_INTERVALS = (
    "In brackets: 95 % intervals, from 400 random draws of the people. Without an error, they come from the "
    "rule of 3 over people, or over pairs of people for FMR."
)


def percent(share: float) -> str:
    """Format a share in percent, with three digits, or four if it is close to 100 %."""
    if share == 0:
        return "0 %"
    if share < 1e-4:
        return f"{100 * share:.2g} %"
    return f"{100 * share:.2f} %" if 0.9 < share < 1 else f"{100 * share:.3g} %"


def rate(value: float, interval: Interval) -> str:
    """Format a rate with its interval."""
    return f"{percent(value)} ({percent(interval.low)} to {percent(interval.high)})"
