"""Whether tables, columns, functions and triggers are as the migrations make them.

They are compared with those of a new schema, which is made in a transaction and undone: so what is expected stands
nowhere but in the migrations.
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
_SHOWN = 4
_MADE_AGAIN = ("function", "trigger", "index", "right")
"""What holds no data. A table or a column that is missing may have been renamed, and a new one would be in its way."""
_REPLACED = ("function", "trigger", "right")
_MAY_WAIT = "5s"
"""For whoever uses the tables at the moment, who must not wait behind a fix that waits."""


@dataclass(frozen=True, slots=True)
class Part:
    """A table, column, constraint, index, function, trigger, or right of everybody."""

    kind: str
    table: str | None
    """Of which it is a part."""
    name: str
    definition: str
    """Its first line is what cannot be replaced: of a function, its arguments and result."""
    again: str | None
    """The statement that makes it."""

    @property
    def key(self) -> tuple[str, str]:
        """What it is found by."""
        return self.kind, self.name

    @property
    def told(self) -> str:
        """As a sentence names it."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class _Differences:
    missing: list[Part]
    changed: list[tuple[Part, Part]]
    """As it should be, and as it is."""

    @property
    def made_again(self) -> list[Part]:
        """What can be made again without losing anything."""
        missing = [part for part in self.missing if part.kind in _MADE_AGAIN and not self._waits(part)]
        return missing + [part for part, found in self.changed if _is_replaceable(part, found)]

    @property
    def by_hand(self) -> list[tuple[Part, Part | None]]:
        """What is for somebody to decide."""
        missing = [(part, None) for part in self.missing if part.kind not in _MADE_AGAIN or self._waits(part)]
        return missing + [(part, found) for part, found in self.changed if not _is_replaceable(part, found)]

    def _waits(self, part: Part) -> bool:
        """For a table, which has to be there first."""
        return any(other.kind == "table" and other.name == part.table for other in self.missing)


def contract(_: Database, settings: Settings) -> Iterator[Finding]:
    """Everything that pgface needs is there as it should be; more may be there."""
    # Not one of the gallery's own connections: those prepare each statement, and a migration is many.
    with connected(settings) as connection, wrap_psycopg_errors(), connection.transaction():
        expected = _expected(connection)
        differences = _compared(_described(connection, settings.schema_name), expected)
    if not differences.missing and not differences.changed:
        yield ok(_CHECK, f"All {len(expected)} tables, columns, constraints, indexes, functions, triggers and rights.")
    if differences.made_again:
        yield Finding(
            _CHECK,
            "problem",
            f"Missing, or not pgface's own: {_named(differences.made_again)}.",
            "pgface doctor --fix",
            _make_again,
        )
    if differences.by_hand:
        yield Finding(
            _CHECK,
            "problem",
            f"Missing, or not as it should be: {_named([part for part, _ in differences.by_hand])}.",
            _what_to_do(*differences.by_hand[0]),
        )


def _compared(found: Sequence[Part], expected: Sequence[Part]) -> _Differences:
    by_key = {part.key: part for part in found}
    missing = [part for part in expected if part.key not in by_key]
    there = [(part, by_key[part.key]) for part in expected if part.key in by_key]
    return _Differences(missing, [(part, now) for part, now in there if now.definition != part.definition])


def _is_replaceable(part: Part, found: Part) -> bool:
    """Whether CREATE OR REPLACE is enough."""
    same_kind = part.definition.partition("\n")[0] == found.definition.partition("\n")[0]
    return part.kind in _REPLACED and (part.kind != "function" or same_kind)


def _what_to_do(part: Part, found: Part | None) -> str:
    match part.kind:
        case "table" if found is None:
            return f"Rename it back if it was renamed; if {part.name} was dropped, restore a backup (pgface restore)."
        case "column" if found is None:
            return f"Rename it back if it was renamed, or in psql: {part.again};"
        case "constraint" if found is None:
            return f"In psql: {part.again};"
        case "function":
            return f"In psql: DROP FUNCTION {part.name}; then pgface doctor --fix"
        case "index":
            return f"In psql: REINDEX INDEX {part.name};"
        case _:
            now = found.definition if found else "missing"
            return f"In psql, with ALTER TABLE: {part.told} is {now}, and should be {part.definition}."


def _named(parts: Sequence[Part]) -> str:
    """Tables stand for all that is in them."""
    tables = {part.name for part in parts if part.kind == "table"}
    shown = [part.told for part in parts if part.kind == "table" or part.table not in tables]
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return f"{', '.join(shown[:_SHOWN])}{more}"


def _expected(connection: psycopg.Connection) -> list[Part]:
    return _described_anew(connection, f"pgface_doctor_{secrets.token_hex(8)}")


def _described_anew(connection: psycopg.Connection, name: str) -> list[Part]:
    with connection.transaction(force_rollback=True):
        migrate(connection, name, alone=True)
        return _described(connection, name)


def _described(connection: psycopg.Connection, schema_name: str) -> list[Part]:
    # The gallery's own schema first and pgvector's then, so that names are written in the same way in both.
    with connection.transaction():
        connection.execute(queries()["enter_schema"], {"schema": schema_name})
        return connection.cursor(row_factory=class_row(Part)).execute(queries()["describe_schema"], {}).fetchall()


def _make_again(settings: Settings) -> None:
    """Make what holds no data: all or nothing, and waiting for nobody long."""
    name = f"pgface_doctor_{secrets.token_hex(8)}"
    with connected(settings) as connection, wrap_psycopg_errors(), connection.transaction():
        # One fix after the other, or two would wait for each other's tables.
        connection.execute(queries()["limit_waiting"], {"time": _MAY_WAIT, "in_transaction": True})
        connection.execute(queries()["enter_schema"], {"schema": settings.schema_name})
        connection.execute(lock())
        expected = _described_anew(connection, name)
        differences = _compared(_described(connection, settings.schema_name), expected)
        connection.execute(queries()["enter_schema"], {"schema": settings.schema_name})
        schema = sql.Identifier(settings.schema_name).as_string(connection)
        literal = sql.Literal(settings.schema_name).as_string(connection)
        statements = [
            # Names of the schema that it was made in: as a setting's value, and before a function's name.
            # Where pgvector is in the gallery's own schema, that would be there twice.
            (part.again or "")
            .replace(f"'{name}'", literal)
            .replace(f"{literal}, {literal}", literal)
            .replace(name, schema)
            for part in sorted(differences.made_again, key=lambda part: _MADE_AGAIN.index(part.kind))
        ]
        _run_in_some_order(connection, statements)


def _run_in_some_order(connection: psycopg.Connection, statements: Sequence[str]) -> None:
    """Functions call one another, so what needs one that is not there yet is tried again after it."""
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
