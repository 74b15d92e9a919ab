"""Bulk loading of bare embeddings."""

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
from pgface.search.fit import fit_search_if_due, suspend_index_search, vacuum_stale_templates
from pgface.search.state import read_search_state
from pgface.search.vector_index.lifecycle import count_embeddings, drop_vector_index, vector_index_lock
from pgface.vectors import COPY_HEADER, COPY_TRAILER, pack_rows, unit_embeddings

BLOCK = 1_000
"""Number of embeddings that are normalised and sent together, 2 MB."""
_MIN_ROWS_TO_REBUILD = 1_000
"""For fewer new rows, the vector index stays in place during the load."""
_MIN_SHARE_TO_REBUILD = 0.2
"""Minimum share of the table's rows. With 100,000 rows, an insert into the index cost 2.8 ms, and a row of a new index
0.45 ms."""


def load_embeddings(
    database: Database, user_ids: Any, embeddings: Any, *, latency_target: float, model_changes: int | None = None
) -> int:
    """Load embeddings in one transaction by binary COPY, fit the search if that is due, and return their number.

    For a large load, the vector index is dropped first and built again afterwards. Other sessions continue in the
    meantime. If identification searches templates, the same transaction makes those of the new embeddings.

    Args:
        database: the gallery's connections.
        user_ids: shape (n,), integers.
        embeddings: shape (n, 512), numbers. A memory-mapped file is read in blocks.
        latency_target: seconds that an exact scan may take before identification searches templates.
        model_changes: `GalleryConfig.model_changes` of the embeddings' model. With None, the caller has checked it.

    Raises:
        EmbeddingError: a row cannot be used, or the lengths differ. Nothing was loaded.
        UnknownUserError: a user id is not in the gallery. Nothing was loaded.
        ModelMismatchError: the gallery has got another model in the meantime. Nothing was loaded.
        IndexNotBuiltError: everything was loaded, but the index could not be built, or the search could not be fitted.

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
        # Afterwards, because the lock of the copied rows makes a change of the model wait.
        connection.execute(queries()["require_model"], {"model_changes": model_changes})
        refresh_templates_of_load(connection, len(ids), many=many)
    return len(ids)


@contextmanager
def vector_index_set_aside(connection: psycopg.Connection, new_rows: int, *, latency_target: float) -> Iterator[bool]:
    """For a large load, drop the vector index. Build it and fit the search afterwards.

    Args:
        connection: outside a transaction. The transaction of the load starts and ends inside this context.
        new_rows: the number of embeddings to load.
        latency_target: seconds that an exact scan may take before identification searches templates.

    Yields:
        Whether the load is so large.

    Raises:
        IndexNotBuiltError: everything was loaded, but the index could not be built, or the search could not be fitted.

    """
    if not _worth_rebuilding(connection, new_rows):
        yield False
        vacuum_stale_templates(connection)
        return
    with vector_index_lock(connection):
        definition = drop_vector_index(connection)
        try:
            suspend_index_search(connection)
            yield True
        except BaseException:
            with suppress(PgfaceError):  # the first error counts, and `pgface init` builds the index too
                fit_search_if_due(connection, latency_target, index_definition=definition)
            raise
        vacuum_stale_templates(connection)
        with suppress(DatabaseError), wrap_psycopg_errors():  # if this fails, autovacuum does it later
            connection.execute(queries()["vacuum_embeddings"])
        try:
            fit_search_if_due(connection, latency_target, index_definition=definition)
        except PgfaceError as error:
            raise IndexNotBuiltError from error


def refresh_templates_of_load(connection: psycopg.Connection, users: int, *, many: bool) -> None:
    """Make the templates of a load in the same transaction, if identification searches templates.

    Args:
        connection: the connection of the load.
        users: maximum number of users in the load.
        many: whether the load is large, so that PostgreSQL needs new statistics to plan well.

    """
    if read_search_state(connection).method == "exact":
        return
    if many:
        connection.execute(queries()["analyze_embeddings"])
    # If another session holds the locks of the same users, their templates are made later.
    with suppress(pg.LockNotAvailable), connection.transaction():
        connection.execute(queries()["refresh_templates"], {"max_users": users})


def copy_embeddings(connection: psycopg.Connection, ids: NDArray[Any], embeddings: Any) -> None:
    """Insert embeddings by binary COPY: all of them, or no embedding. Identification finds them from then on."""
    try:
        with connection.transaction(), connection.cursor() as cursor, cursor.copy(queries()["copy_embeddings"]) as copy:
            copy.write(COPY_HEADER)
            for start in range(0, len(ids), BLOCK):
                block = slice(start, start + BLOCK)
                copy.write(pack_rows(ids[block], unit_embeddings(embeddings[block], first_row=start)))
            copy.write(COPY_TRAILER)
    except pg.ForeignKeyViolation as error:
        raise _unknown_user() from error
    except pg.InternalError_ as error:  # Citus passes on only the text of an error of COPY
        if "violates foreign key" not in str(error):
            raise
        raise _unknown_user() from error


def _checked_ids(user_ids: Any, embeddings: Any) -> NDArray[Any]:
    ids = np.asarray(user_ids)
    if ids.ndim != 1 or np.ndim(embeddings) != 2 or len(ids) != len(embeddings):
        raise EmbeddingError(
            f"User ids of shape {ids.shape} and embeddings of shape {np.shape(embeddings)} do not match. "
            "Give n ids and n rows of 512 numbers."
        )
    if len(ids) and (ids.dtype.kind not in "iu" or ids.min() < 1 or ids.max() >= 2**31):
        raise _unknown_user()
    return ids


def _worth_rebuilding(connection: psycopg.Connection, new_rows: int) -> bool:
    return new_rows >= _MIN_ROWS_TO_REBUILD and new_rows >= _MIN_SHARE_TO_REBUILD * count_embeddings(connection)


def _unknown_user() -> UnknownUserError:
    return UnknownUserError("A user id is not in the gallery, so nothing was loaded. Add the users first.")
