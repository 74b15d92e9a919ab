"""Embeds an enrolled face again, from its original photo or from its crop."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgface.errors import ModelError, NoFaceError, PgfaceError, PhotoError, PhotoNotReadableError
from pgface.faces.align import CROP_BY_EYES, EYES_FROM_TOP, face_scale
from pgface.faces.engines.base import Box, Choose, Detection, Engine, Face, Quality
from pgface.faces.face_choice import EnrollmentChoice, choose_one
from pgface.faces.photo import Photo, PhotoLimits, Upload, open_photo
from pgface.faces.pixels import CROP_SIZE

_EYES_APART = CROP_SIZE / CROP_BY_EYES
"""Distance between the eyes in a crop, in pixels."""
_MIDDLE_OF_EYES = np.array([0.5, EYES_FROM_TOP]) * CROP_SIZE
_MAX_OFF = 0.5
"""Maximum distance of the face from its place in the crop, in distances between the eyes. With all pairs of dlib, SFace
and buffalo_sc on 100 photos, it was at most 0.17, and the factor of `_MAX_FACTOR` at most 1.32."""
_MAX_FACTOR = 1.7
"""Maximum factor between the size of the face and its size in the crop. Another detector measures it differently."""
_BYSTANDER = 0.5
"""Faces of a crop that are narrower than this share of the widest one need not be found."""
_MIN_OVERLAP = 0.15
"""Minimum overlap (intersection over union) of the boxes that two detectors find for one face."""


@dataclass(frozen=True, slots=True)
class FaceTask:
    """A face to embed again."""

    embedding_id: int
    user_id: int
    photo_id: int
    email: str
    filename: str
    filepath: str
    """The path of the row."""
    original: Path | None
    """The original photo. None if it is not known."""
    box: Box | None
    """The box of the face in the original photo. None if it is not known."""
    waits: bool
    """Whether the crop was embedded before. Then only the original photo is of interest."""
    crop: bytes | None = None
    """The bytes of the crop. None if it was not read or does not exist."""


@dataclass(frozen=True, slots=True, eq=False)
class NewFace:
    """A face with its new embedding."""

    embedding: NDArray[np.float32]
    """Shape (512,), float32, norm 1."""
    of_photo: bool
    """Whether it was embedded from the original photo, and not from the crop."""
    detection_score: float
    box: Box
    quality: Quality


Embedded = NewFace | PgfaceError
"""The face, or why no face could be embedded."""


@dataclass(frozen=True, slots=True)
class EmbedAgain:
    """Embeds a task. It can be pickled for another process."""

    load: Callable[[], Engine]
    limits: PhotoLimits
    choice: EnrollmentChoice
    """The face of an original photo whose box is not known."""

    def __call__(self, task: FaceTask) -> Embedded:
        """Embed the face of the original photo. If that is not possible, embed the crop."""
        engine = self.load()
        if task.original is not None:
            try:
                with open_photo(task.original, self.limits, reduced=True) as photo:
                    return self._of_photo(engine, photo, task.box)
            except (PhotoError, ModelError) as error:
                if task.waits:
                    return type(error)(str(error))
        try:
            with open_photo(self._crop(task), self.limits, reduced=True) as photo:
                if photo.picture.size == (CROP_SIZE, CROP_SIZE):
                    return _of_crop(engine, photo)
                return self._of_photo(engine, photo, task.box)  # `pgface migrate` copies whole photos
        except (PhotoError, ModelError) as error:
            # Without its causes, because another process may be unable to unpickle them.
            return type(error)(str(error))

    def _of_photo(self, engine: Engine, photo: Photo, box: Box | None) -> NewFace:
        if box is None:
            return _new_face(choose_one(engine, photo, self.choice.of(photo.name)), of_photo=True)
        (face,) = engine.detect_and_embed(photo.picture, face_at(photo.name, box))
        return _new_face(face, of_photo=True)

    @staticmethod
    def _crop(task: FaceTask) -> Upload:
        if task.crop is None:
            raise PhotoNotReadableError(f"{task.filename}: the crop of this photo is not in its photo store.")
        return Upload(task.filename, task.crop)


def _of_crop(engine: Engine, photo: Photo) -> NewFace:
    (face,) = engine.detect_and_embed(photo.picture, face_of_crop(photo.name), overlook=_BYSTANDER)
    return _new_face(face, of_photo=False)


def _new_face(face: Face, *, of_photo: bool) -> NewFace:
    return NewFace(face.embedding, of_photo, face.detection_score, face.box, face.quality)


def face_of_crop(photo: str) -> Choose:
    """Return the function that chooses the face of a crop, which has a known place and size.

    A crop may show a part of another face. That one is not chosen, even if the detector finds no other.
    """

    def choose(detections: Sequence[Detection]) -> Sequence[Detection]:
        near = [(off, face) for face in detections if (off := _off_its_place(face)) is not None]
        if not near:
            raise NoFaceError(f"{photo}: the new model's detector finds no face in the middle of the crop.")
        return [min(near, key=lambda one: one[0])[1]]

    return choose


def _off_its_place(face: Detection) -> float | None:
    """Return the distance of a face from its place in the crop. None if it is another face."""
    # Landmarks count from the middle of a pixel.
    eyes = face.landmarks[:2].astype(np.float64).mean(axis=0) + 0.5
    off = math.dist(eyes, _MIDDLE_OF_EYES) / _EYES_APART
    factor = face_scale(face.landmarks) / _EYES_APART
    return off if off <= _MAX_OFF and 1 / _MAX_FACTOR <= factor <= _MAX_FACTOR else None


def face_at(photo: str, box: Box) -> Choose:
    """Return the function that chooses the face of a photo that was enrolled from this box."""

    def choose(detections: Sequence[Detection]) -> Sequence[Detection]:
        best = max(detections, key=lambda face: overlap(face.box, box), default=None)
        if best is None or overlap(best.box, box) < _MIN_OVERLAP:
            raise NoFaceError(f"{photo}: the new model's detector finds no face where the enrolled one was.")
        return [best]

    return choose


def overlap(one: Box, other: Box) -> float:
    """Return the intersection of two boxes, divided by their union."""
    width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    if width <= 0 or height <= 0:
        return 0.0
    common = width * height
    return common / (one.width * one.height + other.width * other.height - common)
