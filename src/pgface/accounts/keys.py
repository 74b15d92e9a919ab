"""API keys of programs: 256 random bits with scopes. The database stores their SHA-256."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal, get_args

from psycopg.rows import class_row

from pgface.accounts.audit_log import record
from pgface.accounts.client import Client
from pgface.accounts.tokens import token_hash
from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import AccountError, KeyRefusedError, UnknownKeyError
from pgface.gallery.users import id_in_range
from pgface.text import cleaned, is_visible

Scope = Literal["identify", "verify", "enroll", "admin", "metrics"]
SCOPES: Final[tuple[str, ...]] = get_args(Scope)
KEY_PREFIX: Final = "pgface_"
"""Secret scanners find published keys by it."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key, without the key itself."""

    id: int
    name: str
    scopes: list[str]
    created_at: datetime
    last_used_at: datetime | None
    """Exact to the minute."""
    revoked_at: datetime | None
    all_galleries: bool = False
    """Whether it works for all galleries. Only for keys of the default gallery."""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(self).items()
        }


def create_key(
    database: Database, name: str, scopes: Collection[str], client: Client, *, all_galleries: bool = False
) -> tuple[str, ApiKey]:
    """Create a key, and return the key and its row. The key itself is not stored.

    The service's role needs an administrator's `client.authority`. The gallery's owner needs none. With
    `all_galleries`, a key of the default gallery works for all galleries of its registry, and needs the authority of an
    administrator of all of them.

    Raises:
        AccountError: the name cannot be used, or a scope is missing or unknown.

    """
    name = cleaned(name)
    if not 0 < len(name) <= 100 or not is_visible(name):
        raise AccountError("A key needs a name of 1 to 100 printable characters.")
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        wrong = f"There is no scope {unknown[0]!r}" if unknown else "A key needs a scope"
        raise AccountError(f"{wrong}. Choose from {', '.join(SCOPES)}.")
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    values = {
        "name": name,
        "key": token_hash(key),
        "scopes": sorted(set(scopes)),
        "authority": client.authority,
    }
    with database.transaction() as connection, connection.cursor(row_factory=class_row(ApiKey)) as cursor:
        (stored,) = cursor.execute(queries()["create_key"], values).fetchall()
        if all_galleries:
            cursor.execute(queries()["open_all_galleries"], {"id": stored.id, "authority": client.authority})
            stored = replace(stored, all_galleries=True)
        record(connection, "key created", client, key_id=stored.id)
    return key, stored


def find_key(database: Database, key: str) -> ApiKey:
    """Find the row of a key.

    Raises:
        KeyRefusedError: the key is unknown, or was revoked.

    """
    # A single statement needs no transaction. If it runs twice, the time of use is only set again.
    found = database.read("find_key", {"key": token_hash(key)}, row_factory=class_row(ApiKey))
    if not found:
        raise KeyRefusedError
    return found[0]


def list_keys(database: Database) -> list[ApiKey]:
    """List all keys, including revoked ones."""
    return database.read("select_keys", row_factory=class_row(ApiKey))


def revoke_key(database: Database, key_id: int, client: Client) -> None:
    """Revoke a key, so that it no longer works.

    Raises:
        UnknownKeyError: there is no key with this id, or it was revoked before.

    """
    with database.transaction() as connection:
        values = {"id": id_in_range(key_id), "authority": client.authority}
        if connection.execute(queries()["revoke_key"], values).fetchone() == (None,):
            raise UnknownKeyError(f"There is no active key {key_id}. `pgface keys list` shows all keys.")
        record(connection, "key revoked", client, key_id=key_id)
