"""Photos of users, by the API and by the pages: enrolling and erasing them, with a row in the audit log."""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg.rows import scalar_row

from pgface.accounts import Client
from pgface.accounts.audit import Event, record
from pgface.database.sql import queries
from pgface.errors import GalleryError, NotPermittedError, UnknownPhotoError
from pgface.faces.choice import WhichFace
from pgface.faces.photo import Upload
from pgface.gallery.users import UserRef
from pgface.results import Enrollment, StoredPhoto
from pgface.server.service import Service

_ADMINISTRATORS_ENROLL: Final = "An administrator enrolls photos here, because a face alone logs in."


def enroll(
    service: Service,
    client: Client,
    photo: Upload,
    user: UserRef,
    *,
    name: str | None = None,
    face: WhichFace = "only",
    allow_other_user: bool = False,
) -> Enrollment:
    """Enroll the face of a photo; see `Gallery.enroll`."""
    return service.gallery.enroll(
        photo, user, name=name, face=face, allow_other_user=allow_other_user, within=_enrollment_noted(client)
    )


def enroll_own(
    service: Service, client: Client, photo: Upload, user_id: int, *, face: WhichFace = "only"
) -> Enrollment:
    """Enroll a photo of who sends it, who learns nothing of others by it; see `Gallery.enroll`.

    Raises:
        NotPermittedError: faces alone open accounts here, so that administrators enroll them.
        GalleryError: they have as many photos as they may have.

    """
    if service.settings.login_policy == "identify+liveness":
        raise NotPermittedError(_ADMINISTRATORS_ENROLL)
    most = service.settings.max_own_photos
    (photos,) = service.gallery.database.read("count_photos_of_user", {"user_id": user_id}, row_factory=scalar_row)
    if photos >= most:
        raise GalleryError(f"You have {photos} photos, and may have {most}; delete one first.")
    noted = _enrollment_noted(client)
    return service.gallery.enroll(photo, user_id, face=face, by_themselves=True, within=noted)


def erase_photo(service: Service, client: Client, user_id: int, photo_id: int) -> None:
    """Erase a photo of a user: its row, the embeddings made from it, and its file.

    Raises:
        UnknownPhotoError: it is not one of theirs.

    """
    photo = photo_of(service, user_id, photo_id)
    service.gallery.erase_photo(photo.id, within=noting("photo erased", client, user_id))


def erase_face(service: Service, client: Client, user_id: int) -> None:
    """Erase all photos and embeddings of a user, who stays."""
    service.gallery.erase_face(user_id, within=noting("face erased", client, user_id))


def noting(event: Event, client: Client, user_id: int) -> Any:
    """Adds the row of the audit log to the transaction of what it tells of."""

    def note(connection: psycopg.Connection, _: object) -> None:
        record(connection, event, client, user_id=user_id)

    return note


def photo_of(service: Service, user_id: int, photo_id: int) -> StoredPhoto:
    """A photo of a user.

    Raises:
        UnknownPhotoError: it is not one of theirs.

    """
    photo = service.gallery.photo(photo_id)
    if photo.user_id != user_id:
        raise UnknownPhotoError
    return photo


def _enrollment_noted(client: Client) -> Any:
    def note(connection: psycopg.Connection, done: Enrollment) -> None:
        record(connection, "photo enrolled", client, user_id=done.user.id)
        if connection.execute(queries()["is_contested"], {"photo_id": done.photo_id}).fetchone() == (True,):
            record(connection, "face contested", client, user_id=done.user.id)

    return note
