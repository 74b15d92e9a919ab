"""Chooses how identification searches a gallery of this size, and checks it against the exact answer.

`CALL fit_search()` does the same in SQL. Here indexes are built and dropped while other sessions write.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psycopg
from psycopg.rows import dict_row, tuple_row

from pgface.database.errors import wrap_psycopg_errors
from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import DatabaseError, GalleryError
from pgface.search.state import METHODS, SearchMethod, SearchState, read_search_state
from pgface.search.vector_index.lifecycle import (
    OWN_DEFINITION,
    drop_index,
    settle_vector_index,
    vector_index_lock,
)

_BATCH_USERS = 5_000
"""Number of users in one transaction when the templates of all users are made."""
_CANNOT_BE_FITTED = "PGF03"
"""SQLSTATE if a search method does not suit the gallery."""
_METHODS_WITH_INDEX = ("hnsw", "hnsw_binary", "ivfflat")


def fit_search(database: Database, choice: SearchMethod, latency_target: float) -> SearchState:
    """Choose the method for the gallery as it is now, build what it needs, measure its agreement, and switch to it.

    Searches work as before until the last step, which is one UPDATE. The scan is timed again, so call this after the
    gallery has moved to another server.

    Args:
        database: the gallery's.
        choice: "auto" scans exactly while a scan takes no longer than the target, and uses HNSW beyond.
        latency_target: seconds.

    Raises:
        GalleryError: there is no such method, the index needs a gallery with people in it, or gives wrong answers.
        DatabaseError: PostgreSQL could not do it. Searches work as before.

    """
    if choice not in METHODS:
        raise GalleryError(f"There is no search method {choice}. Choose one of {', '.join(METHODS)}.")
    with database.dedicated_connection() as connection, vector_index_lock(connection):
        _fit(connection, choice, latency_target, _fastest_scan(connection))
        _settle_vector_index(connection)
    return read_search_state(database)


@wrap_psycopg_errors()
def fit_search_if_due(
    connection: psycopg.Connection, latency_target: float, *, index_definition: str = OWN_DEFINITION
) -> None:
    """Fit the search again if enough of the gallery has changed, and build or drop the vector index.

    Args:
        connection: outside a transaction, and inside `vector_index_lock`, so that no other session does the same.
        latency_target: seconds.
        index_definition: the vector index's, if it was dropped.

    Raises:
        DatabaseError: PostgreSQL could not do it. Searches work as before.

    """
    state = read_search_state(connection)
    # An empty gallery has nothing to fit an index to.
    if state.due and (state.choice in ("auto", "exact") or _count(connection, "count_embeddings")):
        _fit(connection, state.choice, latency_target, _expected_scan(connection, state))
    _settle_vector_index(connection, index_definition)


@wrap_psycopg_errors()
def suspend_index_search(connection: psycopg.Connection) -> None:
    """Drop the index of the templates, if there is one. Identification then compares with every template.

    Adding many templates to an HNSW index one by one takes longer than building it again.

    Args:
        connection: as for `fit_search_if_due`, which you call afterwards.

    """
    if read_search_state(connection).method != "exact":
        connection.execute(queries()["suspend_index_search"])
        _drop_indexes(connection, but="")


def vacuum_stale_templates(connection: psycopg.Connection) -> None:
    """Vacuum the dead rows that a load leaves among the stale users, and flush the statistics.

    Both help later searches. If it is not possible now, autovacuum does it later.
    """
    with suppress(DatabaseError), wrap_psycopg_errors():
        connection.execute(queries()["vacuum_stale_templates"])
        connection.execute(queries()["flush_statistics"])


def refresh_templates(database: Database, max_users: int = _BATCH_USERS) -> bool:
    """Make templates of stale users, if the search uses templates. Leave users that another session has locked to it.

    Returns:
        Whether more users may be stale.

    """
    if database.read("search_method", row_factory=tuple_row) == [("exact",)]:
        return False
    with suppress(DatabaseError), database.transaction() as connection:
        return connection.execute(queries()["refresh_templates"], {"max_users": max_users}).fetchone() == (max_users,)
    return False


def _fit(connection: psycopg.Connection, choice: SearchMethod, latency_target: float, scan: float) -> None:
    method = ("exact" if scan <= latency_target else "hnsw") if choice == "auto" else choice
    if method != "exact":
        if not _count(connection, "count_embeddings"):
            raise GalleryError(f"The gallery is empty, so {method} cannot be fitted. Enroll people first.")
        _refresh_all(connection)
        _build_index(connection, method)
    _switch(connection, {"choice": choice, "method": method, "scan": scan})
    _drop_indexes(connection, but=method)


def _switch(connection: psycopg.Connection, chosen: dict[str, Any]) -> None:
    """Measure the method and switch the search to it, as `CALL fit_search()` does in SQL."""
    try:
        connection.execute(queries()["switch_search"], chosen)
    except psycopg.Error as error:
        if error.sqlstate != _CANNOT_BE_FITTED:
            raise
        _drop_indexes(connection, but=read_search_state(connection).method)
        message = error.diag.message_primary or ""
        raise GalleryError(f"{message[:1].upper()}{message[1:]}.") from error


def _count(connection: psycopg.Connection, query: str) -> int:
    row = connection.execute(queries()[query]).fetchone()
    return 0 if row is None else int(row[0])


def _settle_vector_index(connection: psycopg.Connection, definition: str = OWN_DEFINITION) -> None:
    exactly = read_search_state(connection).method == "exact"
    settle_vector_index(connection, searched_exactly=exactly, definition=definition)


def _expected_scan(connection: psycopg.Connection, state: SearchState) -> float:
    """Estimate the seconds of an exact scan on an idle server.

    A busy server slows a scan. So the smaller of two figures counts: this measurement, and the last one scaled to the
    present size. A gallery gets an index because it has grown, and not because the server was busy for a moment.
    """
    scan = _fastest_scan(connection)
    if not state.embeddings or not state.scan_ms:
        return scan
    return min(scan, state.scan_ms / 1e3 * _count(connection, "count_embeddings") / state.embeddings)


def _fastest_scan(connection: psycopg.Connection) -> float:
    """Return the seconds of the fastest of some exact scans, or 0 for an empty gallery."""
    row = connection.execute(queries()["fastest_scan"]).fetchone()
    return float(row[0]) if row else 0.0


def _refresh_all(connection: psycopg.Connection) -> None:
    # Users whose embeddings came while triggers were off, as in logical replication, are not marked as stale.
    connection.execute(queries()["note_users_not_searched"])
    # The loop ends with a batch that is not full, also while users are being enrolled. A few stale ones do no harm.
    connection.execute(queries()["analyze_embeddings"])
    while connection.execute(queries()["refresh_templates"], {"max_users": _BATCH_USERS}).fetchone() == (_BATCH_USERS,):
        pass
    vacuum_stale_templates(connection)
    connection.execute(queries()["analyze_templates"])


def _build_index(connection: psycopg.Connection, method: str) -> None:
    index = _index_of(connection, method)
    name = index["name"]
    if not index["valid"]:
        drop_index(connection, name)
        connection.execute(f"CREATE INDEX CONCURRENTLY {name} ON {index['definition']}".encode())
    elif method == "ivfflat":
        # Its lists are those of an earlier size of the gallery. They serve until the new ones are there.
        drop_index(connection, f"{name}_ccnew")  # left by a try that was interrupted
        options = str(index["definition"]).rpartition("WITH ")[2]
        connection.execute(f"ALTER INDEX {name} SET {options}".encode())
        connection.execute(f"REINDEX INDEX CONCURRENTLY {name}".encode())


def _drop_indexes(connection: psycopg.Connection, *, but: str) -> None:
    for method in _METHODS_WITH_INDEX:
        if method != but:
            drop_index(connection, _index_of(connection, method)["name"])


def _index_of(connection: psycopg.Connection, method: str) -> dict[str, Any]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(queries()["template_index"], {"method": method}).fetchall()[0]
