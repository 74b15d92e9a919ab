"""Whether photos and their files match: photos without a file, and files without a photo."""

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
    """The rows of `photos`, compared with the files of this photos folder."""

    here: int
    """Photos whose files belong to this folder."""
    elsewhere: int
    """Photos whose files belong to another folder, on another machine or deleted."""
    foreign: int
    """Photos with a path that pgface does not write. pgface manages no file for them."""
    missing: tuple[str, ...]
    """Paths of photos whose files should be in this folder, but are not."""
    strays: tuple[str, ...]
    """Paths of files in this folder that no photo names."""


def take_inventory(database: Database, files: PhotoFiles) -> PhotoInventory:
    """Compare rows with files, without a lock and without a change.

    Raises:
        DatabaseError: PostgreSQL cannot be reached, or refuses access.
        StorageError: the folder cannot be read.

    """
    prefix = files.existing_prefix
    missing: set[str] = set()
    strays: set[str] = set()
    with database.transaction() as connection:
        beginning = {"prefix": "none" if prefix is None else f"{prefix}/"}
        ((here, elsewhere, foreign),) = connection.execute(queries()["count_photo_files"], beginning)
        for named, there in _by_folder(connection, files, beginning) if prefix else ():
            missing |= named - there
            strays |= there - named
    # Photos may have been added and deleted during the comparison.
    strays -= _known(database, "accounted_photo_files", strays)
    missing &= _known(database, "existing_photo_files", missing)
    missing = {filepath for filepath in missing if not files.has_crop(filepath)}
    return PhotoInventory(here, elsewhere, foreign, tuple(sorted(missing)), tuple(sorted(strays)))


def remove_strays(database: Database, files: PhotoFiles) -> list[str]:
    """Delete the files of this folder that no photo names, after running enrollments have ended. Return their paths.

    Raises:
        GalleryError: a backup is copying the files.
        DatabaseError, StorageError: as for `take_inventory`. Files deleted so far stay deleted.

    """
    found = take_inventory(database, files).strays
    with database.transaction() as connection:
        files.settle(connection)
        strays = sorted(set(found) - _known(database, "accounted_photo_files", set(found)))
        files.remove_strays(connection, strays)
    return strays


def _by_folder(
    connection: psycopg.Connection, files: PhotoFiles, beginning: dict[str, str]
) -> Iterator[tuple[set[str], set[str]]]:
    """Yield the paths in the rows and the paths on disk, for one of about 256 folders after the other."""
    done: set[str] = set()
    with connection.cursor("photo_files", row_factory=scalar_row) as filepaths:
        filepaths.execute(queries()["photo_files_in_order"], beginning)
        for folder, named in groupby(filepaths, key=os.path.dirname):
            done.add(folder)
            yield {filepath for filepath in named if is_crop_path(filepath)}, files.crops_in(folder)
    for folder in files.folders() - done:
        yield set(), files.crops_in(folder)


def _known(database: Database, query: str, filepaths: set[str]) -> set[str]:
    values = {"filepaths": list(filepaths)}
    return set(database.read(query, values, row_factory=scalar_row)) if filepaths else set()
