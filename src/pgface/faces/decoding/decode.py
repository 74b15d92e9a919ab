"""File bytes to upright RGB pixels, with a fixed list of decoders.

Pillow knows about forty formats. Some of them start other programs: EPS starts Ghostscript. Here the first bytes tell
the format, and its decoder is called directly. The name of the file does not matter, and neither do plugins that
another part of the process has registered.
"""

from __future__ import annotations

import io
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from pgface.errors import PhotoFormatError, PhotoTooLargeError
from pgface.faces.decoding.tiff import Tiff, bits_of, palette_of_bytes, refuse_unsafe
from pgface.faces.decoding.tone import tone_curves
from pgface.faces.pixels import RGBImage
from pgface.system.extras import how_to_install
from pgface.system.forks import call_after_fork

ACCEPTED_FORMATS = "JPEG, PNG, WebP, GIF, TIFF, BMP or HEIC"

MAX_JPEG_SCANS = 100
"""A progressive JPEG has about ten scans. Each costs a pass over all pixels (47 ms at 64 megapixels) and as few as 95
bytes. So a file of a megabyte could keep a processor busy for minutes. libtiff has the same limit."""

BACKGROUND_COLOUR = (128, 128, 128, 255)
"""The colour behind transparent pixels. It is mid-grey, so that both dark and light hair stand out against it."""

_STRIP_PIXELS = 1 << 18
_BYTES_PER_PIXEL = 8
"""Peak of memory while a picture is decoded, measured at 24 megapixels: up to 4 for Pillow's picture, 3 for the RGB
array, and a little more. Some decoders need more memory than this."""
_BYTES_PER_PIXEL_OF = {"WEBP": 17, "HEIF": 12}
_BYTES_PER_PIXEL_PROGRESSIVE = 16

# Only one thread at a time, because `warnings.catch_warnings` changes the filters of the whole process.
_metadata_lock = threading.Lock()


@call_after_fork
def _renew_metadata_lock() -> None:
    global _metadata_lock
    _metadata_lock = threading.Lock()


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Read metadata without Pillow's warnings: about sizes, which pgface checks itself, and about unimportant tags."""
    with _metadata_lock, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """A picture whose header is read, but not its pixels."""

    image: Image.Image
    width: int
    """The largest width, in pixels, that is held in memory to decode it."""
    height: int
    bytes_per_pixel: int
    """Peak of memory while it is decoded, in bytes."""


def read_header(name: str, data: bytes) -> Header:
    """Detect the format and read the header of a picture, without its pixels.

    Args:
        name: the photo's name, for the error message.
        data: the file's bytes.

    Raises:
        PhotoFormatError: the bytes are damaged, or are not a picture of an accepted format.

    """
    format_name = _format_of(data)
    decoder = _decoder(name, format_name, len(data))
    # Counting the two bytes of the marker is six times faster than reading the segments, and never gives too few.
    if format_name == "JPEG" and data.count(b"\xff\xda") > MAX_JPEG_SCANS and _scans(data) > MAX_JPEG_SCANS:
        raise PhotoFormatError(
            f"{name}: this JPEG has more than {MAX_JPEG_SCANS} scans, which no camera writes. Save it again as JPEG."
        )
    try:
        with _without_warnings():
            header = header_of(decoder(io.BytesIO(data)))
    except Image.DecompressionBombError as error:
        raise PhotoTooLargeError(
            f"{name}: this {format_name} file declares more pixels than any photo has. Make the photo smaller."
        ) from error
    except PhotoFormatError as error:
        raise PhotoFormatError(f"{name}: {error}") from error
    except Exception as error:  # decoders raise many kinds of errors for damaged bytes
        raise _damaged(name, format_name) from error
    if isinstance(header.image, BmpImageFile) and header.image.tile[0][0] == "bmp_rle":
        # Pillow decodes these in Python, run by run. A file of 3 MB holds Python's lock for half a second.
        raise PhotoFormatError(f"{name}: run-length coded BMP is not accepted. Save the photo as JPEG or PNG.")
    return header


def header_of(image: Image.Image) -> Header:
    """Return the costs of decoding a picture that Pillow has opened."""
    width, height = image.size
    bytes_per_pixel = _BYTES_PER_PIXEL_OF.get(image.format or "", _BYTES_PER_PIXEL)
    if isinstance(image, TiffImageFile):
        # A tile is decoded as a whole, and may be larger than the picture.
        tile_width, tile_height = (_integer(image.tag_v2.get(tag)) for tag in (322, 323))
        width, height = max(width, tile_width), max(height, tile_height)
    if image.info.get("progressive"):
        bytes_per_pixel = _BYTES_PER_PIXEL_PROGRESSIVE
    return Header(image, width, height, bytes_per_pixel)


def _integer(value: object) -> int:
    """Return the value of a tag. A file may give it any type."""
    return value if isinstance(value, int) else 0


def upright_rgb(name: str, header: Header) -> RGBImage:
    """Decode a picture. Call it once.

    Returns:
        The upright pixels, shape (height, width, 3), uint8, C-contiguous. Transparent parts are mid-grey. Values of
        more than 8 bits are scaled to 8. The tone curve of a colour profile is applied. An animation or a file of
        several pages gives its first picture.

    Raises:
        PhotoFormatError: the file is damaged, or the range of its samples is unknown.

    """
    image = header.image
    try:
        if isinstance(image, TiffImageFile) and not isinstance(image, Tiff):
            refuse_unsafe(image.tag_v2)  # the caller's own Pillow image did not pass the check of `_Tiff`
        image.load()
        with _without_warnings():
            # After loading, because Pillow turns a TIFF itself and reads a PNG's EXIF behind the pixels.
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        pixels = _rgb(image)
    except PhotoFormatError as error:
        raise PhotoFormatError(f"{name}: {error}") from error
    except Exception as error:  # decoders raise many kinds of errors for damaged bytes
        raise _damaged(name, image.format or "image") from error
    return np.ascontiguousarray(_TURNS.get(orientation, _TURNS[1])(pixels))


def _damaged(name: str, format_name: str) -> PhotoFormatError:
    return PhotoFormatError(
        f"{name}: this {format_name} file is damaged or incomplete and cannot be decoded. Use the original file."
    )


def _format_of(data: bytes) -> str:
    if data[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if data[:2] == b"BM":
        return "BMP"
    if data[4:8] == b"ftyp":
        brands = {data[8:12]} | {data[i : i + 4] for i in range(16, min(int.from_bytes(data[:4]), 256), 4)}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}:
            return "HEIF"
    return ""


_DECODERS: dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
    "GIF": GifImageFile,
    "TIFF": Tiff,
    "BMP": BmpImageFile,
}


def _decoder(name: str, format_name: str, size: int) -> Callable[[io.BytesIO], ImageFile.ImageFile]:
    if format_name in _DECODERS:
        return _DECODERS[format_name]
    if format_name == "HEIF":
        try:
            from pillow_heif import HeifImageFile
        except ImportError as error:
            raise PhotoFormatError(
                f"{name}: HEIC needs the package pillow-heif. Run {how_to_install('heif')}, or save the photo as JPEG."
            ) from error
        return HeifImageFile  # type: ignore[no-any-return]
    if format_name == "AVIF":
        # A file of 2 kB that declared 64x64 pixels was decoded at 11,000x11,000 and then reduced, past every limit.
        raise PhotoFormatError(f"{name}: AVIF is not accepted. Save the photo as JPEG or PNG.")
    if size == 0:
        raise PhotoFormatError(f"{name}: the file is empty (0 bytes). Use the original file.")
    raise PhotoFormatError(
        f"{name}: these {size:,} bytes are not a photo that can be decoded. Give a {ACCEPTED_FORMATS} file."
    )


def _scans(data: bytes) -> int:
    """Count the scans of a JPEG, up to the first that is too many (ITU-T T.81, annex B)."""
    count, at = 0, 2
    while count <= MAX_JPEG_SCANS and (marker := _MARKER.search(data, at)):
        kind, at = marker[1], marker.end()
        if kind == b"\xd9":
            break
        if kind == b"\xda":
            count += 1
        at += int.from_bytes(data[at : at + 2])
    return count


_MARKER = re.compile(rb"\xff+([^\x00\x01\xd0-\xd8\xff])")
"""The start of a segment with a length. In entropy-coded data, 0xff is followed by zero or a restart marker."""

_TURNS: dict[int, Callable[[RGBImage], RGBImage]] = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}
"""The turn from the file's rows and columns to the upright picture, for each value of EXIF's Orientation."""


def _rgb(image: Image.Image) -> RGBImage:
    """Convert strip by strip, so that no second picture of the full size is needed."""
    width, height = image.size
    samples = _samples_of(image)
    curves = tone_curves(image.info) if image.mode in _MODES_WITH_TONE_CURVES else None
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        strip = pixels[top:bottom]
        strip[:] = _rgb_strip(image.crop((0, top, width, bottom)), samples)
        if curves is not None:
            for channel, curve in enumerate(curves):
                strip[..., channel] = curve[strip[..., channel]]
    return pixels


_MODES_WITH_TONE_CURVES = {
    "1",
    "L",
    "LA",
    "La",
    "P",
    "PA",
    "RGB",
    "RGBA",
    "RGBa",
    "RGBX",
    "I",
    "I;16",
    "I;16L",
    "I;16B",
}
"""Modes whose values after decoding are red, green and blue, so that a profile's curves or a gamma apply to them."""


@dataclass(frozen=True, slots=True)
class _Samples:
    """The meaning of grey values of more than 8 bits."""

    bits: int
    """The largest value."""
    white_is_zero: bool


def _samples_of(image: Image.Image) -> _Samples:
    """Read what Pillow's picture does not tell about its samples.

    Raises:
        PhotoFormatError: the file does not tell what the samples mean.

    """
    if image.mode == "CMYK" and isinstance(image, JpegImageFile) and "adobe" not in image.info:
        raise PhotoFormatError(
            "this CMYK JPEG lacks Adobe's marker, which tells whether 0 is no ink or full ink. Save the photo as RGB."
        )
    # Pillow scales a PGM of more than 8 bits to 16. Any other picture of 32 bits can have any range.
    if image.mode == "I" and image.format != "PPM":
        raise PhotoFormatError("samples of more than 16 bits have no known range. Save the photo with 8 or 16 bits.")
    if not isinstance(image, TiffImageFile):
        return _Samples(16, white_is_zero=False)
    palette = palette_of_bytes(image)
    if palette is not None:
        image.putpalette(palette)
    negative = image.white_is_zero if isinstance(image, Tiff) else image.tag_v2.get(262) == 0
    return _Samples(min(max(bits_of(image.tag_v2), 8), 16), negative)


def _rgb_strip(strip: Image.Image, samples: _Samples) -> NDArray[np.uint8]:
    if strip.mode.startswith("I"):
        return _eight_bits(strip, samples)[:, :, None]
    if strip.mode == "F":
        raise PhotoFormatError("floating-point samples have no known range. Save the photo with 8 or 16 bits.")
    if strip.mode == "LAB":
        return np.asarray(ImageCms.applyTransform(strip, _lab_to_srgb()))
    strip = strip.convert(_ALPHA_MODES.get(strip.mode, strip.mode))
    if strip.has_transparency_data:
        background = Image.new("RGBA", strip.size, BACKGROUND_COLOUR)
        background.alpha_composite(strip.convert("RGBA"))
        strip = background
    return np.asarray(strip.convert("RGB"))


_ALPHA_MODES = {"La": "LA", "RGBa": "RGBA"}
"""The only mode to which Pillow converts each of these."""


def _eight_bits(strip: Image.Image, samples: _Samples) -> NDArray[np.uint8]:
    """Return grey values of 12 or 16 bits, which Pillow keeps in its modes I;16 and I."""
    values = np.asarray(strip)
    grey = (values >> (samples.bits - 8)).astype(np.uint8)
    if samples.white_is_zero:
        grey = ~grey
    transparent = strip.info.get("transparency")
    return (
        np.where(values == transparent, np.uint8(BACKGROUND_COLOUR[0]), grey) if isinstance(transparent, int) else grey
    )


def _lab_to_srgb() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
