"""The sface engine: YuNet detects faces, and SFace embeds them. You may use both commercially.

SFace (Zhong et al. 2021, "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition") computes 128-D unit
vectors. `pgface.faces.engines.lift` lifts them to 512-D.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgface.errors import WeightsMismatchError
from pgface.faces.engines.agreement import checked_against_cpu
from pgface.faces.engines.base import ModelIdentity
from pgface.faces.engines.dequantize import read_network
from pgface.faces.engines.detector import Detector
from pgface.faces.engines.lift import lift
from pgface.faces.engines.loaded import LoadedModels
from pgface.faces.engines.networks import NetworkEngine
from pgface.faces.engines.normalisation import Normalisation
from pgface.faces.engines.onnx_runtime import execution_providers
from pgface.faces.engines.openvino_runtime import open_embedder
from pgface.faces.engines.providers import Provider, name_of
from pgface.faces.engines.yunet import YuNet
from pgface.faces.models.registry import SFACE, SFACE_FILE, YUNET_FILE, file_sha256
from pgface.faces.pixels import RGBImage
from pgface.vectors import EMBEDDING_DIMENSION

GAMMA = 0.28
"""γ of the lift, chosen so that the specification's threshold, similarity 0.7, separates people.

On 450 mated and 4,500 non-mated pairs of ten people, FNMR and FMR at 0.7 are 0 and 1.3 % with 0.26, 0 and 0.24 % with
0.28, and 0 and 0 % with 0.30. On LFW's 6,000 pairs they are 0.80 and 0.47 %, 1.43 and 0.07 %, 2.63 and 0.00 %.
"""
_PIXELS = Normalisation(0.0, 1.0)
"""The network takes values from 0 to 255."""


class SFace:
    """Describes aligned faces, and lifts the descriptors. You can use it from many threads."""

    side = 112

    def __init__(self, file: Path, providers: Sequence[Provider]) -> None:
        """Load the network.

        Args:
            file: the ONNX file.
            providers: the result of `execution_providers`.

        Raises:
            ModelNotInstalledError: ONNX Runtime is missing.
            ModelError: the network cannot be loaded.

        """
        self.session = open_embedder(file.name, lambda: bytes(read_network(file).SerializeToString()), providers)
        self._input = self.session.get_inputs()[0].name

    def describe(self, aligned: RGBImage) -> NDArray[np.float32]:
        """Return the descriptor of an aligned face, shape (128,), of any norm.

        The network wants RGB. On photos of ten people, the mean similarities of mated and non-mated pairs are 7.3
        standard deviations apart, and 6.6 with BGR.
        """
        (output,) = self.session.run(None, {self._input: _PIXELS.blob(aligned, "tensor(float)")})
        return np.asarray(output, np.float32).ravel()

    def embedding(self, descriptor: NDArray[np.float32]) -> NDArray[np.float32]:
        """Lift a descriptor of norm 1."""
        return lift(descriptor, GAMMA)


_loaded = LoadedModels[NetworkEngine]()
"""The engines by the folder, the detector's size and the provider."""


def load_sface_engine(folder: Path, *, detector_size: int, execution_provider: str) -> NetworkEngine:
    """Return the engine of this process. The weights are loaded once for each detector size and execution provider.

    Args:
        folder: the folder of the two ONNX files.
        detector_size: maximum longer side of the picture that YuNet searches, in pixels, a multiple of 32.
        execution_provider: the argument of `pgface.faces.engines.onnx_runtime.execution_providers`.

    Raises:
        ModelNotInstalledError: ONNX Runtime is missing.
        WeightsMismatchError: a file is missing, or is not the published one.
        ExecutionProviderError: the execution provider is missing, does not work, or gives other embeddings.
        ModelError: ONNX Runtime cannot load a network.

    """
    providers = execution_providers(execution_provider)
    key = (folder.resolve(), detector_size, repr(providers))
    return _loaded.get(key, lambda: checked_against_cpu(partial(_load, folder, detector_size), providers))


def _load(folder: Path, detector_size: int, providers: list[Provider]) -> NetworkEngine:
    for file in SFACE.files:
        path = file.path(folder)
        if not path.is_file() or file_sha256(path) != file.sha256:
            raise WeightsMismatchError(
                f"{path} is missing or is not the published file. Run `pgface models install {SFACE.name} --force`."
            )
    detector = Detector(YuNet(YUNET_FILE.path(folder), providers), detector_size)
    recogniser = SFace(SFACE_FILE.path(folder), providers)
    identity = ModelIdentity(SFACE.name, EMBEDDING_DIMENSION, detector.alignment_size, SFACE.weights_sha256)
    # The nose that YuNet finds hardly follows a nod. For a head raised by 30°, the estimate of the pitch rises by 4°,
    # and with SCRFD's landmarks by 22°. Over photos of ten people, its slope against SCRFD's is 0.19.
    return NetworkEngine(detector, recogniser, identity, name_of(providers[0]), measures_pitch=False)
