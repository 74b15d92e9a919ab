"""Write an archive of a gallery while it is in use."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import psycopg
from psycopg import errors as pg
from psycopg import sql
from psycopg.rows import dict_row
from pydantic_core import to_jsonable_python

from pgface.database.cluster import is_cluster, set_on_all_nodes
from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import GalleryError
from pgface.gallery.config import GalleryConfig, read_config
from pgface.gallery.photo_stores.base import is_crop_path
from pgface.gallery.photos import PhotoFiles
from pgface.operations.backup.archive import MISSING, PHOTOS, ArchiveWriter, writing
from pgface.operations.backup.atomic_file import atomic_file
from pgface.operations.backup.dump import dump_blocks
from pgface.operations.backup.manifest import GalleryFacts, Manifest, PhotoFacts, VectorIndex
from pgface.operations.backup.programs import Program, find_pg_dump
from pgface.operations.backup.tables import LOCKS, MIGRATIONS, NOT_KEPT, TABLES, count_rows
from pgface.settings import Settings

OnStep = Callable[[int, int], None]
"""Called with the number of finished steps, and the number of all steps."""

_BATCH_ROWS = 1_000
_MAX_MISSING_EXAMPLES = 1_000
_LOCK_TIMEOUT_SECONDS = 30
"""How long to wait for the end of another backup."""


@dataclass(frozen=True, slots=True)
class BackupReport:
    """The result of a backup."""

    file: Path
    size: int
    """The size of the archive in bytes."""
    encrypted: bool
    manifest: Manifest
    missing: tuple[str, ...]
    """Paths of missing photo files, at most 1,000 of them."""
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        values: dict[str, Any] = to_jsonable_python(self)
        return values


def back_up(
    settings: Settings,
    file: Path,
    *,
    embeddings_only: bool = False,
    passphrase: str | None = None,
    replace: bool = False,
    on_photos: OnStep | None = None,
) -> BackupReport:
    """Write the gallery's rows and crops to one archive, while others read and write.

    The archive has the crops as files, whichever photo store they are in. So it can be restored into any store.

    The archive is a snapshot of one moment. pg_dump and the list of photos see the same snapshot, and no photo file is
    deleted until the files are copied. Files of users who are deleted meanwhile are deleted when the backup ends.

    Args:
        settings: the gallery.
        file: the archive. Only its owner can read it, and it appears when it is complete.
        embeddings_only: write only the rows of `face_embeddings`.
        passphrase: encrypts the archive.
        replace: whether the file may exist already.
        on_photos: called with the progress of copying photo files.

    Raises:
        StorageError: the file exists, or a file cannot be written or read.
        PostgresProgramError: there is no pg_dump for this server, or it failed.
        ArchiveError: a passphrase was given, but pyrage is not installed.
        GalleryError: another backup of the gallery is running.
        DatabaseError: PostgreSQL failed.

    """
    began = time.monotonic()
    with Database.open(settings) as database, atomic_file(file, replace=replace) as stream:
        manifest, missing = _write(settings, database, stream, passphrase, on_photos, embeddings_only=embeddings_only)
        stream.flush()
        size = os.fstat(stream.fileno()).st_size
    return BackupReport(file, size, passphrase is not None, manifest, missing, time.monotonic() - began)


def _write(
    settings: Settings,
    database: Database,
    stream: BinaryIO,
    passphrase: str | None,
    on_photos: OnStep | None,
    *,
    embeddings_only: bool,
) -> tuple[Manifest, tuple[str, ...]]:
    """Write the archive. Returns its manifest, and examples of missing photo files."""
    moment = datetime.now(UTC).replace(microsecond=0)
    tables = ("face_embeddings",) if embeddings_only else TABLES
    photos: PhotoFacts | None = None
    missing: tuple[str, ...] = ()
    with (
        database.dedicated_connection() as keeper,
        _no_photo_files_deleted(keeper),
        database.dedicated_connection() as reader,
        _snapshot(reader) as snapshot,
    ):
        pg_dump = find_pg_dump(reader.info.server_version // 10_000, embedded=settings.database_url is None)
        with writing(stream, int(moment.timestamp()), passphrase) as archive:
            with _no_change_on_a_cluster(database):
                config = read_config(reader)
                counts = count_rows(reader, tables)
                dump = dump_blocks(
                    pg_dump,
                    database.direct_url,
                    schema_name=settings.schema_name,
                    snapshot=snapshot,
                    tables=tables if embeddings_only else None,
                    without_rows=NOT_KEPT,
                )
                archive.add_dump(dump)
            files = PhotoFiles(settings, config, database)
            if not embeddings_only:
                photos, missing = _copy_photos(reader, files, archive, counts["photos"], on_photos)
            manifest = _manifest(reader, moment, config, pg_dump, counts, photos)
            archive.finish(manifest)
    # Delete the files of users who were deleted meanwhile.
    with database.transaction() as connection:
        files.remove_deleted(connection)
    return manifest, missing


def _copy_photos(
    reader: psycopg.Connection, files: PhotoFiles, archive: ArchiveWriter, total: int, on_photos: OnStep | None
) -> tuple[PhotoFacts, tuple[str, ...]]:
    """Copy the photo files of the snapshot's rows, ordered by path. Returns examples of missing files, too."""
    counts: Counter[str] = Counter(files=0, size=0, missing=0, elsewhere=0)
    examples: list[str] = []
    with tempfile.TemporaryFile() as missing, reader.cursor("photo_paths") as cursor:
        cursor.itersize = _BATCH_ROWS
        cursor.execute(queries()["backup_photo_paths"])
        opened = files.open_each((filepath for (filepath,) in cursor), reader)
        for done, (filepath, stream) in enumerate(opened, start=1):
            # Another program may have written the row. The file of such a path must not end up in an archive.
            if not is_crop_path(filepath):
                counts["elsewhere"] += 1
            elif stream is None:
                counts["missing"] += 1
                missing.write(f"{filepath}\n".encode())
                if len(examples) < _MAX_MISSING_EXAMPLES:
                    examples.append(filepath)
            else:
                with stream:
                    size = stream.seek(0, os.SEEK_END)
                    stream.seek(0)
                    archive.add(f"{PHOTOS}{filepath}", size, stream)
                counts.update(files=1, size=size)
            if on_photos is not None:
                on_photos(done, total)
        if list_size := missing.tell():
            missing.seek(0)
            archive.add(MISSING, list_size, missing)
    return PhotoFacts(**counts), tuple(examples)


def _manifest(
    reader: psycopg.Connection,
    moment: datetime,
    config: GalleryConfig,
    pg_dump: Program,
    counts: dict[str, int],
    photos: PhotoFacts | None,
) -> Manifest:
    facts = _facts(reader)
    other_tables = set(facts.pop("tables")) - {*TABLES, *NOT_KEPT, MIGRATIONS, LOCKS}
    sequences = reader.execute(queries()["backup_sequences"], {"tables": list(counts)}).fetchall()
    return Manifest(
        format="pgface-backup",
        version=1,
        kind="embeddings" if photos is None else "gallery",
        made_at=moment,
        pgface=version("pgface"),
        pg_dump=pg_dump.version,
        gallery=GalleryFacts.model_validate(config, from_attributes=True),
        tables=counts,
        sequences=dict(sequences),
        other_tables=() if photos is None else tuple(sorted(other_tables)),
        vector_index=_vector_index(reader),
        photos=photos,
        **facts,
    )


@contextmanager
def _no_photo_files_deleted(connection: psycopg.Connection) -> Iterator[None]:
    """Prevent the deletion of photo files. Enter this before the snapshot, to keep the files of all of its rows."""
    with connection.transaction():
        connection.execute(queries()["never_idle_too_long"])
        set_on_all_nodes(connection, "lock_timeout", f"{_LOCK_TIMEOUT_SECONDS}s")
        try:
            connection.execute(queries()["hold_photo_files"])
        except pg.LockNotAvailable as error:
            raise GalleryError("Another backup of this gallery is running. Wait for its end.") from error
        yield


@contextmanager
def _no_change_on_a_cluster(database: Database) -> Iterator[None]:
    """Let changes of the tables wait, if the rows are on another node.

    A snapshot of the coordinator says nothing about the rows. So nothing may change until all sessions of a backup have
    read from the node for the first time.
    """
    with database.dedicated_connection() as connection, connection.transaction():
        if is_cluster(connection):
            tables = sql.SQL(", ").join(map(sql.Identifier, TABLES))
            connection.execute(queries()["never_idle_too_long"])
            connection.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(tables))
        yield


@contextmanager
def _snapshot(connection: psycopg.Connection) -> Iterator[str]:
    """Start a transaction with a snapshot of the gallery. Gives the snapshot's name, for pg_dump."""
    with connection.transaction():
        connection.execute(queries()["read_one_state"])
        row = connection.execute(queries()["export_snapshot"]).fetchone()
        assert row is not None  # noqa: S101 - it always has one row
        connection.execute(queries()["never_idle_too_long"])
        yield row[0]


def _facts(reader: psycopg.Connection) -> dict[str, Any]:
    with reader.cursor(row_factory=dict_row) as cursor:
        facts = cursor.execute(queries()["backup_facts"]).fetchone()
        version = cursor.execute(queries()["schema_version"]).fetchone()
    assert facts is not None and version is not None  # noqa: S101, PT018 - they always have one row
    return facts | version | {"postgresql": facts["postgresql"].partition(" ")[0]}


def _vector_index(reader: psycopg.Connection) -> VectorIndex | None:
    """Describe the index of the embeddings, None if it is the index of a new gallery."""
    with reader.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(queries()["backup_vector_index"]).fetchone()
    if found is None or found["method"] not in ("hnsw", "ivfflat"):
        return None
    options = {name: int(value) for name, _, value in (option.partition("=") for option in found["options"])}
    if (found["method"], found["operators"], options) == ("hnsw", "vector_cosine_ops", {}):
        return None
    return VectorIndex(method=found["method"], operators=found["operators"], options=options)
