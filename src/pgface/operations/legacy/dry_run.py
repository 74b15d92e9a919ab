"""Makes every check of a migration without changing the gallery."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pgface.database.embedded.server import EmbeddedPostgres
from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import SchemaMissingError
from pgface.faces.engines.base import Engine
from pgface.faces.photo import PhotoLimits
from pgface.gallery.model import GalleryModel
from pgface.operations.legacy.installation import OldInstallation
from pgface.operations.legacy.photo_copies import PhotoCopies
from pgface.operations.legacy.photo_search import FoundPhotos
from pgface.operations.legacy.plan import Plan, make_plan, require_merge_or_empty_gallery
from pgface.settings import Settings


@dataclass(frozen=True, slots=True, eq=False)
class DryRun:
    """The result of a dry run."""

    plan: Plan | None
    """None if there is no gallery yet."""
    copies: PhotoCopies
    adopted_files: int
    """The number of photo files that would be copied for existing rows."""
    not_checked: str | None
    """A sentence about the checks that could not be made."""


def try_migration(
    old: OldInstallation, settings: Settings, engine: Engine, found: FoundPhotos | None, *, merge: bool
) -> DryRun:
    """Make the checks that a migration makes before it writes.

    Raises:
        MigrationError: the gallery is not empty, and `merge` is false.
        ModelMismatchError: the gallery is bound to another model.
        DatabaseError: PostgreSQL cannot be reached.

    """
    plan, not_checked = _plan(old, settings, engine, merge=merge)
    copies = PhotoCopies(found, None, PhotoLimits.from_settings(settings))
    for photo in old.photos if plan is None else plan.new_photos:
        copies.copy(photo)
    copied_for_new_rows = copies.copied
    for photo in () if plan is None else plan.old_paths:
        copies.copy(photo)
    return DryRun(plan, copies, copies.copied - copied_for_new_rows, not_checked)


def _plan(old: OldInstallation, settings: Settings, engine: Engine, *, merge: bool) -> tuple[Plan | None, str | None]:
    if settings.database_url is None and not EmbeddedPostgres(settings.postgres_dir).is_made():
        return None, (
            "There is no database yet (the migration creates the embedded one, in PGFACE_DATA_DIR), so it was not "
            "checked whether the old rows fit into it."
        )
    try:
        with Database.open(settings) as database:
            GalleryModel(settings, database, engine)
            with database.dedicated_connection() as connection, connection.transaction():
                connection.execute(queries()["read_one_state"])
                plan = make_plan(connection, old)
                if not merge:
                    require_merge_or_empty_gallery(connection, old, plan)
                return plan, None
    except SchemaMissingError as error:
        why = re.split(r"[;.] ", str(error), maxsplit=1)[0]
        return None, f"{why}, so it was not checked whether the migration can create or upgrade it."
