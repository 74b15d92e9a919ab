"""CompreFace's similarity: its formula, and the false match rates of its values."""

from __future__ import annotations

import pytest

from pgface.faces.models.registry import REGISTRY, model_defaults
from pgface.server.compat.compreface.similarity import rounded, scale_of, similarities
from pgface.thresholds import anchors_of
from support.documentation import HOW_TO


@pytest.mark.parametrize("model", sorted(REGISTRY))
def test_a_similarity_means_the_same_for_every_model(model: str) -> None:
    anchors = anchors_of(model_defaults(model).fmr_thresholds)
    values = {anchor.fmr: scale_of(anchors).similarity(anchor.similarity) for anchor in anchors}
    assert values[1e-3] == pytest.approx(0.5)
    assert values[1e-6] == pytest.approx(0.9)
    assert values[0.5] < 0.2
    assert sorted(values.values()) == [values[fmr] for fmr in sorted(values, reverse=True)]


def test_the_formula_is_compreface_s() -> None:
    """Without a confidence scale, its numbers for arcface_r100_v1 hold. The values were computed from its code."""
    cosines = (0.0, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6)
    expected = (0.082, 0.391, 0.522, 0.654, 0.857, 0.955, 0.988)
    assert similarities(cosines, ()) == pytest.approx(expected, abs=6e-4)
    assert similarities((-1.0, 1.0, 1 + 1e-7), ()) == [0.00004, 1.0, 1.0]


def test_a_scale_without_the_rarest_rates() -> None:
    """A calibration with few photos can end before one in a million."""
    scale = scale_of(anchors_of([(0.5, 0.0, False), (1e-3, 0.3, False), (1e-5, 0.5, True)]))
    assert scale.similarity(0.3) == pytest.approx(0.5)
    assert scale.similarity(0.5) == pytest.approx(0.8123, abs=1e-4)


@pytest.mark.parametrize(("value", "expected"), [(0.000005, 0.00001), (0.123445, 0.12345), (0.99999499, 0.99999)])
def test_a_half_is_rounded_up(value: float, expected: float) -> None:
    assert rounded(value) == expected


def test_the_table_of_the_page() -> None:
    page = (HOW_TO / "compreface.md").read_text("utf-8")
    lines = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    columns = dict(zip(("fmr", "sface", "dlib", "buffalo_sc"), zip(*lines, strict=True), strict=True))
    for model in ("sface", "dlib", "buffalo_sc"):
        anchors = anchors_of(model_defaults(model).fmr_thresholds)
        scale = scale_of(anchors)
        values = [f"{scale.similarity(anchor.similarity):.2f}" for anchor in anchors]
        assert [*columns[model][1:]] == [*values, f"{scale.c0:.4f}, {scale.c1:.3f}"]
    assert [float(fmr) for fmr in columns["fmr"][2:-1]] == [anchor.fmr for anchor in anchors[1:]]
