"""Gives a gallery another model: embeds every face again beside the old embeddings, then switches at once.

New embeddings are committed every few seconds, so an interrupted run continues where it ended. Until the switch,
searches and enrollments use the old embeddings. The switch is one transaction, so no search sees a mixture.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import psycopg

from pgface.database.errors import wrap_psycopg_errors
from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import GalleryError, IndexNotBuiltError, PgfaceError, WorkerEndedError
from pgface.faces.engines import load_engine
from pgface.faces.face_choice import EnrollmentChoice, WhichFace
from pgface.faces.models.install import keep_pack
from pgface.faces.models.registry import ModelIdentity
from pgface.faces.photo import PhotoLimits
from pgface.gallery.bulk import vector_index_set_aside
from pgface.gallery.config import read_config
from pgface.gallery.photos import PhotoFiles
from pgface.gallery.workers import EngineWorkers
from pgface.operations.reembed import staging
from pgface.operations.reembed.faces import EmbedAgain, Embedded, FaceTask, NewFace
from pgface.operations.reembed.originals import Originals
from pgface.operations.reembed.rank1 import measure_rank1
from pgface.operations.reembed.report import LostFaces, Outcome, ReembedReport
from pgface.operations.reembed.switch import switch, users_without_new_embedding, writes_blocked
from pgface.search.fit import fit_search_if_due, refresh_templates, vacuum_stale_templates
from pgface.search.vector_index.lifecycle import vector_index_lock
from pgface.settings import Settings

_BATCH_FACES = 16
"""Number of faces in a transaction. An interrupted run loses at most so many, and those in the workers."""
_MAX_UNDER_LOCK = 16
"""Maximum number of faces to embed while writers wait. More are embedded before."""
_BARE = "This embedding has no photo, so it cannot be embedded again."

OnProgress = Callable[[int, int], None]
"""Called after every face, with the number of embedded faces and of all faces to embed."""
Within = Callable[[psycopg.Connection, ReembedReport], None]
"""Called in the transaction of the switch, before it commits. If it raises an error, the gallery keeps its model."""


def reembed(
    settings: Settings,
    *,
    model: str,
    photos: Path | None = None,
    face: WhichFace = "only",
    drop_lost: bool = False,
    dry_run: bool = False,
    on_progress: OnProgress | None = None,
    within: Within | None = None,
) -> ReembedReport:
    """Embed every face of the gallery with another model, then bind the gallery to it.

    The gallery keeps its users, photos and ids. It gets the published thresholds and confidence scale of the new model.

    Args:
        settings: the gallery.
        model: the name or folder of the new model.
        photos: a folder of original photos. A photo is found by its content, or by its person's folder and its name, as
            `pgface enroll --folder` names them. The other faces are embedded from their crops.
        face: which face of an original photo to embed, if its place is not known.
        drop_lost: delete embeddings that cannot be embedded again. Otherwise, the gallery stays as it is if there are
            any, and the report lists them.
        dry_run: do everything except the switch, and measure how identification changes. The new embeddings wait for
            the next run, or for `abort_reembedding`.
        on_progress: called with the progress.
        within: called before the commit of the switch.

    Raises:
        ModelError: the model cannot be loaded.
        GalleryError: the gallery has no model yet, new embeddings of another model wait, or there is no such folder.
        DatabaseAccessError: this PostgreSQL user is not the gallery's owner.
        TableLockedError: another run is embedding the gallery again, or a writer did not end within a minute.
        SessionNeededError: there is a transaction pooler, and PGFACE_DIRECT_URL is not set.
        WorkerEndedError, DatabaseUnreachableError: the run ended early. Another run continues.
        IndexNotBuiltError: the gallery has the new model, but its search could not be fitted.

    """
    began = time.monotonic()
    load = partial(
        load_engine,
        model,
        models_dir=settings.models_dir,
        detector_size=settings.detector_size,
        execution_provider=settings.execution_provider,
    )
    engine = load()
    with Database.open(settings) as database, database.dedicated_connection() as connection:
        with staging.reembedding_lock(connection):
            config = read_config(connection)
            if config.model_name is None:
                raise GalleryError("This gallery is not bound to a model yet. Run `pgface init`.")
            if config.identity == engine.identity:
                staging.delete_all(connection)
                return ReembedReport("unchanged", engine.identity.name, config.model_name)
            keep_pack(model, settings.models_dir, engine)
            limits = PhotoLimits.from_settings(settings)
            files = PhotoFiles(settings, config, database)
            originals = None if photos is None else Originals(photos, limits.max_bytes)
            choice = EnrollmentChoice.from_settings(settings, face, any_quality=True)
            embed = EmbedAgain(load, limits, choice)
            waiting = staging.begin(connection, engine.identity)
            with EngineWorkers(settings.workers, engine, embed) as workers, _advice_to_continue():
                run = _Run(settings, connection, engine.identity, workers, originals, on_progress, files)
                run.embed_all()
                report = run.finish(config.model_name, waiting, drop_lost=drop_lost, dry_run=dry_run, within=within)
        if report.outcome == "switched":
            _fit_search(settings, database, connection)
    return replace(report, seconds=time.monotonic() - began)


@contextmanager
def _advice_to_continue() -> Iterator[None]:
    try:
        yield
    except WorkerEndedError as error:
        raise WorkerEndedError(
            f"{error} The faces embedded so far wait in the gallery. Run it again to continue."
        ) from error


def abort_reembedding(settings: Settings) -> int:
    """Delete the new embeddings that wait in the gallery, and return their number.

    Raises:
        DatabaseAccessError: this PostgreSQL user is not the gallery's owner.
        TableLockedError: a run is embedding the gallery again.

    """
    with (
        Database.open(settings) as database,
        database.dedicated_connection() as connection,
        staging.reembedding_lock(connection),
        connection.transaction(),
    ):
        waiting = staging.count_waiting(connection)
        staging.delete_all(connection)
    return waiting


class _Run:
    """One run, while it holds the lock."""

    def __init__(
        self,
        settings: Settings,
        connection: psycopg.Connection,
        model: ModelIdentity,
        workers: EngineWorkers[FaceTask, Embedded],
        originals: Originals | None,
        on_progress: OnProgress | None,
        files: PhotoFiles,
    ) -> None:
        self._files = files
        self._settings = settings
        self._connection = connection
        self._model = model
        self._workers = workers
        self._originals = originals
        self._on_progress = on_progress
        self._done = 0
        self._embedded = 0
        self._lost: dict[int, LostFaces] = {}
        """What cannot be embedded, by the id of the embedding."""

    def embed_all(self) -> None:
        """Embed every face without a new embedding, and with original photos those of crops."""
        again = self._originals is not None
        total = staging.count_tasks(self._connection, (), again=again)
        self._embed(staging.tasks(self._connection, self._originals, again=again), total)
        while left := staging.count_tasks(self._connection, list(self._lost), again=False):  # enrolled meanwhile
            self._embed(self._tasks_left(), total + left)
            total += left

    def finish(
        self, model_before: str, waiting: int, *, drop_lost: bool, dry_run: bool, within: Within | None
    ) -> ReembedReport:
        """Switch the gallery to the new model, unless faces would be lost or this is a dry run."""
        if dry_run:
            return self._report("dry run", model_before, waiting)
        if self._all_lost() and not drop_lost:
            return self._report("refused", model_before, waiting)
        counts = staging.count(self._connection)
        target = self._settings.search_latency_target
        with vector_index_set_aside(self._connection, counts.faces, latency_target=target):
            while True:
                with writes_blocked(self._connection):
                    left = staging.count_tasks(self._connection, list(self._lost), again=False)
                    if left <= _MAX_UNDER_LOCK:
                        self._embed(self._tasks_left(), self._done + left)
                        if self._all_lost() and not drop_lost:
                            return self._report("refused", model_before, waiting)
                        report = self._report("switched", model_before, waiting)
                        switch(self._connection, self._model)
                        if within is not None:
                            within(self._connection, report)
                        return report
                self._embed(self._tasks_left(), self._done + left)

    def _tasks_left(self) -> Iterable[FaceTask]:
        return staging.tasks(self._connection, self._originals, list(self._lost))

    def _embed(self, tasks: Iterable[FaceTask], total: int) -> None:
        results = self._workers.embed(map(self._with_crop, tasks))
        while batch := list(islice(results, _BATCH_FACES)):
            faces = [(task, result) for task, result in batch if isinstance(result, NewFace)]
            staging.store(self._connection, faces)
            self._embedded += len(faces)
            for task, result in batch:
                self._note(task, result)
                self._done += 1
                if self._on_progress is not None:
                    self._on_progress(self._done, max(total, self._done))

    def _with_crop(self, task: FaceTask) -> FaceTask:
        """Read the crop, because a worker process has no connection to the photo store."""
        stream = None if task.waits else self._files.open_crop_of(task.photo_id, task.filepath)
        if stream is None:
            return task
        with stream:
            return replace(task, crop=stream.read(self._settings.max_photo_bytes + 1))

    def _note(self, task: FaceTask, result: Embedded) -> None:
        if isinstance(result, PgfaceError) and not task.waits:
            self._lost[task.embedding_id] = LostFaces(
                task.user_id, task.email, task.photo_id, task.filename, 1, type(result).__name__, str(result)
            )

    def _all_lost(self) -> tuple[LostFaces, ...]:
        """Return what cannot be embedded and still exists."""
        bare = self._connection.execute(queries()["bare_embeddings_by_user"]).fetchall()
        existing = staging.existing(self._connection, list(self._lost))
        lost = [self._lost[embedding_id] for embedding_id in existing]
        lost += [
            LostFaces(user_id, email, None, None, number, GalleryError.__name__, _BARE)
            for user_id, email, number in bare
        ]
        return tuple(lost)

    def _report(self, outcome: Outcome, model_before: str, waiting: int) -> ReembedReport:
        counts = staging.count(self._connection)
        return ReembedReport(
            outcome,
            self._model.name,
            model_before,
            faces=counts.faces,
            new=counts.waiting,
            of_photos=counts.of_photos,
            from_earlier_runs=waiting,
            embedded=self._embedded,
            lost=self._all_lost(),
            people_without_face=users_without_new_embedding(self._connection),
            rank1=measure_rank1(self._connection) if outcome == "dry run" else None,
        )


def _fit_search(settings: Settings, database: Database, connection: psycopg.Connection) -> None:
    """Make the templates, and measure the search again. A large gallery has been fitted already."""
    try:
        while refresh_templates(database):
            pass
        vacuum_stale_templates(connection)
        with wrap_psycopg_errors():
            connection.execute(queries()["vacuum_embeddings"])
        with vector_index_lock(connection):
            fit_search_if_due(connection, settings.search_latency_target)
    except PgfaceError as error:
        raise IndexNotBuiltError from error
