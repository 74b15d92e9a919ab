"""Keeps the API keys of CompreFace's services, so that clients need another host only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from pgface.accounts import COMMAND_LINE
from pgface.accounts.compreface_keys import create_compreface_key, find_compreface_key
from pgface.accounts.tokens import token_hash
from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import GalleryError
from pgface.gallery.users import clean_name
from pgface.operations.compreface.source import Service
from pgface.text import shown


@dataclass(slots=True)
class KeysReport:
    """The numbers of keys, and those that could not be kept."""

    added: int = 0
    """For a dry run, the number that would be added."""
    existing: int = 0
    """The number of keys that the gallery has already. A revoked one stays revoked."""
    refused: list[str] = field(default_factory=list)
    """Services whose key could not be kept, with the reason."""


def keep_keys(
    database: Database | None, services: Iterable[Service], gallery: str | None, report: KeysReport, *, dry_run: bool
) -> None:
    """Add the keys of services, except the public ones of CompreFace's demo. Only their SHA-256 is stored.

    Args:
        database: the default gallery, which has the keys of all. None if a dry run has none.
        services: the services.
        gallery: the name of the gallery whose subjects the keys may use. None for the default one.
        report: gets the result.
        dry_run: only look for the keys that exist.

    Raises:
        DatabaseAccessError: this PostgreSQL user is not the gallery's owner.

    """
    for service in services:
        if service.is_demo:
            continue
        try:
            key = UUID(service.api_key)
        except ValueError:  # CompreFace itself accepts no such key
            report.refused.append(f"{shown(service.title)}: it is not a UUID")
            continue
        if database is not None and _exists(database, key):
            active = find_compreface_key(database, key)
            if active is not None and active.gallery != gallery:
                report.refused.append(f"{shown(service.title)}: it is already a key of another gallery")
            else:
                report.existing += 1
            continue
        report.added += 1
        if database is not None and not dry_run:
            create_compreface_key(database, _label(service), service.type, COMMAND_LINE, gallery=gallery, key=key)


def _exists(database: Database, key: UUID) -> bool:
    with database.transaction() as connection:
        return connection.execute(queries()["key_exists"], {"key": token_hash(str(key))}).fetchone() is not None


def _label(service: Service) -> str:
    try:
        return clean_name(f"CompreFace {service.title}")
    except GalleryError:
        return f"CompreFace {service.type}"
