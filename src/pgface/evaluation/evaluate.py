"""The errors of a model on a set of photos: all results of `pgface evaluate`, as one value."""

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
from pgface.evaluation.histogram import ScoreHistogram
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
from pgface.evaluation.verification import OperatingPoint, Verification, operating_points, verification

_CURVE_STEP = 50
"""The step between thresholds in JSON, in bins: 0.005."""


@dataclass(frozen=True, slots=True)
class ThresholdsInUse:
    """The evaluated model, and the thresholds in use."""

    model: str
    verify_threshold: float
    identify_threshold: float


@dataclass(frozen=True, slots=True, eq=False)
class SearchEvaluation:
    """The errors of 1:N."""

    rates: IdentificationRates
    targets: tuple[FpirTarget, ...]
    in_use: SearchPoint
    """The errors at the threshold for identification in use."""


@dataclass(frozen=True, slots=True)
class RefusedPairs:
    """Mated pairs with a photo without a usable face."""

    reasons: Counter[str]
    """Their number for each class of error. A pair of two refused photos counts once."""
    counted: bool
    """Whether FNMR counts them as not matching. It does so for a list of pairs, as in NIST's FRTE 1:1: a template that
    could not be made has the lowest similarity. ISO/IEC 19795-1 leaves them out of FNMR."""

    @property
    def total(self) -> int:
        """Their total number."""
        return self.reasons.total()


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Error rates, and what they were measured on."""

    source: str
    """The folder, the list of pairs or the gallery."""
    used: ThresholdsInUse
    embedded: EmbeddedPhotos
    compared: PairComparisons
    verification: Verification
    in_use: OperatingPoint
    """The errors at the threshold for verification in use."""
    search: SearchEvaluation | None
    """None for a list of pairs."""
    folds: FoldAccuracy | None
    """None unless the list of pairs has folds."""
    people_known: bool
    """Whether the person of each photo is known, so that the intervals are those of people."""
    refused_mated: RefusedPairs
    groups: tuple[GroupRates, ...]
    differentials: tuple[Differential, ...]

    @property
    def fnmr_with_refusals(self) -> float:
        """FNMR at the threshold in use, if each mated pair with a refused photo counts as not matching.

        Source: ISO/IEC 19795-1, generalized false reject rate.
        """
        compared, refused = self.compared.mated.total, self.refused_mated.total
        if self.refused_mated.counted:
            return self.in_use.fnmr
        return (self.in_use.fnmr * compared + refused) / (compared + refused)

    def to_json(self) -> dict[str, Any]:
        """Return values that `json.dumps` accepts: no embeddings and pictures, but names of photos and people."""
        at = np.arange(0, len(self.verification.thresholds), _CURVE_STEP)
        curves: dict[str, NDArray[np.float64]] = {
            "threshold": self.verification.thresholds,
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
            "curves": {name: values[at].tolist() for name, values in curves.items()},
        }


def evaluate_photos(
    source: str, embedded: EmbeddedPhotos, used: ThresholdsInUse, *, attributes: Attributes | None = None, seed: int = 0
) -> Evaluation:
    """Compare every photo with every other, and search each among all others.

    Args:
        source: the origin of the photos, for people.
        embedded: the photos.
        used: the model, and the thresholds in use.
        attributes: groups that get the same figures.
        seed: the seed of the random samples.

    Raises:
        EvaluationError: fewer than two people have a usable photo, or no person has two.

    """
    owners = embedded.owners
    compared = compare_all(embedded.embeddings, owners, seed=seed)
    replicates = Replicates.draw(len(embedded.people), seed=seed)
    failures = embedded.missed_searches()
    rates = identification(compared, replicates, failures=failures)
    groups: tuple[GroupRates, ...] = ()
    if attributes is not None:
        groups = group_rates(embedded, compared, attributes, used.verify_threshold, used.identify_threshold, seed=seed)
    return Evaluation(
        source=source,
        used=used,
        embedded=embedded,
        compared=compared,
        verification=verification(compared, replicates),
        in_use=_at(compared, replicates, used.verify_threshold),
        search=SearchEvaluation(
            rates=rates,
            targets=fpir_targets(compared, rates, replicates, failures=failures),
            in_use=search_point(compared, replicates, used.identify_threshold, failures=failures),
        ),
        folds=None,
        people_known=True,
        refused_mated=RefusedPairs(_refused_within(embedded), counted=False),
        groups=groups,
        differentials=differentials(groups),
    )


def evaluate_pairs(
    source: str, pairs: PhotoPairs, embedded: EmbeddedPhotos, used: ThresholdsInUse, *, seed: int = 0
) -> Evaluation:
    """Compare the pairs of a list.

    Args:
        source: the list, for people.
        pairs: the photos that are compared. Every pair counts. One with a photo without a usable face gets the lowest
            similarity.
        embedded: those photos.
        used: the model, and the thresholds in use.
        seed: the seed of the random samples.

    Raises:
        EvaluationError: no mated or no non-mated pair has usable faces.

    """
    rows = pair_rows(embedded, pairs.photos)
    first, second = rows[pairs.first], rows[pairs.second]
    there = (first < len(embedded.photos)) & (second < len(embedded.photos))
    similarities = np.full(len(first), -1, np.float32)
    similarities[there] = products(embedded.embeddings, first[there], second[there])
    for kind, wanted in (("mated", pairs.mated), ("non-mated", ~pairs.mated)):
        if not (there & wanted).any():
            raise EvaluationError(f"{source}: no {kind} pair has two photos with a usable face. Add others.")

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
        nearest_from=np.inf,  # all pairs are in the sample
        furthest_mated=every_pair.select(there & pairs.mated).least_similar(),
    )
    replicates = Replicates.draw(len(names), seed=seed)
    folds = None
    if pairs.folds is not None and pairs.folds.any():
        matched = np.where(there, similarities, np.float32(np.nan))
        folds = fold_accuracy(matched, pairs.mated, pairs.folds)
    refused = np.maximum(first, second)[pairs.mated & ~there] - len(embedded.photos)
    return Evaluation(
        source=source,
        used=used,
        embedded=embedded,
        compared=compared,
        verification=verification(compared, replicates),
        in_use=_at(compared, replicates, used.verify_threshold),
        search=None,
        folds=folds,
        people_known=pairs.people_known,
        refused_mated=RefusedPairs(Counter(embedded.refusals[row].error for row in refused), counted=True),
        groups=(),
        differentials=(),
    )


def _people_of_rows(embedded: EmbeddedPhotos) -> list[str]:
    """Return the person of each photo: first those with a usable face, then the refused ones."""
    return [photo.person for photo in [*embedded.photos, *(refusal.photo for refusal in embedded.refusals)]]


def _refused_within(embedded: EmbeddedPhotos) -> Counter[str]:
    """Count the mated pairs with a refused photo, for each class of error."""
    others = Counter(_people_of_rows(embedded))
    reasons = Counter[str]()
    for refusal in embedded.refusals:
        others[refusal.photo.person] -= 1  # each pair counts once
        reasons[refusal.error] += others[refusal.photo.person]
    return +reasons


def _at(compared: PairComparisons, replicates: Replicates, threshold: float) -> OperatingPoint:
    (point,) = operating_points(compared, replicates, np.array([threshold]))
    return point


def _without_curves(rates: Verification | IdentificationRates) -> dict[str, Any]:
    return {name: value for name, value in _jsonable(rates).items() if name not in _CURVES}


_CURVES = ("thresholds", "fmr", "fnmr", "fpir", "fnir")


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
