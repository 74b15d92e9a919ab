"""Many galleries: the default one, and named ones in PostgreSQL schemas of their own."""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, Self, TypeVar

import psycopg
from psycopg import sql
from psycopg.errors import DeadlockDetected
from psycopg.rows import class_row, dict_row, scalar_row
from pydantic import SecretStr

from pgface.database.migrate import require_current
from pgface.database.pool import Database, connected, initialise
from pgface.database.registry import Entry, Upgrade, registered, server_name, upgrade
from pgface.database.sql import queries
from pgface.errors import (
    DatabaseError,
    DatabaseUnreachableError,
    DuplicateGalleryError,
    GalleryError,
    PgfaceError,
    SchemaMissingError,
    UnknownGalleryError,
)
from pgface.faces.models.registry import model_defaults
from pgface.gallery import Gallery
from pgface.gallery.config import read_config
from pgface.gallery.model import EngineCache
from pgface.gallery.photos import choose_photo_store, notes_of_gallery
from pgface.settings import Settings
from pgface.thresholds import anchors_of

_NAME: Final = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9_.-]{1,255}")
"""Clients and proxies remove `.` and `..` from paths."""
_MAX_OPEN: Final = 256
"""Galleries that stay open. Each has caches and perhaps a thread, but no connections of its own."""

_ATTEMPTS: Final = 5
"""Attempts to do something while other requests delete galleries."""
_BATCH: Final = 50
"""Galleries whose sizes are read in one transaction. It locks the tables and indexes of each, and all sessions of a
server share room for some 6,400 locks by default (`max_locks_per_transaction`)."""

T = TypeVar("T")
Within = Callable[[psycopg.Connection], None]
"""A function that is called in the transaction of a change, on the registry's database."""


@dataclass(frozen=True, slots=True)
class GalleryInfo:
    """A registered gallery."""

    name: str
    schema_name: str
    server: str | None
    """The host and the database of another server, without a password. None for the default gallery's database."""
    created_at: datetime
    model_name: str | None = None
    """None if the gallery is on another server and was only listed, not described."""
    people: int | None = None
    faces: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return values that `json.dumps` accepts."""
        return asdict(self) | {"created_at": self.created_at.isoformat()}


@dataclass(frozen=True, slots=True)
class _Entry:
    """A row of the registry."""

    name: str | None
    schema_name: str
    database_url: str | None
    created_at: datetime

    @property
    def info(self) -> GalleryInfo:
        return GalleryInfo(self.name or "", self.schema_name, server_name(self.database_url), self.created_at)


class Galleries:
    """The galleries that the default gallery's database knows by their names.

        >>> from pgface import Galleries
        >>> with Galleries.open() as galleries:
        ...     info = galleries.create("staff")
        ...     enrolled = galleries["staff"].enroll("alice.jpg", "alice@example.org")
        ...     [each.name for each in galleries.list()]
        ['staff']

    Galleries of one server share their connections, and galleries of one model share its engine. You can use this from
    many threads. Close it when you no longer use any of its galleries.
    """

    def __init__(self, default: Gallery) -> None:
        """Use the registry of an open gallery, which stays open when you close this."""
        self.default = default
        """The gallery of PGFACE_SCHEMA. It has no name, and its schema has the registry."""
        self._engines = EngineCache(default)
        self._lock = threading.Lock()
        self._opened: OrderedDict[tuple[str | None, str], Gallery] = OrderedDict()
        self._servers: dict[str, Database] = {}
        """A pool of connections for each other server."""
        self._resources = ExitStack()

    @classmethod
    def open(cls, settings: Settings | None = None) -> Self:
        """Open the default gallery and its registry.

        Raises:
            SchemaMissingError: there is no default gallery. `pgface init` creates it.
            DatabaseError: PostgreSQL cannot be reached, or refuses access.

        """
        default = Gallery.open(settings)
        galleries = cls(default)
        galleries._resources.callback(default.close)
        return galleries

    def close(self) -> None:
        """Close all galleries and their connections."""
        with self._lock:
            while self._opened:
                self._opened.popitem()[1].close()
            for server in self._servers.values():
                server.close()
            self._servers.clear()
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getitem__(self, name: str) -> Gallery:
        """Return the gallery with this name. It stays open until you close this object, or until 256 others were used.

        Raises:
            UnknownGalleryError: there is no such gallery.

        """
        entry = self._entry(name)
        with self._may_be_deleted(entry):
            return self._open(entry)

    def create(
        self,
        name: str,
        *,
        model: str | None = None,
        database_url: str | None = None,
        authority: str | None = None,
        within: Within | None = None,
    ) -> GalleryInfo:
        """Create a gallery, and bind it to a model.

        Args:
            name: 1 to 255 letters, digits and `_.-`. Upper and lower case differ.
            model: the name or folder of the model, by default the model of the default gallery.
            database_url: another PostgreSQL server for the gallery, with a user who may create schemas there.
            authority: the SHA-256 of an administrator's token or key for all galleries. The owner needs none.
            within: is called in the transaction that registers the gallery, and again if PostgreSQL rolls it back
                because of a deadlock.

        Raises:
            DuplicateGalleryError: there is a gallery with this name.
            GalleryError: the name cannot be used.
            ModelError: the model cannot be loaded.
            DatabaseAccessError: this role may not create galleries.

        """
        _require_name(name)
        identity = self._engines.identity(model)
        thresholds = model_defaults(identity.name)
        bound = {
            "model_name": identity.name,
            "dimension": identity.dimension,
            "alignment_size": identity.alignment_size,
            "weights_sha256": identity.weights_sha256,
            "verify_threshold": thresholds.verify_threshold,
            "identify_threshold": thresholds.identify_threshold,
            "anchors": [asdict(anchor) for anchor in anchors_of(thresholds.fmr_thresholds)],
        }
        values = {"name": name, "model": json.dumps(bound), "authority": authority}
        query = "create_gallery"
        if database_url is not None:
            values |= {"schema": self._create_elsewhere(database_url, name, model), "url": database_url}
            query = "register_gallery"

        def create(connection: psycopg.Connection) -> _Entry:
            if connection.execute(queries()[query], values).fetchone() in ((None,), (False,)):
                raise DuplicateGalleryError(_taken(name))
            if within is not None:
                within(connection)
            with connection.cursor(row_factory=class_row(_Entry)) as cursor:
                # In this transaction, because another request may delete the gallery at once.
                return cursor.execute(queries()["select_gallery_named"], {"name": name}).fetchall()[0]

        created = self._change(create)
        return _with_sizes(created.info, {"model_name": identity.name, "people": 0, "faces": 0})

    def list(self) -> list[GalleryInfo]:
        """List the named galleries in the order of their names, with the sizes of those in the default database."""
        infos = self.list_without_sizes()
        names = [info.name for info in infos]
        batches = (names[start : start + _BATCH] for start in range(0, len(names), _BATCH))
        sizes = {row["name"]: row for batch in batches for row in self._sizes(batch)}
        return [_with_sizes(info, sizes.get(info.name)) for info in infos]

    def list_without_sizes(self) -> Sequence[GalleryInfo]:
        """List the named galleries in the order of their names. This reads only the registry, so it is fast."""
        entries = self.default.database.read("select_galleries", row_factory=class_row(_Entry))
        return [entry.info for entry in entries]

    def describe(self, name: str) -> GalleryInfo:
        """Describe a gallery with its model and sizes.

        Raises:
            UnknownGalleryError: there is no such gallery.

        """
        entry = self._entry(name)
        with self._may_be_deleted(entry):
            found = self._open(entry).database.read("own_size", row_factory=dict_row)
        return _with_sizes(entry.info, found[0])

    def rename(self, name: str, new_name: str, *, authority: str | None = None, within: Within | None = None) -> None:
        """Rename a gallery. Its ids, keys and sessions stay.

        Raises:
            UnknownGalleryError: there is no such gallery.
            DuplicateGalleryError: there is a gallery with the new name.
            GalleryError: the new name cannot be used.

        """
        _require_name(new_name)
        values = {"name": name, "new_name": new_name, "authority": authority}

        def rename(connection: psycopg.Connection) -> None:
            renamed = connection.execute(queries()["rename_gallery"], values).fetchone()
            if renamed == (None,):
                raise DuplicateGalleryError(_taken(new_name))
            if renamed != (True,):
                raise UnknownGalleryError(_unknown(name))
            if within is not None:
                within(connection)

        self._change(rename)

    def delete(self, name: str, *, authority: str | None = None, within: Within | None = None) -> None:
        """Delete a gallery with its people, photos, keys and sessions.

        Raises:
            UnknownGalleryError: there is no such gallery.

        """
        entry = self._entry(name)
        with self._may_be_deleted(entry):
            database = self._open(entry).database
            notes = notes_of_gallery(self.default.settings, read_config(database), database)
        if entry.database_url is not None:
            self._delete_elsewhere(entry)
        values = {"name": name, "authority": authority}

        def delete(connection: psycopg.Connection) -> None:
            if connection.execute(queries()["delete_gallery"], values).fetchone() is None:
                raise UnknownGalleryError(_unknown(name))
            # The gallery's own notes are deleted with it. So the default gallery remembers what to delete.
            connection.execute(queries()["note_deleted_files"], {"filepaths": notes})
            if within is not None:
                within(connection)

        self._change(delete)
        self._close(entry)
        if notes:
            with self.default.database.transaction() as connection:
                self.default.files.remove_deleted(connection)

    def upgrade(self) -> Iterator[Upgrade]:
        """Upgrade the tables of all galleries, also on other servers, and yield each. This needs the owner's role.

        An error of one gallery or of its server is in its result, and does not stop the others.

        Raises:
            DatabaseError: the registry cannot be read.

        """
        settings = self.default.settings
        with connected(settings) as registry:
            for url, entries in groupby(registered(registry, settings.schema_name), attrgetter("url")):
                yield from self._upgrade_server(registry, url, list(entries))

    def empty(self) -> Gallery:
        """Return a gallery without people. The service uses it for names that are not known.

        Raises:
            UnknownGalleryError: no named gallery was ever created, and so neither was the empty one.

        """
        found = self.default.database.read("select_empty_gallery", row_factory=class_row(_Entry))
        if not found:
            raise UnknownGalleryError
        return self._open(found[0])

    def _upgrade_server(
        self, registry: psycopg.Connection, url: str | None, entries: Sequence[Entry]
    ) -> Iterator[Upgrade]:
        """Upgrade the galleries of one server with one connection."""
        settings = self.default.settings
        with ExitStack() as resources:
            connection = registry
            if url is not None:
                try:
                    connection = resources.enter_context(connected(_on_server(settings, url)))
                except PgfaceError as error:
                    yield from (Upgrade(entry.name, server_name(url), error) for entry in entries)
                    return
            for entry in entries:
                yield upgrade(connection, entry, registry, settings.schema_name)

    def _change(self, change: Callable[[psycopg.Connection], T]) -> T:
        """Change the registry in a transaction, again after a deadlock.

        Deleting a gallery locks each of its tables, and other requests may lock them in another order.
        """
        for left in reversed(range(_ATTEMPTS)):
            try:
                with self.default.database.transaction() as connection:
                    return change(connection)
            except DatabaseError as error:
                if left == 0 or not isinstance(error.__cause__, DeadlockDetected):
                    raise
        raise AssertionError("unreachable")

    def _sizes(self, names: Sequence[str]) -> Sequence[dict[str, Any]]:
        for left in reversed(range(_ATTEMPTS)):
            try:
                return self.default.database.read("gallery_sizes", {"names": names}, row_factory=dict_row)
            except SchemaMissingError:  # another request has deleted a gallery while its size was read
                if left == 0:
                    raise
        raise AssertionError("unreachable")

    @contextmanager
    def _may_be_deleted(self, entry: _Entry) -> Iterator[None]:
        """Use a gallery that another request may delete in the meantime.

        Raises:
            UnknownGalleryError: it did.

        """
        try:
            yield
        except DatabaseUnreachableError:
            raise
        except DatabaseError:
            name = entry.name or ""
            if self._entry(name).schema_name != entry.schema_name:  # a new gallery has the name
                raise UnknownGalleryError(_unknown(name)) from None
            raise

    def _entry(self, name: str) -> _Entry:
        found = (
            self.default.database.read("select_gallery_named", {"name": name}, row_factory=class_row(_Entry))
            if _NAME.fullmatch(name)
            else []
        )
        if not found:
            raise UnknownGalleryError(_unknown(name))
        return found[0]

    def _open(self, entry: _Entry) -> Gallery:
        key = (entry.database_url, entry.schema_name)
        with self._lock:
            if (gallery := self._opened.get(key)) is None:
                gallery = self._opened[key] = self._opened_now(entry)
            self._opened.move_to_end(key)
            oldest = self._opened.popitem(last=False)[1] if len(self._opened) > _MAX_OPEN else None
        if oldest is not None:
            oldest.close()
        return gallery

    def _opened_now(self, entry: _Entry) -> Gallery:
        # PGFACE_PHOTO_STORE is the store of the default gallery.
        changed = {"schema_name": entry.schema_name, "registration": "closed", "photo_store": None}
        settings = self.default.settings.model_copy(update=changed)
        if entry.database_url is not None:
            settings = _on_server(settings, entry.database_url)
        database = Database.sharing(self._server_of(entry, settings), entry.schema_name)
        with database.transaction() as connection:
            require_current(connection)
        return Gallery.open_shared(settings, database, self._engines)

    def _server_of(self, entry: _Entry, settings: Settings) -> Database:
        if entry.database_url is None:
            return self.default.database
        if entry.database_url not in self._servers:
            self._servers[entry.database_url] = Database.open(settings)
        return self._servers[entry.database_url]

    def _close(self, entry: _Entry) -> None:
        with self._lock:
            gallery = self._opened.pop((entry.database_url, entry.schema_name), None)
        if gallery is not None:
            gallery.close()

    def _create_elsewhere(self, database_url: str, name: str, model: str | None) -> str:
        if self.default.database.read("select_gallery_named", {"name": name}, row_factory=class_row(_Entry)):
            raise DuplicateGalleryError(_taken(name))
        (schema_name,) = self.default.database.read("new_schema_name", row_factory=scalar_row)
        changed = {"schema_name": schema_name, "photo_store": read_config(self.default.database).photo_store}
        settings = _on_server(self.default.settings.model_copy(update=changed), database_url)
        initialise(settings)
        choose_photo_store(settings)
        with Gallery.open(settings) as gallery:
            gallery.bind(model or self.default.config.model_name)
        return str(schema_name)

    def _delete_elsewhere(self, entry: _Entry) -> None:
        gallery = self._open(entry)
        self._close(entry)
        with connected(gallery.settings) as connection:
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(entry.schema_name)))


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise GalleryError(f"{name[:80]!r} is not a name of a gallery. Use 1 to 255 letters, digits, `_`, `.` and `-`.")


def _taken(name: str) -> str:
    return f"There is a gallery {name} already. Choose another name."


def _unknown(name: str) -> str:
    return f"There is no gallery {name[:255]}. `pgface galleries list` shows the galleries."


def _on_server(settings: Settings, url: str) -> Settings:
    return settings.model_copy(update={"database_url": SecretStr(url), "direct_url": None, "read_url": None})


def _with_sizes(info: GalleryInfo, sizes: dict[str, Any] | None) -> GalleryInfo:
    found = sizes or {}
    return GalleryInfo(
        info.name,
        info.schema_name,
        info.server,
        info.created_at,
        found.get("model_name"),
        found.get("people"),
        found.get("faces"),
    )
