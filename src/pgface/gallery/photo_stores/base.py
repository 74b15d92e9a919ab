"""What every photo store can do, and the paths of crops.

A path of a crop is `gallery/store/two digits/name`, such as
`0b9c1f6e-0d3c-4a55-9a8e-3f1f2f6f0c11/postgres/7f/7f0c5d0e6a8b4f0f8d7c6b5a49382716.jpg`. All four parts are random or
fixed, so a path says nothing about a person. The second part is the id of the store, so each row of `photos` says
where its crop is.
"""

from __future__ import annotations

import logging
import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import BinaryIO, Final, Protocol

import psycopg

from pgface.errors import StorageError

FOLDER: Final = "folder"
POSTGRES: Final = "postgres"
_CROP_PATH: Final = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/([0-9a-f]{32}|postgres|s3-[0-9a-f]{16})/([0-9a-f]{2})/\2[0-9a-f]{30}\.jpg"
)

_log = logging.getLogger("pgface.photos")


def is_crop_path(filepath: str) -> bool:
    """Whether pgface may have written this path: gallery id, store id, two digits, name."""
    return _CROP_PATH.fullmatch(filepath) is not None


def store_id_of(filepath: str) -> str:
    """Return the id of the store in a path that `is_crop_path` accepts."""
    return filepath.split("/", 2)[1]


def new_path(prefix: str) -> str:
    """Return the path of a new crop."""
    return crop_path(prefix, f"{uuid.uuid4().hex}.jpg")


def crop_path(prefix: str, name: str) -> str:
    """Return the path of a crop with this name. There are 256 folders, so that each is small enough to list."""
    return f"{prefix}/{name[:2]}/{name}"


class PhotoStore(ABC):
    """The crops of one gallery in one place. Every path is the path of a row of `photos`.

    A crop is written before its row is committed. So a store keeps a record of it until it is published or discarded,
    and cleans up after a crash.
    """

    location: str
    """`folder`, `postgres`, or the URL of an S3-compatible store. The gallery's row records it."""

    @property
    @abstractmethod
    def writes_early(self) -> bool:
        """Whether a crop can be written before the transaction of its row."""

    @property
    @abstractmethod
    def prefix(self) -> str:
        """The start of the paths of this gallery's crops in this store, without a slash at the end."""

    @property
    def existing_prefix(self) -> str | None:
        """The same as `prefix`, or None if no crop was ever written into this store."""
        return self.prefix

    @abstractmethod
    def put(self, crops: Mapping[str, bytes | memoryview], connection: psycopg.Connection | None, /) -> bool:
        """Write crops whose rows are not committed yet. Afterwards they survive a crash.

        Returns False if the gallery no longer uses this store. Then nothing was written.

        Args:
            crops: the bytes, by their paths.
            connection: the transaction of the rows, if it has started.

        Raises:
            StorageError: a crop cannot be written.

        """

    @abstractmethod
    def claim(self, connection: psycopg.Connection, filepath: str, /) -> bool:
        """Return whether a written crop still exists, and keep it if the transaction of its row commits.

        Call it under the enrollment lock. Before that, another process may have taken the crop for the rest of a crash.
        """

    def publish(self, filepaths: Sequence[str]) -> None:  # noqa: B027 - most stores have nothing to do
        """Move claimed crops to their final places, after the commit of their rows."""

    @abstractmethod
    def discard(self, filepaths: Sequence[str]) -> None:
        """Delete written crops that have no rows."""

    @abstractmethod
    def open(self, filepath: str, connection: psycopg.Connection | None = None, /) -> BinaryIO | None:
        """Open a crop. None if it does not exist.

        Args:
            filepath: a path that `is_crop_path` accepts, with this store's id. It may belong to another gallery.
            connection: read in this transaction, if the store is PostgreSQL.

        Raises:
            StorageError: the store cannot be read.

        """

    def exists(self, filepath: str) -> bool:
        """Whether a crop exists."""
        crop = self.open(filepath)
        if crop is not None:
            crop.close()
        return crop is not None

    @abstractmethod
    def delete(self, connection: psycopg.Connection, filepaths: Sequence[str], /) -> list[str]:
        """Delete crops, and return the paths that are gone. A crop that cannot be deleted is logged and left out."""

    @abstractmethod
    def paths(self, connection: psycopg.Connection, /) -> Iterator[str]:
        """Yield the paths of all crops of this gallery, in the order of their bytes.

        Raises:
            StorageError: the store cannot be read.

        """

    @abstractmethod
    def settle(self, connection: psycopg.Connection, /) -> None:
        """Publish the crops of committed rows, and discard those of crashed enrollments.

        Call it in a separate transaction that has the enrollment lock.
        """

    @abstractmethod
    def delete_all(self) -> None:
        """Delete all crops of this gallery, after the gallery was deleted.

        Raises:
            StorageError: a crop cannot be deleted.

        """

    @abstractmethod
    def check(self) -> None:
        """Check that crops can be written, read and deleted.

        Raises:
            StorageError: they cannot.

        """

    @abstractmethod
    def restoring(self, connection: psycopg.Connection, /) -> RestoredCrops:
        """Return the writer of an archive's crops, for the transaction of a restore."""

    @abstractmethod
    def place(self, filepath: str) -> str:
        """Return where a crop is, for people: a path, or a URL without a password."""


class RestoredCrops(Protocol):
    """Crops from an archive, for rows that are not committed yet. There may be millions."""

    def add(self, name: str, blocks: Iterable[bytes]) -> None:
        """Write a crop. It replaces a crop of this name from an interrupted restore."""

    def sync(self) -> None:
        """Make sure that the crops survive a crash, before their rows are committed."""

    def discard(self) -> None:
        """Delete the crops."""

    def close(self) -> None:
        """Release the memory of this object. The crops stay."""


def warn(error: StorageError) -> None:
    """Log an error of the clean-up, which does not stop the gallery."""
    _log.warning("%s pgface tries again the next time.", error)
