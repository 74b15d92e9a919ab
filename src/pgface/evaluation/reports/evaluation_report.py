"""An evaluation as sentences and tables, for the terminal and the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from pgface.evaluation.bootstrap import Interval
from pgface.evaluation.evaluate import Evaluation, SearchEvaluation
from pgface.evaluation.groups import Differential
from pgface.evaluation.identification import IdentificationRates, SearchPoint
from pgface.evaluation.verification import OperatingPoint
from pgface.text import counted

_REASONS = {
    "NoFaceError": "no face was found",
    "SeveralFacesError": "several faces",
    "LowQualityError": "of too low quality",
    "PhotoFormatError": "not a photo that can be decoded",
    "PhotoTooLargeError": "over a limit",
    "PhotoNotReadableError": "cannot be read",
}

_INTERVALS = (
    "In brackets: 95 % intervals, from 400 random draws of the people. Without an error, they come from the "
    "rule of 3 over people, or over pairs of people for FMR."
)
_GROUP_RATES = ("FMR", "FNMR", "FPIR", "FNIR")


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number at the top of the page."""

    name: str
    value: str
    explanation: str
    """The rest of a sentence that starts with the value."""


def summary(evaluation: Evaluation) -> Iterator[str]:
    """Yield sentences about the photos, the refused ones and the rates over all thresholds."""
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
            "The true number of people is lower, and the true intervals are wider. Put the photos into a folder for "
            "each person."
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
    """Yield the error rates at the thresholds in use."""
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
    """Yield sentences about the mated pairs with a refused photo, and about the FNMR with them."""
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
        yield _identification(evaluation.search)
        yield _ranks(evaluation.search.rates)
    if evaluation.groups:
        yield _groups(evaluation)
    if evaluation.differentials:
        yield _differentials(evaluation.differentials)


def _verification(evaluation: Evaluation) -> Table:
    targets = evaluation.verification.targets
    rows = [_row(f"FMR {found.target:g}", found.point) for found in targets if found.point is not None]
    missing = [f"{found.target:g} ({found.more_pairs_needed:,} more)" for found in targets if found.point is None]
    note = f"There are too few non-mated pairs to know the threshold for FMR {', '.join(missing)}. " if missing else ""
    columns = ("target", "threshold", "FMR", "FNMR")
    return Table("Verification (1:1)", columns, (*rows, _row("in use", evaluation.in_use)), note + _INTERVALS)


def _identification(search: SearchEvaluation) -> Table:
    rows = [_row(f"FPIR {found.target:g}", found.point) for found in search.targets if found.point is not None]
    missing = [
        f"{found.target:g} ({found.more_searches_needed:,} more)" for found in search.targets if found.point is None
    ]
    failures = search.rates.failures
    note = f"FPIR grows with the number of people enrolled. This one is for {search.rates.gallery_people:,}."
    if missing:
        note += f" There are too few photos to know the threshold for FPIR {', '.join(missing)}."
    if failures:
        note += f" FNIR counts {counted(failures, 'photo')} without a usable face as misses."
    columns = ("target", "threshold", "FPIR", "FNIR")
    return Table("Identification (1:N, open set)", columns, (*rows, _row("in use", search.in_use)), note)


def _row(target: str, point: OperatingPoint | SearchPoint) -> tuple[str, ...]:
    return (target, f"{point.threshold:.4f}", *(rate(*known) for known in point.rates.values()))


def _ranks(rates: IdentificationRates) -> Table:
    matches = list(zip(rates.cumulative_match, rates.cumulative_match_intervals, strict=True))
    # Up to the number of people. From there on, every search has found its person.
    shown = [rank for rank in (1, 2, 5, 10, 20) if rank <= rates.gallery_people + 1]
    rows = tuple((f"{rank}", rate(*matches[rank - 1])) for rank in shown)
    note = f"{rates.mated_searches:,} searches without a threshold."
    return Table("Cumulative match", ("rank", "the right person is among the first"), rows, note)


def _groups(evaluation: Evaluation) -> Table:
    rows = []
    photos = Counter[str]()
    for group in evaluation.groups:
        photos[group.attribute] += group.photos
    unknown = len(evaluation.embedded.photos) - min(photos.values())
    for group in evaluation.groups:
        rates, measured = group.verification, group.measured
        rows.append(
            (
                f"{group.attribute}: {group.group}",
                f"{group.people:,}",
                f"{group.photos:,}",
                percent(group.failure_to_enroll_rate),
                "-" if rates is None else percent(rates.equal_error_rate),
                *(rate(*measured[name]) if name in measured else "-" for name in _GROUP_RATES),
            )
        )
    columns = ("group", "people", "photos", "FTE", "EER", *_GROUP_RATES)
    return Table(
        "Groups, at the thresholds in use",
        columns,
        tuple(rows),
        "Photos without a usable face are not counted. FMR is that of pairs within the group. FPIR and FNIR are those "
        "of searches of its photos among the photos of all groups."
        + (f" {counted(unknown, 'photo is', 'photos are')} in no group of some attribute." if unknown else ""),
    )


def _differentials(differentials: tuple[Differential, ...]) -> Table:
    rows = tuple(
        (
            f"{found.attribute}, {found.rate}",
            found.worst or "-",
            "-" if found.max_to_min is None else f"{found.max_to_min:.2f}",
            "-" if found.max_to_geometric_mean is None else f"{found.max_to_geometric_mean:.2f}",
        )
        for found in differentials
    )
    return Table(
        "Differences between the groups",
        ("rate", "highest for", "highest / lowest", "highest / geometric mean"),
        rows,
        "There is no ratio if a group has no error at all, because there are too few trials.",
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
