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
    """A TIFF of these samples, shape (height, width, channels), as TIFF 6.0 (Adobe 1992) lays it out.

    Args:
        samples: the values as they are stored; for signed and floating-point samples, their bits.
        photometric: tag 262.
        bits: of each sample; what is narrower than a byte, or 12, is packed.
        order: "<" or ">", of what is wider than a byte.
        planar: each channel by itself.
        tile: side of the tiles; strips without.
        extra: tag 338.
        sample_format: tag 339.
        fill_order: tag 266; 2 turns the bits of every byte.
        deflated: whether it is compressed, which takes another way through Pillow.
        more: further tags: number, type (3 SHORT, 4 LONG, 5 RATIONAL as pairs), values.
        pages: the same picture so many times, the others half as bright.

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
            blocks = [block.translate(_TURNED_BITS) for block in blocks]
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


_TURNED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _blocks(samples: NDArray[np.unsignedinteger], planar: bool, tile: int) -> list[NDArray[np.unsignedinteger]]:
    """The parts that are stored by themselves, in their order."""
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
