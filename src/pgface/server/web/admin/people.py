"""The page of a user: photos, logins, the password, and deletion."""

from __future__ import annotations

import json
from typing import Final, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response

from pgface.accounts import administrator_rights, use_cases
from pgface.accounts.listings import has_password, measured_photos
from pgface.errors import WeakPasswordError
from pgface.server.api.ids import PhotoId, UserId
from pgface.server.cursors import decode_cursor, page
from pgface.server.schemas.auth import PasswordRequest
from pgface.server.service import ClientDep, Service, ServiceDep
from pgface.server.web.pages import PageRoute, explain, link, paging, redirect, render

router = APIRouter(prefix="/people/{user_id}", route_class=PageRoute)

_PAGE_ROWS: Final = 24
Done = Literal["password", "logins", "photo", "accepted"]


@router.get("")
def person(
    request: Request, service: ServiceDep, user_id: UserId, cursor: str | None = None, done: str | None = None
) -> Response:
    """Show the page of a user."""
    return _page(request, service, user_id, cursor=cursor, done=done)


@router.post("/password")
async def set_password(
    request: Request,
    service: ServiceDep,
    client: ClientDep,
    user_id: UserId,
    form: PasswordRequest,
) -> Response:
    """Set the password of a user, for example the first one after the enrollment, and end the user's logins."""
    try:
        await service.hashing.run(service.accounts.set_password, user_id, form.password, client=client)
    except WeakPasswordError as error:
        refused = explain(request, error)
        return await service.run_db(_page, request, service, user_id, refused=refused, status=422)
    return _back(user_id, "password")


@router.post("/logins/end")
def end_logins(service: ServiceDep, client: ClientDep, user_id: UserId) -> Response:
    """Log the user out everywhere."""
    service.accounts.log_out_everywhere(user_id, client=client)
    return _back(user_id, "logins")


@router.get("/delete")
def confirm_deletion(request: Request, service: ServiceDep, user_id: UserId) -> Response:
    """Show the page that asks for confirmation."""
    return render(request, "admin_delete_person.html", person=service.gallery.user(user_id))


@router.post("/delete")
def delete_user(service: ServiceDep, client: ClientDep, user_id: UserId) -> Response:
    """Delete the user's rows, embeddings, logins and files."""
    use_cases.delete_user(service.gallery, client, user_id)
    return redirect("/admin/gallery")


@router.get("/photos/{photo_id}/delete")
def confirm_deletion_of_photo(request: Request, service: ServiceDep, user_id: UserId, photo_id: PhotoId) -> Response:
    """Show the page that asks for confirmation."""
    photo = use_cases.find_photo(service.gallery, user_id, photo_id)
    return render(request, "admin_delete_photo.html", person=service.gallery.user(user_id), photo=photo)


@router.post("/photos/{photo_id}/delete")
def delete_photo(service: ServiceDep, client: ClientDep, user_id: UserId, photo_id: PhotoId) -> Response:
    """Delete its row, the embeddings made from it, and its file."""
    use_cases.delete_photo(service.gallery, client, user_id, photo_id)
    return _back(user_id, "photo")


@router.post("/photos/{photo_id}/accept")
def accept_face(service: ServiceDep, client: ClientDep, user_id: UserId, photo_id: PhotoId) -> Response:
    """Let identification find a contested face, although it is similar to another user's."""
    use_cases.accept_face(service.gallery, client, user_id, photo_id)
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
    after = decode_cursor("photos", cursor) or 0
    found = measured_photos(database, user_id, after=after, limit=_PAGE_ROWS + 1)
    shown, following = page("photos", found, _PAGE_ROWS, lambda photo: photo.id)
    return render(
        request,
        "admin_person.html",
        status,
        person=user,
        metadata=json.dumps(dict(user.metadata), ensure_ascii=False),
        administrator=administrator_rights(database, user_id)[0],
        has_password=has_password(database, user_id),
        logins=service.accounts.logins(user_id),
        photos=shown,
        contested={face.photo_id: face for face in service.gallery.contested_faces(user_id)},
        **paging(f"/admin/people/{user_id}", cursor, following),
        done=done,
        refused=refused,
    )


def _back(user_id: int, done: Done) -> Response:
    return redirect(link(f"/admin/people/{user_id}", done=done))
