"""All data about a user, as a ZIP archive that is sent while it is created."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any, Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from pgvector import Vector

from pgface.accounts import AuditEntry, read_audit
from pgface.accounts.listings import embeddings_of_user
from pgface.errors import UnknownPhotoError
from pgface.results import StoredPhoto
from pgface.server.auth import UserPrincipal
from pgface.server.service import Service

_BATCH_ROWS: Final = 500
_HIDDEN_EVENTS: Final = ("face contested", "face accepted")
"""Events that would reveal other users of the gallery."""


class _Chunks(io.RawIOBase):
    """A file in memory. It keeps only the bytes that were not sent yet."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, data: Any, /) -> int:
        self._written.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """Return the bytes that were written since the last call, and remove them."""
        taken = b"".join(self._written)
        self._written.clear()
        return taken


def archive(service: Service, person: UserPrincipal) -> Iterator[bytes]:
    """Yield the archive in chunks.

    It contains `account.json`, `photos.json` with the crops in `photos/`, `embeddings.json`, `sessions.json` and
    `audit.json`. The audit log does not identify other people who changed the account.
    """
    chunks = _Chunks()
    data = _UserData(service, person)
    with ZipFile(chunks, "w") as zipped:
        for name, rows in data.lists():
            with zipped.open(_entry(name, ZIP_DEFLATED), "w") as file:
                for piece in _as_json(rows):
                    file.write(piece)
                    yield chunks.take()
        for photo in data.photos():
            with suppress(UnknownPhotoError):  # deleted meanwhile, or in the folder of another machine
                zipped.writestr(_entry(_file_of(photo), ZIP_STORED), service.gallery.crop(photo))
            yield chunks.take()
    yield chunks.take()


class _UserData:
    def __init__(self, service: Service, person: UserPrincipal) -> None:
        self._service = service
        self._person = person
        self._id = person.login.user_id
        self._gallery = service.gallery

    def lists(self) -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
        """Yield the names of the archive's JSON files, with their rows."""
        yield "account.json", self._account()
        yield "photos.json", (photo.to_json() | {"file": _file_of(photo)} for photo in self.photos())
        yield "embeddings.json", embeddings_of_user(self._gallery.database, self._id)
        yield "sessions.json", (login.to_json() for login in self._service.accounts.logins(self._id))
        yield "audit.json", self._audit()

    def photos(self) -> Iterator[StoredPhoto]:
        """Yield all photos of the user."""
        after = 0
        while found := self._gallery.photos(self._id, after=after, limit=_BATCH_ROWS):
            yield from found
            after = found[-1].id

    def _account(self) -> Iterator[dict[str, Any]]:
        config = self._gallery.config
        account = self._gallery.user(self._id).to_json()
        yield account | {"administrator": self._person.administrator, "model": config.model_name}

    def _audit(self) -> Iterator[dict[str, Any]]:
        before = None
        while found := read_audit(self._gallery.database, user_id=self._id, before=before, limit=_BATCH_ROWS):
            yield from (self._anonymized(entry) for entry in found if entry.event not in _HIDDEN_EVENTS)
            before = found[-1].id

    def _anonymized(self, entry: AuditEntry) -> dict[str, Any]:
        """Remove the identity of another person from an entry."""
        shown = entry.to_json()
        if entry.actor not in (None, self._person.name):
            shown |= {"actor": (entry.actor or "").split()[0], "address": None}
            if shown["actor"] == "user":
                shown["actor"] = "an administrator"
        return shown


def _file_of(photo: StoredPhoto) -> str:
    return f"photos/{photo.id}.jpg"


def _as_json(rows: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    """Yield a JSON list, row by row."""
    before = "["
    for row in rows:
        yield (before + "\n" + json.dumps(row, default=_plain, ensure_ascii=False)).encode()
        before = ","
    yield b"[]\n" if before == "[" else b"\n]\n"


def _plain(value: datetime | Vector) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value.to_list()


def _entry(name: str, compression: int) -> ZipInfo:
    entry = ZipInfo(name, time.localtime()[:6])
    entry.compress_type = compression
    entry.external_attr = 0o600 << 16
    return entry
