"""The index of the specification's name, taken away for bulk loading and built again afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from pgface.postgres.errors import translated
from pgface.schema import queries

OWN_DEFINITION = "CREATE INDEX idx_embeddings_vector ON face_embeddings USING hnsw (embedding vector_cosine_ops)"
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
    with ExitStack() as resources:
        while not resources.enter_context(try_vector_index_to_oneself(connection)):
            time.sleep(_PATIENCE)
        yield


@contextmanager
def try_vector_index_to_oneself(connection: psycopg.Connection) -> Iterator[bool]:
    """The same without waiting; gives whether it is so."""
    with translated():
        mine = connection.execute(queries()["try_lock_index"]).fetchone() == (True,)
    try:
        yield mine
    finally:
        if mine and not connection.closed:
            with translated():
                connection.execute(queries()["unlock_index"])


def drop_vector_index(connection: psycopg.Connection) -> str:
    """Drop the index while others go on, and return the statement that makes it again.

    Loading with an HNSW index in place runs at a hundredth of the speed.
    """
    with translated():
        found = _vector_index(connection)
        connection.execute("DROP INDEX CONCURRENTLY IF EXISTS idx_embeddings_vector")
        return OWN_DEFINITION if found is None or found["is_the_gallerys_own"] else str(found["definition"])


def build_vector_index(connection: psycopg.Connection, definition: str = OWN_DEFINITION) -> None:
    """Build the index while others go on, unless it is there; a broken one of an earlier try goes first.

    Args:
        connection: where it is.
        definition: a statement that `drop_vector_index` returned.

    """
    with translated():
        found = _vector_index(connection)
        if found is not None and found["valid"]:
            return
        connection.execute("DROP INDEX CONCURRENTLY IF EXISTS idx_embeddings_vector")
        concurrently = definition.replace("CREATE INDEX", "CREATE INDEX CONCURRENTLY", 1)
        connection.execute(sql.SQL(concurrently))  # as PostgreSQL itself renders the index


def settle_vector_index(
    connection: psycopg.Connection, *, searched_exactly: bool, definition: str = OWN_DEFINITION
) -> None:
    """Build the index if it should be there, and drop it if not.

    It serves those who order by distance in SQL of their own; identification does not use it. Where that goes through
    templates the gallery is large, and the index would cost 2.6 kB and some milliseconds for every face: then only one
    that somebody made in its place is kept.

    Args:
        connection: where it is.
        searched_exactly: whether identification compares with every embedding.
        definition: a statement that `drop_vector_index` returned.

    """
    if searched_exactly or definition != OWN_DEFINITION:
        build_vector_index(connection, definition)
        return
    with translated():
        found = _vector_index(connection)
        if found is not None and found["is_the_gallerys_own"]:
            connection.execute("DROP INDEX CONCURRENTLY IF EXISTS idx_embeddings_vector")


def _vector_index(connection: psycopg.Connection) -> dict[str, Any] | None:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(queries()["vector_index"]).fetchone()
