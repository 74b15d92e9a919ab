"""Dropping `idx_embeddings_vector` for a bulk load, and building it again afterwards.

Every connection here is in autocommit mode, because PostgreSQL builds and drops an index without locking the table
(CONCURRENTLY) only outside transactions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from pgface.database.errors import wrap_psycopg_errors
from pgface.database.session import WAIT_TO_BUILD, set_up_session
from pgface.database.sql import queries
from pgface.errors import TableLockedError
from pgface.search.state import read_search_state

NAME: LiteralString = "idx_embeddings_vector"
NEW_NAME: LiteralString = "idx_embeddings_vector_pgface_new"
"""The name of a new index until it replaces the old one."""
OLD_NAME: LiteralString = "idx_embeddings_vector_pgface_old"
"""The name of the replaced index until it is dropped."""
OWN_DEFINITION = "CREATE INDEX idx_embeddings_vector ON face_embeddings USING hnsw (embedding vector_cosine_ops)"
_SECONDS_BETWEEN_TRIES = 0.1
_MAX_WAIT_SECONDS = 7200.0
"""Longer than the build of an index for millions of embeddings."""


@contextmanager
def vector_index_lock(
    connection: psycopg.Connection,
    *,
    max_seconds: float = _MAX_WAIT_SECONDS,
    on_wait: Callable[[], object] | None = None,
) -> Iterator[None]:
    """Hold the lock that a session needs to build or drop the index, after waiting for other sessions.

    It polls and does not wait in PostgreSQL, because a concurrent build waits for every running statement. That
    includes a statement that waits for the lock.

    Args:
        connection: the session.
        max_seconds: the maximum time to wait, by default two hours.
        on_wait: called ten times a second while it waits.

    Raises:
        TableLockedError: another session still holds the lock.

    """
    deadline = time.monotonic() + max_seconds
    with ExitStack() as resources:
        while not resources.enter_context(try_vector_index_lock(connection)):
            if time.monotonic() > deadline:
                raise TableLockedError
            if on_wait is not None:
                on_wait()
            time.sleep(_SECONDS_BETWEEN_TRIES)
        yield


@contextmanager
def try_vector_index_lock(connection: psycopg.Connection) -> Iterator[bool]:
    """Try to take the same lock without waiting, and yield whether that was possible."""
    with wrap_psycopg_errors(), connection.transaction():
        mine = connection.execute(queries()["take_index"]).fetchone() is not None
        if mine:
            connection.execute(sql.SQL("SET lock_timeout TO {}").format(sql.Literal(WAIT_TO_BUILD)))
            connection.execute(queries()["build_alone_if_faulty"])
    try:
        yield mine
    finally:
        if mine and not connection.closed:
            with wrap_psycopg_errors():
                set_up_session(connection)
                connection.execute(queries()["give_index_back"])


def drop_vector_index(connection: psycopg.Connection) -> str:
    """Drop the index without locking the table, and return the statement that makes it again.

    Loading is a hundred times slower with an HNSW index in place.
    """
    with wrap_psycopg_errors():
        found = _vector_index(connection)
        drop_index(connection, NAME)
        return OWN_DEFINITION if found is None or found["is_the_gallerys_own"] else str(found["definition"])


def build_vector_index(connection: psycopg.Connection, definition: str = OWN_DEFINITION) -> None:
    """Build the index without locking the table, unless it is valid. An invalid one is dropped first.

    Args:
        connection: the session.
        definition: a statement that `drop_vector_index` returned.

    """
    with wrap_psycopg_errors():
        found = _vector_index(connection)
        if found is not None and found["valid"]:
            return
        drop_index(connection, NAME)
        rows = count_embeddings(connection)
        concurrently = definition.replace("CREATE INDEX", "CREATE INDEX CONCURRENTLY", 1)
        connection.execute(sql.SQL(concurrently))  # as PostgreSQL itself renders the index
        remember_rows(connection, NAME, rows)


def settle_vector_index(connection: psycopg.Connection, definition: str = OWN_DEFINITION) -> None:
    """Build the index if the gallery needs it, and drop it if not. Leftovers of interrupted builds are dropped too.

    The index serves your own SQL that orders by distance. Identification does not use it. A gallery that is searched
    through templates is large, and there the index would cost 2.6 kB and some milliseconds for every face. Such a
    gallery keeps only an index that you have made in its place.

    Args:
        connection: the session.
        definition: a statement that `drop_vector_index` returned.

    """
    exact = read_search_state(connection).method == "exact"
    with wrap_psycopg_errors():
        drop_leftovers(connection)
        wanted = connection.execute(queries()["vector_index_wanted"]).fetchone() == (True,)
    if definition != OWN_DEFINITION or (exact and wanted):
        build_vector_index(connection, definition)
        return
    with wrap_psycopg_errors():
        found = _vector_index(connection)
        if found is not None and found["is_the_gallerys_own"] and not exact:
            drop_index(connection, NAME)


def drop_leftovers(connection: psycopg.Connection) -> None:
    """Drop what interrupted builds have left. Call it under `vector_index_lock`, so that no build is running."""
    for name in (NEW_NAME, OLD_NAME):
        drop_index(connection, name)


def drop_index(connection: psycopg.Connection, name: str) -> None:
    """Drop an index of this gallery, if it exists, without locking the table."""
    # With its schema, because the search_path includes pgvector's. Another gallery there may have such an index.
    connection.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(qualified(connection, name)))


def qualified(connection: psycopg.Connection, name: str) -> sql.Identifier:
    """Qualify a name with the gallery's schema."""
    row = connection.execute("SELECT current_schema()").fetchone()
    return sql.Identifier(str(row and row[0]), name)


def count_embeddings(connection: psycopg.Connection) -> int:
    """Count the gallery's embeddings."""
    row = connection.execute(queries()["count_embeddings"]).fetchone()
    return 0 if row is None else int(row[0])


def remember_rows(connection: psycopg.Connection, name: str, rows: int) -> None:
    """Record the number of rows that an index was built on. An IVFFlat index learns its lists from those rows."""
    comment = sql.SQL("COMMENT ON INDEX {} IS {}").format(
        qualified(connection, name), sql.Literal(f"pgface: built on {rows} rows")
    )
    connection.execute(comment)


def _vector_index(connection: psycopg.Connection) -> dict[str, Any] | None:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(queries()["vector_index"]).fetchone()
