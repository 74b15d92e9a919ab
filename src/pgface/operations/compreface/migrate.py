"""Migrates CompreFace: its recognition services become galleries, with their subjects, images and ids.

The embeddings of another model cannot be compared with the gallery's. So every stored image is embedded again. Each
face is committed by itself, so an interrupted run continues where it ended, and a second run changes nothing.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pgface.database.embedded.server import EmbeddedPostgres
from pgface.database.pool import Database, connected
from pgface.database.sql import queries
from pgface.errors import (
    MigrationError,
    SchemaMissingError,
    SessionNeededError,
    UnknownGalleryError,
    WorkerEndedError,
)
from pgface.faces.engines import load_engine
from pgface.faces.engines.base import Engine
from pgface.faces.face_choice import EnrollmentChoice, WhichFace
from pgface.galleries import Galleries
from pgface.gallery import Gallery
from pgface.gallery.workers import PhotoWorkers
from pgface.operations.compreface.dump import loaded_dump
from pgface.operations.compreface.examples import ExampleMover
from pgface.operations.compreface.keys import KeysReport, keep_keys
from pgface.operations.compreface.report import CompreFaceReport, ServiceReport
from pgface.operations.compreface.source import Service, Source, connected_source
from pgface.operations.compreface.subjects import move_subjects, require_merge_or_own_users
from pgface.operations.legacy.verify import finds_its_user
from pgface.search.fit import fit_search_if_due
from pgface.search.vector_index.lifecycle import vector_index_lock
from pgface.settings import Settings
from pgface.text import shown

_URL_SCHEMES = ("postgresql://", "postgres://")
_MIN_KEY_CHARACTERS = 4
"""The shortest start of a key that names a service."""

_MAX_LISTED = 10
_MAX_SLUG_CHARACTERS = 200
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]")
"""The characters that the name of a gallery cannot contain."""
_NO_GALLERY = "A gallery is missing, so it was not checked whether it can be created."

OnProgress = Callable[[int, int], None]
"""Called after every example, with the number of finished examples and of all."""


def migrate_compreface(
    source: str,
    settings: Settings,
    *,
    api_key: str | None = None,
    gallery: str | None = None,
    model: str | None = None,
    face: WhichFace = "only",
    merge: bool = False,
    dry_run: bool = False,
    on_progress: OnProgress | None = None,
) -> CompreFaceReport:
    """Migrate CompreFace. Each recognition service becomes a gallery, which is created if necessary.

    A single service becomes the default gallery. Of several, each becomes a gallery beside it, named after its
    application and service.

    Args:
        source: the URL of CompreFace's PostgreSQL, or a dump that pg_dump made of it. It is never changed.
        settings: the default gallery.
        api_key: migrate only the recognition service with this key. The start of the key is enough.
        gallery: the name of the gallery that a single service becomes. It is created if necessary.
        model: the name or folder of the model for new galleries, by default `PGFACE_MODEL`.
        face: which face of an image with several faces to enroll, as in `Gallery.enroll`.
        merge: whether a gallery may have users who are not subjects of its service.
        dry_run: embed every image, but write nothing.
        on_progress: called with the progress.

    Raises:
        MigrationError: this is not CompreFace, no service has the key, or a gallery is not empty.
        ModelError, ModelMismatchError: the model cannot be used, or a gallery is bound to another one.
        WorkerEndedError, DatabaseUnreachableError: the run ended early. Another run continues.
        DatabaseError, StorageError: rows or files could not be written. What was moved before stays.

    """
    began = time.monotonic()
    with _opened(source, settings, dry_run=dry_run) as tables, ExitStack() as resources:
        services = tables.services()
        chosen = _chosen(services, api_key)
        default = _default_gallery(settings, model, resources, dry_run=dry_run)
        names = _names(chosen, gallery)
        targets = _targets(chosen, names, default, settings, model, resources, dry_run=dry_run)
        for target in targets:
            if target.gallery is not None and not merge:
                require_merge_or_own_users(target.gallery.database, tables, target.service)
        run = _Run(tables, settings, face, dry_run=dry_run, on_progress=on_progress)
        reports = run.move_all(targets)
        keys = KeysReport()
        home = None if default is None else default.database
        for target in targets:
            keep_keys(home, [target.service], target.name, keys, dry_run=dry_run)
        others = [service for service in services if service.type != "recognition"]
        keep_keys(home, others, None, keys, dry_run=dry_run)
    not_checked = None if all(target.gallery for target in targets) else _NO_GALLERY
    models = dict.fromkeys(target.engine.identity.name for target in targets)
    demo = any(service.is_demo for service in services)
    return CompreFaceReport(
        tuple(reports), keys, demo, ", ".join(models), dry_run, not_checked, time.monotonic() - began
    )


def _chosen(services: Sequence[Service], api_key: str | None) -> list[Service]:
    """Return the recognition services without CompreFace's demo, or the one with this key."""
    found = [service for service in services if service.type == "recognition"]
    if api_key is None:
        if not found:
            raise MigrationError("CompreFace has no recognition service. Nothing was written.")
        return [service for service in found if not service.is_demo] or found
    if len(api_key) < _MIN_KEY_CHARACTERS:
        raise MigrationError(f"Give at least {_MIN_KEY_CHARACTERS} characters of the key as `api_key`.")
    found = [service for service in found if service.api_key.lower().startswith(api_key.lower())]
    if not found:
        raise MigrationError("CompreFace has no recognition service with this key. Nothing was written.")
    if len(found) > 1:
        titles = ", ".join(shown(service.title) for service in found[:_MAX_LISTED])
        raise MigrationError(
            f"{len(found):,} keys of recognition services begin like this ({titles}). Give more of it as `api_key`."
        )
    return found


def _names(services: Sequence[Service], gallery: str | None) -> list[str | None]:
    """Return the name of the gallery that each service becomes."""
    if len(services) == 1:
        return [gallery]
    if gallery is not None:
        raise MigrationError(
            f"{len(services):,} recognition services cannot become one gallery. Choose one by its key, with `api_key`."
        )
    return [gallery_name(service) for service in services]


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
            "pgface reads a dump with the gallery's PostgreSQL, which does not exist yet. Run `pgface init`, then try "
            "again."
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
    """A service, and the gallery that it becomes."""

    service: Service
    name: str | None
    """The name of the gallery. None for the default one."""
    gallery: Gallery | None
    """None if a dry run has no gallery."""
    engine: Engine
    load: Callable[[], Engine]
    """Loads the engine in another process."""

    @property
    def database(self) -> Database | None:
        """The gallery's connections."""
        return None if self.gallery is None else self.gallery.database


def _targets(
    services: Sequence[Service],
    names: Sequence[str | None],
    default: Gallery | None,
    settings: Settings,
    model: str | None,
    resources: ExitStack,
    *,
    dry_run: bool,
) -> list[_Target]:
    """Open the gallery of each service. Create those that do not exist, except in a dry run."""
    galleries = None if default is None else Galleries(default)
    if galleries is not None:
        resources.callback(galleries.close)
    targets: list[_Target] = []
    loaded: dict[str, Engine] = {}
    for service, name in zip(services, names, strict=True):
        gallery = default
        if name is not None:
            gallery = None if galleries is None else _named_gallery(galleries, name, model, dry_run=dry_run)
        targets.append(_target(service, name, gallery, settings, model, loaded))
    return targets


def _target(
    service: Service,
    name: str | None,
    gallery: Gallery | None,
    settings: Settings,
    model: str | None,
    loaded: dict[str, Engine],
) -> _Target:
    """Describe a target. A gallery that a dry run does not create gets one of the engines loaded so far."""
    bound = None if gallery is None else gallery.config.model_name
    wanted = bound or model or settings.model
    load = partial(
        load_engine,
        wanted,
        models_dir=settings.models_dir,
        detector_size=settings.detector_size,
        execution_provider=settings.execution_provider,
    )
    if gallery is not None and bound:
        return _Target(service, name, gallery, gallery.engine, load)
    if wanted not in loaded:
        loaded[wanted] = load()
    return _Target(service, name, gallery, loaded[wanted], load)


def gallery_name(service: Service) -> str:
    """Return the name of the gallery that a service becomes, when there are several: `APPLICATION.SERVICE`.

    A part of the names' hash is added if the name of a gallery cannot contain them. So two services never become one.
    """
    name = f"{service.application}.{service.name}"
    slug = _NOT_IN_NAMES.sub("-", name)[:_MAX_SLUG_CHARACTERS]
    if slug != name or name.count(".") > 1 or not (service.application and service.name):
        slug += f"-{hashlib.sha256(service.title.encode()).hexdigest()[:8]}"
    return slug


def _default_gallery(settings: Settings, model: str | None, resources: ExitStack, *, dry_run: bool) -> Gallery | None:
    """Create or open the gallery of the settings. A dry run creates none."""
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


def _named_gallery(galleries: Galleries, name: str, model: str | None, *, dry_run: bool) -> Gallery | None:
    with suppress(UnknownGalleryError):
        gallery = galleries[name]
        gallery.bind(model)
        return gallery
    if dry_run:
        return None
    galleries.create(name, model=model)
    return galleries[name]


class _Run:
    """One run over the services."""

    def __init__(
        self, tables: Source, settings: Settings, face: WhichFace, *, dry_run: bool, on_progress: OnProgress | None
    ) -> None:
        self._tables = tables
        self._settings = settings
        self._choice = EnrollmentChoice.from_settings(settings, face, any_quality=True)
        self._dry_run = dry_run
        self._on_progress = on_progress
        self._done = 0
        self._total = 0

    def move_all(self, targets: Sequence[_Target]) -> list[ServiceReport]:
        """Move the subjects and examples of each service."""
        reports = [self._new_report(target) for target in targets]
        self._total = sum(report.examples for report in reports)
        for target, report in zip(targets, reports, strict=True):
            self._move(target, report)
        return reports

    def _new_report(self, target: _Target) -> ServiceReport:
        service = target.service
        subjects, examples = self._tables.count_subjects(service), self._tables.count_examples(service)
        return ServiceReport(service.application, service.name, target.name, subjects, examples)

    def _move(self, target: _Target, report: ServiceReport) -> None:
        # Read before the faces are embedded, so that a change of the model meanwhile is noticed.
        config = None if target.gallery is None else target.gallery.config
        database = target.database
        users = move_subjects(database, self._tables, target.service, report, dry_run=self._dry_run)
        limit = self._settings.max_photo_bytes
        with PhotoWorkers(self._settings, target.engine, target.load, self._choice) as workers, _advice_to_continue():
            mover = ExampleMover(
                self._tables,
                workers,
                database,
                None if target.gallery is None or self._dry_run else target.gallery.files,
                max_image_bytes=limit,
                model_changes=None if config is None else config.model_changes,
            )
            mover.move(target.service, users, report, self._example_done)
        if database is not None and not self._dry_run:
            _finish(database, self._settings, mover, report)

    def _example_done(self) -> None:
        self._done += 1
        if self._on_progress is not None:
            self._on_progress(self._done, max(self._done, self._total))


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
