"""Measure the quality of a face, and check it against the limits for enrollment."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pgface.errors import LowQualityError
from pgface.faces.align import FaceRegion
from pgface.faces.engines.base import Box, Detection, Quality, RawDetection
from pgface.faces.pixels import RGBImage
from pgface.settings import Settings

# Proportions of a head in frontal view, in distances between the eyes, measured on 100 press photos of ten people. The
# depths come from a regression of the eye distance on the nose's shift. The height of the nose is a median.
NOSE_TIP_DEPTH = 0.48
"""Distance of the nose tip in front of the eyes."""
NOSE_BASE_DEPTH = 0.29
"""Distance of the nose base in front of the eyes, for landmarks without mouth corners."""
MOUTH_HEIGHT = 1.04
"""Distance of the mouth below the eyes."""
NOSE_TIP_HEIGHT = 0.56
"""Distance of the nose tip below the eyes."""

FACE_IN_CROP = (0.25, 0.3, 0.75, 0.8)
"""Left, top, right and bottom of the face without hair and background, as fractions of the crop's side."""
SHARPNESS_SIZE = 64
"""Side in pixels at which sharpness is measured, so that the size of the face in its photo does not matter."""


def describe(pixels: RGBImage, faces: Sequence[RawDetection], size: tuple[int, int] | None = None) -> list[Detection]:
    """Crop and measure the faces from a detector, the largest box first.

    Args:
        pixels: the searched picture, shape (height, width, 3), uint8.
        faces: the faces, in pixels of the picture.
        size: width and height of the whole photo, if the picture is a reduced one. The result is in its pixels.

    """
    height, width = pixels.shape[:2]
    whole = size or (width, height)
    scale = np.array(whole) / (width, height)
    detections = []
    for face in sorted(faces, key=lambda face: face.box.width * face.box.height, reverse=True):
        region = FaceRegion.around(pixels, face.landmarks)
        box, landmarks, score = face.scaled(scale)
        off_centre = math.dist((box.x + box.width / 2, box.y + box.height / 2), (whole[0] / 2, whole[1] / 2))
        detections.append(Detection(box, landmarks, score, measure_quality(box, landmarks, region), region, off_centre))
    return detections


def measure_quality(box: Box, landmarks: NDArray[np.float32], region: FaceRegion) -> Quality:
    """Measure a face.

    Args:
        box: the box, in pixels of the photo.
        landmarks: shape (5, 2), in pixels of the photo. The mouth may be NaN.
        region: the face in its photo.

    """
    sharpness, brightness = _sharpness_and_brightness(region)
    yaw, pitch, roll = head_pose(landmarks)
    return Quality(min(box.width, box.height), sharpness, brightness, yaw, pitch, roll)


def head_pose(landmarks: NDArray[np.float32]) -> tuple[float, float, float]:
    """Estimate yaw, pitch and roll in degrees from five points. See `Quality` for the signs.

    This is geometry under weak perspective, as in Gee and Cipolla (1994), "Determining the gaze of faces in images",
    section 3. The unit is the distance between the eyes in frontal view. Eyes and mouth lie in a plane. The nose is in
    front of it, at a depth d. Roll is the angle of the line through the eyes. The rest is measured along and across
    that line, from the middle of the eyes. If a head is turned by yaw, the eyes are cos(yaw) apart, and the nose is
    d·sin(yaw) to the side. The ratio of the two is d·tan(yaw). If a head is raised by pitch, the mouth is m·cos(pitch)
    below the eyes, and the nose n·cos(pitch) - d·sin(pitch). The ratio of these is n/m - d/m·tan(pitch).

    Pitch is NaN without mouth corners. Yaw is too large for a turned head that is also raised, and too small for a
    lowered one: by about 10° if the two are 40° and 15°.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    middle = (points[0] + points[1]) / 2
    across = points[1] - points[0]
    apart = math.hypot(*across)
    roll = math.atan2(across[1], across[0])
    right = np.array([math.cos(roll), math.sin(roll)])
    down = np.array([-right[1], right[0]])
    nose = points[2] - middle
    if np.isnan(points[3:]).any():
        yaw = math.atan2(nose @ right, NOSE_BASE_DEPTH * apart)
        return math.degrees(yaw), math.nan, math.degrees(roll)
    yaw = math.atan2(nose @ right, NOSE_TIP_DEPTH * apart)
    mouth = (points[3:].mean(axis=0) - middle) @ down
    raised = NOSE_TIP_HEIGHT / MOUTH_HEIGHT * mouth - nose @ down
    pitch = math.atan2(raised, NOSE_TIP_DEPTH / MOUTH_HEIGHT * mouth)
    return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)


def _sharpness_and_brightness(region: FaceRegion) -> tuple[float, float]:
    # Sampled at twice the size and averaged, so that no detail is lost.
    fine = region.grey(FACE_IN_CROP, (2 * SHARPNESS_SIZE, 2 * SHARPNESS_SIZE)).astype(np.float32)
    grey = (fine[::2, ::2] + fine[1::2, ::2] + fine[::2, 1::2] + fine[1::2, 1::2]) / 4
    mean = float(grey.mean())
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    laplacian = around - 4 * grey[1:-1, 1:-1]
    # Relative to the mean, so that a dim photo does not count as blurred. A black photo has no sharpness.
    return 1000 * float(laplacian.var()) / max(mean, 1.0) ** 2, mean / 255


@dataclass(frozen=True, slots=True)
class QualityLimits:
    """The limits of a face for enrollment.

    The defaults of the settings were chosen on 100 good press photos of ten people, 250×250 pixels each. The photos
    were gradually blurred, dimmed and overexposed. Their InsightFace embeddings (w600k_mbf) were compared with those of
    the originals. At the limits, the median of these similarities is between 0.5 and 0.75. No original is near a limit:

    ==========  ============  ==========================================================
    .           originals     limit, and what reaches it
    ==========  ============  ==========================================================
    sharpness   5.1 to 78     0.5: a blur of 0.08 of the distance between the eyes (sigma)
    brightness  0.31 to 0.70  0.08: dimmed to a sixth, 0.9: overexposed three times
    yaw         -48° to 53°   60°: no photo came near
    pitch       -27° to 30°   45°: no photo came near
    ==========  ============  ==========================================================
    """

    min_face_size: float
    """Pixels."""
    min_sharpness: float
    min_brightness: float
    max_brightness: float
    max_yaw: float
    """Maximum turn to either side, in degrees."""
    max_pitch: float
    """Maximum tilt up or down, in degrees. An unknown pitch passes."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Read the limits from the settings of the process."""
        return cls(
            min_face_size=settings.min_face_size,
            min_sharpness=settings.min_sharpness,
            min_brightness=settings.min_brightness,
            max_brightness=settings.max_brightness,
            max_yaw=settings.max_yaw,
            max_pitch=settings.max_pitch,
        )

    def check(self, quality: Quality, photo: str) -> None:
        """Refuse a face of too low quality.

        Args:
            quality: the measured quality.
            photo: the photo's name, for the error message.

        Raises:
            LowQualityError: the message contains every measurement that is beyond its limit.

        """
        failings = list(self._failings(quality))
        if failings:
            raise LowQualityError(
                f"{photo}: the face cannot be enrolled: {', '.join(failings)}. "
                "Choose a photo in which it is larger, sharper, better lit or more frontal."
            )

    def _failings(self, quality: Quality) -> Iterator[str]:
        if quality.face_size < self.min_face_size:
            yield f"size {quality.face_size:.0f} pixels (at least {self.min_face_size:.0f})"
        if quality.sharpness < self.min_sharpness:
            yield f"sharpness {quality.sharpness:.2f} (at least {self.min_sharpness:.2f})"
        if quality.brightness < self.min_brightness:
            yield f"brightness {quality.brightness:.2f} (at least {self.min_brightness:.2f})"
        if quality.brightness > self.max_brightness:
            yield f"brightness {quality.brightness:.2f} (at most {self.max_brightness:.2f})"
        if abs(quality.yaw) > self.max_yaw:
            yield f"yaw {quality.yaw:.0f}° (at most {self.max_yaw:.0f}° to either side)"
        if abs(quality.pitch) > self.max_pitch:
            yield f"pitch {quality.pitch:.0f}° (at most {self.max_pitch:.0f}° up or down)"
