"""Building `idx_embeddings_vector` again under another name, and replacing the old one."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg import sql

from pgface.database.cluster import is_cluster
from pgface.database.errors import wrap_psycopg_errors
from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import IndexNotBuiltError, PgfaceError
from pgface.search.vector_index.definition import Method, define
from pgface.search.vector_index.lifecycle import (
    NAME,
    NEW_NAME,
    OLD_NAME,
    count_embeddings,
    drop_index,
    drop_leftovers,
    qualified,
    remember_rows,
    vector_index_lock,
)
from pgface.search.vector_index.memory import BuildMemory, set_build_memory
from pgface.search.vector_index.progress import OnProgress, Progress, watched
from pgface.system.signals import ignore_termination

WAITING = "waiting for another build, fit or load to end"
_DROP_TIMEOUT = "30s"
"""Maximum time to drop the replaced index, which waits for transactions that may use it."""
_CLEAN_UP_SECONDS = 10.0
"""Maximum time to clean up after an interrupted build."""


@dataclass(frozen=True, slots=True)
class IndexBuild:
    """The result of a build."""

    method: Method
    rows: int
    """Number of embeddings in the gallery at the start of the build."""
    seconds: float
    m: int | None = None
    ef_construction: int | None = None
    lists: int | None = None
    bytes: int = 0
    memory: BuildMemory | None = None
    outgrown_after: int | None = None
    """Number of rows after which the HNSW graph exceeded its memory and the build became slow. None if it fitted."""
    old_left: bool = False
    """Whether the replaced index could not be dropped yet, because other transactions use it."""

    def to_json(self) -> dict[str, Any]:
        """Return values that `json.dumps` accepts."""
        return asdict(self)


def build_index(
    database: Database,
    method: Method,
    *,
    m: int | None = None,
    ef_construction: int | None = None,
    lists: int | None = None,
    memory: int | None = None,
    on_progress: OnProgress | None = None,
) -> IndexBuild:
    """Build the index for SQL that orders by distance, or drop it ("exact"), without locking the table.

    The index is built under another name and renamed in one transaction, so that queries always find one. If a build is
    interrupted, the old index stays, and the unfinished one is dropped. If the server cannot be reached or this process
    is killed, the next build, fit, load or `pgface init` drops it.

    Args:
        database: the gallery's connections.
        method: "exact", "hnsw" or "ivfflat".
        m: see `define`.
        ef_construction: see `define`.
        lists: see `define`.
        memory: a limit for `maintenance_work_mem` in bytes. For the default, see `set_build_memory`.
        on_progress: called from another thread, several times a second.

    Raises:
        GalleryError: the options contradict each other, or there are too few embeddings for IVFFlat.
        IndexNotBuiltError: PostgreSQL could not do it. The old index is still there.
        DatabaseError: PostgreSQL cannot be reached, or refused.

    """
    started = time.perf_counter()
    with database.dedicated_connection() as connection:
        rows = count_embeddings(connection)
        definition = define(method, rows, m=m, ef_construction=ef_construction, lists=lists)
        connection.execute(queries()["prepare_to_build"])
        on_wait = None if on_progress is None else partial(on_progress, Progress(WAITING))
        with vector_index_lock(connection, on_wait=on_wait):
            if definition is None:
                connection.execute(queries()["want_vector_index"], {"wanted": False})
                drop_leftovers(connection)
                drop_index(connection, NAME)
                return IndexBuild("exact", rows, time.perf_counter() - started)
            given = set_build_memory(connection, definition, rows, memory)
            notices: list[str] = []
            connection.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
            with _clean_up_on_error(database, connection):
                drop_leftovers(connection)
                with watched(database, connection.info.backend_pid, on_progress):
                    connection.execute(definition.create(NEW_NAME))
                remember_rows(connection, NEW_NAME, rows)
                _swap_names(connection)
            return IndexBuild(
                method,
                rows,
                time.perf_counter() - started,
                definition.m,
                definition.ef_construction,
                definition.lists,
                bytes=_size(connection),
                memory=given,
                outgrown_after=_outgrown_after(notices),
                old_left=not _drop_old_index(connection),
            )


def _swap_names(connection: psycopg.Connection) -> None:
    """Replace the old index by the new one, without waiting for readers or writers."""
    rename = sql.SQL("ALTER INDEX IF EXISTS {} RENAME TO {}")
    with connection.transaction():
        connection.execute(rename.format(qualified(connection, NAME), sql.Identifier(OLD_NAME)))
        connection.execute(rename.format(qualified(connection, NEW_NAME), sql.Identifier(NAME)))
        connection.execute(queries()["want_vector_index"], {"wanted": True})


def _drop_old_index(connection: psycopg.Connection) -> bool:
    """Drop the replaced index. Return False if other transactions still use it."""
    try:
        connection.execute(queries()["limit_waiting"], {"time": _DROP_TIMEOUT, "in_transaction": False})
        drop_index(connection, OLD_NAME)
    except pg.LockNotAvailable:
        return False
    return True


@contextmanager
def _clean_up_on_error(database: Database, connection: psycopg.Connection) -> Iterator[None]:
    """If the block fails, drop the unfinished index and report the reason."""
    try:
        yield
    except psycopg.Error as error:
        message = f"The index was not built: {_reason(error)}. The old index is unchanged."
        if not _drop_unfinished_index(database, connection):
            message += f" The next `pgface index build` or `pgface init` drops the unfinished index {NEW_NAME}."
        raise IndexNotBuiltError(message) from error
    except BaseException:
        _drop_unfinished_index(database, connection)
        raise


def _drop_unfinished_index(database: Database, connection: psycopg.Connection) -> bool:
    """Drop the unfinished index. Return whether that was possible within the time limit."""
    with ignore_termination():
        try:
            with wrap_psycopg_errors(), ExitStack() as resources:
                if connection.broken or connection.closed:  # its lock is free too
                    connection = resources.enter_context(database.dedicated_connection())
                    resources.enter_context(vector_index_lock(connection, max_seconds=_CLEAN_UP_SECONDS))
                limit = {"time": f"{_CLEAN_UP_SECONDS:g}s", "in_transaction": False}
                connection.execute(queries()["limit_waiting"], limit)
                drop_leftovers(connection)
        except PgfaceError:
            return False
        return True


def _reason(error: psycopg.Error) -> str:
    message = (error.diag.message_primary or "").rstrip(".")
    match error:
        case pg.ProgramLimitExceeded() if "memory required" in message:
            return f"pgvector needs more memory ({message}). Set `memory` to more than it requires"
        case pg.DiskFull() if "shared memory" in message:
            return (
                f"the server's shared memory is too small for it ({message}). "
                "Give its container more (shm_size), or set `memory` to less"
            )
        case pg.QueryCanceled() | pg.AdminShutdown():
            return f"it was ended on the server ({message})"
        case psycopg.OperationalError() | psycopg.InterfaceError() if not message:
            return "the connection to PostgreSQL was lost"
        case _:
            return f"PostgreSQL says: {message}"


def _outgrown_after(notices: list[str]) -> int | None:
    found = (re.search(r"no longer fits into maintenance_work_mem after (\d+)", notice) for notice in notices)
    return next((int(match[1]) for match in found if match), None)


def _size(connection: psycopg.Connection) -> int:
    if is_cluster(connection):
        values = {"table": "face_embeddings", "index": NAME}
        return int(connection.execute(queries()["relation_on_node"], values).fetchall()[0][0])
    name = qualified(connection, NAME).as_string()
    row = connection.execute("SELECT pg_relation_size(%s::regclass)", (name,)).fetchone()
    return 0 if row is None else int(row[0])
