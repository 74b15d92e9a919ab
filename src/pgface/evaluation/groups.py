"""The error rates of groups of people or photos, and the differences between them.

Non-mated pairs are those within a group, where false matches are most frequent. Source of the protocol and of the ratio
to the geometric mean: P. Grother, "Face Recognition Vendor Test (FRVT) Part 8: Summarizing Demographic Differentials",
NIST Interagency Report 8429 (2022). Terms: ISO/IEC 19795-10:2024.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from pgface.errors import EvaluationError
from pgface.evaluation.bootstrap import Replicates
from pgface.evaluation.embeddings import EmbeddedPhotos
from pgface.evaluation.identification import SearchPoint, search_point
from pgface.evaluation.pairwise import Comparisons, compare_all
from pgface.evaluation.photos import LabelledPhoto
from pgface.evaluation.verification import OperatingPoint, Verification, operating_points, verification

_KEYS = ("photo", "person")
_MAX_NAMED = 3


@dataclass(frozen=True, slots=True)
class Attributes:
    """Attributes of people, or of single photos."""

    key: str
    """"photo" for paths below the folder, or "person" for names of people."""
    names: tuple[str, ...]
    """The names of the attributes."""
    values: Mapping[str, tuple[str, ...]]
    """A value for each attribute, by photo or person. Empty if it is unknown."""

    def of(self, photo: LabelledPhoto, place: int) -> str:
        """Return a photo's value of the attribute at a place. Empty if it is unknown."""
        found = self.values.get(photo.name if self.key == "photo" else photo.person)
        return "" if found is None else found[place]


@dataclass(frozen=True, slots=True)
class GroupRates:
    """The rates of one group."""

    attribute: str
    group: str
    people: int
    photos: int
    """Photos with a usable face."""
    failure_to_enroll_rate: float
    in_use: OperatingPoint | None
    """At the threshold for verification. None if the group has fewer than two people, or no person with two photos."""
    verification: Verification | None
    """The rates over all thresholds. None in the same cases."""
    search: SearchPoint | None
    """Its photos searched among those of all people, at the threshold for identification. FNIR is NaN if no person has
    a second photo. None for a group without a usable photo."""


@dataclass(frozen=True, slots=True)
class Differential:
    """The difference of one rate between the groups of an attribute."""

    attribute: str
    rate: str
    worst: str
    """The group with the highest rate. Empty if no group has an error."""
    max_to_min: float | None
    """None if a group has no error at all."""
    max_to_geometric_mean: float | None
    """None if a group has no error at all."""


def read_attributes(file: Path) -> Attributes:
    """Read a table whose first column is `photo` or `person`. Each other column is an attribute.

    Raises:
        EvaluationError: the table cannot be read, has another form, or names something twice.

    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            rows = [row for row in csv.reader(stream) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a table in UTF-8"
        raise EvaluationError(f"{file}: the table cannot be read ({reason}). Give a CSV file.") from error
    if not rows or rows[0][0] not in _KEYS or len(rows[0]) < 2:
        raise EvaluationError(
            f"{file}: the first line should name the columns: `photo` or `person`, then attributes. Correct it."
        )
    key, *names = rows[0]
    values: dict[str, tuple[str, ...]] = {}
    for number, row in enumerate(rows[1:], start=1):
        if len(row) != len(rows[0]):
            raise EvaluationError(f"{file}: row {number} has {len(row)} columns and not {len(rows[0])}. Correct it.")
        if row[0] in values:
            raise EvaluationError(f"{file}: {row[0]} is there twice. Delete one of the lines.")
        values[row[0]] = tuple(value.strip() for value in row[1:])
    return Attributes(key, tuple(names), values)


def check_attributes(file: Path, attributes: Attributes, photos: Sequence[LabelledPhoto]) -> None:
    """Check that a table is about these photos.

    Raises:
        EvaluationError: it names others.

    """
    known = {photo.name if attributes.key == "photo" else photo.person for photo in photos}
    unknown = [name for name in attributes.values if name not in known]
    if unknown:
        more = f" and {len(unknown) - _MAX_NAMED:,} more" if len(unknown) > _MAX_NAMED else ""
        raise EvaluationError(
            f"{file}: the folder has no {attributes.key} {', '.join(unknown[:_MAX_NAMED])}{more}. Correct the table."
        )


def group_rates(
    embedded: EmbeddedPhotos,
    compared: Comparisons,
    attributes: Attributes,
    verify_threshold: float,
    identify_threshold: float,
    *,
    seed: int = 0,
) -> tuple[GroupRates, ...]:
    """Return the rates of every group of every attribute. Photos with an unknown value are in no group.

    Args:
        embedded: all photos.
        compared: all comparisons of them.
        attributes: the groups.
        verify_threshold: the threshold of the 1:1 rates.
        identify_threshold: the threshold of the 1:N rates.
        seed: the seed of the intervals.

    """
    everybody = Replicates.draw(len(embedded.people), seed=seed)
    found = []
    for place, attribute in enumerate(attributes.names):
        values = np.array([attributes.of(photo, place) for photo in embedded.photos])
        refused = [(attributes.of(refusal.photo, place), refusal.photo.person) for refusal in embedded.refusals]
        for group in sorted({*values.tolist(), *(value for value, _ in refused)} - {""}):
            within = values == group
            failed = Counter(person for value, person in refused if value == group)
            failures = np.array([failed[person] for person in embedded.people], np.int64)
            found.append(
                GroupRates(
                    attribute,
                    group,
                    people=len({*(embedded.people[person] for person in compared.people[within].tolist()), *failed}),
                    photos=int(within.sum()),
                    failure_to_enroll_rate=failed.total() / (failed.total() + int(within.sum())),
                    **_verification(embedded, within, verify_threshold, seed),
                    search=search_point(compared, everybody, identify_threshold, failures=failures, searched=within)
                    if within.any()
                    else None,
                )
            )
    return tuple(found)


def _verification(
    embedded: EmbeddedPhotos, within: NDArray[np.bool_], threshold: float, seed: int
) -> _VerificationFields:
    try:
        compared = compare_all(embedded.embeddings[within], embedded.owners[within], seed=seed)
    except EvaluationError:
        return {"in_use": None, "verification": None}
    replicates = Replicates.draw(int(compared.people.max()) + 1, seed=seed)
    (point,) = operating_points(compared, replicates, np.array([threshold]))
    return {"in_use": point, "verification": verification(compared, replicates)}


class _VerificationFields(TypedDict):
    in_use: OperatingPoint | None
    verification: Verification | None


def differentials(groups: Sequence[GroupRates]) -> tuple[Differential, ...]:
    """Return the differences between the groups of each attribute, in each rate that two of them have."""
    found = []
    for attribute in dict.fromkeys(group.attribute for group in groups):
        of_attribute = [group for group in groups if group.attribute == attribute]
        for rate in ("FMR", "FNMR", "FPIR", "FNIR", "FTE"):
            rates = {group.group: value for group in of_attribute if (value := _rate(group, rate)) is not None}
            if len(rates) > 1:
                found.append(_differential(attribute, rate, rates))
    return tuple(found)


def _rate(group: GroupRates, rate: str) -> float | None:
    match rate:
        case "FMR" | "FNMR":
            point = group.in_use
            return None if point is None else (point.fmr if rate == "FMR" else point.fnmr)
        case "FPIR" | "FNIR":
            if group.search is None:
                return None
            rate_of = group.search.fpir if rate == "FPIR" else group.search.fnir
            return None if np.isnan(rate_of) else rate_of
        case _:
            return group.failure_to_enroll_rate


def _differential(attribute: str, rate: str, rates: dict[str, float]) -> Differential:
    values = np.array(list(rates.values()))
    worst = max(rates, key=rates.__getitem__) if values.any() else ""
    if not values.all():
        return Differential(attribute, rate, worst, None, None)
    mean = float(np.exp(np.log(values).mean()))
    return Differential(attribute, rate, worst, float(values.max() / values.min()), float(values.max() / mean))
