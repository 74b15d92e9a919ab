"""The interface of engines, and the faces that they return.

Landmarks are five points in the order of InsightFace's models: left eye, right eye, nose, left mouth corner, right
mouth corner. Left and right are those of the upright face in the picture, not the person's. A model without mouth
corners, such as dlib's five points, sets them to NaN. Its nose is the base of the nose, not the tip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pgface.faces.align import FaceRegion

# Defined there, so that it can be imported without NumPy.
from pgface.faces.models.registry import ModelIdentity as ModelIdentity
from pgface.faces.pixels import Picture, RGBImage


class Box(NamedTuple):
    """A face's box in pixels of the upright photo. Parts of it may lie outside the photo."""

    x: float
    y: float
    width: float
    height: float


class RawDetection(NamedTuple):
    """A face as a detector returns it, before pgface crops and measures it."""

    box: Box
    landmarks: NDArray[np.float32]
    """Shape (5, 2), float32, x and y in pixels of the searched picture."""
    score: float
    """The detector's own score. Only scores of the same model are comparable."""

    def scaled(self, scale: NDArray[np.float64]) -> RawDetection:
        """Return the face in a picture that is larger by these factors in x and y."""
        if (scale == 1).all():
            return self
        (x, y), (width, height) = (np.multiply(part, scale).tolist() for part in (self.box[:2], self.box[2:]))
        # Landmarks count from the middle of a pixel, boxes from its corner.
        landmarks = (self.landmarks + 0.5) * scale - 0.5
        return RawDetection(Box(x, y, width, height), landmarks.astype(np.float32), self.score)


@dataclass(frozen=True, slots=True)
class Quality:
    """The quality of a face, measured before it is embedded."""

    face_size: float
    """The shorter side of the box, in pixels of the photo."""
    sharpness: float
    """Variance of the Laplacian (Pech-Pacheco et al. 2000) of the grey face at a fixed size, divided by its mean, times
    1000. Higher is sharper."""
    brightness: float
    """Mean luminance of the face in the aligned crop, 0 (black) to 1 (white)."""
    yaw: float
    """Degrees, positive if the face looks towards the right side of the picture. An estimate from landmarks."""
    pitch: float
    """Degrees, positive if the face looks up. An estimate from landmarks, NaN if these do not allow one."""
    roll: float
    """Degrees, positive if the head leans clockwise in the picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """A detected face without an embedding."""

    box: Box
    landmarks: NDArray[np.float32] = field(repr=False)
    """Shape (5, 2), float32, x and y in pixels of the upright photo."""
    detection_score: float
    """The detector's own score. Only scores of the same model are comparable."""
    quality: Quality = field(repr=False)
    region: FaceRegion = field(repr=False)
    off_centre: float
    """Distance between the centres of the box and the photo, in pixels."""

    @property
    def crop(self) -> RGBImage:
        """The upright face with level eyes, shape (224, 224, 3), uint8. Each call samples it again."""
        return self.region.crop()

    def with_embedding(self, embedding: NDArray[np.float32]) -> Face:
        """Return this face with its embedding, shape (512,), float32, Euclidean norm 1."""
        return Face(**{each.name: getattr(self, each.name) for each in fields(Detection)}, embedding=embedding)


@dataclass(frozen=True, slots=True, eq=False)
class Face(Detection):
    """A face with its embedding."""

    embedding: NDArray[np.float32] = field(repr=False)
    """Shape (512,), float32, Euclidean norm 1."""


Choose = Callable[[Sequence[Detection]], Sequence[Detection]]
"""Chooses the faces to embed. It may raise an error to refuse the photo."""


def every_face(detections: Sequence[Detection]) -> Sequence[Detection]:
    """Choose all faces, in the same order."""
    return detections


class Engine(Protocol):
    """Detects and embeds the faces of a picture. You can use it from many threads."""

    @property
    def identity(self) -> ModelIdentity:
        """The identity that a gallery records."""

    @property
    def execution_provider(self) -> str:
        """Where inference runs, for example `CPUExecutionProvider`."""

    @property
    def measures_pitch(self) -> bool:
        """Whether pitch can be estimated from the landmarks."""

    @property
    def releases_gil(self) -> bool:
        """Whether threads can run inference in parallel. If not, bulk work needs processes."""

    def detect_and_embed(
        self, image: RGBImage | Picture, choose: Choose = every_face, *, overlook: float = 0.0
    ) -> list[Face]:
        """Find the faces of an upright picture and embed the chosen ones, the largest box first.

        It also finds a face that fills the frame, and faces in a picture that lies on its side. Boxes and landmarks are
        always in pixels of the whole photo.

        Args:
            image: a photo, or pixels of shape (height, width, 3), uint8, RGB.
            choose: gets all faces found, and returns those to embed. It is called even if no face was found. It may
                raise an error to refuse the photo.
            overlook: faces narrower than this share of the widest face need not be found. The search is then faster if
                a face is large. 0 finds every face.

        Raises:
            ModelError: the model's output is not an embedding.

        """
