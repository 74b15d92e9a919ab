"""The InsightFace engine: SCRFD detects faces, and ArcFace (Deng et al. 2019) embeds them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from pgface.errors import ModelError
from pgface.faces.engines.agreement import checked_against_cpu
from pgface.faces.engines.arcface import ArcFaceNetwork
from pgface.faces.engines.base import ModelIdentity
from pgface.faces.engines.detector import Detector
from pgface.faces.engines.loaded import LoadedModels
from pgface.faces.engines.networks import NetworkEngine
from pgface.faces.engines.onnx_runtime import execution_providers
from pgface.faces.engines.providers import Provider, name_of
from pgface.faces.engines.scrfd import SCRFD_INPUT, ScrfdNetwork
from pgface.faces.models.pack import Pack, find_pack
from pgface.vectors import EMBEDDING_DIMENSION

_engines = LoadedModels[NetworkEngine]()
"""The engines by the pack's name, the SHA-256 of its weights, its manifest, the detector's size and the provider."""
_engines_of_folders = LoadedModels[NetworkEngine]()
"""The same engines by the folder, the detector's size and the provider, so that the files are hashed only once."""


def load_insightface_engine(folder: Path, *, detector_size: int, execution_provider: str) -> NetworkEngine:
    """Load the detection and the recognition model of a pack. The engine has the name of the folder.

    A process loads a pack once for each detector size and execution provider, even from copies of the folder.

    Args:
        folder: the folder of the pack's ONNX files.
        detector_size: maximum longer side of the picture that the detector searches, in pixels. A detector that was
            made for one size keeps it.
        execution_provider: the argument of `pgface.faces.engines.onnx_runtime.execution_providers`.

    Raises:
        ModelNotInstalledError: ONNX Runtime is missing, or there is no such folder.
        WeightsMismatchError: a file is damaged.
        ExecutionProviderError: the execution provider is missing, does not work, or gives other embeddings.
        ModelError: the pack cannot be used.

    """
    folder = folder.expanduser().resolve()
    providers = execution_providers(execution_provider)

    def load() -> NetworkEngine:
        pack = find_pack(folder)
        digest = pack.weights_sha256()
        key = (folder.name, digest, pack.manifest, detector_size, repr(providers))
        return _engines.get(key, lambda: checked_against_cpu(partial(_load, pack, digest, detector_size), providers))

    return _engines_of_folders.get((folder, detector_size, repr(providers)), load)


def _load(pack: Pack, digest: str, detector_size: int, providers: list[Provider]) -> NetworkEngine:
    network = ScrfdNetwork(pack.detection, providers, pack.detection_input or SCRFD_INPUT)
    recogniser = ArcFaceNetwork(pack.recognition, providers, pack.recognition_input)
    if recogniser.dimension != EMBEDDING_DIMENSION:
        raise ModelError(
            f"{pack.recognition.name} returns {recogniser.dimension} numbers for a face. "
            "pgface stores 512-D embeddings."
        )
    detector = Detector(network, detector_size)
    identity = ModelIdentity(pack.folder.name, recogniser.dimension, detector.alignment_size, digest)
    return NetworkEngine(detector, recogniser, identity, name_of(providers[0]), measures_pitch=True)
