"""dlib as an engine: its weights come in a Python package and may be used commercially.

Faces are found by dlib's HOG detector (Dalal & Triggs 2005; King 2015) and described by its 5-point landmarks and its
ResNet of 128-D descriptors (King 2017), which `pgface.faces.dlib_lift` lifts to 512-D.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pgface.errors import ModelNotInstalledError
from pgface.faces.dlib_lift import LIFT_FILE, lift
from pgface.faces.engine import (
    Box,
    Choose,
    Detection,
    Face,
    ModelIdentity,
    RawDetection,
    RGBImage,
    every_face,
)
from pgface.faces.models import file_sha256, weights_sha256
from pgface.faces.orientation import find_with_retries
from pgface.faces.quality import describe

LANDMARK_FILE = "shape_predictor_5_face_landmarks.dat"
DESCRIPTOR_FILE = "dlib_face_recognition_resnet_model_v1.dat"

SEARCH_SIZE = 1024
"""Longer side, in pixels, of the picture that the detector sees at most; it finds faces from 80 pixels on."""
ENLARGEMENT = 2.0
"""How much a small picture is enlarged for the detector at most."""
LEAST_SCORE = 0.2
"""Of what the detector takes for a face. The weakest true one in 100 photos of LFW had 0.30; a patch of the space suit
in scikit-image's astronaut has 0.13."""

_EYES = ((0, 1), (2, 3))
_NOSE = 4


class DlibEngine:
    """dlib's detector, landmarks and descriptors.

    dlib holds Python's lock while it works, so threads take turns: bulk work needs processes.
    """

    def __init__(self) -> None:
        dlib, folder = _import_dlib(), _weights_folder()
        self._dlib = dlib
        self._detector = dlib.get_frontal_face_detector()
        self._landmarks = dlib.shape_predictor(str(folder / LANDMARK_FILE))
        self._describe = dlib.face_recognition_model_v1(str(folder / DESCRIPTOR_FILE))
        with resources.as_file(LIFT_FILE) as lift_file:
            digests = [file_sha256(file) for file in (folder / LANDMARK_FILE, folder / DESCRIPTOR_FILE, lift_file)]
        self._identity = ModelIdentity("dlib", 512, 0, weights_sha256(digests))
        # dlib's objects keep state while they work; Python's lock is no promise that it will always be held.
        self._lock = Lock()

    @property
    def identity(self) -> ModelIdentity:
        """The model, as the gallery records it; the lift counts as weights."""
        return self._identity

    @property
    def execution_provider(self) -> str:
        """Where inference runs."""
        return "dlib (CPU)"

    @property
    def releases_gil(self) -> bool:
        """Threads do not run in parallel."""
        return False

    def detect_and_embed(self, image: RGBImage, choose: Choose = every_face) -> list[Face]:
        """Find and embed faces; as `pgface.faces.engine.Engine` says."""
        with self._lock:
            found = find_with_retries(image, self._find)
        chosen = choose(describe(image, found))
        with self._lock:
            embeddings = [self._embed(image, detection) for detection in chosen]
        return [
            Face(d.box, d.landmarks, d.detection_score, d.quality, d.crop, embedding)
            for d, embedding in zip(chosen, embeddings, strict=True)
        ]

    def _find(self, image: RGBImage) -> Sequence[RawDetection]:
        height, width = image.shape[:2]
        scale = min(ENLARGEMENT, SEARCH_SIZE / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        searched = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
        rectangles, scores, _ = self._detector.run(searched, 0, 0.0)
        faces = []
        for rectangle, score in zip(rectangles, scores, strict=True):
            if score < LEAST_SCORE:
                continue
            left, top = rectangle.left() / scale, rectangle.top() / scale
            box = Box(left, top, rectangle.width() / scale, rectangle.height() / scale)
            faces.append(RawDetection(box, _five_points(self._shape(image, box)), float(score)))
        return faces

    def _embed(self, image: RGBImage, detection: Detection) -> NDArray[np.float32]:
        turned, box = _upright(image, detection)
        descriptor = self._describe.compute_face_descriptor(turned, self._shape(turned, box))
        return lift(np.asarray(descriptor))

    def _shape(self, image: RGBImage, box: Box) -> Any:
        left, top, right, bottom = box.x, box.y, box.x + box.width - 1, box.y + box.height - 1
        rectangle = self._dlib.rectangle(round(left), round(top), round(right), round(bottom))
        return self._landmarks(image, rectangle)


@cache
def _load_once() -> DlibEngine:
    return DlibEngine()


_loading = Lock()


def load_dlib_engine() -> DlibEngine:
    """The engine of this process; the weights are read once.

    Raises:
        ModelNotInstalledError: the packages `dlib-bin` and `face-recognition-models` are not installed.

    """
    with _loading:
        return _load_once()


def _five_points(shape: Any) -> NDArray[np.float32]:
    """Eye centres and nose in the order of `pgface.faces.engine`; dlib gives the corners of the eyes, and no mouth."""
    points = np.array([(shape.part(i).x, shape.part(i).y) for i in range(shape.num_parts)], dtype=np.float32)
    eyes = sorted((points[list(corners)].mean(axis=0) for corners in _EYES), key=lambda eye: float(eye[0]))
    mouth = np.full(2, np.nan, dtype=np.float32)
    return np.stack([*eyes, points[_NOSE], mouth, mouth])


def _upright(image: RGBImage, detection: Detection) -> tuple[RGBImage, Box]:
    """Turn the picture by the quarters that bring the face upright: dlib's landmarks know no other."""
    across, down = detection.landmarks[1] - detection.landmarks[0]
    quarters = round(float(np.degrees(np.arctan2(down, across))) / 90) % 4
    box, (height, width) = detection.box, image.shape[:2]
    for _ in range(quarters):
        # Counter-clockwise, as `numpy.rot90` turns: x becomes y, and the former right edge the top.
        box = Box(box.y, width - box.x - box.width, box.height, box.width)
        height, width = width, height
    return np.ascontiguousarray(np.rot90(image, quarters)), box


def _import_dlib() -> ModuleType:
    try:
        import dlib
    except ImportError as error:
        raise _not_installed() from error
    module: ModuleType = dlib
    return module


def _weights_folder() -> Path:
    # Found without importing it: the package imports setuptools' pkg_resources, which may not be there.
    package = importlib.util.find_spec("face_recognition_models")
    if package is None or package.origin is None:
        raise _not_installed()
    return Path(package.origin).parent / "models"


def _not_installed() -> ModelNotInstalledError:
    return ModelNotInstalledError("The dlib engine is not installed; install it with `pip install 'pgface[dlib]'`.")
