"""Open a photo from any source as upright RGB pixels, and check its limits before its memory is allocated."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pgface.errors import PhotoFormatError, PhotoNotReadableError, PhotoTooLargeError
from pgface.faces.cancellation import check_work, current_work
from pgface.faces.decoding.budget import ByteBudget
from pgface.faces.decoding.decode import Header, header_of, read_header, upright_rgb
from pgface.faces.pixels import Picture, RGBImage
from pgface.settings import Settings
from pgface.system.timing import stage


@dataclass(frozen=True, slots=True)
class Upload:
    """The bytes of a photo's file, with the file's name."""

    name: str
    data: bytes = field(repr=False)


PhotoSource = str | os.PathLike[str] | bytes | Upload | Image.Image | NDArray[np.uint8]
"""A path, the bytes of a file with or without its name, a Pillow image, or RGB pixels of shape (height, width, 3) and
dtype uint8."""

MAX_SIDE = 65_535
"""Maximum side in pixels, as in JPEG. A longer picture is not a photo, and some resizers fail on it."""
REDUCED_SIDE = 960
"""Minimum longer side of a reduced photo, in pixels. The face of a portrait then has enough pixels."""
ARRAY_BYTES_PER_PIXEL = 4
"""Bytes of the budget for a decoded pixel, because an engine makes a copy of it."""


@dataclass(frozen=True, slots=True)
class PhotoLimits:
    """The limits of a photo: the size of its file, its width times its height, and the memory for decoded photos."""

    max_bytes: int
    max_pixels: int
    max_decoded_bytes: int
    """The limit for all threads of the process together."""

    @classmethod
    def from_settings(cls, settings: Settings) -> PhotoLimits:
        """Read the limits from the settings of the process."""
        return cls(settings.max_photo_bytes, settings.max_photo_pixels, settings.max_decoded_bytes)


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """An open photo."""

    name: str
    """The file's name, or `<bytes>` or `<image>` for a source without a name."""
    picture: Picture
    """The pixels, perhaps of a reduced photo."""
    content_sha256: str
    """Hexadecimal SHA-256 of the file's bytes. For a Pillow image or an array, that of a line with the size and of the
    upright RGB pixels after it."""

    @property
    def pixels(self) -> RGBImage:
        """All upright pixels, shape (height, width, 3), uint8."""
        return self.picture.whole()


_budget = ByteBudget()


@contextmanager
def open_photo(source: PhotoSource, limits: PhotoLimits, *, reduced: bool = False) -> Iterator[Photo]:
    """Open a photo, and reserve its share of the memory for decoded photos until the block ends.

    If that memory is in use, this waits for other threads to close their photos.

    Args:
        source: see `PhotoSource`.
        limits: the limits of the photo.
        reduced: decode a large JPEG file at a reduced scale, for `Photo.picture`. `Photo.pixels` decodes it again.

    Raises:
        PhotoNotReadableError: there is no such file, you may not read it, or it is not a file.
        PhotoTooLargeError: the photo is over a limit. This is checked before its pixels are decoded.
        PhotoFormatError: it is not a photo, it is damaged, or its format is not accepted.

    """
    if isinstance(source, np.ndarray):
        _check_array(source)
        height, width = source.shape[:2]
        with _share("<image>", width, height, ARRAY_BYTES_PER_PIXEL, limits):
            pixels = np.ascontiguousarray(source)
            yield Photo("<image>", Picture.of(pixels), _pixels_sha256(pixels))
        return
    with ExitStack() as shares:
        if isinstance(source, Image.Image):
            picture = _decoded(shares, "<image>", header_of(source), limits)
            yield Photo("<image>", picture, _pixels_sha256(picture.pixels))
            return
        name, data = _file_bytes(source, limits.max_bytes)
        digest = hashlib.sha256(data).hexdigest()
        if not reduced:
            yield Photo(name, _decoded(shares, name, read_header(name, data), limits), digest)
            return
        small = shares.enter_context(ExitStack())
        picture = _decoded(small, name, read_header(name, data), limits, reduced_to=REDUCED_SIDE)

        @cache
        def whole() -> RGBImage:
            # Its own share is released first, because two threads could wait for each other.
            small.close()
            return _decoded(shares, name, read_header(name, data), limits).pixels

        yield Photo(name, picture if picture.is_whole else replace(picture, whole=whole), digest)


def _decoded(
    shares: ExitStack, name: str, header: Header, limits: PhotoLimits, *, reduced_to: int | None = None
) -> Picture:
    """Decode a picture. The stack holds its share of the memory budget."""
    check_work()
    keep = shares.enter_context(_share(name, header.width, header.height, header.bytes_per_pixel, limits))
    with stage("decode"):
        pixels, size = upright_rgb(name, header, reduced_to=reduced_to)
    keep(pixels.shape[0] * pixels.shape[1] * ARRAY_BYTES_PER_PIXEL)
    return Picture(pixels, size, lambda: pixels)


@contextmanager
def _share(
    name: str, width: int, height: int, bytes_per_pixel: int, limits: PhotoLimits
) -> Iterator[Callable[[int], None]]:
    """Refuse a picture that is over a limit, and reserve its share of the memory budget."""
    if min(width, height) < 1:
        raise PhotoFormatError(f"{name}: a picture of {width}×{height} pixels is empty. Choose another photo.")
    max_pixels, setting = limits.max_pixels, "PGFACE_MAX_PHOTO_PIXELS"
    work = current_work()
    if work is not None and work.max_pixels is not None and work.max_pixels < max_pixels:
        max_pixels, setting = work.max_pixels, "PGFACE_MAX_UPLOAD_PIXELS"
    if width * height > max_pixels:
        raise PhotoTooLargeError(
            f"{name}: {width}×{height} pixels are {width * height / 1e6:,.1f} megapixels and the limit is "
            f"{max_pixels / 1e6:,.1f}. Make the photo smaller, or raise {setting}."
        )
    if max(width, height) > MAX_SIDE:
        raise PhotoTooLargeError(
            f"{name}: of {width}×{height} pixels, the longer side is over {MAX_SIDE:,}. Crop the photo to the face."
        )
    size = width * height * bytes_per_pixel
    if size > limits.max_decoded_bytes:
        raise PhotoTooLargeError(
            f"{name}: decoding {width}×{height} pixels takes {size / 1e6:,.0f} MB of memory and the limit is "
            f"{limits.max_decoded_bytes / 1e6:,.0f}. Make the photo smaller, or raise PGFACE_MAX_DECODED_BYTES."
        )
    with _budget.share(size, limits.max_decoded_bytes) as keep:
        yield keep


def _check_array(source: NDArray[np.uint8]) -> None:
    if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
        shape = "×".join(map(str, source.shape))
        raise PhotoFormatError(
            f"<image>: an array of shape {shape} and type {source.dtype} is not RGB pixels. "
            "Give one of shape height×width×3 and type uint8."
        )


def _pixels_sha256(pixels: RGBImage) -> str:
    height, width = pixels.shape[:2]
    digest = hashlib.sha256(f"RGB {width}x{height}\n".encode())
    digest.update(pixels.data)
    return digest.hexdigest()


def _file_bytes(source: str | os.PathLike[str] | bytes | Upload, max_bytes: int) -> tuple[str, bytes]:
    """Return the name and the bytes of a photo."""
    if isinstance(source, bytes):
        source = Upload("<bytes>", source)
    if isinstance(source, Upload):
        _check_size(source.name, len(source.data), max_bytes)
        return source.name, source.data
    path = Path(source)
    name = path.name or str(path)
    try:
        return name, _read(path, name, max_bytes)
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise PhotoNotReadableError(
            f"{name}: the file cannot be read ({reason}). Give the path of a photo that you may read."
        ) from error


def _read(path: Path, name: str, max_bytes: int) -> bytes:
    """Read a regular file. Reading a device or a pipe may block forever, and opening it can have side effects."""
    _check_kind(path.stat(), name)
    # If a pipe replaces the file now, opening it does not wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        _check_kind(status, name)
        _check_size(name, status.st_size, max_bytes)
        return file.read(status.st_size)


def _check_kind(status: os.stat_result, name: str) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device or a pipe"
    raise PhotoNotReadableError(f"{name}: this is {kind}, not a photo. Give the path of one file.")


def _check_size(name: str, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise PhotoTooLargeError(
            f"{name}: the file has {size:,} bytes and the limit is {max_bytes:,}. "
            "Make the photo smaller, or raise PGFACE_MAX_PHOTO_BYTES."
        )
