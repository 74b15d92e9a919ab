"""Plain binary COPY, which only encodes and sends rows, to compare bulk loading with."""

from __future__ import annotations

from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from pgface.vectors import COPY_HEADER, COPY_TRAILER, ROW

_BATCH_ROWS = 1_000


def copy_rows(connection: psycopg.Connection, table: str, user_ids: NDArray[Any], embeddings: Any) -> None:
    """Write rows into the columns `user_id` and `embedding` of a table, in pgface's layout.

    Args:
        connection: a connection whose search_path has the table's schema.
        table: the name of the table.
        user_ids: shape (n,), integers.
        embeddings: shape (n, 512), float32. They may be a memory-mapped file.

    """
    statement = sql.SQL("COPY {} (user_id, embedding) FROM STDIN (FORMAT BINARY)").format(sql.Identifier(table))
    rows = np.zeros(min(_BATCH_ROWS, len(user_ids)), ROW)
    dimension = embeddings.shape[1]
    rows["fields"], rows["user_id_bytes"], rows["embedding_bytes"] = 2, 4, 4 + 4 * dimension
    rows["dimension"] = dimension
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(COPY_HEADER)
        for start in range(0, len(user_ids), _BATCH_ROWS):
            block = rows[: len(user_ids) - start]
            block["user_id"] = user_ids[start : start + _BATCH_ROWS]
            block["embedding"] = embeddings[start : start + _BATCH_ROWS]
            copy.write(block.tobytes())
        copy.write(COPY_TRAILER)
