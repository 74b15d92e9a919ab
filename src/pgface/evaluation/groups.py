"""The error rates of groups of people or photos, and the differences between them.

Only pairs within a group are compared, where false matches are most frequent. Source of the protocol and of the ratio
to the geometric mean: P. Grother, "Face Recognition Vendor Test (FRVT) Part 8: Summarizing Demographic Differentials",
NIST Interagency Report 8429 (2022). Terms: ISO/IEC 19795-10:2024.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgface.errors import EvaluationError
from pgface.evaluation.bootstrap import Interval, Replicates
from pgface.evaluation.embeddings import EmbeddedPhotos
from pgface.evaluation.identification import SearchPoint, search_point
from pgface.evaluation.pairwise import Comparisons, compare_all
from pgface.evaluation.photos import LabelledPhoto, some_of
from pgface.evaluation.verification import OperatingPoint, Verification, operating_point, verification


@dataclass(frozen=True, slots=True)
class Attributes:
    """Attributes of people, or of single photos."""

    key: str
    """`photo` for paths below the folder, or `person` for names of people."""
    names: tuple[str, ...]
    values: Mapping[str, tuple[str, ...]]
    """The value of each attribute, by photo or person. An empty value is unknown."""

    def value(self, photo: LabelledPhoto, number: int) -> str:
        """Return a photo's value of an attribute, given by its place in `names`. Empty if the value is unknown."""
        found = self.values.get(photo.name if self.key == "photo" else photo.person)
        return "" if found is None else found[number]


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
    """The 1:1 rates at the threshold in use. None if there are fewer than two people, or no person has two photos."""
    verification: Verification | None
    """The 1:1 rates over all thresholds. None if `in_use` is None."""
    search: SearchPoint | None
    """The 1:N rates at the threshold in use, from searches of the group's photos among the photos of all people.

    FNIR is NaN if no person has a second photo. None for a group without a usable photo.
    """

    @property
    def measured(self) -> dict[str, tuple[float, Interval]]:
        """The known ones of FMR, FNMR, FPIR and FNIR at the thresholds in use, with their intervals."""
        rates: dict[str, tuple[float, Interval]] = {}
        for point in (self.in_use, self.search):
            rates |= {} if point is None else point.rates
        return {name: known for name, known in rates.items() if not math.isnan(known[0])}


@dataclass(frozen=True, slots=True)
class Differential:
    """The difference of a rate between the groups of an attribute."""

    attribute: str
    rate: str
    worst: str
    """The group with the highest rate. Empty if no group has an error."""
    max_to_min: float | None
    """The highest rate divided by the lowest. None if a group has no error at all."""
    max_to_geometric_mean: float | None
    """The highest rate divided by the geometric mean. None if a group has no error at all."""


def read_attributes(file: Path) -> Attributes:
    """Read a table whose first column is `photo` or `person`. Each other column is an attribute.

    Raises:
        EvaluationError: the table cannot be read, has another format, or has two rows for one photo or person.

    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            rows = [row for row in csv.reader(stream) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a table in UTF-8"
        raise EvaluationError(f"{file}: the table cannot be read ({reason}). Give a CSV file.") from error
    if not rows or rows[0][0] not in ("photo", "person") or len(rows[0]) < 2:
        raise EvaluationError(
            f"{file}: the first line should name the columns: `photo` or `person`, then attributes. Correct it."
        )
    key, *names = rows[0]
    values: dict[str, tuple[str, ...]] = {}
    for number, row in enumerate(rows[1:], start=1):
        if len(row) != len(rows[0]):
            raise EvaluationError(f"{file}: row {number} has {len(row)} columns and not {len(rows[0])}. Correct it.")
        if row[0] in values:
            raise EvaluationError(f"{file}: {row[0]} has two rows. Delete one of them.")
        values[row[0]] = tuple(value.strip() for value in row[1:])
    return Attributes(key, tuple(names), values)


def check_attributes(file: Path, attributes: Attributes, photos: Sequence[LabelledPhoto]) -> None:
    """Check that all photos or people of a table exist.

    Raises:
        EvaluationError: the table has a photo or person that is not among these photos.

    """
    known = {photo.name if attributes.key == "photo" else photo.person for photo in photos}
    unknown = [name for name in attributes.values if name not in known]
    if unknown:
        raise EvaluationError(f"{file}: the folder has no {attributes.key} {some_of(unknown)}. Correct the table.")


def group_rates(
    embedded: EmbeddedPhotos,
    compared: Comparisons,
    attributes: Attributes,
    verify_threshold: float,
    identify_threshold: float,
) -> tuple[GroupRates, ...]:
    """Return the rates of every group of every attribute. A photo with an unknown value is in no group."""
    all_people = Replicates.draw(len(embedded.people))
    found = []
    for number, attribute in enumerate(attributes.names):
        values = np.array([attributes.value(photo, number) for photo in embedded.photos])
        refused = [(attributes.value(refusal.photo, number), refusal.photo.person) for refusal in embedded.refusals]
        for group in sorted({*values.tolist(), *(value for value, _ in refused)} - {""}):
            within = values == group
            failed = Counter(person for value, person in refused if value == group)
            failures = np.array([failed[person] for person in embedded.people], np.int64)
            in_use, rates = _verification(embedded, within, verify_threshold) or (None, None)
            search = None
            if within.any():
                search = search_point(compared, all_people, identify_threshold, failures=failures, searched=within)
            found.append(
                GroupRates(
                    attribute,
                    group,
                    people=len({*(embedded.people[person] for person in compared.people[within].tolist()), *failed}),
                    photos=int(within.sum()),
                    failure_to_enroll_rate=failed.total() / (failed.total() + int(within.sum())),
                    in_use=in_use,
                    verification=rates,
                    search=search,
                )
            )
    return tuple(found)


def _verification(
    embedded: EmbeddedPhotos, within: NDArray[np.bool_], threshold: float
) -> tuple[OperatingPoint, Verification] | None:
    """Return the 1:1 rates of some photos. None if they have no mated or no non-mated pair."""
    try:
        compared = compare_all(embedded.embeddings[within], embedded.owners[within])
    except EvaluationError:
        return None
    replicates = Replicates.draw(int(compared.people.max()) + 1)
    return operating_point(compared, replicates, threshold), verification(compared, replicates)


def differentials(groups: Sequence[GroupRates]) -> tuple[Differential, ...]:
    """Return the differences between the groups of each attribute, in each rate that two of them have."""
    found = []
    for attribute in dict.fromkeys(group.attribute for group in groups):
        rates: dict[str, dict[str, float]] = {rate: {} for rate in ("FMR", "FNMR", "FPIR", "FNIR", "FTE")}
        for group in groups:
            if group.attribute == attribute:
                for rate, (value, _) in group.measured.items():
                    rates[rate][group.group] = value
                rates["FTE"][group.group] = group.failure_to_enroll_rate
        found += [_differential(attribute, rate, by_group) for rate, by_group in rates.items() if len(by_group) > 1]
    return tuple(found)


def _differential(attribute: str, rate: str, by_group: dict[str, float]) -> Differential:
    values = np.array(list(by_group.values()))
    worst = max(by_group, key=by_group.__getitem__) if values.any() else ""
    if not values.all():
        return Differential(attribute, rate, worst, None, None)
    mean = float(np.exp(np.log(values).mean()))
    return Differential(attribute, rate, worst, float(values.max() / values.min()), float(values.max() / mean))
