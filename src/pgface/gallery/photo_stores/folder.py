"""Crops as files in the photos folder of this machine.

pgface writes a file under `incoming` before it commits the row, and moves the file to its final path afterwards. It
deletes a file after the row is deleted. After a crash in between, `settle` moves the incoming files that have a row,
and deletes the others.

Several machines can use one gallery, each with its own folder. Each machine deletes only files of its own folder, whose
id is a part of the paths.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

import psycopg

from pgface.database.sql import queries
from pgface.errors import StorageError
from pgface.gallery.photo_stores.base import FOLDER, PhotoStore, crop_path, is_crop_path, warn
from pgface.system.delete_folder import delete_folder
from pgface.system.file_systems import write_once
from pgface.system.ownership import reason_with_owner
from pgface.system.private_folder import private_folder

_INCOMING: Final = "incoming"
_FOLDER_ID: Final = "folder-id"
_BATCH_FILES: Final = 1_000


class FolderStore(PhotoStore):
    """The crops of one gallery in one photos folder."""

    location = FOLDER

    def __init__(self, root: Path, gallery_id: uuid.UUID) -> None:
        self._root = root
        self._gallery_id = gallery_id

    def path(self, filepath: str) -> Path:
        """Return the path of the file of a row of `photos`, if the file is in this photos folder."""
        return self._root / filepath

    def place(self, filepath: str) -> str:
        """Return the full path of the file."""
        return str(self.path(filepath))

    @property
    def writes_early(self) -> bool:
        """False in a new folder. Its first crop is written under the lock, so that a refused one leaves it empty."""
        return (self._root / _FOLDER_ID).exists()

    @property
    def prefix(self) -> str:
        """The gallery's id and the folder's id, which is made with the first crop."""
        return f"{self._gallery_id}/{_folder_id(self._root)}"

    @property
    def existing_id(self) -> str | None:
        """The folder's id, or None if the folder has no id yet."""
        file = self._root / _FOLDER_ID
        with _storage_errors(file):
            return _folder_id(self._root) if file.exists() else None

    @property
    def existing_prefix(self) -> str | None:
        """The same as `prefix`, or None if the folder has no id yet."""
        folder_id = self.existing_id
        return None if folder_id is None else f"{self._gallery_id}/{folder_id}"

    def put(self, crops: Mapping[str, bytes | memoryview], _: psycopg.Connection | None, /) -> bool:
        """Write the files under `incoming`."""
        for filepath, data in crops.items():
            file = self._incoming(filepath)
            _private_folder(file.parent)
            _write(file, data)
        return True

    def claim(self, _: psycopg.Connection, filepath: str, /) -> bool:
        """Return whether the file is still under `incoming`."""
        return self._incoming(filepath).exists()

    def publish(self, filepaths: Sequence[str]) -> None:
        """Move the files to their final paths."""
        for filepath in filepaths:
            _move(self._incoming(filepath), self.path(filepath))

    def discard(self, filepaths: Sequence[str]) -> None:
        """Delete the files under `incoming`."""
        for filepath in filepaths:
            _remove(self._incoming(filepath))

    def open(self, filepath: str, _: psycopg.Connection | None = None, /) -> BinaryIO | None:
        """Open the file, which may still be under `incoming`."""
        final = self.path(filepath)
        # The final path is tried twice, because the file may move there after the first try.
        for file in (final, self._incoming(filepath), final):
            with _storage_errors(file), suppress(FileNotFoundError, NotADirectoryError):
                return os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW), "rb")
        return None

    def delete(self, _: psycopg.Connection, filepaths: Sequence[str], /) -> list[str]:
        """Delete the files from both of their places."""
        return [filepath for filepath in filepaths if self._deleted(filepath)]

    def paths(self, _: psycopg.Connection, /) -> Iterator[str]:
        """List the files, one folder after another."""
        prefix = self.existing_prefix
        if prefix is None or not (self._root / prefix).is_dir():
            return
        with _storage_errors(self._root / prefix), os.scandir(self._root / prefix) as entries:
            folders = sorted(entry.name for entry in entries if entry.is_dir() and entry.name != _INCOMING)
        for folder in folders:
            full_path = self._root / prefix / folder
            with _storage_errors(full_path):
                names = os.listdir(full_path) if full_path.is_dir() else []
            yield from (path for name in sorted(names) if is_crop_path(path := f"{prefix}/{folder}/{name}"))

    def settle(self, connection: psycopg.Connection, /) -> None:
        """Move the incoming files of committed rows, and delete the others."""
        prefix = self.existing_prefix
        if prefix is None or not (self._root / prefix / _INCOMING).is_dir():
            return
        incoming = self._root / prefix / _INCOMING
        with _storage_errors(incoming), os.scandir(incoming) as entries:
            while files := {crop_path(prefix, entry.name): Path(entry) for entry in islice(entries, _BATCH_FILES)}:
                rows = connection.execute(queries()["existing_photo_files"], {"filepaths": [*files]})
                committed = {filepath for (filepath,) in rows}
                for filepath, file in files.items():
                    if filepath in committed:
                        _move(file, self.path(filepath))
                    else:
                        _remove(file)

    def delete_all(self) -> None:
        """Delete the gallery's folder."""
        folder = self._root / str(self._gallery_id)
        with _storage_errors(folder):
            delete_folder(folder)

    def check(self) -> None:
        """Write a file and delete it."""
        file = _private_folder(self._root / self.prefix / _INCOMING) / f"{uuid.uuid4().hex}.jpg"
        _write(file, b"")
        _remove(file)

    def restoring(self, _: psycopg.Connection, /) -> RestoredFiles:
        """Return the writer of the files of an archive."""
        return RestoredFiles(self._root, self.prefix)

    def _incoming(self, filepath: str) -> Path:
        final = self.path(filepath)
        return final.parents[1] / _INCOMING / final.name

    def _deleted(self, filepath: str) -> bool:
        # Any program may have written the row, so only a path that can belong to a crop is followed.
        if self.path(filepath).parent.parent != self._root / self.prefix or not filepath.endswith(".jpg"):
            return True
        try:
            _remove(self.path(filepath))
            _remove(self._incoming(filepath))
        except StorageError as error:
            warn(error)
            return False
        return True


class RestoredFiles:
    """Files from an archive, for rows that are not committed yet. `FolderStore.settle` moves them afterwards.

    There may be millions. So their names are in a temporary file, and one call flushes all crops to disk.
    """

    def __init__(self, root: Path, prefix: str) -> None:
        self._incoming = _private_folder(root / prefix / _INCOMING)
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


def _folder_id(root: Path) -> str:
    """Return the id of the photos folder, which is made with the first crop."""
    file = root / _FOLDER_ID
    with _storage_errors(file):
        if not file.exists():
            _private_folder(root)
        return write_once(file, uuid.uuid4().hex).strip()


def _private_folder(folder: Path) -> Path:
    with _storage_errors(folder):
        return private_folder(folder)


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
