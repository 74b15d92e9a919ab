"""What happened to accounts: who, what, when, from where, and the outcome; never an image or an embedding."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, Literal

import psycopg
from psycopg.rows import class_row, tuple_row

from pgface.accounts.client import Client
from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import PgfaceError

Event = Literal[
    "register",
    "login by password",
    "login by face",
    "log out",
    "log out everywhere",
    "password change",
    "account erased",
    "key created",
    "key revoked",
    "administrator added",
    "administrator removed",
    "user added",
    "user erased",
    "photo enrolled",
    "photo erased",
    "face erased",
    "face contested",
    "face accepted",
    "users merged",
]


_LONGEST_REASON: Final = 200


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A row of the audit log."""

    id: int
    at: datetime
    event: str
    outcome: Literal["done", "refused"]
    reason: str | None
    """Why it was refused; the answer to the client does not say."""
    actor: str | None
    user_id: int | None
    """Whose account; None where nobody has the e-mail that was given."""
    key_id: int | None
    """Of a program's key that was made or revoked."""
    address: str | None
    similarity: float | None
    """Of a login by face."""
    count: int
    """How often it happened within the hour: refusals that are alike are one row."""
    last_at: datetime | None
    """When the last of several was."""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self) | {"at": self.at.isoformat(), "last_at": self.last_at and self.last_at.isoformat()}


def record(
    connection: psycopg.Connection,
    event: Event,
    client: Client,
    *,
    user_id: int | None = None,
    key_id: int | None = None,
    refused: str | PgfaceError | None = None,
    similarity: float | None = None,
) -> None:
    """Add a row, in the transaction of what it tells of, if that is one.

    Args:
        connection: in the gallery.
        event: what was tried.
        client: from where.
        user_id: whose account.
        key_id: which key.
        refused: why; None where it was done. Of an error only the general sentence of its kind, because its own may
            hold what a client has written, such as the name of a file.
        similarity: of a login by face.

    """
    values = {
        "event": event,
        "refused": str(type(refused)())[:_LONGEST_REASON] if isinstance(refused, PgfaceError) else refused,
        "actor": client.actor or (None if user_id is None else f"user {user_id}"),
        "user_id": user_id,
        "key_id": key_id,
        "address": None if client.ip is None else str(client.ip),
        "similarity": similarity,
    }
    connection.execute(queries()["record_event"], values)


def read_audit(
    database: Database,
    *,
    user_id: int | None = None,
    users: Collection[int] | None = None,
    event: str | None = None,
    outcome: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[AuditEntry]:
    """Rows of the log, the newest first.

    Args:
        database: the gallery's.
        user_id: of this user alone.
        users: of these users alone.
        event: of this kind alone.
        outcome: `done` or `refused` alone.
        before: older than the row with this id.
        limit: as many as this at most.

    """
    asked = {
        "user_id": user_id,
        "users": None if users is None else list(users),
        "event": event,
        "outcome": outcome,
        "before": before,
        "limit": limit,
    }
    return database.read("select_audit", asked, row_factory=class_row(AuditEntry))


def addresses_of_logins(database: Database, user_id: int) -> dict[int, str]:
    """The address that each of a user's logins began at, by the login's id, where the log still has it."""
    found = database.read("select_addresses_of_tokens", {"user_id": user_id}, row_factory=tuple_row)
    return dict(found)


def prune_audit(database: Database, days: int) -> int:
    """Remove what is older; returns how many rows. The service's role may not remove what is of the last 30 days."""
    with database.transaction() as connection:
        ((removed,),) = connection.execute(queries()["prune_audit"], {"days": days}).fetchall()
        return int(removed)
