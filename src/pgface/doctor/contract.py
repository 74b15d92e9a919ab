"""Whether tables, columns, functions and triggers are as the migrations make them.

They are compared with those of a new schema, which is made in a transaction and undone: so what is expected stands
nowhere but in the migrations.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row

from pgface.doctor.finding import Finding, fine
from pgface.postgres.database import Database, connected
from pgface.postgres.errors import translated
from pgface.postgres.migrate import migrate, migrate_again
from pgface.schema import queries
from pgface.settings import Settings

_CHECK = "tables and functions"
_SHOWN = 4
_MADE_AGAIN = ("function", "trigger")
"""What the migrations put in the place of another one. Other things hold data, or are held by it."""


@dataclass(frozen=True, slots=True)
class Part:
    """A table, column, constraint, index, function or trigger."""

    kind: str
    table: str | None
    """Of which it is a part."""
    name: str
    definition: str
    again: str | None
    """The statement that makes it again, where running the migrations again does not."""

    @property
    def key(self) -> tuple[str, str]:
        """What it is found by."""
        return self.kind, self.name


def contract(_: Database, settings: Settings) -> Iterator[Finding]:
    """Everything that pgface needs is there as it should be; more may be there."""
    # Not one of the gallery's own connections: those prepare each statement, and a migration is many.
    with connected(settings) as connection, translated(), connection.transaction():
        found = {part.key: part for part in _described(connection, settings.schema_name)}
        expected = _expected(connection)
    missing = [part for part in expected if part.key not in found]
    changed = [part for part in expected if part.key in found and found[part.key].definition != part.definition]
    made_again = [part for part in changed if part.kind in _MADE_AGAIN]
    by_hand = [part for part in changed if part.kind not in _MADE_AGAIN]
    if not changed and not missing:
        yield fine(_CHECK, f"All {len(expected)} tables, columns, constraints, indexes, functions and triggers.")
    if missing:
        yield Finding(_CHECK, "problem", f"Missing: {_named(missing)}.", "pgface doctor --fix", _make_again)
    if made_again:
        yield Finding(_CHECK, "problem", f"Not pgface's own: {_named(made_again)}.", "pgface doctor --fix", _make_again)
    if by_hand:
        first = by_hand[0]
        yield Finding(
            _CHECK,
            "problem",
            f"Not as it should be: {_named(by_hand)}.",
            f"In psql, with ALTER TABLE or REINDEX; {first.kind} {first.name} should be: {first.definition}",
        )


def _named(parts: Sequence[Part]) -> str:
    """Tables stand for all that is in them."""
    tables = {part.name for part in parts if part.kind == "table"}
    shown = [f"{part.kind} {part.name}" for part in parts if part.kind == "table" or part.table not in tables]
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return f"{', '.join(shown[:_SHOWN])}{more}"


def _expected(connection: psycopg.Connection) -> list[Part]:
    name = f"pgface_doctor_{secrets.token_hex(8)}"
    with connection.transaction(force_rollback=True):
        migrate(connection, name)
        return _described(connection, name)


def _described(connection: psycopg.Connection, schema_name: str) -> list[Part]:
    # The gallery's own schema first and pgvector's then, so that names are written in the same way in both.
    with connection.transaction():
        connection.execute(queries()["enter_schema"], {"schema": schema_name})
        return connection.cursor(row_factory=class_row(Part)).execute(queries()["describe_schema"], {}).fetchall()


def _make_again(settings: Settings) -> None:
    """All or nothing: what is missing in tables that are there, then what the migrations make."""
    with connected(settings) as connection, translated(), connection.transaction():
        found = _described(connection, settings.schema_name)
        tables = {part.name for part in found if part.kind == "table"}
        keys = {part.key for part in found}
        connection.execute(queries()["enter_schema"], {"schema": settings.schema_name})
        for part in _expected(connection):
            if part.again and part.table in tables and part.key not in keys:
                connection.execute(part.again.encode())
        migrate_again(connection, settings.schema_name)
