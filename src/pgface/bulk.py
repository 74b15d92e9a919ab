"""Loading many bare embeddings at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import errors as pg

from pgface.enrollment import unit_embeddings
from pgface.errors import EmbeddingError, UnknownUserError
from pgface.faces.engine import EMBEDDING_DIMENSION
from pgface.postgres.database import Database
from pgface.postgres.index import build_vector_index, drop_vector_index
from pgface.schema import queries

_BLOCK = 1_000
"""Embeddings normalised and sent at once: 2 MB."""
_WORTH_REBUILDING = 1_000
"""From so many rows on, loading without the index and building it afterwards is the faster way."""

# PostgreSQL's binary COPY (https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format"): a signature with
# two empty words, the rows, and an end. Every row here has the same length, so NumPy lays out a block of them at
# once; row by row through psycopg took 2.4 times as long.
_COPY_BEGIN = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END = b"\xff\xff"
_ROW = np.dtype(
    [
        ("fields", ">i2"),
        ("user_id_bytes", ">i4"),
        ("user_id", ">i4"),
        ("embedding_bytes", ">i4"),
        # A vector as pgvector sends it: dimension, a word of zeros, the numbers.
        ("dimension", ">i2"),
        ("unused", ">i2"),
        ("embedding", ">f4", EMBEDDING_DIMENSION),
    ]
)


def load_embeddings(database: Database, user_ids: Any, embeddings: Any) -> int:
    """Load embeddings in one transaction, by binary COPY, then build the index; returns how many.

    Args:
        database: the gallery's.
        user_ids: shape (n,), integers.
        embeddings: shape (n, 512), numbers; may be a memory-mapped file, which is read in blocks.

    Raises:
        EmbeddingError: a row cannot be used, or the counts differ; nothing was loaded.
        UnknownUserError: a user id is not in the gallery; nothing was loaded.

    """
    definition = copy_embeddings(database, user_ids, embeddings)
    if definition is not None:
        with database.autocommit() as connection:
            build_vector_index(connection, definition)
    return len(embeddings)


def copy_embeddings(database: Database, user_ids: Any, embeddings: Any) -> str | None:
    """The first part of `load_embeddings`: when it returns, identification finds the embeddings.

    Returns:
        The statement that makes the index again, if it was dropped.

    """
    ids = np.asarray(user_ids)
    if ids.ndim != 1 or len(ids) != len(embeddings):
        raise EmbeddingError(f"There are {len(embeddings)} embeddings and {ids.size} user ids; give one id for each.")
    if not len(ids):
        return None
    if ids.dtype.kind not in "iu" or ids.min() < 1 or ids.max() >= 2**31:
        raise _unknown_user()
    definition = None
    with database.transaction() as connection:
        if len(ids) >= _WORTH_REBUILDING:
            definition = drop_vector_index(connection)
        try:
            with connection.cursor() as cursor, cursor.copy(queries()["copy_embeddings"]) as copy:
                copy.write(_COPY_BEGIN)
                for rows in _blocks(ids, embeddings):
                    copy.write(rows.tobytes())
                copy.write(_COPY_END)
        except pg.ForeignKeyViolation as error:
            raise _unknown_user() from error
    return definition


def _blocks(ids: NDArray[Any], embeddings: Any) -> Iterator[NDArray[np.void]]:
    for start in range(0, len(ids), _BLOCK):
        block = slice(start, start + _BLOCK)
        rows = np.zeros(len(ids[block]), dtype=_ROW)
        rows["fields"] = 2
        rows["user_id_bytes"] = 4
        rows["user_id"] = ids[block]
        rows["embedding_bytes"] = 4 + 4 * EMBEDDING_DIMENSION
        rows["dimension"] = EMBEDDING_DIMENSION
        rows["embedding"] = unit_embeddings(embeddings[block], first_row=start)
        yield rows


def _unknown_user() -> UnknownUserError:
    return UnknownUserError("A user id is not in the gallery, so nothing was loaded; add the users first.")
