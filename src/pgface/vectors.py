"""Embeddings as arrays: scaling to unit length, and rows of PostgreSQL's binary COPY."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgface.errors import EmbeddingError

EMBEDDING_DIMENSION = 512
_MIN_NORM = 1e-100
"""The square of a smaller norm loses precision in float64."""
_UNIT_TOLERANCE = 1e-6

# https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format": a signature with two zero words, the rows, and
# an end mark. All rows have the same length. psycopg, which packs row by row, took 2.4 times as long.
COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_TRAILER = b"\xff\xff"
_BATCH_ROWS = 4_096
"""Rows that are unpacked together, 8 MB."""
_USER = [("fields", ">i2"), ("user_id_bytes", ">i4"), ("user_id", ">i4")]
_PHOTO = [("photo_id_bytes", ">i4"), ("photo_id", ">i4")]
_NO_PHOTO = [("photo_id_bytes", ">i4")]
_EMBEDDING = [
    ("embedding_bytes", ">i4"),
    # pgvector's binary format: the dimension, a zero word, the numbers.
    ("dimension", ">i2"),
    ("unused", ">i2"),
    ("embedding", ">f4", EMBEDDING_DIMENSION),
]
ROW = np.dtype([*_USER, *_EMBEDDING])
"""A row of a user's id and an embedding."""
_ROW_WITH_PHOTO = np.dtype([*_USER, *_PHOTO, *_EMBEDDING])
_ROW_WITHOUT_PHOTO = np.dtype([*_USER, *_NO_PHOTO, *_EMBEDDING])


def unit_embedding(embedding: Any) -> NDArray[np.float32]:
    """Return an embedding as the gallery stores it: shape (512,), float32, Euclidean norm 1.

    Args:
        embedding: 512 numbers that are not all zero.

    Raises:
        EmbeddingError: the shape differs, a number is NaN or infinite, or all are zero.

    """
    given = np.asarray(embedding)
    # Engines return norm 1 already, within the precision of float32.
    as_from_engine = given.dtype == np.float32 and given.shape == (EMBEDDING_DIMENSION,)
    if as_from_engine and abs(float(given.dot(given)) - 1) < _UNIT_TOLERANCE:
        return given
    return np.asarray(unit_embeddings(given[np.newaxis])[0])


def unit_embeddings(embeddings: Any, *, first_row: int = 0) -> NDArray[np.float32]:
    """Return embeddings as the gallery stores them: shape (n, 512), float32, Euclidean norm 1 each.

    Args:
        embeddings: shape (n, 512), numbers. No row is all zero.
        first_row: the number of the first row, for the error message.

    Raises:
        EmbeddingError: as for `unit_embedding`. The message contains the number of the first wrong row.

    """
    try:
        given = np.asarray(embeddings, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise EmbeddingError("An embedding must be 512 numbers.") from error
    if given.ndim != 2 or given.shape[1] != EMBEDDING_DIMENSION:
        raise EmbeddingError(f"An embedding must be 512 numbers. This one has shape {given.shape[1:]}.")
    norms = np.sqrt(np.einsum("ij,ij->i", given, given))
    if ((norms > _MIN_NORM) & (norms < 1 / _MIN_NORM)).all():
        unit = np.empty(given.shape, np.float32)
        np.divide(given, norms[:, np.newaxis], out=unit, casting="same_kind")
        return unit
    return _scaled_units(given, first_row)


def _scaled_units(given: NDArray[np.float64], first_row: int) -> NDArray[np.float32]:
    """Scale numbers of any size, or raise an error if a row has no direction."""
    # Scaled first, so that the norm of very large or very small numbers is finite and not zero.
    largest = np.abs(given).max(axis=1, keepdims=True)
    wrong = np.flatnonzero(~np.isfinite(largest[:, 0]) | (largest[:, 0] == 0))
    if wrong.size:
        row = wrong[0]
        fault = "is all zero" if largest[row, 0] == 0 else "contains NaN or infinity"
        raise EmbeddingError(
            f"An embedding must be 512 finite numbers that are not all zero. Row {first_row + row} {fault}."
        )
    scaled = given / largest
    unit: NDArray[np.float32] = (scaled / np.linalg.norm(scaled, axis=1, keepdims=True)).astype(np.float32)
    return unit


def pack_rows(user_ids: NDArray[Any], embeddings: NDArray[np.float32]) -> bytes:
    """Pack rows of `ROW`.

    Args:
        user_ids: shape (n,), integers.
        embeddings: shape (n, 512).

    """
    return _filled(ROW, fields=2, user_id=user_ids, embedding=embeddings).tobytes()


def pack_rows_with_photos(user_ids: NDArray[Any], photo_ids: NDArray[Any], embeddings: NDArray[np.float32]) -> bytes:
    """Pack rows of a user's id, a photo's id and an embedding.

    Args:
        user_ids: shape (n,), integers.
        photo_ids: shape (n,), integers. 0 means no photo, and is sent as NULL.
        embeddings: shape (n, 512).

    """
    linked = photo_ids > 0
    photo = {"photo_id_bytes": 4, "photo_id": photo_ids[linked]}
    rows = _filled(_ROW_WITH_PHOTO, fields=3, user_id=user_ids[linked], embedding=embeddings[linked], **photo)
    others = {"user_id": user_ids[~linked], "embedding": embeddings[~linked], "photo_id_bytes": -1}
    rows_without_photo = _filled(_ROW_WITHOUT_PHOTO, fields=3, **others)
    if linked.all() or not linked.any():
        return rows.tobytes() + rows_without_photo.tobytes()
    one, other = iter(rows), iter(rows_without_photo)
    return b"".join(next(one if has_photo else other).tobytes() for has_photo in linked.tolist())


def unpack_rows(
    stream: Iterable[bytes | bytearray | memoryview],
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float32]]]:
    """Yield user ids, shape (n,), and embeddings, shape (n, 512), for some thousand rows of `ROW` at a time.

    Args:
        stream: the output of `COPY … TO STDOUT (FORMAT BINARY)`, row by row.

    """
    block: list[bytes] = []
    for data in stream:
        # The first row is preceded by the header of the format. The end mark is a separate, shorter row.
        if len(data) >= ROW.itemsize:
            block.append(bytes(data[-ROW.itemsize :]))
        if len(block) == _BATCH_ROWS:
            yield _columns(block)
            block = []
    if block:
        yield _columns(block)


def _columns(rows: list[bytes]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    table = np.frombuffer(b"".join(rows), dtype=ROW)
    return table["user_id"].astype(np.int32), table["embedding"].astype(np.float32)


def _filled(row: np.dtype[np.void], **columns: Any) -> NDArray[np.void]:
    """Return rows with these columns, and with the lengths that are the same in every row."""
    rows = np.zeros(len(columns["user_id"]), dtype=row)
    lengths = {"user_id_bytes": 4, "embedding_bytes": 4 + 4 * EMBEDDING_DIMENSION, "dimension": EMBEDDING_DIMENSION}
    for name, values in (lengths | columns).items():
        rows[name] = values
    return rows
