"""The gallery's tables, and loading the rows of a dump into them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg import sql

from pgface.database.sql import queries
from pgface.errors import ArchiveError
from pgface.operations.backup.dump import DumpedTable

TABLES: Final = (
    "users",
    "photos",
    "auth_tokens",
    "face_embeddings",
    "face_ids",
    "contested_faces",
    "gallery",
    "deleted_photo_files",
    "user_templates",
    "template_bits",
    "stale_templates",
    "gallery_search",
    "calibrations",
    "confidence_anchors",
    "login_attempts",
    "audit_log",
    "api_keys",
    "compreface_keys",
    "access_keys",
    "gallery_tags",
    "used_frames",
    "service_secrets",
    "administrators",
    "idempotent_requests",
    "known_devices",
)
"""The tables of a gallery that an archive contains."""
NOT_KEPT: Final = (
    "login_challenges",
    "liveness_sessions",
    "liveness_frames",
    "reembedding",
    "reembedded_faces",
    "galleries",
    "gallery_script",
    "gallery_events",
    "event_stream",
    "photo_crops",
    "jobs",
    "job_results",
    "job_files",
)
"""Logins by face and liveness sessions in progress, which expire before a restore, what `pgface reembed` has embedded
so far, the registry of other galleries, each of which has archives of its own, events, whose order is that of one
server's transactions, and crops, which an archive has as files, and jobs, whose queue is not in an archive."""
MIGRATIONS: Final = "pgface_migrations"
LOCKS: Final = "gallery_locks"
"""Every new gallery already has these two tables."""
BUILT_WHEN_NEEDED: Final = (
    "idx_embeddings_vector",
    "idx_user_templates_hnsw",
    "idx_user_templates_ivfflat",
    "idx_template_bits_hnsw",
)
"""Vector indexes, which `pgface.search` builds for the restored rows."""


def statement(name: str, **parts: str | sql.Composable) -> sql.Composed:
    """Compose a named statement with identifiers, such as the name of a table, or with other parts."""
    composed = {key: sql.Identifier(part) if isinstance(part, str) else part for key, part in parts.items()}
    return sql.SQL(queries()[name]).format(**composed)


def count_rows(connection: psycopg.Connection, tables: Sequence[str]) -> dict[str, int]:
    """Count the rows of each table."""
    counts = {}
    for table in tables:
        ((counts[table],),) = connection.execute(statement("count_table_rows", table=table)).fetchall()
    return counts


def first_with_rows(connection: psycopg.Connection, tables: Sequence[str]) -> str | None:
    """Find the first table that is not empty, None if all are empty."""
    for table in tables:
        if connection.execute(statement("has_rows", table=table)).fetchall() == [(True,)]:
            return table
    return None


@contextmanager
def without_constraints(connection: psycopg.Connection, tables: Sequence[str]) -> Iterator[None]:
    """Disable triggers, foreign keys and indexes during a load, and restore them afterwards.

    This locks the tables for all other sessions. Vector indexes are not restored, because `pgface.search` builds
    them if they are needed.

    Raises:
        psycopg.errors.IntegrityError: the new rows violate a constraint.

    """
    names = {"tables": [sql.Identifier(table).as_string(connection) for table in tables]}
    for table in tables:
        connection.execute(statement("lock_table_alone", table=table))
        connection.execute(statement("disable_triggers", table=table))
    keys = connection.execute(queries()["foreign_keys_of"], names).fetchall()
    for table, key, _ in keys:
        connection.execute(sql.SQL(f"ALTER TABLE {table} DROP CONSTRAINT {key}"))
    indexes = connection.execute(queries()["indexes_of"], names).fetchall()
    for index, _ in indexes:
        connection.execute(sql.SQL(f"DROP INDEX {index}"))
    yield
    for index, definition in indexes:
        if index.rpartition(".")[2] not in BUILT_WHEN_NEEDED:
            connection.execute(sql.SQL(definition))
    for table, key, definition in keys:
        connection.execute(sql.SQL(f"ALTER TABLE {table} ADD CONSTRAINT {key} {definition}"))
    for table in tables:
        connection.execute(statement("enable_triggers", table=table))


def load(connection: psycopg.Connection, table: DumpedTable) -> None:
    """Load the rows of a dumped table.

    Raises:
        ArchiveError: the gallery's table does not have one of the columns.
        DatabaseError: PostgreSQL refuses the rows.

    """
    existing = {name for (name,) in connection.execute(queries()["table_columns"], {"table": table.name})}
    if missing := [column for column in table.columns if column not in existing]:
        raise ArchiveError(
            f"The archive's table {table.name} has the column {missing[0]}, which is not one of pgface's. Create the "
            "gallery with `pgface init`, add the column to it, and restore again. Nothing was changed."
        )
    columns = sql.SQL(", ").join(sql.Identifier(column) for column in table.columns)
    copy_rows = statement("copy_table_rows", table=table.name, columns=columns)
    with connection.cursor() as cursor, cursor.copy(copy_rows) as copy:
        for block in table.blocks:
            copy.write(block)


def set_sequences(connection: psycopg.Connection, sequences: dict[str, int]) -> None:
    """Set each sequence to its archived value, so that no id is used twice."""
    for name, last in sequences.items():
        table, _, column = name.partition(".")
        if table not in TABLES:
            raise ArchiveError(f"The archive names a sequence of {table[:80]!r}, which is not a table of a gallery.")
        values = {"table": table, "column": column, "last": last}
        connection.execute(queries()["set_sequence"], values)
