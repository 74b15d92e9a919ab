"""Search again if a detector finds nothing: after quarter turns, with a mirrored border, and enlarged.

Detectors miss a face that fills the frame, because they were trained on faces with surroundings. They also miss a face
that lies on its side. The further searches run only if the first one found nothing, or nothing certain. So an ordinary
photo is searched once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pgface.faces.cancellation import check_work
from pgface.faces.engines.base import Box, RawDetection
from pgface.faces.pixels import RGBImage

BORDER_SHARE = 0.15
"""Width of the mirrored border, as a share of the picture's longer side. With photos cut to 0.7 of the detected box,
dlib found 5 of 25 faces without a border, 21 with this one, 14 with a black one, and fewer with a wider one."""
CLOSE_UP_SIZE = 1024
"""Longer side, in pixels, to which a picture is reduced before it gets the border. Its face is large anyway."""

TURNED_SIZE = 2048
"""Longer side, in pixels, to which a picture is reduced before it is turned. Detectors use at most 1024 pixels, and
three turned copies of 64 megapixels took 4 s."""

Find = Callable[[RGBImage], Sequence[RawDetection]]
"""A detector. It returns the faces of a picture, in pixels of this picture."""


def find_with_retries(
    image: RGBImage, find: Find, *, sure_score: float = -math.inf, enlarged_to: int = 0
) -> list[RawDetection]:
    """Find the faces of a picture, even if it lies on its side or one face fills it.

    Args:
        image: shape (height, width, 3), uint8.
        find: the detector. It gets C-contiguous pictures.
        sure_score: if the best score is lower, the other views are searched too, and the view with the best score
            counts. By default, any face is enough.
        enlarged_to: a picture of at most half this longer side, in pixels, is also searched at twice its size.

    Returns:
        The faces in pixels of `image`, in the detector's order. For a face that lies on its side, the first landmark is
        the left eye after the face is turned upright.

    """
    best: list[RawDetection] = []
    for view in _views(image, enlarged_to):
        check_work()
        found = view.search(find)
        if _best_score(found) > _best_score(best):
            best = found
        if best and _best_score(best) >= sure_score:
            break
    return best


def search_turned(image: RGBImage, quarter_turns: int, find: Find) -> list[RawDetection]:
    """Find the faces after a number of counter-clockwise quarter turns. They are in pixels of the given picture."""
    return _turned(image, quarter_turns).search(find)


def _views(image: RGBImage, enlarged_to: int) -> Iterator[_View]:
    # A photo lies on its left or right side far more often than upside down.
    for quarter_turns in (0, 1, 3, 2):
        yield _turned(image, quarter_turns)
    # Later, because in the border of a turned photo a mirrored face can look upright.
    yield _bordered(image)
    if 2 * max(image.shape[:2]) <= enlarged_to:
        yield _enlarged(image)


def _turned(image: RGBImage, quarter_turns: int) -> _View:
    small = _reduced(image, TURNED_SIZE) if quarter_turns else image
    size, reduced = (image.shape[1], image.shape[0]), (small.shape[1], small.shape[0])
    return _View(np.ascontiguousarray(np.rot90(small, quarter_turns)), quarter_turns, 0, size, reduced)


def _enlarged(image: RGBImage) -> _View:
    size = image.shape[1], image.shape[0]
    twice = 2 * size[0], 2 * size[1]
    pixels = np.asarray(Image.fromarray(image).resize(twice, Image.Resampling.BICUBIC))
    return _View(pixels, 0, 0, size, twice)


def _bordered(image: RGBImage) -> _View:
    height, width = image.shape[:2]
    small = _reduced(image, CLOSE_UP_SIZE)
    size = small.shape[1], small.shape[0]
    border = round(BORDER_SHARE * max(size))
    return _View(
        np.pad(small, ((border, border), (border, border), (0, 0)), mode="symmetric"), 0, border, (width, height), size
    )


def _reduced(image: RGBImage, longest: int) -> RGBImage:
    """Reduce a picture whose longer side is longer than this."""
    height, width = image.shape[:2]
    scale = min(1.0, longest / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return image if scale == 1 else np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def _best_score(faces: Sequence[RawDetection]) -> float:
    return max((face.score for face in faces), default=-math.inf)


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """A view of a picture: enlarged, reduced, with a border, or turned."""

    pixels: RGBImage
    quarter_turns: int
    """Counter-clockwise quarter turns, as in `numpy.rot90`."""
    border: int
    original_size: tuple[int, int]
    """Width and height."""
    reduced_size: tuple[int, int]
    """Width and height before the border."""

    def search(self, find: Find) -> list[RawDetection]:
        """Find the faces in this view, in pixels of the original. A face in the border is only a mirror image."""
        return [face for face in map(self.to_original, find(self.pixels)) if self._shows_middle_of(face.box)]

    def _shows_middle_of(self, box: Box) -> bool:
        width, height = self.original_size
        return 0 <= box.x + box.width / 2 <= width and 0 <= box.y + box.height / 2 <= height

    def to_original(self, raw: RawDetection) -> RawDetection:
        """Return the face in pixels of the original."""
        corners = np.array([raw.box[:2], (raw.box.x + raw.box.width, raw.box.y + raw.box.height)])
        corners = np.sort(self._points_to_original(corners), axis=0)
        (x, y), (right, bottom) = corners.tolist()
        # Landmarks count from the middle of a pixel, boxes from its corner.
        landmarks = self._points_to_original(raw.landmarks + 0.5) - 0.5
        return RawDetection(Box(x, y, right - x, bottom - y), landmarks.astype(np.float32), raw.score)

    def _points_to_original(self, given: NDArray[np.floating]) -> NDArray[np.float64]:
        height, width = self.pixels.shape[:2]
        points = given.astype(np.float64)
        for _ in range(self.quarter_turns):
            # A clockwise turn reverses a counter-clockwise one. The picture's height becomes its width.
            points = np.stack([height - points[:, 1], points[:, 0]], axis=1)
            height, width = width, height
        scale: NDArray[np.float64] = np.array(self.original_size) / np.array(self.reduced_size)
        original: NDArray[np.float64] = (points - self.border) * scale
        return original
