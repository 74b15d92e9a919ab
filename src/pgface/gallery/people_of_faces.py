"""The people of a gallery whose faces are indexed first: adding, finding, and associating faces with them.

Associating a face moves it from a `users` row of its own to the person's. Disassociating gives it a row of its own.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.rows import tuple_row

from pgface.database.sql import queries
from pgface.errors import DuplicateExternalIdError, GalleryError, UnknownUserError
from pgface.gallery.config import GalleryConfig
from pgface.gallery.events import record_searched
from pgface.gallery.gallery import Gallery
from pgface.gallery.indexed_faces import (
    Changes,
    IndexedFace,
    OnChange,
    Reason,
    Refusal,
    as_array,
    faces_by_id,
    new_email,
    read_faces,
)
from pgface.gallery.users import id_in_range
from pgface.vectors import unit_embedding

MAX_FACES_OF_PERSON: Final = 100
ID_PREFIX: Final = "pgface:"
"""The start of the names of people who have no external id."""
_MAX_FAST: Final = 50
"""The longest list that is searched through an index."""


@dataclass(frozen=True, slots=True)
class SimilarPerson:
    """A person who is similar to a probe."""

    person: str
    """The external id, or `pgface:` and the user's id."""
    user_id: int
    similarity: float
    """Cosine of the probe and the person's most similar face, -1 to 1."""


@dataclass(frozen=True, slots=True)
class Person:
    """A person of the gallery."""

    user_id: int
    person: str
    """The external id, or `pgface:` and the user's id."""
    has_faces: bool


class TooManyFacesError(GalleryError):
    """A person has at most 100 faces. Nothing was changed."""


def search_people(
    gallery: Gallery,
    embedding: Any,
    threshold: float,
    limit: int,
    *,
    config: GalleryConfig,
    except_user_id: int | None = None,
) -> list[SimilarPerson]:
    """Return the people whose most similar face reaches the threshold, the most similar first.

    With `Settings.search_events`, it adds an event, as `Gallery.identify` does.

    Args:
        gallery: the gallery to search.
        embedding: an embedding of its model.
        threshold: the lowest similarity, -1 to 1.
        limit: the maximum number of people.
        config: the gallery's configuration from before the embedding was made.
        except_user_id: this person is left out.

    Raises:
        ModelMismatchError: the embedding is of an earlier model.
        ReadOnlyError: the event cannot be written, because the server is a replica.

    """
    values = {"embedding": unit_embedding(embedding), "threshold": threshold, "model_changes": config.model_changes}
    # The search of all users is the fastest. But faces without a person can fill its list.
    for query, most in (("search_people", max(limit, _MAX_FAST)), ("search_people_only", limit + 1)):
        rows = gallery.database.search(query, values | {"max_users": most}, row_factory=tuple_row)
        people = [
            SimilarPerson(person, user_id, similarity)
            for user_id, person, similarity in rows
            if person is not None and user_id != except_user_id
        ]
        if len(people) >= limit or len(rows) < most:
            break
    if gallery.settings.search_events:
        record_searched(gallery.database, (people[0].user_id, people[0].similarity) if people else None, config)
    return people[:limit]


def embedding_of_person(gallery: Gallery, user_id: int) -> NDArray[np.float32] | None:
    """Return the mean direction of a person's embeddings. None if the person has no embedding."""
    rows = gallery.database.read("select_embeddings_of_person", {"user_id": user_id}, row_factory=tuple_row)
    return unit_embedding(np.mean([as_array(row[0]) for row in rows], axis=0)) if rows else None


def find_person(connection: psycopg.Connection, person: str) -> Person:
    """Return a person, and lock the row.

    Raises:
        UnknownUserError: there is no such person.

    """
    number = person.removeprefix(ID_PREFIX)
    is_id = person.startswith(ID_PREFIX) and number.isascii() and number.isdigit() and len(number) <= 10
    values = {"person": person, "user_id": id_in_range(int(number)) if is_id else None}
    row = connection.execute(queries()["find_person"], values).fetchone()
    if row is None:
        raise UnknownUserError
    return Person(row[0], person, row[1] > 0)


def add_person(connection: psycopg.Connection, person: str, on_change: OnChange | None = None) -> None:
    """Add a person with an external id, which must not start with `ID_PREFIX`, and without faces.

    Raises:
        DuplicateExternalIdError: a user has this external id already.

    """
    values = {"person": person, "email": f"{uuid.uuid4()}@person.invalid"}
    row = None
    if not person.startswith(ID_PREFIX):
        row = connection.execute(queries()["insert_person"], values).fetchone()
    if row is None:
        raise DuplicateExternalIdError
    if on_change is not None:
        on_change(connection, row[0])


def delete_person(connection: psycopg.Connection, person: str, on_change: OnChange | None = None) -> None:
    """Delete a person. Their faces stay in the gallery, without a person. Call it in `Gallery.deletion`.

    Raises:
        UnknownUserError: there is no such person.

    """
    connection.execute(queries()["lock_enrollment"])
    user_id = find_person(connection, person).user_id
    if on_change is not None:
        on_change(connection, user_id)
    connection.execute(queries()["add_missing_face_ids"], {"embedding_ids": _embedding_ids(connection, user_id)})
    values = {"after": 0, "limit": None, "user_id": user_id, "face_ids": None}
    for face in read_faces(connection, "select_indexed_faces", values):
        _detach(connection, face)
    connection.execute(queries()["delete_user"], {"id": user_id})


def list_people(gallery: Gallery, *, after: int = 0, limit: int) -> list[Person]:
    """List the people in the order of their ids."""
    values = {"after": id_in_range(after), "limit": limit}
    return [Person(*row) for row in gallery.database.read("select_people", values, row_factory=tuple_row)]


def associate(
    connection: psycopg.Connection,
    person: str,
    face_ids: Sequence[UUID],
    threshold: float,
    on_change: OnChange | None = None,
) -> Changes:
    """Move faces to a person. A face must be similar to the person's faces, if there are any.

    Args:
        connection: a connection in `Gallery.deletion`.
        person: the person.
        face_ids: the faces. One that the person has already is left out of the result.
        threshold: the minimum similarity to one of the person's faces before the change.
        on_change: called for each moved face with the person's user.

    Raises:
        UnknownUserError: there is no such person.
        TooManyFacesError: the person would have too many faces. Nothing was changed.

    """
    changes = Changes()
    connection.execute(queries()["lock_enrollment"])
    target = find_person(connection, person)
    found = faces_by_id(connection, face_ids)
    moved = []
    for face_id in dict.fromkeys(face_ids):
        face = found.get(face_id)
        if face is None or (face.person is not None and face.user_id != target.user_id):
            reason: Reason = "unknown" if face is None else "other person"
            changes.refused.append(Refusal(face_id, reason, face.person if face else None))
        elif face.user_id != target.user_id:
            values = {"embedding_id": face.embedding_id, "user_id": target.user_id}
            row = connection.execute(queries()["similarity_to_user"], values).fetchone()
            if target.has_faces and row is not None and row[0] < threshold:
                changes.refused.append(Refusal(face_id, "not similar", person, row[0]))
            else:
                moved.append(face)
    if len(moved) + len(_embedding_ids(connection, target.user_id)) > MAX_FACES_OF_PERSON:
        raise TooManyFacesError
    for face in moved:
        _move(connection, face.embedding_id, target.user_id)
        if on_change is not None:
            on_change(connection, target.user_id)
    connection.execute(queries()["delete_users_of_faces"], {"ids": [face.user_id for face in moved]})
    changes.done.extend(face.face_id for face in moved)
    return changes


def disassociate(
    connection: psycopg.Connection, person: str, face_ids: Sequence[UUID], on_change: OnChange | None = None
) -> tuple[Changes, bool]:
    """Take faces away from a person. Return the changes, and whether the person has faces left.

    Call `Gallery.note_changes` after the commit.

    Raises:
        UnknownUserError: there is no such person.

    """
    changes = Changes()
    connection.execute(queries()["lock_enrollment"])
    target = find_person(connection, person)
    found = faces_by_id(connection, face_ids)
    for face_id in dict.fromkeys(face_ids):
        face = found.get(face_id)
        if face is None or face.user_id != target.user_id:
            reason: Reason = "other person" if face is not None and face.person is not None else "unknown"
            changes.refused.append(Refusal(face_id, reason, face.person if face else None))
            continue
        _detach(connection, face)
        if on_change is not None:
            on_change(connection, target.user_id)
        changes.done.append(face_id)
    has_faces = bool(_embedding_ids(connection, target.user_id))
    return changes, has_faces


def _move(connection: psycopg.Connection, embedding_id: int, user_id: int) -> None:
    for query in ("move_photo_of_face", "move_face"):
        connection.execute(queries()[query], {"embedding_id": embedding_id, "into": user_id})


def _detach(connection: psycopg.Connection, face: IndexedFace) -> None:
    """Give a face a user of its own again."""
    row = connection.execute(queries()["insert_user_of_face"], {"email": new_email()}).fetchone()
    assert row is not None  # noqa: S101 - an INSERT ... RETURNING of one row
    _move(connection, face.embedding_id, row[0])


def _embedding_ids(connection: psycopg.Connection, user_id: int) -> list[int]:
    rows = connection.execute(queries()["select_embedding_ids_of_user"], {"user_id": user_id}).fetchall()
    return [row[0] for row in rows]
