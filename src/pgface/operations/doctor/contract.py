"""Check that tables, columns, functions and triggers are as the migrations create them.

They are compared with those of a new schema, which is created in a transaction and rolled back. So only the
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
from pgface.operations.doctor.finding import Finding, ok
from pgface.settings import Settings

_CHECK = "tables and functions"
_MAX_LISTED = 4
_CREATABLE = ("function", "trigger", "index", "right")
"""Parts that hold no data. A missing table or column may have been renamed, and a new one would be in its way."""
_REPLACEABLE = ("function", "trigger", "right")
_LOCK_TIMEOUT = "5s"
"""How long a fix waits for a table in use, because new users of the table wait behind it."""


@dataclass(frozen=True, slots=True)
class Part:
    """A table, column, constraint, index, function, trigger, or right granted to PUBLIC."""

    kind: str
    table: str | None
    """The table that it belongs to."""
    name: str
    definition: str
    """The first line is what cannot be replaced, such as a function's arguments and result."""
    again: str | None
    """The statement that creates it."""

    @property
    def key(self) -> tuple[str, str]:
        """The kind and the name, which identify a part."""
        return self.kind, self.name

    @property
    def label(self) -> str:
        """The kind and the name, for a sentence."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class _Differences:
    missing: list[Part]
    changed: list[tuple[Part, Part]]
    """Pairs of the expected part and the existing one."""

    @property
    def fixable(self) -> list[Part]:
        """The parts that can be created or replaced without losing data."""
        missing = [part for part in self.missing if part.kind in _CREATABLE and not self._lacks_table(part)]
        return missing + [part for part, found in self.changed if _is_replaceable(part, found)]

    @property
    def manual(self) -> list[tuple[Part, Part | None]]:
        """The parts that a person has to decide about, each with the existing part if there is one."""
        missing = [(part, None) for part in self.missing if part.kind not in _CREATABLE or self._lacks_table(part)]
        return missing + [(part, found) for part, found in self.changed if not _is_replaceable(part, found)]

    def _lacks_table(self, part: Part) -> bool:
        """Whether the part's own table is missing, too."""
        return any(other.kind == "table" and other.name == part.table for other in self.missing)


def contract(_: Database, settings: Settings) -> Iterator[Finding]:
    """Check that everything that pgface needs exists as expected. Other tables and columns do not matter."""
    # A connection outside of the pool, whose connections would prepare every statement of the migrations.
    with connected(settings) as connection, wrap_psycopg_errors(), connection.transaction():
        expected = _expected(connection)
        differences = _compared(_described(connection, settings.schema_name), expected)
    if not differences.missing and not differences.changed:
        yield ok(_CHECK, f"All {len(expected)} tables, columns, constraints, indexes, functions, triggers and rights.")
    if differences.fixable:
        yield Finding(
            _CHECK,
            "problem",
            f"Missing or not pgface's own: {_listed(differences.fixable)}.",
            "pgface doctor --fix",
            _create_again,
        )
    if differences.manual:
        yield Finding(
            _CHECK,
            "problem",
            f"Missing or changed: {_listed([part for part, _ in differences.manual])}.",
            _remedy(*differences.manual[0]),
        )


def _compared(found: Sequence[Part], expected: Sequence[Part]) -> _Differences:
    by_key = {part.key: part for part in found}
    missing = [part for part in expected if part.key not in by_key]
    there = [(part, by_key[part.key]) for part in expected if part.key in by_key]
    return _Differences(missing, [(part, now) for part, now in there if now.definition != part.definition])


def _is_replaceable(part: Part, found: Part) -> bool:
    """Whether CREATE OR REPLACE works."""
    same_kind = part.definition.partition("\n")[0] == found.definition.partition("\n")[0]
    return part.kind in _REPLACEABLE and (part.kind != "function" or same_kind)


def _remedy(part: Part, found: Part | None) -> str:
    match part.kind:
        case "table" if found is None:
            return f"Rename it back if it was renamed. If {part.name} was dropped, restore a backup (pgface restore)."
        case "column" if found is None:
            return f"Rename it back if it was renamed, or in psql: {part.again};"
        case "constraint" if found is None:
            return f"In psql: {part.again};"
        case "function":
            return f"In psql: DROP FUNCTION {part.name}; Then run pgface doctor --fix"
        case "index":
            return f"In psql: REINDEX INDEX {part.name};"
        case _:
            now = found.definition if found else "missing"
            return f"In psql, with ALTER TABLE: {part.label} is {now}, but should be {part.definition}."


def _listed(parts: Sequence[Part]) -> str:
    """The parts' names. A missing table stands for everything in it."""
    tables = {part.name for part in parts if part.kind == "table"}
    shown = [part.label for part in parts if part.kind == "table" or part.table not in tables]
    more = f" and {len(shown) - _MAX_LISTED} more" if len(shown) > _MAX_LISTED else ""
    return f"{', '.join(shown[:_MAX_LISTED])}{more}"


def _expected(connection: psycopg.Connection) -> list[Part]:
    return _described_new_schema(connection, f"pgface_doctor_{secrets.token_hex(8)}")


def _described_new_schema(connection: psycopg.Connection, name: str) -> list[Part]:
    with connection.transaction(force_rollback=True):
        migrate(connection, name, alone=True)
        return _described(connection, name)


def _described(connection: psycopg.Connection, schema_name: str) -> list[Part]:
    # The gallery's schema comes first and pgvector's second, so that both descriptions write names alike.
    with connection.transaction():
        connection.execute(queries()["enter_schema"], {"schema": schema_name})
        return connection.cursor(row_factory=class_row(Part)).execute(queries()["describe_schema"], {}).fetchall()


def _create_again(settings: Settings) -> None:
    """Create the missing parts that hold no data, all or none."""
    name = f"pgface_doctor_{secrets.token_hex(8)}"
    with connected(settings) as connection, wrap_psycopg_errors(), connection.transaction():
        # The lock keeps two fixes from waiting for each other's tables.
        connection.execute(queries()["limit_waiting"], {"time": _LOCK_TIMEOUT, "in_transaction": True})
        connection.execute(queries()["enter_schema"], {"schema": settings.schema_name})
        connection.execute(lock())
        expected = _described_new_schema(connection, name)
        differences = _compared(_described(connection, settings.schema_name), expected)
        connection.execute(queries()["enter_schema"], {"schema": settings.schema_name})
        schema = sql.Identifier(settings.schema_name).as_string(connection)
        literal = sql.Literal(settings.schema_name).as_string(connection)
        statements = [
            # The temporary schema's name is in settings' values and before functions' names. If pgvector is in the
            # gallery's schema, the replaced name would be there twice.
            (part.again or "")
            .replace(f"'{name}'", literal)
            .replace(f"{literal}, {literal}", literal)
            .replace(name, schema)
            for part in sorted(differences.fixable, key=lambda part: _CREATABLE.index(part.kind))
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
