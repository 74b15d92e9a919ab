"""Contested faces: users have enrolled them themselves, but the gallery identifies them as another user.

Users see no difference from other photos, because they must not learn who else is in the gallery. Verification uses
these faces. Identification does not, until an administrator has accepted them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from pgface.database.sql import queries
from pgface.gallery.enroll import face_of_another_user, other_owner
from pgface.gallery.users import Within, id_in_range, unknown_photo
from pgface.results import Match


@dataclass(frozen=True, slots=True)
class ContestedFace:
    """A photo with a contested face."""

    photo_id: int
    user_id: int
    name: str
    email: str
    filename: str
    created_at: datetime
    looks_like: Match | None
    """The user that the gallery identifies it as now. None if that user's face was deleted."""

    def to_json(self) -> dict[str, Any]:
        """Return values that `json.dumps` accepts."""
        values = {field: getattr(self, field) for field in ("photo_id", "user_id", "name", "email", "filename")}
        like = self.looks_like
        return values | {
            "created_at": self.created_at.isoformat(),
            "looks_like": like
            and {"user_id": like.user_id, "name": like.name, "email": like.email, "similarity": like.similarity},
        }


def contested_faces(
    connection: psycopg.Connection, *, user_id: int | None = None, after: int = 0, limit: int | None = None
) -> list[ContestedFace]:
    """List the contested faces of a user, or of all users, in the order of their photos."""
    return _read_contested(connection, user_id=user_id, photo_id=None, after=after, limit=limit)


def accept_face(
    connection: psycopg.Connection,
    photo_id: int,
    *,
    allow_other_user: bool = False,
    within: Within[ContestedFace] | None = None,
) -> ContestedFace:
    """Accept a contested face, so that identification finds it.

    Raises:
        UnknownPhotoError: there is no photo with this id and a contested face.
        FaceOfAnotherUserError: the gallery still identifies it as another user.

    """
    connection.execute(queries()["lock_enrollment"])
    found = _read_contested(connection, user_id=None, photo_id=id_in_range(photo_id), after=0, limit=None)
    if not found:
        raise unknown_photo(photo_id)
    face = found[0]
    if (like := face.looks_like) is not None and not allow_other_user:
        raise face_of_another_user(face.filename, like)
    for query in ("accept_contested_face", "delete_accepted_face"):
        connection.execute(queries()[query], {"photo_id": photo_id})
    if within is not None:
        within(connection, face)
    return face


def _read_contested(connection: psycopg.Connection, **values: int | None) -> list[ContestedFace]:
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(queries()["select_contested_faces"], values).fetchall()
    likes = [other_owner(connection, row.pop("embedding"), row["user_id"]) for row in rows]
    return [ContestedFace(**row, looks_like=like) for row, like in zip(rows, likes, strict=True)]
