"""The photo inventory: photos without a file, and files without a photo."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import psycopg
from psycopg.rows import scalar_row

from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.gallery.photos import PhotoFiles, is_crop_path


@dataclass(frozen=True, slots=True)
class PhotoInventory:
    """A comparison of the rows of `photos` with the files of this photos folder."""

    here: int
    """Number of photos with a file of this folder."""
    elsewhere: int
    """Number of photos with a file of another folder, on another machine or deleted."""
    foreign: int
    """Number of photos with a path that pgface did not write. pgface does not manage their files."""
    missing: tuple[str, ...]
    """Paths of photos whose files are missing in this folder."""
    strays: tuple[str, ...]
    """Paths of files in this folder that belong to no photo."""


def take_inventory(database: Database, files: PhotoFiles) -> PhotoInventory:
    """Compare rows with files, without locks and without changes.

    Raises:
        DatabaseError: PostgreSQL cannot be reached, or refuses access.
        StorageError: the folder cannot be read.

    """
    prefix = files.existing_prefix
    missing: set[str] = set()
    strays: set[str] = set()
    with database.transaction() as connection:
        values = {"prefix": "none" if prefix is None else f"{prefix}/"}
        ((here, elsewhere, foreign),) = connection.execute(queries()["count_photo_files"], values)
        for in_rows, on_disk in _by_folder(connection, files, values) if prefix else ():
            missing |= in_rows - on_disk
            strays |= on_disk - in_rows
    # Photos may have been added and deleted during the comparison.
    strays -= _known_paths(database, "accounted_photo_files", strays)
    missing &= _known_paths(database, "existing_photo_files", missing)
    missing = {filepath for filepath in missing if not files.has_crop(filepath)}
    return PhotoInventory(here, elsewhere, foreign, tuple(sorted(missing)), tuple(sorted(strays)))


def remove_strays(database: Database, files: PhotoFiles) -> list[str]:
    """Wait for running enrollments, then delete the files of this folder without a photo. Return their paths.

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


def _by_folder(
    connection: psycopg.Connection, files: PhotoFiles, prefix: dict[str, str]
) -> Iterator[tuple[set[str], set[str]]]:
    """Yield the paths in the rows and the paths on disk, for each of about 256 folders."""
    done: set[str] = set()
    with connection.cursor("photo_files", row_factory=scalar_row) as filepaths:
        filepaths.execute(queries()["photo_files_in_order"], prefix)
        for folder, in_rows in groupby(filepaths, key=os.path.dirname):
            done.add(folder)
            yield {filepath for filepath in in_rows if is_crop_path(filepath)}, files.crops_in(folder)
    for folder in files.folders() - done:
        yield set(), files.crops_in(folder)


def _known_paths(database: Database, query: str, filepaths: set[str]) -> set[str]:
    values = {"filepaths": list(filepaths)}
    return set(database.read(query, values, row_factory=scalar_row)) if filepaths else set()
