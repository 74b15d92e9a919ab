"""Choose the face that a photo is about. pgface never chooses silently."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, Self

from pgface.errors import NoFaceError, SeveralFacesError
from pgface.faces.engines.base import Box, Choose, Detection, Engine, Face
from pgface.faces.photo import Photo
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
BYSTANDER = 0.25
"""A face narrower than this share of the widest face belongs to a bystander. It does not make a photo ambiguous."""
_LARGEST = 0.5
"""A face narrower than this share of the widest face is not the largest one."""


class OneFace(Protocol):
    """A `Choose` that returns one face, and needs only the larger faces of a photo for that."""

    @property
    def overlook(self) -> float:
        """The argument of `Engine.detect_and_embed`."""

    def __call__(self, detections: Sequence[Detection]) -> Sequence[Detection]:
        """Choose a face, or raise an error to refuse the photo."""


def choose_one(engine: Engine, photo: Photo, choice: OneFace) -> Face:
    """Detect and embed one face of a photo.

    Raises:
        PhotoError: the photo is refused.
        ModelError: as `Engine.detect_and_embed`.

    """
    (face,) = engine.detect_and_embed(photo.picture, choice, overlook=choice.overlook)
    return face


@dataclass(frozen=True, slots=True)
class ChosenFace:
    """Chooses one face of a photo. "only" refuses a photo with several faces. For the others, see `WhichFace`."""

    photo: str
    """The photo's name, for the error message."""
    which: WhichFace

    @property
    def overlook(self) -> float:
        """Faces that are much narrower than the widest one change nothing."""
        return _LARGEST if self.which == "largest" else BYSTANDER

    def __call__(self, detections: Sequence[Detection]) -> Sequence[Detection]:
        """Choose a face.

        Raises:
            NoFaceError, SeveralFacesError: the photo is refused.

        """
        if not detections:
            raise NoFaceError(
                f"{self.photo}: no face was found. Choose a photo in which the face is large, upright and well lit."
            )
        if self.which == "central":
            return [max(detections, key=_centrality)]
        candidates = without_bystanders(detections)
        if self.which == "only" and len(candidates) > 1:
            raise several_faces(self.photo, candidates)
        return candidates[:1]


def without_bystanders(detections: Sequence[Detection]) -> list[Detection]:
    """Return the faces of a photo that are not much narrower than the widest one, in the same order."""
    widest = max((face.box.width for face in detections), default=0.0)
    return [face for face in detections if face.box.width >= BYSTANDER * widest]


def several_faces(photo: str, faces: Sequence[Detection]) -> SeveralFacesError:
    """Return the error that refuses a photo because several of its faces can be meant."""
    sizes = face_sizes(face.box for face in faces[:5])
    return SeveralFacesError(
        f"{photo}: {len(faces)} faces were found ({sizes} pixels). "
        f"Crop the photo to one person, or {SeveralFacesError.CHOICE}."
    )


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
    """The faces found in the background, the largest first. They do not make the photo ambiguous."""

    @property
    def overlook(self) -> float:
        """With "only", faces in the background change nothing."""
        return self.rules.background if self.rules.which == "only" else ChosenFace("", self.rules.which).overlook

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
            if len(candidates) > 1:
                raise several_faces(self.photo, candidates)
        chosen = ChosenFace(self.photo, self.rules.which)(candidates)
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
