"""Temporary schemas for benchmarks."""

from __future__ import annotations

import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg
from psycopg import sql

from pgface.database.embedded.server import EmbeddedPostgres
from pgface.database.errors import wrap_psycopg_errors
from pgface.database.pool import initialise
from pgface.errors import DatabaseError, DatabaseUnreachableError
from pgface.settings import Settings

PREFIX = "pgface_bench_"
_TIMEOUT_AFTER_LOSS = 2.0
"""Seconds to wait for a server that has just become unreachable."""


@contextmanager
def server(settings: Settings) -> Iterator[str]:
    """Give the URL of PostgreSQL, which may hold a password. The embedded server runs until the context ends."""
    with ExitStack() as resources:
        if settings.database_url is not None:
            yield (settings.direct_url or settings.database_url).get_secret_value()
        else:
            yield resources.enter_context(EmbeddedPostgres(settings.postgres_dir)).url


@contextmanager
def scratch_gallery(settings: Settings) -> Iterator[Settings]:
    """Create an empty gallery in a temporary schema. Gives its settings.

    If the database lacks pgvector, it is added and stays.

    Raises:
        DatabaseError: PostgreSQL failed or could not be reached.

    """
    with scratch_schema(settings) as (name, _):
        own = settings.model_copy(update={"schema_name": name})
        initialise(own)
        yield own


@contextmanager
def scratch_schema(settings: Settings) -> Iterator[tuple[str, str]]:
    """Give an unused name for a schema, and the server's URL. The schema is dropped at the end, even after errors."""
    name = f"{PREFIX}{secrets.token_hex(4)}"
    with server(settings) as url:
        patience = settings.connect_timeout
        try:
            yield name, url
        except DatabaseUnreachableError:
            patience = _TIMEOUT_AFTER_LOSS  # the full timeout has passed already
            raise
        finally:
            with without_ctrl_c():  # a second Ctrl-C would leave the schema behind
                _drop(url, name, patience)


def _drop(url: str, schema_name: str, connect_timeout: float) -> None:
    statement = sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema_name))
    try:
        with (
            wrap_psycopg_errors(),
            psycopg.connect(url, autocommit=True, connect_timeout=round(connect_timeout) + 1) as last,
            last.transaction(),  # so that no setting stays in a pooler's connection
        ):
            # Otherwise a notice would name each table.
            last.execute("SET LOCAL client_min_messages = warning")
            last.execute("SET LOCAL lock_timeout = '60s'")
            last.execute(statement)
    except DatabaseError as error:
        raise DatabaseError(
            f"The benchmark's schema could not be dropped ({str(error).rstrip('.')}). "
            f"When the server is back, run DROP SCHEMA {schema_name} CASCADE."
        ) from error


@contextmanager
def without_ctrl_c() -> Iterator[None]:
    """Ignore Ctrl-C for a moment. Processes that are started meanwhile ignore it permanently."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread can set signals
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
