"""The photo inventory: photos without a crop, and crops without a photo, in every photo store."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import psycopg
from psycopg.rows import scalar_row

from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.gallery.photo_stores.base import PhotoStore, is_crop_path
from pgface.gallery.photos import PhotoFiles


@dataclass(frozen=True, slots=True)
class PhotoInventory:
    """A comparison of the rows of `photos` with the crops that this machine can reach."""

    stored: dict[str, int]
    """Number of photos in each store: `folder`, `postgres`, or the URL of an S3-compatible store."""
    elsewhere: int
    """Number of photos with a file of another folder, on another machine or deleted."""
    foreign: int
    """Number of photos with a path that pgface did not write. pgface does not manage their files."""
    missing: tuple[str, ...]
    """Paths of photos whose crops are missing in their store."""
    strays: tuple[str, ...]
    """Paths of crops that belong to no photo."""

    @property
    def here(self) -> int:
        """Number of photos in the stores that this machine can reach."""
        return sum(self.stored.values())


def take_inventory(database: Database, files: PhotoFiles) -> PhotoInventory:
    """Compare rows with crops, without locks and without changes.

    Raises:
        DatabaseError: PostgreSQL cannot be reached, or refuses access.
        StorageError: a store cannot be read.

    """
    missing: set[str] = set()
    strays: set[str] = set()
    stored: dict[str, int] = {}
    with database.transaction() as connection:
        counts = dict(connection.execute(queries()["count_photo_files"]).fetchall())
        foreign = counts.pop(None, 0)
        for store in files.stores():
            prefix = store.existing_prefix
            if prefix is None:
                continue
            if photos := counts.pop(prefix, 0):
                stored[store.location] = photos
            for filepath, has_row in _differences(connection, store, prefix):
                (missing if has_row else strays).add(filepath)
    # Photos may have been added and deleted during the comparison.
    strays -= _known_paths(database, "accounted_photo_files", strays)
    missing &= _known_paths(database, "existing_photo_files", missing)
    missing = {filepath for filepath in missing if not files.has_crop(filepath)}
    return PhotoInventory(stored, sum(counts.values()), foreign, tuple(sorted(missing)), tuple(sorted(strays)))


def remove_strays(database: Database, files: PhotoFiles) -> list[str]:
    """Wait for running enrollments, then delete the crops without a photo. Return their paths.

    Raises:
        GalleryError: a backup is copying the files.
        DatabaseError, StorageError: as for `take_inventory`. Files deleted so far stay deleted.

    """
    found = take_inventory(database, files).strays
    with database.transaction() as connection:
        files.settle(connection)
        strays = sorted(set(found) - _known_paths(database, "accounted_photo_files", set(found)))
        files.remove_strays(connection, strays)
    return strays


def _differences(connection: psycopg.Connection, store: PhotoStore, prefix: str) -> Iterator[tuple[str, bool]]:
    """Yield each path that has only a row or only a crop, and whether it has a row. Both lists come in one order."""
    with connection.cursor("photo_files", row_factory=scalar_row) as filepaths:
        filepaths.execute(queries()["photo_files_in_order"], {"prefix": f"{prefix}/"})
        rows = (filepath for filepath in filepaths if is_crop_path(filepath))
        merged = heapq.merge(_marked(rows, has_row=True), _marked(store.paths(connection), has_row=False))
        for filepath, group in groupby(merged, key=lambda one: one[0]):
            sides = {has_row for _, has_row in group}
            if len(sides) == 1:
                yield filepath, sides.pop()


def _marked(filepaths: Iterable[str], *, has_row: bool) -> Iterator[tuple[str, bool]]:
    return ((filepath, has_row) for filepath in filepaths)


def _known_paths(database: Database, query: str, filepaths: set[str]) -> set[str]:
    values = {"filepaths": list(filepaths)}
    return set(database.read(query, values, row_factory=scalar_row)) if filepaths else set()
