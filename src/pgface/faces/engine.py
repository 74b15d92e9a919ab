"""What every engine gives: the faces of an image, as frozen values.

The landmarks are always five points in the order of InsightFace's models: left eye, right eye, nose, left
mouth corner, right mouth corner, where left and right are the upright face's in the picture, not the person's. A model
that has no mouth corners (dlib's five points do not) leaves them NaN, and its nose is the nose's base, not the tip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pgface.faces.align import FaceRegion
from pgface.faces.models.registry import ModelIdentity as ModelIdentity  # where it does not take NumPy to import it
from pgface.faces.pixels import RGBImage


class Box(NamedTuple):
    """A face's box in pixels of the upright photo; parts of it may lie outside the photo."""

    x: float
    y: float
    width: float
    height: float


class RawDetection(NamedTuple):
    """A face as a detector gives it, before it is cut out and measured."""

    box: Box
    landmarks: NDArray[np.float32]
    """Shape (5, 2), float32, x and y in pixels of the picture that was searched."""
    score: float
    """The detector's own score; comparable only within one model."""


@dataclass(frozen=True, slots=True)
class Quality:
    """What can be measured about a face before it is embedded."""

    face_size: float
    """The shorter side of the box, in pixels of the photo."""
    sharpness: float
    """Variance of the Laplacian (Pech-Pacheco et al. 2000) of the face, grey, at a fixed size and divided by its mean;
    times 1000. Higher is sharper."""
    brightness: float
    """Mean luminance of the face in the aligned crop, 0 (black) to 1 (white)."""
    yaw: float
    """Degrees; positive when the face looks towards the right side of the picture. An estimate from landmarks."""
    pitch: float
    """Degrees; positive when the face looks up. An estimate from landmarks, NaN where these do not tell."""
    roll: float
    """Degrees; positive when the head leans clockwise in the picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """A face that was found, and not yet embedded."""

    box: Box
    landmarks: NDArray[np.float32] = field(repr=False)
    """Shape (5, 2), float32, x and y in pixels of the upright photo."""
    detection_score: float
    """The detector's own score; comparable only within one model."""
    quality: Quality = field(repr=False)
    region: FaceRegion = field(repr=False)
    off_centre: float
    """Distance of the box's middle from the photo's middle, in pixels."""

    @property
    def crop(self) -> RGBImage:
        """The face, upright and with its eyes level, shape (224, 224, 3), uint8; sampled at each call."""
        return self.region.crop()


@dataclass(frozen=True, slots=True, eq=False)
class Face(Detection):
    """A face with its embedding."""

    embedding: NDArray[np.float32] = field(repr=False)
    """Shape (512,), float32, Euclidean norm 1."""


Choose = Callable[[Sequence[Detection]], Sequence[Detection]]
"""Says which of the faces found are to be embedded; may raise to refuse the photo."""


def every_face(detections: Sequence[Detection]) -> Sequence[Detection]:
    """Choose all of the faces, as they were found."""
    return detections


class Engine(Protocol):
    """Turns pixels into faces. Safe to call from many threads."""

    @property
    def identity(self) -> ModelIdentity:
        """The model, as the gallery records it."""
        ...

    @property
    def execution_provider(self) -> str:
        """Where inference runs, for example `CPUExecutionProvider`."""
        ...

    @property
    def measures_pitch(self) -> bool:
        """Whether landmarks tell how far a head is raised."""
        ...

    @property
    def releases_gil(self) -> bool:
        """Whether threads run inference in parallel; if not, bulk work needs processes."""
        ...

    def detect_and_embed(self, image: RGBImage, choose: Choose = every_face) -> list[Face]:
        """Find the faces of an upright picture and embed those chosen, the largest box first.

        A face that fills the frame, and a picture that lies on its side, are found too; box and landmarks are
        always in the pixels of the image as given. `choose` sees every face found, also an empty sequence.
        """
        ...
