"""Creates a gallery's schema, or upgrades it to the version of this program."""

from __future__ import annotations

import re
from typing import Final, LiteralString

import psycopg
from psycopg import sql

from pgface.database.cluster import is_cluster
from pgface.database.errors import wrap_psycopg_errors
from pgface.database.script import gallery_script
from pgface.database.session import WAIT_TO_MIGRATE, require_text, set_up_transaction
from pgface.database.sql import Migration, lock, migrations, preamble, statements
from pgface.errors import SchemaMissingError, SchemaTooNewError, SettingsError

_NAME_ON_A_CLUSTER: Final = re.compile("[a-z_][a-z0-9_]*")
"""Citus does not quote other names everywhere."""


def migrate(
    connection: psycopg.Connection, schema_name: str, *, alone: bool = False, registered: bool = False
) -> list[Migration]:
    """Run the missing migrations in one transaction, and return them. This also creates the schema.

    Programs that migrate at the same time wait for each other, for up to a minute.

    Args:
        connection: a connection outside a transaction.
        schema_name: the gallery's schema.
        alone: it is a new schema that no other session can know, which needs no lock.
        registered: it is a gallery of a registry. Its schema must exist, and it makes no galleries itself.

    Raises:
        SettingsError: a schema on a cluster cannot have this name.
        SchemaMissingError: a registered gallery has no schema.
        SchemaTooNewError: a newer pgface created the schema.
        PgvectorError: pgvector is missing and cannot be added, or it is too old.
        TableLockedError: another program has been migrating it for a minute.
        DatabaseError: the server refused, or the database's encoding is SQL_ASCII. Nothing was changed.

    """
    require_text(connection)
    with wrap_psycopg_errors(), connection.transaction():
        set_up_transaction(connection)
        connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(WAIT_TO_MIGRATE)))
        if registered:
            # The default gallery's migration has checked them. PostgreSQL would keep each in the session's memory.
            connection.execute("SET LOCAL check_function_bodies TO off")
        _enter_schema(connection, schema_name, alone=alone, create=not registered)
        _run(connection, preamble())
        rows = connection.execute("SELECT version FROM pgface_migrations").fetchall()
        applied = {version for (version,) in rows}
        missing = [migration for migration in migrations() if migration.version not in applied]
        for migration in missing:
            _run(connection, migration.sql)
            connection.execute(
                "INSERT INTO pgface_migrations (version, name) VALUES (%s, %s)", (migration.version, migration.name)
            )
        if not registered:
            _keep_script(connection)
        return missing


def require_current(connection: psycopg.Connection) -> None:
    """Check that the schema on the search path has the version of this program.

    Raises:
        SchemaMissingError: there is no schema, or it is older and `pgface init` upgrades it.
        SchemaTooNewError: a newer pgface created it.

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
            f"This gallery has schema version {version}, newer than the {newest} known here. Upgrade pgface."
        )
    if version < newest:
        raise SchemaMissingError(
            f"This gallery has schema version {version}, older than the {newest} needed. Run `pgface init`."
        )


def _enter_schema(connection: psycopg.Connection, schema_name: str, *, alone: bool, create: bool) -> None:
    connection.execute("SELECT set_config('search_path', quote_ident(%s), true)", (schema_name,))
    if not alone:  # first, because two programs may both find no schema
        connection.execute(lock())
    row = connection.execute("SELECT to_regnamespace(quote_ident(%s)) IS NULL", (schema_name,)).fetchone()
    if row == (True,):
        if not create:
            raise SchemaMissingError(f"The schema {schema_name} of this gallery is missing.")
        if not _NAME_ON_A_CLUSTER.fullmatch(schema_name) and is_cluster(connection):
            raise SettingsError(
                f"On a cluster of Citus, a gallery cannot be in the schema {schema_name}. Set PGFACE_SCHEMA to a name "
                "of small letters, digits and `_`."
            )
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema_name)))


def _keep_script(connection: psycopg.Connection) -> None:
    """Write the statements that make a gallery into the database, where the function create_gallery() runs them."""
    script = gallery_script()
    kept = connection.execute("SELECT statement FROM gallery_script ORDER BY position").fetchall()
    if [statement for (statement,) in kept] != script:
        connection.execute("DELETE FROM gallery_script")
        with connection.cursor() as cursor:
            insert = "INSERT INTO gallery_script (position, statement) VALUES (%s, %s)"
            cursor.executemany(insert, list(enumerate(script)))


def _run(connection: psycopg.Connection, script: LiteralString) -> None:
    for statement in statements(script):
        connection.execute(statement)
