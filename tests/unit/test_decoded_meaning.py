"""Samples of every kind are decoded to the right scene, or refused with the reason."""

from __future__ import annotations

import io
import struct
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
import skimage.data
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

from pgface.errors import PhotoFormatError
from pgface.faces.photo import PhotoLimits, PhotoSource, open_photo
from pgface.faces.pixels import RGBImage
from support.pictures import encoded, png, png16, tiff_of
from support.sentences import photos as says

LIMITS = PhotoLimits(max_bytes=1 << 22, max_pixels=1_000_000, max_decoded_bytes=64 << 20)
SCENE: RGBImage = np.ascontiguousarray(skimage.data.astronaut()[20:180:2, 150:270:2])
"""A face, 60×80 pixels."""
PICTURE = Image.fromarray(SCENE)
GREY = np.asarray(PICTURE.convert("L"))
GREY_SCENE = np.repeat(GREY[:, :, None], 3, axis=2)

Samples = NDArray[np.unsignedinteger[Any]]


def decoded(source: PhotoSource) -> RGBImage:
    with open_photo(source, LIMITS) as photo:
        return photo.pixels


def difference(one: RGBImage, other: RGBImage) -> float:
    """Mean difference of two pictures, 0 to 255."""
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other).mean())


def right_or_refused(source: PhotoSource, meant: RGBImage, *, tolerance: float) -> str:
    """Return "right" if the picture is decoded correctly, or the reason of its refusal. Fail for anything else."""
    reason = ""
    try:
        found = decoded(source)
    except PhotoFormatError as error:
        reason = str(error)
    if reason:
        # The file is complete, so "damaged" would be a wrong reason.
        assert not says.DAMAGED_FILE.is_in(reason, photo="<bytes>", kind="TIFF"), reason
        return reason
    assert difference(found, meant) <= tolerance
    return "right"


# TIFF


def wide(values: NDArray[np.uint8], bits: int) -> Samples:
    """Return samples with a number of bits, shape (height, width, channels)."""
    samples: Samples = np.round(values / 255 * (2**bits - 1)).astype(np.uint64)
    return samples if samples.ndim == 3 else samples[:, :, None]


def stored_in(bits: int, values: NDArray[np.uint8]) -> RGBImage:
    """Return the scene that is left after it was stored with a number of bits."""
    shown = np.round(wide(values, bits) / (2**bits - 1) * 255).astype(np.uint8)
    return np.repeat(shown, 3, axis=2) if shown.shape[2] == 1 else shown


def as_mode(mode: str) -> NDArray[np.uint8]:
    return np.asarray(PICTURE.convert(mode))


def lab() -> NDArray[np.uint8]:
    """Return CIELab as TIFF stores it, with signed a* and b*."""
    transform = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    converted = ImageCms.applyTransform(PICTURE, transform)
    assert converted is not None
    return np.asarray(converted)


def opaque(bits: int) -> Samples:
    return np.full((*GREY.shape, 1), 2**bits - 1, np.uint64)


@cache
def kinds_of_tiff() -> dict[str, tuple[tuple[Any, ...], dict[str, Any], RGBImage]]:
    """Return for each kind: samples and photometric interpretation, more arguments of `tiff_of`, the right scene."""
    kinds: dict[str, tuple[tuple[Any, ...], dict[str, Any], RGBImage]] = {}
    for bits in (1, 2, 4, 8, 12, 16, 32):
        grey, meant = wide(GREY, bits), stored_in(bits, GREY)
        kinds[f"black is zero, {bits}"] = (grey, 1), {"bits": bits}, meant
        kinds[f"white is zero, {bits}"] = (2**bits - 1 - grey, 0), {"bits": bits}, meant
    for bits in (8, 16, 32):
        for photometric in (0, 1):
            signed = {"bits": bits, "sample_format": 2}
            kinds[f"signed {photometric}, {bits}"] = (wide(GREY, bits - 1), photometric), signed, GREY_SCENE
        kinds[f"signed colour, {bits}"] = (wide(SCENE, bits - 1), 2), {"bits": bits, "sample_format": 2}, SCENE
    for bits, kind in ((16, np.float16), (32, np.float32), (64, np.float64)):
        floats = (GREY / 255).astype(kind).view(f"u{bits // 8}").astype(np.uint64)[:, :, None]
        for photometric in (0, 1):
            real = {"bits": bits, "sample_format": 3}
            kinds[f"float {photometric}, {bits}"] = (floats, photometric), real, GREY_SCENE
    for bits in (4, 8, 12, 16, 32):
        kinds[f"colour, {bits}"] = (wide(SCENE, bits), 2), {"bits": bits}, stored_in(bits, SCENE)
    for bits, extra in product((8, 16), (0, 1, 2)):
        more = {"bits": bits, "extra": [extra]}
        kinds[f"colour with {extra}, {bits}"] = (np.dstack([wide(SCENE, bits), opaque(bits)]), 2), more, SCENE
        kinds[f"grey with {extra}, {bits}"] = (np.dstack([wide(GREY, bits), opaque(bits)]), 1), more, GREY_SCENE
    for bits in (8, 16):
        kinds[f"inks, {bits}"] = (wide(as_mode("CMYK"), bits), 5), {"bits": bits}, SCENE
    kinds["other inks"] = (as_mode("CMYK"), 5), {"more": [(332, 3, [2])]}, SCENE
    kinds["luminance and colour"] = (as_mode("YCbCr"), 6), {"more": [(530, 3, [1, 1])]}, SCENE
    kinds["luminance and less colour"] = (as_mode("YCbCr"), 6), {"more": [(530, 3, [2, 2])]}, SCENE
    narrow = [(530, 3, [1, 1]), (532, 5, [16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1])]
    kinds["luminance of video"] = (as_mode("YCbCr"), 6), {"more": narrow}, SCENE
    kinds["CIELab"] = (lab(), 8), {}, SCENE
    for number in (4, 9, 10, 32803, 32844, 32845, 34892):
        kinds[f"photometric {number}"] = (SCENE, number), {}, SCENE
    few = PICTURE.quantize(16)
    colours = np.zeros((3, 256), int)
    colours[:, :16] = np.array(few.getpalette()[:48]).reshape(-1, 3).T  # type: ignore[index]
    for bits, scale in product((4, 8), (257, 1)):
        palette = (colours[:, : 2**bits] * scale).ravel().tolist()
        meant = np.asarray(few.convert("RGB"))
        more = {"bits": bits, "more": [(320, 3, palette)]}
        kinds[f"palette of {scale}, {bits}"] = (np.asarray(few)[:, :, None], 3), more, meant
    kinds["three pages"] = (GREY[:, :, None], 1), {"pages": 3}, GREY_SCENE
    return kinds


ALWAYS_RIGHT = {
    *(f"black is zero, {bits}" for bits in (1, 2, 4, 8, 16)),
    *(f"white is zero, {bits}" for bits in (1, 2, 4, 8, 16)),
    *("colour, 8", "colour, 16", "inks, 8", "inks, 16", "CIELab", "luminance and colour", "three pages"),
    *(f"palette of {scale}, {bits}" for scale, bits in product((257, 1), (4, 8))),
    *(f"colour with {extra}, {bits}" for extra, bits in product((0, 1, 2), (8, 16))),
    *(f"grey with {extra}, 8" for extra in (0, 1, 2)),
}
"""The kinds that are decoded in the usual layout: all channels together, and bits in their order."""
ONLY_PLAIN = {"luminance and less colour", "luminance of video"}
"""If these are compressed, libtiff follows their tags, and the samples here are another picture."""
NEVER = {"signed", "float", "other inks", "photometric", *ONLY_PLAIN}
"""These are refused in every layout, because their range or their meaning is unknown."""


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("tile", [0, 32], ids=["strips", "tiles"])
@pytest.mark.parametrize("deflated", [False, True], ids=["plain", "deflated"])
def test_every_kind_of_tiff_is_right_or_refused(order: str, tile: int, deflated: bool) -> None:
    for name, ((samples, photometric), more, meant) in kinds_of_tiff().items():
        if deflated and name in ONLY_PLAIN:
            continue
        for planar, fill_order in product((False, True), (1, 2)):
            layout: dict[str, Any] = {
                "order": order,
                "tile": tile,
                "deflated": deflated,
                "planar": planar,
                "fill_order": fill_order,
            }
            outcome = right_or_refused(tiff_of(samples, photometric, **layout, **more), meant, tolerance=2)
            usual = not planar and fill_order == 1
            if usual and name in ALWAYS_RIGHT:
                assert outcome == "right", (name, layout)
            if any(name.startswith(never) for never in NEVER):
                assert outcome != "right", (name, layout)


@pytest.mark.parametrize("kind", ["black is zero, 16", "white is zero, 16", "white is zero, 8", "signed 1, 16"])
def test_a_tiff_that_pillow_opened_is_right_or_refused(kind: str) -> None:
    (samples, photometric), more, meant = kinds_of_tiff()[kind]
    opened = Image.open(io.BytesIO(tiff_of(samples, photometric, **more)))
    assert (right_or_refused(opened, meant, tolerance=1) == "right") is not kind.startswith("signed")


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.uint32, np.float32])
def test_tiffs_of_another_program(photometric: str, kind: type[np.generic]) -> None:
    """tifffile, which scientists use, writes the files."""
    buffer = io.BytesIO()
    scale = {np.uint8: 1, np.uint16: 257, np.int16: 128, np.uint32: 16_843_009, np.float32: 1 / 255}[kind]
    values = (GREY * np.float64(scale)).astype(kind)
    if photometric == "miniswhite" and kind in (np.uint8, np.uint16):
        values = np.asarray(np.iinfo(kind).max - values).astype(kind)
    tifffile.imwrite(buffer, values, photometric=photometric)
    outcome = right_or_refused(buffer.getvalue(), GREY_SCENE, tolerance=1)
    assert (outcome == "right") is (kind in (np.uint8, np.uint16))


def test_compressed_tiffs_of_pillow() -> None:
    for mode, compression in (
        ("L", "jpeg"),
        ("RGB", "jpeg"),
        ("CMYK", "tiff_lzw"),
        ("LAB", "tiff_lzw"),
        ("1", "group4"),
        ("I;16", "tiff_lzw"),
        ("P", "packbits"),
    ):
        if mode == "LAB":
            picture = Image.frombytes("LAB", PICTURE.size, lab().tobytes())
        elif mode == "I;16":
            picture = Image.fromarray(GREY.astype(np.uint16) * 257)
        else:
            picture = PICTURE.convert(mode)
        meant = GREY_SCENE if mode == "I;16" else SCENE if mode == "LAB" else np.asarray(picture.convert("RGB"))
        options = {"quality": 97} if compression == "jpeg" else {}
        data = encoded(picture, "TIFF", compression=compression, **options)
        assert right_or_refused(data, meant, tolerance=4) == "right", mode


def test_a_tiff_without_photometric_interpretation() -> None:
    data = bytearray(tiff_of(GREY[:, :, None], 1))
    place = data.index(struct.pack("<HHI", 262, 3, 1))
    data[place : place + 2] = struct.pack("<H", 263)
    with pytest.raises(PhotoFormatError, match=says.ZERO_HAS_NO_MEANING.pattern(photo="<bytes>")):
        decoded(bytes(data))


def test_the_error_says_what_is_not_accepted() -> None:
    grey = wide(GREY, 16)
    reason = says.KIND_OF_TIFF_IS_NOT_ACCEPTED.pattern(photometric=9, samples=3, bits=8)
    with pytest.raises(PhotoFormatError, match=reason):
        decoded(tiff_of(SCENE, 9))
    with pytest.raises(PhotoFormatError, match=says.SIGNED_SAMPLES_HAVE_NO_RANGE.pattern(photo="<bytes>")):
        decoded(tiff_of(grey // 2, 1, bits=16, sample_format=2))


# Other greys of more than 8 bits


def test_greys_of_16_bits_in_png() -> None:
    grey = GREY.astype(np.uint16) * 257
    alpha = np.full((*GREY.shape, 1), 65_535, np.uint16)
    assert difference(decoded(encoded(Image.fromarray(grey), "PNG")), GREY_SCENE) == 0
    assert difference(decoded(png16(np.dstack([grey, alpha]), 4)), GREY_SCENE) == 0
    for depth in (1, 2, 4):
        samples = wide(GREY, depth)[:, :, 0].astype(np.uint8)
        places = (samples[:, :, None] >> np.arange(depth - 1, -1, -1)) & 1
        rows = np.packbits(places.reshape(len(samples), -1).astype(np.uint8), axis=1)
        data = png(samples.shape[1], samples.shape[0], depth, 0, b"".join(b"\0" + row.tobytes() for row in rows))
        assert difference(decoded(data), stored_in(depth, GREY)) == 0


def test_a_transparent_grey_of_16_bits() -> None:
    rows = b"\0" + struct.pack(">HH", 65_535, 4_660)
    data = png(2, 1, 16, 0, rows, (b"tRNS", struct.pack(">H", 4_660)))
    assert decoded(data).tolist() == [[[255] * 3, [128] * 3]]


@pytest.mark.parametrize("maximum", [255, 1_023, 4_095, 65_535])
def test_a_pgm_that_pillow_opened(maximum: int) -> None:
    values = np.round(GREY / 255 * maximum)
    data = b"P5 %d %d %d\n" % (GREY.shape[1], GREY.shape[0], maximum)
    data += values.astype("u1" if maximum < 256 else ">u2").tobytes()
    assert difference(decoded(Image.open(io.BytesIO(data))), GREY_SCENE) <= 1
    with pytest.raises(PhotoFormatError):  # the format of the file is not accepted
        decoded(data)


def test_a_jpeg_2000_that_pillow_opened() -> None:
    grey = Image.fromarray(GREY.astype(np.uint16) * 257)
    for picture, meant in ((grey, GREY_SCENE), (PICTURE, SCENE), (PICTURE.convert("L"), GREY_SCENE)):
        data = encoded(picture, "JPEG2000", irreversible=False)
        assert difference(decoded(Image.open(io.BytesIO(data))), meant) <= 1
        with pytest.raises(PhotoFormatError):
            decoded(data)


# Pictures in memory


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "I;16", "I;16B"]
)
def test_modes_of_pillow(mode: str) -> None:
    if mode.startswith("I"):
        order = ">" if mode.endswith("B") else "<"
        picture = Image.frombytes(mode, PICTURE.size, (GREY.astype(np.uint16) * 257).astype(f"{order}u2").tobytes())
        meant = GREY_SCENE
    else:
        by_way_of = {"La": "LA", "RGBa": "RGBA", "PA": "P"}.get(mode, mode)
        picture = PICTURE.convert(by_way_of).convert(mode)
        meant = GREY_SCENE if mode.startswith("L") else SCENE
        if mode in ("1", "P", "PA"):  # these have fewer colours
            meant = np.asarray(picture.convert("RGB"))
    assert difference(decoded(picture), meant) <= (3 if mode == "HSV" else 2)


@pytest.mark.parametrize("scale", [1, 257, 16_843_009])
def test_integers_of_any_range_are_refused(scale: int) -> None:
    """If integers from 0 to 255 were decoded as 16 bits, they would be black."""
    picture = Image.fromarray((GREY.astype(np.int64) * scale).astype(np.int32))
    assert picture.mode == "I"
    with pytest.raises(PhotoFormatError, match=says.WIDE_SAMPLES_HAVE_NO_RANGE.pattern(photo="<image>")):
        decoded(picture)


@pytest.mark.parametrize("scale", [1 / 255, 1.0])
def test_floating_point_is_refused(scale: float) -> None:
    picture = Image.fromarray((GREY * scale).astype(np.float32))
    with pytest.raises(PhotoFormatError, match=says.FLOATING_POINT_SAMPLES_HAVE_NO_RANGE.pattern(photo="<image>")):
        decoded(picture)


# JPEG


def without_adobe(data: bytes) -> bytes:
    """Return the JPEG without its segment APP14."""
    place = data.index(b"\xff\xee")
    return data[:place] + data[place + 2 + int.from_bytes(data[place + 2 : place + 4]) :]


def test_cmyk_jpeg() -> None:
    data = encoded(PICTURE.convert("CMYK"), "JPEG", quality=97)
    assert b"Adobe" in data
    assert difference(decoded(data), SCENE) < 4
    with pytest.raises(PhotoFormatError, match=says.CMYK_WITHOUT_ADOBES_MARKER.pattern(photo="<bytes>")):
        decoded(without_adobe(data))


def test_the_first_picture_of_an_mpo() -> None:
    second = Image.fromarray(255 - SCENE)
    data = encoded(PICTURE, "MPO", save_all=True, append_images=[second], quality=97)
    assert difference(decoded(data), SCENE) < 4
    assert difference(decoded(Image.open(io.BytesIO(data))), SCENE) < 4


# Tone curves


def linear(values: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the light of sRGB values, 0 to 1 (IEC 61966-2-1)."""
    v = values / 255
    return np.asarray(np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4))


def as_bytes(light: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.round(255 * light).astype(np.uint8)


def png_of(pixels: NDArray[np.uint8], *chunks: tuple[bytes, bytes]) -> bytes:
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    return png(pixels.shape[1], pixels.shape[0], 8, 2 if pixels.ndim == 3 else 0, rows, *chunks)


def gama(gamma: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(gamma * 100_000))


@pytest.mark.parametrize("gamma", [1.0, 1 / 1.8, 1 / 2.2, 0.7])
def test_the_gamma_of_a_png(gamma: float) -> None:
    stored = as_bytes(linear(SCENE) ** gamma)
    assert difference(decoded(png_of(stored, gama(gamma))), SCENE) < 4
    stored = as_bytes(linear(GREY) ** gamma)
    assert difference(decoded(png_of(stored, gama(gamma))), GREY_SCENE) < 4


def test_srgb_has_priority_over_gamma() -> None:
    assert difference(decoded(png_of(SCENE, (b"sRGB", b"\0"), gama(1.0))), SCENE) == 0
    assert difference(decoded(png_of(SCENE, gama(0.45455))), SCENE) == 0


@pytest.mark.parametrize("gamma", [0.00001, 100.0])
def test_a_gamma_out_of_range(gamma: float) -> None:
    with pytest.raises(PhotoFormatError, match=says.NO_PICTURES_GAMMA.pattern(photo="<bytes>")):
        decoded(png_of(SCENE, gama(gamma)))


def profile(*curves: bytes, space: bytes = b"RGB ") -> bytes:
    """Return an ICC profile that contains only tone curves."""
    names = [b"kTRC"] if space == b"GRAY" else [b"rTRC", b"gTRC", b"bTRC"]
    offset = 132 + 12 * len(names)
    table, body = struct.pack(">I", len(names)), b""
    for name, curve in zip(names, curves, strict=True):
        table += struct.pack(">4sII", name, offset + len(body), len(curve))
        body += curve + bytes(-len(curve) % 4)
    head = bytearray(128)
    head[0:4] = struct.pack(">I", offset + len(body))
    head[8:12], head[12:16], head[16:20], head[20:24] = b"\4\x30\0\0", b"mntr", space, b"XYZ "
    head[36:40] = b"acsp"
    return bytes(head) + table + body


def fixed(*numbers: float) -> bytes:
    return struct.pack(f">{len(numbers)}i", *(round(number * 65_536) for number in numbers))


CURVES = {
    "linear": b"curv" + bytes(4) + struct.pack(">I", 0),
    "gamma 1": b"curv" + bytes(4) + struct.pack(">IH", 1, 256),
    "two points": b"curv" + bytes(4) + struct.pack(">IHH", 2, 0, 65_535),
    "parametric 0": b"para" + bytes(4) + struct.pack(">HH", 0, 0) + fixed(1.0),
    "parametric 3": b"para" + bytes(4) + struct.pack(">HH", 3, 0) + fixed(1.0, 1.0, 0.0, 1.0, 0.5),
}


@pytest.mark.parametrize("kind", CURVES)
@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_a_profile_of_linear_light(kind: str, format_name: str) -> None:
    all_options: dict[str, dict[str, Any]] = {"JPEG": {"quality": 98}, "WEBP": {"lossless": True}}
    options = all_options.get(format_name, {})
    stored = Image.fromarray(as_bytes(linear(SCENE)))
    data = encoded(stored, format_name, icc_profile=profile(*[CURVES[kind]] * 3), **options)
    assert difference(decoded(stored), SCENE) > 30  # the profile makes a difference
    assert difference(decoded(data), SCENE) < 6


def test_a_profile_of_grey_and_one_that_inverts() -> None:
    stored = Image.fromarray(as_bytes(linear(GREY)))
    data = encoded(stored, "PNG", icc_profile=profile(CURVES["linear"], space=b"GRAY"))
    assert difference(decoded(data), GREY_SCENE) < 4
    points = np.round(65_535 * linear(np.arange(255, -1, -1).astype(np.uint8))).astype(">u2")
    inverting = b"curv" + bytes(4) + struct.pack(">I", 256) + points.tobytes()
    data = encoded(Image.fromarray(255 - SCENE), "PNG", icc_profile=profile(*[inverting] * 3))
    assert difference(decoded(data), SCENE) < 1


def test_profiles_that_are_nearly_srgb_change_nothing() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    power = profile(*[b"curv" + bytes(4) + struct.pack(">IH", 1, round(2.2 * 256))] * 3)
    for icc in (srgb, power, b"\0" * 10, b"acsp" * 100, profile(*[b"curv" + b"\xff" * 8] * 3)[:200]):
        assert difference(decoded(encoded(PICTURE, "PNG", icc_profile=icc)), SCENE) == 0


# HEIC


def test_heic_of_ten_bits() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    wider = (SCENE.astype(np.uint16) * 257).astype("<u2")
    file = pillow_heif.from_bytes("RGB;16", PICTURE.size, wider.tobytes())
    buffer = io.BytesIO()
    file.save(buffer, quality=95)
    assert difference(decoded(buffer.getvalue()), SCENE) < 6
