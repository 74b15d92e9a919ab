"""`pgface init`, `pgface status` and `pgface schema`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pgface.cli.options import JsonOption
from pgface.cli.output import print_error, print_facts, print_json, say
from pgface.database.sql import init_sql
from pgface.errors import StorageError
from pgface.settings import get_settings
from pgface.text import counted, runs_on
from pgface.thresholds import CALIBRATE_AGAIN

if TYPE_CHECKING:
    from pgface.database.registry import Upgrade
    from pgface.gallery import Gallery
    from pgface.results import Status

app = typer.Typer()


def open_gallery() -> Gallery:
    """Open the gallery. The import is here because it loads NumPy and more, which some commands do not need."""
    from pgface.gallery import Gallery

    return Gallery.open()


@app.command()
def init(
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Name or folder of the model for a new gallery. PGFACE_MODEL by default."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Create the gallery or upgrade it, and bind it to its model. Upgrade all named galleries, too."""
    from pgface.database.job_queue import install_queue_if_possible
    from pgface.galleries import Galleries
    from pgface.gallery import Gallery

    with Gallery.create(model=model) as gallery:
        with gallery.database.transaction() as connection:
            install_queue_if_possible(connection, gallery.settings.schema_name)
        status = gallery.status()
        if not json:
            where = "the embedded PostgreSQL" if status.embedded else "PostgreSQL"
            say(
                f"The gallery in schema {status.schema} of {where} {status.postgresql} is ready: model {status.model}, "
                f"{counted(status.users, 'user')}, {counted(status.embeddings, 'embedding')}."
            )
            say(f"Its rows are in {_place_of_rows(gallery)}, and its face crops in {_place_of_crops(gallery)}.")
        upgraded = [_shown(one, json) for one in Galleries(gallery).upgrade()]
    if json:
        print_json(status.to_json() | {"galleries": [one.to_json() for one in upgraded]})
    if any(one.error is not None for one in upgraded):
        raise typer.Exit(1)


def _shown(upgraded: Upgrade, json: bool) -> Upgrade:
    """Print what became of a named gallery, at once because other servers may take long to answer."""
    if upgraded.name is None:
        name = "The empty gallery for unknown names"
    else:
        name = f"The gallery {upgraded.name}" + (f" on {upgraded.server}" if upgraded.server else "")
    if upgraded.error is not None:
        print_error(f"{name} could not be upgraded. {upgraded.error}")
    elif upgraded.name is not None and not json:
        say(f"{name} is ready.")
    return upgraded


def _place_of_crops(gallery: Gallery) -> str:
    from pgface.gallery.photo_stores.base import FOLDER, POSTGRES

    store = gallery.config.photo_store
    return {FOLDER: str(gallery.settings.photos_dir), POSTGRES: "the same database"}.get(store, store)


def _place_of_rows(gallery: Gallery) -> str:
    """Return the folder of the embedded server, or the database and address of your own, without a password."""
    settings = get_settings()
    if settings.database_url is None:
        return str(settings.postgres_dir)
    with gallery.database.transaction() as connection:
        info = connection.info
        address = info.host if info.host.startswith("/") else f"{info.host}:{info.port}"
        return f"the database {info.dbname} at {address}"


@app.command()
def status(json: JsonOption = False) -> None:
    """Show the gallery, its model and its server."""
    from pgface.database.pool import Database
    from pgface.gallery.model import GalleryModel
    from pgface.gallery.status import read_status

    settings = get_settings()
    with Database.open(settings) as database:
        found = read_status(database, settings, GalleryModel(settings, database))
    if json:
        print_json(found.to_json())
    else:
        print_facts(_facts(found))


def _facts(found: Status) -> Iterator[tuple[str, object]]:
    yield "model", found.model or "none yet: run `pgface init`"
    if found.model_problem:
        yield "", f"cannot be used here: {found.model_problem}"
    elif found.model:
        yield "runs on", runs_on(found.runtimes) if found.runtimes else None
        yield "weights (SHA-256)", found.weights_sha256
    if found.alignment_size:
        yield "landmarks found in", f"{found.alignment_size} × {found.alignment_size} pixels"
    yield "people", f"{found.users:,}"
    yield "photos", f"{found.photos:,}"
    yield "embeddings", f"{found.embeddings:,}"
    yield "threshold to verify (1:1)", f"{found.verify_threshold:.3f}"
    yield "threshold to identify (1:N)", f"{found.identify_threshold:.3f}"
    if found.calibration_due:
        advised = f"{found.advised_identify_threshold:.3f}"
        yield "", f"too low for this many people: {advised} is advised. Run {CALIBRATE_AGAIN}"
    yield "search", _search(found)
    if found.search_stale_users:
        yield "", f"{counted(found.search_stale_users, 'user waits', 'users wait')} to be added to the index"
    if found.search_fitting:
        yield "", "being fitted to the gallery now"
    elif found.search_due:
        yield "", "much of the gallery has changed: run `pgface fit-search`"
    yield "index for SQL", found.index or "none"
    where = "embedded" if found.embedded else "your own (PGFACE_DATABASE_URL)"
    yield "server", f"PostgreSQL {found.postgresql} with pgvector {found.pgvector}, {where}"
    if found.is_replica:
        yield "", f"a replica, which only reads: {_lag(found)}"
    yield "schema", f"{found.schema}, version {found.schema_version}"
    yield "face crops in", found.photo_store
    if found.photos_to_delete:
        waiting = counted(found.photos_to_delete, "crop of a deleted photo is", "crops of deleted photos are")
        yield "", f"{waiting} not deleted yet: run `pgface doctor`"
    yield "data folder", found.data_dir


def _search(found: Status) -> str:
    if found.search == "exact":
        return "exact: compares with every embedding"
    agreement = "" if found.search_agreement is None else f", agrees with exact search for {found.search_agreement:.2%}"
    return f"{found.search}{agreement}"


def _lag(found: Status) -> str:
    if found.replica_lag_seconds is None:
        return "it is not known how far it is behind its primary"
    if not found.replica_lag_seconds:
        return "it shows everything that its primary has sent"
    seconds = counted(math.ceil(found.replica_lag_seconds), "second")
    return f"at most {seconds} and {counted(found.replica_lag_bytes or 0, 'byte')} behind its primary"


@app.command()
def schema(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to a file instead of stdout.")
    ] = None,
) -> None:
    """Print the gallery's whole schema as SQL, for `psql -v ON_ERROR_STOP=1 -f`."""
    if output is None:
        typer.echo(init_sql(), nl=False)
        return
    try:
        output.write_text(init_sql(), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{output}: it cannot be written ({error.strerror}).") from error
