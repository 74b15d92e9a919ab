"""Embeds the stored images of a CompreFace service, and enrolls their faces with CompreFace's ids."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

import psycopg

from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import PgfaceError, PhotoNotReadableError, PhotoTooLargeError, UnknownUserError
from pgface.faces.photo import Upload
from pgface.gallery.enroll import FaceToEnroll, enroll_together
from pgface.gallery.photos import PhotoFiles
from pgface.gallery.workers import EmbeddedFile, PhotoTask, PhotoWorkers
from pgface.operations.compreface.report import NotMoved, ServiceReport
from pgface.operations.compreface.source import Example, Service, Source
from pgface.operations.compreface.subjects import SubjectUsers
from pgface.results import Enrollment
from pgface.text import shown

OnExample = Callable[[], None]
"""Called after every example."""

_SAMPLE_SIZE = 20
"""The number of moved examples that are remembered for the final check."""


@dataclass(frozen=True, slots=True)
class _Task(PhotoTask):
    file: Upload
    example: Example


class ExampleMover:
    """Moves the examples of one service. A dry run has no `files` and writes nothing."""

    def __init__(
        self,
        source: Source,
        workers: PhotoWorkers,
        database: Database | None,
        files: PhotoFiles | None,
        *,
        max_image_bytes: int,
        model_changes: int | None,
    ) -> None:
        self._source = source
        self._workers = workers
        self._database = database
        self._files = files
        self._max_image_bytes = max_image_bytes
        self._model_changes = model_changes
        self._random = random.Random(0)  # noqa: S311 - a sample, not a secret
        self.sample: list[UUID] = []
        """Some of the moved examples, from the whole service."""

    def move(self, service: Service, users: SubjectUsers, report: ServiceReport, on_example: OnExample) -> None:
        """Move the examples of a service, except those that are in the gallery already.

        Each is one transaction, so an interrupted run loses only the examples that the workers have.

        Raises:
            WorkerEndedError, DatabaseUnreachableError: the run ended early. Another run continues.

        """
        tasks = self._tasks(service, users, report, on_example)
        for task, result in self._workers.embed(tasks):
            if isinstance(result, EmbeddedFile):
                self._enroll(task.example, users, result, report)
            elif result is not None:
                _refuse(report, users, task.example, result)
            on_example()

    def _tasks(
        self, service: Service, users: SubjectUsers, report: ServiceReport, on_example: OnExample
    ) -> Iterator[_Task]:
        """Read the images of the examples that can be embedded, and report the others."""
        for page in self._source.examples(service):
            existing = self._existing(page)
            for example in page:
                if example.id in existing:
                    report.moved_before += 1
                elif example.image_id is None:
                    report.without_image += 1
                else:
                    image = self._image(example)
                    if isinstance(image, bytes):
                        yield _Task(Upload(str(example.id), image), frozenset(), example)
                        continue
                    _refuse(report, users, example, image)
                on_example()

    def _existing(self, examples: Sequence[Example]) -> set[UUID]:
        if self._database is None:
            return set()
        with self._database.transaction() as connection:
            rows = connection.execute(queries()["existing_face_ids"], {"ids": [example.id for example in examples]})
            return {face_id for (face_id,) in rows}

    def _image(self, example: Example) -> bytes | PgfaceError:
        assert example.image_id is not None  # noqa: S101 - `_tasks` checks it
        limit = f"{self._max_image_bytes / 1e6:,.1f} MB"
        if example.image_bytes is None:  # a dump
            return PhotoTooLargeError(
                f"{example.id}: the image in the dump is missing, or larger than {limit}. Raise PGFACE_MAX_PHOTO_BYTES."
            )
        if example.image_bytes > self._max_image_bytes:
            return PhotoTooLargeError(
                f"{example.id}: the stored image has {example.image_bytes / 1e6:,.1f} MB and the limit is {limit}. "
                "Raise PGFACE_MAX_PHOTO_BYTES."
            )
        image = self._source.image(example.image_id, self._max_image_bytes)
        return image or PhotoNotReadableError(f"{example.id}: the stored image is empty, or was deleted meanwhile.")

    def _enroll(self, example: Example, users: SubjectUsers, found: EmbeddedFile, report: ServiceReport) -> None:
        if self._files is None or self._database is None:
            report.moved += 1
            return
        user = users.ids.get(example.subject_id)
        if user is None:  # added to CompreFace after its subjects were read
            _refuse(
                report, users, example, UnknownUserError("Its subject was added meanwhile. Run the migration again.")
            )
            return
        database, files = self._database, self._files

        def keep_id(connection: psycopg.Connection, enrolled: Enrollment) -> None:
            _set_face_id(connection, example, enrolled.photo_id)

        def enroll(content_sha256: str | None) -> Enrollment:
            face = FaceToEnroll(user, None, found.photo, content_sha256, found.face, found.left_aside)
            (enrolled,) = enroll_together(
                database,
                files,
                [face],
                model_changes=self._model_changes,
                allow_other_user=True,  # CompreFace lets two subjects have the same face
                within=keep_id,
            )
            return enrolled

        try:
            enrolled = enroll(found.content_sha256)
            if not enrolled.added and not self._adopt(example, enrolled.photo_id):
                # The subject has this photo as another example, too. Both ids stay.
                report.repeated += 1
                enroll(None)
        except UnknownUserError as error:  # deleted meanwhile
            _refuse(report, users, example, error)
            return
        report.moved += 1
        self._remember(example.id, report.moved)

    def _adopt(self, example: Example, photo_id: int) -> bool:
        """Give the id to a photo that is in the gallery without one. Return whether the example is in the gallery."""
        assert self._database is not None  # noqa: S101 - a dry run enrolls nothing
        with self._database.transaction() as connection:
            return _set_face_id(connection, example, photo_id) or bool(
                connection.execute(queries()["existing_face_ids"], {"ids": [example.id]}).fetchall()
            )

    def _remember(self, example: UUID, moved: int) -> None:
        """Keep a random sample of all moved examples (reservoir sampling, Vitter 1985, algorithm R)."""
        if moved <= _SAMPLE_SIZE:
            self.sample.append(example)
        elif (place := self._random.randrange(moved)) < _SAMPLE_SIZE:
            self.sample[place] = example


def _set_face_id(connection: psycopg.Connection, example: Example, photo_id: int) -> bool:
    values = {"face_id": example.id, "image_id": example.image_id, "photo_id": photo_id}
    return connection.execute(queries()["set_face_id_of_photo"], values).fetchone() is not None


def _refuse(report: ServiceReport, users: SubjectUsers, example: Example, error: PgfaceError) -> None:
    subject = shown(users.names.get(example.subject_id, str(example.subject_id)))
    report.not_moved.append(NotMoved(str(example.id), subject, type(error).__name__, str(error)))
