"""Checks of the gallery: its embeddings, model, thresholds, indexes, photo files and passwords."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from psycopg.rows import scalar_row, tuple_row

from pgface.database.pool import Database
from pgface.database.sql import migrations, queries
from pgface.errors import (
    DatabaseError,
    ExecutionProviderError,
    ModelError,
    ModelMismatchError,
    SessionNeededError,
    SettingsError,
    StorageError,
    TableLockedError,
)
from pgface.faces.engines.agreement import FULL_AGREEMENT
from pgface.faces.engines.providers import CPU
from pgface.faces.engines.runtimes import OPENVINO, runtimes_of
from pgface.faces.models.registry import REGISTRY
from pgface.gallery import Gallery
from pgface.gallery.config import GalleryConfig, read_config
from pgface.gallery.model import GalleryModel
from pgface.gallery.photo_inventory import take_inventory
from pgface.gallery.photo_stores.base import FOLDER
from pgface.gallery.photo_stores.s3 import S3Store
from pgface.gallery.photos import PhotoFiles, require_photo_store
from pgface.gallery.users import UNUSABLE_PASSWORD
from pgface.operations.doctor.finding import Finding, Fix, advice, ok, problem
from pgface.search.fit import fit_search_if_due, refresh_templates
from pgface.search.state import read_search_state
from pgface.search.vector_index.advice import IndexAdvice, advise_indexes
from pgface.search.vector_index.lifecycle import vector_index_lock
from pgface.search.vector_index.status import read_index_status
from pgface.settings import Settings
from pgface.system.extras import how_to_install
from pgface.text import counted, runs_on
from pgface.thresholds import CALIBRATE_AGAIN, NOT_CALIBRATED, advise, history, was_calibrated

_MAX_LISTED = 3
_OPENVINO_IS_FASTER = platform.machine() in {"x86_64", "AMD64"} and sys.platform != "darwin"
"""Whether this is a machine of the kind that it was measured on, and it has a package for it."""
_LOCK_TIMEOUT = "3s"
_DELETION_IS_LATE = timedelta(hours=1)
"""Until then a backup may be running, or a store may be down for a moment."""


def schema_version(_: Database, __: Settings) -> Iterator[Finding]:
    """Report the schema's version. A gallery with any other version could not have been opened."""
    yield ok(f"The schema has version {migrations()[-1].version}, which this pgface needs.")


def locks(database: Database, _: Settings) -> Iterator[Finding]:
    """Check that no table is locked, because every other check would wait for it."""
    try:
        with database.transaction() as connection:
            connection.execute(queries()["limit_waiting"], {"time": _LOCK_TIMEOUT, "in_transaction": True})
            connection.execute(queries()["read_every_table"])
    except TableLockedError:
        found = "A table was locked."
        for process, table, program in database.read("who_locks_tables", row_factory=tuple_row):
            found = f"Process {process} ({program or 'unnamed'}) has locked {table}."
        yield problem(found, "Wait until the process ends. SELECT * FROM pg_stat_activity shows what it does.")
    except DatabaseError:
        return  # the check of tables and functions reports a missing table


def pooling(database: Database, settings: Settings) -> Iterator[Finding]:
    """Check that operations that need a dedicated connection can have one."""
    try:
        with database.dedicated_connection():
            by = "" if settings.direct_url is None else " through PGFACE_DIRECT_URL"
    except (SessionNeededError, SettingsError) as error:
        yield problem(str(error), "Set PGFACE_DIRECT_URL to this database on PostgreSQL itself.")
        return
    yield ok(f"Dedicated connections are available{by}.")


def sequences(database: Database, _: Settings) -> Iterator[Finding]:
    """Check that no sequence gives an id that is in use."""
    behind = database.read("sequences_behind_ids", row_factory=scalar_row)
    if not behind:
        yield ok("The next ids are free.")
        return
    yield problem(
        f"The next id of {', '.join(behind)} is in use already, so adding rows fails.",
        "pgface doctor --fix",
        _move_sequences,
    )


def _move_sequences(settings: Settings) -> None:
    with Database.open(settings) as database:
        database.execute("move_sequences_behind_ids")


def rows_of_deleted_users(database: Database, _: Settings) -> Iterator[Finding]:
    """Check that no rows belong to deleted users."""
    ((embeddings, photos, tokens),) = database.read("orphaned_rows", row_factory=tuple_row)
    if not embeddings + photos + tokens:
        yield ok("No rows belong to deleted users.")
        return
    yield problem(
        f"Rows of deleted users: {counted(embeddings, 'embedding')}, {counted(photos, 'photo')}, "
        f"{counted(tokens, 'token')}. Foreign keys were disabled when the users were deleted.",
        "In psql, for face_embeddings, photos and auth_tokens: "
        "DELETE FROM face_embeddings WHERE user_id NOT IN (SELECT id FROM users);",
    )


def storage(database: Database, _: Settings) -> Iterator[Finding]:
    """Check that embeddings are stored inline, in their rows."""
    ((in_rows, beside),) = database.read("embedding_storage", row_factory=tuple_row)
    if in_rows and not beside:
        yield ok("Embeddings are stored in their rows.")
        return
    found = f"{beside / 2**20:,.1f} MB of embeddings are" if beside else "New embeddings would be"
    yield problem(
        f"{found} stored outside of their rows, which makes exact search 4 to 6 times slower.",
        "pgface doctor --fix (It rewrites every embedding, and locks the gallery meanwhile.)",
        _store_in_rows,
    )


def _store_in_rows(settings: Settings) -> None:
    with Database.open(settings) as database, database.dedicated_connection() as connection:
        # New readers wait behind this lock, so it must not wait long for old ones.
        connection.execute(queries()["limit_waiting"], {"time": _LOCK_TIMEOUT, "in_transaction": False})
        connection.execute(queries()["store_embeddings_in_rows"])
        connection.execute(queries()["rewrite_embeddings"])


def model(database: Database, settings: Settings) -> Iterator[Finding]:
    """Check that the gallery's model is installed, with the weights that made the embeddings."""
    config = read_config(database)
    if config.model_name is None:
        yield problem("The gallery is not bound to a model.", "pgface init --model NAME")
        return
    yield from _unfinished_change(database)
    try:
        engine = GalleryModel(settings, database).engine
    except ExecutionProviderError:
        yield Finding("unknown", "The model was not loaded, for the reason that the check of the runtime gives.")
        return
    except (ModelError, ModelMismatchError) as error:
        known = REGISTRY.get(config.model_name)
        install = f"pgface models install {config.model_name}"
        install += "" if known else " --from FOLDER"
        install += "" if known and known.licence.commercial_use else " --accept-license"
        install += " --force" if isinstance(error, ModelMismatchError) else ""
        yield problem(str(error), install)
        return
    folder = settings.models_dir / config.model_name
    if folder.is_symlink():
        yield problem(
            f"The model is a link to {folder.resolve()}. If that folder moves, the model is missing.",
            f"pgface models install {config.model_name} --from {shlex.quote(str(folder.resolve()))} --accept-license",
        )
        return
    yield ok(f"{engine.identity.name} is installed, with the weights that made the embeddings.")


def _unfinished_change(database: Database) -> Iterator[Finding]:
    """Remind of new embeddings that wait, because they are biometric data."""
    with suppress(DatabaseError):  # only the owner may read them
        for new_model, waiting in database.read("select_reembedding", row_factory=tuple_row):
            if waiting:
                name, waits = new_model.get("name"), counted(waiting, "new embedding waits", "new embeddings wait")
                yield advice(
                    f"{waits} for a change to the model {name}.",
                    f"pgface reembed --model {name}, or pgface reembed --abort",
                )


def runtime(database: Database, settings: Settings) -> Iterator[Finding]:
    """Check that the fastest runtime embeds faces, and that a device embeds them as the CPU does."""
    try:
        model = GalleryModel(settings, database)
        found, provider = runtimes_of(model.engine), model.engine.execution_provider
    except ExecutionProviderError as error:
        yield problem(str(error), "Correct PGFACE_EXECUTION_PROVIDER, or set it to CPU.")
        return
    except (ModelError, ModelMismatchError):
        yield Finding("unknown", "The model cannot be used, as its own check says.")
        return
    agreement: float | None = getattr(model.engine, "agreement", None)
    if agreement is not None:
        yield from _device(found, agreement)
    elif provider != CPU or found["embedding"] == OPENVINO or not _OPENVINO_IS_FASTER:
        yield ok(f"What runs the model: {runs_on(found)}.")
    elif "because" in found["embedding"]:
        yield advice(f"Embeddings run on {found['embedding']}.", "pip uninstall openvino && pip install openvino")
    else:
        yield advice(
            "OpenVINO is not installed. With it, embedding a face took 0.66 to 0.75 × the processor time.",
            how_to_install("openvino").strip("`"),
        )


def _device(found: Mapping[str, str], agreement: float) -> Iterator[Finding]:
    says = f"What runs the model: {runs_on(found)}. A face's embedding has a similarity of {agreement:.6f} to the CPU's"
    if agreement >= FULL_AGREEMENT:
        yield ok(f"{says}.")
    else:
        yield advice(
            f"{says}, so the thresholds were measured with slightly different embeddings.",
            "Let the provider calculate with 32 bits, or calibrate on this machine.",
        )


def thresholds(database: Database, _: Settings) -> Iterator[Finding]:
    """Check that the thresholds were calibrated, and fit the number of people."""
    past = history(database)
    (people,) = database.read("count_enrolled_people", row_factory=scalar_row)
    config = read_config(database)
    advised = advise(config.identity, config.identify_threshold, past, people)
    if advised.due:
        yield problem(
            f"The threshold to identify is too low for {counted(people, 'person', 'people')}. "
            f"{advised.threshold:.4f} is advised for FPIR {advised.target:g}.",
            CALIBRATE_AGAIN,
        )
    elif not was_calibrated(past, config.model_name, config.weights_sha256):
        yield advice(*NOT_CALIBRATED)
    else:
        yield ok(f"The thresholds were calibrated, and fit {counted(people, 'person', 'people')}.")


def indexes(database: Database, _: Settings) -> Iterator[Finding]:
    """Check that the indexes are valid and useful."""
    (not_searched,) = database.read("count_users_not_searched", row_factory=scalar_row)
    if read_search_state(database).method != "exact" and not_searched:
        yield problem(
            f"Identification cannot find {counted(not_searched, 'user')}: they have embeddings but no template, "
            "because triggers were disabled when they were added.",
            "pgface doctor --fix",
            _note_not_searched,
        )
    advised = [one for one in advise_indexes(read_index_status(database)) if not _is_about_table(one)]
    yield from _advised(advised, "The indexes are valid and useful.")


def vacuum(database: Database, _: Settings) -> Iterator[Finding]:
    """Check that the table of embeddings needs neither a vacuum nor new statistics."""
    status = read_index_status(database)
    advised = [one for one in advise_indexes(status) if _is_about_table(one)]
    table = status.table
    last = "never vacuumed" if table.last_vacuum is None else f"last vacuumed {table.last_vacuum:%Y-%m-%d}"
    otherwise = f"The table of embeddings needs no vacuum: {counted(table.dead_rows, 'dead row')}, {last}."
    yield from _advised(advised, otherwise)


def _is_about_table(advice: IndexAdvice) -> bool:
    return advice.command.startswith(("VACUUM", "ANALYZE"))


def _advised(advised: Sequence[IndexAdvice], otherwise: str) -> Iterator[Finding]:
    if not advised:
        yield ok(otherwise)
    for one in advised:
        yield advice(one.sentence, one.command, _fix_by(one.command))


def _fix_by(command: str) -> Fix | None:
    """The fix that does the same as a command, or None if the command changes something that a user may have chosen."""
    if command == "pgface init":
        return _settle_indexes
    if command == "pgface fit-search":
        return _fit_search
    if command.startswith(("VACUUM", "ANALYZE")):
        return _vacuum
    return None


def _note_not_searched(settings: Settings) -> None:
    with Database.open(settings) as database:
        database.execute("note_users_not_searched")
        while refresh_templates(database):
            pass


def _settle_indexes(settings: Settings) -> None:
    """Do what `pgface init` does about indexes. The command itself could also bind the gallery to a model."""
    with (
        Database.open(settings) as database,
        database.dedicated_connection() as connection,
        vector_index_lock(connection),
    ):
        fit_search_if_due(connection, settings.search_latency_target)


def _fit_search(settings: Settings) -> None:
    with Gallery.open(settings) as gallery:
        gallery.fit_search()


def _vacuum(settings: Settings) -> None:
    with Database.open(settings) as database, database.dedicated_connection() as connection:
        connection.execute(queries()["vacuum_gallery"])


def photo_files(database: Database, settings: Settings) -> Iterator[Finding]:
    """Check that every photo of this machine has its crop, and every crop its photo, in each photo store."""
    config = read_config(database)
    try:
        require_photo_store(settings, config)
    except SettingsError as error:
        yield problem(str(error), f"Set PGFACE_PHOTO_STORE to {config.photo_store}, or move the photos.")
    files = PhotoFiles(settings, config, database)
    yield from _deleted_photos(database, files)
    try:
        found = take_inventory(database, files)
    except StorageError as error:
        yield problem(str(error), "Make the photo store available. Search still works.")
        return
    if found.missing:
        yield problem(
            f"Photos without their file: {len(found.missing):,} ({_first(found.missing)}). Search still works.",
            f"Copy {_where(settings, config)} back from a backup, or delete those photos: pgface photos delete ID",
        )
    if found.strays:
        yield problem(
            f"Face crops that belong to no photo: {len(found.strays):,} ({_first(found.strays)}).",
            "pgface photos strays (Add --delete to delete them.)",
        )
    if found.elsewhere:
        yield advice(
            f"The files of {counted(found.elsewhere, 'photo')} belong to another photos folder than "
            f"{settings.photos_dir}, on another machine or deleted.",
            "If the folder was on this machine, restore it from a backup, or set PGFACE_DATA_DIR to its place.",
        )
    if found.foreign:
        yield advice(
            f"{counted(found.foreign, 'photo names a file', 'photos name files')} that pgface did not write and "
            "does not manage.",
            "For files of an old installation, run pgface migrate with --photos.",
        )
    if not found.missing and not found.strays and not found.elsewhere and not found.foreign:
        where = "on this machine" if set(found.stored) <= {FOLDER} else f"in {', '.join(sorted(found.stored))}"
        yield ok(f"{counted(found.here, 'photo has its file', 'photos have their files')} {where}.")


def _where(settings: Settings, config: GalleryConfig) -> str:
    return str(settings.photos_dir) if config.photo_store == FOLDER else config.photo_store


def _deleted_photos(database: Database, files: PhotoFiles) -> Iterator[Finding]:
    """Remind of crops that should no longer exist, because they are biometric data."""
    with suppress(DatabaseError):  # this role may not read the list
        for number, since in database.read("count_deleted_photo_files", row_factory=tuple_row):
            if number:
                late = datetime.now(UTC) - since > _DELETION_IS_LATE
                yield (problem if late else advice)(
                    f"{counted(number, 'crop of a deleted photo is', 'crops of deleted photos are')} not deleted yet, "
                    f"since {since:%Y-%m-%d %H:%M}.",
                    "pgface doctor --fix (The log says why a crop could not be deleted.)",
                    _delete_crops,
                )
    for store in files.stores():
        if isinstance(store, S3Store):
            with suppress(StorageError):  # the comparison of photos and crops reports it
                if store.keeps_versions():
                    yield problem(
                        f"The bucket of {store.location} keeps versions, so deleted crops still exist.",
                        "Suspend versioning of the bucket, and delete the earlier versions.",
                    )


def _delete_crops(settings: Settings) -> None:
    with Database.open(settings) as database:
        PhotoFiles(settings, read_config(database), database).clean()


def passwords(database: Database, _: Settings) -> Iterator[Finding]:
    """Check that every user's password is hashed."""
    ids = database.read("users_with_readable_passwords", row_factory=scalar_row)
    if not ids:
        yield ok("All passwords are hashed or unset.")
        return
    marker, some = UNUSABLE_PASSWORD, ", ".join(map(str, ids[:_MAX_LISTED]))
    yield problem(
        f"Users whose password is not hashed, so that anyone who can read the table can use it: {len(ids):,} "
        f"(ids {_first(ids)}).",
        f"Ask these users for new passwords. Until then, set users.password to {marker!r} (WHERE id IN ({some}) ...).",
    )


def _first(found: Sequence[object]) -> str:
    return ", ".join(map(str, found[:_MAX_LISTED])) + (", ..." if len(found) > _MAX_LISTED else "")
