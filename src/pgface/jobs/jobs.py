"""Jobs of a gallery: create, list, read and cancel them.

A job and its files are rows of the gallery. Its place in the queue is written in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import IO, Any, Final, Literal, Self
from uuid import UUID

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from pgface.accounts.audit_log import record
from pgface.accounts.client import Client
from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import JobFinishedError, ServiceBusyError, UnknownJobError
from pgface.gallery import Gallery
from pgface.jobs.archive import PhotoEntry, photos_of
from pgface.jobs.queue import put
from pgface.settings import MEBI

JobKind = Literal["enroll", "import", "reembed", "evaluate"]
JobState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
PhotoOutcome = Literal["enrolled", "already enrolled", "refused", "cancelled"]

_PART_BYTES: Final = 4 * MEBI
"""Size of the parts in which a file of an import is stored."""
_WAITING_UPLOADS: Final = 4
"""How many of the largest uploads may wait for workers in one gallery."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job of a gallery."""

    id: UUID
    number: int
    """Jobs are numbered in their order."""
    kind: JobKind
    options: dict[str, Any]
    state: JobState
    created_by: str
    """The caller, as in the audit log: `key 3`, or `user 1`."""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    total: int
    """The number of photos or embeddings. 0 until it is known."""
    done: int
    enrolled: int
    already_enrolled: int
    refused: int
    error: str | None
    """The class of the error, for a failed job."""
    reason: str | None
    """Why the job failed."""
    report: dict[str, Any] | None
    """What an import, a change of the model or an evaluation returned."""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        times = ("created_at", "started_at", "finished_at")
        shown = {name: getattr(self, name) and getattr(self, name).isoformat() for name in times}
        return asdict(self) | {"id": str(self.id)} | shown


@dataclass(frozen=True, slots=True)
class PhotoResult:
    """The result for one photo of an archive."""

    position: int
    photo: str | None
    """The path in the archive. None after its user was deleted."""
    outcome: PhotoOutcome | None
    """None if the photo was not processed yet."""
    user_id: int | None
    photo_id: int | None
    error: str | None
    """The class of the error, for a refused photo."""
    reason: str | None

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


class Jobs:
    """The jobs of one gallery."""

    def __init__(self, gallery: Gallery, home: Gallery) -> None:
        """Use a gallery and the default gallery, whose queue all galleries share."""
        self._gallery, self._home = gallery, home
        self._database = gallery.database
        self._resources = ExitStack()

    @classmethod
    def of(cls, gallery: Gallery) -> Self:
        """Use a gallery, and close it at the end. It cannot add jobs if it is not the default gallery."""
        jobs = cls(gallery, gallery)
        jobs._resources.callback(gallery.close)
        return jobs

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def enroll(
        self,
        archive: IO[bytes],
        client: Client,
        *,
        face: str = "only",
        allow_other_user: bool = False,
    ) -> Job:
        """Add a job that enrolls the photos of an archive, `<person>/<photo>`.

        Raises:
            PhotoArchiveError: the archive cannot be used. No job was added.
            ServiceBusyError: too many uploads wait already.
            SchemaMissingError: there is no queue yet.

        """
        settings = self._gallery.settings
        photos = photos_of(archive, max_bytes=settings.max_archive_bytes, max_photo_bytes=settings.max_photo_bytes)
        options = {"face": face, "allow_other_user": allow_other_user}

        def store(connection: psycopg.Connection, job_id: UUID) -> None:
            _store_photos(connection, job_id, photos)

        return self._add("enroll", options, client, store)

    def import_export(self, files: dict[str, IO[bytes]], client: Client) -> Job:
        """Add a job that loads an export: a file `*.parquet`, or the files `face_db.npy` and `face_db.json`.

        Raises:
            ServiceBusyError, SchemaMissingError: as for `enroll`.

        """

        def store(connection: psycopg.Connection, job_id: UUID) -> None:
            for position, file in enumerate(files.values()):
                _store_parts(connection, job_id, position, file)

        return self._add("import", {"files": list(files)}, client, store)

    def reembed(self, client: Client, *, model: str, drop_lost: bool = False) -> Job:
        """Add a job that changes the gallery's model.

        Raises:
            SchemaMissingError: there is no queue yet.

        """
        return self._add("reembed", {"model": model, "drop_lost": drop_lost}, client)

    def evaluate(self, client: Client) -> Job:
        """Add a job that measures the error rates on the enrolled photos.

        Raises:
            SchemaMissingError: there is no queue yet.

        """
        return self._add("evaluate", {}, client)

    def _add(self, kind: JobKind, options: dict[str, Any], client: Client, store: Any = None) -> Job:
        values = {"kind": kind, "options": Jsonb(options), "created_by": client.actor or "command line"}
        elsewhere = self._database.url != self._home.database.url
        with self._database.transaction() as connection:
            self._require_room(connection)
            ((job_id,),) = connection.execute(queries()["insert_job"], values).fetchall()
            if store is not None:
                store(connection, job_id)
            record(connection, "job added", client)
            if not elsewhere:
                self._put(connection, job_id)
        if elsewhere:
            self._put_elsewhere(job_id)
        return self.find(job_id)

    def _put(self, connection: psycopg.Connection, job_id: UUID) -> None:
        put(connection, self._home.settings.schema_name, self._gallery.settings.schema_name, job_id)

    def _put_elsewhere(self, job_id: UUID) -> None:
        """Put the job of a gallery on another server into the queue. Delete it if that fails."""
        try:
            with self._home.database.transaction() as connection:
                self._put(connection, job_id)
        except BaseException:
            self._database.execute("delete_job", {"id": job_id})
            raise

    def _require_room(self, connection: psycopg.Connection) -> None:
        most = _WAITING_UPLOADS * self._gallery.settings.max_archive_bytes
        ((waiting,),) = connection.execute(queries()["select_job_bytes"]).fetchall()
        if waiting >= most:
            raise ServiceBusyError(
                f"Uploads of {waiting:,} bytes wait for a worker already. Try again when a job has ended."
            )

    def newest(
        self, *, created_by: str | None = None, state: str | None = None, before: int | None = None, limit: int = 50
    ) -> list[Job]:
        """List the jobs, the newest first, with numbers below `before`."""
        return self._select(created_by=created_by, state=state, before=before, limit=limit)

    def find(self, job_id: UUID, *, created_by: str | None = None) -> Job:
        """Return a job.

        Raises:
            UnknownJobError: there is no such job in this gallery, or another caller added it.

        """
        found = self._select(id=job_id, created_by=created_by)
        if not found:
            raise UnknownJobError
        return found[0]

    def results(self, job_id: UUID, *, after: int = -1, limit: int = 50) -> list[PhotoResult]:
        """Return the results of photos with positions above `after`, in the order of the archive."""
        values = {"job_id": job_id, "after": after, "limit": limit}
        return self._database.read("select_job_results", values, row_factory=class_row(PhotoResult))

    def cancel(self, job_id: UUID, client: Client, *, created_by: str | None = None) -> Job:
        """Cancel a job. The photos enrolled so far stay. Photos that wait are deleted.

        Raises:
            UnknownJobError: as for `find`.
            JobFinishedError: the job has ended already.

        """
        self.find(job_id, created_by=created_by)
        with self._database.transaction() as connection:
            if not _cancel(connection, job_id):
                raise JobFinishedError
            record(connection, "job cancelled", client)
        return self.find(job_id)

    def _select(self, **filters: Any) -> list[Job]:
        values = dict.fromkeys(("id", "created_by", "state", "before")) | {"limit": 1} | filters
        return self._database.read("select_jobs", values, row_factory=class_row(Job))


def prune_jobs(database: Database, days: int) -> int:
    """Delete jobs that ended so many days ago. Cancel those that did not end within so many days.

    Returns:
        The number of deleted and cancelled jobs.

    """
    with database.transaction() as connection:
        expired = connection.execute(queries()["expired_jobs"], {"days": days}).fetchall()
        for (job_id,) in expired:
            _cancel(connection, job_id)
        deleted = connection.execute(queries()["delete_old_jobs"], {"days": days}).rowcount
    return len(expired) + deleted


def _cancel(connection: psycopg.Connection, job_id: UUID) -> bool:
    values = {"id": job_id}
    if connection.execute(queries()["cancel_job"], values).rowcount == 0:
        return False
    connection.execute(queries()["cancel_job_photos"], values)
    connection.execute(queries()["delete_job_files"], values)
    return True


def _store_photos(connection: psycopg.Connection, job_id: UUID, photos: Iterable[PhotoEntry]) -> None:
    """Store the photos of an archive, each with its place for a result."""
    for position, photo in enumerate(photos):
        row = {"job_id": job_id, "position": position, "photo": _storable(photo.path)}
        if photo.refusal is not None:
            refusal = {"error": type(photo.refusal).__name__, "reason": _storable(str(photo.refusal))}
            connection.execute(queries()["insert_job_refusal"], row | refusal)
            continue
        connection.execute(queries()["insert_job_photo"], row)
        _store_part(connection, job_id, position, 0, photo.data)
    connection.execute(queries()["count_job_photos"], {"id": job_id})


def _store_parts(connection: psycopg.Connection, job_id: UUID, position: int, file: IO[bytes]) -> None:
    part = 0
    while data := file.read(_PART_BYTES):
        _store_part(connection, job_id, position, part, data)
        part += 1


def _store_part(connection: psycopg.Connection, job_id: UUID, position: int, part: int, data: bytes) -> None:
    values = {"job_id": job_id, "position": position, "part": part, "data": data}
    connection.execute(queries()["insert_job_file"], values)


def _storable(text: str) -> str:
    """Return text that PostgreSQL accepts."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")
