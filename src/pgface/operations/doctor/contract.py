"""Check that tables, columns, functions and triggers are as the migrations create them.

The check compares them with those of a new schema, which it creates in a transaction and rolls back. So only the
migrations define what is expected.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from pgface.database.errors import wrap_psycopg_errors
from pgface.database.migrate import migrate
from pgface.database.pool import Database, connected
from pgface.database.sql import lock, queries
from pgface.operations.doctor.finding import Finding, ok, problem
from pgface.settings import Settings

_MAX_LISTED = 4
_CREATABLE = ("function", "trigger", "index", "privilege")
"""Parts without data. A missing table or column may have been renamed, and a new one would be in its way."""
_REPLACEABLE = ("function", "trigger", "privilege")
_LOCK_TIMEOUT = "5s"
"""How long a fix waits for a table in use, because new users of the table wait behind it."""


@dataclass(frozen=True, slots=True)
class Part:
    """A table, column, constraint, index, function, trigger, or privilege of PUBLIC."""

    kind: str
    table: str | None
    """The table that it belongs to."""
    name: str
    """The name. Of a privilege, the statement that grants or revokes it."""
    definition: str
    """CREATE OR REPLACE cannot change the first line, such as a function's arguments and result."""
    statement: str
    """The SQL that creates it. Empty for a table."""

    @property
    def key(self) -> tuple[str, str]:
        """The kind and the name, which identify a part."""
        return self.kind, self.name

    @property
    def label(self) -> str:
        """The kind and the name, for a sentence."""
        return self.name if self.kind == "privilege" else f"{self.kind} {self.name}"


def contract(_: Database, settings: Settings) -> Iterator[Finding]:
    """Check that everything that pgface needs exists as expected. Other tables and columns do not matter."""
    # A connection outside of the pool, whose connections would prepare every statement of the migrations.
    with connected(settings) as connection, wrap_psycopg_errors(), connection.transaction():
        expected = _expected(connection, _temporary_name())
        fixable, manual = _differences(_described(connection, settings.schema_name), expected)
    if not fixable and not manual:
        yield ok(f"All {len(expected)} tables, columns, indexes, functions, triggers and privileges are correct.")
    if fixable:
        yield problem(f"Missing or changed: {_listed(fixable)}.", "pgface doctor --fix", _create_again)
    if manual:
        yield problem(f"Missing or changed: {_listed([part for part, _ in manual])}.", _remedy(*manual[0]))


def _differences(found: Sequence[Part], expected: Sequence[Part]) -> tuple[list[Part], list[tuple[Part, Part | None]]]:
    """Compare the parts, those that are missing first.

    Returns:
        The parts that can be created or replaced without losing data, and the others, each with the part that exists.

    """
    existing = {part.key: part for part in found}
    missing_tables = {part.name for part in expected if part.kind == "table" and part.key not in existing}
    fixable: list[Part] = []
    manual: list[tuple[Part, Part | None]] = []
    for part in sorted(expected, key=lambda part: part.key in existing):
        now = existing.get(part.key)
        if now is None:
            safe = part.kind in _CREATABLE and part.table not in missing_tables
        elif now.definition == part.definition:
            continue
        else:
            safe = part.kind in _REPLACEABLE and (part.kind != "function" or _first_line(part) == _first_line(now))
        if safe:
            fixable.append(part)
        else:
            manual.append((part, now))
    return fixable, manual


def _first_line(part: Part) -> str:
    return part.definition.partition("\n")[0]


def _remedy(part: Part, found: Part | None) -> str:
    match part.kind:
        case "table" if found is None:
            return f"Rename it back if it was renamed. If {part.name} was dropped, restore a backup (pgface restore)."
        case "column" if found is None:
            return f"Rename it back if it was renamed, or in psql: {part.statement};"
        case "constraint" if found is None:
            return f"In psql: {part.statement};"
        case "function":
            return f"In psql: DROP FUNCTION {part.name}; Then run pgface doctor --fix"
        case "index":
            return f"In psql: REINDEX INDEX {part.name};"
        case _:
            now = found.definition if found else "missing"
            return f"In psql, with ALTER TABLE: {part.label} is {now}, but should be {part.definition}."


def _listed(parts: Sequence[Part]) -> str:
    """The first parts. A missing table includes everything in it."""
    tables = {part.name for part in parts if part.kind == "table"}
    shown = [part.label for part in parts if part.kind == "table" or part.table not in tables]
    more = f" and {len(shown) - _MAX_LISTED} more" if len(shown) > _MAX_LISTED else ""
    return f"{', '.join(shown[:_MAX_LISTED])}{more}"


def _temporary_name() -> str:
    return f"pgface_doctor_{secrets.token_hex(8)}"


def _expected(connection: psycopg.Connection, name: str) -> list[Part]:
    """The parts of a new schema with this name, which is rolled back."""
    with connection.transaction(force_rollback=True):
        migrate(connection, name, alone=True)
        return _described(connection, name)


def _described(connection: psycopg.Connection, schema_name: str) -> list[Part]:
    # The gallery's schema comes first and pgvector's second, so that both descriptions write names alike.
    with connection.transaction():
        connection.execute(queries()["enter_schema"], {"schema": schema_name})
        return connection.cursor(row_factory=class_row(Part)).execute(queries()["describe_schema"], {}).fetchall()


def _create_again(settings: Settings) -> None:
    """Create or replace the parts without data, all or none."""
    name = _temporary_name()
    with connected(settings) as connection, wrap_psycopg_errors(), connection.transaction():
        # The lock keeps two fixes from waiting for each other's tables.
        connection.execute(queries()["limit_waiting"], {"time": _LOCK_TIMEOUT, "in_transaction": True})
        connection.execute(queries()["enter_schema"], {"schema": settings.schema_name})
        connection.execute(lock())
        expected = _expected(connection, name)
        fixable, _ = _differences(_described(connection, settings.schema_name), expected)
        connection.execute(queries()["enter_schema"], {"schema": settings.schema_name})
        schema = sql.Identifier(settings.schema_name).as_string(connection)
        literal = sql.Literal(settings.schema_name).as_string(connection)
        statements = [
            # The temporary name is in settings' values and before functions' names. If pgvector is in the gallery's
            # schema, that name would then be there twice.
            part.statement.replace(f"'{name}'", literal).replace(f"{literal}, {literal}", literal).replace(name, schema)
            for part in sorted(fixable, key=lambda part: _CREATABLE.index(part.kind))
        ]
        _run_in_any_order(connection, statements)


def _run_in_any_order(connection: psycopg.Connection, statements: Sequence[str]) -> None:
    """Run statements, and retry those that call a function that a later one creates."""
    while statements:
        failed: list[str] = []
        for statement in statements:
            try:
                with connection.transaction():
                    connection.execute(statement.encode())
            except psycopg.errors.UndefinedFunction:
                if len(failed) + 1 == len(statements):
                    raise
                failed.append(statement)
        statements = failed
