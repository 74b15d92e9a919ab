"""Picture files made by hand, for what Pillow does not write."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def encoded(image: Image.Image, format_name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def png(width: int, height: int, depth: int, colour_type: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of raw rows (each begins with its filter byte), with further chunks before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


def png16(samples: NDArray[np.uint16], colour_type: int) -> bytes:
    """A PNG with 16 bits a sample, of samples of shape (height, width, channels)."""
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    return png(width, height, 16, colour_type, rows)


def gif(screen: tuple[int, int], frame: tuple[int, int], pixels: bytes = b"\x02\x4c\x01\x00") -> bytes:
    """A GIF that declares sizes for its screen and its only frame."""
    header = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return header + b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02" + pixels + b"\0;"


def tiff(tags: Sequence[tuple[int, int]], pixels: bytes) -> bytes:
    """A little-endian TIFF of numeric tags, with the pixels at offset 8."""
    directory = 8 + len(pixels)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags))
    return (
        b"II*\0" + struct.pack("<I", directory) + pixels + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    )


def bmp_rle(width: int, height: int) -> bytes:
    """A BMP whose rows are coded in runs."""
    rows = (b"\x01\x05" * width + b"\0\0") * height + b"\0\x01"
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(rows), 0, 0, 256, 0) + bytes(1024)
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + len(rows), 0, 0, 14 + len(header)) + header + rows


def jpeg_of_many_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    data = encoded(Image.new("L", (64, 64), 100), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + data[-2:]


def turned_as(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The rows as a camera stores them when its EXIF gives this orientation (EXIF 2.32, 4.6.4: tag 274).

    The first row stored is the picture's top, top, bottom, bottom, left, right, right, left side, and the first column
    its left, right, right, left, top, top, bottom, bottom side, for the orientations 1 to 8.
    """
    rows_from, columns_from = {
        1: ("top", "left"),
        2: ("top", "right"),
        3: ("bottom", "right"),
        4: ("bottom", "left"),
        5: ("left", "top"),
        6: ("right", "top"),
        7: ("right", "bottom"),
        8: ("left", "bottom"),
    }[orientation]
    if rows_from in ("left", "right"):
        pixels = pixels.swapaxes(0, 1)
    if rows_from in ("bottom", "right"):
        pixels = pixels[::-1]
    if columns_from in ("bottom", "right"):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
