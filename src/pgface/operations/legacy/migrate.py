"""Migrates an old installation (SQLite and NPY): checks it, writes all or nothing, and verifies the result."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psycopg

from pgface.database.errors import wrap_psycopg_errors
from pgface.database.pool import Database, initialise
from pgface.database.sql import queries
from pgface.errors import MigrationError
from pgface.faces.engines import load_engine
from pgface.faces.models.registry import DLIB
from pgface.faces.photo import PhotoLimits
from pgface.gallery.bulk import refresh_templates_of_load, vector_index_set_aside
from pgface.gallery.config import GalleryConfig
from pgface.gallery.model import GalleryModel
from pgface.gallery.photos import PhotoFiles
from pgface.operations.legacy.dry_run import try_migration
from pgface.operations.legacy.installation import OldInstallation
from pgface.operations.legacy.model_check import ModelCheck, check_model
from pgface.operations.legacy.photo_copies import PhotoCopies
from pgface.operations.legacy.photo_search import FoundPhotos, find_photos
from pgface.operations.legacy.plan import Counts, Plan, count_rows
from pgface.operations.legacy.verify import Verified, verify_rows, verify_search
from pgface.operations.legacy.write import OnRows, Written, write
from pgface.settings import Settings
from pgface.text import counted


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """The result of a migration or of a dry run."""

    old_counts: Counts
    """The rows of the old files."""
    written_counts: Counts | None
    """The rows that were written. None for a dry run."""
    in_gallery: Counts | None
    """The rows of the gallery before the migration. None if there was no gallery."""
    renamed_users: dict[int, int]
    """The new id of each old user whose id has changed."""
    linked_embeddings: int
    """The number of embeddings whose photo is known."""
    photo_files: int
    """The number of files that were copied. For a dry run, the number that would be."""
    missing_files: tuple[str, ...]
    unusable_files: tuple[str, ...]
    """Files that were not copied, because they are not photos or exceed a limit."""
    adopted_files: int
    """The number of these files whose rows were in the gallery before."""
    copied_passwords: int
    """The number of hashes that were copied to users of the gallery without a password."""
    kept_passwords: tuple[str, ...]
    """Old users whose password was not copied, because the gallery has another one."""
    not_checked: str | None
    """A sentence about the checks that a dry run could not make."""
    left_out: tuple[str, ...]
    """Columns and tables that are not migrated, because a gallery has no such columns and tables."""
    model: str
    model_check: ModelCheck | None
    """None without photo files."""
    verified: Verified | None
    """None for a dry run, and if there were no new rows."""
    seconds_to_commit: float
    """The time from the first write to the commit. 0 for a dry run."""
    seconds: float
    """The total time, including checks, index and verification."""

    def to_json(self) -> dict[str, Any]:
        """Return values that `json.dumps` accepts."""
        return asdict(self)


def migrate(
    old: OldInstallation,
    settings: Settings,
    *,
    model: str,
    photos: Path | None = None,
    merge: bool = False,
    dry_run: bool = False,
    on_rows: OnRows | None = None,
) -> MigrationReport:
    """Migrate an old installation into the gallery, which is created if necessary. A second run changes nothing.

    Args:
        old: the result of `read_installation`.
        settings: the gallery.
        model: the name or folder of the model that made the embeddings.
        photos: the folder of the old photo files. None copies no file and does not verify the model.
        merge: whether the gallery may have rows already.
        dry_run: check everything and write nothing.
        on_rows: called with the progress.

    Raises:
        MigrationError: the old data has problems, another model made the embeddings, or the gallery is not empty.
        ModelError, ModelMismatchError: the model cannot be used, or the gallery is bound to another one.
        IndexNotBuiltError: everything is migrated, but the index could not be built.
        DatabaseError, StorageError: rows or files could not be written. Nothing was changed.

    """
    began = time.monotonic()
    _refuse_problems(old)
    if old.are_descriptors and model != DLIB.name:
        raise MigrationError(
            "The embeddings have 128 numbers, as the descriptors of dlib and of the package face_recognition have. "
            f"For those, give {DLIB.name} as `model`. If another model made them, enroll the photos with "
            "`pgface enroll --folder`."
        )
    if photos is not None and not photos.is_dir():
        raise MigrationError(f"{photos}: this folder does not exist. Give the folder of the old photos.")
    found = None if photos is None else find_photos(photos, old.photos)
    engine = load_engine(
        model,
        models_dir=settings.models_dir,
        detector_size=settings.detector_size,
        execution_provider=settings.execution_provider,
    )
    check = None
    if found is not None and len(old.owners):
        check = check_model(engine, old, found, PhotoLimits.from_settings(settings))
    if dry_run:
        tried = try_migration(old, settings, engine, found, merge=merge)
        return _report(old, tried.plan, tried.copies, tried.adopted_files, model, check, began, tried.not_checked)
    initialise(settings)
    with Database.open(settings) as database:
        bound = GalleryModel(settings, database)
        bound.bind(model)
        files = PhotoFiles(settings, bound.config, database)
        done = write_and_verify(old, settings, database, files, found, model=bound.config, merge=merge, on_rows=on_rows)
    report = _report(
        old, done.written.plan, done.copies, done.written.adopted_files, bound.config.model_name or model, check, began
    )
    return replace(
        report, written_counts=done.written.new, verified=done.verified, seconds_to_commit=done.seconds_to_commit
    )


@dataclass(frozen=True, slots=True, eq=False)
class Migrated:
    """The result of writing an old installation into a gallery."""

    written: Written
    copies: PhotoCopies
    verified: Verified | None
    """None if there were no new rows."""
    seconds_to_commit: float


def write_and_verify(
    old: OldInstallation,
    settings: Settings,
    database: Database,
    files: PhotoFiles,
    photos: FoundPhotos | None,
    *,
    model: GalleryConfig,
    merge: bool,
    on_rows: OnRows | None,
    within: Callable[[psycopg.Connection, Written], None] | None = None,
) -> Migrated:
    """Write and verify the rows in one transaction. Then build the index, and check that search finds the embeddings.

    `within` is called in the transaction, before it commits. If it raises an error, nothing is written.

    Raises:
        ModelMismatchError: the gallery has got another model since `model` was read.
        MigrationError: the gallery is not empty and `merge` is false, or the verification failed.
        IndexNotBuiltError: everything is written, but the index could not be built.
        DatabaseError, StorageError: rows or files could not be written. Nothing was changed.

    """
    with (
        database.dedicated_connection() as connection,
        vector_index_set_aside(
            connection,
            len(old.owners) if merge or count_rows(connection).nothing else 0,  # without merge, nothing can be written
            latency_target=settings.search_latency_target,
        ) as many,
    ):
        began = time.monotonic()
        with files.writing() as batch, wrap_psycopg_errors(), connection.transaction():
            connection.execute(queries()["lock_enrollment"])
            batch.join(connection)
            copies = PhotoCopies(photos, batch, PhotoLimits.from_settings(settings))
            written = write(connection, old, copies, merge=merge, on_rows=on_rows)
            # The locks of `write` make a change of the model wait.
            connection.execute(queries()["require_model"], {"model_changes": model.model_changes})
            users = verify_rows(connection, old, written)
            refresh_templates_of_load(connection, len(written.plan.users), many=many)
            if within is not None:
                within(connection, written)
        seconds_to_commit = time.monotonic() - began
    verified = None
    if not written.new.nothing:
        with database.dedicated_connection() as connection:
            connection.execute(queries()["vacuum_gallery"])
            verified = Verified(users, verify_search(connection, old, written))
    return Migrated(written, copies, verified, seconds_to_commit)


def _refuse_problems(old: OldInstallation) -> None:
    if not old.problems:
        return
    more = len(old.problems) - 1
    also = f" There {'is' if more == 1 else 'are'} {counted(more, 'more problem')}." if more else ""
    raise MigrationError(f"{old.problems[0].summary}{also} Nothing was written.")


def _report(
    old: OldInstallation,
    plan: Plan | None,
    copies: PhotoCopies,
    adopted_files: int,
    model: str,
    check: ModelCheck | None,
    began: float,
    not_checked: str | None = None,
) -> MigrationReport:
    """Return the report of a dry run, or the same part of the report of a migration."""
    return MigrationReport(
        old_counts=Counts(len(old.users), len(old.photos), len(old.tokens), len(old.owners)),
        written_counts=None,
        in_gallery=plan.before if plan else None,
        renamed_users={before: after for before, after in plan.users.items() if before != after} if plan else {},
        linked_embeddings=int((old.photo_of_each() > 0).sum()),
        photo_files=copies.copied,
        missing_files=tuple(copies.missing),
        unusable_files=tuple(copies.unusable),
        adopted_files=adopted_files,
        copied_passwords=len(plan.passwords) if plan else 0,
        kept_passwords=plan.kept_passwords if plan else (),
        not_checked=not_checked,
        left_out=old.left_out,
        model=model,
        model_check=check,
        verified=None,
        seconds_to_commit=0.0,
        seconds=time.monotonic() - began,
    )
