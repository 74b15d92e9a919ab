"""A schema of its own for the length of a benchmark, which is dropped at the end."""

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
_AFTER_A_LOSS = 2.0
"""Seconds to wait for a server that has just been found gone."""


@contextmanager
def server(settings: Settings) -> Iterator[str]:
    """The URL of PostgreSQL itself; the embedded one runs for as long as this is entered. It may hold a password."""
    with ExitStack() as resources:
        if settings.database_url is not None:
            yield (settings.direct_url or settings.database_url).get_secret_value()
        else:
            yield resources.enter_context(EmbeddedPostgres(settings.postgres_dir)).url


@contextmanager
def scratch_gallery(settings: Settings) -> Iterator[Settings]:
    """Settings of a new, empty gallery, which is dropped whatever happens; no other schema is touched.

    pgvector is added to the database if it is not there, and stays.

    Raises:
        DatabaseError: PostgreSQL could not be reached, or refused.

    """
    with scratch_schema(settings) as (name, _):
        own = settings.model_copy(update={"schema_name": name})
        initialise(own)
        yield own


@contextmanager
def scratch_schema(settings: Settings) -> Iterator[tuple[str, str]]:
    """The name of a schema that is not there yet, and the server's URL; what was made is dropped whatever happens."""
    name = f"{PREFIX}{secrets.token_hex(4)}"
    with server(settings) as url:
        patience = settings.connect_timeout
        try:
            yield name, url
        except DatabaseUnreachableError:
            patience = _AFTER_A_LOSS  # it was waited for already
            raise
        finally:
            with without_ctrl_c():  # a second one would leave the schema behind
                _drop(url, name, patience)


def _drop(url: str, schema_name: str, connect_timeout: float) -> None:
    statement = sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema_name))
    try:
        with (
            wrap_psycopg_errors(),
            psycopg.connect(url, autocommit=True, connect_timeout=round(connect_timeout) + 1) as last,
            last.transaction(),  # so that no setting outlives it in a pooler's connection
        ):
            # Each of its tables would be named in a notice.
            last.execute("SET LOCAL client_min_messages = warning")
            last.execute("SET LOCAL lock_timeout = '60s'")
            last.execute(statement)
    except DatabaseError as error:
        raise DatabaseError(
            f"The benchmark's schema could not be dropped ({str(error).rstrip('.')}); "
            f"run DROP SCHEMA {schema_name} CASCADE when the server is there again."
        ) from error


@contextmanager
def without_ctrl_c() -> Iterator[None]:
    """Ignore Ctrl-C for a moment; processes started meanwhile ignore it for good."""
    if threading.current_thread() is not threading.main_thread():  # where signals cannot be set, and do not arrive
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
