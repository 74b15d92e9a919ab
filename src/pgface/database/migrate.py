"""Bringing a schema to the version that this program knows."""

from __future__ import annotations

import psycopg
from psycopg import sql

from pgface.database.errors import wrap_psycopg_errors
from pgface.database.session import WAIT_TO_MIGRATE, require_text, settle_transaction
from pgface.database.sql import Migration, lock, migrations, preamble
from pgface.errors import SchemaMissingError, SchemaTooNewError


def migrate(connection: psycopg.Connection, schema_name: str, *, alone: bool = False) -> list[Migration]:
    """Run the migrations that are missing, in one transaction; returns those that were.

    Programs that call it at the same time wait for one another, a minute at most. The schema is created if need be.

    Args:
        connection: outside a transaction.
        schema_name: the gallery's.
        alone: whether the schema is new and no other session knows its name, so that there is none to wait for.

    Raises:
        SchemaTooNewError: the schema was made by a newer pgface.
        PgvectorError: pgvector is missing and cannot be added, or it is too old.
        TableLockedError: another program has migrated it for a minute.
        DatabaseError: the server refused, or the database's encoding is SQL_ASCII; nothing was changed.

    """
    require_text(connection)
    with wrap_psycopg_errors(), connection.transaction():
        settle_transaction(connection)
        connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(WAIT_TO_MIGRATE)))
        _enter_schema(connection, schema_name, alone=alone)
        connection.execute(preamble())
        rows = connection.execute("SELECT version FROM pgface_migrations").fetchall()
        applied = {version for (version,) in rows}
        missing = [migration for migration in migrations() if migration.version not in applied]
        for migration in missing:
            connection.execute(migration.sql)
            connection.execute(
                "INSERT INTO pgface_migrations (version, name) VALUES (%s, %s)", (migration.version, migration.name)
            )
        return missing


def require_current(connection: psycopg.Connection) -> None:
    """Check that the schema on the search path is the one that this program knows.

    Raises:
        SchemaMissingError: there is none, or an older one that `pgface init` will upgrade.
        SchemaTooNewError: it was made by a newer pgface.

    """
    with wrap_psycopg_errors():
        found = connection.execute(
            "SELECT to_regclass(format('%I.pgface_migrations', current_schema())) IS NOT NULL"
        ).fetchone()
        if found != (True,):
            raise SchemaMissingError
        row = connection.execute("SELECT max(version) FROM pgface_migrations").fetchone()
    version = row[0] or 0 if row else 0
    newest = migrations()[-1].version
    if version > newest:
        raise SchemaTooNewError(
            f"This gallery has schema version {version}, newer than the {newest} known here; upgrade pgface."
        )
    if version < newest:
        raise SchemaMissingError(
            f"This gallery has schema version {version}, older than the {newest} needed; run `pgface init`."
        )


def _enter_schema(connection: psycopg.Connection, schema_name: str, *, alone: bool) -> None:
    connection.execute("SELECT set_config('search_path', quote_ident(%s), true)", (schema_name,))
    if not alone:  # first, because two programs may both find that the schema is missing
        connection.execute(lock())
    row = connection.execute("SELECT to_regnamespace(quote_ident(%s)) IS NULL", (schema_name,)).fetchone()
    if row == (True,):
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema_name)))
