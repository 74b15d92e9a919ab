"""The registry of galleries, and their upgrades."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import class_row

from pgface.database.errors import wrap_psycopg_errors
from pgface.database.migrate import migrate
from pgface.database.sql import queries
from pgface.errors import PgfaceError


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A registered gallery after an upgrade, or after an attempt."""

    name: str | None
    """None for the empty gallery, which the service uses for names that are not known."""
    server: str | None
    """The host and the database of another server, without a password. None for the default gallery's database."""
    error: PgfaceError | None = None
    """Why the gallery could not be upgraded."""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {"name": self.name, "server": self.server, "error": None if self.error is None else str(self.error)}


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the registry."""

    id: int
    name: str | None
    schema_name: str
    url: str | None
    """The URL of another server."""
    is_old: bool
    """Whether the registry knows an older version than the default gallery's."""


def server_name(url: str | None) -> str | None:
    """Return the host and the database of a URL, without a password."""
    if url is None:
        return None
    parts = conninfo_to_dict(url)
    return f"{parts.get('host', 'localhost')}/{parts.get('dbname', '')}"


def registered(registry: psycopg.Connection, schema_name: str) -> list[Entry]:
    """List the galleries of a registry, those of one server together."""
    with wrap_psycopg_errors(), registry.transaction():
        registry.execute(queries()["enter_schema"], {"schema": schema_name})
        with registry.cursor(row_factory=class_row(Entry)) as cursor:
            return cursor.execute(queries()["select_registered"]).fetchall()


def upgrade(connection: psycopg.Connection, entry: Entry, registry: psycopg.Connection, schema_name: str) -> Upgrade:
    """Upgrade a gallery of this connection's database. `schema_name` is the schema of the registry."""
    error = None
    try:
        migrate(connection, entry.schema_name, registered=True)
        if entry.is_old:
            with wrap_psycopg_errors(), registry.transaction():
                registry.execute(queries()["enter_schema"], {"schema": schema_name})
                registry.execute(queries()["note_upgrade"], {"id": entry.id})
    except PgfaceError as raised:
        error = raised
    return Upgrade(entry.name, server_name(entry.url), error)
