"""Remembers which frames were used for logins by face, so that none of them is accepted again.

Of a frame, digests of 64 bits are kept, for as long as its person's face is enrolled: one of its pixels, and a few of
its embedding, some of which stay the same when a frame is compressed again. They are locality-sensitive hashes (Datar,
Immorlica, Indyk, Mirrokni 2004, "Locality-sensitive hashing scheme based on p-stable distributions", with signs in
place of normal numbers), keyed with the gallery's secret: neither a picture nor an embedding can be computed from them
without it.

They know the same frames again, in any file, and light copies. A copy with strong noise (a similarity of 0.98) is a new
frame for them: wider cells would also refuse two honest logins at one desk.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.rows import scalar_row

from pgface.database.sql import queries
from pgface.errors import LivenessError
from pgface.faces.pixels import RGBImage
from pgface.vectors import EMBEDDING_DIMENSION

_HASHES: Final = 4
"""Digests of an embedding."""
_PROJECTIONS: Final = 16
"""Numbers in each."""
_CELL: Final = 0.02
"""How far two projections of unit vectors may be apart and still be in one cell.

A frame compressed again as JPEG of quality 90 has a similarity of 0.997 to itself (median over 14 public clips), and
two frames of one recording that are 1.5 seconds apart 0.81. With these numbers each of the former shares a digest in
a third of all cases, and the latter in less than one of a million.
"""
_COPIES: Final = 0.15
"""Share of the frames that share a digest with a used one, from which on the whole is taken for a copy. Of a person who
sits as still as a picture (a similarity of 0.975 to an earlier login) some 3 of 100 frames do by chance."""
_LONG: Final = 2**63


class FrameDigests:
    """Makes the digests of frames."""

    def __init__(self, secret: str) -> None:
        """Draw the projections from the gallery's secret."""
        self._key = secret.encode()
        count = _HASHES * _PROJECTIONS * EMBEDDING_DIMENSION
        # Not numpy's random numbers: their streams differ between versions, and the digests are kept for years.
        bits = np.unpackbits(np.frombuffer(hashlib.shake_256(self._key).digest(count // 8), np.uint8))
        signs = bits.reshape(_HASHES, _PROJECTIONS, EMBEDDING_DIMENSION).astype(np.float32) * 2 - 1
        self._projections = signs / np.sqrt(np.float32(EMBEDDING_DIMENSION))

    def of(self, pixels: RGBImage, embedding: NDArray[np.float32]) -> tuple[int, ...]:
        """The digests of a frame: of its pixels first, then of its embedding.

        Args:
            pixels: shape (height, width, 3), uint8.
            embedding: of the only face in it, shape (512,), float32, norm 1.

        """
        cells = np.floor(self._projections @ embedding / _CELL).astype("<i4")
        shape = np.array(pixels.shape, "<i4").tobytes()
        contents = [b"pixels" + shape + np.ascontiguousarray(pixels).tobytes()]
        contents += [b"embedding" + bytes([number]) + row.tobytes() for number, row in enumerate(cells)]
        return tuple(self._digest(content) for content in contents)

    def _digest(self, content: bytes) -> int:
        digest = hmac.digest(self._key, content, "sha256")
        return int.from_bytes(digest[:8]) - _LONG  # as PostgreSQL's bigint


def require_unused(connection: psycopg.Connection, frames: Iterable[tuple[int, ...]]) -> None:
    """Refuse frames that were used before, by any user of the gallery.

    Args:
        connection: in the transaction that then calls `remember`.
        frames: the digests of each.

    Raises:
        LivenessError: they were; the sentence is for the audit log and not for the client.

    """
    frames = list(frames)
    asked = {"digests": sorted({digest for frame in frames for digest in frame})}
    with connection.cursor(row_factory=scalar_row) as cursor:
        known = set(cursor.execute(queries()["known_frame_digests"], asked).fetchall())
    if any(pixels in known for pixels, *_ in frames):
        raise LivenessError("A frame was used for an earlier login.")
    again = sum(not known.isdisjoint(frame) for frame in frames)
    if again and again >= _COPIES * len(frames):
        raise LivenessError(f"{again} of {len(frames)} frames are copies of frames of an earlier login.")


def remember(connection: psycopg.Connection, user_id: int, frames: Iterable[tuple[int, ...]]) -> None:
    """Remember the digests of frames until no face of the user is enrolled."""
    digests = sorted({digest for frame in frames for digest in frame})
    connection.execute(queries()["remember_frames"], {"user_id": user_id, "digests": digests})
