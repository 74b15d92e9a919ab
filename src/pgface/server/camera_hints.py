"""Hints for a user before a login by face: how to position the face in front of the camera.

pgface detects the face in a small picture, but makes no embedding. So a hint is cheap and does not identify the user.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from pgface.faces.engines.base import Detection
from pgface.faces.face_choice import BYSTANDER, without_bystanders
from pgface.faces.liveness.head_turns import FRONTAL_YAW
from pgface.faces.photo import PhotoLimits, Upload, open_photo
from pgface.gallery import Gallery

Hint = Literal["ok", "no-face", "several", "closer", "farther", "left", "right", "up", "down", "straight"]

MAX_HINT_BYTES: Final = 200_000
MAX_HINT_PIXELS: Final = 640 * 480

MIN_WIDTH: Final = 0.25
"""Width of the face's box, as a fraction of the picture's shorter side."""
MAX_WIDTH: Final = 0.7
MAX_OFFSET: Final = 0.15
"""Distance between the centers of the box and of the picture, as a fraction of the picture's width or height."""


def camera_hint(gallery: Gallery, frame: Upload) -> Hint:
    """Return the hint for a frame of the camera.

    Args:
        gallery: the gallery whose engine finds the face.
        frame: a frame of the camera, not mirrored.

    Raises:
        PhotoError: the frame cannot be decoded, or is too large.

    """
    found: list[Detection] = []

    def choose(detections: Sequence[Detection]) -> Sequence[Detection]:
        found.extend(detections)
        return ()

    limits = PhotoLimits(MAX_HINT_BYTES, MAX_HINT_PIXELS, gallery.settings.max_decoded_bytes)
    with open_photo(frame, limits) as photo:
        gallery.engine.detect_and_embed(photo.picture, choose, overlook=BYSTANDER)
        height, width = photo.pixels.shape[:2]
    return position_hint(found, width, height)


def position_hint(faces: Sequence[Detection], width: int, height: int) -> Hint:
    """Return the most important hint for the faces in a picture.

    Args:
        faces: all faces in the picture.
        width: the width of the picture in pixels.
        height: the height of the picture in pixels.

    """
    faces = without_bystanders(faces)
    if len(faces) != 1:
        return "several" if faces else "no-face"
    (face,) = faces
    relative = face.box.width / min(width, height)
    if not MIN_WIDTH <= relative <= MAX_WIDTH:
        return "closer" if relative < MIN_WIDTH else "farther"
    aside = (face.box.x + face.box.width / 2) / width - 0.5
    below = (face.box.y + face.box.height / 2) / height - 0.5
    if abs(aside) > MAX_OFFSET:
        # The frame is not mirrored, so a face left of the center must move to the user's left.
        return "left" if aside < 0 else "right"
    if abs(below) > MAX_OFFSET:
        return "up" if below > 0 else "down"
    return "ok" if abs(face.quality.yaw) <= FRONTAL_YAW else "straight"
