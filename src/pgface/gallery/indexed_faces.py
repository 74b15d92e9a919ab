"""Faces that are stored before it is known whose they are, with ids that last.

Amazon Rekognition's clients work in this way: they index the faces of a photo, keep the ids, and may later associate
faces with a user. Here such a face has a `users` row of its own, which is no person. So search and rights work as for
all users. `pgface.gallery.people_of_faces` associates faces with people.
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
from pgface.faces.engines.base import Box, Choose, Face
from pgface.faces.photo import PhotoSource
from pgface.faces.pixels import CROP_SIZE
from pgface.gallery.config import GalleryConfig
from pgface.gallery.enroll import measurements_of, open_enrollment
from pgface.gallery.events import record_searched
from pgface.gallery.gallery import Gallery
from pgface.gallery.users import id_in_range
from pgface.vectors import unit_embedding

_SAME_FACE: Final = 0.5
"""The share that two boxes of one photo have in common if they are the same face. Another model draws other boxes."""

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
    """The client's own name of the photo."""
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
    """Cosine, -1 to 1."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a face was not changed."""

    face_id: UUID
    reason: Reason
    person: str | None = None
    """The person who has the face, or to whom it is not similar."""
    similarity: float | None = None
    """Of a face that is not similar: its cosine with the person's most similar face, -1 to 1."""


@dataclass(frozen=True, slots=True)
class Changes:
    """The faces that were changed, and those that were not."""

    done: list[UUID] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)


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
            known = read_faces(connection, "select_indexed_faces_of_photo", values)
            values |= {
                "image_id": known[0].image_id if known else uuid.uuid4(),
                "filename": external_image_id or "photo",
                "image_width": size[0],
                "image_height": size[1],
            }
            for face, crop in zip(faces, crops, strict=True):
                same = next((one for one in known if one.box and overlap(one.box, face.box) > _SAME_FACE), None)
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
        return read_faces(connection, "select_indexed_faces", values)


def delete_faces(gallery: Gallery, face_ids: Sequence[UUID], on_delete: OnChange | None = None) -> Changes:
    """Delete faces with their files. Those of a person stay."""
    changes = Changes()
    with gallery.deletion() as connection:
        connection.execute(queries()["lock_enrollment"])
        found = faces_by_id(connection, face_ids)
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
    config: GalleryConfig,
    except_embedding_id: int | None = None,
) -> list[SimilarFace]:
    """Return the faces whose similarity reaches the threshold, the most similar first.

    With `Settings.search_events`, it adds an event, as `Gallery.identify` does.

    Args:
        gallery: the gallery to search.
        embedding: an embedding of its model.
        threshold: the lowest similarity, -1 to 1.
        limit: the maximum number of faces.
        config: the gallery's configuration from before the embedding was made.
        except_embedding_id: this face is left out.

    Raises:
        ModelMismatchError: the embedding is of an earlier model.
        ReadOnlyError: the event cannot be written, because the server is a replica.

    """
    values = {
        "embedding": unit_embedding(embedding),
        "threshold": threshold,
        "limit": limit,
        # The excepted face is among the most similar ones.
        "max_users": limit + (except_embedding_id is not None),
        "except_embedding_id": except_embedding_id,
        "model_changes": config.model_changes,
    }
    rows = gallery.database.search("search_indexed_faces", values, row_factory=kwargs_row(_similar))
    if missing := [embedding_id for embedding_id, face, _ in rows if face is None]:
        # In its own transaction, because the search only reads.
        gallery.database.execute("add_missing_face_ids", {"embedding_ids": missing})
        rows = gallery.database.search("search_indexed_faces", values, row_factory=kwargs_row(_similar))
    found = [SimilarFace(face, similarity) for _, face, similarity in rows if face is not None]
    if gallery.settings.search_events:
        best = (found[0].face.user_id, found[0].similarity) if found else None
        record_searched(gallery.database, best, config)
    return found


def embedding_of_face(gallery: Gallery, face_id: UUID) -> tuple[int, NDArray[np.float32]] | None:
    """Return the id and the embedding of a face. None if there is no such face."""
    rows = gallery.database.read("select_embedding_of_face", {"face_id": face_id}, row_factory=tuple_row)
    return (rows[0][0], as_array(rows[0][1])) if rows else None


def _insert(connection: psycopg.Connection, face: Face, values: dict[str, Any]) -> IndexedFace:
    face_id = uuid.uuid4()
    row = connection.execute(
        queries()["insert_indexed_face"],
        measurements_of(face)
        | values
        | {"face_id": face_id, "email": new_email(), "side": CROP_SIZE, "embedding": face.embedding},
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


def new_email() -> str:
    """Return a reserved e-mail for the user of a face."""
    return f"{uuid.uuid4()}@face.invalid"


def faces_by_id(connection: psycopg.Connection, face_ids: Sequence[UUID]) -> dict[UUID, IndexedFace]:
    """Read faces, by their ids. Unknown ids are left out."""
    values = {"after": 0, "limit": None, "user_id": None, "face_ids": list(face_ids)}
    return {face.face_id: face for face in read_faces(connection, "select_indexed_faces", values)}


def read_faces(connection: psycopg.Connection, query: str, values: dict[str, Any]) -> list[IndexedFace]:
    """Run a statement whose rows are faces."""
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


def overlap(one: Box, other: Box) -> float:
    """Return the share that two boxes have in common, 0 to 1: intersection over union."""
    across = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    if across <= 0 or down <= 0:
        return 0.0
    common = across * down
    return common / (one.width * one.height + other.width * other.height - common)


def as_array(value: Any) -> NDArray[np.float32]:
    """Return an embedding that was read from PostgreSQL, shape (512,), float32."""
    return np.asarray(value.to_numpy() if hasattr(value, "to_numpy") else value, dtype=np.float32)
