"""Runs one job. A run can end at any moment, and another one continues where it ended.

Every write of a run is in a transaction that checks the run's number. So a worker that was taken for dead, or whose job
was cancelled, writes nothing more. The result of a photo and its rows in the gallery are one transaction. So are the
report of an import or of a change of the model, and what it changes.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import scalar_row, tuple_row
from psycopg.types.json import Jsonb

from pgface.accounts.audit_log import record
from pgface.accounts.client import Client
from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import (
    DatabaseUnreachableError,
    GalleryError,
    ModelMismatchError,
    PgfaceError,
    PhotoError,
    TableLockedError,
    WorkerEndedError,
)
from pgface.evaluation.run import evaluate_gallery
from pgface.faces.cancellation import Work, working
from pgface.faces.photo import Upload
from pgface.gallery import Gallery
from pgface.gallery.enroll_folder import person_of
from pgface.operations.reembed.reembed import reembed
from pgface.operations.transfer.load import import_gallery
from pgface.results import Enrollment
from pgface.search.fit import fit_search_if_due, refresh_templates, vacuum_stale_templates
from pgface.search.vector_index.lifecycle import vector_index_lock
from pgface.settings import Settings
from pgface.system.private_folder import private_folder

_MAX_RUNS_WITHOUT_PROGRESS: Final = 3
_STOPPED_WORKERS: Final = f"The worker ended {_MAX_RUNS_WITHOUT_PROGRESS} times during this work."
_UNEXPECTED: Final = "pgface failed unexpectedly. The log of the worker has the reason."
_PROGRESS_STEP: Final = 0.02
"""The share of the whole after which progress is written."""
_SCRATCH: Final = "jobs"
_SCRATCH_SECONDS: Final = 24 * 3600
"""Age of a folder that no import uses any longer."""
_NAMES: Final = frozenset({"lost", "failure_to_enroll", "source"})
"""Parts of reports that have names of people or photos. A job keeps none of them."""

TRY_AGAIN: Final = (DatabaseUnreachableError, TableLockedError)
"""Errors after which a job goes back into the queue."""

_log = logging.getLogger(__name__)


class StopRequestedError(Exception):
    """The worker is to stop. The job goes back into the queue."""


class _TakenOverError(Exception):
    """The job was cancelled, or another worker has it."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a job."""

    gallery: Gallery
    job_id: UUID
    number: int
    without_progress: int
    """How many runs there were since the last progress, this one included."""
    options: Mapping[str, Any]
    client: Client
    """The caller who added the job, for the audit log."""
    should_stop: Callable[[], bool] = field(repr=False)
    _written: list[int] = field(default_factory=lambda: [0], repr=False)
    """The progress that was written."""

    @property
    def database(self) -> Database:
        """The database of the gallery."""
        return self.gallery.database

    def check(self) -> None:
        """Raise an error if the worker is to stop."""
        if self.should_stop():
            raise StopRequestedError

    def finish_photo(self, connection: psycopg.Connection, position: int, outcome: str, **values: Any) -> None:
        """Write the result of a photo, in the transaction of its rows."""
        row = dict.fromkeys(("user_id", "photo_id", "error", "reason"))
        row |= {"id": self.job_id, "run": self.number, "position": position, "outcome": outcome} | values
        self._require(connection, "note_job_photo", row)
        self._require(connection, "finish_job_photo", row)
        connection.execute(queries()["delete_job_file"], row)

    def show_progress(self, done: int, total: int) -> None:
        """Write the progress now and then. It ends the run if the worker is to stop, or if the job was cancelled."""
        self.check()
        if done != total and done - self._written[-1] < total * _PROGRESS_STEP:
            return
        self._written.append(done)
        with self.database.transaction() as connection:
            values = {"id": self.job_id, "run": self.number, "done": done, "total": total}
            self._require(connection, "note_job_progress", values)

    def store_report(self, connection: psycopg.Connection, report: dict[str, Any]) -> None:
        """Write what the job returns, in the transaction of its rows. From its commit on, the job cannot be cancelled.

        A run that was taken over or cancelled ends here, and its rows are rolled back.
        """
        values = {"id": self.job_id, "run": self.number, "report": Jsonb(report)}
        self._require(connection, "store_job_report", values)

    def finish(
        self, state: str, *, error: str | None = None, reason: str | None = None, report: dict[str, Any] | None = None
    ) -> None:
        """End the job, and delete its files."""
        values = {"id": self.job_id, "run": self.number, "state": state, "error": error, "reason": reason}
        with self.database.transaction() as connection:
            self._require(connection, "finish_job", values | {"report": None if report is None else Jsonb(report)})
            connection.execute(queries()["cancel_job_photos"], values)
            connection.execute(queries()["delete_job_files"], values)

    def _require(self, connection: psycopg.Connection, query: str, values: Mapping[str, Any]) -> None:
        if connection.execute(queries()[query], values).rowcount == 0:
            raise _TakenOverError


def run_job(gallery: Gallery, job_id: UUID, should_stop: Callable[[], bool]) -> None:
    """Run a job to its end, or until the worker is to stop. A job that has ended already is left alone.

    Raises:
        StopRequestedError: the worker is to stop.
        DatabaseUnreachableError, TableLockedError: try again later.

    """
    with gallery.database.transaction() as connection:
        begun = connection.execute(queries()["begin_job_run"], {"id": job_id}).fetchone()
    if begun is None:
        return
    kind, options, created_by, number, without_progress, report = begun
    run = Run(gallery, job_id, number, without_progress, options, Client(actor=created_by), should_stop)
    try:
        run.check()
        if report is None:
            report = _RUNS[kind](run)
        else:
            _fit_search(run)
        run.finish("succeeded", report=report)
    except _TakenOverError:
        _log.info("The job was cancelled, or another worker has it.", extra={"job": str(job_id)})
    except (StopRequestedError, *TRY_AGAIN):
        raise
    except PgfaceError as error:
        if isinstance(error.__cause__, TRY_AGAIN):  # for example, PostgreSQL was lost while it built the index
            raise error.__cause__ from None
        _fail(run, type(error).__name__, str(error))
    except Exception:
        _log.exception("A job failed.", extra={"job": str(job_id)})
        _fail(run, "internal", _UNEXPECTED)


def _fail(run: Run, error: str, reason: str) -> None:
    try:
        run.finish("failed", error=error, reason=reason)
    except _TakenOverError:
        _log.info("The job was cancelled, or another worker has it.", extra={"job": str(run.job_id)})


def _enroll(run: Run) -> None:
    run.gallery.adopt_model()
    poisoned = run.without_progress > _MAX_RUNS_WITHOUT_PROGRESS
    for position, path, data in _waiting_photos(run):
        run.check()
        if poisoned:
            _refuse(run, position, WorkerEndedError(_STOPPED_WORKERS))
            poisoned = False
            continue
        try:
            _enroll_photo(run, position, path, data)
        except ModelMismatchError:
            # `pgface reembed` has changed the model during this photo.
            run.gallery.adopt_model()
            _enroll_photo(run, position, path, data)


def _enroll_photo(run: Run, position: int, path: str, data: bytes) -> None:
    person = person_of(PurePath(path).parts[-2])

    def within(connection: psycopg.Connection, done: Enrollment) -> None:
        record(connection, "photo enrolled", run.client, user_id=done.user.id)
        run.finish_photo(connection, position, "enrolled", user_id=done.user.id, photo_id=done.photo_id)

    try:
        # The same limit as for a photo of a request.
        with working(Work(max_pixels=run.gallery.settings.max_upload_pixels)):
            done = run.gallery.enroll(
                Upload(PurePath(path).name, data),
                person.email,
                name=person.name,
                face=run.options["face"],
                allow_other_user=run.options["allow_other_user"],
                within=within,
            )
    except ModelMismatchError:
        raise
    except (PhotoError, GalleryError) as error:
        _refuse(run, position, error)
        return
    if not done.added:
        with run.database.transaction() as connection:
            values = {"user_id": done.user.id, "photo_id": done.photo_id}
            run.finish_photo(connection, position, "already enrolled", **values)


def _refuse(run: Run, position: int, error: PgfaceError) -> None:
    # The general sentence, because the error's own one may name another person.
    reason = str(error) if isinstance(error, PhotoError | WorkerEndedError) else str(type(error)())
    with run.database.transaction() as connection:
        run.finish_photo(connection, position, "refused", error=type(error).__name__, reason=reason.replace("\0", ""))


def _waiting_photos(run: Run) -> Iterator[tuple[int, str, bytes]]:
    after = -1
    values = {"id": run.job_id}
    while found := run.database.read("next_job_photo", values | {"after": after}, row_factory=tuple_row):
        ((after, path, data),) = found
        yield after, path, bytes(data)


def _import(run: Run) -> dict[str, Any]:
    _require_progress(run)
    with _scratch_folder(run.gallery.settings) as folder:
        files = [folder / name for name in run.options["files"]]
        for position, file in enumerate(files):
            _write_file(run, position, file)
        source = files[0] if len(files) == 1 else folder
        return import_gallery(
            run.gallery.settings,
            source,
            on_rows=run.show_progress,
            within=lambda connection, report: run.store_report(connection, report.to_json()),
        ).to_json()


@contextmanager
def _scratch_folder(settings: Settings) -> Iterator[Path]:
    """Yield an empty folder below the data folder. First delete those that killed workers have left."""
    root = private_folder(settings.data_dir / _SCRATCH)
    for left in root.iterdir():
        if time.time() - left.stat().st_mtime > _SCRATCH_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=root) as folder:
        yield Path(folder)


def _write_file(run: Run, position: int, file: Path) -> None:
    values = {"id": run.job_id, "position": position}
    with file.open("wb") as stream:
        for part in run.database.read("select_job_parts", values, row_factory=scalar_row):
            run.check()
            (data,) = run.database.read("select_job_part", values | {"part": part}, row_factory=scalar_row)
            stream.write(data)


def _reembed(run: Run) -> dict[str, Any]:
    _require_progress(run)
    report = reembed(
        run.gallery.settings,
        model=run.options["model"],
        drop_lost=run.options["drop_lost"],
        on_progress=run.show_progress,
        within=lambda connection, report: run.store_report(connection, _without_names(report.to_json())),
    )
    if report.outcome == "refused":
        raise GalleryError(
            f"{report.lost_embeddings:,} embeddings cannot be embedded again. The gallery was not changed. Set "
            "`drop_lost` to delete them, or run `pgface reembed` with the original photos."
        )
    run.gallery.adopt_model()
    return _without_names(report.to_json())


def _fit_search(run: Run) -> None:
    """End the work of a run that was killed after its commit.

    The rows are not written again, because some of these people may have been deleted since.
    """
    run.gallery.adopt_model()
    while refresh_templates(run.database):
        run.check()
    with run.database.dedicated_connection() as connection, vector_index_lock(connection):
        vacuum_stale_templates(connection)
        fit_search_if_due(connection, run.gallery.settings.search_latency_target)


def _evaluate(run: Run) -> dict[str, Any]:
    _require_progress(run)
    return _without_names(evaluate_gallery(run.gallery.settings).to_json())


def _require_progress(run: Run) -> None:
    if run.without_progress > _MAX_RUNS_WITHOUT_PROGRESS:
        raise WorkerEndedError(_STOPPED_WORKERS)


def _without_names(report: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in report.items() if name not in _NAMES}


_RUNS: Final[Mapping[str, Callable[[Run], dict[str, Any] | None]]] = {
    "enroll": _enroll,
    "import": _import,
    "reembed": _reembed,
    "evaluate": _evaluate,
}
