"""Restoring an archive: checked from end to end first, then everything in one transaction, or nothing."""

from __future__ import annotations

import time
import uuid
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg import sql

from pgface.database.errors import wrap_psycopg_errors
from pgface.database.migrate import migrate
from pgface.database.pool import Database, connected
from pgface.database.sql import migrations, queries
from pgface.errors import (
    ArchiveError,
    GalleryError,
    GalleryNotEmptyError,
    IndexNotBuiltError,
    ModelMismatchError,
    PgfaceError,
    SchemaTooNewError,
    StorageError,
)
from pgface.gallery.config import read_config
from pgface.gallery.model import GalleryModel
from pgface.gallery.photos import PhotoFiles, RestoredFiles
from pgface.operations.backup.archive import Read, Visitor, read_archive
from pgface.operations.backup.check import AskPassphrase, Verified, pg_restore_of, verify
from pgface.operations.backup.dump import dumped_tables
from pgface.operations.backup.manifest import Manifest, VectorIndex
from pgface.operations.backup.tables import (
    TABLES,
    count_rows,
    first_with_rows,
    laid_bare,
    load,
    set_sequences,
    statement,
)
from pgface.search import fit_search_if_due
from pgface.search.vector_index.lifecycle import OWN_DEFINITION, vector_index_lock
from pgface.settings import Settings

# What must be empty before, and what of a new gallery gives way.
_PEOPLE = ("users", "photos", "auth_tokens", "face_embeddings")
_MADE_WITH_THE_GALLERY = tuple(table for table in TABLES if table not in (*_PEOPLE, "deleted_photo_files"))


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """An archive that was restored."""

    verified: Verified
    gallery_id: uuid.UUID
    beside: str | None
    """The schema of a gallery that has the archived id, because of which this one has an id of its own."""
    photo_files: int
    model_problem: str | None
    """Why the gallery's model cannot be used on this machine, and what to do."""
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return self.verified.to_json() | {
            "gallery_id": str(self.gallery_id),
            "beside": self.beside,
            "photo_files": self.photo_files,
            "model_problem": self.model_problem,
            "seconds": self.seconds,
        }


def restore(
    settings: Settings, file: Path, ask_passphrase: AskPassphrase, *, copy: bool = False, in_place: bool = False
) -> RestoreReport:
    """Restore an archive into an empty gallery, or where there is none; its schema may have another name.

    Tables, functions and triggers are made by pgface's own migrations and filled with the archive's rows, so nothing in
    an archive is executed. The gallery keeps the archived id. It gets one of its own as a copy, that is if it is asked
    for, or if another schema of the database holds the gallery: two galleries of one id would share their photo files.
    Photo files go into this machine's photos folder, and the paths of their rows lead there.

    Args:
        settings: where it goes.
        file: the archive.
        ask_passphrase: called if it is encrypted.
        copy: give the gallery an id of its own.
        in_place: keep the archived id though this machine's photos folder holds files of it, because the database that
            they belonged to is gone.

    Raises:
        ArchiveError, PassphraseError: as for `verify`; nothing was touched.
        GalleryNotEmptyError: somebody is enrolled already, or the photos folder has files of the archived gallery.
        ModelMismatchError: embeddings alone, for a gallery of another model.
        IndexNotBuiltError: everything is restored, and the search could not be fitted.
        DatabaseError, StorageError: it could not be written; nothing was.

    """
    began = time.monotonic()
    verified = verify(settings, file, ask_passphrase)
    manifest = verified.manifest
    newest = migrations()[-1].version
    if manifest.schema_version > newest:
        raise SchemaTooNewError(
            f"The archive has schema version {manifest.schema_version}, newer than the {newest} known here; "
            "upgrade pgface."
        )
    with _stored(file), _connection(settings, manifest) as connection:
        kind = _Embeddings if manifest.kind == "embeddings" else _Gallery
        restoring = kind(settings, connection, verified, copy=copy, in_place=in_place)
        with wrap_psycopg_errors(), connection.transaction(), restoring.undone_on_error():
            restoring.prepare()
            restoring.finish(read_archive(file, ask_passphrase, restoring))
    _settle(settings, restoring)
    with Database.open(settings) as database:
        problem = GalleryModel(settings, database).problem()
    return RestoreReport(
        verified, restoring.gallery_id, restoring.beside, restoring.photo_files, problem, time.monotonic() - began
    )


class _Restoring(Visitor):
    """One restore, in a transaction that the caller begins and commits."""

    tables: tuple[str, ...] = TABLES
    beside: str | None = None

    def __init__(
        self, settings: Settings, connection: psycopg.Connection, verified: Verified, *, copy: bool, in_place: bool
    ) -> None:
        self._settings = settings
        self._connection = connection
        self._verified = verified
        self._copy = copy
        self._in_place = in_place
        self._bare = ExitStack()
        self.gallery_id = self.manifest.gallery.id
        self.photo_files = 0

    @property
    def manifest(self) -> Manifest:
        """The archive's."""
        return self._verified.manifest

    @contextmanager
    def undone_on_error(self) -> Iterator[None]:
        """Leave nothing outside of the database when the transaction is going to be undone."""
        yield

    @abstractmethod
    def prepare(self) -> None:
        """Make the tables ready to be filled."""

    def dump(self, blocks: Iterator[bytes]) -> None:
        for table in dumped_tables(pg_restore_of(self._settings), blocks):
            if table.name in self.tables:
                load(self._connection, table)

    def photo(self, filepath: str, blocks: Iterator[bytes]) -> None:
        del blocks
        raise ArchiveError(f"The archive of embeddings alone holds the photo file {filepath}.")

    def finish(self, read: Read) -> None:
        """See that everything is there, and make it whole."""
        if read.sums_sha256 != self._verified.sums_sha256:
            raise ArchiveError("The archive was changed while it was restored; nothing was changed in the gallery.")
        # An archive of an older schema does not know all tables; `verify` has seen that it knows no others.
        if count_rows(self._connection, tuple(self.manifest.tables)) != self.manifest.tables:
            raise ArchiveError("The restored rows are not as many as the manifest says; nothing was changed.")

    def _require_empty(self, tables: Sequence[str]) -> None:
        if (table := first_with_rows(self._connection, tables)) is not None:
            raise GalleryNotEmptyError(
                f"The gallery in schema {self._settings.schema_name} is not empty ({table} has rows); an archive is "
                "restored into an empty gallery, or where there is none: choose another one with PGFACE_SCHEMA. "
                "Nothing was changed."
            )


class _Gallery(_Restoring):
    """All of a gallery."""

    _files: RestoredFiles | None = None

    def prepare(self) -> None:
        migrate(self._connection, self._settings.schema_name)
        self._connection.execute(queries()["lock_enrollment"])
        self._require_empty(_PEOPLE)
        own = read_config(self._connection).id
        self.beside = self._gallery_of_same_id()
        if self._copy or self.beside is not None:
            self.gallery_id = own
        elif not self._in_place and PhotoFiles(self._settings.photos_dir, self.gallery_id).has_any():
            # Another database may still hold that gallery, and what is erased in one would be gone in both.
            raise GalleryNotEmptyError(
                f"{self._settings.photos_dir} has photo files of the archived gallery already. If the database that "
                "they belong to is gone, add --in-place; if not, --copy restores a gallery of its own, or set "
                "PGFACE_DATA_DIR. Nothing was changed."
            )
        self._prefixes: set[str] = set()
        self._notes = [filepath for (filepath,) in self._connection.execute(queries()["take_deletion_notes"])]
        self._bare.enter_context(laid_bare(self._connection, TABLES))
        for table in _MADE_WITH_THE_GALLERY:
            self._connection.execute(statement("delete_rows_of", table=sql.Identifier(table)))

    def photo(self, filepath: str, blocks: Iterator[bytes]) -> None:
        if self._files is None:
            self._files = RestoredFiles(self._settings.photos_dir, self.gallery_id)
        prefix, _, name = filepath.rsplit("/", 2)
        self._prefixes.add(prefix)
        self._files.add(name, blocks)
        self.photo_files += 1

    def finish(self, read: Read) -> None:
        super().finish(read)
        connection = self._connection
        if read_config(connection).id != self.manifest.gallery.id:
            raise ArchiveError("The archive's gallery has another id than its manifest says; nothing was changed.")
        if self.gallery_id != self.manifest.gallery.id:
            connection.execute(queries()["set_gallery_id"], {"id": self.gallery_id})
            connection.execute(queries()["take_deletion_notes"])  # about the other gallery's files
        own_prefix = PhotoFiles(self._settings.photos_dir, self.gallery_id).prefix if self._prefixes else ""
        for prefix in self._prefixes - {own_prefix}:
            connection.execute(queries()["move_photo_paths"], {"prefix": prefix, "into": own_prefix})
        self._bare.close()
        set_sequences(connection, self.manifest.sequences)
        connection.execute(queries()["suspend_first_look"])
        for migration in migrations():
            # What it did to the rows of its time, and each can be run again without harm.
            if migration.version > self.manifest.schema_version:
                connection.execute(migration.sql)
        connection.execute(queries()["add_deletion_notes"], {"filepaths": self._notes})
        connection.execute(queries()["forget_notes_of_restored"])
        if self._files is not None:
            self._files.sync()

    @contextmanager
    def undone_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            if self._files is not None:
                self._files.discard()
            raise
        finally:
            if self._files is not None:
                self._files.close()

    def _gallery_of_same_id(self) -> str | None:
        for (schema,) in self._connection.execute(queries()["galleries_beside"]).fetchall():
            found = self._connection.execute(statement("gallery_id_of", schema=sql.Identifier(schema))).fetchall()
            if (self.manifest.gallery.id,) in found:
                return str(schema)
        return None


class _Embeddings(_Restoring):
    """The rows of `face_embeddings` alone, for a gallery that has their users and photos."""

    tables = ("face_embeddings",)

    def prepare(self) -> None:
        config = read_config(self._connection)
        if config.identity != self.manifest.gallery.identity:
            raise ModelMismatchError(
                f"The archive's embeddings were made by {self.manifest.gallery.model_name or 'no model'} and the "
                f"gallery is bound to {config.model_name or 'none'}, or to other weights of it; they cannot be "
                "compared. Nothing was changed."
            )
        self.gallery_id = config.id
        self._bare.enter_context(laid_bare(self._connection, self.tables))
        self._require_empty(self.tables)

    def finish(self, read: Read) -> None:
        super().finish(read)
        try:
            self._bare.close()
        except pg.ForeignKeyViolation as error:
            raise GalleryError(
                "The users or photos that the archive's embeddings belong to are not all in this gallery; restore a "
                "whole archive instead. Nothing was changed."
            ) from error
        set_sequences(self._connection, self.manifest.sequences)
        self._connection.execute(queries()["suspend_first_look"])
        self._connection.execute(queries()["note_all_stale"])


@contextmanager
def _stored(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{file} could not be restored ({error.strerror or error}); check the disk's free space. "
            "Nothing was changed."
        ) from error


@contextmanager
def _connection(settings: Settings, manifest: Manifest) -> Iterator[psycopg.Connection]:
    """A connection to the gallery, which only embeddings alone need to be there."""
    with ExitStack() as resources:
        if manifest.kind == "embeddings":
            database = resources.enter_context(Database.open(settings))
            connection = resources.enter_context(database.dedicated_connection())
        else:
            connection = resources.enter_context(connected(settings, session=True))
        yield connection


def _settle(settings: Settings, restoring: _Restoring) -> None:
    """Move the files to their places, and have the search fitted and the tables vacuumed."""
    with Database.open(settings) as database:
        with database.transaction() as connection:
            PhotoFiles(settings.photos_dir, restoring.gallery_id).settle(connection)
        try:
            with database.dedicated_connection() as connection, vector_index_lock(connection):
                for table in restoring.tables:
                    connection.execute(statement("vacuum_table", table=sql.Identifier(table)))
                definition = _definition(restoring.manifest.vector_index)
                fit_search_if_due(connection, settings.search_latency_target, index_definition=definition)
        except PgfaceError as error:
            raise IndexNotBuiltError from error


def _definition(index: VectorIndex | None) -> str:
    if index is None:
        return OWN_DEFINITION
    options = sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(value)) for name, value in index.options.items()
    )
    definition = sql.SQL("CREATE INDEX idx_embeddings_vector ON face_embeddings USING {} (embedding {}){}").format(
        sql.Identifier(index.method),
        sql.Identifier(index.operators),
        sql.SQL(" WITH ({})").format(options) if index.options else sql.SQL(""),
    )
    return definition.as_string(None)
