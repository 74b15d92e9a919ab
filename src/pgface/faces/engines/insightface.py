"""The InsightFace engine: SCRFD detects faces, and ArcFace (Deng et al. 2019) embeds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgface.errors import ModelError
from pgface.faces.cancellation import check_work
from pgface.faces.engines.base import Choose, Detection, Face, ModelIdentity, every_face
from pgface.faces.engines.loaded import LoadedModels
from pgface.faces.engines.onnx_runtime import execution_providers, provider_in_use, throughput_options
from pgface.faces.engines.scrfd import Detector
from pgface.faces.models.pack import Pack, find_pack
from pgface.faces.orientation import find_with_retries
from pgface.faces.pixels import RGBImage
from pgface.faces.quality import describe
from pgface.system.timing import stage
from pgface.vectors import EMBEDDING_DIMENSION

MAX_WARP_SIDE = 32_000
"""OpenCV's warps refuse a picture with a side of more than 2^15 - 1 pixels."""


class InsightFaceEngine:
    """The detection and the recognition model of a pack, at one detector size. You can use it from many threads."""

    releases_gil = True
    measures_pitch = True

    def __init__(self, detector: Detector, recogniser: Any, identity: ModelIdentity, execution_provider: str) -> None:
        self.identity = identity
        self.execution_provider = execution_provider
        self._detector = detector
        self._recogniser = recogniser

    def detect_and_embed(self, image: RGBImage, choose: Choose = every_face) -> list[Face]:
        """Detect and embed faces, as `Engine.detect_and_embed` does."""
        with stage("detect"):
            detections = describe(image, find_with_retries(image, self._detector.find))
        chosen = choose(detections)
        with stage("embed"):
            return [self._embed(image, detection) for detection in chosen]

    def _embed(self, image: RGBImage, detection: Detection) -> Face:
        check_work()
        aligned = _arcface_crop(image, detection.landmarks, self._recogniser.input_size[0])
        feature = self._recogniser.get_feat(np.ascontiguousarray(aligned[:, :, ::-1])).ravel()
        norm = float(np.linalg.norm(feature))
        if not (np.isfinite(norm) and norm > 0):
            raise ModelError(f"The model {self.identity.name} returned an embedding that is not finite or is zero.")
        return detection.with_embedding((feature / norm).astype(np.float32))


def _arcface_crop(image: RGBImage, landmarks: NDArray[np.float32], size: int) -> RGBImage:
    """Warp a face so that its landmarks lie where ArcFace's training put them, shape (size, size, 3)."""
    import cv2
    from insightface.utils.face_align import arcface_dst

    if max(image.shape[:2]) > MAX_WARP_SIDE:
        image, landmarks = _around(image, landmarks)
    # Models of 112 pixels and its multiples use the template unchanged. Those of 128 centre it.
    template = arcface_dst * (size / 112) if size % 112 == 0 else (arcface_dst + np.array([8, 0])) * (size / 128)
    matrix = _similarity(landmarks, template)
    return np.asarray(cv2.warpAffine(image, matrix, (size, size), borderValue=0.0), dtype=np.uint8)


def _similarity(source: NDArray[np.float32], target: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the 2x3 matrix of rotation, scale and shift from `source` to `target` with the least squared error.

    With points as complex numbers, the transform is z -> az + b, and this is linear regression. It equals the method of
    Umeyama (1991) in the plane.
    """
    z, w = (points.astype(np.float64) @ (1, 1j) for points in (source, target))
    centred = z - z.mean()
    a = np.vdot(centred, w - w.mean()) / np.vdot(centred, centred).real
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def _around(image: RGBImage, landmarks: NDArray[np.float32]) -> tuple[RGBImage, NDArray[np.float32]]:
    """Return the part of a very long picture around a face, and the landmarks in it."""
    reach = int(4 * np.ptp(landmarks, axis=0).max()) + 1
    low = np.maximum(landmarks.min(axis=0).astype(int) - reach, 0)
    high = landmarks.max(axis=0).astype(int) + reach
    part = np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]])
    return part, (landmarks - low).astype(np.float32)


_engines = LoadedModels[InsightFaceEngine]()
"""The engines by the pack's name, the SHA-256 of its weights, its manifest, the detector's size and the provider."""
_engines_of_folders = LoadedModels[InsightFaceEngine]()
"""The same engines by the folder, the detector's size and the provider, so that the files are hashed only once."""


def load_insightface_engine(folder: Path, *, detector_size: int, execution_provider: str) -> InsightFaceEngine:
    """Load the detection and the recognition model of a pack. The engine has the name of the folder.

    A process loads a pack once for each detector size and execution provider, even from copies of the folder.

    Args:
        folder: the folder of the pack's ONNX files.
        detector_size: side of the detector's square input, in pixels, a multiple of 32. A detector that was made for
            one size keeps it, and the identity has that size.
        execution_provider: the argument of `pgface.faces.engines.onnx_runtime.execution_providers`.

    Raises:
        ModelNotInstalledError: insightface or ONNX Runtime is missing, or there is no such folder.
        WeightsMismatchError: a file is damaged.
        ModelError: the pack cannot be used, or the execution provider is missing.

    """
    folder = folder.expanduser().resolve()
    providers = execution_providers(execution_provider)

    def load() -> InsightFaceEngine:
        pack = find_pack(folder)
        digest = pack.weights_sha256()
        manifest = (folder / "manifest.json").read_bytes() if pack.described else b""
        key = (folder.name, digest, manifest, detector_size, providers[0])
        return _engines.get(key, lambda: _load(pack, digest, detector_size, providers))

    return _engines_of_folders.get((folder, detector_size, providers[0]), load)


def _load(pack: Pack, digest: str, detector_size: int, providers: list[str]) -> InsightFaceEngine:
    model = pack.load("detection", providers=providers, sess_options=throughput_options())
    recogniser = pack.load("recognition", providers=providers, sess_options=throughput_options())
    if not model.use_kps:
        raise ModelError(f"{pack.detection.name} finds boxes without landmarks. Use a detector that has them (kps).")
    side = recogniser.input_size[0]
    dimension = recogniser.get_feat(np.zeros((side, side, 3), np.uint8)).shape[-1]
    if dimension != EMBEDDING_DIMENSION:
        raise ModelError(
            f"{pack.recognition.name} returns {dimension} numbers for a face. pgface stores 512-D embeddings."
        )
    provider = provider_in_use((model.session, recogniser.session), providers[0])
    detector = Detector(model, detector_size)
    identity = ModelIdentity(pack.folder.name, dimension, detector.size, digest)
    return InsightFaceEngine(detector, recogniser, identity, provider)
