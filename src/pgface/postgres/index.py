"""The index of the specification's name, taken away for bulk loading and built again afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from pgface.postgres.errors import translated
from pgface.schema import queries

_DEFAULT = "CREATE INDEX idx_embeddings_vector ON face_embeddings USING hnsw (embedding vector_cosine_ops)"
_PATIENCE = 0.1
"""Seconds between two tries to have the index to oneself."""

# Every connection here is in autocommit mode: PostgreSQL drops and builds indexes concurrently, that is while others
# read and write, only outside transactions.


@contextmanager
def vector_index_to_oneself(connection: psycopg.Connection) -> Iterator[None]:
    """Wait until nobody else takes the index away or builds it.

    By trying again, and not in PostgreSQL: a concurrent build waits for every statement under way, also for one
    that waits for the lock.
    """
    with translated():
        while connection.execute(queries()["try_lock_index"]).fetchone() != (True,):
            time.sleep(_PATIENCE)
    try:
        yield
    finally:
        with translated():
            if not connection.closed:
                connection.execute(queries()["unlock_index"])


def drop_vector_index(connection: psycopg.Connection) -> str:
    """Drop the index while others go on, and return the statement that makes it again.

    Loading with an HNSW index in place runs at a hundredth of the speed. Identification scans exactly and does
    not need it.
    """
    with translated():
        definition = _DEFAULT
        with connection.cursor(row_factory=dict_row) as cursor:
            for row in cursor.execute(queries()["vector_index"]):
                definition = row["definition"]
        connection.execute("DROP INDEX CONCURRENTLY IF EXISTS idx_embeddings_vector")
        return definition


def build_vector_index(connection: psycopg.Connection, definition: str = _DEFAULT) -> None:
    """Build the index while others go on, unless it is there; a broken one of an earlier try goes first.

    Args:
        connection: where it is.
        definition: a statement that `drop_vector_index` returned.

    """
    with translated():
        with connection.cursor(row_factory=dict_row) as cursor:
            found = cursor.execute(queries()["vector_index"]).fetchone()
        if found is not None and found["valid"]:
            return
        connection.execute("DROP INDEX CONCURRENTLY IF EXISTS idx_embeddings_vector")
        concurrently = definition.replace("CREATE INDEX", "CREATE INDEX CONCURRENTLY", 1)
        connection.execute(sql.SQL(concurrently))  # as PostgreSQL itself renders the index


def ensure_vector_index(connection: psycopg.Connection) -> None:
    """Build the index if it is missing or broken, after whoever is at it now."""
    with vector_index_to_oneself(connection):
        build_vector_index(connection)
