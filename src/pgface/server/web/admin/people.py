"""A person: their photos, their logins, a first password, and erasing them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from psycopg.rows import class_row, scalar_row

from pgface.accounts import is_administrator
from pgface.errors import UnknownPhotoError, WeakPasswordError
from pgface.server.api import photos as photo_routes
from pgface.server.api import users as user_routes
from pgface.server.api.ids import PhotoId, UserId
from pgface.server.bodies import body
from pgface.server.cursors import decode_cursor, page
from pgface.server.enrolling import noting, photo_of
from pgface.server.requests import PasswordOnly
from pgface.server.service import Service, TheClient, TheService
from pgface.server.web.admin.links import link
from pgface.server.web.pages import PageRoute, TheAdministrator, explain, redirect, render

router = APIRouter(prefix="/people/{user_id}", route_class=PageRoute)

_PAGE: Final = 24
Done = Literal["password", "logins", "photo", "accepted"]


@dataclass(frozen=True, slots=True)
class MeasuredPhoto:
    """A photo, and what enrollment measured of its face; None where that is not known."""

    id: int
    filename: str
    created_at: datetime
    embedded: bool
    """Whether there is an embedding of it; without one nobody is found by it."""
    face_size: float | None
    """The shorter side of the face's box, in pixels of the photo."""
    sharpness: float | None
    brightness: float | None
    """0 to 1."""
    yaw: float | None
    """Degrees, as the other two."""
    pitch: float | None
    roll: float | None


@router.get("")
def person(
    request: Request, service: TheService, user_id: UserId, cursor: str | None = None, done: str | None = None
) -> Response:
    """All that there is to see and to do of a person."""
    return _page(request, service, user_id, cursor=cursor, done=done)


@router.post("/password")
async def set_password(
    request: Request,
    service: TheService,
    client: TheClient,
    user_id: UserId,
    asked: Annotated[PasswordOnly, body(PasswordOnly, plain_form=True)],
) -> Response:
    """Set a password, as the first one of somebody whom others have enrolled; their logins end."""
    try:
        await service.hash(service.accounts.set_password, user_id, asked.password, client=client)
    except WeakPasswordError as error:
        refused = explain(request, error)
        return await service.ask(_page, request, service, user_id, refused=refused, status=422)
    return _back(user_id, "password")


@router.post("/logins/end")
def end_logins(service: TheService, client: TheClient, user_id: UserId) -> Response:
    """Log them out everywhere."""
    service.accounts.log_out_everywhere(user_id, client=client)
    return _back(user_id, "logins")


@router.get("/erase")
def ask_to_erase(request: Request, service: TheService, user_id: UserId) -> Response:
    """Whether this is really meant."""
    return render(request, "admin_erase_person.html", person=service.gallery.user(user_id))


@router.post("/erase")
def erase(service: TheService, administrator: TheAdministrator, client: TheClient, user_id: UserId) -> Response:
    """Rows, embeddings, logins and files."""
    user_routes.erase_user(service, administrator, client, user_id)
    return redirect("/admin/gallery")


@router.get("/photos/{photo_id}/erase")
def ask_to_erase_photo(request: Request, service: TheService, user_id: UserId, photo_id: PhotoId) -> Response:
    """Whether this is really meant."""
    photo = service.gallery.photo(photo_id)
    if photo.user_id != user_id:
        raise UnknownPhotoError
    return render(request, "admin_erase_photo.html", person=service.gallery.user(user_id), photo=photo)


@router.post("/photos/{photo_id}/erase")
def erase_photo(
    service: TheService, administrator: TheAdministrator, client: TheClient, user_id: UserId, photo_id: PhotoId
) -> Response:
    """Its row, the embeddings made from it, and its file."""
    photo_routes.erase_photo(service, administrator, client, user_id, photo_id)
    return _back(user_id, "photo")


@router.post("/photos/{photo_id}/accept")
def accept_face(service: TheService, client: TheClient, user_id: UserId, photo_id: PhotoId) -> Response:
    """Let identification find a contested face, though it is like another user's."""
    photo = photo_of(service, user_id, photo_id)
    service.gallery.accept_face(photo.id, allow_other_user=True, within=noting("face accepted", client, user_id))
    return _back(user_id, "accepted")


def _page(
    request: Request,
    service: Service,
    user_id: int,
    *,
    cursor: str | None = None,
    done: str | None = None,
    refused: str | None = None,
    status: int = 200,
) -> Response:
    user = service.gallery.user(user_id)
    database = service.gallery.database
    asked = {"user_id": user_id, "after": decode_cursor("photos", cursor) or 0, "limit": _PAGE + 1}
    found = database.read("select_measured_photos", asked, row_factory=class_row(MeasuredPhoto))
    shown, following = page("photos", found, _PAGE, lambda photo: photo.id)
    contested = {face.photo_id: face for face in service.gallery.contested_faces(user_id)}
    path = f"/admin/people/{user_id}"
    return render(
        request,
        "admin_person.html",
        status,
        person=user,
        administrator=is_administrator(database, user_id),
        has_password=database.read("has_password", {"id": user_id}, row_factory=scalar_row) == [True],
        logins=service.accounts.logins(user_id),
        photos=shown,
        contested=contested,
        first=cursor is None,
        beginning=path,
        following=following and link(path, cursor=following),
        done=done,
        refused=refused,
    )


def _back(user_id: int, done: Done) -> Response:
    return redirect(link(f"/admin/people/{user_id}", done=done))
