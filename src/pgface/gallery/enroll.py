"""Enrolling faces: one rule for a single photo, a group photo and a folder.

A photo that its user has already is skipped. A face that the gallery identifies as another user is refused, unless the
caller allows it. A new user is added only with an accepted face.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.rows import class_row

from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import FaceOfAnotherUserError, GalleryError
from pgface.faces.cancellation import waiting
from pgface.faces.engines.base import Box, Face
from pgface.faces.pixels import CROP_SIZE
from pgface.gallery.attributes import Attributes
from pgface.gallery.photo_batch import EarlyCrop
from pgface.gallery.photos import PhotoFiles
from pgface.gallery.users import UserRef, Within, add_user_if_missing, find_user_or_new, full_name
from pgface.results import Enrollment, Match
from pgface.text import same_email

_MAX_FILENAME_CHARACTERS = 255


@dataclass(frozen=True, slots=True, eq=False)
class FaceToEnroll:
    """A face of a photo, and the user to enroll it for."""

    user: UserRef
    """A user of the gallery, or a new e-mail."""
    name: str | None
    """The name for a new user, by default the first part of the e-mail."""
    photo: str
    """The name of the photo."""
    content_sha256: str | None
    """None enrolls the face even if its user has the same photo."""
    face: Face
    left_aside: tuple[Box, ...] = ()
    """Faces in the background, for the result."""
    attributes: Attributes | None = None
    """The external id, labels and metadata of a new user."""


def enroll_together(
    database: Database,
    files: PhotoFiles,
    faces: Sequence[FaceToEnroll],
    *,
    model_changes: int | None,
    allow_other_user: bool = False,
    by_themselves: bool = False,
    within: Within[Enrollment] | None = None,
) -> list[Enrollment]:
    """Enroll faces of one photo in one transaction: all of them, or no face.

    Args:
        database: the gallery's connections.
        files: the gallery's photo files.
        faces: the faces, from left to right, each for another user.
        model_changes: `GalleryConfig.model_changes` from before the faces were embedded.
        allow_other_user: enroll a face even if the gallery identifies it as another user.
        by_themselves: set such a face aside as contested, and return the same result as for any other face.
        within: called in the transaction for each enrolled face.

    Raises:
        FaceOfAnotherUserError: a face already belongs to another user.
        ModelMismatchError: the gallery has got another model since the faces were embedded.
        UnknownUserError: there is no user with one of the ids or names.
        GalleryError: two of the faces are for the same user.

    """
    with open_enrollment(database, files, [face.face for face in faces], model_changes) as (connection, crops):
        if len(faces) > 1:
            _refuse_two_faces_of_one_user(connection, faces)
        enrollments = []
        for face, crop in zip(faces, crops, strict=True):
            enrollment = _enroll(connection, crop, face, allow_other_user=allow_other_user, by_themselves=by_themselves)
            enrollments.append(enrollment)
            if enrollment.added and within is not None:
                within(connection, enrollment)
        return enrollments


def enroll_each(
    database: Database,
    files: PhotoFiles,
    faces: Sequence[FaceToEnroll],
    *,
    model_changes: int | None,
    allow_other_user: bool = False,
) -> list[Enrollment | FaceOfAnotherUserError]:
    """Enroll faces of many photos in one transaction, and leave out those that belong to another user.

    Args:
        database: the gallery's connections.
        files: the gallery's photo files.
        faces: the faces, each from a different photo.
        model_changes: `GalleryConfig.model_changes` from before the faces were embedded.
        allow_other_user: enroll a face even if the gallery identifies it as another user.

    Returns:
        The result for each face, or why it was refused.

    Raises:
        ModelMismatchError: the gallery has got another model since the faces were embedded.

    """
    if not faces:
        return []
    outcomes: list[Enrollment | FaceOfAnotherUserError] = []
    with open_enrollment(database, files, [face.face for face in faces], model_changes) as (connection, crops):
        for face, crop in zip(faces, crops, strict=True):
            try:
                outcomes.append(_enroll(connection, crop, face, allow_other_user=allow_other_user))
            except FaceOfAnotherUserError as refusal:  # raised before anything was written for this face
                outcomes.append(refusal)
    return outcomes


@contextmanager
def open_enrollment(
    database: Database, files: PhotoFiles, faces: Sequence[Face], model_changes: int | None
) -> Iterator[tuple[psycopg.Connection, list[EarlyCrop]]]:
    """Write the crops of faces, and open a transaction for their enrollment. A gallery has only one at a time.

    The crops are written before the transaction, because that took a third of the time in which other enrollments
    wait. Those of faces that are not enrolled are deleted at the end.
    """
    with files.writing() as batch:
        crops = [batch.add_early(face.crop) for face in faces]
        with waiting():
            batch.write_early()
            with database.transaction_alone() as connection:
                connection.execute(queries()["lock_enrollment"])
                # A change of the model holds this lock, too. So the model stays the same from here on.
                connection.execute(queries()["require_model"], {"model_changes": model_changes})
                batch.join(connection)
                yield connection, crops


def _enroll(
    connection: psycopg.Connection,
    crop: EarlyCrop,
    wanted: FaceToEnroll,
    *,
    allow_other_user: bool,
    by_themselves: bool = False,
) -> Enrollment:
    """Enroll one face. Call it under the enrollment lock, so that each face is compared with all earlier ones."""
    user = find_user_or_new(connection, wanted.user)
    if user is not None:
        photo_id = _find_photo(connection, user.id, wanted.content_sha256)
        if photo_id is not None:
            return Enrollment(user, wanted.photo, photo_id, added=False, face=None)
    other = None
    if not allow_other_user:
        other = other_owner(connection, wanted.face.embedding, None if user is None else user.id)
    if other is not None and not by_themselves:
        raise face_of_another_user(wanted.photo, other)
    user = user or add_user_if_missing(connection, str(wanted.user), wanted.name, wanted.attributes)
    photo_id = _store(connection, crop, user.id, wanted, contested=other is not None)
    user = replace(user, photos=user.photos + 1, embeddings=user.embeddings + 1)
    return Enrollment(user, wanted.photo, photo_id, added=True, face=wanted.face, left_aside=wanted.left_aside)


def _find_photo(connection: psycopg.Connection, user_id: int, content_sha256: str | None) -> int | None:
    """Return the id of the user's photo with this content."""
    values = {"user_id": user_id, "content_sha256": content_sha256}
    row = connection.execute(queries()["select_photo_by_content"], values).fetchone()
    return None if row is None else row[0]


def _refuse_two_faces_of_one_user(connection: psycopg.Connection, faces: Sequence[FaceToEnroll]) -> None:
    # Both faces have the hash of the same photo, so the second one would count as enrolled already.
    numbers: dict[int | str, int] = {}
    for number, face in enumerate(faces, start=1):
        user = find_user_or_new(connection, face.user)
        email = same_email(str(face.user)) if user is None else user.email
        first = numbers.setdefault(email if user is None else user.id, number)
        if first != number:
            raise GalleryError(
                f"{face.photo}: faces {first} and {number} from the left are both for {email}. "
                "Give a different user for each face."
            )


def other_owner(connection: psycopg.Connection, embedding: NDArray[np.float32], user_id: int | None) -> Match | None:
    """Return the other user that the gallery identifies a face as. None if there is no such user."""
    other = _other_match(connection, "find_similar_faces", embedding, user_id)
    if other is None or connection.execute(queries()["is_person"], {"id": other.user_id}).fetchone() == (True,):
        return other
    # A face that no person was assigned to may be the same person's. It may also hide another person.
    return _other_match(connection, "find_similar_faces_among", embedding, user_id)


def _other_match(
    connection: psycopg.Connection, query: str, embedding: NDArray[np.float32], user_id: int | None
) -> Match | None:
    values = {"embedding": embedding, "threshold": None, "max_results": 2, "model_changes": None}
    with connection.cursor(row_factory=class_row(Match)) as cursor:
        matches = cursor.execute(queries()[query], values | {"labels": [], "people_only": True}).fetchall()
    return next((match for match in matches if match.user_id != user_id), None)


def face_of_another_user(photo: str, owner: Match) -> FaceOfAnotherUserError:
    """Return the error for a face that belongs to another user. It names that user."""
    return FaceOfAnotherUserError(
        f"{photo}: this face already belongs to {full_name(owner.name, owner.email)} "
        f"(similarity {owner.similarity:.3f}). {FaceOfAnotherUserError.ADVICE}"
    )


def insert_embedding(connection: psycopg.Connection, user_id: int, embedding: NDArray[np.float32]) -> int:
    """Insert one bare embedding, and return its id."""
    row = connection.execute(queries()["insert_embedding"], {"user_id": user_id, "embedding": embedding}).fetchone()
    assert row is not None  # noqa: S101 - an INSERT ... RETURNING of one row
    return int(row[0])


def _store(
    connection: psycopg.Connection, crop: EarlyCrop, user_id: int, wanted: FaceToEnroll, *, contested: bool
) -> int:
    """Insert the rows of a photo and its face, and return the photo's id."""
    values = measurements_of(wanted.face) | {
        "user_id": user_id,
        "filename": _stored_name(wanted.photo),
        "filepath": crop.use(),
        "side": CROP_SIZE,
        "content_sha256": wanted.content_sha256,
        "embedding": wanted.face.embedding,
    }
    query = "insert_photo_and_contested_face" if contested else "insert_photo_and_face"
    row = connection.execute(queries()[query], values).fetchone()
    assert row is not None  # noqa: S101 - an INSERT ... RETURNING of one row
    return int(row[0])


def measurements_of(face: Face) -> dict[str, Any]:
    """Return the numbers of a face by the names of their columns."""
    quality = face.quality
    numbers = {f"box_{name}": value for name, value in face.box._asdict().items()} | {
        "detection_score": face.detection_score,
        "sharpness": quality.sharpness,
        "brightness": quality.brightness,
        "yaw": quality.yaw,
        "pitch": quality.pitch,
        "roll": quality.roll,
    }
    return {name: None if np.isnan(value) else float(value) for name, value in numbers.items()}


def _stored_name(photo: str) -> str:
    # The name of the folder is private, and PostgreSQL stores only valid text. The end of a long name says the most.
    return PurePath(photo).name.encode("utf-8", "replace").decode().replace("\0", "")[-_MAX_FILENAME_CHARACTERS:]
