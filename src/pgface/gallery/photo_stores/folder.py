"""The face crops on disk, and their rows in the table `photos`.

pgface writes a file under `incoming` before it commits the row, and moves the file to its final path afterwards. It
deletes a file after the row is deleted. After a crash in between, `clean` moves the incoming files that have a row, and
deletes the others. The table `deleted_photo_files` lists the files of deleted rows.

A backup holds a lock while it copies the files. During that time no file is deleted.

A path in the database starts with the gallery's id and the id of the photos folder. Several machines can use one
gallery, each with its own folder. Each machine deletes only files of its own folder.
"""

from __future__ import annotations

import io
import logging
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

import psycopg
from PIL import Image

from pgface.database.sql import queries
from pgface.errors import DatabaseUnreachableError, GalleryError, PgfaceError, StorageError
from pgface.faces.pixels import RGBImage
from pgface.system.file_systems import write_once
from pgface.system.ownership import reason_with_owner
from pgface.system.private_folder import private_folder

_INCOMING: Final = "incoming"
_FOLDER_ID: Final = "folder-id"
_JPEG_QUALITY: Final = 95
_CROP_PATH: Final = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/[0-9a-f]{32}/([0-9a-f]{2})/\1[0-9a-f]{30}\.jpg"
)
_BATCH_FILES: Final = 1_000

_log = logging.getLogger("pgface.photos")


def is_crop_path(filepath: str) -> bool:
    """Whether pgface may have written this path: gallery id, folder id, two digits, name."""
    return _CROP_PATH.fullmatch(filepath) is not None


class PhotoFiles:
    """The crops of one gallery in one photos folder."""

    def __init__(self, root: Path, gallery_id: uuid.UUID) -> None:
        self._root = root
        self._gallery_id = gallery_id

    def path(self, filepath: str) -> Path:
        """Return the path of the file of a row of `photos`, if the file is in this photos folder."""
        return self._root / filepath

    @property
    def prefix(self) -> str:
        """The start of the paths of this gallery's crops in this photos folder."""
        return _prefix(self._gallery_id, self._root)

    @property
    def existing_prefix(self) -> str | None:
        """The same as `prefix`, or None if no crop was ever written into this photos folder."""
        file = self._root / _FOLDER_ID
        with _storage_errors(file):
            return self.prefix if file.exists() else None

    def folders(self) -> set[str]:
        """List the folders of this gallery's crops in this photos folder, relative to it."""
        prefix = self.existing_prefix
        if prefix is None or not (self._root / prefix).is_dir():
            return set()
        with _storage_errors(self._root / prefix), os.scandir(self._root / prefix) as entries:
            return {f"{prefix}/{entry.name}" for entry in entries if entry.is_dir() and entry.name != _INCOMING}

    def has_any(self) -> bool:
        """Whether this photos folder contains crops of this gallery."""
        return any(self.crops_in(folder) for folder in self.folders())

    def crops_in(self, folder: str) -> set[str]:
        """List the paths of the crops in a folder. The folder need not exist."""
        full_path = self._root / folder
        with _storage_errors(full_path):
            names = os.listdir(full_path) if full_path.is_dir() else []
        return {path for name in names if is_crop_path(path := f"{folder}/{name}")}

    def has_crop(self, filepath: str) -> bool:
        """Whether the file of a committed row exists, at its final path or under `incoming`."""
        crop = self.open_crop(filepath)
        if crop is not None:
            crop.close()
        return crop is not None

    def remove_strays(self, connection: psycopg.Connection, filepaths: Iterable[str]) -> None:
        """Delete crops of this folder that belong to no row. Call it after `settle`, in the same transaction.

        Raises:
            GalleryError: a backup is copying the files.

        """
        if connection.execute(queries()["try_share_photo_files"]).fetchone() is None:
            raise GalleryError("A backup is copying the photo files. Try again when it has ended.")
        for filepath in filepaths:
            _remove(self.path(filepath))

    def remove_all(self) -> None:
        """Delete all crops of this gallery in this photos folder, after the gallery was deleted."""
        folder = self._root / str(self._gallery_id)
        with _storage_errors(folder), suppress(FileNotFoundError):
            shutil.rmtree(folder)

    def open_crop(self, filepath: str) -> BinaryIO | None:
        """Open the file of a committed row, which may still be under `incoming`. None if it does not exist.

        Args:
            filepath: the path of a row of `photos` that `is_crop_path` accepts. It may belong to another gallery.

        """
        final = self.path(filepath)
        # The final path is tried twice, because the file may move there after the first try.
        for file in (final, final.parents[1] / _INCOMING / final.name, final):
            with _storage_errors(file), suppress(FileNotFoundError, NotADirectoryError):
                return os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW), "rb")
        return None

    def settle(self, connection: psycopg.Connection) -> None:
        """Wait for running enrollments, then move the files of committed rows to their final paths.

        Call it in a separate transaction.
        """
        connection.execute(queries()["lock_enrollment"])
        self._settle_incoming(connection)

    @contextmanager
    def writing(self) -> Iterator[PhotoBatch]:
        """Write crops for the rows of one transaction. Put the transaction inside this context.

        The files move to their final paths if the transaction commits, and are deleted if it fails. If the connection
        was lost, the outcome is unknown, and `clean` decides later.
        """
        batch = PhotoBatch(self._root, self._gallery_id)
        try:
            yield batch
        except DatabaseUnreachableError:
            raise
        except PgfaceError:
            batch.discard()
            raise
        batch.publish()

    def clean(self, connection: psycopg.Connection) -> None:
        """Clean up after a crash. Call it in a separate transaction.

        It does nothing during an enrollment, whose files have no rows yet. If a file cannot be moved or deleted, it
        logs a warning and goes on, because the gallery must stay usable.
        """
        if self.existing_prefix is None:
            return
        if connection.execute(queries()["try_lock_enrollment"]).fetchone() is not None:
            try:
                self._settle_incoming(connection)
            except StorageError as error:
                _warn(error)
            self.remove_deleted(connection)

    def remove_deleted(self, connection: psycopg.Connection) -> None:
        """Delete this folder's files of deleted rows. A file that cannot be deleted stays in the list."""
        prefix = self.existing_prefix
        if prefix is None:
            return
        if connection.execute(queries()["try_share_photo_files"]).fetchone() is None:
            return  # a backup is copying the files, and deletes these at its end
        listed = connection.execute(queries()["deleted_photo_files"], {"prefix": prefix}).fetchall()
        removed = [filepath for (filepath,) in listed if self._removed(filepath, prefix)]
        if removed:
            connection.execute(queries()["delete_deletion_notes"], {"filepaths": removed})

    def _removed(self, filepath: str, prefix: str) -> bool:
        file = self.path(filepath)
        # Any program may have written the row, so only a path that can belong to a crop is followed.
        if file.parent.parent != self._root / prefix or file.suffix != ".jpg":
            return True
        try:
            _remove(file)
            _remove(self._root / prefix / _INCOMING / file.name)
        except StorageError as error:
            _warn(error)
            return False
        return True

    def _settle_incoming(self, connection: psycopg.Connection) -> None:
        prefix = self.prefix
        incoming = self._root / prefix / _INCOMING
        if not incoming.is_dir():
            return
        with _storage_errors(incoming), os.scandir(incoming) as entries:
            while files := {_filepath(prefix, entry.name): Path(entry) for entry in islice(entries, _BATCH_FILES)}:
                rows = connection.execute(queries()["existing_photo_files"], {"filepaths": list(files)})
                committed = {filepath for (filepath,) in rows}
                for filepath, file in files.items():
                    if filepath in committed:
                        _move(file, self.path(filepath))
                    else:
                        _remove(file)


class PhotoBatch:
    """Crops that are written, but not yet moved to their final paths."""

    def __init__(self, root: Path, gallery_id: uuid.UUID) -> None:
        self._root = root
        self._gallery_id = gallery_id
        self._written: dict[str, Path] = {}
        """The files under `incoming`, by the paths for their rows."""
        self._early: list[EarlyCrop] = []

    def add_early(self, crop: RGBImage) -> EarlyCrop:
        """Compress a crop for `write_early`."""
        early = EarlyCrop(self, _jpeg(crop))
        self._early.append(early)
        return early

    def write_early(self) -> None:
        """Write these crops before the transaction starts. Those that are not used are deleted at the end."""
        # The first enrollment into a photos folder writes under the lock. If it is refused, it leaves the folder empty.
        if (self._root / _FOLDER_ID).exists():
            for early in self._early:
                early.write()

    def add(self, crop: RGBImage) -> str:
        """Write a crop, shape (height, width, 3), uint8, and return the path for its row."""
        return self.add_jpeg(_jpeg(crop))

    def add_jpeg(self, data: bytes | memoryview) -> str:
        """Write the bytes of a JPEG without metadata, and return the path for its row."""
        prefix = _prefix(self._gallery_id, self._root)
        incoming = _private_folder(self._root / prefix / _INCOMING)
        name = f"{uuid.uuid4().hex}.jpg"
        filepath = _filepath(prefix, name)
        file = incoming / name
        self._written[filepath] = file
        _write(file, data)
        return filepath

    def publish(self) -> None:
        """Move the files to their final paths, and delete those of unused crops."""
        unused = {crop.filepath for crop in self._early if not crop.used}
        for filepath, file in self._written.items():
            if filepath in unused:
                _remove(file)
            else:
                _move(file, self._root / filepath)

    def discard(self) -> None:
        """Delete the files."""
        for file in self._written.values():
            _remove(file)

    def has(self, filepath: str) -> bool:
        """Whether a file of this batch still exists."""
        return self._written[filepath].exists()


@dataclass(slots=True)
class EarlyCrop:
    """A crop that is written before it is known whether it is enrolled."""

    _batch: PhotoBatch
    _jpeg: bytes
    filepath: str | None = None
    """The path for its row, if it was written."""
    used: bool = False

    def write(self) -> str:
        """Write the file, and return the path for its row."""
        self.filepath = self._batch.add_jpeg(self._jpeg)
        return self.filepath

    def use(self) -> str:
        """Keep this crop, and return the path for its row. Call it under the enrollment lock."""
        self.used = True
        # Before this transaction had the lock, the clean-up of another process may have deleted the file without a row.
        if self.filepath is None or not self._batch.has(self.filepath):
            return self.write()
        return self.filepath


class RestoredFiles:
    """Crops from an archive, for rows that are not committed yet. `PhotoFiles.settle` moves them afterwards.

    There may be millions. So their names are in a temporary file, and one call flushes all crops to disk.
    """

    def __init__(self, root: Path, gallery_id: uuid.UUID) -> None:
        self._incoming = _private_folder(root / _prefix(gallery_id, root) / _INCOMING)
        self._names = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `close`

    def add(self, name: str, blocks: Iterable[bytes]) -> None:
        """Write a file. It replaces a file of this name from an interrupted restore."""
        file = self._incoming / name
        self._names.write(f"{name}\n")
        with (
            _storage_errors(file),
            os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as stream,
        ):
            stream.writelines(blocks)

    def sync(self) -> None:
        """Flush the files to disk, before their rows are committed."""
        os.sync()

    def discard(self) -> None:
        """Delete the files."""
        self._names.seek(0)
        for name in self._names:
            _remove(self._incoming / name.rstrip("\n"))

    def close(self) -> None:
        """Close the list of names. The files stay."""
        self._names.close()


def _prefix(gallery_id: uuid.UUID, root: Path) -> str:
    """Return the start of the paths of a gallery's crops in this photos folder."""
    return f"{gallery_id}/{_folder_id(root)}"


def _folder_id(root: Path) -> str:
    """Return the id of the photos folder, which is made with the first crop."""
    file = root / _FOLDER_ID
    with _storage_errors(file):
        if not file.exists():
            _private_folder(root)
        return write_once(file, uuid.uuid4().hex).strip()


def _filepath(prefix: str, name: str) -> str:
    # 256 folders, so that no folder becomes too large to list.
    return f"{prefix}/{name[:2]}/{name}"


def _private_folder(folder: Path) -> Path:
    with _storage_errors(folder):
        return private_folder(folder)


def _jpeg(crop: RGBImage) -> bytes:
    file = io.BytesIO()
    Image.fromarray(crop).save(file, format="JPEG", quality=_JPEG_QUALITY)
    return file.getvalue()


def _write(file: Path, data: bytes | memoryview) -> None:
    """Write a new file, and flush it to disk."""
    with (
        _storage_errors(file),
        os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream,
    ):
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _move(file: Path, final: Path) -> None:
    _private_folder(final.parent)
    # Another process may have moved it already. Its row is committed, so the result is the same.
    with _storage_errors(final), suppress(FileNotFoundError):
        file.replace(final)


def _remove(file: Path) -> None:
    with _storage_errors(file):
        file.unlink(missing_ok=True)


@contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{path} could not be read, written or deleted ({reason_with_owner(error, path)}). "
            "Check the free disk space and the permissions of the folder."
        ) from error


def _warn(error: StorageError) -> None:
    _log.warning("%s pgface tries again the next time.", error)
