"""The queue of jobs: procrastinate's tables and functions, in a schema of their own.

One queue serves the default gallery and all galleries of its registry. procrastinate finds its tables by the search
path, so `entered_queue` sets it for the rest of a block.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql

from pgface.database.errors import wrap_psycopg_errors
from pgface.database.sql import lock, queries, statements
from pgface.errors import DatabaseAccessError, PgfaceError, SchemaMissingError
from pgface.system.extras import how_to_install

_MAX_NAME_BYTES: Final = 63
_NOT_SET_UP: Final = "This database has no queue of jobs yet. Run `pgface init` as the gallery's owner."


def queue_schema(schema_name: str) -> str:
    """Return the name of the schema with the queue of a default gallery."""
    name = f"{schema_name}_jobs"
    if len(name.encode()) <= _MAX_NAME_BYTES:
        return name
    return f"pgface_jobs_{hashlib.sha256(schema_name.encode()).hexdigest()[:32]}"


def require_procrastinate() -> str:
    """Return the version of procrastinate.

    Raises:
        PgfaceError: it is not installed.

    """
    try:
        return version("procrastinate")
    except PackageNotFoundError:
        raise PgfaceError(f"Jobs need the package procrastinate. Install it with {how_to_install('server')}.") from None


def install_queue(connection: psycopg.Connection, schema_name: str) -> None:
    """Create the queue of a default gallery, or upgrade it to the installed procrastinate.

    Raises:
        DatabaseAccessError: this PostgreSQL user may not create it.
        PgfaceError: procrastinate is not installed.

    """
    wanted = require_procrastinate()
    schema = queue_schema(schema_name)
    with wrap_psycopg_errors(), connection.transaction(), _path_restored(connection):
        connection.execute(queries()["enter_queue"], {"schema": schema_name})
        connection.execute(lock())  # two programs may both find no queue
        made_by = queue_version(connection, schema_name)
        if made_by == wanted:
            return
        if made_by is None:
            # On a cluster, the queue is on the coordinator, which notifies the processes that wait for jobs.
            connection.execute("SET LOCAL citus.enable_schema_based_sharding TO off")
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
            connection.execute("SET LOCAL citus.enable_schema_based_sharding TO DEFAULT")
        connection.execute(queries()["enter_queue"], {"schema": schema})
        for script in [_whole_schema()] if made_by is None else _later_scripts(made_by):
            for statement in statements(script):
                connection.execute(statement)
        comment = sql.SQL("COMMENT ON SCHEMA {} IS {}")
        connection.execute(comment.format(sql.Identifier(schema), sql.Literal(f"procrastinate {wanted}")))


def install_queue_if_possible(connection: psycopg.Connection, schema_name: str) -> None:
    """Do the same as `install_queue`, or nothing if procrastinate is not installed. Jobs belong to the service."""
    try:
        require_procrastinate()
    except PgfaceError:
        return
    install_queue(connection, schema_name)


def queue_version(connection: psycopg.Connection, schema_name: str) -> str | None:
    """Return the version of procrastinate that made the queue. None if there is no queue."""
    row = connection.execute(queries()["queue_version"], {"schema": queue_schema(schema_name)}).fetchone()
    return None if row is None or row[0] is None else str(row[0]).removeprefix("procrastinate ")


def require_queue(connection: psycopg.Connection, schema_name: str) -> None:
    """Create the queue if it is missing and this role may do so.

    Raises:
        SchemaMissingError: it is missing, and this role may not create it.

    """
    if queue_version(connection, schema_name) is not None:
        return
    try:
        with connection.transaction():
            install_queue(connection, schema_name)
    except DatabaseAccessError:
        raise SchemaMissingError(_NOT_SET_UP) from None


@contextmanager
def entered_queue(connection: psycopg.Connection, schema_name: str) -> Iterator[None]:
    """Let names lead to the queue in the block. Call it in a transaction."""
    with _path_restored(connection):
        connection.execute(queries()["enter_queue"], {"schema": queue_schema(schema_name)})
        yield


@contextmanager
def _path_restored(connection: psycopg.Connection) -> Iterator[None]:
    row = connection.execute(queries()["search_path"]).fetchone()
    yield
    assert row is not None  # noqa: S101 - a SELECT of one row
    connection.execute(queries()["restore_search_path"], {"path": row[0]})


def _whole_schema() -> LiteralString:
    from procrastinate.schema import SchemaManager

    return SchemaManager.get_schema()


def _later_scripts(made_by: str) -> list[LiteralString]:
    """Return procrastinate's own migrations since a version, in their order."""
    from procrastinate.schema import SchemaManager

    folder = Path(SchemaManager.get_migrations_path())
    files = sorted(file for file in folder.glob("*.sql") if _numbers(file.name.split("_")[0]) > _numbers(made_by))
    # The files are part of a package, so they are as trustworthy as the code, which LiteralString demands.
    texts: Any = [file.read_text(encoding="utf-8") for file in files]
    scripts: list[LiteralString] = texts
    return scripts


def _numbers(written: str) -> tuple[int, ...]:
    return tuple(int(part) for part in written.split(".")[:3] if part.isdigit())
