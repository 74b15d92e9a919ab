"""Measures the error rates of a model on a set of photos: all results of `pgface evaluate`."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgface.errors import EvaluationError
from pgface.evaluation.bootstrap import Replicates
from pgface.evaluation.embeddings import EmbeddedPhotos, pair_rows
from pgface.evaluation.folds import FoldAccuracy, fold_accuracy
from pgface.evaluation.groups import Attributes, Differential, GroupRates, differentials, group_rates
from pgface.evaluation.histogram import ScoreHistogram, thresholds
from pgface.evaluation.identification import (
    FpirTarget,
    IdentificationRates,
    SearchPoint,
    fpir_targets,
    identification,
    search_point,
)
from pgface.evaluation.pairwise import NO_PAIRS, PairComparisons, Pairs, compare_all, products
from pgface.evaluation.photos import PhotoPairs
from pgface.evaluation.verification import OperatingPoint, Verification, operating_point, verification

_CURVE_STEP = 50
"""The step between the thresholds of curves in JSON, in bins: 0.005."""
_CURVES = ("fmr", "fnmr", "fpir", "fnir")


@dataclass(frozen=True, slots=True)
class ThresholdsInUse:
    """The evaluated model, and the thresholds in use."""

    model: str
    verify_threshold: float
    identify_threshold: float


@dataclass(frozen=True, slots=True, eq=False)
class SearchEvaluation:
    """The error rates of identification (1:N)."""

    rates: IdentificationRates
    targets: tuple[FpirTarget, ...]
    in_use: SearchPoint
    """The error rates at the threshold in use."""


@dataclass(frozen=True, slots=True)
class RefusedPairs:
    """The number of mated pairs with a photo that has no usable face."""

    reasons: Counter[str]
    """Their number by class of error. A pair of two refused photos counts once."""
    counted: bool
    """Whether the FNMR counts these pairs as misses.

    It does for a list of pairs, as NIST FRTE 1:1 does: a photo without a template has the lowest similarity. It does
    not for a folder, as ISO/IEC 19795-1 defines the FNMR.
    """

    @property
    def total(self) -> int:
        """The number of all these pairs."""
        return self.reasons.total()


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Error rates, and the photos that they were measured on."""

    source: str
    """The folder, the list of pairs or the gallery."""
    used: ThresholdsInUse
    embedded: EmbeddedPhotos
    compared: PairComparisons
    verification: Verification
    in_use: OperatingPoint
    """The error rates of verification at the threshold in use."""
    refused_mated: RefusedPairs
    search: SearchEvaluation | None = None
    """None for a list of pairs."""
    folds: FoldAccuracy | None = None
    """None unless the list of pairs has folds."""
    people_known: bool = True
    """Whether the person of each photo is known. If not, the true intervals are wider."""
    groups: tuple[GroupRates, ...] = ()

    @property
    def differentials(self) -> tuple[Differential, ...]:
        """The differences between the groups."""
        return differentials(self.groups)

    @property
    def fnmr_with_refusals(self) -> float:
        """FNMR at the threshold in use, with each mated pair with a refused photo as a miss.

        Source: ISO/IEC 19795-1, generalized false reject rate.
        """
        compared, refused = self.compared.mated.total, self.refused_mated.total
        if self.refused_mated.counted:
            return self.in_use.fnmr
        return (self.in_use.fnmr * compared + refused) / (compared + refused)

    def to_json(self) -> dict[str, Any]:
        """Return values that `json.dumps` accepts, with names of photos and people but without embeddings."""
        shown = np.arange(0, len(thresholds()), _CURVE_STEP)
        curves: dict[str, NDArray[np.float64]] = {
            "threshold": thresholds(),
            "fmr": self.verification.fmr,
            "fnmr": self.verification.fnmr,
        }
        if self.search is not None:
            curves |= {"fpir": self.search.rates.fpir, "fnir": self.search.rates.fnir}
        return {
            "source": self.source,
            **asdict(self.used),
            "photos": len(self.embedded.photos) + len(self.embedded.refusals),
            "people": len(self.embedded.people),
            "failure_to_enroll": {
                "rate": self.embedded.failure_to_enroll_rate,
                "photos": len(self.embedded.refusals),
                "reasons": dict(self.embedded.reasons()),
                "each": [
                    {"photo": refusal.photo.name, "error": refusal.error, "reason": refusal.reason}
                    for refusal in self.embedded.refusals
                ],
            },
            "verification": _without_curves(self.verification) | {"in_use": _jsonable(self.in_use)},
            "identification": None
            if self.search is None
            else _without_curves(self.search.rates)
            | {"targets": _jsonable(self.search.targets), "in_use": _jsonable(self.search.in_use)},
            "folds": _jsonable(self.folds),
            "people_known": self.people_known,
            "refused_mated_pairs": {
                "pairs": self.refused_mated.total,
                "reasons": dict(self.refused_mated.reasons),
                "counted_in_fnmr": self.refused_mated.counted,
                "fnmr_in_use_with_them": self.fnmr_with_refusals,
            },
            "groups": [
                _jsonable(group)
                | {"verification": None if group.verification is None else _without_curves(group.verification)}
                for group in self.groups
            ],
            "differentials": _jsonable(self.differentials),
            "curves": {name: values[shown].tolist() for name, values in curves.items()},
        }


def evaluate_photos(
    source: str, embedded: EmbeddedPhotos, used: ThresholdsInUse, *, attributes: Attributes | None = None
) -> Evaluation:
    """Compare every photo with every other, and search each among all others.

    Raises:
        EvaluationError: fewer than two people have a usable photo, or no person has two.

    """
    compared = compare_all(embedded.embeddings, embedded.owners)
    replicates = Replicates.draw(len(embedded.people))
    failures = embedded.missed_searches()
    rates = identification(compared, replicates, failures=failures)
    groups: tuple[GroupRates, ...] = ()
    if attributes is not None:
        groups = group_rates(embedded, compared, attributes, used.verify_threshold, used.identify_threshold)
    return Evaluation(
        source=source,
        used=used,
        embedded=embedded,
        compared=compared,
        verification=verification(compared, replicates),
        in_use=operating_point(compared, replicates, used.verify_threshold),
        search=SearchEvaluation(
            rates=rates,
            targets=fpir_targets(compared, rates, replicates, failures),
            in_use=search_point(compared, replicates, used.identify_threshold, failures=failures),
        ),
        refused_mated=RefusedPairs(_refused_within(embedded), counted=False),
        groups=groups,
    )


def evaluate_pairs(source: str, pairs: PhotoPairs, embedded: EmbeddedPhotos, used: ThresholdsInUse) -> Evaluation:
    """Compare the pairs of a list. A pair with a photo without a usable face gets the lowest similarity.

    Raises:
        EvaluationError: no mated or no non-mated pair has two usable faces.

    """
    rows = pair_rows(embedded, pairs.photos)
    first, second = rows[pairs.first], rows[pairs.second]
    usable = (first < len(embedded.photos)) & (second < len(embedded.photos))
    similarities = np.full(len(first), -1, np.float32)
    similarities[usable] = products(embedded.embeddings, first[usable], second[usable])
    for kind, wanted in (("mated", pairs.mated), ("non-mated", ~pairs.mated)):
        if not (usable & wanted).any():
            raise EvaluationError(f"{source}: no {kind} pair has two usable faces. Add other pairs.")

    every_pair = Pairs(first, second, similarities)
    mated, non_mated = every_pair.select(pairs.mated), every_pair.select(~pairs.mated)
    names, owners = np.unique(_people_of_rows(embedded), return_inverse=True)
    compared = PairComparisons(
        people=owners,
        mated=ScoreHistogram.of(mated.similarities),
        non_mated=ScoreHistogram.of(non_mated.similarities),
        mated_sample=mated,
        non_mated_sample=non_mated,
        nearest_non_mated=NO_PAIRS,
        nearest_from=np.inf,  # the sample has all pairs
        furthest_mated=every_pair.select(usable & pairs.mated).least_similar(),
    )
    replicates = Replicates.draw(len(names))
    folds = None
    if pairs.folds is not None and pairs.folds.any():
        matched = np.where(usable, similarities, np.float32(np.nan))
        folds = fold_accuracy(matched, pairs.mated, pairs.folds)
    refused = np.maximum(first, second)[pairs.mated & ~usable] - len(embedded.photos)
    return Evaluation(
        source=source,
        used=used,
        embedded=embedded,
        compared=compared,
        verification=verification(compared, replicates),
        in_use=operating_point(compared, replicates, used.verify_threshold),
        folds=folds,
        people_known=pairs.people_known,
        refused_mated=RefusedPairs(Counter(embedded.refusals[row].error for row in refused), counted=True),
    )


def _people_of_rows(embedded: EmbeddedPhotos) -> list[str]:
    """Return the person of each photo. Photos with a usable face come first, then the refused ones."""
    return [photo.person for photo in [*embedded.photos, *(refusal.photo for refusal in embedded.refusals)]]


def _refused_within(embedded: EmbeddedPhotos) -> Counter[str]:
    """Count the mated pairs with a refused photo by class of error."""
    others = Counter(_people_of_rows(embedded))
    reasons = Counter[str]()
    for refusal in embedded.refusals:
        others[refusal.photo.person] -= 1  # each pair counts once
        reasons[refusal.error] += others[refusal.photo.person]
    return +reasons


def _without_curves(rates: Verification | IdentificationRates) -> dict[str, Any]:
    return {name: value for name, value in _jsonable(rates).items() if name not in _CURVES}


def _jsonable(value: Any) -> Any:
    match value:
        case float() if math.isnan(value):
            return None
        case np.ndarray():
            return value.tolist()
        case tuple() if hasattr(value, "_asdict"):
            return {name: _jsonable(part) for name, part in value._asdict().items()}
        case tuple() | list():
            return [_jsonable(part) for part in value]
        case _ if hasattr(value, "__dataclass_fields__"):
            return {name: _jsonable(getattr(value, name)) for name in value.__dataclass_fields__}
        case _:
            return value
