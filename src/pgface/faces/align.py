"""Cut a face out of its photo, upright and at a fixed size."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pgface.faces.engine import CROP_SIZE, RGBImage

# Proportions of a frontal face, medians over the photos that the tests use.
MOUTH_BY_EYES = 1.08
"""Distance from the eyes' middle to the mouth's, in distances between the eyes."""
MOUTH_BY_NOSE = 1.4
"""The same distance, in distances from the eyes' middle to the base of the nose."""

CROP_BY_EYES = 4.5
"""Side of the crop, in distances between the eyes: the whole head is 3.7 high (forehead to chin 2.9)."""
EYES_FROM_TOP = 0.44
"""Height of the eyes in the crop, as a fraction of its side."""


def aligned_crop(image: RGBImage, landmarks: NDArray[np.float32], size: int = CROP_SIZE) -> RGBImage:
    """Cut out the face with its eyes level, by a similarity transform; what lies outside the photo is black.

    Args:
        image: the upright photo, shape (height, width, 3), uint8.
        landmarks: five points as `engine` orders them, shape (5, 2), in pixels of the photo; the mouth may be NaN.
        size: side of the crop, in pixels.

    Returns:
        The crop, shape (size, size, 3), uint8.

    """
    points = np.asarray(landmarks, dtype=np.float64)
    eyes = (points[0] + points[1]) / 2
    across = points[1] - points[0]
    angle = math.atan2(across[1], across[0])
    side = CROP_BY_EYES * face_scale(landmarks)
    right = np.array([math.cos(angle), math.sin(angle)])
    down = np.array([-right[1], right[0]])
    corner = eyes - right * side / 2 - down * side * EYES_FROM_TOP
    return _cut(image, corner, right * side, down * side, size)


def face_scale(landmarks: NDArray[np.float32]) -> float:
    """The distance between the eyes of the same face seen from the front, in pixels; at least 1.

    A turned head brings the eyes together, but not eyes and mouth: the larger of the two distances counts.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    eyes = (points[0] + points[1]) / 2
    if np.isnan(points[3:]).any():
        to_mouth = MOUTH_BY_NOSE * math.dist(eyes, points[2])
    else:
        to_mouth = math.dist(eyes, points[3:].mean(axis=0))
    return max(math.dist(points[0], points[1]), to_mouth / MOUTH_BY_EYES, 1.0)


def _cut(
    image: RGBImage, corner: NDArray[np.float64], right: NDArray[np.float64], down: NDArray[np.float64], size: int
) -> RGBImage:
    """Resample the square that starts at `corner` and is spanned by `right` and `down`."""
    corners = np.array([corner, corner + right, corner + down, corner + right + down])
    height, width = image.shape[:2]
    low = np.clip(np.floor(corners.min(axis=0)) - 2, 0, (width - 1, height - 1)).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)) + 2, low + 1, (width, height)).astype(int)
    region = Image.fromarray(np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]]))
    corner = corner - low
    # Bilinear sampling alone would skip pixels of a large face: average them first.
    factor = max(1, int(np.hypot(*right) / size))
    if factor > 1:
        region = region.reduce(factor)
    x_step, y_step, start = right / size / factor, down / size / factor, (corner + 0.5) / factor
    coefficients = (x_step[0], y_step[0], start[0], x_step[1], y_step[1], start[1])
    crop = region.transform((size, size), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
    return np.asarray(crop)
