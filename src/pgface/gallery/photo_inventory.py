"""Whether photos and their files belong together: which photos have no file, and which files no photo."""

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
    """Rows of `photos` beside the files of this photos folder."""

    here: int
    """Photos whose files belong to this folder."""
    elsewhere: int
    """Photos whose files belong to another one: another machine's, or one that is gone."""
    foreign: int
    """Photos whose path is none that pgface writes, so that it looks after no file of theirs."""
    missing: tuple[str, ...]
    """Paths of photos that have no file here, though they should."""
    strays: tuple[str, ...]
    """Paths of files here that no photo names."""


def take_inventory(database: Database, files: PhotoFiles) -> PhotoInventory:
    """Compare rows with files, while others go on; nothing is changed.

    Raises:
        DatabaseError: PostgreSQL could not be reached, or refused.
        StorageError: the folder cannot be read.

    """
    prefix = files.prefix_here
    missing: set[str] = set()
    strays: set[str] = set()
    with database.transaction() as connection:
        beginning = {"prefix": "none" if prefix is None else f"{prefix}/"}
        ((here, elsewhere, foreign),) = connection.execute(queries()["count_photo_files"], beginning)
        for named, there in _by_folder(connection, files, beginning) if prefix else ():
            missing |= named - there
            strays |= there - named
    # While they were compared, photos came and went.
    strays -= _known(database, "accounted_photo_files", strays)
    missing &= _known(database, "existing_photo_files", missing)
    missing = {filepath for filepath in missing if not files.has_crop(filepath)}
    return PhotoInventory(here, elsewhere, foreign, tuple(sorted(missing)), tuple(sorted(strays)))


def remove_strays(database: Database, files: PhotoFiles) -> list[str]:
    """Remove the files of this folder that no photo names, once enrollments under way have ended; returns their paths.

    Raises:
        GalleryError: a backup is copying the files.
        DatabaseError, StorageError: as for `take_inventory`; what was removed by then is gone.

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
    """What rows name and what is there, for one of some 256 folders after the other: a few thousand at a time."""
    done: set[str] = set()
    with connection.cursor("photo_files", row_factory=scalar_row) as filepaths:
        filepaths.execute(queries()["photo_files_in_order"], beginning)
        for folder, named in groupby(filepaths, key=os.path.dirname):
            done.add(folder)
            yield {filepath for filepath in named if is_crop_path(filepath)}, files.crops_in(folder)
    for folder in files.folders() - done:
        yield set(), files.crops_in(folder)


def _known(database: Database, query: str, filepaths: set[str]) -> set[str]:
    asked = {"filepaths": list(filepaths)}
    return set(database.read(query, asked, row_factory=scalar_row)) if filepaths else set()
