"""The InsightFace engine: SCRFD detects faces, and ArcFace (Deng et al. 2019) embeds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pgface.errors import ModelError
from pgface.faces.cancellation import check_work
from pgface.faces.engines.arcface import ArcFaceNetwork, aligned_face
from pgface.faces.engines.base import Choose, Detection, Face, ModelIdentity, every_face
from pgface.faces.engines.loaded import LoadedModels
from pgface.faces.engines.onnx_runtime import execution_providers, runtime_name
from pgface.faces.engines.runtimes import runtimes
from pgface.faces.engines.scrfd import Detector
from pgface.faces.engines.scrfd_network import SCRFD_INPUT, ScrfdNetwork
from pgface.faces.models.pack import Pack, find_pack
from pgface.faces.orientation import find_with_retries
from pgface.faces.pixels import RGBImage
from pgface.faces.quality import describe
from pgface.system.timing import stage
from pgface.vectors import EMBEDDING_DIMENSION


class InsightFaceEngine:
    """The detection and the recognition model of a pack, at one detector size. You can use it from many threads."""

    releases_gil = True
    measures_pitch = True

    def __init__(
        self, detector: Detector, recogniser: ArcFaceNetwork, identity: ModelIdentity, execution_provider: str
    ) -> None:
        self.identity = identity
        self.execution_provider = execution_provider
        self._detector = detector
        self._recogniser = recogniser

    @property
    def runtimes(self) -> dict[str, str]:
        """What runs each network, and where."""
        return runtimes(runtime_name([self.execution_provider]), self._recogniser.session.runtime)

    def detect_and_embed(self, image: RGBImage, choose: Choose = every_face) -> list[Face]:
        """Detect and embed faces, as `Engine.detect_and_embed` does."""
        with stage("detect"):
            detections = describe(image, find_with_retries(image, self._detector.find))
        chosen = choose(detections)
        with stage("embed"):
            return [self._embed(image, detection) for detection in chosen]

    def _embed(self, image: RGBImage, detection: Detection) -> Face:
        check_work()
        feature = self._recogniser.describe(aligned_face(image, detection.landmarks, self._recogniser.side))
        norm = float(np.linalg.norm(feature))
        if not (np.isfinite(norm) and norm > 0):
            raise ModelError(f"The model {self.identity.name} returned an embedding that is not finite or is zero.")
        return detection.with_embedding((feature / norm).astype(np.float32))


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
        ModelNotInstalledError: ONNX Runtime is missing, or there is no such folder.
        WeightsMismatchError: a file is damaged.
        ModelError: the pack cannot be used, or the execution provider is missing.

    """
    folder = folder.expanduser().resolve()
    providers = execution_providers(execution_provider)

    def load() -> InsightFaceEngine:
        pack = find_pack(folder)
        digest = pack.weights_sha256()
        key = (folder.name, digest, pack.manifest, detector_size, providers[0])
        return _engines.get(key, lambda: _load(pack, digest, detector_size, providers))

    return _engines_of_folders.get((folder, detector_size, providers[0]), load)


def _load(pack: Pack, digest: str, detector_size: int, providers: list[str]) -> InsightFaceEngine:
    network = ScrfdNetwork(pack.detection, providers, pack.detection_input or SCRFD_INPUT)
    recogniser = ArcFaceNetwork(pack.recognition, providers, pack.recognition_input)
    if recogniser.dimension != EMBEDDING_DIMENSION:
        raise ModelError(
            f"{pack.recognition.name} returns {recogniser.dimension} numbers for a face. "
            "pgface stores 512-D embeddings."
        )
    detector = Detector(network, detector_size)
    identity = ModelIdentity(pack.folder.name, recogniser.dimension, detector.size, digest)
    return InsightFaceEngine(detector, recogniser, identity, providers[0])
