"""Loading many bare embeddings at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import errors as pg

from pgface.database.errors import wrap_psycopg_errors
from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import DatabaseError, EmbeddingError, IndexNotBuiltError, PgfaceError, UnknownUserError
from pgface.search import fit_search_if_due, read_search_state, suspend_first_look, vacuum_stale_templates
from pgface.search.vector_index.lifecycle import drop_vector_index, vector_index_lock
from pgface.vectors import BEGIN, END, packed, unit_embeddings

BLOCK = 1_000
"""Embeddings normalised and sent at once: 2 MB."""
_WORTH_REBUILDING = 1_000
"""From so many rows on, the index may be taken away for the load and built again."""
_SHARE_WORTH_REBUILDING = 0.2
"""Of the table's size: an insert into the index cost 2.8 ms, a row of a new index 0.45 ms, at 100,000 rows."""


def load_embeddings(database: Database, user_ids: Any, embeddings: Any, *, latency_target: float) -> int:
    """Load embeddings in one transaction, by binary COPY, and fit the search if that is due; returns how many.

    Where it pays, the vector index is taken away before and built again afterwards, if it is needed. Others go on all
    the while. Where identification searches templates, those of the new embeddings are made in the same transaction.

    Args:
        database: the gallery's.
        user_ids: shape (n,), integers.
        embeddings: shape (n, 512), numbers; may be a memory-mapped file, which is read in blocks.
        latency_target: seconds that an exact scan may take before the search goes through templates.

    Raises:
        EmbeddingError: a row cannot be used, or the counts differ; nothing was loaded.
        UnknownUserError: a user id is not in the gallery; nothing was loaded.
        IndexNotBuiltError: everything was loaded, and the index could not be built, or the search not be fitted.

    """
    ids = _checked_ids(user_ids, embeddings)
    if not len(ids):
        return 0
    with (
        database.dedicated_connection() as connection,
        vector_index_set_aside(connection, len(ids), latency_target=latency_target) as many,
        connection.transaction(),
    ):
        copy_embeddings(connection, ids, embeddings)
        refresh_templates_of_load(connection, len(ids), many=many)
    return len(ids)


@contextmanager
def vector_index_set_aside(connection: psycopg.Connection, new_rows: int, *, latency_target: float) -> Iterator[bool]:
    """Where it pays, take the vector index away for a load, and build it and fit the search afterwards.

    Args:
        connection: outside a transaction, which is to begin and end inside.
        new_rows: embeddings that are to be loaded.
        latency_target: seconds that an exact scan may take before the search goes through templates.

    Yields:
        Whether it pays, because there are many.

    Raises:
        IndexNotBuiltError: everything was loaded, and the index could not be built, or the search not be fitted.

    """
    if not _worth_rebuilding(connection, new_rows):
        yield False
        vacuum_stale_templates(connection)
        return
    with vector_index_lock(connection):
        definition = drop_vector_index(connection)
        try:
            suspend_first_look(connection)
            yield True
        except BaseException:
            with suppress(PgfaceError):  # what went wrong first is what is told; `pgface init` builds it too
                fit_search_if_due(connection, latency_target, index_definition=definition)
            raise
        vacuum_stale_templates(connection)
        with suppress(DatabaseError), wrap_psycopg_errors():  # autovacuum will come by, should it not be possible now
            connection.execute(queries()["vacuum_embeddings"])
        try:
            fit_search_if_due(connection, latency_target, index_definition=definition)
        except PgfaceError as error:
            raise IndexNotBuiltError from error


def refresh_templates_of_load(connection: psycopg.Connection, users: int, *, many: bool) -> None:
    """Make the templates of a load in its transaction, where identification searches them.

    Args:
        connection: the load's.
        users: how many there are at most.
        many: whether so much was loaded that PostgreSQL would plan for fewer rows.

    """
    if read_search_state(connection).method == "exact":
        return
    if many:
        connection.execute(queries()["analyze_embeddings"])
    # Where somebody else is busy with the same users, their notes wait.
    with suppress(pg.LockNotAvailable), connection.transaction():
        connection.execute(queries()["refresh_templates"], {"max_users": users})


def copy_embeddings(connection: psycopg.Connection, ids: NDArray[Any], embeddings: Any) -> None:
    """Write embeddings by binary COPY, all or none; from then on identification finds them."""
    try:
        with connection.transaction(), connection.cursor() as cursor, cursor.copy(queries()["copy_embeddings"]) as copy:
            copy.write(BEGIN)
            for start in range(0, len(ids), BLOCK):
                block = slice(start, start + BLOCK)
                copy.write(packed(ids[block], unit_embeddings(embeddings[block], first_row=start)))
            copy.write(END)
    except pg.ForeignKeyViolation as error:
        raise _unknown_user() from error


def _checked_ids(user_ids: Any, embeddings: Any) -> NDArray[Any]:
    ids = np.asarray(user_ids)
    if ids.ndim != 1 or np.ndim(embeddings) != 2 or len(ids) != len(embeddings):
        raise EmbeddingError(
            f"User ids of shape {ids.shape} and embeddings of shape {np.shape(embeddings)} do not go together; "
            "give n ids and n rows of 512 numbers."
        )
    if len(ids) and (ids.dtype.kind not in "iu" or ids.min() < 1 or ids.max() >= 2**31):
        raise _unknown_user()
    return ids


def _worth_rebuilding(connection: psycopg.Connection, new_rows: int) -> bool:
    if new_rows < _WORTH_REBUILDING:
        return False
    row = connection.execute(queries()["count_embeddings"]).fetchone()
    return row is not None and new_rows >= _SHARE_WORTH_REBUILDING * row[0]


def _unknown_user() -> UnknownUserError:
    return UnknownUserError("A user id is not in the gallery, so nothing was loaded; add the users first.")
