"""Putting faces into the gallery's tables: one, or a batch, by the same way."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.rows import class_row

from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import FaceOfAnotherUserError, GalleryError
from pgface.faces.engine import Box, Face
from pgface.faces.photo import Photo
from pgface.faces.pixels import CROP_SIZE
from pgface.gallery.photos import PhotoBatch, PhotoFiles
from pgface.gallery.users import UNUSABLE_PASSWORD, NewUser, UserRef, Within, full_name, get_or_add_user, get_user
from pgface.results import Enrollment, Match, User
from pgface.text import email_spellings, same_email

_PHOTO_TYPES = ("int4", "int4", "varchar", "text", "int4", "int4", "text")
_FACE_TYPES = ("int4", "int4", "vector", *("float4",) * 10)


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A face that is to be enrolled for a user."""

    user_id: int
    photo: str
    """The photo's name."""
    content_sha256: str
    face: Face


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedPhoto:
    """A photo whose face is ready to be enrolled for a person."""

    photo: str
    content_sha256: str
    person: NewUser
    face: Face


def find_enrolled(connection: psycopg.Connection, user_id: int, content_sha256: str) -> int | None:
    """The id of the photo with this content that the user has already."""
    values = {"user_id": user_id, "content_sha256": content_sha256}
    row = connection.execute(queries()["select_photo_by_content"], values).fetchone()
    return None if row is None else row[0]


def insert_embedding(connection: psycopg.Connection, user_id: int, embedding: NDArray[np.float32]) -> int:
    """Write one bare embedding; returns its id."""
    row = connection.execute(queries()["insert_embedding"], {"user_id": user_id, "embedding": embedding}).fetchone()
    assert row is not None  # noqa: S101 - an INSERT ... RETURNING of one row
    return int(row[0])


def enroll_faces(
    database: Database,
    files: PhotoFiles,
    photo: Photo,
    wanted: Sequence[tuple[UserRef, str | None, Face]],
    *,
    allow_other_user: bool = False,
    by_themselves: bool = False,
    left_aside: tuple[Box, ...] = (),
    within: Within[Enrollment] | None = None,
) -> list[Enrollment]:
    """Enroll faces of one photo in one transaction: all of them or none.

    Args:
        database: the gallery's.
        files: where the crops go.
        photo: the open photo.
        wanted: for each face its user, who is added if the e-mail is new, and the name of one that is added.
        allow_other_user: enroll a face even if the gallery identifies it as another user.
        by_themselves: set such a face aside as contested, and answer as if it were not.
        left_aside: faces in the background, for the answer.
        within: is called in the transaction for each that was enrolled.

    Raises:
        FaceOfAnotherUserError: a face already belongs to another user.
        UnknownUserError: there is no user with an id that was given.
        GalleryError: two of the faces are for the same user.

    """
    with files.writing() as batch, database.transaction_alone() as connection:
        connection.execute(queries()["lock_enrollment"])
        users = [get_or_add_user(connection, user_ref, name) for user_ref, name, _ in wanted]
        _refuse_two_faces_of_one_user(photo.name, users)
        enrollments = []
        for user, (_, _, face) in zip(users, wanted, strict=True):
            photo_id = find_enrolled(connection, user.id, photo.content_sha256)
            if photo_id is not None:
                enrollments.append(Enrollment(user, photo.name, photo_id, added=False, face=None))
                continue
            other = None if allow_other_user else owner_besides(connection, face.embedding, user.id)
            if other is not None and not by_themselves:
                raise face_of_another_user(photo.name, other.name, other.email, other.similarity)
            candidate = Candidate(user.id, photo.name, photo.content_sha256, face)
            (photo_id,) = store(connection, batch, [candidate], contested=other is not None)
            enrolled = get_user(connection, user.id)
            enrollments.append(Enrollment(enrolled, photo.name, photo_id, added=True, face=face, left_aside=left_aside))
            if within is not None:
                within(connection, enrollments[-1])
        return enrollments


def _refuse_two_faces_of_one_user(photo: str, users: Sequence[User]) -> None:
    # Otherwise the second face would be taken for the first, enrolled already: both have the photo's hash.
    faces: dict[int, int] = {}
    for number, user in enumerate(users, start=1):
        first = faces.setdefault(user.id, number)
        if first != number:
            raise GalleryError(
                f"{photo}: faces {first} and {number} from the left are both for {user.email}; "
                "give a different user for each face."
            )


def enroll_batch(
    database: Database, files: PhotoFiles, photos: Sequence[EmbeddedPhoto], identify_threshold: float | None
) -> list[int | FaceOfAnotherUserError | None]:
    """Enroll photos of many people in one transaction; a person who is not a user yet is added.

    Args:
        database: the gallery's.
        files: where the crops go.
        photos: the embedded photos.
        identify_threshold: similarity from which a face belongs to another user; None to allow that.

    Returns:
        For each photo, its new id, None for one that the person has already, or why it was refused.

    """
    if not photos:
        return []
    with files.writing() as batch, database.transaction_alone() as connection:
        connection.execute(queries()["lock_enrollment"])
        outcomes: list[int | FaceOfAnotherUserError | None] = [None] * len(photos)
        accepted: list[int] = []
        seen = _enrolled_contents(connection, photos)
        for number, photo in enumerate(photos):
            if (photo.person.email, photo.content_sha256) in seen:
                continue
            refusal = None
            if identify_threshold is not None:
                earlier = [photos[i] for i in accepted if photos[i].person != photo.person]
                refusal = _belongs_to_another(connection, photo, earlier, identify_threshold)
            if refusal is not None:
                outcomes[number] = refusal
                continue
            seen.add((photo.person.email, photo.content_sha256))
            accepted.append(number)
        user_ids = _user_ids(connection, {photos[i].person for i in accepted})
        candidates = [
            Candidate(user_ids[photos[i].person.email], photos[i].photo, photos[i].content_sha256, photos[i].face)
            for i in accepted
        ]
        for number, photo_id in zip(accepted, store(connection, batch, candidates), strict=True):
            outcomes[number] = photo_id
        return outcomes


def _enrolled_contents(connection: psycopg.Connection, photos: Sequence[EmbeddedPhoto]) -> set[tuple[str, str]]:
    spellings = _spellings(photo.person for photo in photos)
    found = connection.execute(queries()["select_enrolled_hashes"], {"spellings": spellings}).fetchall()
    return {(same_email(email), content) for email, content in found}


def _belongs_to_another(
    connection: psycopg.Connection, photo: EmbeddedPhoto, earlier: Sequence[EmbeddedPhoto], threshold: float
) -> FaceOfAnotherUserError | None:
    for match in _owners(connection, photo.face.embedding):
        if same_email(match.email) != photo.person.email:
            return face_of_another_user(photo.photo, match.name, match.email, match.similarity)
    # Those accepted before it in this batch are not in the table yet.
    if earlier:
        similarities = np.stack([other.face.embedding for other in earlier]) @ photo.face.embedding
        best = int(similarities.argmax())
        if similarities[best] >= threshold:
            person = earlier[best].person
            return face_of_another_user(photo.photo, person.name, person.email, float(similarities[best]))
    return None


def _user_ids(connection: psycopg.Connection, people: set[NewUser]) -> dict[str, int]:
    """Ids by e-mail, after adding those who are missing."""
    known = _known_ids(connection, people)
    missing = sorted((person for person in people if person.email not in known), key=lambda person: person.email)
    if not missing:
        return known
    values = {
        "names": [person.name for person in missing],
        "emails": [person.email for person in missing],
        "password": UNUSABLE_PASSWORD,
    }
    connection.execute(queries()["insert_users"], values)
    # All are looked up again: one that somebody else was adding just now was left to them.
    return _known_ids(connection, people)


def _known_ids(connection: psycopg.Connection, people: Collection[NewUser]) -> dict[str, int]:
    """Ids by e-mail; of several users with one e-mail the first."""
    found = connection.execute(queries()["select_user_ids"], {"spellings": _spellings(people)}).fetchall()
    return {same_email(email): user_id for email, user_id in found}


def _spellings(people: Iterable[NewUser]) -> list[str]:
    return [spelling for email in {person.email for person in people} for spelling in email_spellings(email)]


def store(
    connection: psycopg.Connection, files: PhotoBatch, candidates: Sequence[Candidate], *, contested: bool = False
) -> list[int]:
    """Write crops and rows for faces that were accepted, or are contested; returns the ids of the photos, in order."""
    if not candidates:
        return []
    ids = [
        photo_id
        for (photo_id,) in connection.execute(queries()["allocate_photo_ids"], {"count": len(candidates)}).fetchall()
    ]
    photos = (
        (photo_id, c.user_id, _stored_name(c.photo), files.add(c.face.crop), CROP_SIZE, CROP_SIZE, c.content_sha256)
        for photo_id, c in zip(ids, candidates, strict=True)
    )
    copy_rows(connection, "copy_photos", _PHOTO_TYPES, photos)
    copy_rows(
        connection,
        "copy_contested_faces" if contested else "copy_face_embeddings",
        _FACE_TYPES,
        (_face_row(photo_id, c) for photo_id, c in zip(ids, candidates, strict=True)),
    )
    return ids


def copy_rows(
    connection: psycopg.Connection, query: str, types: Sequence[str], rows: Iterable[tuple[Any, ...]]
) -> None:
    """Write rows by binary COPY."""
    with connection.cursor() as cursor, cursor.copy(queries()[query]) as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)


def owner_besides(connection: psycopg.Connection, embedding: NDArray[np.float32], user_id: int) -> Match | None:
    """The user besides this one as whom the gallery identifies a face, if there is one."""
    return next((match for match in _owners(connection, embedding) if match.user_id != user_id), None)


def face_of_another_user(photo: str, name: str, email: str, similarity: float) -> FaceOfAnotherUserError:
    """The refusal, with whose face it is."""
    return FaceOfAnotherUserError(
        f"{photo}: this face already belongs to {full_name(name, email)} (similarity {similarity:.3f}); "
        "enroll it for that user, or allow it for this one with `--allow-other-user`."
    )


def _owners(connection: psycopg.Connection, embedding: NDArray[np.float32]) -> Iterator[Match]:
    with connection.cursor(row_factory=class_row(Match)) as cursor:
        parameters = {"embedding": embedding, "threshold": None, "max_results": 2}
        yield from cursor.execute(queries()["find_similar_faces"], parameters)


def _face_row(photo_id: int, candidate: Candidate) -> tuple[Any, ...]:
    face, quality = candidate.face, candidate.face.quality
    measured = (quality.sharpness, quality.brightness, quality.yaw, quality.pitch, quality.roll)
    numbers = (face.detection_score, *face.box, *measured)
    return (candidate.user_id, photo_id, face.embedding, *(None if np.isnan(n) else float(n) for n in numbers))


def _stored_name(photo: str) -> str:
    # Without its folder, which is nobody's business, and without bytes that are no text; the column holds 255
    # characters, and a name's end says the most.
    return PurePath(photo).name.encode("utf-8", "replace").decode().replace("\0", "")[-255:]
