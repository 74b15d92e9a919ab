"""Choose the face that a photo is about. pgface never chooses silently."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

from pgface.errors import NoFaceError, SeveralFacesError
from pgface.faces.engines.base import Box, Choose, Detection
from pgface.faces.quality import QualityLimits
from pgface.settings import Settings
from pgface.text import counted

WhichFace = Literal["only", "largest", "central"]
"""The only face, the largest face, or the large face nearest the middle of the photo.

`central` is the face whose area, minus twice the squared distance between the centres of its box and the photo, is the
largest. This is `center_largest` of InsightFace. Source: J. Guo, J. Deng et al., InsightFace 2.1, `SCRFD.detect` with
the default `metric`, in `insightface/model_zoo/scrfd.py`.
"""

_OFF_CENTRE_WEIGHT = 2.0
"""The weight of the squared distance, as in InsightFace."""


def one_face(photo: str, which: WhichFace) -> Choose:
    """Return the function that chooses one face of a photo.

    Args:
        photo: the photo's name, for the error message.
        which: "only" refuses a photo with several faces. For the others, see `WhichFace`.

    """

    def choose(detections: Sequence[Detection]) -> Sequence[Detection]:
        if not detections:
            raise NoFaceError(
                f"{photo}: no face was found. Choose a photo in which the face is large, upright and well lit."
            )
        if which == "only" and len(detections) > 1:
            sizes = face_sizes(face.box for face in detections[:5])
            raise SeveralFacesError(
                f"{photo}: {len(detections)} faces were found ({sizes} pixels). "
                f"Crop the photo to one person, or {SeveralFacesError.CHOICE}."
            )
        return [max(detections, key=_centrality)] if which == "central" else detections[:1]

    return choose


def _centrality(face: Detection) -> float:
    """Return the area minus the weighted squared distance, in square pixels."""
    return face.box.width * face.box.height - _OFF_CENTRE_WEIGHT * face.off_centre**2


@dataclass(frozen=True, slots=True)
class EnrollmentChoice:
    """The rules that choose the face to enroll."""

    which: WhichFace
    limits: QualityLimits | None
    """None accepts any quality."""
    background: float
    """Share of the largest face's width. With "only", narrower faces are background. With 0, no face is."""

    @classmethod
    def from_settings(cls, settings: Settings, which: WhichFace, *, any_quality: bool = False) -> Self:
        """Read the limits and the share from the settings of the process."""
        limits = None if any_quality else QualityLimits.from_settings(settings)
        return cls(which, limits, settings.background_face)

    def of(self, photo: str) -> OneOfPhoto:
        """Return the function that chooses one face of a photo. Its errors have the photo's name."""
        return OneOfPhoto(photo, self)


@dataclass(slots=True)
class OneOfPhoto:
    """A `Choose` that returns one face to enroll, and remembers the faces that it left aside."""

    photo: str
    rules: EnrollmentChoice
    left_aside: tuple[Box, ...] = ()
    """The faces in the background, the largest first. They do not make the photo ambiguous."""

    def __call__(self, detections: Sequence[Detection]) -> Sequence[Detection]:
        """Choose a face.

        Raises:
            NoFaceError, SeveralFacesError, LowQualityError: the photo is refused.

        """
        candidates = detections
        if self.rules.which == "only" and detections:
            min_width = self.rules.background * detections[0].box.width
            candidates = [face for face in detections if face.box.width >= min_width]
            self.left_aside = tuple(face.box for face in detections if face.box.width < min_width)
        chosen = one_face(self.photo, self.rules.which)(candidates)
        if self.rules.limits is not None:
            self.rules.limits.check(chosen[0].quality, self.photo)
        return chosen


def face_sizes(boxes: Iterable[Box]) -> str:
    """Return the sizes of faces in pixels, such as `82×109, 31×35`."""
    return ", ".join(f"{box.width:.0f}×{box.height:.0f}" for box in boxes)


def one_for_each(photo: str, count: int, limits: QualityLimits) -> Choose:
    """Return the function that chooses every face of a group photo, and checks their number and quality."""

    def choose(detections: Sequence[Detection]) -> Sequence[Detection]:
        if len(detections) != count:
            raise SeveralFacesError(
                f"{photo}: there are {counted(len(detections), 'face')} and {counted(count, 'user')}. "
                "Name one user for each face, from left to right."
            )
        for detection in detections:
            limits.check(detection.quality, photo)
        return detections

    return choose
