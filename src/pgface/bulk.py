"""Loading many bare embeddings at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import errors as pg

from pgface.binary_copy import BEGIN, END, ROW
from pgface.enrollment import unit_embeddings
from pgface.errors import EmbeddingError, IndexNotBuiltError, PgfaceError, UnknownUserError
from pgface.faces.engine import EMBEDDING_DIMENSION
from pgface.postgres.database import Database
from pgface.postgres.index import drop_vector_index, vector_index_to_oneself
from pgface.schema import queries
from pgface.search import fit_search_if_due, read_search_state, suspend_first_look, sweep_notes

_BLOCK = 1_000
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
    with database.connection_of_its_own() as connection:
        if not _worth_rebuilding(connection, len(ids)):
            _load(connection, ids, embeddings)
            sweep_notes(connection)
            return len(ids)
        with vector_index_to_oneself(connection):
            definition = drop_vector_index(connection)
            try:
                suspend_first_look(connection)
                _load(connection, ids, embeddings, many=True)
            except BaseException:
                with suppress(PgfaceError):  # what went wrong first is what is told; `pgface init` builds it too
                    fit_search_if_due(connection, latency_target, index_definition=definition)
                raise
            sweep_notes(connection)
            try:
                fit_search_if_due(connection, latency_target, index_definition=definition)
            except PgfaceError as error:
                raise IndexNotBuiltError from error
    return len(ids)


def _load(connection: psycopg.Connection, ids: NDArray[Any], embeddings: Any, *, many: bool = False) -> None:
    with connection.transaction():
        copy_embeddings(connection, ids, embeddings)
        if read_search_state(connection).method == "exact":
            return
        if many:
            connection.execute(queries()["analyze_embeddings"])  # so many are new that PostgreSQL would plan for fewer
        # Where somebody else is busy with the same users, their notes wait.
        with suppress(pg.LockNotAvailable), connection.transaction():
            connection.execute(queries()["refresh_templates"], {"max_users": len(ids)})


def copy_embeddings(connection: psycopg.Connection, ids: NDArray[Any], embeddings: Any) -> None:
    """Write embeddings by binary COPY, all or none; from then on identification finds them."""
    try:
        with connection.transaction(), connection.cursor() as cursor, cursor.copy(queries()["copy_embeddings"]) as copy:
            copy.write(BEGIN)
            for rows in _blocks(ids, embeddings):
                copy.write(rows.tobytes())
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


def _blocks(ids: NDArray[Any], embeddings: Any) -> Iterator[NDArray[np.void]]:
    for start in range(0, len(ids), _BLOCK):
        block = slice(start, start + _BLOCK)
        rows = np.zeros(len(ids[block]), dtype=ROW)
        rows["fields"] = 2
        rows["user_id_bytes"] = 4
        rows["user_id"] = ids[block]
        rows["embedding_bytes"] = 4 + 4 * EMBEDDING_DIMENSION
        rows["dimension"] = EMBEDDING_DIMENSION
        rows["embedding"] = unit_embeddings(embeddings[block], first_row=start)
        yield rows


def _unknown_user() -> UnknownUserError:
    return UnknownUserError("A user id is not in the gallery, so nothing was loaded; add the users first.")
