"""The models for presentation attack detection. Face models are in `pgface.faces.models.registry`.

Sizes and digests are those of the published files. At least three independent public projects have the same digests.
The addon's digest is also in the insightface package itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pgface.faces.models.registry import INSIGHTFACE_LICENCE, Licence, ModelFile, Published, downloads_from

OWN: Final = "liveness"
"""The name and the folder of your own networks. They need the inputs and outputs of the published ones."""


@dataclass(frozen=True, slots=True)
class LivenessThreshold:
    """The minimum score of a living face, and its source."""

    value: float
    source: str


MINIFASNET_THRESHOLD = LivenessThreshold(
    0.915, "the default of the authors' own application (Silent-Face-Anti-Spoofing-APK), not measured here"
)
INSIGHTFACE_THRESHOLD = LivenessThreshold(0.8, "the default of the insightface package, not measured here")
MINIFASNET_LICENCE = Licence(
    "Apache-2.0",
    "https://github.com/minivision-ai/Silent-Face-Anti-Spoofing/blob/master/LICENSE",
    commercial_use=True,
    note="The weights are Minivision's, converted to ONNX by github.com/yakhyo/face-anti-spoofing, both under "
    "Apache-2.0. The faces that they were trained on are not documented.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LivenessModel(Published):
    """Networks that distinguish a living face from a picture of one."""

    threshold: LivenessThreshold


_MINIFASNET_URL = "https://github.com/yakhyo/face-anti-spoofing/releases/download/weights"
_MINIFASNET_FILES = (
    ModelFile("MiniFASNetV2.onnx", 1_743_581, "b32929adc2d9c34b9486f8c4c7bc97c1b69bc0ea9befefc380e4faae4e463907"),
    ModelFile("MiniFASNetV1SE.onnx", 1_742_335, "ebab7f90c7833fbccd46d3a555410e78d969db5438e169b6524be444862b3676"),
)
_ADDON_URL = "https://github.com/deepinsight/insightface-model-addons/releases/download/addons"
_ADDON_FILE = ModelFile("liveness.onnx", 1_484_006, "87a9ac1dbb16a61eec212957e5095e62a8769c1e188af9b0198f253302c4afdb")

LIVENESS_MODELS: dict[str, LivenessModel] = {
    "minifasnet": LivenessModel(
        name="minifasnet",
        licence=MINIFASNET_LICENCE,
        threshold=MINIFASNET_THRESHOLD,
        files=_MINIFASNET_FILES,
        downloads=downloads_from(_MINIFASNET_URL, *_MINIFASNET_FILES),
    ),
    "insightface-liveness": LivenessModel(
        name="insightface-liveness",
        licence=INSIGHTFACE_LICENCE,
        threshold=INSIGHTFACE_THRESHOLD,
        files=(_ADDON_FILE,),
        downloads=downloads_from(_ADDON_URL, _ADDON_FILE),
    ),
}
