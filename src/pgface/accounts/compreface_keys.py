"""Keys for clients that were written for CompreFace: UUIDs, each for one service.

They are rows of `api_keys` with a scope of their own, so the commands that list and revoke keys know them. No other
operation of the API accepts them, because it accepts only keys with the prefix of pgface.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final, Literal, get_args

from psycopg.rows import class_row

from pgface.accounts.audit_log import record
from pgface.accounts.client import Client
from pgface.accounts.keys import ApiKey
from pgface.accounts.tokens import token_hash
from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import AccountError, UnknownGalleryError
from pgface.gallery.users import clean_name

ServiceName = Literal["recognition", "verification", "detection"]
SERVICES: Final[tuple[str, ...]] = get_args(ServiceName)
_SCOPE_PREFIX: Final = "compreface-"


@dataclass(frozen=True, slots=True)
class CompreFaceKey(ApiKey):
    """A key, without the key itself."""

    gallery: str | None = None
    """The name of the gallery whose subjects it may use. None for the default gallery."""

    @property
    def service(self) -> str:
        """The service that the key belongs to."""
        return self.scopes[0].removeprefix(_SCOPE_PREFIX)


def create_compreface_key(
    database: Database,
    name: str,
    service: str,
    client: Client,
    *,
    gallery: str | None = None,
    key: uuid.UUID | None = None,
) -> tuple[str, ApiKey]:
    """Create a key for a service, and return the key and its row. Only its SHA-256 is stored.

    Args:
        database: the connections of the default gallery, also for a key of another one.
        name: a label for the key.
        service: recognition, verification or detection.
        client: who creates the key. It must be the owner of the gallery.
        gallery: the name of the gallery whose subjects the key may use, by default the default gallery.
        key: the key of an installation of CompreFace that moves here, by default a random one.

    Raises:
        AccountError: there is no such service, or the key exists for another service or gallery.
        UnknownGalleryError: there is no such gallery.
        GalleryError: the name cannot be used.

    """
    if service not in SERVICES:
        raise AccountError(f"There is no service {service!r}. Choose from {', '.join(SERVICES)}.")
    existing = None if key is None else find_compreface_key(database, key)
    if key is not None and existing is not None:
        if (existing.service, existing.gallery) != (service, gallery):
            raise AccountError("This key is already one of another service or gallery. Revoke it first.")
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
        assigned = {"key_id": stored.id, "gallery": gallery}
        if connection.execute(queries()["assign_compreface_key"], assigned).fetchone() is None:
            raise UnknownGalleryError(f"There is no gallery {gallery}. `pgface galleries list` shows the galleries.")
        record(connection, "key created", client, key_id=stored.id)
    return text, stored


def find_compreface_key(database: Database, key: uuid.UUID) -> CompreFaceKey | None:
    """Find the row of a key in the default gallery. None if it is unknown, was revoked, or its gallery was deleted."""
    values = {"key": token_hash(str(key))}
    found = database.read("find_compreface_key", values, row_factory=class_row(CompreFaceKey))
    return found[0] if found else None
