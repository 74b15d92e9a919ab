"""Browsers that users have logged in with, by a cookie for each of their accounts.

After OWASP's "Slow Down Online Guessing Attacks with Device Cookies". Of the random token in the cookie only the
SHA-256 is kept, so that there is nothing to sign: one that is not in the table is not known. Each login replaces it.
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

MOST_ACCOUNTS: Final = 4
"""Of one browser."""
DAYS: Final = 180
"""After which a browser that was not used is not known any more."""
_MOST_OF_A_USER: Final = 10
_SEPARATOR: Final = "."
_TOKEN_BYTES: Final = 32


def devices_in(cookie: str | None) -> tuple[str, ...]:
    """The tokens that a cookie holds, or whatever a client sends in its place."""
    return tuple(token for token in (cookie or "").split(_SEPARATOR)[:MOST_ACCOUNTS] if token)


def remember_device(database: Database, user_id: int, client: Client) -> str:
    """Know this browser when the user logs in again; returns what to put into its cookie."""
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    there = [token_hash(device) for device in client.devices]
    with database.transaction() as connection:
        values = {"user_id": user_id, "tokens": there}
        replaced = {old for (old,) in connection.execute(queries()["forget_devices"], values).fetchall()}
        connection.execute(queries()["remember_device"], {"user_id": user_id, "token": token_hash(token)})
        connection.execute(queries()["forget_older_devices"], {"user_id": user_id, "most": _MOST_OF_A_USER})
    others = [device for device, hashed in zip(client.devices, there, strict=True) if hashed not in replaced]
    return _SEPARATOR.join([token, *others][:MOST_ACCOUNTS])


def forget_other_devices(connection: psycopg.Connection, user_id: int, but: Iterable[str] = ()) -> None:
    """Know no browser of a user any more, except those with these tokens."""
    values = {"user_id": user_id, "tokens": [token_hash(token) for token in but]}
    connection.execute(queries()["forget_other_devices"], values)


def prune_devices(database: Database) -> int:
    """Remove those that were not used for long; returns how many."""
    with database.transaction() as connection:
        return connection.execute(queries()["prune_devices"], {"days": DAYS}).rowcount
