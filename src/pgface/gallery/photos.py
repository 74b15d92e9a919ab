"""The face crops of a gallery, and their rows in the table `photos`.

The gallery's row names the store for new crops. Each row of `photos` says in its path in which store its crop is, so
crops of several stores can exist beside each other while `pgface photos move` runs.

A backup holds a lock while it copies the crops. During that time no file and no object is deleted. The table
`deleted_photo_files` lists those of deleted rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from typing import BinaryIO, Final
from uuid import UUID

import psycopg
from psycopg.rows import scalar_row

from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import DatabaseUnreachableError, GalleryError, PgfaceError, SettingsError, StorageError
from pgface.gallery.config import GalleryConfig, read_config
from pgface.gallery.photo_batch import PhotoBatch
from pgface.gallery.photo_stores.base import (
    FOLDER,
    POSTGRES,
    PhotoStore,
    is_crop_path,
    store_id_of,
    warn,
)
from pgface.gallery.photo_stores.folder import FolderStore
from pgface.gallery.photo_stores.postgres import PostgresStore
from pgface.gallery.photo_stores.s3 import S3, S3Store, store_id
from pgface.settings import Settings

_AT_A_TIME: Final = 8
"""Number of objects that are read in parallel."""
_NOTES_ON_S3: Final = S3.removesuffix("/")
"""The prefix of the notes about S3-compatible stores that `notes_of_gallery` returns, without its last slash."""


def require_photo_store(settings: Settings, config: GalleryConfig) -> None:
    """Check that the settings name no other photo store than the gallery.

    Raises:
        SettingsError: they do.

    """
    if settings.photo_store not in (None, config.photo_store):
        raise SettingsError(
            f"PGFACE_PHOTO_STORE is {settings.photo_store}, but the gallery's photo store is {config.photo_store}. "
            f"Set it to {config.photo_store}, or move the photos: pgface photos move --to {settings.photo_store}"
        )


def choose_photo_store(settings: Settings) -> None:
    """Record the photo store of the settings in a gallery that has no photos yet.

    Raises:
        DatabaseError: this role is not the gallery's owner.
        StorageError: crops cannot be written to the store, or boto3 is not installed.

    """
    if settings.photo_store is not None:
        with Database.open(settings) as database:
            config = read_config(database)
            if config.photo_store != settings.photo_store:
                photo_store(settings.photo_store, config.id, database, settings).check()
                database.execute("choose_photo_store", {"location": settings.photo_store})


def photo_store(location: str, gallery_id: UUID, database: Database | None, settings: Settings) -> PhotoStore:
    """Return a photo store of a gallery. A restore has no `database`, because its gallery is not committed yet."""
    if location == FOLDER:
        return FolderStore(settings.photos_dir, gallery_id)
    if location == POSTGRES:
        return PostgresStore(database, gallery_id)
    return S3Store(location, gallery_id, database, settings)


class PhotoFiles:
    """The crops of one gallery, in the store of new crops and in others."""

    def __init__(self, settings: Settings, config: GalleryConfig, database: Database) -> None:
        """Name the stores without opening them.

        Args:
            settings: the gallery's settings, with the photos folder of this machine.
            config: the gallery's id and its photo stores.
            database: the gallery's connections.

        """
        self._settings = settings
        self._database = database
        self._id = config.id
        self._location = config.photo_store
        self._former = config.former_photo_stores

    @cached_property
    def folder(self) -> FolderStore:
        """The photos folder of this machine."""
        return FolderStore(self._settings.photos_dir, self._id)

    @property
    def current(self) -> PhotoStore:
        """The store of new crops, as this process knows it."""
        return self.store(self._location)

    def store(self, location: str) -> PhotoStore:
        """Return the store with this location."""
        return photo_store(location, self._id, self._database, self._settings)

    def stores(self) -> list[PhotoStore]:
        """Return every store that may have crops of this gallery and that this machine can reach."""
        places = [self._location, *self._former, FOLDER, POSTGRES]
        return [self.store(location) for location in dict.fromkeys(places)]

    def store_of(self, filepath: str) -> PhotoStore | None:
        """Return the store of a path that `is_crop_path` accepts. None if this gallery does not know it."""
        name = store_id_of(filepath)
        if name == POSTGRES:
            return self.store(POSTGRES)
        if not name.startswith("s3-"):
            return self.folder
        for _ in range(2):
            for location in (self._location, *self._former):
                if location.startswith(S3) and store_id(location) == name:
                    return self.store(location)
            self.reload()  # another process may have moved the photos there
        return None

    def refresh(self, config: GalleryConfig) -> None:
        """Take over the gallery's photo stores after a change."""
        self._location, self._former = config.photo_store, config.former_photo_stores

    def reload(self) -> None:
        """Read which photo stores the gallery has now."""
        self.refresh(read_config(self._database))

    def place(self, filepath: str) -> str:
        """Return where the crop of a row is, for people."""
        store = self.store_of(filepath) if is_crop_path(filepath) else None
        return filepath if store is None else store.place(filepath)

    def has_crop(self, filepath: str) -> bool:
        """Whether the crop of a committed row exists."""
        store = self.store_of(filepath)
        return store is not None and store.exists(filepath)

    def open_crop(self, filepath: str, connection: psycopg.Connection | None = None) -> BinaryIO | None:
        """Open the crop of a committed row. None if it does not exist.

        Args:
            filepath: the path of any row of `photos`. pgface follows only paths that it may have written.
            connection: read rows in this transaction, which has a snapshot.

        Raises:
            StorageError: the store cannot be read.

        """
        store = self.store_of(filepath) if is_crop_path(filepath) else None
        return None if store is None else store.open(filepath, connection)

    def open_each(
        self, filepaths: Iterable[str], connection: psycopg.Connection
    ) -> Iterator[tuple[str, BinaryIO | None]]:
        """Open many crops in their order, as `open_crop` does. Objects of S3-compatible stores are read in parallel."""
        remaining = iter(filepaths)
        with ThreadPoolExecutor(_AT_A_TIME) as threads:
            while paths := list(islice(remaining, 2 * _AT_A_TIME)):
                objects = [path for path in paths if is_crop_path(path) and store_id_of(path).startswith("s3-")]
                read = dict(zip(objects, threads.map(self.open_crop, objects), strict=True))
                for path in paths:
                    yield path, read[path] if path in read else self.open_crop(path, connection)

    def open_crop_of(self, photo_id: int, filepath: str) -> BinaryIO | None:
        """Open the crop of a photo whose path may have changed since it was read. None if it does not exist."""
        crop = self.open_crop(filepath)
        if crop is None:
            for now in self._database.read("photo_path", {"id": photo_id}, row_factory=scalar_row):
                return self.open_crop(now) if now != filepath else None
        return crop

    def remove_strays(self, connection: psycopg.Connection, filepaths: Sequence[str]) -> None:
        """Delete crops that belong to no row. Call it after `settle`, in the same transaction.

        Raises:
            GalleryError: a backup is copying the files.
            StorageError: a crop cannot be deleted.

        """
        if connection.execute(queries()["try_share_photo_files"]).fetchone() is None:
            raise GalleryError("A backup is copying the photo files. Try again when it has ended.")
        for store, paths in self._by_store(filepaths):
            if len(store.delete(connection, paths)) < len(paths):
                raise StorageError(f"Not all of these crops could be deleted from {store.location}. See the log.")

    def settle(self, connection: psycopg.Connection) -> None:
        """Wait for running enrollments, then publish the crops of committed rows.

        Call it in a separate transaction.
        """
        connection.execute(queries()["lock_enrollment"])
        self.refresh(read_config(connection))
        for store in self.stores():
            store.settle(connection)

    @contextmanager
    def writing(self, location: str | None = None) -> Iterator[PhotoBatch]:
        """Write crops for the rows of one transaction. Put the transaction inside this context.

        The crops are published if the transaction commits, and are deleted if it fails. If the connection was lost,
        the outcome is unknown, and `clean` decides later.

        Args:
            location: the store, by default that of new crops.

        """
        batch = PhotoBatch(self, location)
        try:
            yield batch
        except DatabaseUnreachableError:
            raise
        except PgfaceError:
            batch.discard()
            raise
        batch.publish()

    def clean(self) -> None:
        """Clean up after a crash, and delete the crops of deleted rows.

        During an enrollment it only deletes the crops of deleted rows, because those of the enrollment have no rows
        yet. If a crop cannot be moved or deleted, it logs a warning and goes on, because the gallery must stay usable.
        """
        with self._database.transaction() as connection:
            self.refresh(read_config(connection))
            if self._has_nothing_to_clean(connection):
                return
            if connection.execute(queries()["try_lock_enrollment"]).fetchone() is not None:
                for store in self.stores():
                    try:
                        store.settle(connection)
                    except StorageError as error:
                        warn(error)
        # Without the enrollment lock, because a store may take long to answer.
        with self._database.transaction() as connection:
            self.remove_deleted(connection)

    def _has_nothing_to_clean(self, connection: psycopg.Connection) -> bool:
        if self._location != FOLDER or self._former or self.folder.existing_prefix is not None:
            return False
        return not connection.execute(queries()["deleted_photo_files"], {"prefix": _NOTES_ON_S3}).fetchall()

    def remove_deleted(self, connection: psycopg.Connection) -> None:
        """Delete the crops of deleted rows that this machine can reach. If one cannot be deleted, it stays listed."""
        self._remove_deleted_galleries(connection)
        if connection.execute(queries()["try_share_photo_files"]).fetchone() is None:
            return  # a backup is copying the files, and deletes these at its end
        self.refresh(read_config(connection))  # another process may have moved the photos
        for store in self.stores():
            prefix = store.existing_prefix
            if prefix is None:
                continue
            listed = connection.execute(queries()["deleted_photo_files"], {"prefix": prefix}).fetchall()
            if gone := store.delete(connection, [filepath for (filepath,) in listed]):
                connection.execute(queries()["delete_deletion_notes"], {"filepaths": gone})

    def _remove_deleted_galleries(self, connection: psycopg.Connection) -> None:
        """Delete the crops of galleries that were deleted, whose own tables no longer exist."""
        prefixes = [_NOTES_ON_S3]
        if (folder_id := self.folder.existing_id) is not None:
            prefixes.append(f"{FOLDER}/{folder_id}")
        notes: list[str] = []
        for prefix in prefixes:
            notes += (note for (note,) in connection.execute(queries()["deleted_photo_files"], {"prefix": prefix}))
        for note in notes:
            try:
                location, gallery_id = _read_note(note)
                photo_store(location, gallery_id, self._database, self._settings).delete_all()
            except ValueError:
                continue  # pgface did not write it
            except StorageError as error:
                warn(error)
                continue
            connection.execute(queries()["delete_deletion_notes"], {"filepaths": [note]})

    def _by_store(self, filepaths: Sequence[str]) -> Iterator[tuple[PhotoStore, list[str]]]:
        for store in self.stores():
            prefix = store.existing_prefix
            if prefix is not None and (paths := [path for path in filepaths if path.startswith(f"{prefix}/")]):
                yield store, paths


def notes_of_gallery(settings: Settings, config: GalleryConfig, database: Database) -> list[str]:
    """Return the notes that all crops of a deleted gallery must be deleted: one for each store outside of its tables.

    Each machine has its own photos folder, and works off the note about it.

    Args:
        settings: the settings with the photos folder of this machine.
        config: the configuration of the gallery, which is going to be deleted.
        database: the gallery's connections.

    """
    folders = set(database.read("photo_folders", {"prefix": str(config.id)}, row_factory=scalar_row))
    own = FolderStore(settings.photos_dir, config.id).existing_id
    if own is not None:  # it may have crops of an enrollment that has crashed
        folders.add(own)
    locations = [f"{FOLDER}/{folder_id}" for folder_id in sorted(folders)]
    locations += (one for one in (config.photo_store, *config.former_photo_stores) if one.startswith(S3))
    return [f"{location}/{config.id}/" for location in locations]


def _read_note(note: str) -> tuple[str, UUID]:
    """Return the location of a store and the gallery of such a note.

    Raises:
        ValueError: it is not such a note.

    """
    location, gallery_id, rest = note.rsplit("/", 2)
    if rest:
        raise ValueError(note)
    return location if location.startswith(S3) else FOLDER, UUID(gallery_id)
