"""Picture files of kinds that Pillow cannot write."""

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
    """Return a PNG of raw rows, which start with their filter bytes. More chunks are inserted before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


def bomb() -> bytes:
    """Return a whole PNG of 20,000 × 20,000 black pixels, which takes 50 kB."""
    return png(20_000, 20_000, 1, 0, bytes((1 + 20_000 // 8) * 20_000))


def png16(samples: NDArray[np.uint16], colour_type: int) -> bytes:
    """Return a PNG with 16 bits per sample, from samples of shape (height, width, channels)."""
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    return png(width, height, 16, colour_type, rows)


def gif(screen: tuple[int, int], frame: tuple[int, int], pixels: bytes = b"\x02\x4c\x01\x00") -> bytes:
    """Return a GIF that declares these sizes for its screen and its only frame."""
    header = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return header + b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02" + pixels + b"\0;"


def tiff(tags: Sequence[tuple[int, int]], pixels: bytes) -> bytes:
    """Return a little-endian TIFF with numeric tags and the pixels at offset 8."""
    directory = 8 + len(pixels)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags))
    return (
        b"II*\0" + struct.pack("<I", directory) + pixels + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    )


def bmp_rle(width: int, height: int) -> bytes:
    """Return a run-length coded BMP."""
    rows = (b"\x01\x05" * width + b"\0\0") * height + b"\0\x01"
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(rows), 0, 0, 256, 0) + bytes(1024)
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + len(rows), 0, 0, 14 + len(header)) + header + rows


def jpeg_of_many_scans(count: int) -> bytes:
    """Return a progressive JPEG that repeats its last scan."""
    data = encoded(Image.new("L", (64, 64), 100), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + data[-2:]


def turned_as(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Return the rows as a camera stores them with this orientation in EXIF (EXIF 2.32, 4.6.4: tag 274).

    For the orientations 1 to 8, the first stored row is the picture's top, top, bottom, bottom, left, right, right and
    left side. The first stored column is its left, right, right, left, top, top, bottom and bottom side.
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


def tiff_of(
    samples: NDArray[np.unsignedinteger],
    photometric: int,
    *,
    bits: int = 8,
    order: str = "<",
    planar: bool = False,
    tile: int = 0,
    extra: Sequence[int] = (),
    sample_format: int = 1,
    fill_order: int = 1,
    deflated: bool = False,
    more: Sequence[tuple[int, int, Sequence[int]]] = (),
    pages: int = 1,
) -> bytes:
    """Return a TIFF with these samples, in the layout of TIFF 6.0 (Adobe 1992).

    Args:
        samples: the stored values, shape (height, width, channels). For signed and floating-point samples, their bits.
        photometric: tag 262.
        bits: bits of each sample. Samples narrower than a byte, or of 12 bits, are packed.
        order: byte order, "<" or ">".
        planar: whether each channel is stored separately.
        tile: side of the tiles. 0 for strips.
        extra: tag 338.
        sample_format: tag 339.
        fill_order: tag 266. With 2, the bits of every byte are in reverse order.
        deflated: whether the data is compressed, which Pillow decodes with other code.
        more: more tags: number, type (3 SHORT, 4 LONG, 5 RATIONAL as pairs), values.
        pages: number of pages. All but the first are half as bright.

    """
    height, width, channels = samples.shape
    data = b"II*\0" if order == "<" else b"MM\0*"
    data += bytes(4)
    link = 4
    for page in range(pages):
        shown = samples if page == 0 else samples // 2
        blocks = [_packed(block, bits, order) for block in _blocks(shown, planar, tile)]
        if deflated:
            blocks = [zlib.compress(block) for block in blocks]
        if fill_order == 2:
            blocks = [block.translate(_REVERSED_BITS) for block in blocks]
        offsets = []
        for block in blocks:
            offsets.append(len(data))
            data += block + bytes(len(block) % 2)
        counts = [len(block) for block in blocks]
        tags: list[tuple[int, int, Sequence[int]]] = [
            (256, 3, [width]),
            (257, 3, [height]),
            (258, 3, [bits] * channels),
            (259, 3, [8 if deflated else 1]),
            (262, 3, [photometric]),
            (266, 3, [fill_order]),
            (277, 3, [channels]),
            (284, 3, [2 if planar else 1]),
            (339, 3, [sample_format] * channels),
            *([(338, 3, list(extra))] if extra else []),
            *([(322, 3, [tile]), (323, 3, [tile]), (324, 4, offsets), (325, 4, counts)] if tile else []),
            *([] if tile else [(273, 4, offsets), (278, 3, [height]), (279, 4, counts)]),
            *more,
        ]
        entries = b""
        for number, kind, values in sorted(tags):
            letter = {3: "H", 4: "I", 5: "I"}[kind]
            packed = struct.pack(f"{order}{len(values)}{letter}", *values)
            if len(packed) > 4:
                at = len(data)
                data += packed + bytes(len(packed) % 2)
                packed = struct.pack(f"{order}I", at)
            count = len(values) // 2 if kind == 5 else len(values)
            entries += struct.pack(f"{order}HHI", number, kind, count) + packed.ljust(4, b"\0")
        data = data[:link] + struct.pack(f"{order}I", len(data)) + data[link + 4 :]
        data += struct.pack(f"{order}H", len(tags)) + entries
        link = len(data)
        data += bytes(4)
    return data


_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _blocks(samples: NDArray[np.unsignedinteger], planar: bool, tile: int) -> list[NDArray[np.unsignedinteger]]:
    """Return the planes or tiles in the order of the file."""
    planes = [samples[:, :, channel : channel + 1] for channel in range(samples.shape[2])] if planar else [samples]
    if not tile:
        return planes
    blocks = []
    for plane in planes:
        height, width = plane.shape[:2]
        padded = np.pad(plane, ((0, -height % tile), (0, -width % tile), (0, 0)))
        blocks += [
            padded[top : top + tile, left : left + tile]
            for top in range(0, height, tile)
            for left in range(0, width, tile)
        ]
    return blocks


def _packed(block: NDArray[np.unsignedinteger], bits: int, order: str) -> bytes:
    if bits in (8, 16, 32, 64):
        return block.astype(f"{order}u{bits // 8}").tobytes()
    places = (block.astype(np.int64).reshape(len(block), -1, 1) >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(places.reshape(len(block), -1).astype(np.uint8), axis=1).tobytes()
