"""Which of the faces in a photo is meant; nothing is picked silently."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

from pgface.errors import NoFaceError, SeveralFacesError
from pgface.faces.engine import Box, Choose, Detection
from pgface.faces.quality import QualityLimits
from pgface.settings import Settings
from pgface.text import counted

WhichFace = Literal["only", "largest", "central"]
"""The only face there is, the largest, or the large one nearest the middle of the photo.

`central` is the face with the largest area minus twice the squared distance of its middle from the photo's: the
`center_largest` of InsightFace. Source: J. Guo, J. Deng et al., InsightFace 2.1, `SCRFD.detect` with the default
`metric`, in `insightface/model_zoo/scrfd.py`.
"""

_OFF_CENTRE_WEIGHT = 2.0
"""Weight of the squared distance against the area, as in InsightFace."""


def one_face(photo: str, which: WhichFace) -> Choose:
    """Choose one face of a photo.

    Args:
        photo: the photo's name, for the sentence of a refusal.
        which: "only" refuses a photo with several faces, "largest" takes the largest box, and "central" the large one
            nearest the middle.

    """

    def choose(detections: Sequence[Detection]) -> Sequence[Detection]:
        if not detections:
            raise NoFaceError(
                f"{photo}: no face was found; choose a photo in which the face is large, upright and well lit."
            )
        if which == "only" and len(detections) > 1:
            sizes = face_sizes(face.box for face in detections[:5])
            raise SeveralFacesError(
                f"{photo}: {len(detections)} faces were found ({sizes} pixels); "
                f"crop the photo to one person, or {SeveralFacesError.CHOICE}."
            )
        return [max(detections, key=_centrality)] if which == "central" else detections[:1]

    return choose


def _centrality(face: Detection) -> float:
    """Square pixels; the first of equals is the largest, because detections come in that order."""
    return face.box.width * face.box.height - _OFF_CENTRE_WEIGHT * face.off_centre**2


@dataclass(frozen=True, slots=True)
class EnrollmentChoice:
    """Which faces may be enrolled, for every photo of a run."""

    which: WhichFace
    limits: QualityLimits | None
    """None takes a face of any quality."""
    background: float
    """Share of the largest face's width. "only" leaves aside faces that are less wide; 0 leaves none aside."""

    @classmethod
    def from_settings(cls, settings: Settings, which: WhichFace, *, any_quality: bool = False) -> Self:
        """Read limits and share from the settings of the process."""
        limits = None if any_quality else QualityLimits.from_settings(settings)
        return cls(which, limits, settings.background_face)

    def of(self, photo: str) -> OneOfPhoto:
        """Choose one face of a photo that is good enough to be enrolled.

        Args:
            photo: the photo's name, for the sentence of a refusal.

        """
        return OneOfPhoto(photo, self)


@dataclass(slots=True)
class OneOfPhoto:
    """Chooses the face of one photo, and remembers what was left aside; a `Choose`."""

    photo: str
    rules: EnrollmentChoice
    left_aside: tuple[Box, ...] = field(default=())
    """The faces in the background that did not make the photo ambiguous, the largest first."""

    def __call__(self, detections: Sequence[Detection]) -> Sequence[Detection]:
        """Choose.

        Raises:
            NoFaceError, SeveralFacesError, LowQualityError: the photo is refused.

        """
        meant = detections
        if self.rules.which == "only" and detections:
            least = self.rules.background * detections[0].box.width
            meant = [face for face in detections if face.box.width >= least]
            self.left_aside = tuple(face.box for face in detections if face.box.width < least)
        chosen = one_face(self.photo, self.rules.which)(meant)
        if self.rules.limits is not None:
            self.rules.limits.check(chosen[0].quality, self.photo)
        return chosen


def face_sizes(boxes: Iterable[Box]) -> str:
    """The sizes of faces, as `82×109, 31×35`, in pixels."""
    return ", ".join(f"{box.width:.0f}×{box.height:.0f}" for box in boxes)


def one_for_each(photo: str, count: int, limits: QualityLimits) -> Choose:
    """Choose every face of a group photo, all good enough to be enrolled, if there are as many as expected."""

    def choose(detections: Sequence[Detection]) -> Sequence[Detection]:
        if len(detections) != count:
            raise SeveralFacesError(
                f"{photo}: there are {counted(len(detections), 'face')} and {counted(count, 'user')}; "
                "name one user for each face, from left to right."
            )
        for detection in detections:
            limits.check(detection.quality, photo)
        return detections

    return choose
