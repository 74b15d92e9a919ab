"""Keys for clients that were written for CompreFace: UUIDs, each for one service.

They are rows of `api_keys` with a scope of their own, so the commands that list and revoke keys know them. No other
operation of the API accepts them, because it accepts only keys with the prefix of pgface.
"""

from __future__ import annotations

import uuid
from typing import Final, Literal, get_args

from psycopg.rows import class_row

from pgface.accounts.audit_log import record
from pgface.accounts.client import Client
from pgface.accounts.keys import ApiKey, find_key
from pgface.accounts.tokens import token_hash
from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import AccountError, KeyRefusedError
from pgface.gallery.users import clean_name

ServiceName = Literal["recognition", "verification", "detection"]
SERVICES: Final[tuple[str, ...]] = get_args(ServiceName)
_SCOPE_PREFIX: Final = "compreface-"


def create_compreface_key(
    database: Database, name: str, service: str, client: Client, *, key: uuid.UUID | None = None
) -> tuple[str, ApiKey]:
    """Create a key for a service, and return the key and its row. Only its SHA-256 is stored.

    Args:
        database: the connections of the gallery.
        name: a label for the key.
        service: recognition, verification or detection.
        client: who creates the key. See `create_key`.
        key: the key of an installation of CompreFace that moves here, by default a random one.

    Raises:
        AccountError: there is no such service, or the key exists for another one.
        GalleryError: the name cannot be used.

    """
    if service not in SERVICES:
        raise AccountError(f"There is no service {service!r}. Choose from {', '.join(SERVICES)}.")
    existing = None if key is None else find_compreface_key(database, key)
    if key is not None and existing is not None:
        if service_of_key(existing) != service:
            raise AccountError(f"This key is already one of the service {service_of_key(existing)}.")
        return str(key), existing
    text = str(key or uuid.uuid4())
    values = {
        "name": clean_name(name),
        "key": token_hash(text),
        "scopes": [_SCOPE_PREFIX + service],
        "authority": client.authority,
    }
    with database.transaction() as connection, connection.cursor(row_factory=class_row(ApiKey)) as cursor:
        (stored,) = cursor.execute(queries()["create_key"], values).fetchall()
        record(connection, "key created", client, key_id=stored.id)
    return text, stored


def find_compreface_key(database: Database, key: uuid.UUID) -> ApiKey | None:
    """Find the row of a key. None if it is unknown, or was revoked."""
    try:
        found = find_key(database, str(key))
    except KeyRefusedError:
        return None
    return found if service_of_key(found) else None


def service_of_key(key: ApiKey) -> str | None:
    """Return the service that a key belongs to. None for a key of pgface's own API."""
    scopes = (scope.removeprefix(_SCOPE_PREFIX) for scope in key.scopes if scope.startswith(_SCOPE_PREFIX))
    return next(scopes, None)
