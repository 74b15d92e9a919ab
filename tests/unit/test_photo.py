"""Photos of every kind are decoded to upright RGB, and bad ones are refused with an error message."""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import sys
import textwrap
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageCms
from pillow_heif import HeifImageFile, from_pillow

from pgface.errors import PhotoError, PhotoFormatError, PhotoNotReadableError, PhotoTooLargeError
from pgface.faces.decoding.decode import MAX_JPEG_SCANS
from pgface.faces.photo import PhotoLimits, PhotoSource, open_photo
from pgface.faces.pixels import RGBImage
from pgface.settings import Settings
from support.pictures import bmp_rle, encoded, gif, jpeg_of_many_scans, png, png16, tiff, turned_as
from support.sentences import photos as says

LIMITS = PhotoLimits(max_bytes=1 << 20, max_pixels=1_000_000, max_decoded_bytes=32 << 20)
PIXELS: RGBImage = np.ascontiguousarray(skimage.data.astronaut()[20:180, 150:270])
"""A face, 120×160 pixels."""
PICTURE = Image.fromarray(PIXELS)
GREY = np.asarray(PICTURE.convert("L"))


linux = pytest.mark.skipif(sys.platform != "linux", reason="measures memory in /proc")


def half_transparent(mode: str) -> Image.Image:
    """Return the picture with a transparent left half, whose hidden colour is red."""
    pixels = PIXELS.copy()
    pixels[:, :60] = (255, 0, 0)
    picture = Image.fromarray(pixels).convert(mode)
    alpha = np.full((160, 120), 255, np.uint8)
    alpha[:, :60] = 0
    picture.putalpha(Image.fromarray(alpha))
    return picture


def pixels_of(source: PhotoSource, limits: PhotoLimits = LIMITS) -> RGBImage:
    with open_photo(source, limits) as photo:
        assert photo.pixels.dtype == np.uint8
        assert photo.pixels.flags.c_contiguous
        return photo.pixels


def error_of(kind: type[PhotoError], source: PhotoSource, limits: PhotoLimits = LIMITS) -> str:
    with pytest.raises(kind) as caught, open_photo(source, limits):
        pytest.fail("it was opened")
    assert type(caught.value) is kind
    return str(caught.value)


def difference(one: RGBImage, other: RGBImage) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other).mean())


# --- sources


def test_every_source_gives_the_same_pixels(tmp_path: Path) -> None:
    file = tmp_path / "ana.png"
    PICTURE.save(file)
    with Image.open(file) as lazy:
        sources: list[PhotoSource] = [str(file), file, file.read_bytes(), PICTURE, PIXELS, lazy]
        for source in sources:
            np.testing.assert_array_equal(pixels_of(source), PIXELS)


def test_names_and_hashes(tmp_path: Path) -> None:
    file = tmp_path / "ana.png"
    PICTURE.save(file)
    data = file.read_bytes()
    of_file, of_pixels = (
        hashlib.sha256(data).hexdigest(),
        hashlib.sha256(b"RGB 120x160\n" + PIXELS.tobytes()).hexdigest(),
    )
    expected: list[tuple[PhotoSource, str, str]] = [
        (file, "ana.png", of_file),
        (data, "<bytes>", of_file),
        (PICTURE, "<image>", of_pixels),
        (PIXELS, "<image>", of_pixels),
    ]
    for source, name, digest in expected:
        with open_photo(source, LIMITS) as photo:
            assert (photo.name, photo.content_sha256) == (name, digest)


def test_limits_come_from_the_settings() -> None:
    settings = Settings(max_photo_bytes=1, max_photo_pixels=2, max_decoded_bytes=3)
    assert PhotoLimits.from_settings(settings) == PhotoLimits(1, 2, 3)


@pytest.mark.parametrize(
    ("array", "shape", "kind"),
    [
        (np.zeros((4, 5), np.uint8), "4×5", "uint8"),
        (np.zeros((4, 5, 4), np.uint8), "4×5×4", "uint8"),
        (np.zeros((4, 5, 3), np.float32), "4×5×3", "float32"),
    ],
)
def test_an_array_that_is_not_rgb(array: Any, shape: str, kind: str) -> None:
    expected = says.ARRAY_IS_NOT_RGB.format(photo="<image>", shape=shape, type=kind)
    assert error_of(PhotoFormatError, array) == expected


def test_an_empty_picture() -> None:
    sentence = says.EMPTY_PICTURE.format(photo="<image>", size="0×5")
    assert error_of(PhotoFormatError, np.zeros((5, 0, 3), np.uint8)) == sentence
    assert error_of(PhotoFormatError, Image.new("RGB", (0, 5))) == sentence


# --- files that cannot be read


def test_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    for name in ("gone.jpg", "link.jpg"):
        expected = says.FILE_CANNOT_BE_READ.format(photo=name, reason="No such file or directory")
        assert error_of(PhotoNotReadableError, tmp_path / name) == expected


def test_a_path_with_a_zero_byte() -> None:
    expected = says.FILE_CANNOT_BE_READ.pattern(photo="a\0b.jpg", reason="embedded null byte...")
    assert re.fullmatch(expected, error_of(PhotoNotReadableError, "a\0b.jpg"))


def test_a_folder(tmp_path: Path) -> None:
    assert error_of(PhotoNotReadableError, tmp_path) == says.FOLDER_IS_NO_PHOTO.format(photo=tmp_path.name)


@pytest.fixture
def not_root() -> Iterator[None]:
    """Root may read everything."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65_534)
    yield
    if root:
        os.seteuid(0)


def test_a_file_without_permission(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    file = tmp_path / "ana.png"
    PICTURE.save(file)
    file.chmod(0)
    request.getfixturevalue("not_root")
    expected = says.FILE_CANNOT_BE_READ.format(photo="ana.png", reason="Permission denied")
    assert error_of(PhotoNotReadableError, file) == expected


def test_devices_and_pipes_are_not_opened(tmp_path: Path) -> None:
    """Runs in another process, because opening the pipe could block forever."""
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero"), Path("/dev/full")):
        expected = says.DEVICE_IS_NO_PHOTO.format(photo=path.name)
        assert error_in_another_process(path) == f"PhotoNotReadableError {expected}"


def error_in_another_process(path: Path, before: str = "") -> str:
    """Return the error of a photo in another process, which first runs a statement."""
    result = run_python(f"""
        import sys
        {before}
        from pgface.errors import PhotoError
        from pgface.faces.photo import PhotoLimits, open_photo
        try:
            with open_photo({str(path)!r}, PhotoLimits(1 << 20, 1 << 20, 1 << 24)):
                pass
        except PhotoError as error:
            print(type(error).__name__, error)
    """)
    return result.stdout.strip()


# --- files that are not photos


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    assert error_of(PhotoFormatError, tmp_path / "empty.jpg") == says.EMPTY_FILE.format(photo="empty.jpg")


@pytest.mark.parametrize(
    "data",
    [
        b"This is a text file.",
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b"%PDF-1.7\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"P6 1 1 255 \0\0\0",
        b"\0\0\0\x0cJXL \r\n\x87\n",
        b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
    ],
    ids=["text", "SVG", "PDF", "EPS", "PPM", "JPEG XL", "MP4"],
)
def test_files_of_other_formats_never_reach_a_decoder(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(data)
    assert error_of(PhotoFormatError, file) == says.NOT_A_PHOTO.format(photo="photo.jpg", size=len(data))


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "HEIF"])
def test_a_truncated_file(tmp_path: Path, format_name: str) -> None:
    data = heic(PIXELS) if format_name == "HEIF" else encoded(PICTURE, format_name)
    file = tmp_path / "photo"
    file.write_bytes(data)
    pixels_of(file)
    for kept in (0.9, 0.5):
        file.write_bytes(data[: int(kept * len(data))])
        assert error_of(PhotoFormatError, file) == says.DAMAGED_FILE.format(photo="photo", kind=format_name)


def test_avif_is_not_accepted() -> None:
    data = encoded(PICTURE, "AVIF")
    assert error_of(PhotoFormatError, data) == says.AVIF_IS_NOT_ACCEPTED.format(photo="<bytes>")


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "HEIF"])
def test_random_damage_gives_a_picture_or_an_error(format_name: str) -> None:
    data = heic(PIXELS) if format_name == "HEIF" else encoded(PICTURE, format_name)
    generator = np.random.default_rng(3)
    outcomes = set()
    for _ in range(60):
        damaged = bytearray(data)
        for place in generator.integers(0, 300, 5):
            damaged[place] = generator.integers(0, 256)
        try:
            outcomes.add(str(pixels_of(bytes(damaged)).shape))
        except PhotoError as error:
            outcomes.add(str(error))
    assert any(outcome.startswith("<bytes>: ") for outcome in outcomes)


# --- limits


def test_a_file_of_too_many_bytes(tmp_path: Path) -> None:
    file = tmp_path / "large.jpg"
    with file.open("wb") as sparse:
        sparse.truncate(1 << 40)
    sparse_file = says.TOO_MANY_BYTES.format(photo="large.jpg", size=1_099_511_627_776, limit=1_048_576)
    assert error_of(PhotoTooLargeError, file) == sparse_file
    one_byte_more = says.TOO_MANY_BYTES.format(photo="<bytes>", size=1_048_577, limit=1_048_576)
    assert error_of(PhotoTooLargeError, bytes((1 << 20) + 1)) == one_byte_more


def flat_png(width: int, height: int) -> bytes:
    """Return a black PNG of one bit per pixel. 32 megapixels have four kilobytes."""
    return png(width, height, 1, 0, bytes((1 + (width + 7) // 8) * height))


def webp_canvas(side: int) -> bytes:
    """Return an animated WebP whose canvas is larger than its frames. libwebp refuses this in a still picture."""
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "lime")]
    data = bytearray(encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]))
    assert data[12:16] == b"VP8X"
    data[24:30] = (side - 1).to_bytes(3, "little") * 2
    return bytes(data)


def tiled_tiff(tile: int) -> bytes:
    """Return a TIFF of 64×64 pixels in one tile of another size."""
    tags = [
        (256, 64),
        (257, 64),
        (258, 8),
        (259, 1),
        (262, 1),
        (277, 1),
        (322, tile),
        (323, tile),
        (324, 8),
        (325, 4096),
    ]
    return tiff(tags, bytes(4096))


@pytest.mark.parametrize(
    ("data", "size", "megapixels"),
    [
        (flat_png(8_000, 4_000), "8000×4000", "32.0"),
        (gif((65_535, 65_535), (1, 1)), "65535×65535", "4,294.8"),
        (gif((1, 1), (10_000, 10_000)), "10000×10000", "100.0"),
        (webp_canvas(10_000), "10000×10000", "100.0"),
        (tiled_tiff(20_000), "20000×20000", "400.0"),
        (tiff([(256, 20_000), (257, 20_000), (258, 8), (262, 1), (273, 8), (279, 1)], b"\0"), "20000×20000", "400.0"),
    ],
    ids=["PNG", "GIF screen", "GIF frame", "WebP canvas", "TIFF tile", "TIFF"],
)
def test_too_many_pixels_are_refused_before_decoding(data: bytes, size: str, megapixels: str) -> None:
    expected = says.TOO_MANY_PIXELS.format(photo="<bytes>", size=size, megapixels=megapixels, limit="1.0")
    assert error_of(PhotoTooLargeError, data) == expected


def test_more_pixels_than_pillow_opens() -> None:
    for data, name in ((webp_canvas(16_384), "WEBP"), (gif((1, 1), (65_535, 65_535)), "GIF")):
        expected = says.MORE_PIXELS_THAN_ANY_PHOTO.format(photo="<bytes>", kind=name)
        assert error_of(PhotoTooLargeError, data) == expected


def test_limits_apply_to_pictures_in_memory() -> None:
    expected = says.TOO_MANY_PIXELS.format(photo="<image>", size="8000×4000", megapixels="32.0", limit="1.0")
    assert error_of(PhotoTooLargeError, open_lazily(flat_png(8_000, 4_000))) == expected
    array = np.broadcast_to(np.zeros(3, np.uint8), (4_000, 8_000, 3))
    assert error_of(PhotoTooLargeError, array) == expected


def test_more_memory_than_the_limit() -> None:
    limits = PhotoLimits(1 << 20, 10_000_000, 8_000_000)
    expected = says.TOO_MUCH_MEMORY.format(photo="<bytes>", size="2000×1000", needed=16, limit=8)
    assert error_of(PhotoTooLargeError, flat_png(2_000, 1_000), limits) == expected


def test_a_side_too_long() -> None:
    expected = says.SIDE_TOO_LONG.format(photo="<bytes>", size="70000×1", limit=65_535)
    assert error_of(PhotoTooLargeError, flat_png(70_000, 1)) == expected


@pytest.mark.parametrize("size", [(1, 1), (1, 4_000), (4_000, 1), (1, 65_535), (65_535, 1)])
def test_thin_and_tiny_pictures_are_opened(size: tuple[int, int]) -> None:
    assert pixels_of(flat_png(*size)).shape == (size[1], size[0], 3)


def test_a_jpeg_with_too_many_scans() -> None:
    data = jpeg_of_many_scans(MAX_JPEG_SCANS)
    assert error_of(PhotoFormatError, data) == says.TOO_MANY_SCANS.format(photo="<bytes>", limit=MAX_JPEG_SCANS)
    pixels_of(jpeg_of_many_scans(MAX_JPEG_SCANS // 2))


def test_scans_in_metadata_or_after_the_picture_do_not_count() -> None:
    comment = b"\xff\xda" * 1_000
    data = encoded(PICTURE, "JPEG", progressive=True, comment=comment) + comment
    assert difference(pixels_of(data), PIXELS) < 6


def test_run_length_coded_bmp() -> None:
    expected = says.RUN_LENGTH_CODED_BMP_IS_NOT_ACCEPTED.format(photo="<bytes>")
    assert error_of(PhotoFormatError, bmp_rle(8, 8)) == expected


def compressed_metadata(kind: bytes) -> bytes:
    """Return a PNG of 600 kB whose metadata expand to 128 MB."""
    between = b"\0\x01\0\0\0" if kind == b"iTXt" else b"\0\0"
    return png(4, 4, 8, 0, bytes(20), (kind, b"name" + between + zlib.compress(bytes(128 << 20), 1)))


@linux
def test_metadata_that_expand_to_gigabytes() -> None:
    result = run_python("""
        import contextlib
        from test_photo import LIMITS, compressed_metadata, peak_memory
        from pgface.errors import PhotoFormatError
        from pgface.faces.photo import open_photo
        files = [compressed_metadata(kind) for kind in (b"zTXt", b"iCCP", b"iTXt")]
        before = peak_memory(reset=True)
        for data in files:
            with contextlib.suppress(PhotoFormatError), open_photo(data, LIMITS):
                pass
        print((peak_memory() - before) / 1e6)
    """)
    assert float(result.stdout) < 32


def peak_memory(*, reset: bool = False) -> int:
    """Return the peak of this process's memory, in bytes."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


@linux
def test_eight_large_photos_share_the_memory_limit() -> None:
    """Each decoded photo takes 96 MB, and the limit for all is 200 MB."""
    result = run_python("""
        from concurrent.futures import ThreadPoolExecutor
        from test_photo import flat_png, peak_memory
        from pgface.faces.photo import PhotoLimits, open_photo
        data, limits = flat_png(4000, 3000), PhotoLimits(1 << 20, 12_000_000, 200_000_000)
        def brightest(_):
            with open_photo(data, limits) as photo:
                return int(photo.pixels.max())
        before = peak_memory(reset=True)
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(brightest, range(8))) == [0] * 8
        print((peak_memory() - before) / 1e6)
    """)
    assert float(result.stdout) < 200


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (here, here.parent)))}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )


# --- kinds of picture


def test_formats() -> None:
    cases: list[tuple[str, dict[str, Any], float]] = [
        ("JPEG", {"quality": 95}, 3),
        ("JPEG", {"quality": 95, "progressive": True}, 3),
        ("WEBP", {"quality": 95}, 4),
        ("WEBP", {"lossless": True}, 0),
        ("PNG", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("BMP", {}, 0),
    ]
    for format_name, options, tolerance in cases:
        assert difference(pixels_of(encoded(PICTURE, format_name, **options)), PIXELS) <= tolerance


def test_grey_and_one_bit() -> None:
    for mode, format_name in [("L", "JPEG"), ("L", "PNG"), ("1", "PNG"), ("1", "TIFF"), ("L", "TIFF")]:
        picture = PICTURE.convert(mode)
        opened = pixels_of(encoded(picture, format_name))
        assert difference(opened, np.asarray(picture.convert("RGB"))) < (4 if format_name == "JPEG" else 0.01)
        assert (opened[..., 0] == opened[..., 2]).all()


def test_a_palette() -> None:
    picture = PICTURE.quantize(64)
    for format_name in ("PNG", "GIF", "TIFF"):
        np.testing.assert_array_equal(pixels_of(encoded(picture, format_name)), np.asarray(picture.convert("RGB")))


def test_transparent_parts_are_mid_grey() -> None:
    for mode, format_name in [("RGB", "PNG"), ("RGB", "TIFF"), ("RGB", "WEBP"), ("L", "PNG")]:
        opened = pixels_of(encoded(half_transparent(mode), format_name, lossless=True))
        assert (opened[:, :60] == 128).all()
        expected = PIXELS if mode == "RGB" else np.repeat(GREY[:, :, None], 3, axis=2)
        assert difference(opened[:, 60:], expected[:, 60:]) < 1


def test_a_half_transparent_pixel_is_mixed_with_the_background() -> None:
    picture = Image.new("RGBA", (2, 2), (255, 255, 255, 128))
    assert abs(int(pixels_of(picture)[0, 0, 0]) - 192) <= 1


def test_a_palette_with_transparency() -> None:
    palette = Image.new("P", (4, 1))
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    palette.putdata([0, 1, 2, 3])
    one_colour = encoded(palette, "PNG", transparency=1)
    each_colour = encoded(palette, "PNG", transparency=bytes([255, 0, 255, 255]))
    for data in (one_colour, each_colour, encoded(palette, "GIF", transparency=1)):
        assert pixels_of(data).tolist() == [[[255, 0, 0], [128, 128, 128], [0, 0, 255], [9, 9, 9]]]


def test_a_transparent_colour() -> None:
    row = b"\0" + bytes([255, 0, 0, 0, 255, 0])
    data = png(2, 1, 8, 2, row, (b"tRNS", bytes([0, 0, 0, 255, 0, 0])))
    assert pixels_of(data).tolist() == [[[255, 0, 0], [128, 128, 128]]]


def test_cmyk() -> None:
    """Pillow writes inverted CMYK in JPEG, as Adobe does, but not in TIFF."""
    picture = PICTURE.convert("CMYK")
    for data in (encoded(picture, "JPEG", quality=95), encoded(picture, "TIFF")):
        assert difference(pixels_of(data), PIXELS) < 4


def test_lab_and_ycbcr() -> None:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    picture = ImageCms.applyTransform(PICTURE, ImageCms.buildTransform(srgb, lab, "RGB", "LAB"))
    assert picture is not None
    assert difference(pixels_of(encoded(picture, "TIFF")), PIXELS) < 2
    assert difference(pixels_of(PICTURE.convert("YCbCr")), PIXELS) < 2


GREY16 = GREY.astype(np.uint16) * 257


def test_16_bit_grey_is_scaled_and_not_clipped() -> None:
    expected = np.repeat(GREY[:, :, None], 3, axis=2)
    little = Image.fromarray(GREY16)
    big_endian = Image.frombytes("I;16B", (120, 160), GREY16.astype(">u2").tobytes())
    assert little.mode == "I;16"
    sources: list[PhotoSource] = [little, big_endian, encoded(little, "PNG"), encoded(little, "TIFF")]
    for source in sources:
        np.testing.assert_array_equal(pixels_of(source), expected)


def test_16_bit_colour() -> None:
    rgb = PIXELS.astype(np.uint16) * 257
    alpha = np.full((160, 120, 1), 65_535, np.uint16)
    np.testing.assert_array_equal(pixels_of(png16(rgb, 2)), PIXELS)
    np.testing.assert_array_equal(pixels_of(png16(np.dstack([rgb, alpha]), 6)), PIXELS)
    grey_alpha = pixels_of(png16(np.dstack([GREY16, alpha]), 4))
    np.testing.assert_array_equal(grey_alpha, np.repeat(GREY[:, :, None], 3, axis=2))


def test_samples_without_a_known_range() -> None:
    wide = Image.fromarray(GREY.astype(np.int32) * 100_000)
    assert error_of(PhotoFormatError, wide) == says.WIDE_SAMPLES_HAVE_NO_RANGE.format(photo="<image>")
    signed = says.SIGNED_SAMPLES_HAVE_NO_RANGE.format(photo="<bytes>")
    assert error_of(PhotoFormatError, encoded(wide, "TIFF")) == signed
    real = Image.fromarray(GREY.astype(np.float32))
    expected = says.FLOATING_POINT_SAMPLES_HAVE_NO_RANGE.format(photo="<bytes>")
    assert error_of(PhotoFormatError, encoded(real, "TIFF")) == expected


@pytest.mark.parametrize("format_name", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation(format_name: str) -> None:
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if format_name == "WEBP" else {}
    data = encoded(frames[0], format_name, save_all=True, append_images=frames[1:], duration=100, **options)
    assert (pixels_of(data) == (255, 0, 0)).all()


# --- orientation


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_eight_orientations_of_exif(orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    stored = Image.fromarray(turned_as(PIXELS, orientation))
    lossless: list[tuple[str, dict[str, Any]]] = [
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ]
    for format_name, options in lossless:
        data = encoded(stored, format_name, exif=exif, **options)
        np.testing.assert_array_equal(pixels_of(data), PIXELS)
    jpeg = encoded(stored, "JPEG", quality=95, exif=exif)
    assert difference(pixels_of(jpeg), PIXELS) < 3
    assert difference(pixels_of(open_lazily(jpeg)), PIXELS) < 3


def open_lazily(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_invalid_exif_is_ignored() -> None:
    for orientation in (0, 9, 65_535):
        exif = Image.Exif()
        exif[274] = orientation
        np.testing.assert_array_equal(pixels_of(encoded(PICTURE, "PNG", exif=exif)), PIXELS)
    broken = b"Exif\0\0II*\0\x08\0\0\0\x02\0\x0f\x01\x02\0\xff\xff\xff\x7f\x00\x00\x00\x01"
    assert difference(pixels_of(encoded(PICTURE, "JPEG", quality=95, exif=broken)), PIXELS) < 3


def test_no_warning_is_visible() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        error_of(PhotoTooLargeError, gif((1, 1), (10_000, 10_000)))
        pixels_of(encoded(PICTURE, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x02\0\x0f\x01\x02\0\xff\xff\xff\x7f"))
        pixels_of(encoded(PICTURE.quantize(8), "PNG", transparency=bytes(8)))
    assert seen == []


# --- HEIC


def heic(pixels: RGBImage, **options: Any) -> bytes:
    buffer = io.BytesIO()
    from_pillow(Image.fromarray(pixels)).save(buffer, format="HEIF", quality=95, **options)
    return buffer.getvalue()


def test_heic() -> None:
    assert difference(pixels_of(heic(PIXELS)), PIXELS) < 4
    image = HeifImageFile(io.BytesIO(heic(PIXELS)))
    assert difference(pixels_of(image), PIXELS) < 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_heic(orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    assert difference(pixels_of(heic(turned_as(PIXELS, orientation), exif=exif.tobytes())), PIXELS) < 4


def test_heic_without_its_package(tmp_path: Path) -> None:
    file = tmp_path / "photo.heic"
    file.write_bytes(heic(PIXELS))
    expected = says.HEIC_NEEDS_ITS_PACKAGE.format(photo="photo.heic")
    assert error_in_another_process(file, 'sys.modules["pillow_heif"] = None') == f"PhotoFormatError {expected}"
