"""Rows of embeddings as PostgreSQL's binary COPY lays them out, for NumPy to write and read a block of them at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgface.faces.engine import EMBEDDING_DIMENSION

# https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format": a signature with two empty words, the rows,
# and an end. Every row here has the same length; row by row through psycopg took 2.4 times as long.
BEGIN = b"PGCOPY\n\xff\r\n\0" + bytes(8)
END = b"\xff\xff"
_TOGETHER = 4_096
"""Rows that are read at once: 8 MB."""
_USER = [("fields", ">i2"), ("user_id_bytes", ">i4"), ("user_id", ">i4")]
_PHOTO = [("photo_id_bytes", ">i4"), ("photo_id", ">i4")]
_NO_PHOTO = [("photo_id_bytes", ">i4")]
_EMBEDDING = [
    ("embedding_bytes", ">i4"),
    # A vector as pgvector sends it: dimension, a word of zeros, the numbers.
    ("dimension", ">i2"),
    ("unused", ">i2"),
    ("embedding", ">f4", EMBEDDING_DIMENSION),
]
ROW = np.dtype([*_USER, *_EMBEDDING])
"""A user's id and an embedding."""
_ROW_WITH_PHOTO = np.dtype([*_USER, *_PHOTO, *_EMBEDDING])
_ROW_WITHOUT_PHOTO = np.dtype([*_USER, *_NO_PHOTO, *_EMBEDDING])


def packed(user_ids: NDArray[Any], embeddings: NDArray[np.float32]) -> bytes:
    """Rows of `ROW`.

    Args:
        user_ids: shape (n,), integers.
        embeddings: shape (n, 512).

    """
    return _filled(ROW, 2, user_ids, embeddings).tobytes()


def packed_with_photos(user_ids: NDArray[Any], photo_ids: NDArray[Any], embeddings: NDArray[np.float32]) -> bytes:
    """Rows of a user's id, a photo's, and an embedding.

    Args:
        user_ids: shape (n,), integers.
        photo_ids: shape (n,), integers; 0 for no photo, which is sent as NULL.
        embeddings: shape (n, 512).

    """
    linked = photo_ids > 0
    if not linked.any():
        return _without_photos(user_ids, embeddings).tobytes()
    with_photo = _filled(_ROW_WITH_PHOTO, 3, user_ids[linked], embeddings[linked])
    with_photo["photo_id_bytes"], with_photo["photo_id"] = 4, photo_ids[linked]
    if linked.all():
        return with_photo.tobytes()
    one, other = iter(with_photo), iter(_without_photos(user_ids[~linked], embeddings[~linked]))
    return b"".join(next(one if has_photo else other).tobytes() for has_photo in linked.tolist())


def _without_photos(user_ids: NDArray[Any], embeddings: NDArray[np.float32]) -> NDArray[np.void]:
    rows = _filled(_ROW_WITHOUT_PHOTO, 3, user_ids, embeddings)
    rows["photo_id_bytes"] = -1
    return rows


def unpacked(
    stream: Iterable[bytes | bytearray | memoryview],
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float32]]]:
    """User ids, shape (n,), and embeddings, shape (n, 512), some thousands of rows of `ROW` at a time.

    Args:
        stream: what `COPY … TO STDOUT (FORMAT BINARY)` gives, row by row.

    """
    block: list[bytes] = []
    for data in stream:
        # The first row comes with the format's header before it, and the end is a mark of its own.
        if len(data) >= ROW.itemsize:
            block.append(bytes(data[-ROW.itemsize :]))
        if len(block) == _TOGETHER:
            yield _columns(block)
            block = []
    if block:
        yield _columns(block)


def _columns(rows: list[bytes]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    table = np.frombuffer(b"".join(rows), dtype=ROW)
    return table["user_id"].astype(np.int32), table["embedding"].astype(np.float32)


def _filled(
    row: np.dtype[np.void], fields: int, user_ids: NDArray[Any], embeddings: NDArray[np.float32]
) -> NDArray[np.void]:
    rows = np.zeros(len(user_ids), dtype=row)
    rows["fields"], rows["user_id_bytes"], rows["user_id"] = fields, 4, user_ids
    rows["embedding_bytes"], rows["dimension"] = 4 + 4 * EMBEDDING_DIMENSION, EMBEDDING_DIMENSION
    rows["embedding"] = embeddings
    return rows
