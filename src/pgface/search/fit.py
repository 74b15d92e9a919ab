"""Choosing the search method for the size of a gallery, and checking it against the exact answer.

`CALL fit_search()` does the same in SQL. Here, other sessions can write while indexes are built and dropped.
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
from pgface.search.vector_index.definition import hnsw_memory
from pgface.search.vector_index.lifecycle import (
    OWN_DEFINITION,
    count_embeddings,
    drop_index,
    settle_vector_index,
    vector_index_lock,
)
from pgface.search.vector_index.memory import raise_build_memory

_BATCH_USERS = 5_000
"""Number of users in one transaction when the templates of all users are made."""
_METHOD_NOT_SUITABLE = "PGF03"
"""SQLSTATE of the error if a search method does not suit the gallery."""
_METHODS_WITH_INDEX = ("hnsw", "hnsw_binary", "ivfflat")
_M = 16
"""Neighbors of a node in both HNSW indexes (`template_index`)."""
_TEMPLATE_BYTES, _SIGNS_BYTES = 8 + 2 * 512, 8 + 64
"""The sizes of a `halfvec(512)` and a `bit(512)`."""


def fit_search(database: Database, choice: SearchMethod, latency_target: float) -> SearchState:
    """Choose the method, build its index, measure its agreement, and switch to it.

    Searches work as before until the last step, which is one UPDATE. Call this after the gallery has moved to another
    server, because it measures the time of a scan again.

    Args:
        database: the gallery's connections.
        choice: with "auto", the method is "exact" if a scan takes no longer than the target. Otherwise it is "hnsw".
        latency_target: seconds.

    Raises:
        GalleryError: there is no such method, its index gives wrong answers, or the gallery is empty.
        DatabaseError: PostgreSQL could not do it. Searches work as before.

    """
    if choice not in METHODS:
        raise GalleryError(f"There is no search method {choice}. Choose one of {', '.join(METHODS)}.")
    with database.dedicated_connection() as connection, vector_index_lock(connection):
        _fit(connection, choice, latency_target, _fastest_scan(connection))
        settle_vector_index(connection)
    return read_search_state(database)


@wrap_psycopg_errors()
def fit_search_if_due(
    connection: psycopg.Connection, latency_target: float, *, index_definition: str = OWN_DEFINITION
) -> None:
    """Fit the search again if enough of the gallery has changed, and build or drop the vector index.

    Args:
        connection: outside a transaction, and inside `vector_index_lock`.
        latency_target: seconds.
        index_definition: the statement that makes the vector index again, if it was dropped.

    Raises:
        DatabaseError: PostgreSQL could not do it. Searches work as before.

    """
    state = read_search_state(connection)
    # An empty gallery has nothing to fit an index to.
    if state.due and (state.choice in ("auto", "exact") or count_embeddings(connection)):
        _fit(connection, state.choice, latency_target, _expected_scan(connection, state))
    settle_vector_index(connection, index_definition)


@wrap_psycopg_errors()
def suspend_index_search(connection: psycopg.Connection) -> None:
    """Drop the index of the templates, if there is one. Identification then compares with every template.

    Adding many templates to an HNSW index one by one takes longer than building it again.

    Args:
        connection: as for `fit_search_if_due`. Call that function afterwards.

    """
    if read_search_state(connection).method != "exact":
        connection.execute(queries()["suspend_index_search"])
        _drop_indexes(connection, but="")


def vacuum_stale_templates(connection: psycopg.Connection) -> None:
    """Vacuum the dead rows that a load leaves among the stale users, and flush the statistics.

    Both speed up later searches. If it is not possible now, autovacuum does it later.
    """
    with suppress(DatabaseError), wrap_psycopg_errors():
        connection.execute(queries()["vacuum_stale_templates"])
        connection.execute(queries()["flush_statistics"])


def refresh_templates(database: Database, max_users: int = _BATCH_USERS) -> bool:
    """Make templates of stale users, if the search uses templates. Skip users that another session has locked.

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
        if not count_embeddings(connection):
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
        if error.sqlstate != _METHOD_NOT_SUITABLE:
            raise
        _drop_indexes(connection, but=read_search_state(connection).method)
        message = error.diag.message_primary or ""
        raise GalleryError(f"{message[:1].upper()}{message[1:]}.") from error


def _expected_scan(connection: psycopg.Connection, state: SearchState) -> float:
    """Estimate the seconds of an exact scan on an idle server.

    A busy server slows a scan. So the smaller of two figures counts: a new measurement, and the last one scaled to the
    present size. A gallery must not get an index only because the server was busy for a moment.
    """
    scan = _fastest_scan(connection)
    if not state.embeddings or not state.scan_ms:
        return scan
    return min(scan, state.scan_ms / 1e3 * count_embeddings(connection) / state.embeddings)


def _fastest_scan(connection: psycopg.Connection) -> float:
    """Return the seconds of the fastest of several exact scans, or 0 for an empty gallery."""
    row = connection.execute(queries()["fastest_scan"]).fetchone()
    return float(row[0]) if row else 0.0


def _refresh_all(connection: psycopg.Connection) -> None:
    # Users are not marked as stale if triggers were off, as in logical replication.
    connection.execute(queries()["note_users_not_searched"])
    # A batch that is not full ends the loop, even while users are enrolled. A few stale users do no harm.
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
        _raise_memory(connection, method)
        connection.execute(f"CREATE INDEX CONCURRENTLY {name} ON {index['definition']}".encode())
    elif method == "ivfflat":
        # Its lists were learned from the gallery at an earlier size. Searches use them until the new ones are built.
        drop_index(connection, f"{name}_ccnew")  # left by an interrupted build
        options = str(index["definition"]).rpartition("WITH ")[2]
        connection.execute(f"ALTER INDEX {name} SET {options}".encode())
        connection.execute(f"REINDEX INDEX CONCURRENTLY {name}".encode())


def _raise_memory(connection: psycopg.Connection, method: str) -> None:
    """Let the graph of HNSW stay in memory while it is built, as `build_template_index` does in SQL."""
    (templates,) = connection.execute(queries()["count_templates"]).fetchall()[0]
    vector_bytes = _SIGNS_BYTES if method == "hnsw_binary" else _TEMPLATE_BYTES
    raise_build_memory(connection, hnsw_memory(templates, _M, vector_bytes))


def _drop_indexes(connection: psycopg.Connection, *, but: str) -> None:
    for method in _METHODS_WITH_INDEX:
        if method != but:
            drop_index(connection, _index_of(connection, method)["name"])


def _index_of(connection: psycopg.Connection, method: str) -> dict[str, Any]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(queries()["template_index"], {"method": method}).fetchall()[0]
