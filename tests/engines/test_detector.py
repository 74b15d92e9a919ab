"""The two looks of a detector, with the real networks of both kinds."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pgface.errors import PhotoFormatError
from pgface.faces.engines import load_engine
from pgface.faces.engines.base import Box, Face, RawDetection
from pgface.faces.engines.detector import QUICK_SIDE
from pgface.faces.engines.networks import NetworkEngine
from pgface.faces.face_choice import ChosenFace, choose_one
from pgface.faces.photo import PhotoLimits, open_photo
from pgface.faces.pixels import RGBImage
from support.photos import Photos

LIMITS = PhotoLimits(1 << 25, 1 << 27, 1 << 30)
ENGINES = ["sface", "insightface"]


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> NetworkEngine:
    name = request.param
    folder = str(request.getfixturevalue("insightface_pack")) if name == "insightface" else name
    found = load_engine(folder, models_dir=Path("none"), detector_size=640, execution_provider="CPU")
    assert isinstance(found, NetworkEngine)
    return found


def pixels_of(path: Path) -> RGBImage:
    return np.asarray(Image.open(path).convert("RGB"))


def on_canvas(*placed: tuple[RGBImage, int, int, int], width: int, height: int) -> RGBImage:
    """Paste square photos into a grey picture, each with its left and upper edge, and its side."""
    canvas = np.full((height, width, 3), 110, np.uint8)
    for photo, left, top, side in placed:
        small = cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA if side < 250 else cv2.INTER_CUBIC)
        canvas[top : top + side, left : left + side] = small
    return canvas


@contextmanager
def searched_sizes(engine: NetworkEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """Collect the sizes of the pictures that the network gets."""
    sizes: list[tuple[int, int]] = []
    detect: Callable[[RGBImage], list[RawDetection]] = engine.detector.network.detect

    def note(picture: RGBImage) -> list[RawDetection]:
        sizes.append(picture.shape[:2])
        return detect(picture)

    with monkeypatch.context() as patch:
        patch.setattr(engine.detector.network, "detect", note)
        yield sizes


def similarity(one: Face, other: Face) -> float:
    return float(one.embedding @ other.embedding)


def test_a_small_photo_is_searched_once_at_its_own_size(
    engine: NetworkEngine, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = (engine.detector.alignment_size,) * 2
    with searched_sizes(engine, monkeypatch) as sizes:
        (face,) = engine.detect_and_embed(pixels_of(photos("Colin_Powell", 2)))
    assert sizes == [(250, 250), close]
    assert face.box.width > 60


def test_one_large_face_needs_only_the_quick_look(
    engine: NetworkEngine, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = on_canvas((pixels_of(photos("Colin_Powell", 2)), 150, 0, 900), width=1200, height=900)
    close = (engine.detector.alignment_size,) * 2
    with searched_sizes(engine, monkeypatch) as sizes:
        (quick,) = engine.detect_and_embed(picture, ChosenFace("a.jpg", "only"), overlook=0.25)
        assert sizes == [(192, QUICK_SIDE), close]
        sizes.clear()
        (thorough,) = engine.detect_and_embed(picture)
        assert sizes == [(192, QUICK_SIDE), (480, 640), close]
    assert similarity(quick, thorough) > 0.97


def test_a_small_face_needs_the_larger_look(
    engine: NetworkEngine, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = on_canvas((pixels_of(photos("Colin_Powell", 2)), 500, 300, 150), width=1200, height=900)
    with searched_sizes(engine, monkeypatch) as sizes:
        engine.detect_and_embed(picture, ChosenFace("a.jpg", "only"), overlook=0.25)
    assert (480, 640) in sizes


@pytest.mark.parametrize("side", [250, 400, 640, 1000])
def test_the_size_of_the_photo_hardly_changes_the_embedding(engine: NetworkEngine, photos: Photos, side: int) -> None:
    photo = pixels_of(photos("George_W_Bush", 3))
    (original, *_) = engine.detect_and_embed(photo)
    canvas = on_canvas((photo, 0, 0, side), width=side, height=side)
    (face, *_) = engine.detect_and_embed(canvas)
    assert similarity(face, original) > 0.95


def test_a_close_up_and_a_small_face_are_both_found(engine: NetworkEngine, photos: Photos) -> None:
    """A search at 640 pixels alone misses the close-up, and a search at 256 the small face."""
    near, far = pixels_of(photos("George_W_Bush", 3)), pixels_of(photos("Colin_Powell", 2))
    (face, *_) = engine.detect_and_embed(near)
    x, y, _, height = (round(side) for side in face.box)
    close_up = near[max(0, y) : y + height, max(0, x) : x + height]
    picture = on_canvas((close_up, 0, 0, 900), (far, 1050, 600, 100), width=1200, height=900)
    faces = engine.detect_and_embed(picture)
    assert [round(found.box.width / 100) for found in faces][1:] == [0] * (len(faces) - 1)
    assert len(faces) == 2
    assert similarity(faces[0], face) > 0.8


def test_a_group_photo(engine: NetworkEngine, faces_dir: Path) -> None:
    """Twenty faces of 24 pixels."""
    files = sorted(faces_dir.glob("*/*.jpg"))[::5]
    placed = [(pixels_of(file), 10 + index % 5 * 120, 10 + index // 5 * 110, 60) for index, file in enumerate(files)]
    assert len(engine.detect_and_embed(on_canvas(*placed, width=620, height=460))) >= 20


def test_a_doubtful_box_around_small_faces_hides_none_of_them(
    engine: NetworkEngine, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The quick look is made to find a large box of a low score around all faces."""
    people = [pixels_of(photos(name, 2)) for name in ("Colin_Powell", "George_W_Bush", "Tony_Blair")]
    picture = on_canvas(*((one, 60 + 200 * at, 200, 180) for at, one in enumerate(people)), width=700, height=600)
    expected = len(engine.detect_and_embed(picture))
    assert expected >= 3
    detect = engine.detector.network.detect

    def with_a_large_box(small: RGBImage) -> list[RawDetection]:
        height, width = small.shape[:2]
        points = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)], np.float32) * (width, height)
        large = RawDetection(Box(1, 1, width - 2, height - 2), points.astype(np.float32), 0.35)
        return detect(small) + ([large] if max(small.shape) == QUICK_SIDE and height != width else [])

    monkeypatch.setattr(engine.detector.network, "detect", with_a_large_box)
    assert len(engine.detect_and_embed(picture)) == expected


# Photos of phones


def phone_photo(picture: RGBImage, **options: object) -> bytes:
    """Return a JPEG of 12 megapixels with this picture."""
    large = cv2.resize(picture, (4000, 3000), interpolation=cv2.INTER_CUBIC)
    buffer = io.BytesIO()
    Image.fromarray(large).save(buffer, "JPEG", quality=92, **options)
    return buffer.getvalue()


@pytest.fixture
def portrait(photos: Photos) -> RGBImage:
    return on_canvas((pixels_of(photos("George_W_Bush", 3)), 40, 0, 240), width=320, height=240)


def test_a_photo_of_a_phone_is_decoded_at_a_quarter_of_its_size(engine: NetworkEngine, portrait: RGBImage) -> None:
    with open_photo(phone_photo(portrait), LIMITS, reduced=True) as photo:
        assert photo.picture.pixels.shape == (750, 1000, 3)
        assert photo.picture.size == (4000, 3000)
        face = choose_one(engine, photo, ChosenFace("a.jpg", "only"))
        assert photo.pixels.shape == (3000, 4000, 3)
        (whole,) = engine.detect_and_embed(photo.pixels, overlook=0.25)
    assert similarity(face, whole) > 0.99
    np.testing.assert_allclose(face.box, whole.box, atol=60)
    np.testing.assert_allclose(face.landmarks, whole.landmarks, atol=16)
    assert face.off_centre == pytest.approx(whole.off_centre, abs=60)
    assert face.quality.face_size == pytest.approx(whole.quality.face_size, rel=0.05)
    assert np.abs(face.crop.astype(int) - whole.crop).mean() < 6


def test_small_faces_of_a_large_photo_are_embedded_from_all_pixels(engine: NetworkEngine, photos: Photos) -> None:
    group = on_canvas(
        (pixels_of(photos("George_W_Bush", 3)), 20, 20, 80),
        (pixels_of(photos("Colin_Powell", 2)), 200, 60, 80),
        width=320,
        height=240,
    )
    with open_photo(phone_photo(group), LIMITS, reduced=True) as photo:
        faces = engine.detect_and_embed(photo.picture)
        whole = engine.detect_and_embed(photo.pixels)
    assert len(faces) == len(whole) == 2
    for face in faces:
        nearest = min(whole, key=lambda other: abs(other.box.x - face.box.x))
        assert similarity(face, nearest) > 0.98
        np.testing.assert_allclose(face.landmarks, nearest.landmarks, atol=10)


def test_the_orientation_of_a_phone_photo(engine: NetworkEngine, portrait: RGBImage) -> None:
    exif = Image.Exif()
    exif[274] = 6  # the file's rows are columns of the upright photo
    lying = np.ascontiguousarray(np.rot90(portrait))
    buffer = io.BytesIO()
    Image.fromarray(cv2.resize(lying, (3000, 4000), interpolation=cv2.INTER_CUBIC)).save(buffer, "JPEG", exif=exif)
    with open_photo(buffer.getvalue(), LIMITS, reduced=True) as photo:
        assert photo.picture.size == (4000, 3000)
        assert photo.picture.pixels.shape == (750, 1000, 3)
        face = choose_one(engine, photo, ChosenFace("a.jpg", "only"))
    assert abs(face.quality.roll) < 20
    assert 1000 < face.box.x + face.box.width / 2 < 3000


@pytest.mark.parametrize("part", [0.3, 0.9])
def test_a_damaged_photo_of_a_phone_is_refused(portrait: RGBImage, part: float) -> None:
    data = phone_photo(portrait)
    with pytest.raises(PhotoFormatError), open_photo(data[: int(len(data) * part)], LIMITS, reduced=True):
        pass
