"""Stores digests of the frames of logins by face, so that no frame is accepted twice.

The digests have 64 bits, and are stored while the user's face is enrolled. A frame has one digest of its pixels, and a
few of its embedding, some of which stay the same if the frame is compressed again. They are locality-sensitive hashes
(Datar, Immorlica, Indyk, Mirrokni 2004, "Locality-sensitive hashing scheme based on p-stable distributions", with signs
instead of normal numbers), keyed with the gallery's secret. Without it, they reveal neither pictures nor embeddings.

They recognize the same frames in any file, and slightly changed copies. They do not recognize a copy with strong noise
(a similarity of 0.98): wider cells would also refuse two honest logins at one desk.
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

_EMBEDDING_DIGESTS: Final = 4
"""The number of digests of each embedding."""
_PROJECTIONS: Final = 16
"""The number of projections in each digest."""
_CELL_WIDTH: Final = 0.02
"""The width of a cell, in units of a projection of a unit vector.

A frame that is compressed again as JPEG of quality 90 has a similarity of 0.997 to itself (median of 14 public clips).
Two frames of one recording that are 1.5 seconds apart have 0.81. The former share a digest in a third of all cases, and
the latter in less than one in a million.
"""
_MAX_COPIES: Final = 0.15
"""A login is refused if this fraction of its frames shares digests with used frames. If a person sits as still as a
picture (a similarity of 0.975 to an earlier login), about 3 in 100 frames share one by chance."""
_BIGINT_OFFSET: Final = 2**63


class FrameDigests:
    """Computes the digests of frames."""

    def __init__(self, secret: str) -> None:
        """Derive the projections from the gallery's secret."""
        self._key = secret.encode()
        count = _EMBEDDING_DIGESTS * _PROJECTIONS * EMBEDDING_DIMENSION
        # Not numpy's random numbers: their streams differ between versions, and digests are stored for years.
        bits = np.unpackbits(np.frombuffer(hashlib.shake_256(self._key).digest(count // 8), np.uint8))
        signs = bits.reshape(_EMBEDDING_DIGESTS, _PROJECTIONS, EMBEDDING_DIMENSION).astype(np.float32) * 2 - 1
        self._projections = signs / np.sqrt(np.float32(EMBEDDING_DIMENSION))

    def of(self, pixels: RGBImage, embedding: NDArray[np.float32]) -> tuple[int, ...]:
        """Compute the digests of a frame, first of its pixels, then of its embedding.

        Args:
            pixels: shape (height, width, 3), uint8.
            embedding: the embedding of the only face, shape (512,), float32, norm 1.

        """
        cells = np.floor(self._projections @ embedding / _CELL_WIDTH).astype("<i4")
        shape = np.array(pixels.shape, "<i4").tobytes()
        contents = [b"pixels" + shape + np.ascontiguousarray(pixels).tobytes()]
        contents += [b"embedding" + bytes([number]) + row.tobytes() for number, row in enumerate(cells)]
        return tuple(self._digest(content) for content in contents)

    def _digest(self, content: bytes) -> int:
        digest = hmac.digest(self._key, content, "sha256")
        return int.from_bytes(digest[:8]) - _BIGINT_OFFSET  # the range of PostgreSQL's bigint


def require_unused(connection: psycopg.Connection, frames: Iterable[tuple[int, ...]]) -> None:
    """Refuse frames that were used before, by any user of the gallery. Call `store_frames` in the same transaction.

    Raises:
        LivenessError: a frame was used. The message is for the audit log and not for the client.

    """
    frames = list(frames)
    values = {"digests": sorted({digest for frame in frames for digest in frame})}
    with connection.cursor(row_factory=scalar_row) as cursor:
        known = set(cursor.execute(queries()["known_frame_digests"], values).fetchall())
    if any(pixels in known for pixels, *_ in frames):
        raise LivenessError("A frame was used for an earlier login.")
    copies = sum(not known.isdisjoint(frame) for frame in frames)
    if copies and copies >= _MAX_COPIES * len(frames):
        raise LivenessError(f"{copies} of {len(frames)} frames are copies of frames of an earlier login.")


def store_frames(connection: psycopg.Connection, user_id: int, frames: Iterable[tuple[int, ...]]) -> None:
    """Store the digests of frames until no face of the user is enrolled."""
    digests = sorted({digest for frame in frames for digest in frame})
    connection.execute(queries()["add_used_frames"], {"user_id": user_id, "digests": digests})
