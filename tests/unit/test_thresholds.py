"""The advised threshold for identification as a gallery grows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from pgface.evaluation.calibrate import follow
from pgface.gallery.config import GalleryConfig
from pgface.thresholds import Advice, PastCalibration, Tail, advise, rate_of_each

CONFIG = GalleryConfig(uuid4(), "buffalo_sc", 512, 128, "ab" * 32, 0.30, 0.40)
CALIBRATION = PastCalibration(
    id=1,
    calibrated_at=datetime(2026, 11, 1, tzinfo=UTC),
    kind="identify",
    threshold=0.40,
    threshold_likely=0.39,
    threshold_low=0.38,
    threshold_high=0.43,
    threshold_before=0.45,
    target=0.01,
    rate=0.01,
    rate_low=0.005,
    rate_high=0.02,
    extrapolated=False,
    miss_rate=0.05,
    miss_rate_low=0.03,
    miss_rate_high=0.07,
    people_enrolled=2_000,
    tail_start=0.2,
    tail_share=0.01,
    tail_scale=0.03,
    tail_shape=0.0,
    source="a folder",
    people=500,
    photos=2_500,
    failures_to_enroll=3,
    mated_pairs=5_000,
    non_mated_pairs=3_000_000,
    model_name="buffalo_sc",
    alignment_size=128,
    weights_sha256="ab" * 32,
)


def advise_for(config: GalleryConfig, past: list[PastCalibration], people: int) -> Advice:
    return advise(config.identity, config.identify_threshold, past, people)


@pytest.mark.parametrize(
    ("people", "threshold"), [(0, 0.35), (1_000, 0.35), (3_162, 0.385), (10_000, 0.42), (10_000_000, 0.56)]
)
def test_without_calibration_the_published_thresholds_are_advised(people: int, threshold: float) -> None:
    found = advise_for(CONFIG, [], people)
    assert found.threshold == pytest.approx(threshold, abs=1e-4)
    assert found.calibrated_people is None
    assert found.due is (threshold > 0.41)


def test_a_calibrated_threshold_rises_along_the_tail() -> None:
    assert advise_for(CONFIG, [CALIBRATION], 1_000).threshold == 0.40
    assert not advise_for(CONFIG, [CALIBRATION], 2_500).due  # by 0.0067 only
    found = advise_for(CONFIG, [CALIBRATION], 20_000)
    tail = Tail(0.2, 0.01, 0.03, 0.0)
    expected = 0.40 + tail.threshold(rate_of_each(0.01, 20_000)) - tail.threshold(rate_of_each(0.01, 2_000))
    assert found.threshold == pytest.approx(expected, abs=1e-4)
    assert found.due
    assert (found.calibrated_people, found.target) == (2_000, 0.01)


def test_a_threshold_that_was_set_otherwise_does_not_count_as_calibrated() -> None:
    assert advise_for(replace(CONFIG, identify_threshold=0.5), [CALIBRATION], 20_000).calibrated_people is None
    assert advise_for(CONFIG, [replace(CALIBRATION, model_name="buffalo_l")], 20_000).calibrated_people is None
    assert advise_for(CONFIG, [replace(CALIBRATION, kind="verify")], 20_000).calibrated_people is None


def test_follow_adapts_the_threshold_to_the_number_of_people() -> None:
    assert follow(CONFIG, [CALIBRATION], 2_500) is None
    found = follow(CONFIG, [CALIBRATION], 20_000)
    assert found is not None
    (change,) = found.changes
    assert change.threshold == advise_for(CONFIG, [CALIBRATION], 20_000).threshold
    wider = change.threshold - 0.40
    assert change.threshold_interval == pytest.approx((0.38 + wider, 0.43 + wider))
    assert (change.people_enrolled, change.extrapolated, change.miss_rate) == (20_000, True, None)
    assert (found.source, found.people, found.non_mated_pairs, found.anchors) == ("a folder", 500, 3_000_000, None)
    # The next adaptation starts from there.
    then = replace(CALIBRATION, threshold=change.threshold, people_enrolled=20_000)
    grown = advise_for(replace(CONFIG, identify_threshold=change.threshold), [then, CALIBRATION], 200_000)
    assert grown.threshold == pytest.approx(advise_for(CONFIG, [CALIBRATION], 200_000).threshold, abs=2e-4)
