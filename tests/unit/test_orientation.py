"""If a detector finds nothing certain, the picture is searched again, with a border and turned."""

from __future__ import annotations

import numpy as np
import pytest

from pgface.faces.engines.base import Box, RawDetection
from pgface.faces.orientation import find_with_retries, search_turned
from pgface.faces.pixels import RGBImage

BOX = Box(12, 20, 6, 10)
"""The box of the mark in the upright picture."""


def picture(width: int = 40, height: int = 60) -> RGBImage:
    """Return a picture with a mark of four colours, which show its orientation."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[20:25, 12:15] = (255, 0, 0)
    pixels[20:25, 15:18] = (0, 255, 0)
    pixels[25:30, 12:15] = (0, 0, 255)
    pixels[25:30, 15:18] = (255, 255, 0)
    return pixels


def middle_of(pixels: RGBImage, colour: tuple[int, int, int]) -> tuple[float, float]:
    rows, columns = np.nonzero((pixels == colour).all(axis=2))
    return float(columns.mean()), float(rows.mean())


def find_mark(pixels: RGBImage) -> list[RawDetection]:
    """Detect the mark if it is upright and has space around it."""
    assert pixels.flags.c_contiguous
    marks = (pixels == (255, 0, 0)).all(axis=2)
    if not marks.any():
        return []
    red, green = middle_of(pixels, (255, 0, 0)), middle_of(pixels, (0, 255, 0))
    blue, yellow = middle_of(pixels, (0, 0, 255)), middle_of(pixels, (255, 255, 0))
    if not (red[0] < green[0] and abs(red[1] - green[1]) < 1 and red[1] < blue[1]):
        return []
    left, top = red[0] - 1, red[1] - 2
    box = Box(left, top, yellow[0] + 2 - left, yellow[1] + 3 - top)
    points = np.array([red, green, ((red[0] + green[0]) / 2, (red[1] + blue[1]) / 2), blue, yellow], np.float32)
    return [RawDetection(box, points, 0.9)]


def test_an_upright_picture_is_searched_once() -> None:
    seen: list[tuple[int, ...]] = []

    def find(pixels: RGBImage) -> list[RawDetection]:
        seen.append(pixels.shape)
        return find_mark(pixels)

    (found,) = find_with_retries(picture(), find)
    assert seen == [(60, 40, 3)]
    assert found.box == BOX


@pytest.mark.parametrize("turns", range(4))
def test_box_and_landmarks_are_in_pixels_of_the_given_picture(turns: int) -> None:
    given = np.rot90(picture(), turns)
    (found,) = find_with_retries(given, find_mark)
    x, y, width, height = (round(value) for value in found.box)
    marked = given[y : y + height, x : x + width]
    assert (marked.any(axis=2)).all()
    assert marked.any(axis=2).sum() == given.any(axis=2).sum()
    for point, colour in zip(
        found.landmarks[[0, 1, 3, 4]], ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)), strict=True
    ):
        assert tuple(point) == middle_of(given, colour)
    assert found.landmarks.dtype == np.float32


def test_search_turned_returns_pixels_of_the_given_picture() -> None:
    (found,) = search_turned(np.rot90(picture(), -1), 1, find_mark)
    assert (found.box.width, found.box.height) == (BOX.height, BOX.width)
    assert search_turned(picture(), 1, find_mark) == []


@pytest.mark.parametrize("scale", [1, 40])
def test_a_face_that_fills_the_frame_is_found_with_a_border(scale: int) -> None:
    """A large picture is reduced, but the box is in its own pixels."""
    close_up = np.full((50 * scale, 40 * scale, 3), 200, np.uint8)
    close_up[10 * scale : 30 * scale, 10 * scale : 30 * scale] = 10

    def find_with_room(pixels: RGBImage) -> list[RawDetection]:
        if pixels.shape[0] / pixels.shape[1] == 50 / 40:
            return []
        rows, columns = np.nonzero((pixels < 100).all(axis=2))
        box = Box(float(columns.min()), float(rows.min()), float(np.ptp(columns) + 1), float(np.ptp(rows) + 1))
        return [RawDetection(box, np.full((5, 2), (columns.mean(), rows.mean()), np.float32), 0.5)]

    (found,) = find_with_retries(close_up, find_with_room)
    np.testing.assert_allclose(found.box, np.array([10, 10, 20, 20]) * scale, atol=0.1 * scale)
    np.testing.assert_allclose(found.landmarks[0], np.array([20, 20]) * scale - 0.5, atol=0.1 * scale)


def test_nothing_is_found_in_an_empty_picture() -> None:
    for shape in ((60, 40, 3), (1, 1, 3), (1, 4_000, 3), (4_000, 1, 3)):
        assert find_with_retries(np.zeros(shape, np.uint8), find_mark) == []


def test_an_uncertain_detection_is_compared_with_the_other_views() -> None:
    """The mark is on its side, and a detection in the given picture has a low score."""

    def find(pixels: RGBImage) -> list[RawDetection]:
        doubtful = RawDetection(Box(0, 0, 5, 5), np.zeros((5, 2), np.float32), 0.3)
        return find_mark(pixels) or [doubtful]

    given = np.rot90(picture(), -1)
    assert find_with_retries(given, find)[0].score == 0.3
    assert find_with_retries(given, find, sure_score=0.4)[0].score == 0.9
    assert find_with_retries(np.zeros_like(given), find, sure_score=0.4)[0].score == 0.3
