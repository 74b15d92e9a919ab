"""Faces are cropped upright, at any place, size and angle in the photo."""

from __future__ import annotations

import math

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from pgface.faces.align import CROP_BY_EYES, EYES_FROM_TOP, FaceRegion, face_scale
from pgface.faces.pixels import CROP_SIZE, RGBImage

FACE = np.array([[-1, 0], [1, 0], [0, 1.1], [-0.7, 2.16], [0.7, 2.16]]) / 2
"""Landmarks of a frontal face, in distances between the eyes, from the middle of the eyes."""
ASTRONAUT: RGBImage = skimage.data.astronaut()
ASTRONAUT_LANDMARKS = np.array([[202, 107], [246, 108], [221, 134], [205, 154], [241, 155]], np.float32)
"""Measured by eye in the picture, to within two pixels."""


def aligned_crop(image: RGBImage, points: NDArray[np.float32]) -> RGBImage:
    return FaceRegion.around(image, points).crop()


def landmarks(x: float, y: float, apart: float, degrees: float = 0.0) -> NDArray[np.float32]:
    """Return the landmarks of a frontal face that leans clockwise, with the middle of its eyes at x, y."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turned = FACE @ np.array([[cosine, sine], [-sine, cosine]])
    return np.asarray(turned * apart + (x, y), np.float32)


def with_dots(points: NDArray[np.float32], width: int = 400, height: int = 300, radius: int = 4) -> RGBImage:
    """Return a dark picture with a red dot on the left eye and a green one on the right."""
    picture = np.full((height, width, 3), 20, np.uint8)
    rows, columns = np.mgrid[:height, :width]
    for colour, (x, y) in zip(((255, 0, 0), (0, 255, 0)), points, strict=False):
        picture[np.hypot(columns - x, rows - y) <= radius] = colour
    return picture


def dot(crop: RGBImage, channel: int) -> NDArray[np.float64]:
    """Return the middle of the dot in one channel, x and y."""
    rows, columns = np.nonzero(crop[:, :, channel] > 140)
    return np.array([columns.mean(), rows.mean()])


@pytest.mark.parametrize("degrees", [0, 30, -45, 90, 180, -90, 137])
@pytest.mark.parametrize("apart", [20, 50, 120])
def test_the_eyes_are_always_in_the_same_place(degrees: float, apart: float) -> None:
    points = landmarks(210, 140, apart, degrees)
    crop = aligned_crop(with_dots(points), points)
    assert crop.shape == (CROP_SIZE, CROP_SIZE, 3)
    assert crop.dtype == np.uint8
    left, right = dot(crop, 0), dot(crop, 1)
    middle, from_top, half = CROP_SIZE / 2, CROP_SIZE * EYES_FROM_TOP, CROP_SIZE / CROP_BY_EYES / 2
    np.testing.assert_allclose(left, (middle - half - 0.5, from_top - 0.5), atol=1.0)
    np.testing.assert_allclose(right, (middle + half - 0.5, from_top - 0.5), atol=1.0)


def test_a_turned_photo_gives_the_same_crop() -> None:
    upright = aligned_crop(ASTRONAUT, ASTRONAUT_LANDMARKS)
    height = ASTRONAUT.shape[0]
    turned = np.ascontiguousarray(np.rot90(ASTRONAUT, -1))
    moved = np.stack([height - 1 - ASTRONAUT_LANDMARKS[:, 1], ASTRONAUT_LANDMARKS[:, 0]], axis=1)
    assert np.abs(aligned_crop(turned, moved).astype(int) - upright).max() <= 1


def test_a_leaning_head_is_turned_upright() -> None:
    middle = ASTRONAUT_LANDMARKS[:2].mean(axis=0)
    leaning = Image.fromarray(ASTRONAUT).rotate(-25, Image.Resampling.BICUBIC, center=tuple(middle + 0.5))
    cosine, sine = math.cos(math.radians(25)), math.sin(math.radians(25))
    moved = ((ASTRONAUT_LANDMARKS - middle) @ np.array([[cosine, sine], [-sine, cosine]]) + middle).astype(np.float32)
    crop, upright = aligned_crop(np.asarray(leaning), moved), aligned_crop(ASTRONAUT, ASTRONAUT_LANDMARKS)
    assert np.abs(crop.astype(int) - upright).mean() < 4


def test_outside_the_photo_is_black() -> None:
    white = np.full((100, 100, 3), 255, np.uint8)
    crop = aligned_crop(white, landmarks(0, 50, 30))
    assert (crop[:, :100] == 0).all()
    assert (crop[60:160, 125:] == 255).all()


@pytest.mark.parametrize(("x", "y"), [(-500, -500), (5_000, 50), (50, 5_000), (0, 0), (99, 99)])
@pytest.mark.parametrize("apart", [0.01, 30, 10_000])
def test_every_place_gives_a_crop(x: float, y: float, apart: float) -> None:
    assert aligned_crop(np.full((100, 100, 3), 255, np.uint8), landmarks(x, y, apart)).shape == (
        CROP_SIZE,
        CROP_SIZE,
        3,
    )


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 4_000, 3), (4_000, 1, 3)])
def test_thin_pictures(shape: tuple[int, int, int]) -> None:
    assert aligned_crop(np.zeros(shape, np.uint8), landmarks(0, 0, 10)).shape == (CROP_SIZE, CROP_SIZE, 3)


def test_coincident_landmarks() -> None:
    assert aligned_crop(ASTRONAUT, np.full((5, 2), 100, np.float32)).shape == (CROP_SIZE, CROP_SIZE, 3)


def test_no_pixel_of_a_large_face_is_skipped() -> None:
    """A fine chequered pattern becomes grey. Sampling single pixels would make stripes."""
    rows, columns = np.mgrid[:2_000, :2_000]
    chequered = np.repeat((255 * ((rows + columns) % 2)).astype(np.uint8)[:, :, None], 3, axis=2)
    crop = aligned_crop(chequered, landmarks(1_000, 920, 300, 10))
    assert np.abs(crop.astype(int) - 127.5).max() < 10


def test_a_region_gives_grey_parts_of_the_crop() -> None:
    region = FaceRegion.around(ASTRONAUT, ASTRONAUT_LANDMARKS)
    quarter = region.grey((0.25, 0.5, 0.75, 1.0), (CROP_SIZE // 2, CROP_SIZE // 2))
    expected = np.asarray(Image.fromarray(region.crop()).convert("L"))[
        CROP_SIZE // 2 :, CROP_SIZE // 4 : -CROP_SIZE // 4
    ]
    assert np.abs(quarter.astype(int) - expected).max() <= 2


def test_a_region_does_not_keep_the_photo() -> None:
    photo = np.zeros((3_000, 4_000, 3), np.uint8)
    for apart in (40, 800):
        region = FaceRegion.around(photo, landmarks(2_000, 1_500, apart))
        assert not np.shares_memory(region.pixels, photo)
        assert region.pixels.nbytes < 2_000_000


def test_the_scale_of_a_turned_head_comes_from_eyes_to_mouth() -> None:
    frontal = landmarks(100, 100, 50)
    turned = frontal.copy()
    turned[:, 0] = 100 + (turned[:, 0] - 100) * 0.5
    assert face_scale(turned) == pytest.approx(face_scale(frontal), rel=0.02)
    assert face_scale(frontal) == pytest.approx(50, rel=0.02)


def test_the_scale_without_a_mouth_comes_from_the_base_of_the_nose() -> None:
    points = landmarks(100, 100, 50)
    points[2] = (100, 100 + 0.78 * 50)
    points[3:] = np.nan
    assert face_scale(points) == pytest.approx(50, rel=0.02)
    points[:2, 0] = (90, 110)
    assert face_scale(points) == pytest.approx(50, rel=0.02)
