"""The face crops on disk, kept in step with the table `photos`.

A file is written under `incoming` before its row is committed, and moved to its place afterwards; a row's file is
removed after the row is gone. Whatever a crash leaves in between is set right by `clean`: an incoming file either
has a row (then it moves) or has none (then it goes), and files of deleted rows are listed in the database.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psycopg
from PIL import Image

from pgface.errors import DatabaseUnreachableError, PgfaceError, StorageError
from pgface.faces.engine import RGBImage
from pgface.schema import queries

_INCOMING: Final = "incoming"
_JPEG_QUALITY: Final = 95


class PhotoFiles:
    """The crops of one gallery, below `root/<gallery id>`; paths in the database are relative to `root`."""

    def __init__(self, root: Path, gallery_id: uuid.UUID) -> None:
        self._root = root
        self._folder = root / str(gallery_id)

    def path(self, filepath: str) -> Path:
        """Where the file of a row of `photos` is."""
        return self._root / filepath

    @contextmanager
    def writing(self) -> Iterator[PhotoBatch]:
        """Write crops for rows of one transaction; wrap the transaction in it.

        If the transaction is refused the files go, and if it commits they move to their places. Where nobody
        knows whether it committed, as when the connection was lost, they wait for `clean`, which asks the table.
        """
        batch = PhotoBatch(self._root, self._folder)
        try:
            yield batch
        except DatabaseUnreachableError:
            raise
        except PgfaceError:
            batch.discard()
            raise
        batch.publish()

    def clean(self, connection: psycopg.Connection) -> None:
        """Set right what a crash left; call it in a transaction of its own.

        Does nothing while an enrollment is under way somewhere, whose files have no rows yet.
        """
        if connection.execute(queries()["try_lock_enrollment"]).fetchone() == (True,):
            self._settle_incoming(connection)
            self.remove_deleted(connection)

    def remove_deleted(self, connection: psycopg.Connection) -> None:
        """Remove the files of rows that are gone."""
        gone = [filepath for (filepath,) in connection.execute(queries()["deleted_photo_files"])]
        if not gone:
            return
        for filepath in gone:
            # Rows may have been written by anyone, so a path is followed only within this gallery's folder.
            file = self.path(filepath).resolve()
            if file.is_relative_to(self._folder.resolve()):
                _remove(file)
        connection.execute(queries()["forget_deleted_photo_files"], {"filepaths": gone})

    def _settle_incoming(self, connection: psycopg.Connection) -> None:
        incoming = self._folder / _INCOMING
        if not incoming.is_dir():
            return
        waiting = {_filepath(self._root, self._folder, file.name): file for file in incoming.iterdir()}
        if not waiting:
            return
        rows = connection.execute(queries()["existing_photo_files"], {"filepaths": list(waiting)})
        committed = {filepath for (filepath,) in rows}
        for filepath, file in waiting.items():
            if filepath in committed:
                _move(file, self.path(filepath))
            else:
                _remove(file)


class PhotoBatch:
    """Crops that are written, and not yet in their places."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._root = root
        self._folder = folder
        self._written: dict[Path, Path] = {}

    def add(self, crop: RGBImage) -> str:
        """Write a crop, shape (height, width, 3), and return the path for its row."""
        incoming = _private_folder(self._folder / _INCOMING)
        name = f"{uuid.uuid4().hex}.jpg"
        filepath = _filepath(self._root, self._folder, name)
        file = incoming / name
        self._written[file] = self._root / filepath
        with _stored(file), os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            Image.fromarray(crop).save(stream, format="JPEG", quality=_JPEG_QUALITY)
            stream.flush()
            os.fsync(stream.fileno())
        return filepath

    def publish(self) -> None:
        """Move the files to their places."""
        for file, place in self._written.items():
            _move(file, place)

    def discard(self) -> None:
        """Remove the files."""
        for file in self._written:
            _remove(file)


def _filepath(root: Path, folder: Path, name: str) -> str:
    # 256 folders, so that none grows too large to list.
    return (folder.relative_to(root) / name[:2] / name).as_posix()


def _private_folder(folder: Path) -> Path:
    # One by one: with `parents=True` only the last would have this mode.
    with _stored(folder):
        for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)
    return folder


def _move(file: Path, place: Path) -> None:
    _private_folder(place.parent)
    # A clean-up elsewhere may have moved it already: its row is committed, so both mean the same.
    with _stored(place), suppress(FileNotFoundError):
        file.replace(place)


def _remove(file: Path) -> None:
    with _stored(file):
        file.unlink(missing_ok=True)


@contextmanager
def _stored(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{path} could not be written or removed ({error.strerror}); "
            "check the disk's free space and the folder's permissions."
        ) from error
