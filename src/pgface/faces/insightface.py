"""InsightFace's packs: SCRFD finds the faces (Guo et al. 2022), ArcFace describes them (Deng et al. 2019)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgface.errors import ModelError
from pgface.faces.engine import (
    EMBEDDING_DIMENSION,
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
from pgface.faces.onnx import execution_providers, provider_in_use, throughput_options
from pgface.faces.orientation import find_with_retries
from pgface.faces.pack import find_pack
from pgface.faces.quality import describe

LARGEST_FACE = 400
"""Longer side of a face, in pixels of the detector's input, that SCRFD surely finds. Measured with det_500m: it found
87 % of the faces at 455 pixels, 6 % at 500 and none at 530."""
CLOSE_UP_FACE = 250
"""The size at which a face above that is searched again."""
NO_ROOM_BESIDE = 300
"""Size of a face that leaves no room in the picture for a larger one; an eye taken for a face was 234 at most."""
GLANCE_SIZE = 128
"""Input of the quick look that tells whether there is such a face; it costs a twentieth of a search at 640."""
WARP_LIMIT = 32_000
"""OpenCV's warps refuse a picture whose side exceeds 2^15 - 1."""


class InsightFaceEngine:
    """A detection and a recognition model of one pack, at one detector size. Safe to call from many threads."""

    releases_gil = True

    def __init__(self, detector: Any, recogniser: Any, identity: ModelIdentity, execution_provider: str) -> None:
        self._detector = detector
        self._recogniser = recogniser
        self._identity = identity
        self._execution_provider = execution_provider

    @property
    def identity(self) -> ModelIdentity:
        """The model, as the gallery records it."""
        return self._identity

    @property
    def execution_provider(self) -> str:
        """Where ONNX Runtime runs, by its own name."""
        return self._execution_provider

    def detect_and_embed(self, image: RGBImage, choose: Choose = every_face) -> list[Face]:
        """Find the faces of an upright picture and embed those chosen, the largest box first.

        Args:
            image: shape (height, width, 3), uint8, RGB.
            choose: sees every face found and returns those to embed; may raise to refuse the photo.

        Raises:
            ModelError: the model gave something that is not an embedding.

        """
        chosen = choose(describe(image, find_with_retries(image, self._find)))
        return [self._embed(image, detection) for detection in chosen]

    def warm_up(self) -> None:
        """Build the detector's sessions now, one for each input size, and not while the first photo waits."""
        blank = np.zeros((1, 1, 3), np.uint8)
        for size in (self._identity.detector_size, GLANCE_SIZE):
            self._search(blank, size)

    def _find(self, image: RGBImage) -> list[RawDetection]:
        """Detect at the pinned size, and again with the picture made small if a face was too large for that."""
        size = self._identity.detector_size
        found = self._search(image, size)
        scale = size / max(image.shape[:2])
        if size <= LARGEST_FACE or self._detector.static_input_size or _largest(found) * scale > NO_ROOM_BESIDE:
            return found
        largest = _largest(self._search(image, GLANCE_SIZE)) * scale
        if largest <= LARGEST_FACE:
            return found
        again = self._search(image, size, shrink=CLOSE_UP_FACE / largest)
        close_ups = [face for face in again if _longer_side(face.box) * scale > NO_ROOM_BESIDE]
        # What was found within such a face is an eye or a mouth taken for a face.
        return close_ups + [face for face in found if not any(_holds(other.box, face.box) for other in close_ups)]

    def _search(self, image: RGBImage, size: int, shrink: float = 1.0) -> list[RawDetection]:
        """Run the detector on the picture, fitted into a square of `size` pixels, or into `shrink` of its side."""
        import cv2

        height, width = image.shape[:2]
        scale = size * shrink / max(height, width)
        # A picture of 1x4000 pixels must not vanish.
        small = cv2.resize(image, (max(1, int(width * scale)), max(1, int(height * scale))))
        rows, columns = small.shape[:2]
        # The detector was trained with the picture in the upper left corner; a close-up needs surroundings.
        top, left = (0, 0) if shrink >= 1 else ((size - rows) // 2, (size - columns) // 2)
        canvas = np.zeros((size, size, 3), np.uint8)
        canvas[top : top + rows, left : left + columns] = small[:, :, ::-1]
        boxes, landmarks = self._detector.detect(canvas, input_size=(size, size))
        offset = np.array([left, top], np.float32)
        back = np.array([width / columns, height / rows], np.float32)
        corners = (boxes[:, :4].reshape(-1, 2, 2) - offset) * back
        points = (landmarks - offset) * back
        return [_raw(*face) for face in zip(corners, points, boxes[:, 4], strict=True)]

    def _embed(self, image: RGBImage, detection: Detection) -> Face:
        aligned = _arcface_crop(image, detection.landmarks, self._recogniser.input_size[0])
        feature = self._recogniser.get_feat(np.ascontiguousarray(aligned[:, :, ::-1])).ravel()
        norm = float(np.linalg.norm(feature))
        if not (np.isfinite(norm) and norm > 0):
            raise ModelError(f"The model {self._identity.name} gave an embedding that is not finite or is zero.")
        known = {field.name: getattr(detection, field.name) for field in fields(detection)}
        return Face(**known, embedding=(feature / norm).astype(np.float32))


def _raw(corners: NDArray[np.float32], landmarks: NDArray[np.float32], score: np.float32) -> RawDetection:
    (x, y), (right, bottom) = corners.tolist()
    return RawDetection(Box(x, y, right - x, bottom - y), landmarks.astype(np.float32), float(score))


def _longer_side(box: Box) -> float:
    return max(box.width, box.height)


def _largest(faces: Sequence[RawDetection]) -> float:
    return max((_longer_side(face.box) for face in faces), default=0.0)


def _holds(outer: Box, inner: Box) -> bool:
    """Whether the middle of one box lies in the other."""
    x, y = inner.x + inner.width / 2, inner.y + inner.height / 2
    return outer.x <= x <= outer.x + outer.width and outer.y <= y <= outer.y + outer.height


def _arcface_crop(image: RGBImage, landmarks: NDArray[np.float32], size: int) -> RGBImage:
    """Warp a face so that its landmarks lie where ArcFace's training put them, shape (size, size, 3)."""
    import cv2
    from insightface.utils.face_align import arcface_dst

    if max(image.shape[:2]) > WARP_LIMIT:
        image, landmarks = _around(image, landmarks)
    # Models of 112 pixels and its multiples use the template as it is, those of 128 centre it.
    template = arcface_dst * (size / 112) if size % 112 == 0 else (arcface_dst + np.array([8, 0])) * (size / 128)
    matrix = _similarity(landmarks, template)
    return np.asarray(cv2.warpAffine(image, matrix, (size, size), borderValue=0.0), dtype=np.uint8)


def _similarity(source: NDArray[np.float32], target: NDArray[np.float32]) -> NDArray[np.float64]:
    """The 2x3 matrix of turn, scale and shift that brings `source` to `target` with the least squared error.

    With points as complex numbers the transform is z -> az + b, and this is linear regression; it equals the method of
    Umeyama (1991) in the plane.
    """
    z, w = (points.astype(np.float64) @ (1, 1j) for points in (source, target))
    centred = z - z.mean()
    a = np.vdot(centred, w - w.mean()) / np.vdot(centred, centred).real
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def _around(image: RGBImage, landmarks: NDArray[np.float32]) -> tuple[RGBImage, NDArray[np.float32]]:
    """The part of a very long picture that holds a face, and the landmarks in it."""
    reach = int(4 * np.ptp(landmarks, axis=0).max()) + 1
    low = np.maximum(landmarks.min(axis=0).astype(int) - reach, 0)
    high = landmarks.max(axis=0).astype(int) + reach
    part = np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]])
    return part, (landmarks - low).astype(np.float32)


_engines: dict[tuple[Path, int, str], InsightFaceEngine] = {}
_loading = threading.Lock()


def load_insightface_engine(folder: Path, *, detector_size: int, execution_provider: str) -> InsightFaceEngine:
    """Load a pack, once in a process for each folder, detector size and execution provider.

    Only its detection and its recognition model are loaded. The engine's name is the folder's. Nothing is downloaded.

    Args:
        folder: holds the pack's ONNX files.
        detector_size: side of the detector's square input, in pixels; a multiple of 32. A detector that was made for
            one size keeps that, and the identity says so.
        execution_provider: as `pgface.faces.onnx.execution_providers` takes it.

    Raises:
        ModelNotInstalledError: insightface or ONNX Runtime is missing, or there is no such folder.
        WeightsMismatchError: a file is damaged.
        ModelError: the pack cannot be used, or the execution provider is not there.

    """
    folder = folder.expanduser().resolve()
    providers = execution_providers(execution_provider)
    key = (folder, detector_size, providers[0])
    with _loading:
        if key not in _engines:
            _engines[key] = _load(folder, detector_size, providers)
        return _engines[key]


def _load(folder: Path, detector_size: int, providers: list[str]) -> InsightFaceEngine:
    pack = find_pack(folder)
    detector = pack.load("detection", providers=providers, sess_options=throughput_options())
    recogniser = pack.load("recognition", providers=providers, sess_options=throughput_options())
    if not detector.use_kps:
        raise ModelError(f"{pack.detection.name} finds boxes without landmarks; give a detector that has them (kps).")
    if detector.static_input_size is not None:
        detector_size = max(detector.static_input_size)
    side = recogniser.input_size[0]
    dimension = recogniser.get_feat(np.zeros((side, side, 3), np.uint8)).shape[-1]
    if dimension != EMBEDDING_DIMENSION:
        raise ModelError(f"{pack.recognition.name} gives {dimension} numbers a face; pgface stores 512-D embeddings.")
    digest = weights_sha256(map(file_sha256, (pack.detection, pack.recognition)))
    provider = provider_in_use((detector.session, recogniser.session), providers[0])
    engine = InsightFaceEngine(
        detector, recogniser, ModelIdentity(folder.name, dimension, detector_size, digest), provider
    )
    engine.warm_up()
    return engine
