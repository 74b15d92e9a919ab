"""How to stand in front of the camera, for somebody who is about to log in by face.

The face is found and not embedded, in a small picture only, so that this costs little and tells nothing of anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from pgface.faces.engine import Detection
from pgface.faces.liveness.head_turns import FRONTAL_YAW
from pgface.faces.photo import PhotoLimits, Upload, open_photo
from pgface.gallery import Gallery

Hint = Literal["ok", "no-face", "several", "closer", "farther", "left", "right", "up", "down", "straight"]

MAX_HINT_BYTES: Final = 200_000
MAX_HINT_PIXELS: Final = 640 * 480

SMALLEST: Final = 0.25
"""Width of the face's box, as a share of the picture's shorter side."""
LARGEST: Final = 0.7
OFF_CENTRE: Final = 0.15
"""Distance of the box's middle from the picture's, as a share of the picture's width or height."""


def camera_hint(gallery: Gallery, frame: Upload) -> Hint:
    """Look at one picture of the camera.

    Args:
        gallery: whose engine finds the face.
        frame: not mirrored.

    Raises:
        PhotoError: it cannot be decoded, or is too large.

    """
    found: list[Detection] = []

    def choose(detections: Sequence[Detection]) -> Sequence[Detection]:
        found.extend(detections)
        return ()

    limits = PhotoLimits(MAX_HINT_BYTES, MAX_HINT_PIXELS, gallery.settings.max_decoded_bytes)
    with open_photo(frame, limits) as photo:
        gallery.engine.detect_and_embed(photo.pixels, choose)
        height, width = photo.pixels.shape[:2]
    return position_hint(found, width, height)


def position_hint(faces: Sequence[Detection], width: int, height: int) -> Hint:
    """What to do next, the most important first.

    Args:
        faces: all that were found.
        width: of the picture, in pixels, like `height`.
        height: of the picture.

    """
    if len(faces) != 1:
        return "several" if faces else "no-face"
    (face,) = faces
    share = face.box.width / min(width, height)
    if share < SMALLEST or share > LARGEST:
        return "closer" if share < SMALLEST else "farther"
    aside = (face.box.x + face.box.width / 2) / width - 0.5
    below = (face.box.y + face.box.height / 2) / height - 0.5
    if abs(aside) > OFF_CENTRE:
        # The camera sees somebody from in front: what is on its left is on their right.
        return "left" if aside < 0 else "right"
    if abs(below) > OFF_CENTRE:
        return "up" if below > 0 else "down"
    return "ok" if abs(face.quality.yaw) <= FRONTAL_YAW else "straight"
