"""Look again where a detector found nothing: with a border around the picture, and on its three other sides.

Detectors miss a face that fills the frame, because they were trained on faces with surroundings, and a face that
lies on its side. Both are looked for only when nothing was found, so that an ordinary photo is searched once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pgface.faces.engine import Box, RawDetection, RGBImage

BORDER = 0.5
"""Width of the border, as a fraction of the picture's longer side."""
RETRY_SIZE = 1280
"""Longer side, in pixels, to which a picture is reduced before the border is put around it."""

Find = Callable[[RGBImage], Sequence[RawDetection]]
"""A detector: the faces of a picture, in its pixels."""


def find_with_retries(image: RGBImage, find: Find) -> list[RawDetection]:
    """Find the faces of a picture, also when it lies on its side or is filled by one face.

    Args:
        image: shape (height, width, 3), uint8.
        find: the detector; it is called with C-contiguous pictures.

    Returns:
        The faces in pixels of `image`, in the detector's order; empty when there is none. The landmarks of a face
        that lies on its side keep their order: the first is the left eye once the face is turned upright.

    """
    found = list(find(np.ascontiguousarray(image)))
    if found:
        return found
    for view in _other_views(image):
        found = [view.to_original(raw) for raw in find(view.pixels)]
        if found:
            return found
    return []


def search_turned(image: RGBImage, quarter_turns: int, find: Find) -> list[RawDetection]:
    """Find the faces of a picture after so many counter-clockwise quarter turns, in pixels of the picture as given."""
    size = image.shape[1], image.shape[0]
    view = _View(np.ascontiguousarray(np.rot90(image, quarter_turns)), quarter_turns, 0, size, size)
    return [view.to_original(raw) for raw in find(view.pixels)]


def _other_views(image: RGBImage) -> Iterator[_View]:
    height, width = image.shape[:2]
    scale = min(1.0, RETRY_SIZE / max(height, width))
    small = image
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
    border = round(BORDER * max(small.shape[:2]))
    bordered = np.pad(small, ((border, border), (border, border), (0, 0)))
    for quarter_turns in range(4):
        pixels = np.ascontiguousarray(np.rot90(bordered, quarter_turns))
        yield _View(pixels, quarter_turns, border, (width, height), (small.shape[1], small.shape[0]))


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """A picture that was reduced, given a border and turned, in this order."""

    pixels: RGBImage
    quarter_turns: int
    """Counter-clockwise, as `numpy.rot90` turns."""
    border: int
    original_size: tuple[int, int]
    """Width and height."""
    reduced_size: tuple[int, int]
    """Width and height before the border."""

    def to_original(self, raw: RawDetection) -> RawDetection:
        """The same face in pixels of the original."""
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
            # One turn clockwise undoes one counter-clockwise: the picture's height becomes its width.
            points = np.stack([height - points[:, 1], points[:, 0]], axis=1)
            height, width = width, height
        scale: NDArray[np.float64] = np.array(self.original_size) / np.array(self.reduced_size)
        original: NDArray[np.float64] = (points - self.border) * scale
        return original
