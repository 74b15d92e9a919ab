"""What is in the gallery: its embeddings, model, thresholds, indexes, photo files and passwords."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from psycopg.rows import scalar_row, tuple_row

from pgface.binding import GalleryModel, read_binding
from pgface.doctor.finding import Finding, Fix, fine
from pgface.errors import ModelError, ModelMismatchError, SessionNeededError, SettingsError
from pgface.evaluation.advice import advise
from pgface.evaluation.calibration import history
from pgface.gallery import Gallery
from pgface.index import read_index_status
from pgface.index.advice import IndexAdvice, advise_indexes
from pgface.people import UNUSABLE_PASSWORD
from pgface.photo_files import PhotoFiles
from pgface.photo_inventory import take_inventory
from pgface.postgres.database import Database
from pgface.schema import migrations, queries
from pgface.settings import Settings

_SHOWN = 3


def schema_version(_: Database, __: Settings) -> Iterator[Finding]:
    """The schema is the one that this program knows, or the gallery could not have been opened."""
    yield fine("schema version", f"It is {migrations()[-1].version}, the one that this pgface knows.")


def pooling(database: Database, settings: Settings) -> Iterator[Finding]:
    """What needs a session of its own can have one."""
    try:
        with database.connection_of_its_own():
            around = "" if settings.direct_url is None else ", by PGFACE_DIRECT_URL"
    except (SessionNeededError, SettingsError) as error:
        yield Finding("pooling", "problem", str(error), "Set PGFACE_DIRECT_URL to this database on PostgreSQL itself.")
        return
    yield fine("pooling", f"A session of one's own is to be had{around}.")


def storage(database: Database, _: Settings) -> Iterator[Finding]:
    """Embeddings lie in their rows."""
    ((in_rows, beside),) = database.read("embedding_storage", row_factory=tuple_row)
    if in_rows and not beside:
        yield fine("storage", "Embeddings are stored in their rows.")
        return
    found = f"{beside / 2**20:,.1f} MB of them are" if beside else "New ones would be"
    yield Finding(
        "storage",
        "problem",
        f"{found} stored beside their rows, which makes comparing with everybody 4 to 6 times slower.",
        "pgface doctor --fix, which writes every embedding anew; until it ends nobody else can use the gallery",
        _store_in_rows,
    )


def _store_in_rows(settings: Settings) -> None:
    with Database.open(settings) as database, database.connection_of_its_own() as connection:
        connection.execute(queries()["store_embeddings_in_rows"])
        connection.execute(queries()["rewrite_embeddings"])


def model(database: Database, settings: Settings) -> Iterator[Finding]:
    """The weights of the gallery's model are here, and are those that its embeddings were made with."""
    binding = read_binding(database)
    if binding.model_name is None:
        yield Finding("model", "problem", "The gallery is not bound to a model.", "pgface init --model NAME")
        return
    try:
        engine = GalleryModel(settings, binding, None).engine
    except (ModelError, ModelMismatchError) as error:
        yield Finding("model", "problem", str(error), f"pgface models install {binding.model_name}")
        return
    yield fine("model", f"{engine.identity.name} is here, with the weights that the embeddings were made with.")


def thresholds(database: Database, _: Settings) -> Iterator[Finding]:
    """The thresholds were measured, and fit the number of people."""
    past = history(database)
    (people,) = database.read("count_enrolled_people", row_factory=scalar_row)
    advice = advise(read_binding(database), past, people)
    if advice.due:
        yield Finding(
            "thresholds",
            "problem",
            f"The threshold to identify is too low for {people:,} people: {advice.threshold:.4f} is advised "
            f"for FPIR {advice.target:g}.",
            "pgface calibrate --follow, or pgface calibrate FOLDER",
        )
    elif not past:
        yield Finding(
            "thresholds",
            "advice",
            "They are the model's published or measured ones, and not measured on people like these.",
            "pgface calibrate FOLDER",
        )
    else:
        yield fine("thresholds", f"They were calibrated, and fit {people:,} people.")


def indexes(database: Database, _: Settings) -> Iterator[Finding]:
    """The indexes are whole and of use, and the table is vacuumed and analysed."""
    advice = advise_indexes(read_index_status(database))
    about_table = [one for one in advice if one.command.startswith(("VACUUM", "ANALYZE"))]
    yield from _advised("indexes", [one for one in advice if one not in about_table], "They are whole and of use.")
    yield from _advised("vacuum", about_table, "The table of embeddings is vacuumed and analysed.")


def _advised(check: str, advice: Sequence[IndexAdvice], otherwise: str) -> Iterator[Finding]:
    if not advice:
        yield fine(check, otherwise)
    for one in advice:
        yield Finding(check, "advice", one.sentence, one.command, _fix_by(one.command))


def _fix_by(command: str) -> Fix | None:
    """What does the same as the command, unless it changes what somebody may have chosen."""
    if command == "pgface init":
        return _initialise
    if command == "pgface fit-search":
        return _fit_search
    if command.startswith(("VACUUM", "ANALYZE")):
        return _vacuum
    return None


def _initialise(settings: Settings) -> None:
    Gallery.create(settings).close()


def _fit_search(settings: Settings) -> None:
    with Gallery.open(settings) as gallery:
        gallery.fit_search()


def _vacuum(settings: Settings) -> None:
    with Database.open(settings) as database, database.connection_of_its_own() as connection:
        connection.execute(queries()["vacuum_gallery"])


def photo_files(database: Database, settings: Settings) -> Iterator[Finding]:
    """Every photo of this machine has its file, and every file its photo."""
    check = "photo files"
    found = take_inventory(database, PhotoFiles(settings.photos_dir, read_binding(database).id))
    if found.missing:
        yield Finding(
            check,
            "problem",
            f"Photos without their file: {len(found.missing):,} ({_first(found.missing)}); people are found still.",
            f"Copy {settings.photos_dir} back from a backup, or erase those photos: pgface photos delete ID",
        )
    if found.strays:
        yield Finding(
            check,
            "problem",
            f"Files that show a face and belong to no photo: {len(found.strays):,} ({_first(found.strays)}).",
            "pgface photos strays, and with --delete it removes them",
        )
    if found.elsewhere and not found.here:
        yield Finding(
            check,
            "advice",
            f"The files of all {found.elsewhere:,} photos belong to another photos folder than {settings.photos_dir}.",
            "Set PGFACE_DATA_DIR to the folder that they were enrolled with, if it is on this machine.",
        )
    elif not found.missing and not found.strays:
        elsewhere = f"; those of {found.elsewhere:,} more are in other folders" if found.elsewhere else ""
        foreign = f"; {found.foreign:,} photos name files that pgface did not write" if found.foreign else ""
        yield fine(check, f"{found.here:,} photos have their files here{elsewhere}{foreign}.")


def passwords(database: Database, _: Settings) -> Iterator[Finding]:
    """No user's password can be read."""
    check = "user passwords"
    ids = database.read("users_with_readable_passwords", row_factory=scalar_row)
    if not ids:
        yield fine(check, "None of them can be read: they are hashes, or there is none.")
        return
    marker, some = UNUSABLE_PASSWORD, ", ".join(map(str, ids[:_SHOWN]))
    yield Finding(
        check,
        "problem",
        f"Users whose password is no hash, so that whoever sees the table can use it: {len(ids):,} "
        f"(ids {_first(ids)}).",
        f"Let these users choose new ones, and set users.password to {marker!r} until then (WHERE id IN ({some}) ...).",
    )


def _first(found: Sequence[object]) -> str:
    return ", ".join(map(str, found[:_SHOWN])) + (", ..." if len(found) > _SHOWN else "")
