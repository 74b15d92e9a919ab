"""Decode a file to upright RGB pixels, with a fixed list of decoders.

Pillow supports about forty formats. Some of them start other programs: EPS starts Ghostscript. So pgface detects the
format by the first bytes, and calls its decoder directly. The name of the file does not matter, and neither do plugins
that another part of the process has registered.
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
from PIL import Image, ImageCms, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ExifTags import Base as Tag
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from pgface.errors import PhotoFormatError, PhotoTooLargeError
from pgface.faces.decoding.tiff import WHITE_IS_ZERO, Tiff, bits_of, number_of, palette_of_bytes, refuse_unsafe
from pgface.faces.decoding.tone import tone_curves
from pgface.faces.pixels import RGBImage
from pgface.system.extras import how_to_install
from pgface.system.forks import call_after_fork

MAX_JPEG_SCANS = 100
"""A progressive JPEG has about ten scans. Each scan costs a pass over all pixels (47 ms at 64 megapixels), and may have
only 95 bytes. So a file of a megabyte could keep a processor busy for minutes. libtiff has the same limit."""

BACKGROUND_COLOUR = (128, 128, 128, 255)
"""The colour behind transparent pixels. It is mid-grey, so that both dark and light hair stand out against it."""

_STRIP_PIXELS = 1 << 18
_BYTES_PER_PIXEL = 8
"""Peak of memory during decoding, measured at 24 megapixels: up to 4 for Pillow's picture, 3 for the RGB array, and a
little more. Some decoders need more."""
_BYTES_PER_PIXEL_OF = {"WEBP": 17, "HEIF": 12}
_BYTES_PER_PIXEL_PROGRESSIVE = 16

_metadata_lock = threading.Lock()
"""For one thread at a time, because `warnings.catch_warnings` changes the filters of the whole process."""


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
    """The largest width, in pixels, that is in memory during decoding."""
    height: int
    bytes_per_pixel: int
    """Peak of memory during decoding, in bytes."""


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
    # Counting the two bytes of the marker is six times faster than reading the segments, and never too low.
    if format_name == "JPEG" and data.count(b"\xff\xda") > MAX_JPEG_SCANS and _scans(data) > MAX_JPEG_SCANS:
        raise PhotoFormatError(
            f"{name}: this JPEG has more than {MAX_JPEG_SCANS} scans, which no camera writes. Save it again as JPEG."
        )
    with _named_errors(name, format_name), _without_warnings():
        header = header_of(decoder(io.BytesIO(data)))
    if isinstance(header.image, BmpImageFile) and header.image.tile[0][0] == "bmp_rle":
        # Pillow decodes these in Python, run by run. A file of 3 MB keeps the GIL for half a second.
        raise PhotoFormatError(f"{name}: run-length coded BMP is not accepted. Save the photo as JPEG or PNG.")
    return header


def header_of(image: Image.Image) -> Header:
    """Return the size of a picture that Pillow has opened, and the memory to decode it."""
    width, height = image.size
    bytes_per_pixel = _BYTES_PER_PIXEL_OF.get(image.format or "", _BYTES_PER_PIXEL)
    if isinstance(image, TiffImageFile):
        # A tile is decoded as a whole, and may be larger than the picture.
        width = max(width, number_of(image.tag_v2, Tag.TileWidth, 0))
        height = max(height, number_of(image.tag_v2, Tag.TileLength, 0))
    if image.info.get("progressive"):
        bytes_per_pixel = _BYTES_PER_PIXEL_PROGRESSIVE
    return Header(image, width, height, bytes_per_pixel)


def upright_rgb(name: str, header: Header, *, reduced_to: int | None = None) -> tuple[RGBImage, tuple[int, int]]:
    """Decode a picture. Call it once.

    Args:
        name: the photo's name, for the error message.
        header: the header of the picture.
        reduced_to: decode a JPEG at a half, a quarter or an eighth of its size, if its longer side then still has this
            many pixels. libjpeg does that while it decodes, which is faster than decoding all pixels.

    Returns:
        The upright pixels, shape (height, width, 3), uint8, C-contiguous. Transparent parts are mid-grey. Values of
        more than 8 bits are scaled to 8. The tone curve of a colour profile is applied. An animation or a file of
        several pages gives its first picture. Then the width and height of the whole upright picture.

    Raises:
        PhotoFormatError: the file is damaged, or the range of its samples is unknown.

    """
    image = header.image
    with _named_errors(name, image.format or "image"):
        if isinstance(image, TiffImageFile) and not isinstance(image, Tiff):
            refuse_unsafe(image.tag_v2)  # the caller's Pillow image has not passed the checks of `Tiff`
        if reduced_to is not None and isinstance(image, JpegImageFile):
            scale = max(image.size) // reduced_to
            if scale > 1:
                image.draft(None, (max(1, image.width // scale), max(1, image.height // scale)))
        image.load()
        with _without_warnings():
            # After loading, because Pillow turns a TIFF itself and reads a PNG's EXIF behind the pixels.
            orientation = image.getexif().get(Tag.Orientation, 1)
        pixels = _rgb(image)
    size = (header.height, header.width) if orientation in _ON_ITS_SIDE else (header.width, header.height)
    upright = np.ascontiguousarray(_upright(pixels, orientation))
    return upright, size if reduced_to is not None else (upright.shape[1], upright.shape[0])


@contextmanager
def _named_errors(name: str, format_name: str) -> Iterator[None]:
    """Turn the errors of decoders into errors with the photo's name."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise PhotoTooLargeError(
            f"{name}: this {format_name} file declares more pixels than any photo has. Make the photo smaller."
        ) from error
    except PhotoFormatError as error:
        raise PhotoFormatError(f"{name}: {error}") from error
    except Exception as error:  # decoders raise many kinds of errors for damaged bytes
        raise PhotoFormatError(
            f"{name}: this {format_name} file is damaged or incomplete and cannot be decoded. Use the original file."
        ) from error


_DECODERS: dict[str, tuple[bytes, Callable[[io.BytesIO], ImageFile.ImageFile]]] = {
    "JPEG": (rb"\xff\xd8\xff", JpegImageFile),
    "PNG": (rb"\x89PNG\r\n\x1a\n", PngImageFile),
    "WEBP": (rb"RIFF....WEBP", WebPImageFile),
    "GIF": (rb"GIF8[79]a", GifImageFile),
    "TIFF": (rb"II[*+]\0|MM\0[*+]", Tiff),
    "BMP": (rb"BM", BmpImageFile),
}
"""The regular expression for the first bytes of each format, and its decoder."""


def _format_of(data: bytes) -> str:
    for name, (first_bytes, _) in _DECODERS.items():
        if re.match(first_bytes, data, re.DOTALL):
            return name
    if data[4:8] == b"ftyp":
        brands = {data[8:12]} | {data[i : i + 4] for i in range(16, min(int.from_bytes(data[:4]), 256), 4)}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}:
            return "HEIF"
    return ""


def _decoder(name: str, format_name: str, size: int) -> Callable[[io.BytesIO], ImageFile.ImageFile]:
    if format_name in _DECODERS:
        return _DECODERS[format_name][1]
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
        f"{name}: these {size:,} bytes are not a photo that can be decoded. "
        "Give a JPEG, PNG, WebP, GIF, TIFF, BMP or HEIC file."
    )


def _scans(data: bytes) -> int:
    """Count the scans of a JPEG, and stop when there are too many (ITU-T T.81, annex B)."""
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


_ON_ITS_SIDE = (5, 6, 7, 8)
"""The orientations whose rows are columns of the upright picture."""


def _upright(pixels: RGBImage, orientation: int) -> RGBImage:
    """Turn the rows and columns of the file (EXIF 2.32, 4.6.4, tag 274)."""
    if orientation in _ON_ITS_SIDE:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _rgb(image: Image.Image) -> RGBImage:
    """Convert strip by strip, so that no second picture of the full size is needed."""
    width, height = image.size
    bits, white_is_zero = _grey_samples(image)
    curves = None if image.mode in _MODES_WITHOUT_TONE_CURVES else tone_curves(image.info)
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        strip = pixels[top:bottom]
        strip[:] = _rgb_strip(image.crop((0, top, width, bottom)), bits, white_is_zero)
        if curves is not None:
            for channel, curve in enumerate(curves):
                strip[..., channel] = curve[strip[..., channel]]
    return pixels


_MODES_WITHOUT_TONE_CURVES = {"CMYK", "YCbCr", "LAB", "HSV"}
"""Modes whose values are not red, green and blue, so that a profile's curves or a gamma do not apply to them."""


def _grey_samples(image: Image.Image) -> tuple[int, bool]:
    """Return the bits of grey values of more than 8 bits, and whether 0 is white. Pillow's picture does not have them.

    Raises:
        PhotoFormatError: the file does not say what its samples mean.

    """
    if image.mode == "CMYK" and isinstance(image, JpegImageFile) and "adobe" not in image.info:
        raise PhotoFormatError(
            "this CMYK JPEG has no Adobe marker, which says whether 0 is no ink or full ink. Save the photo as RGB."
        )
    # Pillow scales a PGM of more than 8 bits to 16. Any other picture of 32 bits can have any range.
    if image.mode == "I" and image.format != "PPM":
        raise PhotoFormatError("samples of more than 16 bits have no known range. Save the photo with 8 or 16 bits.")
    if not isinstance(image, TiffImageFile):
        return 16, False
    palette = palette_of_bytes(image)
    if palette is not None:
        image.putpalette(palette)
    white_is_zero = image.tag_v2.get(Tag.PhotometricInterpretation) == WHITE_IS_ZERO
    if isinstance(image, Tiff):
        white_is_zero = image.white_is_zero
    return min(max(bits_of(image.tag_v2), 8), 16), white_is_zero


def _rgb_strip(strip: Image.Image, bits: int, white_is_zero: bool) -> NDArray[np.uint8]:
    if strip.mode.startswith("I"):
        return _eight_bits(strip, bits, white_is_zero)[:, :, None]
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


def _eight_bits(strip: Image.Image, bits: int, white_is_zero: bool) -> NDArray[np.uint8]:
    """Scale grey values of 12 or 16 bits, which Pillow keeps in its modes I;16 and I."""
    values = np.asarray(strip)
    grey = (values >> (bits - 8)).astype(np.uint8)
    if white_is_zero:
        grey = ~grey
    transparent = strip.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = BACKGROUND_COLOUR[0]
    return grey


def _lab_to_srgb() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
