"""Photos of users, by the API and by the pages: enrolling and erasing them, with a row in the audit log."""

from __future__ import annotations

from pgface.accounts import Client
from pgface.accounts.audit import record
from pgface.errors import UnknownPhotoError
from pgface.faces.choice import WhichFace
from pgface.faces.image import Upload
from pgface.people import UserRef
from pgface.results import Enrollment, StoredPhoto
from pgface.server.service import Service


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
    done = service.gallery.enroll(photo, user, name=name, face=face, allow_other_user=allow_other_user)
    if done.added:
        with service.gallery.database.transaction() as connection:
            record(connection, "photo enrolled", client, user_id=done.user.id)
    return done


def erase_photo(service: Service, client: Client, user_id: int, photo_id: int) -> None:
    """Erase a photo of a user: its row, the embeddings made from it, and its file.

    Raises:
        UnknownPhotoError: it is not one of theirs.

    """
    service.gallery.erase_photo(photo_of(service, user_id, photo_id).id)
    with service.gallery.database.transaction() as connection:
        record(connection, "photo erased", client, user_id=user_id)


def erase_face(service: Service, client: Client, user_id: int) -> None:
    """Erase all photos and embeddings of a user, who stays."""
    service.gallery.erase_face(user_id)
    with service.gallery.database.transaction() as connection:
        record(connection, "face erased", client, user_id=user_id)


def photo_of(service: Service, user_id: int, photo_id: int) -> StoredPhoto:
    """A photo of a user.

    Raises:
        UnknownPhotoError: it is not one of theirs.

    """
    photo = service.gallery.photo(photo_id)
    if photo.user_id != user_id:
        raise UnknownPhotoError
    return photo
