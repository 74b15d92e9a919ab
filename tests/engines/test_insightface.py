"""The InsightFace engine, with real weights and real photos."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from pgface.errors import (
    ModelError,
    ModelNotInstalledError,
    NoFaceError,
    UnknownModelError,
    WeightsMismatchError,
)
from pgface.faces.engines import arcface, load_engine, scrfd
from pgface.faces.engines.arcface import aligned_face
from pgface.faces.engines.base import Detection, Face, RawDetection
from pgface.faces.engines.insightface import load_insightface_engine
from pgface.faces.engines.networks import NetworkEngine
from pgface.faces.engines.onnx_runtime import open_session, session_options
from pgface.faces.engines.openvino_runtime import open_embedder
from pgface.faces.models.pack import find_pack
from pgface.faces.models.registry import file_sha256, model_defaults, weights_sha256
from pgface.faces.pixels import RGBImage
from support.sentences import models as says
from support.sessions import runs_one_thread_that_does_not_spin


@dataclass(frozen=True)
class Portrait:
    person: str
    file: str
    pixels: RGBImage
    face: Face


def load(folder: Path, size: int = 640, provider: str = "CPU") -> NetworkEngine:
    return load_insightface_engine(folder, detector_size=size, execution_provider=provider)


def pixels_of(path: Path) -> RGBImage:
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.fixture(scope="module")
def engine(insightface_pack: Path) -> NetworkEngine:
    return load(insightface_pack)


@pytest.fixture(scope="module")
def portraits(engine: NetworkEngine, faces_dir: Path) -> list[Portrait]:
    """All photos, each with the largest face in it."""
    paths = sorted(faces_dir.glob("*/*.jpg"))

    def describe(path: Path) -> Portrait:
        pixels = pixels_of(path)
        return Portrait(path.parent.name, path.name, pixels, engine.detect_and_embed(pixels)[0])

    with ThreadPoolExecutor(2) as pool:
        portraits = list(pool.map(describe, paths))
    assert len(portraits) == 100
    return portraits


@pytest.fixture(scope="module")
def six_people() -> RGBImage:
    """The group photo in the package insightface."""
    spec = importlib.util.find_spec("insightface")
    assert spec is not None
    assert spec.origin is not None
    return pixels_of(Path(spec.origin).parent / "data" / "images" / "t1.jpg")


def similarity(one: Face, other: Face) -> float:
    return float(one.embedding @ other.embedding)


# Detections and embeddings


def test_six_people(engine: NetworkEngine, six_people: RGBImage) -> None:
    faces = engine.detect_and_embed(six_people)
    assert len(faces) == 6
    areas = [face.box.width * face.box.height for face in faces]
    assert areas == sorted(areas, reverse=True)
    for face in faces:
        assert face.embedding.shape == (512,)
        assert face.embedding.dtype == np.float32
        assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-6)
        assert 0.5 < face.detection_score <= 1
        assert face.landmarks.shape == (5, 2)
        x, y = (face.landmarks - (face.box.x, face.box.y)).T
        assert ((x > 0) & (x < face.box.width) & (y > 0) & (y < face.box.height)).all()
        assert face.crop.shape == (224, 224, 3)
    between = np.stack([face.embedding for face in faces]) @ np.stack([face.embedding for face in faces]).T
    assert between[~np.eye(6, dtype=bool)].max() < 0.3


def test_the_networks_are_used_as_insightface_uses_them(
    engine: NetworkEngine, insightface_pack: Path, portraits: list[Portrait], six_people: RGBImage
) -> None:
    """Colour order, decoding, alignment and normalisation are as in insightface's pipeline."""
    from insightface.app import FaceAnalysis

    insightface_app = FaceAnalysis(str(insightface_pack), providers=["CPUExecutionProvider"])
    insightface_app.prepare(0, det_size=(640, 640))
    for pixels in [six_people, *(portrait.pixels for portrait in portraits[::10])]:
        with warnings.catch_warnings():
            # insightface aligns with a function that scikit-image has deprecated. pgface does not call it.
            warnings.filterwarnings("ignore", "`estimate` is deprecated", FutureWarning)
            expected = insightface_app.get(np.ascontiguousarray(pixels[:, :, ::-1]))
        scale = 640 / max(pixels.shape)
        searched = cv2.resize(pixels, (int(pixels.shape[1] * scale), int(pixels.shape[0] * scale)))
        found = [face for face in engine.detector.network.detect(searched) if face.score >= 0.5]
        assert len(found) == len(expected)
        for face in found:
            nearest = min(expected, key=lambda other: float(np.abs(other.kps - face.landmarks / scale).max()))
            assert np.abs(nearest.kps - face.landmarks / scale).max() < 0.5
            assert nearest.det_score == pytest.approx(face.score, abs=1e-4)
            embedding = engine.recogniser.describe(aligned_face(pixels, nearest.kps, 112))
            assert nearest.normed_embedding @ embedding / np.linalg.norm(embedding) > 0.9999


def test_rank_1_of_ten_people(portraits: list[Portrait]) -> None:
    enrolled = [p for i, p in enumerate(portraits) if i % 10 < 5]
    probes = [p for i, p in enumerate(portraits) if i % 10 >= 5]
    similarities = np.array([[similarity(probe.face, other.face) for other in enrolled] for probe in probes])
    right = [enrolled[best].person == probe.person for probe, best in zip(probes, similarities.argmax(1), strict=True)]
    assert np.mean(right) >= 0.99
    mated = np.array([[probe.person == other.person for other in enrolled] for probe in probes])
    thresholds = model_defaults("buffalo_sc")
    assert (similarities[mated] >= thresholds.verify_threshold).mean() > 0.98
    assert (similarities[~mated] >= thresholds.verify_threshold).mean() < 0.001
    assert (np.where(mated, -1, similarities).max(1) < thresholds.identify_threshold).all()


def test_only_the_chosen_faces_are_embedded(
    engine: NetworkEngine, six_people: RGBImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded = []
    describe = engine.recogniser.describe

    def count(crop: Any) -> Any:
        embedded.append(crop)
        return describe(crop)

    monkeypatch.setattr(engine.recogniser, "describe", count)
    everyone = engine.detect_and_embed(six_people)
    assert len(embedded) == 6
    second = engine.detect_and_embed(six_people, lambda faces: faces[1:2])
    assert len(embedded) == 7
    assert (second[0].embedding == everyone[1].embedding).all()


def test_choose_gets_an_empty_list_and_may_refuse_the_photo(engine: NetworkEngine) -> None:
    def refuse(faces: Sequence[Detection]) -> Sequence[Detection]:
        assert faces == []
        raise NoFaceError

    with pytest.raises(NoFaceError):
        engine.detect_and_embed(np.full((200, 300, 3), 127, np.uint8), refuse)


# Photos that SCRFD alone gets wrong


def cut_to_face(portrait: Portrait, margin: float) -> RGBImage:
    x, y, width, height = portrait.face.box
    rows = slice(max(0, int(y - margin * height)), int(y + (1 + margin) * height))
    columns = slice(max(0, int(x - margin * width)), int(x + (1 + margin) * width))
    return np.ascontiguousarray(portrait.pixels[rows, columns])


def enlarged(image: RGBImage) -> RGBImage:
    """Enlarge a picture to 960 pixels, so that its face is too large for a search at 640."""
    scale = 960 / max(image.shape)
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC), np.uint8)


def enlarged_search(engine: NetworkEngine, image: RGBImage) -> list[RawDetection]:
    """Run the network once at 640 pixels."""
    scale = 640 / max(image.shape)
    searched = cv2.resize(image, (int(image.shape[1] * scale), int(image.shape[0] * scale)))
    return [face for face in engine.detector.network.detect(searched) if face.score >= 0.5]


@pytest.mark.parametrize(("margin", "at_least"), [(-0.05, 0.75), (0.0, 0.85), (0.1, 0.93), (0.25, 0.9)])
def test_close_ups(engine: NetworkEngine, portraits: list[Portrait], margin: float, at_least: float) -> None:
    close_ups = [cut_to_face(portrait, margin) for portrait in portraits[::6]]
    found_by_one_search = [enlarged_search(engine, close_up) for close_up in close_ups]
    assert sum(map(bool, found_by_one_search)) <= 1 or margin > 0.2, "SCRFD finds close-ups now"
    for portrait, close_up in zip(portraits[::6], close_ups, strict=True):
        for image in (close_up, enlarged(close_up)):
            faces = engine.detect_and_embed(image)
            assert faces, portrait.file
            assert similarity(faces[0], portrait.face) > at_least, portrait.file


def test_an_eye_is_not_mistaken_for_the_face_of_a_close_up(engine: NetworkEngine, portraits: list[Portrait]) -> None:
    with_false_detections = [p for p in portraits if enlarged_search(engine, cut_to_face(p, 0.14))]
    assert with_false_detections, "no photo shows the problem"
    for portrait in with_false_detections:
        (face,) = engine.detect_and_embed(enlarged(cut_to_face(portrait, 0.14)))
        assert similarity(face, portrait.face) > 0.93


@pytest.mark.parametrize("quarter_turns", [1, 2, 3])
def test_photos_on_their_side(engine: NetworkEngine, portraits: list[Portrait], quarter_turns: int) -> None:
    for portrait in portraits[::6]:
        turned = np.rot90(portrait.pixels, quarter_turns)
        faces = engine.detect_and_embed(turned)
        assert faces, portrait.file
        assert similarity(faces[0], portrait.face) > 0.9, portrait.file
        box, height = faces[0].box, turned.shape[0]
        centre = complex(box.x + box.width / 2 - height / 2, box.y + box.height / 2 - height / 2)
        upright = portrait.face.box
        expected = complex(upright.x + upright.width / 2 - 125, upright.y + upright.height / 2 - 125)
        # With y down, a counter-clockwise quarter turn is a division by i.
        assert abs(centre - expected * (-1j) ** quarter_turns) < 12
        assert box.width / box.height == pytest.approx(
            (upright.width / upright.height) ** (-1) ** quarter_turns, rel=0.2
        )


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (4000, 1), (2, 3), (40, 33_000)])
def test_pictures_of_any_shape(engine: NetworkEngine, shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for face in engine.detect_and_embed(noise):
        assert np.isfinite(face.embedding).all()


def test_a_face_in_a_picture_too_long_for_opencv(portraits: list[Portrait]) -> None:
    portrait = portraits[0]
    strip = np.zeros((300, 33_000, 3), np.uint8)
    strip[20:270, 32_700:32_950] = portrait.pixels
    landmarks = portrait.face.landmarks + np.array([32_700, 20], np.float32)
    difference = aligned_face(strip, landmarks, 112).astype(int) - aligned_face(
        portrait.pixels, portrait.face.landmarks, 112
    )
    assert np.abs(difference).max() <= 2


# Threads, loading, identity


def test_many_threads_get_the_same_embeddings(engine: NetworkEngine, portraits: list[Portrait]) -> None:
    some = portraits[::5] * 2
    with ThreadPoolExecutor(8) as pool:
        faces = list(pool.map(lambda portrait: engine.detect_and_embed(portrait.pixels)[0], some))
    for face, portrait in zip(faces, some, strict=True):
        assert (face.embedding == portrait.face.embedding).all()
        assert face.box == portrait.face.box


def test_many_threads_load_an_engine_once(insightface_pack: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(insightface_pack, tmp_path / "copy")
    with ThreadPoolExecutor(8) as pool:
        engines = set(pool.map(lambda _: load(folder), range(8)))
    assert len(engines) == 1
    assert load(tmp_path / "." / "copy", provider="cpuexecutionprovider") in engines
    assert load(folder, size=320) not in engines


def test_identity(engine: NetworkEngine, insightface_pack: Path) -> None:
    files = (insightface_pack / "det_500m.onnx", insightface_pack / "w600k_mbf.onnx")
    identity = engine.identity
    assert (identity.name, identity.dimension, identity.alignment_size) == ("buffalo_sc_q8", 512, 128)
    assert identity.weights_sha256 == weights_sha256(map(file_sha256, files))
    assert engine.execution_provider == "CPUExecutionProvider"
    assert engine.releases_gil
    assert load(insightface_pack, size=320).identity == identity


def test_every_session_of_the_detector_runs_one_thread_that_does_not_spin(engine: NetworkEngine) -> None:
    assert runs_one_thread_that_does_not_spin(engine.detector.network.session)


# Packs


def graph(inputs: list[int | str], nodes: list[Any], weights: list[Any], outputs: dict[str, list[int | str]]) -> Any:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, inputs)
    model = helper.make_model(
        helper.make_graph(nodes, "g", [given], values, weights), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    return model


def recogniser(dimension: int, value: float) -> Any:
    """Return a model whose embedding is a constant times the mean colours of the picture."""
    weights = numpy_helper.from_array(np.full((3, dimension), value, np.float32), "w")
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    return graph(["n", 3, 112, 112], nodes, [weights], {"y": ["n", dimension]})


def other_model(side: int) -> Any:
    return graph(["n", 3, side, side], [helper.make_node("GlobalAveragePool", ["x"], ["y"])], [], {"y": ["n", 3, 1, 1]})


@pytest.fixture
def pack(insightface_pack: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "pack"
    folder.mkdir()
    for file in insightface_pack.glob("*.onnx"):
        shutil.copyfile(file, folder / file.name)
    return folder


def test_other_models_of_a_pack_are_not_loaded(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx.save(other_model(96), pack / "genderage.onnx")
    onnx.save(other_model(192), pack / "2d106det.onnx")
    (pack / "broken.onnx").write_bytes(b"not ONNX")
    loaded = []

    def noting(open_: Callable[..., Any]) -> Callable[..., Any]:
        def note(name: str, *rest: Any) -> Any:
            loaded.append(name)
            return open_(name, *rest)

        return note

    monkeypatch.setattr(scrfd, "open_session", noting(open_session))
    monkeypatch.setattr(arcface, "open_embedder", noting(open_embedder))
    load(pack)
    assert {name.split()[0] for name in loaded} == {"det_500m.onnx", "w600k_mbf.onnx"}


def test_a_pack_with_a_manifest(pack: Path, engine: NetworkEngine, portraits: list[Portrait]) -> None:
    (pack / "det_500m.onnx").rename(pack / "finder.onnx")
    (pack / "manifest.json").write_text(
        '{"manifest_version": 2, "model_id": "own", "license": "MODEL.LICENSE", "tasks": {'
        '"detection": {"file": "finder.onnx"}, "recognition": {"file": "w600k_mbf.onnx"}}}'
    )
    own = load(pack)
    assert own.identity.weights_sha256 == engine.identity.weights_sha256
    assert similarity(own.detect_and_embed(portraits[0].pixels)[0], portraits[0].face) > 0.9999


def write_manifest(pack: Path, **recognition: Any) -> None:
    tasks = {"detection": {"file": "det_500m.onnx"}, "recognition": {"file": "w600k_mbf.onnx"} | recognition}
    (pack / "manifest.json").write_text(json.dumps({"manifest_version": 2, "tasks": tasks}))


def test_a_manifest_names_the_preparation_of_pictures(pack: Path, portraits: list[Portrait]) -> None:
    usual = load(pack).detect_and_embed(portraits[0].pixels)[0]
    write_manifest(pack, preprocessing={"mean": 127.5, "std": 127.5})
    assert similarity(load(pack, size=608).detect_and_embed(portraits[0].pixels)[0], usual) > 0.95
    write_manifest(pack, preprocessing="embedded")
    assert similarity(load(pack, size=576).detect_and_embed(portraits[0].pixels)[0], usual) < 0.9


def test_a_manifest_names_the_digest_of_a_file(pack: Path) -> None:
    write_manifest(pack, sha256=file_sha256(pack / "w600k_mbf.onnx"))
    assert find_pack(pack).recognition.name == "w600k_mbf.onnx"
    write_manifest(pack, sha256="0" * 64)
    with pytest.raises(WeightsMismatchError, match=r"w600k_mbf\.onnx"):
        find_pack(pack)


@pytest.mark.parametrize("file", ["../w600k_mbf.onnx", "/etc/passwd", "none.onnx"])
def test_a_manifest_names_files_of_its_folder_only(pack: Path, file: str) -> None:
    shutil.copy(pack / "w600k_mbf.onnx", pack.parent)
    write_manifest(pack, file=file)
    with pytest.raises(ModelError, match=r"manifest\.json"):
        find_pack(pack)


def test_a_manifest_of_another_version_is_ignored(pack: Path) -> None:
    (pack / "manifest.json").write_text('{"manifest_version": 1}')
    assert find_pack(pack).manifest == b""


@pytest.mark.parametrize(
    ("damage", "error", "words"),
    [
        (lambda p: (p / "w600k_mbf.onnx").unlink(), ModelError, says.PACK_LACKS_A_MODEL.format(task="recognition")),
        (lambda p: (p / "det_500m.onnx").unlink(), ModelError, says.PACK_LACKS_A_MODEL.format(task="detection")),
        (
            lambda p: shutil.copy(p / "det_500m.onnx", p / "b.onnx"),
            ModelError,
            says.PACK_HAS_SEVERAL_MODELS.format(task="detection", files="b.onnx, det_500m.onnx"),
        ),
        (
            lambda p: onnx.save(recogniser(128, 1.0), p / "w600k_mbf.onnx"),
            ModelError,
            says.EMBEDDINGS_HAVE_ANOTHER_DIMENSION.format(dimension=128),
        ),
        (lambda p: (p / "w600k_mbf.onnx").write_bytes(b""), WeightsMismatchError, "w600k_mbf.onnx"),
        (lambda p: (p / "det_500m.onnx").write_text("<html>"), WeightsMismatchError, "det_500m.onnx"),
        (lambda p: (p / "manifest.json").write_text('{"manifest_version": 2}'), ModelError, "manifest.json"),
        (lambda p: shutil.rmtree(p), ModelNotInstalledError, says.THERE_IS_NO_FOLDER),
    ],
)
def test_unusable_packs(pack: Path, damage: Any, error: type[ModelError], words: str) -> None:
    damage(pack)
    with pytest.raises(error) as caught:
        load(pack)
    assert words.format(folder=pack) in str(caught.value)


@pytest.mark.parametrize("file", ["det_500m.onnx", "w600k_mbf.onnx"])
@pytest.mark.parametrize("part", [0.3, 0.999])
def test_a_truncated_file(pack: Path, file: str, part: float) -> None:
    content = (pack / file).read_bytes()
    (pack / file).write_bytes(content[: int(len(content) * part)])
    with pytest.raises(ModelError) as caught:
        load(pack)
    assert file in str(caught.value)
    assert says.INSTALL_THE_MODEL_AGAIN in str(caught.value)


def test_a_model_that_onnxruntime_refuses(pack: Path) -> None:
    broken = recogniser(512, 1.0)
    broken.graph.node[2].op_type = "NoSuchOperator"
    onnx.save(broken, pack / "w600k_mbf.onnx")
    with pytest.raises(ModelError, match=says.FILE_CANNOT_BE_LOADED.pattern(file="w600k_mbf.onnx", folder=pack)):
        load(pack)


def test_an_embedding_of_zeros_is_refused(pack: Path, six_people: RGBImage) -> None:
    onnx.save(recogniser(512, 0.0), pack / "w600k_mbf.onnx")
    with pytest.raises(ModelError, match=says.EMBEDDING_IS_NOT_FINITE.pattern()):
        load(pack).detect_and_embed(six_people)


def test_pack_files(insightface_pack: Path) -> None:
    found = find_pack(insightface_pack)
    assert (found.detection.name, found.recognition.name) == ("det_500m.onnx", "w600k_mbf.onnx")


def test_options_are_for_throughput() -> None:
    assert session_options(1).intra_op_num_threads == 1


# By name


def by_name(model: str, models_dir: Path) -> Any:
    return load_engine(model, models_dir=models_dir, detector_size=640, execution_provider="CPU")


def test_load_by_path_or_by_the_name_of_an_installed_folder(
    insightface_pack: Path, engine: NetworkEngine, tmp_path: Path
) -> None:
    assert by_name(str(insightface_pack), tmp_path) is engine
    assert by_name(insightface_pack.name, insightface_pack.parent) is engine


def test_missing_models(tmp_path: Path) -> None:
    with pytest.raises(ModelNotInstalledError, match=says.INSTALL_A_MODEL_WITH_ITS_LICENCE.pattern(model="buffalo_l")):
        by_name("buffalo_l", tmp_path)
    with pytest.raises(ModelNotInstalledError, match=says.INSTALL_A_MODEL.pattern(model="auraface")):
        by_name("auraface", tmp_path)
    with pytest.raises(UnknownModelError, match=says.THERE_IS_NO_MODEL_NAMED.pattern(model="buffalo_xl")):
        by_name("buffalo_xl", tmp_path)
    with pytest.raises(UnknownModelError, match=says.THERE_IS_NO_FOLDER.pattern(folder="/no/such")):
        by_name("/no/such", tmp_path)


def test_a_name_of_the_registry_requires_the_published_files(insightface_pack: Path, tmp_path: Path) -> None:
    shutil.copytree(insightface_pack, tmp_path / "buffalo_sc")
    with pytest.raises(
        WeightsMismatchError,
        match=says.FILES_ARE_NOT_THE_PUBLISHED_ONES.pattern(model="buffalo_sc", folder=tmp_path / "buffalo_sc"),
    ):
        by_name("buffalo_sc", tmp_path)
    assert by_name(str(tmp_path / "buffalo_sc"), tmp_path).identity.name == "buffalo_sc"


# In another process


def run(code: str, *arguments: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *map(str, arguments)]
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    surroundings |= environment
    return subprocess.run(command, capture_output=True, text=True, check=False, env=surroundings)


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "cv2"])
def test_a_missing_package(package: str, insightface_pack: Path) -> None:
    result = run(
        f"""
        import sys
        sys.modules["{package}"] = None
        from pathlib import Path
        from pgface.errors import ModelNotInstalledError
        from pgface.faces.engines import arcface, load_engine, scrfd
        try:
            load_engine(sys.argv[1], models_dir=Path("."), detector_size=640, execution_provider="CPU")
        except ModelNotInstalledError as error:
            print(error)
        """,
        insightface_pack,
    )
    assert says.INSTALL_INSIGHTFACE in result.stdout, result.stderr


def test_no_network_no_noise_no_warnings(insightface_pack: Path, tmp_path: Path) -> None:
    """Importing, loading and running an engine opens no connection, prints nothing and leaves no files.

    ONNX Runtime's telemetry is native code. Its files in the home folder would reveal it.
    """
    result = run(
        """
        import sys
        def refuse(event, arguments):
            if event in {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}:
                raise RuntimeError(event)
        sys.addaudithook(refuse)
        from pathlib import Path
        import numpy as np
        from pgface.faces.engines import arcface, load_engine, scrfd
        engine = load_engine(sys.argv[1], models_dir=Path("."), detector_size=640, execution_provider="CPU")
        engine.detect_and_embed(np.zeros((480, 640, 3), np.uint8))
        assert "matplotlib" not in sys.modules
        """,
        insightface_pack,
        HOME=str(tmp_path),
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []
