"""Crops in the table `photo_crops`, beside the rows of their photos.

A crop is inserted in the transaction of its row. A trigger deletes it in the transaction that deletes the row. So
there is nothing to clean up after a crash, and replication carries the crops.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import BinaryIO

import psycopg
from psycopg.rows import scalar_row

from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.gallery.photo_stores.base import POSTGRES, PhotoStore, crop_path


class PostgresStore(PhotoStore):
    """The crops of one gallery in its schema."""

    location = POSTGRES
    writes_early = False

    def __init__(self, database: Database | None, gallery_id: uuid.UUID) -> None:
        self._database = database
        self._prefix = f"{gallery_id}/{POSTGRES}"

    @property
    def prefix(self) -> str:
        """The gallery's id and `postgres`."""
        return self._prefix

    def place(self, filepath: str) -> str:
        """Return the table and the key of the row."""
        return f"photo_crops, {filepath}"

    def put(self, crops: Mapping[str, bytes | memoryview], connection: psycopg.Connection | None, /) -> bool:
        """Insert the rows in the transaction of their photos."""
        assert connection is not None  # noqa: S101 - it is not written early
        rows = [{"filepath": filepath, "jpeg": bytes(data)} for filepath, data in crops.items()]
        with connection.cursor() as cursor:
            cursor.executemany(queries()["insert_photo_crop"], rows)
        return True

    def claim(self, _: psycopg.Connection, __: str, /) -> bool:
        """Return True, because the row is in the same transaction."""
        return True

    def discard(self, filepaths: Sequence[str]) -> None:
        """Do nothing, because the transaction was rolled back."""

    def open(self, filepath: str, connection: psycopg.Connection | None = None, /) -> BinaryIO | None:
        """Read the row."""
        values = {"filepath": filepath}
        if connection is None:
            assert self._database is not None  # noqa: S101 - only a restore has none, and it reads nothing
            found = self._database.read("select_photo_crop", values, row_factory=scalar_row)
        else:
            found = [jpeg for (jpeg,) in connection.execute(queries()["select_photo_crop"], values)]
        return io.BytesIO(found[0]) if found else None

    def delete(self, connection: psycopg.Connection, filepaths: Sequence[str], /) -> list[str]:
        """Delete the rows."""
        connection.execute(queries()["delete_photo_crops"], {"filepaths": list(filepaths)})
        return list(filepaths)

    def paths(self, connection: psycopg.Connection, /) -> Iterator[str]:
        """List the keys of the rows."""
        with connection.cursor("photo_crops", row_factory=scalar_row) as filepaths:
            yield from filepaths.execute(queries()["photo_crops_in_order"], {"prefix": f"{self._prefix}/"})

    def settle(self, _: psycopg.Connection, /) -> None:
        """Do nothing, because crops and rows are committed together."""

    def delete_all(self) -> None:
        """Do nothing, because the table was deleted with the gallery."""

    def check(self) -> None:
        """Do nothing. PostgreSQL reports an error when it refuses a crop."""

    def restoring(self, connection: psycopg.Connection, /) -> RestoredRows:
        """Return the writer of the rows of an archive."""
        return RestoredRows(connection, self._prefix)


class RestoredRows:
    """Crops from an archive, which are inserted in the transaction of the restore."""

    def __init__(self, connection: psycopg.Connection, prefix: str) -> None:
        self._connection = connection
        self._prefix = prefix

    def add(self, name: str, blocks: Iterable[bytes]) -> None:
        """Insert a row."""
        values = {"filepath": crop_path(self._prefix, name), "jpeg": b"".join(blocks)}
        self._connection.execute(queries()["insert_photo_crop"], values)

    def sync(self) -> None:
        """Do nothing, because the commit makes the rows permanent."""

    def discard(self) -> None:
        """Do nothing, because the transaction was rolled back."""

    def close(self) -> None:
        """Do nothing, because this object has no resources."""
