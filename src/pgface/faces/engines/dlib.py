"""The dlib engine. Its weights come in a Python package, and you may use them commercially.

It uses dlib's HOG detector (Dalal & Triggs 2005; King 2015), its five landmarks and its ResNet, which computes 128-D
descriptors (King 2017). `pgface.faces.engines.lift` lifts them to 512-D.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pgface.errors import ModelNotInstalledError, WeightsMismatchError
from pgface.faces.cancellation import check_work
from pgface.faces.engines.base import Box, Choose, Detection, Face, ModelIdentity, RawDetection, every_face
from pgface.faces.engines.lift import DLIB_GAMMA, lift
from pgface.faces.engines.loaded import LoadedModels
from pgface.faces.models.folders import model_folder
from pgface.faces.models.registry import DLIB, DLIB_PROVIDER, file_sha256, weights_sha256
from pgface.faces.orientation import find_with_retries
from pgface.faces.pixels import Picture, RGBImage
from pgface.faces.quality import describe
from pgface.system.extras import how_to_install
from pgface.system.timing import stage
from pgface.vectors import EMBEDDING_DIMENSION

SEARCH_SIZE = 1024
"""Maximum longer side of the picture for the detector, in pixels. A search then takes about 0.15 s. It finds faces from
70 pixels on, which is 7 % of this side."""
MAX_ENLARGEMENT = 2.0
"""Maximum factor by which a small picture is enlarged for the detector."""
MIN_REDUCED_WIDTH = 150
"""Minimum width of a face that is embedded from a reduced photo, in its pixels. The descriptor sees 150 pixels."""
WEAK_SCORE = 0.2
"""Faces with a lower score count only if there is no better one. dlib's own threshold is 0. Beside true faces, false
detections had scores of up to 0.15, but tight close-ups have such scores too."""
SURE_SCORE = 0.4
"""In pictures that are upside down, no false detection has a higher score (0.38 at most in 200)."""

_LEFT_EYE, _RIGHT_EYE, _NOSE = [2, 3], [0, 1], 4
"""Indices in dlib's five points: the corners of the left and the right eye in the picture, and the base of the nose."""


class DlibEngine:
    """dlib's detector, landmarks and descriptors. You can use it from many threads.

    dlib holds the GIL while it works, so threads take turns. Bulk work needs processes. The landmarks have no mouth
    corners.
    """

    execution_provider = DLIB_PROVIDER
    measures_pitch = False
    releases_gil = False

    def __init__(self) -> None:
        """Load the weights.

        Raises:
            ModelNotInstalledError: the packages `dlib-bin` and `face-recognition-models` are not installed.
            WeightsMismatchError: a file of weights is damaged.

        """
        folder = model_folder(DLIB.name, Path())
        try:
            import dlib
        except ImportError as error:
            raise ModelNotInstalledError(f"dlib cannot be imported. Run {how_to_install('dlib')}.") from error
        self._dlib = dlib
        files = landmarks, descriptor, _ = [file.path(folder) for file in DLIB.files]
        try:
            self._detector = dlib.get_frontal_face_detector()
            self._landmarks = dlib.shape_predictor(str(landmarks))
            self._describe = dlib.face_recognition_model_v1(str(descriptor))
        except RuntimeError as error:
            raise WeightsMismatchError(
                "A file of the package face-recognition-models is missing or damaged. Run "
                "`pip install --force-reinstall --no-deps face-recognition-models`."
            ) from error
        self.identity = ModelIdentity(DLIB.name, EMBEDDING_DIMENSION, 0, weights_sha256(map(file_sha256, files)))
        # dlib's objects keep state while they work, and a later version may release the GIL.
        self._lock = Lock()

    def detect_and_embed(
        self,
        image: RGBImage | Picture,
        choose: Choose = every_face,
        *,
        overlook: float = 0.0,  # noqa: ARG002
    ) -> list[Face]:
        """Detect and embed faces, as `Engine.detect_and_embed` does.

        The search does not depend on `overlook`, because the detector finds only faces that are large in it anyway.
        """
        picture = Picture.of(image)
        with stage("detect"):
            pixels = np.ascontiguousarray(picture.pixels)
            found = self._find_faces(pixels)
            if not picture.is_whole and any(raw.box.width < MIN_REDUCED_WIDTH for raw in found):
                pixels = np.ascontiguousarray(picture.whole())
                found = self._find_faces(pixels)
            engine_landmarks = [raw._replace(landmarks=_engine_landmarks(raw.landmarks)) for raw in found]
            detections = describe(pixels, engine_landmarks, picture.size)
            points = dict(zip(map(id, detections), (raw.landmarks for raw in found), strict=True))
        chosen = choose(detections)
        with stage("embed"):
            return [self._embed(pixels, detection, points[id(detection)]) for detection in chosen]

    def _find_faces(self, image: RGBImage) -> list[RawDetection]:
        """Find the faces of a picture, the largest box first."""
        found = find_with_retries(image, self._find, sure_score=SURE_SCORE)
        min_score = min(WEAK_SCORE, max((raw.score for raw in found), default=0.0))
        sure = [raw for raw in found if raw.score >= min_score]
        return sorted(sure, key=lambda raw: raw.box.width * raw.box.height, reverse=True)

    def _find(self, image: RGBImage) -> list[RawDetection]:
        """Detect faces. The landmarks are dlib's own five points."""
        check_work()
        height, width = image.shape[:2]
        scale = min(MAX_ENLARGEMENT, SEARCH_SIZE / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        searched = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0))
        with self._lock:
            rectangles, scores, _ = self._detector.run(searched, 0, 0.0)
        return [
            self._raw(image, [side / scale for side in (r.left(), r.top(), r.right() + 1, r.bottom() + 1)], score)
            for r, score in zip(rectangles, scores, strict=True)
        ]

    def _raw(self, image: RGBImage, sides: list[float], score: float) -> RawDetection:
        left, top, right, bottom = sides
        rectangle = self._dlib.rectangle(round(left), round(top), round(right) - 1, round(bottom) - 1)
        with self._lock:
            shape = self._landmarks(image, rectangle)
        points = np.array([(point.x, point.y) for point in shape.parts()], dtype=np.float32)
        return RawDetection(Box(left, top, right - left, bottom - top), points, float(score))

    def _embed(self, image: RGBImage, detection: Detection, points: NDArray[np.float32]) -> Face:
        """Embed a face with dlib's own alignment, which turns it upright by its landmarks."""
        check_work()
        parts = [self._dlib.point(x, y) for x, y in np.rint(points).astype(int).tolist()]
        # dlib ignores the rectangle if there are five points.
        shape = self._dlib.full_object_detection(self._dlib.rectangle(), parts)
        with self._lock:
            descriptor = self._describe.compute_face_descriptor(image, shape)
        return detection.with_embedding(lift(np.asarray(descriptor), DLIB_GAMMA))


_loaded = LoadedModels[DlibEngine]()


def load_dlib_engine() -> DlibEngine:
    """Return the engine of this process. The weights are loaded once.

    Raises:
        ModelNotInstalledError: the packages `dlib-bin` and `face-recognition-models` are not installed.
        WeightsMismatchError: a file of weights is damaged.

    """
    return _loaded.get(DLIB.name, DlibEngine)


def _engine_landmarks(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convert dlib's landmarks to the order of `pgface.faces.engines.base`."""
    mouth = np.full(2, np.nan, dtype=np.float32)
    eyes = points[_LEFT_EYE].mean(axis=0), points[_RIGHT_EYE].mean(axis=0)
    return np.stack([*eyes, points[_NOSE], mouth, mouth])
