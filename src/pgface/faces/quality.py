"""What can be measured about a face before it is embedded, and the limits for enrollment."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pgface.faces.align import aligned_crop
from pgface.faces.engine import Box, Detection, Quality, RawDetection, RGBImage

NOSE_TIP_DEPTH = 0.55
NOSE_TIP_HEIGHT = 0.55


def describe(image: RGBImage, raw: Sequence[RawDetection]) -> list[Detection]:
    """Cut out and measure what a detector found, the largest box first.

    Args:
        image: the picture that was searched, shape (height, width, 3), uint8.
        raw: the faces, in its pixels.

    """
    by_area = sorted(raw, key=lambda face: face.box.width * face.box.height, reverse=True)
    detections = []
    for box, landmarks, score in by_area:
        crop = aligned_crop(image, landmarks)
        detections.append(Detection(box, landmarks, score, measure_quality(box, landmarks, crop), crop))
    return detections


def measure_quality(box: Box, landmarks: NDArray[np.float32], crop: RGBImage) -> Quality:
    """Measure a face.

    Args:
        box: in pixels of the photo.
        landmarks: shape (5, 2), in pixels of the photo; the mouth may be NaN.
        crop: the face cut out by `aligned_crop`, shape (size, size, 3), uint8.

    """
    grey = np.asarray(Image.fromarray(crop).convert("L"), dtype=np.float32)
    yaw, pitch, roll = 0.0, math.nan, 0.0
    return Quality(min(box.width, box.height), float(grey.var()), float(grey.mean() / 255), yaw, pitch, roll)
