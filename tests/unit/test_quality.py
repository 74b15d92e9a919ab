"""Head pose, sharpness and brightness, and the limits for enrollment."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from pgface.errors import LowQualityError
from pgface.faces.align import FaceRegion, face_scale
from pgface.faces.engines.base import Box, Quality, RawDetection
from pgface.faces.pixels import RGBImage
from pgface.faces.quality import (
    MOUTH_HEIGHT,
    NOSE_BASE_DEPTH,
    NOSE_TIP_DEPTH,
    NOSE_TIP_HEIGHT,
    QualityLimits,
    describe,
    head_pose,
    measure_quality,
)
from pgface.settings import Settings
from support.sentences import photos as says

LIMITS = QualityLimits.from_settings(Settings())
GOOD = Quality(face_size=120, sharpness=15, brightness=0.5, yaw=5, pitch=-3, roll=2)
ASTRONAUT: RGBImage = skimage.data.astronaut()
LANDMARKS = np.array([[202, 107], [246, 108], [221, 134], [205, 154], [241, 155]], np.float32)
BOX = Box(175, 65, 95, 120)


def landmarks_of(yaw: float, pitch: float, roll: float, nose_depth: float = NOSE_TIP_DEPTH) -> NDArray[np.float32]:
    """Return the landmarks of a head that was raised, turned and leant, in this order.

    x points to the right of the picture, y down and z to the viewer, in distances between the eyes.
    """
    head = np.array(
        [
            [-0.5, 0, 0],
            [0.5, 0, 0],
            [0, NOSE_TIP_HEIGHT, nose_depth],
            [-0.35, MOUTH_HEIGHT, 0],
            [0.35, MOUTH_HEIGHT, 0],
        ]
    )
    a, b, c = (math.radians(angle) for angle in (yaw, pitch, roll))
    turn = np.array([[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]])
    raise_ = np.array([[1, 0, 0], [0, math.cos(b), -math.sin(b)], [0, math.sin(b), math.cos(b)]])
    lean = np.array([[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]])
    projected = (head @ (lean @ turn @ raise_).T)[:, :2]
    return np.asarray(projected * 60 + (200, 150), np.float32)


@pytest.mark.parametrize("yaw", [-70, -30, 0, 15, 45])
@pytest.mark.parametrize("roll", [-40, 0, 25])
def test_yaw_and_roll_of_a_head_of_these_proportions(yaw: float, roll: float) -> None:
    assert head_pose(landmarks_of(yaw, 0, roll)) == pytest.approx((yaw, 0, roll), abs=0.01)


@pytest.mark.parametrize("pitch", [-40, -20, 0, 10, 35])
def test_pitch_of_a_head_of_these_proportions(pitch: float) -> None:
    assert head_pose(landmarks_of(0, pitch, 10)) == pytest.approx((0, pitch, 10), abs=0.01)


@pytest.mark.parametrize(("yaw", "pitch"), [(30, 20), (-30, 20), (40, -15)])
def test_the_pose_of_a_turned_and_raised_head_is_roughly_right(yaw: float, pitch: float) -> None:
    assert head_pose(landmarks_of(yaw, pitch, 0))[:2] == pytest.approx((yaw, pitch), abs=12)


def test_without_a_mouth_yaw_comes_from_the_base_of_the_nose_and_pitch_is_unknown() -> None:
    points = landmarks_of(25, 0, -10, nose_depth=NOSE_BASE_DEPTH)
    points[3:] = np.nan
    yaw, pitch, roll = head_pose(points)
    assert (yaw, roll) == pytest.approx((25, -10), abs=0.01)
    assert math.isnan(pitch)


@pytest.mark.parametrize("roll", [90, -90, 180])
def test_a_picture_on_its_side_changes_only_roll(roll: float) -> None:
    yaw, pitch, measured = head_pose(landmarks_of(20, 0, roll))
    assert (yaw, pitch) == pytest.approx((20, 0), abs=0.01)
    assert abs(measured) == pytest.approx(abs(roll), abs=0.01)


def test_coincident_points_give_zero_angles() -> None:
    assert head_pose(np.full((5, 2), 7, np.float32)) == (0, 0, 0)


def measured(picture: Image.Image) -> Quality:
    return measure_quality(BOX, LANDMARKS, FaceRegion.around(np.asarray(picture), LANDMARKS))


PICTURE = Image.fromarray(ASTRONAUT)


def test_sharpness_falls_with_blur() -> None:
    apart = face_scale(LANDMARKS)
    values = [
        measured(PICTURE.filter(ImageFilter.GaussianBlur(b * apart))).sharpness for b in (0, 0.03, 0.06, 0.1, 0.2)
    ]
    assert values == sorted(values, reverse=True)
    assert values[0] > 10 * LIMITS.min_sharpness
    assert values[3] < LIMITS.min_sharpness


def test_sharpness_does_not_depend_on_light_or_size() -> None:
    original = measured(PICTURE).sharpness
    assert measured(ImageEnhance.Brightness(PICTURE).enhance(0.3)).sharpness == pytest.approx(original, rel=0.25)
    doubled = np.asarray(PICTURE.resize((1_024, 1_024), Image.Resampling.BICUBIC))
    larger = measure_quality(BOX, LANDMARKS * 2 + 0.5, FaceRegion.around(doubled, LANDMARKS * 2 + 0.5))
    assert larger.sharpness == pytest.approx(original, rel=0.25)


def test_brightness_follows_the_light() -> None:
    original = measured(PICTURE).brightness
    assert 0.3 < original < 0.8
    assert measured(ImageEnhance.Brightness(PICTURE).enhance(0.5)).brightness == pytest.approx(original / 2, abs=0.01)
    assert measured(Image.new("RGB", (512, 512), "white")).brightness == 1
    assert measured(Image.new("RGB", (512, 512))).brightness == 0
    assert measured(Image.new("RGB", (512, 512))).sharpness == 0


def test_face_size_is_the_shorter_side_of_the_box() -> None:
    assert measured(PICTURE).face_size == 95


def test_describe_sorts_by_area() -> None:
    boxes = [Box(0, 0, 50, 50), Box(10, 10, 100, 60), Box(0, 0, 70, 70)]
    detections = describe(ASTRONAUT, [RawDetection(box, LANDMARKS, score) for score, box in enumerate(boxes)])
    assert [detection.box for detection in detections] == [boxes[1], boxes[2], boxes[0]]
    assert [detection.detection_score for detection in detections] == [1, 2, 0]
    assert describe(ASTRONAUT, []) == []


def test_a_good_face_passes() -> None:
    LIMITS.check(GOOD, "ana.jpg")
    LIMITS.check(replace(GOOD, pitch=math.nan), "ana.jpg")


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        ({"face_size": 39.0}, [says.FACE_TOO_SMALL.format(size=39, limit=40)]),
        ({"sharpness": 0.31}, [says.TOO_BLURRED.format(sharpness="0.31", limit="0.50")]),
        ({"brightness": 0.05}, [says.TOO_DARK.format(brightness="0.05", limit="0.08")]),
        ({"brightness": 0.95}, [says.TOO_BRIGHT.format(brightness="0.95", limit="0.90")]),
        ({"yaw": -71.2}, [says.TURNED_TOO_FAR.format(yaw=-71, limit=60)]),
        ({"pitch": 50.0}, [says.RAISED_TOO_FAR.format(pitch=50, limit=45)]),
        (
            {"face_size": 20.0, "sharpness": 0.1},
            [
                says.FACE_TOO_SMALL.format(size=20, limit=40),
                says.TOO_BLURRED.format(sharpness="0.10", limit="0.50"),
            ],
        ),
    ],
)
def test_the_error_gives_every_measurement_beyond_its_limit(change: dict[str, float], failing: list[str]) -> None:
    with pytest.raises(LowQualityError) as caught:
        LIMITS.check(replace(GOOD, **change), "ana.jpg")
    expected = says.CANNOT_BE_ENROLLED.format(photo="ana.jpg", measurements=", ".join(failing))
    assert str(caught.value) == expected


def test_limits_come_from_the_settings() -> None:
    settings = Settings(
        min_face_size=1, min_sharpness=2, min_brightness=0.3, max_brightness=0.4, max_yaw=5, max_pitch=6
    )
    assert QualityLimits.from_settings(settings) == QualityLimits(1, 2, 0.3, 0.4, 5, 6)
