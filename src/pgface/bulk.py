"""Loading many bare embeddings at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from psycopg import errors as pg

from pgface.enrollment import copy_rows, unit_embeddings
from pgface.errors import EmbeddingError, UnknownUserError
from pgface.postgres.database import Database
from pgface.postgres.index import build_vector_index, drop_vector_index

_BLOCK = 10_000
"""Embeddings normalised at once: 40 MB."""
_WORTH_REBUILDING = 1_000
"""From so many rows on, loading without the index and building it afterwards is the faster way."""


def load_embeddings(database: Database, user_ids: Any, embeddings: Any) -> int:
    """Load embeddings in one transaction, by binary COPY; returns how many.

    Args:
        database: the gallery's.
        user_ids: shape (n,), integers.
        embeddings: shape (n, 512), numbers; may be a memory-mapped file, which is read in blocks.

    Raises:
        EmbeddingError: a row cannot be used, or the counts differ; nothing was loaded.
        UnknownUserError: a user id is not in the gallery; nothing was loaded.

    """
    ids = np.asarray(user_ids)
    if ids.ndim != 1 or len(ids) != len(embeddings):
        raise EmbeddingError(f"There are {len(embeddings)} embeddings and {ids.size} user ids; give one id for each.")
    definition = None
    with database.transaction() as connection:
        if len(ids) >= _WORTH_REBUILDING:
            definition = drop_vector_index(connection)
        try:
            copy_rows(connection, "copy_embeddings", ("int4", "vector"), _rows(ids, embeddings))
        except pg.ForeignKeyViolation as error:
            raise UnknownUserError(
                "A user id is not in the gallery, so nothing was loaded; add the users first."
            ) from error
    if definition is not None:
        with database.autocommit() as connection:
            build_vector_index(connection, definition)
    return len(ids)


def _rows(ids: Any, embeddings: Any) -> Iterator[tuple[int, Any]]:
    for start in range(0, len(ids), _BLOCK):
        block = slice(start, start + _BLOCK)
        yield from zip(ids[block].tolist(), unit_embeddings(embeddings[block], first_row=start), strict=True)
