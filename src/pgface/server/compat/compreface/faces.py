"""Faces of an image: found, filtered and described as CompreFace does it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from numpy.typing import NDArray

from pgface.errors import NoFaceError
from pgface.faces.decoding.decode import read_header
from pgface.faces.engines.base import Detection
from pgface.faces.photo import Upload
from pgface.gallery import Gallery
from pgface.server.compat.compreface.similarity import rounded
from pgface.server.compat.compreface.wire import Query, invalid

_ORIENTATION: Final = 0x0112
"""The tag of Exif. From 5 on, width and height are exchanged."""
_CLASSES: Final = {"landmarks": "LandmarksDetector", "pose": "PoseEstimator"}
_SLUGS: Final = ("calculator", *_CLASSES)
"""The plugins that pgface has. CompreFace ignores the names of others, and so does pgface."""


@dataclass(frozen=True, slots=True)
class Options:
    """The parameters that all operations with images share."""

    limit: int
    """Maximum number of faces, the largest first. 0 for all."""
    min_score: float | None
    """Faces with this score or a lower one are ignored. None keeps every face that the detector is sure of."""
    plugins: frozenset[str]
    status: bool
    """Whether the answer contains times and versions."""
    detect_faces: bool
    """If not, the image is a crop of one face."""

    @classmethod
    def read(cls, query: Query) -> Options:
        """Read the options from a query.

        Raises:
            CompreFaceError: a parameter cannot be used.

        """
        limit = query.integer("limit", 0)
        if limit < 0:
            raise invalid("Limit should be equal or greater than 0; ")
        return cls(
            limit,
            query.fraction("det_prob_threshold"),
            query.slugs("face_plugins") & set(_SLUGS),
            query.boolean("status", False),
            query.boolean("detect_faces", True),
        )


@dataclass(slots=True)
class FoundFaces:
    """The faces of one image, the largest first. It is a `Choose` of an engine."""

    options: Options
    max_faces: int
    embedded: bool
    started: float = field(default_factory=time.perf_counter)
    detections: list[Detection] = field(default_factory=list)
    embeddings: list[NDArray[Any]] = field(default_factory=list)
    detector_ms: float = 0.0
    calculator_ms: float = 0.0
    whole_image: tuple[int, int] | None = None
    """Width and height of an image that is the box of its face."""

    def __call__(self, detections: Sequence[Detection]) -> Sequence[Detection]:
        """Choose the faces.

        Raises:
            NoFaceError: there is no face with the score.

        """
        options = self.options
        self.detector_ms = 1e3 * (time.perf_counter() - self.started)
        sure = [one for one in detections if options.min_score is None or one.detection_score > options.min_score]
        if not sure:
            raise NoFaceError
        most = min(options.limit or self.max_faces, self.max_faces) if options.detect_faces else 1
        self.detections = sure[:most]
        return self.detections if self.embedded else []

    def described(self, *, exact_probability: bool = False) -> list[dict[str, Any]]:
        """Return the JSON of each face: its box, and what the plugins know of it.

        Args:
            exact_probability: do not round the score of the box.

        """
        return [self._described(number, exact_probability) for number in range(len(self.detections))]

    def versions(self, model: str) -> dict[str, str] | None:
        """Return the names of the detector and the plugins, if the caller asked for the status."""
        if not self.options.status:
            return None
        named = {"detector": "FaceDetector"} | ({"calculator": "Calculator"} if self.embedded else {})
        named |= {slug: name for slug, name in _CLASSES.items() if slug in self.options.plugins}
        return {slug: f"{model}.{name}" for slug, name in named.items()}

    def _described(self, number: int, exact_probability: bool) -> dict[str, Any]:
        face, plugins = self.detections[number], self.options.plugins
        return {
            "pose": _pose(face) if "pose" in plugins else None,
            "embedding": numbers_of(self.embeddings[number]) if "calculator" in plugins else None,
            "box": self._box(face, exact_probability),
            "landmarks": [[round(float(x)), round(float(y))] for x, y in face.landmarks]
            if "landmarks" in plugins
            else None,
            "execution_time": self._times() if self.options.status else None,
        }

    def _box(self, face: Detection, exact_probability: bool) -> dict[str, Any]:
        if self.whole_image is not None:
            right, bottom = self.whole_image
            return {"probability": 1.0, "x_max": right, "y_max": bottom, "x_min": 0, "y_min": 0}
        x, y, width, height = face.box
        score = float(face.detection_score)
        return {
            "probability": score if exact_probability else rounded(score),
            "x_max": round(x + width),
            "y_max": round(y + height),
            # Clients crop the image with these. A negative index would count from the other side.
            "x_min": max(0, round(x)),
            "y_min": max(0, round(y)),
        }

    def _times(self) -> dict[str, float]:
        times = {"detector": self.detector_ms}
        if self.embedded:
            times["calculator"] = self.calculator_ms / len(self.detections)
        return {name: round(value, 1) for name, value in times.items()}


def find_faces(gallery: Gallery, image: Upload, options: Options, *, embedded: bool) -> FoundFaces:
    """Find the faces of an image, and embed them.

    Args:
        gallery: the gallery whose model is used.
        image: the image.
        options: the options of the request.
        embedded: whether the embeddings are needed. They also are if the caller asked for them.

    Raises:
        PhotoError: the image cannot be used, or has no face.

    """
    found = FoundFaces(options, gallery.settings.max_faces, embedded or "calculator" in options.plugins)
    faces = gallery.faces(image, found)
    found.calculator_ms = 1e3 * (time.perf_counter() - found.started) - found.detector_ms
    if faces:
        found.detections = list(faces)
        found.embeddings = [face.embedding for face in faces]
    if not options.detect_faces:
        found.whole_image = _upright_size(image)
    return found


def numbers_of(embedding: NDArray[Any]) -> list[float]:
    """Return an embedding for JSON. The decimals are those of a float32."""
    return [round(float(number), 9) for number in embedding]


def _pose(face: Detection) -> dict[str, float | None]:
    quality = face.quality
    angles = {"pitch": quality.pitch, "roll": quality.roll, "yaw": quality.yaw}
    return {name: None if math.isnan(angle) else round(float(angle), 5) for name, angle in angles.items()}


def _upright_size(image: Upload) -> tuple[int, int]:
    picture = read_header(image.name, image.data).image
    width, height = picture.size
    turned = picture.getexif().get(_ORIENTATION, 1) >= 5
    return (height, width) if turned else (width, height)
