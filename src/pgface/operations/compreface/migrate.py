"""Migrates CompreFace: its recognition services become galleries, with their subjects, images and ids.

The embeddings of another model cannot be compared with the gallery's. So every stored image is embedded again. Each
face is committed by itself, so an interrupted run continues where it ended, and a second run changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pgface.database.embedded.server import EmbeddedPostgres
from pgface.database.pool import Database, connected
from pgface.database.sql import queries
from pgface.errors import MigrationError, SchemaMissingError, SessionNeededError, WorkerEndedError
from pgface.faces.engines import load_engine
from pgface.faces.engines.base import Engine
from pgface.faces.face_choice import EnrollmentChoice, WhichFace
from pgface.gallery import Gallery
from pgface.gallery.photos import PhotoFiles
from pgface.gallery.workers import PhotoWorkers
from pgface.operations.compreface.dump import loaded_dump
from pgface.operations.compreface.examples import ExampleMover
from pgface.operations.compreface.keys import KeysReport, keep_keys
from pgface.operations.compreface.report import CompreFaceReport, ServiceReport, new_report
from pgface.operations.compreface.source import Service, Source, connected_source
from pgface.operations.compreface.subjects import move_subjects, require_merge_or_own_users
from pgface.operations.legacy.verify import finds_its_user
from pgface.search.fit import fit_search_if_due
from pgface.search.vector_index.lifecycle import vector_index_lock
from pgface.settings import Settings
from pgface.text import counted, shown

_URL_SCHEMES = ("postgresql://", "postgres://")
_MIN_KEY_CHARACTERS = 4
"""The shortest start of a key that names a service."""

_NO_GALLERY = "There is no gallery yet, so it was not checked whether it can be created."

OnProgress = Callable[[int, int], None]
"""Called after every example, with the number of finished examples and of all."""


def migrate_compreface(
    source: str,
    settings: Settings,
    *,
    api_key: str | None = None,
    model: str | None = None,
    face: WhichFace = "only",
    merge: bool = False,
    dry_run: bool = False,
    on_progress: OnProgress | None = None,
) -> CompreFaceReport:
    """Migrate a recognition service of CompreFace into the gallery, which is created if necessary.

    Args:
        source: the URL of CompreFace's PostgreSQL, or a dump that pg_dump made of it. It is never changed.
        settings: the gallery.
        api_key: the key of the recognition service, or the start of it. Not necessary if there is only one service.
        model: the name or folder of the model for a new gallery, by default `PGFACE_MODEL`.
        face: which face of an image with several faces to enroll, as in `Gallery.enroll`.
        merge: whether the gallery may have users who are not subjects of the service.
        dry_run: embed every image, but write nothing.
        on_progress: called with the progress.

    Raises:
        MigrationError: this is not CompreFace, no service has the key, or the gallery is not empty.
        ModelError, ModelMismatchError: the model cannot be used, or the gallery is bound to another one.
        WorkerEndedError, DatabaseUnreachableError: the run ended early. Another run continues.
        DatabaseError, StorageError: rows or files could not be written. What was moved before stays.

    """
    began = time.monotonic()
    with _opened(source, settings, dry_run=dry_run) as tables, ExitStack() as resources:
        services = tables.services()
        service = _chosen(services, api_key)
        gallery = _gallery(settings, model, resources, dry_run=dry_run)
        if gallery is not None and not merge:
            require_merge_or_own_users(gallery.database, tables, service)
        target = _target(settings, gallery, model)
        report = _move(tables, service, target, settings, face, on_progress, dry_run=dry_run)
        keys = KeysReport()
        others = [other for other in services if other.type != "recognition"]
        keep_keys(None if gallery is None else gallery.database, [service, *others], keys, dry_run=dry_run)
    not_checked = None if gallery is not None else _NO_GALLERY
    seconds = time.monotonic() - began
    return CompreFaceReport((report,), keys, target.engine.identity.name, dry_run, not_checked, seconds)


def _chosen(services: Sequence[Service], api_key: str | None) -> Service:
    """Return the recognition service with this key."""
    found = [service for service in services if service.type == "recognition"]
    if api_key is not None:
        if len(api_key) < _MIN_KEY_CHARACTERS:
            raise MigrationError(f"Give at least {_MIN_KEY_CHARACTERS} characters of the key as `api_key`.")
        found = [service for service in found if service.api_key.lower().startswith(api_key.lower())]
    if len(found) == 1:
        return found[0]
    if not found:
        what = "recognition service" if api_key is None else "recognition service with this key"
        raise MigrationError(f"CompreFace has no {what}. Nothing was written.")
    titles = ", ".join(shown(service.title) for service in found[:10])
    raise MigrationError(
        f"CompreFace has {counted(len(found), 'recognition service')} ({titles}), and a gallery takes one. "
        "Choose it by its key, with `api_key`."
    )


@contextmanager
def _opened(source: str, settings: Settings, *, dry_run: bool) -> Iterator[Source]:
    if _is_url(source):
        with connected_source(source) as tables:
            yield tables
        return
    file = Path(source)
    if not file.exists():
        raise MigrationError(f"{file}: this file does not exist. Give a URL (postgresql://...), or a dump by pg_dump.")
    if dry_run and _no_server(settings):
        raise MigrationError(
            "A dump is read with the gallery's PostgreSQL, and there is none yet. Run `pgface init`, then try again."
        )
    with (
        connected(settings, session=True) as connection,
        loaded_dump(connection, file, max_image_bytes=settings.max_photo_bytes) as tables,
    ):
        yield tables


def _is_url(source: str) -> bool:
    """Whether a source is a URL, or a connection string such as `host=... dbname=...`."""
    return source.startswith(_URL_SCHEMES) or ("=" in source and not Path(source).exists())


def _no_server(settings: Settings) -> bool:
    return settings.database_url is None and not EmbeddedPostgres(settings.postgres_dir).is_made()


@dataclass(frozen=True, slots=True, eq=False)
class _Target:
    """The gallery that a service is moved into, and its engine."""

    gallery: Gallery | None
    """None if a dry run has no gallery."""
    engine: Engine
    load: Callable[[], Engine]


def _target(settings: Settings, gallery: Gallery | None, model: str | None) -> _Target:
    """Return the engine of a gallery, or the engine that a new gallery would get."""
    bound = None if gallery is None else gallery.config.model_name
    load = partial(
        load_engine,
        bound or model or settings.model,
        models_dir=settings.models_dir,
        detector_size=settings.detector_size,
        execution_provider=settings.execution_provider,
    )
    return _Target(gallery, gallery.engine if gallery and bound else load(), load)


def _gallery(settings: Settings, model: str | None, resources: ExitStack, *, dry_run: bool) -> Gallery | None:
    if not dry_run:
        return resources.enter_context(Gallery.create(settings, model=model))
    if _no_server(settings):
        return None
    try:
        gallery = resources.enter_context(Gallery.open(settings))
    except SchemaMissingError:
        return None
    if gallery.config.model_name is not None:
        gallery.bind(model)
    return gallery


def _move(
    tables: Source,
    service: Service,
    target: _Target,
    settings: Settings,
    face: WhichFace,
    on_progress: OnProgress | None,
    *,
    dry_run: bool,
) -> ServiceReport:
    report = new_report(service, settings.schema_name, tables.count_subjects(service), tables.count_examples(service))
    done = 0

    def on_example() -> None:
        nonlocal done
        done += 1
        if on_progress is not None:
            on_progress(done, max(done, report.examples))

    gallery = target.gallery
    # Read before the faces are embedded, so that a change of the model meanwhile is noticed.
    config = None if gallery is None else gallery.config
    database = None if gallery is None else gallery.database
    users = move_subjects(database, tables, service, report, dry_run=dry_run)
    choice = EnrollmentChoice.from_settings(settings, face, any_quality=True)
    with PhotoWorkers(settings, target.engine, target.load, choice) as workers, _advice_to_continue():
        mover = ExampleMover(
            tables,
            workers,
            database,
            None if config is None or dry_run else PhotoFiles(settings.photos_dir, config.id),
            max_image_bytes=settings.max_photo_bytes,
            model_changes=None if config is None else config.model_changes,
        )
        mover.move(service, users, report, on_example)
    if database is not None and not dry_run:
        _finish(database, settings, mover, report)
    return report


@contextmanager
def _advice_to_continue() -> Iterator[None]:
    try:
        yield
    except WorkerEndedError as error:
        raise WorkerEndedError(f"{error} What was moved so far stays. Run it again to continue.") from error


def _finish(database: Database, settings: Settings, mover: ExampleMover, report: ServiceReport) -> None:
    """Fit the search to the moved faces, and check that it finds them."""
    if report.moved:
        try:
            with database.dedicated_connection() as connection, vector_index_lock(connection):
                fit_search_if_due(connection, settings.search_latency_target)
        except SessionNeededError:  # behind a pooler. Identification searches as before.
            pass
    with database.transaction() as connection:
        found = connection.execute(queries()["embeddings_of_face_ids"], {"ids": mover.sample}).fetchall()
        for user, embedding in found:
            if not finds_its_user(connection, user, embedding):
                raise MigrationError(f"Everything was moved, but search does not find a face of user {user}.")
    report.searched = len(found)
