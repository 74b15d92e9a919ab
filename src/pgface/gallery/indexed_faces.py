"""Faces that are stored before it is known whose they are, with ids that last.

Amazon Rekognition's clients work in this way: they index the faces of a photo, keep the ids, and may later associate
faces with a user. Here such a face has a `users` row of its own, which is no person. So search and rights work as for
all users. Associating a face moves it to the person, and disassociating gives it a row of its own again.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from uuid import UUID

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.rows import kwargs_row, tuple_row

from pgface.database.sql import queries
from pgface.errors import UnknownUserError
from pgface.faces.engines.base import Box, Choose, Face
from pgface.faces.photo import PhotoSource
from pgface.faces.pixels import CROP_SIZE
from pgface.gallery.enroll import measurements_of, open_enrollment
from pgface.gallery.gallery import Gallery
from pgface.gallery.users import id_in_range
from pgface.vectors import unit_embedding

MAX_FACES_OF_PERSON: Final = 100
_ID_PREFIX: Final = "pgface:"
_SAME_BOX: Final = 1.0
"""Pixels. Two boxes of one photo that differ less are the same face."""
_MAX_FAST: Final = 50
"""The longest list that is searched through an index."""

Reason = Literal["unknown", "other person", "not similar"]
OnChange = Callable[[psycopg.Connection, int], None]
"""A function that is called in the transaction of a change, with the id of the face's or the person's user."""


@dataclass(frozen=True, slots=True)
class IndexedFace:
    """A stored face."""

    face_id: UUID
    image_id: UUID
    """The same for all faces that were indexed together."""
    external_image_id: str | None
    person: str | None
    """The person's external id, or `pgface:` and the user's id. None for a face without a person."""
    detection_score: float | None
    box: Box | None
    """In pixels of the photo. None if it was not stored."""
    image_size: tuple[int, int] | None
    """Width and height of the photo. None if it was not stored."""
    embedding_id: int
    user_id: int


@dataclass(frozen=True, slots=True)
class SimilarFace:
    """A stored face that is similar to a probe."""

    face: IndexedFace
    similarity: float


@dataclass(frozen=True, slots=True)
class SimilarPerson:
    """A person who is similar to a probe."""

    person: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Person:
    """A person of the gallery."""

    user_id: int
    person: str
    has_faces: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a face was not changed."""

    face_id: UUID
    reason: Reason
    person: str | None = None
    similarity: float | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """The faces that were changed, and those that were not."""

    done: list[UUID] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)


class PersonExistsError(Exception):
    """A user has this external id already."""


class TooManyFacesError(Exception):
    """A person would have more than `MAX_FACES_OF_PERSON` faces."""


def index_faces(
    gallery: Gallery,
    photo: PhotoSource,
    choose: Choose,
    *,
    external_image_id: str | None = None,
    on_new: OnChange | None = None,
) -> tuple[list[tuple[IndexedFace, Face]], tuple[int, int]]:
    """Store the chosen faces of a photo, and return them with the size of the photo in pixels.

    A face that was indexed from the same file with the same `external_image_id` is not stored again.

    Raises:
        PhotoError: the photo cannot be used.
        ModelMismatchError: the gallery has got another model in the meantime.

    """
    model_changes = gallery.config.model_changes
    with gallery.opened(photo) as opened:
        size, sha256 = opened.picture.size, opened.content_sha256
        faces = gallery.engine.detect_and_embed(opened.picture, choose)
        if not faces:
            return [], size
        stored = []
        with open_enrollment(gallery.database, gallery.files, faces, model_changes) as (connection, crops):
            values: dict[str, Any] = {"image_sha256": sha256, "external_image_id": external_image_id}
            known = _faces(connection, "select_indexed_faces_of_photo", values)
            values |= {
                "image_id": known[0].image_id if known else uuid.uuid4(),
                "filename": external_image_id or "photo",
                "image_width": size[0],
                "image_height": size[1],
            }
            for face, crop in zip(faces, crops, strict=True):
                same = next((one for one in known if one.box and _is_same(one.box, face.box)), None)
                if same is None:
                    same = _insert(connection, face, values | {"filepath": crop.use()})
                    if on_new is not None:
                        on_new(connection, same.user_id)
                stored.append((same, face))
    gallery.note_changes()
    return stored, size


def list_faces(
    gallery: Gallery,
    *,
    after: int = 0,
    limit: int,
    user_id: int | None = None,
    face_ids: Sequence[UUID] | None = None,
) -> list[IndexedFace]:
    """List the faces in the order of their embeddings' ids. Faces that were enrolled otherwise get ids, too."""
    values = {
        "after": id_in_range(after),
        "limit": limit,
        "user_id": user_id,
        "face_ids": None if face_ids is None else list(face_ids),
    }
    with gallery.database.transaction() as connection:
        if not after and face_ids is None:
            connection.execute(queries()["add_missing_face_ids"], {"embedding_ids": None})
        return _faces(connection, "select_indexed_faces", values)


def delete_faces(gallery: Gallery, face_ids: Sequence[UUID], on_delete: OnChange | None = None) -> Changes:
    """Delete faces with their files. Those of a person stay."""
    changes = Changes()
    with gallery.deletion() as connection:
        connection.execute(queries()["lock_enrollment"])
        found = _faces_by_id(connection, face_ids)
        loose = []
        for face_id in dict.fromkeys(face_ids):
            face = found.get(face_id)
            if face is None or face.person is not None:
                reason: Reason = "unknown" if face is None else "other person"
                changes.refused.append(Refusal(face_id, reason, face.person if face else None))
                continue
            if on_delete is not None:
                on_delete(connection, face.user_id)
            loose.append(face.user_id)
            changes.done.append(face_id)
        connection.execute(queries()["delete_users_of_faces"], {"ids": loose})
    return changes


def search_faces(
    gallery: Gallery,
    embedding: Any,
    threshold: float,
    limit: int,
    *,
    model_changes: int,
    except_embedding_id: int | None = None,
) -> list[SimilarFace]:
    """Return the faces whose similarity reaches the threshold, the most similar first.

    Raises:
        ModelMismatchError: the embedding is of an earlier model.

    """
    values = {
        "embedding": unit_embedding(embedding),
        "threshold": threshold,
        "limit": limit,
        # The excepted face is among the most similar ones.
        "max_users": limit + (except_embedding_id is not None),
        "except_embedding_id": except_embedding_id,
        "model_changes": model_changes,
    }
    rows = gallery.database.read("search_indexed_faces", values, row_factory=kwargs_row(_similar))
    if missing := [embedding_id for embedding_id, face, _ in rows if face is None]:
        # In its own transaction, because the search only reads.
        gallery.database.execute("add_missing_face_ids", {"embedding_ids": missing})
        rows = gallery.database.read("search_indexed_faces", values, row_factory=kwargs_row(_similar))
    return [SimilarFace(face, similarity) for _, face, similarity in rows if face is not None]


def search_people(
    gallery: Gallery,
    embedding: Any,
    threshold: float,
    limit: int,
    *,
    model_changes: int,
    except_user_id: int | None = None,
) -> list[SimilarPerson]:
    """Return the people whose most similar face reaches the threshold, the most similar first.

    Raises:
        ModelMismatchError: the embedding is of an earlier model.

    """
    values = {"embedding": unit_embedding(embedding), "threshold": threshold, "model_changes": model_changes}
    # Faces without a person can fill a short list.
    for most in (max(limit, _MAX_FAST), None):
        rows = gallery.database.read("search_people", values | {"max_users": most}, row_factory=tuple_row)
        people = [
            SimilarPerson(person, similarity)
            for user_id, person, similarity in rows
            if person is not None and user_id != except_user_id
        ]
        if len(people) >= limit or (most is not None and len(rows) < most):
            break
    return people[:limit]


def embedding_of_face(gallery: Gallery, face_id: UUID) -> tuple[int, NDArray[np.float32]] | None:
    """Return the id and the embedding of a face. None if there is no such face."""
    rows = gallery.database.read("select_embedding_of_face", {"face_id": face_id}, row_factory=tuple_row)
    return (rows[0][0], _array(rows[0][1])) if rows else None


def embedding_of_person(gallery: Gallery, user_id: int) -> NDArray[np.float32] | None:
    """Return the mean direction of a person's embeddings. None if there is none."""
    rows = gallery.database.read("select_embeddings_of_person", {"user_id": user_id}, row_factory=tuple_row)
    return unit_embedding(np.mean([_array(row[0]) for row in rows], axis=0)) if rows else None


def find_person(connection: psycopg.Connection, person: str) -> Person:
    """Return a person, and lock the row.

    Raises:
        UnknownUserError: there is no such person.

    """
    number = person.removeprefix(_ID_PREFIX)
    is_id = person.startswith(_ID_PREFIX) and number.isascii() and number.isdigit() and len(number) <= 10
    values = {"person": person, "user_id": id_in_range(int(number)) if is_id else None}
    row = connection.execute(queries()["find_person"], values).fetchone()
    if row is None:
        raise UnknownUserError
    return Person(row[0], person, row[1] > 0)


def add_person(gallery: Gallery, person: str, on_change: OnChange | None = None) -> None:
    """Add a person with an external id and without faces.

    Raises:
        PersonExistsError: a user has this external id already.

    """
    values = {"person": person, "email": f"{uuid.uuid4()}@person.invalid"}
    with gallery.database.transaction() as connection:
        row = None
        if not person.startswith(_ID_PREFIX):
            row = connection.execute(queries()["insert_person"], values).fetchone()
        if row is None:
            raise PersonExistsError
        if on_change is not None:
            on_change(connection, row[0])


def delete_person(gallery: Gallery, person: str, on_change: OnChange | None = None) -> None:
    """Delete a person. Their faces stay in the gallery, without a person.

    Raises:
        UnknownUserError: there is no such person.

    """
    with gallery.deletion() as connection:
        connection.execute(queries()["lock_enrollment"])
        user_id = find_person(connection, person).user_id
        if on_change is not None:
            on_change(connection, user_id)
        connection.execute(queries()["add_missing_face_ids"], {"embedding_ids": _embedding_ids(connection, user_id)})
        values = {"after": 0, "limit": None, "user_id": user_id, "face_ids": None}
        for face in _faces(connection, "select_indexed_faces", values):
            _detach(connection, face)
        connection.execute(queries()["delete_user"], {"id": user_id})


def list_people(gallery: Gallery, *, after: int = 0, limit: int) -> list[Person]:
    """List the people in the order of their ids."""
    values = {"after": id_in_range(after), "limit": limit}
    return [Person(*row) for row in gallery.database.read("select_people", values, row_factory=tuple_row)]


def associate(
    gallery: Gallery,
    person: str,
    face_ids: Sequence[UUID],
    threshold: float,
    on_change: OnChange | None = None,
) -> Changes:
    """Move faces to a person. A face must be similar to the person's faces, if there are any.

    Args:
        gallery: the gallery.
        person: the person.
        face_ids: the faces. One that the person has already is left out of the result.
        threshold: the minimum similarity to one of the person's faces before the change.
        on_change: called for each moved face with the person's user.

    Raises:
        UnknownUserError: there is no such person.
        TooManyFacesError: the person would have too many faces. Nothing was changed.

    """
    changes = Changes()
    with gallery.deletion() as connection:
        connection.execute(queries()["lock_enrollment"])
        target = find_person(connection, person)
        found = _faces_by_id(connection, face_ids)
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
    gallery: Gallery, person: str, face_ids: Sequence[UUID], on_change: OnChange | None = None
) -> tuple[Changes, bool]:
    """Take faces away from a person. Return the changes, and whether the person has faces left.

    Raises:
        UnknownUserError: there is no such person.

    """
    changes = Changes()
    with gallery.database.transaction() as connection:
        connection.execute(queries()["lock_enrollment"])
        target = find_person(connection, person)
        found = _faces_by_id(connection, face_ids)
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
    gallery.note_changes()
    return changes, has_faces


def _insert(connection: psycopg.Connection, face: Face, values: dict[str, Any]) -> IndexedFace:
    face_id = uuid.uuid4()
    row = connection.execute(
        queries()["insert_indexed_face"],
        measurements_of(face)
        | values
        | {"face_id": face_id, "email": _email_of(face_id), "side": CROP_SIZE, "embedding": face.embedding},
    ).fetchone()
    assert row is not None  # noqa: S101 - an INSERT ... RETURNING of one row
    return IndexedFace(
        face_id,
        values["image_id"],
        values["external_image_id"],
        None,
        face.detection_score,
        face.box,
        (values["image_width"], values["image_height"]),
        *row,
    )


def _move(connection: psycopg.Connection, embedding_id: int, user_id: int) -> None:
    for query in ("move_photo_of_face", "move_face"):
        connection.execute(queries()[query], {"embedding_id": embedding_id, "into": user_id})


def _detach(connection: psycopg.Connection, face: IndexedFace) -> None:
    """Give a face a user of its own again."""
    row = connection.execute(queries()["insert_user_of_face"], {"email": _email_of(face.face_id)}).fetchone()
    assert row is not None  # noqa: S101 - an INSERT ... RETURNING of one row
    _move(connection, face.embedding_id, row[0])


def _embedding_ids(connection: psycopg.Connection, user_id: int) -> list[int]:
    rows = connection.execute("SELECT id FROM face_embeddings WHERE user_id = %s", (user_id,)).fetchall()
    return [row[0] for row in rows]


def _email_of(face_id: UUID) -> str:
    """Return the reserved e-mail of the user of a face."""
    return f"{face_id}@face.invalid"


def _faces_by_id(connection: psycopg.Connection, face_ids: Sequence[UUID]) -> dict[UUID, IndexedFace]:
    values = {"after": 0, "limit": None, "user_id": None, "face_ids": list(face_ids)}
    return {face.face_id: face for face in _faces(connection, "select_indexed_faces", values)}


def _faces(connection: psycopg.Connection, query: str, values: dict[str, Any]) -> list[IndexedFace]:
    with connection.cursor(row_factory=kwargs_row(_face)) as cursor:
        return cursor.execute(queries()[query], values).fetchall()


def _face(
    *,
    box_x: float | None,
    box_y: float,
    box_width: float,
    box_height: float,
    image_width: int | None,
    image_height: int,
    **columns: Any,
) -> IndexedFace:
    box = None if box_x is None else Box(box_x, box_y, box_width, box_height)
    size = None if image_width is None else (image_width, image_height)
    return IndexedFace(**columns, box=box, image_size=size)


def _similar(*, similarity: float, **columns: Any) -> tuple[int, IndexedFace | None, float]:
    face = None if columns["face_id"] is None else _face(**columns)
    return columns["embedding_id"], face, similarity


def _is_same(one: Box, other: Box) -> bool:
    return all(abs(a - b) < _SAME_BOX for a, b in zip(one, other, strict=True))


def _array(value: Any) -> NDArray[np.float32]:
    return np.asarray(value.to_numpy() if hasattr(value, "to_numpy") else value, dtype=np.float32)
