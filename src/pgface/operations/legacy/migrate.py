"""Migrate an old installation (SQLite and NPY): check it, write all or nothing, and verify the result."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pgface.database.errors import wrap_psycopg_errors
from pgface.database.pool import Database, initialise
from pgface.database.sql import queries
from pgface.errors import MigrationError
from pgface.faces.engines import load_engine
from pgface.faces.photo import PhotoLimits
from pgface.gallery.bulk import refresh_templates_of_load, vector_index_set_aside
from pgface.gallery.model import GalleryModel
from pgface.gallery.photos import PhotoFiles
from pgface.operations.legacy.dry_run import DryRun, try_migration
from pgface.operations.legacy.installation import OldInstallation
from pgface.operations.legacy.model_check import ModelCheck, check_model
from pgface.operations.legacy.photo_copies import PhotoCopies
from pgface.operations.legacy.photo_search import FoundPhotos, find_photos
from pgface.operations.legacy.plan import Counts, Plan, count_rows
from pgface.operations.legacy.verify import Verified, verify_rows, verify_search
from pgface.operations.legacy.write import OnRows, write
from pgface.settings import Settings
from pgface.text import counted


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """The result of a migration or of a dry run."""

    old_counts: Counts
    """The rows of the old files."""
    written_counts: Counts | None
    """The rows that were written, None for a dry run."""
    in_gallery: Counts | None
    """The rows of the gallery before, None if there was no gallery."""
    renamed_users: dict[int, int]
    """The new id of each old user whose id has changed."""
    linked_embeddings: int
    """The number of embeddings whose photo is known."""
    photo_files: int
    """The number of files that were copied, or would be."""
    missing_files: tuple[str, ...]
    unusable_files: tuple[str, ...]
    """Files that were not copied, because they are not photos or exceed a limit."""
    adopted_files: int
    """The number of photo files for rows that were in the gallery before."""
    copied_passwords: int
    """The number of hashes that were copied to users of the gallery without a password."""
    kept_passwords: tuple[str, ...]
    """Old users whose password was not copied, because the gallery has another one."""
    not_checked: str | None
    """What a dry run could not check, as a sentence."""
    left_out: tuple[str, ...]
    """Columns and tables that have no place in a gallery."""
    model: str
    model_check: ModelCheck | None
    """None without photo files."""
    verified: Verified | None
    """None for a dry run, and if nothing was new."""
    seconds_to_commit: float
    """The time of writing until the commit, 0 for a dry run."""
    seconds: float
    """The total time, with checks, index and verification."""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
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
        photos: the folder of the old photo files. Without it, none is copied and the model is not verified.
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
    if photos is not None and not photos.is_dir():
        raise MigrationError(f"{photos}: there is no such folder. Give the folder of the old photos.")
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
        return _dry_run_report(old, try_migration(old, settings, engine, found, merge=merge), model, check, began)
    initialise(settings)
    with Database.open(settings) as database:
        bound = GalleryModel(settings, database)
        bound.bind(model)
        migration = Migration(old, settings, database, PhotoFiles(settings.photos_dir, bound.config.id))
        migration.run(found, merge=merge, on_rows=on_rows)
        return migration.report(bound.config.model_name or model, check, began)


class Migration:
    """One migration into an open gallery."""

    def __init__(self, old: OldInstallation, settings: Settings, database: Database, files: PhotoFiles) -> None:
        self._old = old
        self._settings = settings
        self._database = database
        self._files = files

    def run(self, photos: FoundPhotos | None, *, merge: bool, on_rows: OnRows | None) -> None:
        """Write, verify and commit. Then build the index, and check that search finds the migrated embeddings."""
        with (
            self._database.dedicated_connection() as connection,
            vector_index_set_aside(
                connection,
                len(self._old.owners) if merge or count_rows(connection).nothing else 0,  # else nothing is written
                latency_target=self._settings.search_latency_target,
            ) as many,
        ):
            began = time.monotonic()
            with self._files.writing() as batch, wrap_psycopg_errors(), connection.transaction():
                self.copies = PhotoCopies(photos, batch, PhotoLimits.from_settings(self._settings))
                self.written = write(connection, self._old, self.copies, merge=merge, on_rows=on_rows)
                users = verify_rows(connection, self._old, self.written, self.written.plan.before)
                refresh_templates_of_load(connection, len(self.written.users), many=many)
            self.seconds_to_commit = time.monotonic() - began
        self.verified = None
        if not self.written.new.nothing:
            with self._database.dedicated_connection() as connection:
                connection.execute(queries()["vacuum_gallery"])
                self.verified = Verified(users, verify_search(connection, self._old, self.written))

    def report(self, model: str, check: ModelCheck | None, began: float) -> MigrationReport:
        """Give the report."""
        return MigrationReport(
            old_counts=_count_old(self._old),
            written_counts=self.written.new,
            in_gallery=self.written.plan.before,
            renamed_users=_renamed(self.written.plan),
            linked_embeddings=int((self._old.photo_of_each() > 0).sum()),
            photo_files=self.copies.copied,
            missing_files=tuple(self.copies.missing),
            unusable_files=tuple(self.copies.unusable),
            adopted_files=self.written.adopted_files,
            copied_passwords=len(self.written.plan.passwords),
            kept_passwords=self.written.plan.kept_passwords,
            not_checked=None,
            left_out=self._old.left_out,
            model=model,
            model_check=check,
            verified=self.verified,
            seconds_to_commit=self.seconds_to_commit,
            seconds=time.monotonic() - began,
        )


def _renamed(plan: Plan) -> dict[int, int]:
    return {old: new for old, new in plan.users.items() if old != new}


def _count_old(old: OldInstallation) -> Counts:
    return Counts(len(old.users), len(old.photos), len(old.tokens), len(old.owners))


def _refuse_problems(old: OldInstallation) -> None:
    if not old.problems:
        return
    more = len(old.problems) - 1
    also = f" There {'is' if more == 1 else 'are'} {counted(more, 'more problem')}." if more else ""
    raise MigrationError(f"{old.problems[0].summary}{also} Nothing was written.")


def _dry_run_report(
    old: OldInstallation, dry_run: DryRun, model: str, check: ModelCheck | None, began: float
) -> MigrationReport:
    plan, copies = dry_run.plan, dry_run.copies
    return MigrationReport(
        old_counts=_count_old(old),
        written_counts=None,
        in_gallery=None if plan is None else plan.before,
        renamed_users={} if plan is None else _renamed(plan),
        linked_embeddings=int((old.photo_of_each() > 0).sum()),
        photo_files=copies.copied,
        missing_files=tuple(copies.missing),
        unusable_files=tuple(copies.unusable),
        adopted_files=dry_run.adopted_files,
        copied_passwords=0 if plan is None else len(plan.passwords),
        kept_passwords=() if plan is None else plan.kept_passwords,
        not_checked=dry_run.not_checked,
        left_out=old.left_out,
        model=model,
        model_check=check,
        verified=None,
        seconds_to_commit=0.0,
        seconds=time.monotonic() - began,
    )
