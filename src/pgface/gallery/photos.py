"""The face crops on disk, kept in step with the table `photos`.

A file is written under `incoming` before its row is committed, and moved to its place afterwards; a row's file is
removed after the row is gone. Whatever a crash leaves in between is set right by `clean`: an incoming file either
has a row (then it moves) or has none (then it goes), and files of deleted rows are noted in the database.

While a backup copies the files it holds a lock, and nobody removes any: those of erased rows wait until it ends.

A path in the database begins with the gallery's id and the photos folder's own: of several machines that use one
gallery, each with a folder of its own, only the one that has a file may forget that it is to be removed.
"""

from __future__ import annotations

import io
import logging
import os
import re
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

import psycopg
from PIL import Image

from pgface.database.sql import queries
from pgface.errors import DatabaseUnreachableError, GalleryError, PgfaceError, StorageError
from pgface.faces.pixels import RGBImage
from pgface.system.file_systems import first_text
from pgface.system.ownership import reason_with_owner
from pgface.system.private_folder import private_folder

_INCOMING: Final = "incoming"
_FOLDER_ID: Final = "folder-id"
_JPEG_QUALITY: Final = 95
_CROP_PATH: Final = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/[0-9a-f]{32}/([0-9a-f]{2})/\1[0-9a-f]{30}\.jpg"
)
_SETTLED_AT_ONCE: Final = 1_000

_log = logging.getLogger("pgface.photos")


def is_crop_path(filepath: str) -> bool:
    """Whether a row's path is one that pgface writes: gallery, photos folder, two digits, name."""
    return _CROP_PATH.fullmatch(filepath) is not None


class PhotoFiles:
    """The crops of one gallery in one photos folder."""

    def __init__(self, root: Path, gallery_id: uuid.UUID) -> None:
        self._root = root
        self._gallery_id = gallery_id

    def path(self, filepath: str) -> Path:
        """Where the file of a row of `photos` is, if it is in this photos folder."""
        return self._root / filepath

    @property
    def prefix(self) -> str:
        """How the paths of this gallery's crops in this photos folder begin."""
        return _prefix(self._gallery_id, self._root)

    @property
    def prefix_here(self) -> str | None:
        """The same; None where no crop was ever written into this photos folder."""
        with _stored(self._root / _FOLDER_ID):
            there = (self._root / _FOLDER_ID).exists()
        return self.prefix if there else None

    def folders(self) -> set[str]:
        """The folders of this gallery's crops here, as their paths begin."""
        prefix = self.prefix_here
        if prefix is None or not (self._root / prefix).is_dir():
            return set()
        with _stored(self._root / prefix), os.scandir(self._root / prefix) as entries:
            return {f"{prefix}/{entry.name}" for entry in entries if entry.is_dir() and entry.name != _INCOMING}

    def has_any(self) -> bool:
        """Whether crops of this gallery are here."""
        return any(self.crops_in(folder) for folder in self.folders())

    def crops_in(self, folder: str) -> set[str]:
        """The paths of the crops in a folder, which may not be there."""
        place = self._root / folder
        with _stored(place):
            names = os.listdir(place) if place.is_dir() else []
        return {path for name in names if is_crop_path(path := f"{folder}/{name}")}

    def has_crop(self, filepath: str) -> bool:
        """Whether the file of a committed row is here, at its place or on its way there."""
        crop = self.open_crop(filepath)
        if crop is not None:
            crop.close()
        return crop is not None

    def remove_strays(self, connection: psycopg.Connection, filepaths: Iterable[str]) -> None:
        """Remove crops of this folder that no row names; call it after `settle`, in the same transaction.

        Raises:
            GalleryError: a backup is copying the files.

        """
        if connection.execute(queries()["try_share_photo_files"]).fetchone() is None:
            raise GalleryError("A backup is copying the photo files; try again when it has ended.")
        for filepath in filepaths:
            _remove(self.path(filepath))

    def open_crop(self, filepath: str) -> BinaryIO | None:
        """Open the file of a committed row, which may not have moved to its place yet; None if it is not here.

        Args:
            filepath: of a row of `photos`, for which `is_crop_path` holds; also of another gallery's, or folder's.

        """
        place = self.path(filepath)
        # Again at its place, because it may have moved there after the first look.
        for file in (place, place.parents[1] / _INCOMING / place.name, place):
            with _stored(file), suppress(FileNotFoundError, NotADirectoryError):
                return os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW), "rb")
        return None

    def settle(self, connection: psycopg.Connection) -> None:
        """Move the files of committed rows to their places, after waiting for enrollments under way.

        Call it in a transaction of its own.
        """
        connection.execute(queries()["lock_enrollment"])
        self._settle_incoming(connection)

    @contextmanager
    def writing(self) -> Iterator[PhotoBatch]:
        """Write crops for rows of one transaction; wrap the transaction in it.

        If the transaction is refused the files go, and if it commits they move to their places. Where nobody
        knows whether it committed, as when the connection was lost, they wait for `clean`, which asks the table.
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
        """Set right what a crash left; call it in a transaction of its own.

        Does nothing while an enrollment is under way somewhere, whose files have no rows yet. A file that cannot be
        moved or removed now is left for the next time, with a warning in the log: it must not keep anyone out.
        """
        if self.prefix_here is None:
            return
        if connection.execute(queries()["try_lock_enrollment"]).fetchone() is not None:
            try:
                self._settle_incoming(connection)
            except StorageError as error:
                _warn(error)
            self.remove_deleted(connection)

    def remove_deleted(self, connection: psycopg.Connection) -> None:
        """Remove this folder's files of rows that are gone; one that cannot be removed stays noted."""
        prefix = self.prefix_here
        if prefix is None:
            return
        if connection.execute(queries()["try_share_photo_files"]).fetchone() is None:
            return  # a backup is copying them, and removes these at its end
        noted = [filepath for (filepath,) in connection.execute(queries()["deleted_photo_files"], {"prefix": prefix})]
        gone = [filepath for filepath in noted if self._removed(filepath, prefix)]
        if gone:
            connection.execute(queries()["forget_deleted_photo_files"], {"filepaths": gone})

    def _removed(self, filepath: str, prefix: str) -> bool:
        file = self.path(filepath)
        # Rows may have been written by anyone, so only what can be a crop's path is followed.
        if file.parent.parent != self._root / prefix or file.suffix != ".jpg":
            return True
        try:
            # It may not have moved to its place yet.
            for place in (file, self._root / prefix / _INCOMING / file.name):
                _remove(place)
        except StorageError as error:
            _warn(error)
            return False
        return True

    def _settle_incoming(self, connection: psycopg.Connection) -> None:
        prefix = self.prefix
        incoming = self._root / prefix / _INCOMING
        if not incoming.is_dir():
            return
        with _stored(incoming), os.scandir(incoming) as entries:
            while files := [incoming / entry.name for entry in islice(entries, _SETTLED_AT_ONCE)]:
                self._settle(connection, {_filepath(prefix, file.name): file for file in files})

    def _settle(self, connection: psycopg.Connection, waiting: dict[str, Path]) -> None:
        rows = connection.execute(queries()["existing_photo_files"], {"filepaths": list(waiting)})
        committed = {filepath for (filepath,) in rows}
        for filepath, file in waiting.items():
            if filepath in committed:
                _move(file, self.path(filepath))
            else:
                _remove(file)


class PhotoBatch:
    """Crops that are written, and not yet in their places."""

    def __init__(self, root: Path, gallery_id: uuid.UUID) -> None:
        self._root = root
        self._gallery_id = gallery_id
        self._written: dict[Path, Path] = {}

    def add(self, crop: RGBImage) -> str:
        """Write a crop, shape (height, width, 3), and return the path for its row."""
        file = io.BytesIO()
        Image.fromarray(crop).save(file, format="JPEG", quality=_JPEG_QUALITY)
        return self.add_jpeg(file.getbuffer())

    def add_jpeg(self, data: bytes | memoryview) -> str:
        """Write a file as it is, which is a JPEG without anything but the picture, and return the path for its row."""
        prefix = _prefix(self._gallery_id, self._root)
        incoming = _private_folder(self._root / prefix / _INCOMING)
        name = f"{uuid.uuid4().hex}.jpg"
        filepath = _filepath(prefix, name)
        file = incoming / name
        self._written[file] = self._root / filepath
        with _stored(file), os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(data)
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


class RestoredFiles:
    """Crops out of an archive, for rows that are not committed yet; `PhotoFiles.settle` moves them afterwards.

    There may be millions: their names are kept on disk, and they are put on disk all at once.
    """

    def __init__(self, root: Path, gallery_id: uuid.UUID) -> None:
        self._incoming = _private_folder(root / _prefix(gallery_id, root) / _INCOMING)
        self._names = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `close`

    def add(self, name: str, blocks: Iterable[bytes]) -> None:
        """Write a file; one that a killed restore left under this name is the same, or a part of it."""
        file = self._incoming / name
        self._names.write(f"{name}\n")
        with (
            _stored(file),
            os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as stream,
        ):
            stream.writelines(blocks)

    def sync(self) -> None:
        """Have them on disk, before their rows are committed."""
        os.sync()

    def discard(self) -> None:
        """Remove them."""
        self._names.seek(0)
        for name in self._names:
            _remove(self._incoming / name.rstrip("\n"))

    def close(self) -> None:
        """Forget their names; the files stay."""
        self._names.close()


def _prefix(gallery_id: uuid.UUID, root: Path) -> str:
    """How the paths of a gallery's crops in this photos folder begin."""
    return f"{gallery_id}/{_folder_id(root)}"


def _folder_id(root: Path) -> str:
    """The photos folder's own id; made when the first crop is written."""
    file = root / _FOLDER_ID
    with _stored(file):
        if not file.exists():
            _private_folder(root)
        return first_text(file, uuid.uuid4().hex).strip()


def _filepath(prefix: str, name: str) -> str:
    # 256 folders, so that none grows too large to list.
    return f"{prefix}/{name[:2]}/{name}"


def _private_folder(folder: Path) -> Path:
    with _stored(folder):
        return private_folder(folder)


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
            f"{path} could not be read, written or removed ({reason_with_owner(error, path)}); "
            "check the disk's free space and the folder's permissions."
        ) from error


def _warn(error: StorageError) -> None:
    _log.warning("%s It is left for the next time.", error)
