"""An engine of two networks: one detects faces, the other embeds them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pgface.errors import ModelError
from pgface.faces.cancellation import check_work
from pgface.faces.engines.arcface import aligned_face
from pgface.faces.engines.base import Choose, Detection, Face, ModelIdentity, RawDetection, every_face
from pgface.faces.engines.detector import Detector
from pgface.faces.engines.inference import Network
from pgface.faces.engines.runtimes import runtimes
from pgface.faces.pixels import Picture, RGBImage
from pgface.faces.quality import describe
from pgface.system.timing import stage

MIN_REDUCED_WIDTH = 112
"""Minimum width of a face that is embedded from a reduced photo, in its pixels. Networks see a face at 112 pixels."""


class Recogniser(Protocol):
    """A network that embeds aligned faces. You can use it from many threads."""

    session: Network
    side: int
    """Side of an aligned face in pixels."""

    def describe(self, aligned: RGBImage) -> NDArray[np.float32]:
        """Return the descriptor of an aligned face, shape (dimension,), of any norm."""

    def embedding(self, descriptor: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the embedding of a descriptor of norm 1, shape (512,), float32, norm 1."""


class NetworkEngine:
    """A detector and a recogniser. You can use it from many threads."""

    releases_gil = True

    def __init__(
        self,
        detector: Detector,
        recogniser: Recogniser,
        identity: ModelIdentity,
        execution_provider: str,
        *,
        measures_pitch: bool,
    ) -> None:
        self.identity = identity
        self.execution_provider = execution_provider
        self.agreement: float | None = None
        """The similarity of a face's embedding to that of the same pixels on the CPU. None on the CPU itself."""
        self.measures_pitch = measures_pitch
        self.detector = detector
        self.recogniser = recogniser

    @property
    def runtimes(self) -> dict[str, str]:
        """What runs each network, and where."""
        return runtimes(self.detector.network.session.runtime, self.recogniser.session.runtime)

    def detect_and_embed(
        self, image: RGBImage | Picture, choose: Choose = every_face, *, overlook: float = 0.0
    ) -> list[Face]:
        """Detect and embed faces, as `Engine.detect_and_embed` does."""
        picture = Picture.of(image)
        with stage("detect"):
            pixels, found = self._find(picture, overlook)
            detections = describe(pixels, found, picture.size)
            if not self.measures_pitch:
                detections = [_without_pitch(detection) for detection in detections]
        chosen = choose(detections)
        with stage("embed"):
            scale = np.array(pixels.shape[1::-1]) / picture.size
            return [self._embed(pixels, scale, detection) for detection in chosen]

    def _find(self, picture: Picture, overlook: float) -> tuple[RGBImage, list[RawDetection]]:
        """Find faces, and return them with the pixels that they are measured in."""
        pixels = picture.pixels
        if not picture.is_whole and max(pixels.shape) < self.detector.size:
            pixels = picture.whole()
        found = self.detector.find(pixels, overlook)
        if pixels.shape[1::-1] == picture.size:
            return pixels, found
        widest = max((face.box.width for face in found), default=0.0)
        if all(face.box.width >= MIN_REDUCED_WIDTH for face in found if face.box.width >= overlook * widest):
            return pixels, found
        scale = np.array(picture.size) / pixels.shape[1::-1]
        whole = picture.whole()
        return whole, self.detector.look_closer(whole, [face.scaled(scale) for face in found])

    def _embed(self, pixels: RGBImage, scale: NDArray[np.float64], detection: Detection) -> Face:
        check_work()
        landmarks = ((detection.landmarks + 0.5) * scale - 0.5).astype(np.float32)
        descriptor = self.recogniser.describe(aligned_face(pixels, landmarks, self.recogniser.side))
        norm = float(np.linalg.norm(descriptor))
        if not (np.isfinite(norm) and norm > 0):
            raise ModelError(f"The model {self.identity.name} returned an embedding that is not finite or is zero.")
        return detection.with_embedding(self.recogniser.embedding(descriptor / norm))


def _without_pitch(detection: Detection) -> Detection:
    return replace(detection, quality=replace(detection.quality, pitch=math.nan))
