"""Changes of users, photos and galleries by the API and the pages, each with its row in the audit log.

A change and its row are one transaction, so that there is never one without the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import psycopg
from psycopg.rows import scalar_row

from pgface.accounts.audit_log import Event, record
from pgface.accounts.client import Client
from pgface.database.sql import queries
from pgface.errors import GalleryError, NotPermittedError, UnknownPhotoError
from pgface.faces.face_choice import WhichFace
from pgface.faces.photo import Upload
from pgface.galleries import Galleries, GalleryInfo, Within
from pgface.gallery import Gallery
from pgface.gallery.users import UserRef
from pgface.results import Enrollment, StoredPhoto, User

_ADMINISTRATORS_ENROLL: Final = "Only administrators enroll photos here, because a face alone is enough to log in."


def add_user(
    gallery: Gallery,
    client: Client,
    email: str,
    name: str | None = None,
    *,
    external_id: str | None = None,
    labels: Sequence[str] = (),
    metadata: Mapping[str, Any] | None = None,
) -> User:
    """Add a user without a photo and without a password (see `Gallery.add_user`)."""
    within = _recording("user added", client)
    return gallery.add_user(email, name, external_id=external_id, labels=labels, metadata=metadata, within=within)


def update_user(
    gallery: Gallery,
    client: Client,
    user: UserRef,
    *,
    name: str | None = None,
    external_id: str | None = None,
    labels: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> User:
    """Change a user (see `Gallery.update_user`). The audit log does not contain the values."""
    within = _recording("user changed", client)
    return gallery.update_user(
        user, name=name, external_id=external_id, labels=labels, metadata=metadata, within=within
    )


def delete_user(gallery: Gallery, client: Client, user_id: int) -> None:
    """Delete a user with all rows, embeddings, sessions and files.

    Raises:
        UnknownUserError: there is no such user.

    """
    gallery.erase_user(user_id, within=_recording("user deleted", client, user_id))


def enroll_photo(
    gallery: Gallery,
    client: Client,
    photo: Upload,
    user: UserRef,
    *,
    name: str | None = None,
    external_id: str | None = None,
    labels: Sequence[str] = (),
    metadata: Mapping[str, Any] | None = None,
    face: WhichFace = "only",
    allow_other_user: bool = False,
) -> Enrollment:
    """Enroll the face of a photo (see `Gallery.enroll`)."""
    return gallery.enroll(
        photo,
        user,
        name=name,
        external_id=external_id,
        labels=labels,
        metadata=metadata,
        face=face,
        allow_other_user=allow_other_user,
        within=_recording_enrollment(client),
    )


def enroll_own_photo(
    gallery: Gallery, client: Client, photo: Upload, user_id: int, *, face: WhichFace = "only"
) -> Enrollment:
    """Enroll a user's own photo (see `Gallery.enroll`). The result reveals nothing about other users.

    Raises:
        NotPermittedError: faces alone log in here, so only administrators enroll photos.
        GalleryError: the user has PGFACE_MAX_OWN_PHOTOS photos already.

    """
    if gallery.settings.login_policy == "identify+liveness":
        raise NotPermittedError(_ADMINISTRATORS_ENROLL)
    most = gallery.settings.max_own_photos
    (photos,) = gallery.database.read("count_photos_of_user", {"user_id": user_id}, row_factory=scalar_row)
    if photos >= most:
        raise GalleryError(f"You have {photos} of at most {most} photos. Delete one first.")
    return gallery.enroll(photo, user_id, face=face, by_themselves=True, within=_recording_enrollment(client))


def find_photo(gallery: Gallery, user_id: int, photo_id: int) -> StoredPhoto:
    """Find a photo of a user.

    Raises:
        UnknownPhotoError: there is no such photo, or it belongs to another user.

    """
    photo = gallery.photo(photo_id)
    if photo.user_id != user_id:
        raise UnknownPhotoError
    return photo


def accept_face(gallery: Gallery, client: Client, user_id: int, photo_id: int) -> None:
    """Let identification find a contested face, although it is similar to another user's.

    Raises:
        UnknownPhotoError: this user has no such photo.

    """
    photo = find_photo(gallery, user_id, photo_id)
    gallery.accept_face(photo.id, allow_other_user=True, within=_recording("face accepted", client, user_id))


def delete_photo(gallery: Gallery, client: Client, user_id: int, photo_id: int) -> None:
    """Delete a photo of a user: its row, the embeddings made from it, and its file.

    Raises:
        UnknownPhotoError: this user has no such photo.

    """
    photo = find_photo(gallery, user_id, photo_id)
    gallery.erase_photo(photo.id, within=_recording("photo deleted", client, user_id))


def delete_face(gallery: Gallery, client: Client, user_id: int) -> None:
    """Delete all photos and embeddings of a user. The account stays."""
    gallery.erase_face(user_id, within=_recording("face deleted", client, user_id))


def create_gallery(
    galleries: Galleries, client: Client, name: str, *, model: str | None = None, database_url: str | None = None
) -> GalleryInfo:
    """Create a gallery (see `Galleries.create`)."""
    within = _recording_gallery("gallery created", client)
    return galleries.create(name, model=model, database_url=database_url, authority=client.authority, within=within)


def rename_gallery(galleries: Galleries, client: Client, name: str, new_name: str) -> GalleryInfo:
    """Rename a gallery (see `Galleries.rename`), and describe it."""
    within = _recording_gallery("gallery renamed", client)
    galleries.rename(name, new_name, authority=client.authority, within=within)
    return galleries.describe(new_name)


def delete_gallery(galleries: Galleries, client: Client, name: str) -> None:
    """Delete a gallery (see `Galleries.delete`)."""
    within = _recording_gallery("gallery deleted", client)
    galleries.delete(name, authority=client.authority, within=within)


def _recording_gallery(event: Event, client: Client) -> Within:
    return lambda connection: record(connection, event, client)


def _recording(event: Event, client: Client, user_id: int | None = None) -> Any:
    """Return a function that adds the row. Without a `user_id`, the row is about the user that it gets."""

    def record_event(connection: psycopg.Connection, done: Any) -> None:
        record(connection, event, client, user_id=done.id if user_id is None else user_id)

    return record_event


def _recording_enrollment(client: Client) -> Any:
    def record_enrollment(connection: psycopg.Connection, done: Enrollment) -> None:
        record(connection, "photo enrolled", client, user_id=done.user.id)
        if connection.execute(queries()["is_contested"], {"photo_id": done.photo_id}).fetchone() == (True,):
            record(connection, "face contested", client, user_id=done.user.id)

    return record_enrollment
