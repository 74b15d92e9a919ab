"""The quality filter: which faces of a photo are used, and why the others are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from pgface.faces.engines.base import Detection
from pgface.faces.quality import QualityLimits
from pgface.settings import Settings

MAX_FACES: Final = 100
_STRICTER: Final = {"LOW": 1.0, "AUTO": 1.0, "MEDIUM": 1.5, "HIGH": 2.0}
"""How much stricter a filter is than the limits for enrollment. AWS does not publish its limits."""


@dataclass(slots=True)
class ChosenFaces:
    """A `Choose` that takes the largest faces that pass a filter, and keeps the others with their reasons."""

    quality_filter: str
    most: int
    settings: Settings
    found: list[Detection] = field(default_factory=list)
    """All faces of the photo, the largest first."""
    left_out: list[tuple[Detection, list[str]]] = field(default_factory=list)

    @property
    def overlook(self) -> float:
        """Find also the small faces of a photo."""
        return 0.0

    def __call__(self, detections: Sequence[Detection]) -> Sequence[Detection]:
        """Choose the faces."""
        self.found.extend(detections[:MAX_FACES])
        chosen: list[Detection] = []
        for face in self.found:
            reasons = low_quality(face, self.quality_filter, self.settings)
            if not reasons and len(chosen) >= min(self.most, self.settings.max_faces):
                reasons = ["EXCEEDS_MAX_FACES"]
            if reasons:
                self.left_out.append((face, reasons))
            else:
                chosen.append(face)
        return chosen


def low_quality(face: Detection, quality_filter: str, settings: Settings) -> list[str]:
    """Return the reasons of AWS why a face does not pass a filter."""
    factor = _STRICTER.get(quality_filter)
    if factor is None:
        return []
    limits, quality = QualityLimits.from_settings(settings), face.quality
    failed = {
        "SMALL_BOUNDING_BOX": quality.face_size < factor * limits.min_face_size,
        "LOW_SHARPNESS": quality.sharpness < factor * limits.min_sharpness,
        "LOW_BRIGHTNESS": quality.brightness < factor * limits.min_brightness,
        "LOW_FACE_QUALITY": quality.brightness > limits.max_brightness,
        "EXTREME_POSE": abs(quality.yaw) > limits.max_yaw / factor or abs(quality.pitch) > limits.max_pitch / factor,
    }
    return [reason for reason, is_failed in failed.items() if is_failed]
