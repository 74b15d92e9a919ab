"""Which of the faces in a photo is meant; nothing is picked silently."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pgface.errors import NoFaceError, SeveralFacesError
from pgface.faces.engine import Choose, Detection
from pgface.faces.quality import QualityLimits

WhichFace = Literal["only", "largest"]
"""The only face there is, or the largest."""


def one_face(photo: str, which: WhichFace) -> Choose:
    """Choose one face of a photo.

    Args:
        photo: the photo's name, for the sentence of a refusal.
        which: "only" refuses a photo with several faces, "largest" takes the largest box.

    """

    def choose(detections: Sequence[Detection]) -> Sequence[Detection]:
        if not detections:
            raise NoFaceError(
                f"{photo}: no face was found; choose a photo in which the face is large, upright and well lit."
            )
        if which == "only" and len(detections) > 1:
            sizes = ", ".join(f"{d.box.width:.0f}×{d.box.height:.0f}" for d in detections[:5])
            raise SeveralFacesError(
                f"{photo}: {len(detections)} faces were found ({sizes} pixels); "
                f"crop the photo to one person, or {SeveralFacesError.CHOICE}."
            )
        return detections[:1]

    return choose


def enrollable(photo: str, which: WhichFace, limits: QualityLimits) -> Choose:
    """Choose one face of a photo that is good enough to be enrolled."""
    choose_one = one_face(photo, which)

    def choose(detections: Sequence[Detection]) -> Sequence[Detection]:
        chosen = choose_one(detections)
        limits.check(chosen[0].quality, photo)
        return chosen

    return choose


def one_for_each(photo: str, count: int, limits: QualityLimits) -> Choose:
    """Choose every face of a group photo, all good enough to be enrolled, if there are as many as expected."""

    def choose(detections: Sequence[Detection]) -> Sequence[Detection]:
        if len(detections) != count:
            raise SeveralFacesError(
                f"{photo}: there are {len(detections)} faces and {count} users; "
                "name one user for each face, from left to right."
            )
        for detection in detections:
            limits.check(detection.quality, photo)
        return detections

    return choose
