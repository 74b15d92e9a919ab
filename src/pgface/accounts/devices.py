"""Known browsers: users have logged in with them before, and a cookie identifies them.

Source: OWASP, "Slow Down Online Guessing Attacks with Device Cookies". The cookie contains a random token for each
account. The table stores its SHA-256, so tokens need no signature. Each login replaces the token.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Final

import psycopg

from pgface.accounts.client import Client
from pgface.accounts.tokens import token_hash
from pgface.database.pool import Database
from pgface.database.sql import queries

MAX_ACCOUNTS: Final = 4
"""Maximum number of accounts in the cookie of a browser."""
DAYS: Final = 180
"""Days after which an unused browser is no longer known."""
_MAX_DEVICES: Final = 10
_SEPARATOR: Final = "."
_TOKEN_BYTES: Final = 32


def devices_in(cookie: str | None) -> tuple[str, ...]:
    """Return the tokens in a cookie. A client may send any text as a token."""
    return tuple(token for token in (cookie or "").split(_SEPARATOR)[:MAX_ACCOUNTS] if token)


def remember_device(database: Database, user_id: int, client: Client) -> str:
    """Make this browser known for a user, and return the new value of its cookie."""
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    hashes = [token_hash(device) for device in client.devices]
    with database.transaction() as connection:
        values = {"user_id": user_id, "tokens": hashes}
        replaced = {old for (old,) in connection.execute(queries()["delete_devices"], values).fetchall()}
        connection.execute(queries()["add_device"], {"user_id": user_id, "token": token_hash(token)})
        connection.execute(queries()["delete_older_devices"], {"user_id": user_id, "most": _MAX_DEVICES})
    others = [device for device, hashed in zip(client.devices, hashes, strict=True) if hashed not in replaced]
    return _SEPARATOR.join([token, *others][:MAX_ACCOUNTS])


def delete_other_devices(connection: psycopg.Connection, user_id: int, but: Iterable[str] = ()) -> None:
    """Delete all known browsers of a user, except those with these tokens."""
    values = {"user_id": user_id, "tokens": [token_hash(token) for token in but]}
    connection.execute(queries()["delete_other_devices"], values)


def prune_devices(database: Database) -> int:
    """Delete known browsers that were not used for `DAYS`, and return how many."""
    return database.execute("prune_devices", {"days": DAYS})
