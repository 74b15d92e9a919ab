"""Crop a face from its photo, upright and at a fixed size."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pgface.faces.pixels import CROP_SIZE, RGBImage

# Proportions of a frontal face, as medians over the photos of the tests.
MOUTH_BY_EYES = 1.08
"""Distance from the middle of the eyes to the middle of the mouth, in distances between the eyes."""
MOUTH_BY_NOSE = 1.4
"""The same distance, in distances from the middle of the eyes to the base of the nose."""

CROP_BY_EYES = 4.5
"""Side of the crop, in distances between the eyes: the whole head is 3.7 high (forehead to chin 2.9)."""
EYES_FROM_TOP = 0.44
"""Height of the eyes in the crop, as a fraction of its side."""


@dataclass(frozen=True, slots=True, eq=False)
class FaceRegion:
    """The region of a photo around one face. Its crop is sampled on demand."""

    pixels: RGBImage
    """Shape (height, width, 3), uint8: the photo's pixels, or for a large face the means of squares of them."""
    corner: NDArray[np.float64]
    """The upper left corner of the crop, x and y in `pixels`."""
    right: NDArray[np.float64]
    """The vector from this corner to the upper right one. The vector down is perpendicular to it."""

    @classmethod
    def around(cls, image: RGBImage, landmarks: NDArray[np.float32]) -> FaceRegion:
        """Return the region in which the eyes of a face are level. Parts outside the photo will be black.

        Args:
            image: shape (height, width, 3), uint8.
            landmarks: shape (5, 2), in pixels of `image`. See `pgface.faces.engines.base`. The mouth may be NaN.

        """
        points = np.asarray(landmarks, dtype=np.float64)
        across = points[1] - points[0]
        angle = math.atan2(across[1], across[0])
        side = CROP_BY_EYES * face_scale(landmarks)
        right = side * np.array([math.cos(angle), math.sin(angle)])
        # Landmarks count from the middle of a pixel, regions from its corner.
        corner = (points[0] + points[1]) / 2 + 0.5 - right / 2 - EYES_FROM_TOP * _turned_down(right)
        corners = np.array([corner, corner + right, corner + _turned_down(right), corner + right + _turned_down(right)])
        height, width = image.shape[:2]
        low = np.clip(np.floor(corners.min(axis=0)) - 2, 0, (width - 1, height - 1)).astype(int)
        high = np.clip(np.ceil(corners.max(axis=0)) + 2, low + 1, (width, height)).astype(int)
        pixels = np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]])
        # Bilinear sampling would skip pixels of a large face, so they are averaged first.
        factor = max(1, int(side / CROP_SIZE))
        if factor > 1:
            pixels = np.asarray(Image.fromarray(pixels).reduce(factor))
        return cls(pixels, (corner - low) / factor, right / factor)

    def crop(self) -> RGBImage:
        """Sample the face with level eyes, shape (224, 224, 3), uint8."""
        return np.asarray(self._sample(Image.fromarray(self.pixels), (0.0, 0.0, 1.0, 1.0), (CROP_SIZE, CROP_SIZE)))

    def grey(self, part: tuple[float, float, float, float], size: tuple[int, int]) -> NDArray[np.uint8]:
        """Sample a part of the crop in grey, shape (height, width), uint8.

        Args:
            part: left, top, right and bottom, as fractions of the crop's side.
            size: width and height, in pixels.

        """
        return np.asarray(self._sample(Image.fromarray(self.pixels).convert("L"), part, size))

    def _sample(
        self, pixels: Image.Image, part: tuple[float, float, float, float], size: tuple[int, int]
    ) -> Image.Image:
        left, top, right, bottom = part
        down = _turned_down(self.right)
        x_step, y_step = self.right * (right - left) / size[0], down * (bottom - top) / size[1]
        start = self.corner + self.right * left + down * top
        coefficients = (x_step[0], y_step[0], start[0], x_step[1], y_step[1], start[1])
        return pixels.transform(size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)


def face_scale(landmarks: NDArray[np.float32]) -> float:
    """Return the distance between the eyes of the same face in frontal view, in pixels, at least 1.

    In a turned head, the eyes are closer together, but the mouth is not closer to the eyes. So this measures both, and
    returns the larger estimate.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    eyes = (points[0] + points[1]) / 2
    if np.isnan(points[3:]).any():
        to_mouth = MOUTH_BY_NOSE * math.dist(eyes, points[2])
    else:
        to_mouth = math.dist(eyes, points[3:].mean(axis=0))
    return max(math.dist(points[0], points[1]), to_mouth / MOUTH_BY_EYES, 1.0)


def _turned_down(right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the vector after a clockwise quarter turn in the picture."""
    return np.array([-right[1], right[0]])
