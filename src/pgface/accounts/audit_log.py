"""The audit log: who did what to an account, when, from where, and with what outcome. It has no images."""

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
    "liveness session",
    "log out",
    "log out everywhere",
    "password change",
    "account deleted",
    "key created",
    "key revoked",
    "administrator added",
    "administrator removed",
    "user added",
    "user changed",
    "user deleted",
    "photo enrolled",
    "photo deleted",
    "face deleted",
    "face contested",
    "face accepted",
    "users merged",
    "face associated",
    "face disassociated",
    "gallery created",
    "gallery renamed",
    "gallery deleted",
    "job added",
    "job cancelled",
]

_MAX_REASON_LENGTH: Final = 200


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A row of the audit log."""

    id: int
    at: datetime
    event: str
    outcome: Literal["done", "refused"]
    reason: str | None
    """Why it was refused. The response to the client does not say it."""
    actor: str | None
    user_id: int | None
    """The user whose account is concerned. None if no user has the given e-mail."""
    key_id: int | None
    """The API key that was created or revoked."""
    address: str | None
    similarity: float | None
    """The similarity of a login by face."""
    count: int
    """How often it happened within the hour. Equal refusals share a row."""
    last_at: datetime | None
    """The time of the last one, if there were several."""

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
    """Add a row to the audit log, in the transaction of the event.

    `refused` is the reason of a refusal, and None if the event was done. For an error, the row has the general sentence
    of its class, because the error's own sentence may repeat what a client sent, such as a file name.
    """
    values = {
        "event": event,
        "refused": str(type(refused)())[:_MAX_REASON_LENGTH] if isinstance(refused, PgfaceError) else refused,
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
    """Read rows of the log, the newest first.

    The arguments are filters. The `outcome` is `done` or `refused`, and rows have ids below `before`.
    """
    filters = {
        "user_id": user_id,
        "users": None if users is None else list(users),
        "event": event,
        "outcome": outcome,
        "before": before,
        "limit": limit,
    }
    return database.read("select_audit", filters, row_factory=class_row(AuditEntry))


def addresses_of_logins(database: Database, user_id: int) -> dict[int, str]:
    """Return the addresses of a user's logins by the session's id, as far as the log still has them."""
    return dict(database.read("select_addresses_of_tokens", {"user_id": user_id}, row_factory=tuple_row))


def prune_audit(database: Database, days: int) -> int:
    """Delete rows older than this many days, and return how many. The service's role can give 30 or more."""
    with database.transaction() as connection:
        ((removed,),) = connection.execute(queries()["prune_audit"], {"days": days}).fetchall()
        return int(removed)
