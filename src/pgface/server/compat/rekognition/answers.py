"""The parts of answers: faces with their boxes as shares of the photo, landmarks, pose and quality."""

from __future__ import annotations

import math
from typing import Any, Final

from pgface.faces.engines.base import Box, Detection
from pgface.gallery import Gallery
from pgface.gallery.indexed_faces import IndexedFace
from pgface.server.compat.rekognition.call import model_version

_LANDMARKS: Final = ("eyeLeft", "eyeRight", "nose", "mouthLeft", "mouthRight")
_MEDIUM_SHARPNESS: Final = 5.0
"""The sharpness that gets 50 of 100. Good press photos of 250×250 pixels have 5 to 78."""

Size = tuple[int, int]
"""Width and height of a photo in pixels."""


def bounding_box(box: Box, size: Size) -> dict[str, float]:
    """Return a box as shares of the photo. Parts of it may lie outside of the photo."""
    width, height = size
    return {
        "Width": round(box.width / width, 6),
        "Height": round(box.height / height, 6),
        "Left": round(box.x / width, 6),
        "Top": round(box.y / height, 6),
    }


def face_detail(face: Detection, size: Size) -> dict[str, Any]:
    """Return the attributes DEFAULT of a face."""
    width, height = size
    quality = face.quality
    pose = {"Roll": quality.roll, "Yaw": quality.yaw, "Pitch": quality.pitch}
    return {
        "BoundingBox": bounding_box(face.box, size),
        "Landmarks": [
            {"Type": name, "X": round(x / width, 6), "Y": round(y / height, 6)}
            for name, (x, y) in zip(_LANDMARKS, face.landmarks.tolist(), strict=True)
            if math.isfinite(x)
        ],
        "Pose": {name: round(value, 2) for name, value in pose.items() if math.isfinite(value)},
        "Quality": {
            "Brightness": round(100 * quality.brightness, 2),
            "Sharpness": round(100 * quality.sharpness / (quality.sharpness + _MEDIUM_SHARPNESS), 2),
        },
        "Confidence": face_confidence(face.detection_score),
    }


def compared_face(face: Detection, size: Size) -> dict[str, Any]:
    """Return a ComparedFace, which has the same members."""
    return face_detail(face, size)


def face_confidence(score: float) -> float:
    """Return the score of the detector as a percentage that is 88 for a score of 0.5 and 99.9 for 0.9.

    Programs that were written for Rekognition often require 90 or 99 of a face. Detectors of faces give clear faces a
    score of 0.8 to 0.95.
    """
    return round(100 * (1 - (1 - min(max(score, 0.0), 1.0)) ** 3), 4)


def stored_face(face: IndexedFace, gallery: Gallery) -> dict[str, Any]:
    """Return a Face. It has no BoundingBox if the size of its photo was not stored."""
    answer: dict[str, Any] = {
        "FaceId": str(face.face_id),
        "ImageId": str(face.image_id),
        "IndexFacesModelVersion": model_version(gallery),
    }
    if face.box is not None and face.image_size is not None:
        answer["BoundingBox"] = bounding_box(face.box, face.image_size)
    if face.external_image_id is not None:
        answer["ExternalImageId"] = face.external_image_id
    if face.detection_score is not None:
        answer["Confidence"] = face_confidence(face.detection_score)
    if face.person is not None:
        answer["UserId"] = face.person
    return answer
