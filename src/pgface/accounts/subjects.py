"""Subjects and their examples, for clients that were written for CompreFace.

A subject is a user with an external id, which is its name. Case does not matter when a subject is looked up. An example
is an embedding of such a user, with a lasting id. Users without an external id are invisible here.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import psycopg
from numpy.typing import NDArray
from pgvector import Vector
from psycopg.rows import class_row, scalar_row

from pgface.accounts.audit_log import record
from pgface.accounts.client import Client
from pgface.database.sql import queries
from pgface.errors import PgfaceError, UnknownUserError
from pgface.faces.cancellation import check_work, waiting
from pgface.faces.engines.base import Detection
from pgface.faces.face_choice import EnrollmentChoice, OneOfPhoto
from pgface.faces.photo import PhotoSource
from pgface.gallery import Gallery
from pgface.gallery.config import GalleryConfig
from pgface.gallery.events import record_identified, record_verified
from pgface.gallery.users import UNUSABLE_PASSWORD, clean_name, is_reserved, merge_users
from pgface.results import Enrollment, Match, Verification
from pgface.system.timing import stage
from pgface.text import cleaned
from pgface.vectors import unit_embedding

_BATCH_PROBES: Final = 32
"""Probes that are searched together. In between, the work ends if its client has disconnected."""
_BATCH_DELETIONS: Final = 100
"""Subjects or examples that are deleted in one transaction. In between, others can enroll faces."""


class SubjectExistsError(PgfaceError):
    """A subject has this name already."""


class _SubjectChangedError(PgfaceError):
    """Another request has changed the subject since it was found."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A subject, and the user that it is."""

    id: int
    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Deleted:
    """What was deleted."""

    subjects: tuple[str, ...]
    """The names of the subjects."""
    examples: int
    """The number of their examples."""


@dataclass(frozen=True, slots=True)
class Example:
    """An example of a subject, as lists contain it."""

    id: uuid.UUID
    subject: str


@dataclass(frozen=True, slots=True, eq=False)
class StoredExample(Example):
    """An example with its rows."""

    user_id: int
    photo_id: int | None
    embedding_id: int
    embedding: Vector

    @property
    def vector(self) -> NDArray[np.float32]:
        """The embedding as an array, shape (512,), float32."""
        return self.embedding.to_numpy()


@dataclass(frozen=True, slots=True)
class Similar:
    """An example that is similar to a probe."""

    subject: str
    user_id: int
    embedding_id: int
    similarity: float
    """Cosine, -1 to 1."""


@dataclass(frozen=True, slots=True)
class ExampleChoice(EnrollmentChoice):
    """Chooses the only face of a photo among those with a score. It accepts any quality, as CompreFace does."""

    min_score: float | None = None
    """Faces with this score or a lower one are ignored."""

    def of(self, photo: str) -> OneOfPhoto:
        """Return the function that chooses the face of one photo."""
        return _OneExample(photo, self)


class _OneExample(OneOfPhoto):
    rules: ExampleChoice

    def __call__(self, detections: Sequence[Detection]) -> Sequence[Detection]:
        min_score = self.rules.min_score
        sure = [face for face in detections if min_score is None or face.detection_score > min_score]
        return OneOfPhoto.__call__(self, sure)


class Subjects:
    """The subjects of one gallery."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self._database = gallery.database

    def names(self) -> list[str]:
        """List the names of all subjects, in the order in which they were added."""
        return [subject.name for subject in self._database.read("select_subjects", row_factory=class_row(Subject))]

    def find(self, name: str) -> Subject | None:
        """Find a subject by its name in any case."""
        found = self._database.read("select_subject", {"subject": cleaned(name)}, row_factory=class_row(Subject))
        return found[0] if found else None

    def add(self, name: str, client: Client) -> Subject:
        """Add a subject without examples.

        Raises:
            SubjectExistsError: there is one with this name, in any case.
            GalleryError: the name is empty, too long, or contains control characters.

        """
        values = _named(name) | {"email": _new_email(), "password": UNUSABLE_PASSWORD}
        with self._database.transaction_alone() as connection:
            connection.execute(queries()["lock_enrollment"])
            if _find(connection, name) is not None:
                raise SubjectExistsError
            with connection.cursor(row_factory=class_row(Subject)) as cursor:
                (added,) = cursor.execute(queries()["insert_subject"], values).fetchall()
            record(connection, "user added", client, user_id=added.id)
            return added

    def rename(self, name: str, new: str, client: Client) -> bool:
        """Rename a subject. If there is one with the new name, it gets the examples, and the other is deleted.

        Returns:
            Whether there was a subject with the old name.

        Raises:
            SubjectExistsError: the subject is an account, which is not merged here.
            GalleryError: the new name cannot be used.

        """
        values = _named(new)
        with self._changes() as connection:
            subject, other = _find(connection, name), _find(connection, new)
            if subject is None:
                return False
            if other is None or other.id == subject.id:
                connection.execute(queries()["rename_subject"], values | {"id": subject.id})
                record(connection, "user changed", client, user_id=subject.id)
                return True
            if not is_reserved(subject.email):
                raise SubjectExistsError
            merge_users(connection, subject.id, other.id)
            record(connection, "users merged", client, user_id=other.id)
        return True

    def delete(self, name: str, client: Client) -> Deleted:
        """Delete a subject with its examples, if there is one with this name in any case.

        A user with an e-mail of their own stays, without photos, embeddings and external id.
        """
        with self._changes() as connection:
            found = _find(connection, name)
            return _delete(connection, [] if found is None else [found], client)

    def delete_all(self, client: Client) -> Deleted:
        """Delete all subjects with their examples, in several transactions. Each subject is deleted as in `delete`."""
        ids = [subject.id for subject in self._database.read("select_subjects", row_factory=class_row(Subject))]
        names: list[str] = []
        examples = 0
        for start in range(0, len(ids), _BATCH_DELETIONS):
            values = {"ids": ids[start : start + _BATCH_DELETIONS]}
            with self._changes() as connection, connection.cursor(row_factory=class_row(Subject)) as cursor:
                found = cursor.execute(queries()["select_subjects_with_ids"], values).fetchall()
                deleted = _delete(connection, found, client)
            names += deleted.subjects
            examples += deleted.examples
        return Deleted(tuple(names), examples)

    def add_example(
        self, photo: PhotoSource, name: str, client: Client, *, min_score: float | None = None
    ) -> uuid.UUID:
        """Enroll the only face of a photo for a subject, and return the example's id. It adds a new subject.

        A photo that the subject has already keeps its id.

        Raises:
            PhotoError: the photo cannot be used, or has no face or several.
            GalleryError: the name of a new subject cannot be used.

        """
        while True:
            try:
                return self._add_example(photo, name, client, min_score)
            except (_SubjectChangedError, UnknownUserError):  # by another request in the meantime
                continue

    def _add_example(self, photo: PhotoSource, name: str, client: Client, min_score: float | None) -> uuid.UUID:
        subject = self.find(name)
        new = _named(name) if subject is None else {}
        added: list[uuid.UUID] = []

        def complete(connection: psycopg.Connection, done: Enrollment) -> None:
            # Enrollment holds the lock under which subjects change.
            if _find(connection, name) != subject:
                raise _SubjectChangedError
            if subject is None:
                connection.execute(queries()["rename_subject"], new | {"id": done.user.id})
                record(connection, "user added", client, user_id=done.user.id)
            added.append(_example_of_photo(connection, done.photo_id))
            record(connection, "photo enrolled", client, user_id=done.user.id)

        enrolled = self._gallery.enroll(
            photo,
            _new_email() if subject is None else subject.id,
            choice=ExampleChoice("only", None, self._gallery.settings.background_face, min_score),
            allow_other_user=True,
            within=complete,
        )
        if enrolled.added:
            return added[0]
        with self._database.transaction() as connection:
            return _example_of_photo(connection, enrolled.photo_id)

    def examples(self, subject: str | None, *, offset: int, limit: int) -> tuple[list[Example], int]:
        """List examples in the order in which they were enrolled, of one subject or all, and count all of them.

        Args:
            subject: the exact name of a subject.
            offset: the number of examples to skip.
            limit: the maximum number of listed examples.

        """
        subject = None if subject is None else cleaned(subject)
        values = {"subject": subject, "offset": offset, "limit": limit}
        with self._database.transaction() as connection:
            connection.execute(queries()["assign_face_ids"])
        found = self._database.read("select_examples", values, row_factory=class_row(Example))
        (count,) = self._database.read("count_examples", {"subject": subject}, row_factory=scalar_row)
        return found, int(count)

    def example(self, example_id: uuid.UUID) -> StoredExample | None:
        """Find an example by its id."""
        found = self._database.read("select_example", {"id": example_id}, row_factory=class_row(StoredExample))
        return found[0] if found else None

    def crop(self, example: StoredExample) -> bytes | None:
        """Return the stored crop of an example, a JPEG. None if it was enrolled without a photo."""
        return None if example.photo_id is None else self._gallery.crop(self._gallery.photo(example.photo_id))

    def delete_examples(self, ids: Sequence[uuid.UUID], client: Client) -> list[Example]:
        """Delete examples with their photos, and return those that existed. The subjects stay."""
        deleted: list[Example] = []
        for start in range(0, len(ids), _BATCH_DELETIONS):
            with self._changes() as connection:
                found = [_delete_example(connection, one, client) for one in ids[start : start + _BATCH_DELETIONS]]
            deleted += [example for example in found if example is not None]
        return deleted

    def identify(self, embeddings: Sequence[Any], count: int, config: GalleryConfig) -> list[list[Similar]]:
        """Find the most similar examples for each embedding, the best first. One subject can be there several times.

        With `Settings.search_events`, it adds an event for each embedding, as `Gallery.identify` does.

        Args:
            embeddings: embeddings of the gallery's model, each of 512 numbers.
            count: the maximum number of examples for each embedding.
            config: the gallery's configuration from before the embeddings were made.

        Raises:
            EmbeddingError: an embedding is not 512 finite numbers, or all are zero.
            ModelMismatchError: the gallery has got another model since the configuration was read.

        """
        values = [
            {"embedding": unit_embedding(one), "max_results": count, "model_changes": config.model_changes}
            for one in embeddings
        ]
        found: list[list[Similar]] = []
        for start in range(0, len(values), _BATCH_PROBES):
            check_work()
            with stage("search"), waiting():
                found += self._search(values[start : start + _BATCH_PROBES])
        if self._gallery.settings.search_events:
            best = [[_match(one, config) for one in similar[:1]] for similar in found]
            record_identified(self._database, best, config.identify_threshold)
        return found

    def verify(self, embeddings: Sequence[Any], example: StoredExample, config: GalleryConfig) -> list[float]:
        """Return the cosine of each embedding and an example, -1 to 1.

        With `Settings.search_events`, it adds an event for each embedding, as `Gallery.verify` does.

        Raises:
            EmbeddingError: an embedding is not 512 finite numbers, or all are zero.

        """
        cosines = [float(np.dot(example.vector, unit_embedding(one))) for one in embeddings]
        if self._gallery.settings.search_events:
            threshold = config.verify_threshold
            verified = [
                Verification(
                    cosine >= threshold,
                    cosine,
                    threshold,
                    example.user_id,
                    example.subject,
                    "",
                    config.confidence(cosine) if cosine >= threshold else None,
                )
                for cosine in cosines
            ]
            record_verified(self._database, verified, threshold)
        return cosines

    @contextmanager
    def _changes(self) -> Iterator[psycopg.Connection]:
        """Open a transaction in which no other session enrolls a face, or adds, renames or deletes a subject."""
        with self._gallery.deletion() as connection:
            connection.execute(queries()["lock_enrollment"])
            yield connection

    def _search(self, values: list[dict[str, Any]]) -> list[list[Similar]]:
        return self._database.search_each("find_similar_examples", values, row_factory=class_row(Similar))


def _match(similar: Similar, config: GalleryConfig) -> Match:
    """Return a similar example as the match of its user, with a confidence."""
    confidence = config.confidence(similar.similarity)
    return Match(similar.user_id, similar.subject, "", similar.similarity, similar.embedding_id, confidence)


def _find(connection: psycopg.Connection, name: str) -> Subject | None:
    with connection.cursor(row_factory=class_row(Subject)) as cursor:
        return cursor.execute(queries()["select_subject"], {"subject": cleaned(name)}).fetchone()


def _delete(connection: psycopg.Connection, subjects: Sequence[Subject], client: Client) -> Deleted:
    examples = 0
    for subject in subjects:
        examples += connection.execute(queries()["delete_embeddings_of_user"], {"id": subject.id}).rowcount
        connection.execute(queries()["delete_photos_of_user"], {"id": subject.id})
        gone = is_reserved(subject.email)
        connection.execute(queries()["delete_user" if gone else "remove_subject"], {"id": subject.id})
        record(connection, "user deleted" if gone else "face deleted", client, user_id=subject.id)
    return Deleted(tuple(subject.name for subject in subjects), examples)


def _delete_example(connection: psycopg.Connection, example_id: uuid.UUID, client: Client) -> Example | None:
    with connection.cursor(row_factory=class_row(StoredExample)) as cursor:
        example = cursor.execute(queries()["select_example"], {"id": example_id}).fetchone()
    if example is None:
        return None
    values = {"embedding_id": example.embedding_id, "id": example.photo_id}
    if not connection.execute(queries()["delete_embedding"], values).rowcount:
        return None  # deleted in the meantime, by a statement that does not wait for the lock
    if example.photo_id is not None:
        connection.execute(queries()["delete_photo"], values)
    record(connection, "photo deleted", client, user_id=example.user_id)
    return example


def _example_of_photo(connection: psycopg.Connection, photo_id: int) -> uuid.UUID:
    """Return the id of a photo's example. It gets one if it has none."""
    values = {"photo_id": photo_id}
    connection.execute(queries()["assign_face_id_of_photo"], values)
    row = connection.execute(queries()["select_face_id_of_photo"], values).fetchone()
    if row is None:  # deleted by another request in the meantime
        raise _SubjectChangedError
    return uuid.UUID(str(row[0]))


def _named(name: str) -> dict[str, str]:
    """Return the name and the external id of a subject's user, which are the same text.

    Raises:
        GalleryError: the name is empty, too long, or contains control characters.

    """
    kept = clean_name(name)
    return {"name": kept, "subject": kept}


def _new_email() -> str:
    """Return an e-mail in the reserved domain, which no other user has."""
    return f"{uuid.uuid4().hex}@subject.invalid"
