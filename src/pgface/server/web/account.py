"""The page of the user's own account: photos, sessions, data and deletion."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from pgface.accounts import addresses_of_logins, use_cases
from pgface.errors import (
    GalleryError,
    LoginRefusedError,
    NotPermittedError,
    PgfaceError,
    PhotoError,
    SeveralFacesError,
    TooManyAttemptsError,
    UnknownLoginError,
    UnknownPhotoError,
    WeakPasswordError,
)
from pgface.server.api.ids import MAX_ID, LoginId, PhotoId
from pgface.server.auth import UserPrincipal
from pgface.server.schemas.auth import ChangePasswordRequest, PasswordRequest
from pgface.server.schemas.base import FaceChoice, PhotoField, RequestBody
from pgface.server.service import ClientDep, Service, ServiceDep
from pgface.server.web.export import archive
from pgface.server.web.pages import (
    CurrentUser,
    PageRoute,
    clear_login_cookie,
    explain,
    redirect,
    refused,
    render,
    wrong_password,
)

router = APIRouter(prefix="/account", route_class=PageRoute, include_in_schema=False)

_PAGE_PHOTOS: Final = 60


class OwnPhoto(RequestBody):
    """A photo of the logged-in user."""

    photo: PhotoField
    face: FaceChoice = "only"


@router.get("")
def account_page(
    request: Request,
    service: ServiceDep,
    person: CurrentUser,
    done: str = "",
    after: Annotated[int, Query(ge=0, le=MAX_ID)] = 0,
) -> Response:
    """Show the account."""
    return render(request, "account.html", **_page_values(service, person, after), done=done, wrong=None, several=False)


@router.post("/photos")
async def add_photo(
    request: Request,
    service: ServiceDep,
    person: CurrentUser,
    client: ClientDep,
    form: OwnPhoto,
) -> Response:
    """Enroll a photo from a file, or from the camera. The camera's script puts the photo into the same form."""
    try:
        enroll = use_cases.enroll_photo if person.administrator else use_cases.enroll_own_photo
        user_id = person.login.user_id
        added = await service.inference.run(enroll, service.gallery, client, form.photo, user_id, face=form.face)
    except (PhotoError, GalleryError, NotPermittedError) as error:
        return await _page_with_error(request, service, person, "photo", error)
    if added.left_aside:
        return _done("photo-added-aside")
    return _done("photo-added" if added.added else "photo-known")


@router.post("/photos/{photo_id}/delete")
def delete_photo(service: ServiceDep, person: CurrentUser, client: ClientDep, photo_id: PhotoId) -> Response:
    """Delete one of the user's photos, if it still exists."""
    with suppress(UnknownPhotoError):
        use_cases.delete_photo(service.gallery, client, person.login.user_id, photo_id)
    return _done("photo-deleted")


@router.post("/sessions/{login_id}/end")
def end_session(
    request: Request, service: ServiceDep, person: CurrentUser, client: ClientDep, login_id: LoginId
) -> Response:
    """End one of the user's sessions, which may be this one."""
    with suppress(UnknownLoginError):
        service.accounts.end_login(person.login.user_id, login_id, client=client)
    return _logged_out(request, "logged-out") if login_id == person.login.id else _done("session-ended")


@router.post("/sessions/end")
def end_all_sessions(request: Request, service: ServiceDep, person: CurrentUser, client: ClientDep) -> Response:
    """End all of the user's sessions, including this one."""
    service.accounts.log_out_everywhere(person.login.user_id, client=client)
    return _logged_out(request, "logged-out-everywhere")


@router.post("/password")
async def change_password(
    request: Request,
    service: ServiceDep,
    person: CurrentUser,
    client: ClientDep,
    form: ChangePasswordRequest,
) -> Response:
    """Change the password. All other sessions end."""
    change = service.accounts.change_password
    try:
        await service.hashing.run(change, person.secret, form.former, form.new, client=client)
    except WeakPasswordError as error:
        return await _page_with_error(request, service, person, "new", error)
    except (LoginRefusedError, TooManyAttemptsError) as error:
        return await _page_with_error(request, service, person, "former", error)
    return _done("password-changed")


@router.get("/data")
def download_data(service: ServiceDep, person: CurrentUser) -> Response:
    """Download all data about the user."""
    service.gallery.user(person.login.user_id)  # raises an error before the first byte of the archive is sent
    headers = {"Content-Disposition": f'attachment; filename="pgface-{person.login.user_id}.zip"'}
    return StreamingResponse(archive(service, person), media_type="application/zip", headers=headers)


@router.get("/face/delete")
def face_deletion_page(request: Request, service: ServiceDep, person: CurrentUser) -> Response:
    """Show the page that asks for confirmation."""
    return render(request, "delete_face.html", user=service.gallery.user(person.login.user_id))


@router.post("/face/delete")
def delete_face(service: ServiceDep, person: CurrentUser, client: ClientDep) -> Response:
    """Delete all photos and embeddings. The account stays."""
    use_cases.delete_face(service.gallery, client, person.login.user_id)
    return _done("face-deleted")


@router.get("/delete")
def account_deletion_page(request: Request, person: CurrentUser) -> Response:
    """Show the page that asks for the password."""
    return render(request, "delete_account.html", login=person.login)


@router.post("/delete")
async def delete_account(
    request: Request,
    service: ServiceDep,
    person: CurrentUser,
    client: ClientDep,
    form: PasswordRequest,
) -> Response:
    """Delete the account and everything in it."""
    try:
        await service.hashing.run(service.accounts.erase, person.secret, form.password, client=client)
    except (LoginRefusedError, TooManyAttemptsError) as error:
        return refused(
            request, "delete_account.html", error, problem=wrong_password(request, error), login=person.login
        )
    return _logged_out(request, "account-deleted")


async def _page_with_error(
    request: Request, service: Service, person: UserPrincipal, wrong: str, error: PgfaceError
) -> Response:
    """Show the account page again, with the error of one field."""
    values = await service.run_db(_page_values, service, person, 0)
    several = isinstance(error, SeveralFacesError)
    problem = wrong_password(request, error) if wrong == "former" else explain(request, error)
    return refused(
        request,
        "account.html",
        error,
        **values,
        problem=problem,
        done="",
        wrong=wrong,
        several=several,
        path="/account",
        here="/account",
    )


def _page_values(service: Service, person: UserPrincipal, after: int) -> dict[str, Any]:
    user_id = person.login.user_id
    photos = service.gallery.photos(user_id, after=after, limit=_PAGE_PHOTOS + 1)
    return {
        "user": service.gallery.user(user_id),
        "photos": photos[:_PAGE_PHOTOS],
        "more_after": photos[_PAGE_PHOTOS - 1].id if len(photos) > _PAGE_PHOTOS else None,
        # The current login first, then the newest.
        "logins": sorted(service.accounts.logins(user_id), key=lambda login: (login.id != person.login.id, -login.id)),
        "current": person.login.id,
        "addresses": addresses_of_logins(service.gallery.database, user_id),
    }


def _done(event: str) -> Response:
    return redirect(f"/account?done={event}")


def _logged_out(request: Request, event: str) -> Response:
    response = redirect(f"/login?done={event}")
    clear_login_cookie(response, request)
    return response
