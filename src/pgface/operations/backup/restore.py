"""Restore an archive. It is checked from end to end first, then loaded in one transaction."""

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
from pgface.gallery.photo_stores.base import FOLDER, PhotoStore, RestoredCrops
from pgface.gallery.photo_stores.s3 import S3
from pgface.gallery.photos import PhotoFiles, photo_store
from pgface.operations.backup.archive import Verified, Visitor, read_archive
from pgface.operations.backup.check import AskPassphrase, pg_restore_of, verify
from pgface.operations.backup.dump import dumped_tables
from pgface.operations.backup.manifest import Manifest, VectorIndex
from pgface.operations.backup.tables import (
    TABLES,
    count_rows,
    first_with_rows,
    load,
    set_sequences,
    statement,
    without_constraints,
)
from pgface.search.fit import fit_search_if_due
from pgface.search.vector_index.lifecycle import OWN_DEFINITION, vector_index_lock
from pgface.settings import Settings

# Tables that must be empty before a restore.
_EMPTY_TABLES = ("users", "photos", "auth_tokens", "face_embeddings")
# Tables in which a new gallery already has rows, which the archive's rows replace.
_FILLED_AT_CREATION = tuple(table for table in TABLES if table not in (*_EMPTY_TABLES, "deleted_photo_files"))


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """The result of a restore."""

    verified: Verified
    gallery_id: uuid.UUID
    beside: str | None
    """The schema of another gallery with the archived id. If there is one, the restored gallery has a new id."""
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
    """Restore an archive into a new or empty gallery, whose schema may have another name.

    pgface's own migrations create tables, functions and triggers, and the archive only fills the tables. So nothing in
    an archive is executed. The gallery keeps the archived id, unless `copy` is true or another schema of the database
    has that id: two galleries with one id would share their photo files. The crops go into the store of the settings,
    or else into the archived gallery's store, and the paths of their rows are changed to that.

    Args:
        settings: the gallery to restore into.
        file: the archive.
        ask_passphrase: called if the archive is encrypted.
        copy: give the gallery a new id.
        in_place: keep the archived id although the photo store has crops of it, because their database is lost.

    Raises:
        ArchiveError, PassphraseError: as for `verify`. Nothing was changed.
        GalleryNotEmptyError: the gallery has users, or the photo store has crops of the archived gallery.
        ModelMismatchError: the archive has embeddings only, of another model than the gallery's.
        IndexNotBuiltError: everything is restored, but the search could not be fitted.
        DatabaseError, StorageError: rows or files could not be written. Nothing was changed.

    """
    began = time.monotonic()
    verified = verify(settings, file, ask_passphrase)
    manifest = verified.manifest
    newest = migrations()[-1].version
    if manifest.schema_version > newest:
        raise SchemaTooNewError(
            f"The archive has schema version {manifest.schema_version}, newer than the {newest} known here. "
            "Upgrade pgface."
        )
    with _storage_errors(file), _connection(settings, manifest) as connection:
        kind = _EmbeddingsRestore if manifest.kind == "embeddings" else _GalleryRestore
        restoring = kind(settings, connection, verified, copy=copy, in_place=in_place)
        with wrap_psycopg_errors(), connection.transaction(), restoring.files_discarded_on_error():
            restoring.prepare()
            restoring.finish(read_archive(file, ask_passphrase, restoring))
    _settle(settings, restoring)
    with Database.open(settings) as database:
        problem = GalleryModel(settings, database).problem()
    return RestoreReport(
        verified, restoring.gallery_id, restoring.beside, restoring.photo_files, problem, time.monotonic() - began
    )


class _Restore(Visitor):
    """One restore, in a transaction that the caller starts and commits."""

    tables: tuple[str, ...] = TABLES
    beside: str | None = None
    _files: RestoredCrops | None = None

    def __init__(
        self, settings: Settings, connection: psycopg.Connection, verified: Verified, *, copy: bool, in_place: bool
    ) -> None:
        self._settings = settings
        self._connection = connection
        self._verified = verified
        self._copy = copy
        self._in_place = in_place
        self._constraints = ExitStack()
        self.gallery_id = self.manifest.gallery.id
        self.photo_files = 0

    @property
    def manifest(self) -> Manifest:
        """The archive's manifest."""
        return self._verified.manifest

    @contextmanager
    def files_discarded_on_error(self) -> Iterator[None]:
        """Delete the restored files if the transaction is rolled back."""
        try:
            yield
        except BaseException:
            if self._files is not None:
                self._files.discard()
            raise
        finally:
            if self._files is not None:
                self._files.close()

    @abstractmethod
    def prepare(self) -> None:
        """Prepare the tables for the rows."""

    def dump(self, blocks: Iterator[bytes]) -> None:
        for table in dumped_tables(pg_restore_of(self._settings), blocks):
            if table.name in self.tables:
                load(self._connection, table)

    def photo(self, filepath: str, blocks: Iterator[bytes]) -> None:
        del blocks
        raise ArchiveError(f"The archive of embeddings only holds the photo file {filepath}.")

    def finish(self, read: Verified) -> None:
        """Check that everything was restored, and enable constraints again."""
        if read.sums_sha256 != self._verified.sums_sha256:
            raise ArchiveError("The archive was changed while it was restored. The gallery was not changed.")
        # An archive of an older schema does not have all tables. `verify` has checked that it has no unknown ones.
        if count_rows(self._connection, tuple(self.manifest.tables)) != self.manifest.tables:
            raise ArchiveError("The number of restored rows differs from the manifest. Nothing was changed.")

    def _require_empty(self, tables: Sequence[str]) -> None:
        if (table := first_with_rows(self._connection, tables)) is not None:
            raise GalleryNotEmptyError(
                f"The gallery in schema {self._settings.schema_name} is not empty ({table} has rows). "
                "Restore into a new or empty schema, which you choose with PGFACE_SCHEMA. Nothing was changed."
            )


class _GalleryRestore(_Restore):
    """The restore of a whole gallery."""

    _store: PhotoStore
    """Receives the crops."""

    def prepare(self) -> None:
        migrate(self._connection, self._settings.schema_name)
        self._connection.execute(queries()["lock_enrollment"])
        self._require_empty(_EMPTY_TABLES)
        new_id = read_config(self._connection).id
        self.beside = self._gallery_of_same_id()
        if self._copy or self.beside is not None:
            self.gallery_id = new_id
        self._prefixes: set[str] = set()
        self._deleted_files = [filepath for (filepath,) in self._connection.execute(queries()["take_deletion_notes"])]
        self._constraints.enter_context(without_constraints(self._connection, TABLES))
        for table in (*_FILLED_AT_CREATION, "photo_crops"):
            self._connection.execute(statement("delete_rows_of", table=table))

    def dump(self, blocks: Iterator[bytes]) -> None:
        super().dump(blocks)
        location = self._settings.photo_store or read_config(self._connection).photo_store
        self._store = photo_store(location, self.gallery_id, None, self._settings)
        keeps_id = self.gallery_id == self.manifest.gallery.id
        if keeps_id and not self._in_place and next(self._store.paths(self._connection), None) is not None:
            # Another database may still have that gallery, and deleting a photo in one would delete it in both.
            where = self._settings.photos_dir if location == FOLDER else location
            raise GalleryNotEmptyError(
                f"{where} has photo files of the archived gallery already. If their database is "
                "lost, add `in_place=True`. Otherwise add `copy=True` to restore a separate gallery, or set "
                f"{'PGFACE_DATA_DIR' if location == FOLDER else 'PGFACE_PHOTO_STORE'}. Nothing was changed."
            )

    def photo(self, filepath: str, blocks: Iterator[bytes]) -> None:
        if self._files is None:
            self._files = self._store.restoring(self._connection)
        prefix, _, name = filepath.rsplit("/", 2)
        self._prefixes.add(prefix)
        self._files.add(name, blocks)
        self.photo_files += 1

    def finish(self, read: Verified) -> None:
        super().finish(read)
        connection = self._connection
        if read_config(connection).id != self.manifest.gallery.id:
            raise ArchiveError("The archive's gallery has another id than its manifest says. Nothing was changed.")
        if self.gallery_id != self.manifest.gallery.id:
            connection.execute(queries()["set_gallery_id"], {"id": self.gallery_id})
            connection.execute(queries()["take_deletion_notes"])  # notes about files of the other gallery
        self._record_store()
        own_prefix = self._store.prefix if self._prefixes else ""
        for prefix in self._prefixes - {own_prefix}:
            connection.execute(queries()["move_photo_paths"], {"prefix": prefix, "into": own_prefix})
        self._constraints.close()
        set_sequences(connection, self.manifest.sequences)
        connection.execute(queries()["suspend_index_search"])
        for migration in migrations():
            # Newer migrations update the archive's older rows. Each migration can run again safely.
            if migration.version > self.manifest.schema_version:
                connection.execute(migration.sql)
        connection.execute(queries()["add_deletion_notes"], {"filepaths": self._deleted_files})
        connection.execute(queries()["delete_notes_of_restored"])
        self._delete_notes_of_gallery()
        if self._files is not None:
            self._files.sync()

    def _delete_notes_of_gallery(self) -> None:
        """Delete notes about a deleted gallery of this id, or the clean-up would delete the restored crops."""
        ending = {"ending": f"/{self.gallery_id}/"}
        for (schema,) in self._connection.execute(queries()["notes_beside"]).fetchall():
            self._connection.execute(statement("delete_notes_of_gallery", schema=schema), ending)

    def _record_store(self) -> None:
        """Record the store of the restored crops. `in_place` also keeps the archived stores, which may have crops.

        Otherwise the archived gallery may still exist. Its crops have no rows here, and must not be deleted as strays.
        """
        archived = read_config(self._connection)
        places = {archived.photo_store, *archived.former_photo_stores} - {self._store.location}
        owns_places = self._in_place and self.gallery_id == self.manifest.gallery.id
        former = sorted(location for location in places if owns_places and location.startswith(S3))
        values = {"location": self._store.location, "former": former}
        self._connection.execute(queries()["set_restored_photo_store"], values)

    def _gallery_of_same_id(self) -> str | None:
        for (schema,) in self._connection.execute(queries()["galleries_beside"]).fetchall():
            found = self._connection.execute(statement("gallery_id_of", schema=schema)).fetchall()
            if (self.manifest.gallery.id,) in found:
                return str(schema)
        return None


class _EmbeddingsRestore(_Restore):
    """The restore of embeddings only, into a gallery that has their users and photos."""

    tables = ("face_embeddings",)

    def prepare(self) -> None:
        config = read_config(self._connection)
        if config.identity != self.manifest.gallery.identity:
            raise ModelMismatchError(
                f"The archive's embeddings were made by {self.manifest.gallery.model_name or 'no model'} and the "
                f"gallery is bound to {config.model_name or 'none'}, or to other weights of it. Such embeddings "
                "cannot be compared. Nothing was changed."
            )
        self.gallery_id = config.id
        self._constraints.enter_context(without_constraints(self._connection, self.tables))
        self._require_empty(self.tables)

    def finish(self, read: Verified) -> None:
        super().finish(read)
        try:
            self._constraints.close()
        except pg.ForeignKeyViolation as error:
            raise GalleryError(
                "The users or photos that the archive's embeddings belong to are not all in this gallery. Restore a "
                "whole archive instead. Nothing was changed."
            ) from error
        set_sequences(self._connection, self.manifest.sequences)
        self._connection.execute(queries()["suspend_index_search"])
        self._connection.execute(queries()["note_all_stale"])


@contextmanager
def _storage_errors(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{file} could not be restored ({error.strerror or error}). Check the disk's free space. "
            "Nothing was changed."
        ) from error


@contextmanager
def _connection(settings: Settings, manifest: Manifest) -> Iterator[psycopg.Connection]:
    """Connect to the gallery. It must already exist if the archive has embeddings only."""
    if manifest.kind == "embeddings":
        with Database.open(settings) as database, database.dedicated_connection() as connection:
            yield connection
    else:
        with connected(settings, session=True) as connection:
            yield connection


def _settle(settings: Settings, restoring: _Restore) -> None:
    """Move the files to their final places, vacuum the tables, and fit the search."""
    with Database.open(settings) as database:
        with database.transaction() as connection:
            PhotoFiles(settings, read_config(connection), database).settle(connection)
        try:
            with database.dedicated_connection() as connection, vector_index_lock(connection):
                for table in restoring.tables:
                    connection.execute(statement("vacuum_table", table=table))
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
