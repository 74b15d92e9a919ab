"""The conversion of a similarity to a confidence."""

from __future__ import annotations

from itertools import pairwise

import pytest

from pgface.faces.models.registry import REGISTRY
from pgface.thresholds import CONFIDENCE_OF_FMR, anchors_of, confidence

ANCHORS = anchors_of([(1e-4, 0.3, False), (0.5, 0.0, False), (1e-3, 0.2, False), (1e-6, 0.5, True)])


def test_confidence_is_linear_between_anchors() -> None:
    assert [anchor.confidence for anchor in ANCHORS] == [0, 80, 90, 99]
    assert confidence(0.2, ANCHORS) == 80
    assert confidence(0.1, ANCHORS) == pytest.approx(40)
    assert confidence(0.25, ANCHORS) == pytest.approx(85)
    assert confidence(0.4, ANCHORS) == pytest.approx(94.5)
    assert confidence(0.75, ANCHORS) == pytest.approx(99.5)


@pytest.mark.parametrize("similarity", [0.0, -0.004, -0.5])
def test_a_typical_stranger_has_confidence_0(similarity: float) -> None:
    assert confidence(similarity, ANCHORS) == 0


@pytest.mark.parametrize("model", REGISTRY.values(), ids=lambda model: model.name)
@pytest.mark.parametrize(("fmr", "expected"), [(0.5, 0), (1e-2, 50), (1e-3, 80), (1e-4, 90), (1e-6, 99)])
def test_error_rates_fix_the_scale_for_every_model(model, fmr: float, expected: float) -> None:  # type: ignore[no-untyped-def]
    published = model.thresholds.fmr_thresholds
    (similarity,) = [similarity for rate, similarity, _ in published if rate == fmr]
    assert confidence(similarity, anchors_of(published)) == expected


@pytest.mark.parametrize(("similarity", "expected"), [(-1, 0), (-1.0000001, 0), (1, 100), (1.0000001, 100)])
def test_confidence_at_and_beyond_the_ends(similarity: float, expected: float) -> None:
    assert confidence(similarity, ANCHORS) == expected


def test_confidence_always_rises_even_between_equal_anchors() -> None:
    anchors = anchors_of(
        [(0.5, -1.0, False), (1e-3, 0.4, False), (1e-4, 0.4, False), (1e-5, 0.39, True), (1e-6, 1.2, True)]
    )
    assert [anchor.similarity for anchor in anchors] == pytest.approx([-0.9999, 0.4, 0.4001, 0.4002])
    found = [confidence(step / 5_000 - 0.9999, anchors) for step in range(10_001)]
    assert all(low < high for low, high in pairwise(found))


@pytest.mark.parametrize("model", REGISTRY.values(), ids=lambda model: model.name)
def test_every_model_has_the_thresholds_of_a_new_gallery(model) -> None:  # type: ignore[no-untyped-def]
    published = model.thresholds
    assert [fmr for fmr, _, _ in published.fmr_thresholds] == list(CONFIDENCE_OF_FMR)
    anchors = anchors_of(published.fmr_thresholds)
    assert len(anchors) == len(CONFIDENCE_OF_FMR)
    assert [people for people, _ in published.identify_by_people] == [1_000, 10_000, 100_000, 1_000_000]
    by_people = [threshold for _, threshold in published.identify_by_people]
    assert by_people == sorted(by_people)
    assert published.verify_threshold < by_people[0]
    assert published.source
