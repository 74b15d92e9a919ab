"""Drops `idx_embeddings_vector` for bulk loading, and builds it again afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from pgface.database.errors import wrap_psycopg_errors
from pgface.database.session import WAIT_TO_BUILD, set_up_session
from pgface.database.sql import queries
from pgface.errors import TableLockedError

NAME: LiteralString = "idx_embeddings_vector"
NEW_NAME: LiteralString = "idx_embeddings_vector_pgface_new"
"""The new index's name, until it replaces the old one."""
OLD_NAME: LiteralString = "idx_embeddings_vector_pgface_old"
"""The old index's name, from then until it is dropped."""
OWN_DEFINITION = "CREATE INDEX idx_embeddings_vector ON face_embeddings USING hnsw (embedding vector_cosine_ops)"
_PATIENCE = 0.1
"""Seconds between two tries to take the lock."""
_LONGEST_WAIT = 7200.0
"""Seconds: longer than a build of millions takes."""

# Every connection here is in autocommit mode: PostgreSQL builds and drops indexes concurrently, that is without locking
# the table, only outside transactions.


@contextmanager
def vector_index_lock(connection: psycopg.Connection) -> Iterator[None]:
    """Wait until no other session builds or drops the index, and keep it so.

    It tries again and again, and does not wait in PostgreSQL: a concurrent build waits for every running statement,
    also for one that waits for the lock.

    Raises:
        TableLockedError: another session has had it for two hours.

    """
    deadline = time.monotonic() + _LONGEST_WAIT
    with ExitStack() as resources:
        while not resources.enter_context(try_vector_index_lock(connection)):
            if time.monotonic() > deadline:
                raise TableLockedError
            time.sleep(_PATIENCE)
        yield


@contextmanager
def try_vector_index_lock(connection: psycopg.Connection) -> Iterator[bool]:
    """Do the same without waiting, and yield whether the lock was free."""
    with wrap_psycopg_errors(), connection.transaction():
        mine = connection.execute(queries()["take_index"]).fetchone() is not None
        if mine:
            _prepare_to_build(connection)
    try:
        yield mine
    finally:
        if mine and not connection.closed:
            with wrap_psycopg_errors():
                set_up_session(connection)
                connection.execute(queries()["give_index_back"])


def _prepare_to_build(connection: psycopg.Connection) -> None:
    connection.execute(sql.SQL("SET lock_timeout TO {}").format(sql.Literal(WAIT_TO_BUILD)))
    connection.execute(queries()["build_alone_if_faulty"])


def drop_vector_index(connection: psycopg.Connection) -> str:
    """Drop the index without locking the table, and return the statement that makes it again.

    Loading with an HNSW index in place is a hundred times slower.
    """
    with wrap_psycopg_errors():
        found = _vector_index(connection)
        drop_index(connection, NAME)
        return OWN_DEFINITION if found is None or found["is_the_gallerys_own"] else str(found["definition"])


def build_vector_index(connection: psycopg.Connection, definition: str = OWN_DEFINITION) -> None:
    """Build the index without locking the table, unless there is a valid one. An invalid one is dropped first.

    Args:
        connection: the gallery's.
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


def settle_vector_index(
    connection: psycopg.Connection, *, searched_exactly: bool, definition: str = OWN_DEFINITION
) -> None:
    """Build the index if the gallery needs it, and drop it if not. Remains of interrupted builds are dropped as well.

    The index serves users' own SQL that orders by distance. Identification does not use it. A gallery that is searched
    through templates is large, and there the index would cost 2.6 kB and some milliseconds for every face. It keeps
    only an index that a user has made in its place.

    Args:
        connection: the gallery's.
        searched_exactly: whether identification compares with every embedding.
        definition: a statement that `drop_vector_index` returned.

    """
    with wrap_psycopg_errors():
        drop_leftovers(connection)
        wanted = connection.execute(queries()["vector_index_wanted"]).fetchone() == (True,)
    if definition != OWN_DEFINITION or (searched_exactly and wanted):
        build_vector_index(connection, definition)
        return
    with wrap_psycopg_errors():
        found = _vector_index(connection)
        if found is not None and found["is_the_gallerys_own"] and not searched_exactly:
            drop_index(connection, NAME)


def drop_leftovers(connection: psycopg.Connection) -> None:
    """Drop what interrupted builds have left. The caller holds their lock, so no build is running."""
    for name in (NEW_NAME, OLD_NAME):
        drop_index(connection, name)


def drop_index(connection: psycopg.Connection, name: str) -> None:
    """Drop an index of this gallery, if it exists, without locking the table."""
    # With its schema: pgvector's is on the search_path as well, and another gallery there may have an index of this
    # name.
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
    """Record how many rows an index was built on: an IVFFlat index has learned its lists from those alone."""
    comment = sql.SQL("COMMENT ON INDEX {} IS {}").format(
        qualified(connection, name), sql.Literal(f"pgface: built on {rows} rows")
    )
    connection.execute(comment)


def _vector_index(connection: psycopg.Connection) -> dict[str, Any] | None:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(queries()["vector_index"]).fetchone()
