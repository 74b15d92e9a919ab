"""A migration that stops before it would write: every check, on a gallery that is only looked at."""

from __future__ import annotations

from dataclasses import dataclass

from pgface.database.embedded.server import EmbeddedPostgres
from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import SchemaMissingError
from pgface.faces.engine import Engine
from pgface.faces.photo import PhotoLimits
from pgface.gallery.model import GalleryModel
from pgface.operations.legacy.installation import OldInstallation
from pgface.operations.legacy.photo_copies import PhotoCopies
from pgface.operations.legacy.photo_search import FoundPhotos
from pgface.operations.legacy.plan import Plan, make_plan, refuse_unasked_merge
from pgface.settings import Settings


@dataclass(frozen=True, slots=True, eq=False)
class DryRun:
    """What a migration would do."""

    plan: Plan | None
    """None where there is no gallery to look at."""
    copies: PhotoCopies
    adopted_files: int
    not_checked: str | None


def try_migration(
    old: OldInstallation, settings: Settings, engine: Engine, found: FoundPhotos | None, *, merge: bool
) -> DryRun:
    """Make the checks that a migration makes before it writes; nothing is made, started for the first time or changed.

    Raises:
        MigrationError: the gallery is not empty, and nothing was said of merging.
        ModelMismatchError: it is bound to another model.
        DatabaseError: it cannot be reached.

    """
    plan, not_checked = _look(old, settings, engine, merge=merge)
    copies = PhotoCopies(found, None, PhotoLimits.from_settings(settings))
    for photo in old.photos if plan is None else plan.new_photos:
        copies.copy(photo)
    of_new_rows = copies.copied
    for photo in () if plan is None else plan.old_paths:
        copies.copy(photo)
    return DryRun(plan, copies, copies.copied - of_new_rows, not_checked)


def _look(old: OldInstallation, settings: Settings, engine: Engine, *, merge: bool) -> tuple[Plan | None, str | None]:
    if settings.database_url is None and not EmbeddedPostgres(settings.postgres_dir).is_made():
        return None, (
            "There is no database yet (the migration makes the embedded one, in PGFACE_DATA_DIR), so whether it takes "
            "the old rows was not checked."
        )
    try:
        with Database.open(settings) as database:
            GalleryModel(settings, database, engine)
            with database.dedicated_connection() as connection, connection.transaction():
                connection.execute(queries()["read_one_state"])
                plan = make_plan(connection, old)
                if not merge:
                    refuse_unasked_merge(connection, old, plan)
                return plan, None
    except SchemaMissingError as error:
        why = str(error).partition(";")[0]
        return None, f"{why}: whether the migration can make it or bring it up to date was not checked."
