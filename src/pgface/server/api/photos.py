"""The operations of `/users/{user_id}/photos`, and of `/photos` for programs that have an e-mail."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from pgface.accounts import Client, use_cases
from pgface.accounts.idempotency import StoredResponse
from pgface.errors import NotPermittedError, RequestError
from pgface.gallery.enroll_folder import person_of
from pgface.gallery.users import UserRef, clean_email
from pgface.results import Enrollment
from pgface.server.api.ids import PhotoId, UserId
from pgface.server.auth import Caller, UserPrincipal, require_scope
from pgface.server.bodies import BodyRoute
from pgface.server.cursors import Cursor, Limit, decode_cursor, page
from pgface.server.idempotency import IdempotencyKey, once
from pgface.server.schemas.photos import EnrollByEmailRequest, EnrollRequest, EnrollResponse, PhotoPage
from pgface.server.service import ClientDep, Service, ServiceDep

router = APIRouter(route_class=BodyRoute, tags=["photos"])

_ENROLLED: Final[dict[str, Any]] = {
    "status_code": 201,
    "response_model": EnrollResponse,
    "responses": {200: {"model": EnrollResponse, "description": "The user has this photo already."}},
}
_JPEG: Final = {
    "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
    "description": "A JPEG of 224×224 pixels.",
}


@router.get("/users/{user_id}/photos", summary="List a user's photos")
def list_photos(
    service: ServiceDep,
    _: Annotated[Caller, require_scope("admin", or_self=True)],
    user_id: UserId,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> PhotoPage:
    """Returns the photos in the order of their ids."""
    after = decode_cursor("photos", cursor) or 0
    found = service.gallery.photos(user_id, after=after, limit=limit + 1)
    shown, following = page("photos", found, limit, lambda photo: photo.id)
    return PhotoPage.of({"photos": shown, "next_cursor": following}, service)


@router.post("/users/{user_id}/photos", summary="Enroll a photo of a user", **_ENROLLED)
async def enroll_photo(
    request: Request,
    service: ServiceDep,
    caller: Annotated[Caller, require_scope("enroll", or_self=True)],
    client: ClientDep,
    user_id: UserId,
    body: EnrollRequest,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Stores only the aligned crop of the face. A photo that the user has already changes nothing.

    A user who enrolls their own photo does not learn whether the face is another user's. An administrator does.
    """
    return await _enroll(request, service, caller, client, body, user_id, idempotency_key)


@router.post("/photos", summary="Enroll a photo by e-mail", **_ENROLLED)
async def enroll_photo_by_email(
    request: Request,
    service: ServiceDep,
    caller: Annotated[Caller, require_scope("enroll")],
    client: ClientDep,
    body: EnrollByEmailRequest,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Adds a user if the e-mail is new, in the same transaction."""
    user, name = _user_named_in(body)
    attributes = {"external_id": body.external_id, "labels": body.labels, "metadata": body.metadata}
    return await _enroll(request, service, caller, client, body, user, idempotency_key, name=name, **attributes)


@router.get(
    "/users/{user_id}/photos/{photo_id}/crop",
    response_class=Response,
    responses={200: _JPEG},
    summary="Get the crop of a photo",
)
def get_crop(
    service: ServiceDep,
    _: Annotated[Caller, require_scope("admin", or_self=True)],
    user_id: UserId,
    photo_id: PhotoId,
) -> Response:
    """Returns the face, rotated so that the eyes are level."""
    photo = use_cases.find_photo(service.gallery, user_id, photo_id)
    return Response(service.gallery.crop(photo), media_type="image/jpeg")


@router.delete("/users/{user_id}/photos/{photo_id}", status_code=204, response_class=Response, summary="Delete a photo")
def delete_photo(
    service: ServiceDep,
    _: Annotated[Caller, require_scope("admin", or_self=True)],
    client: ClientDep,
    user_id: UserId,
    photo_id: PhotoId,
) -> None:
    """Deletes its row, the embeddings made from it, and its file."""
    use_cases.delete_photo(service.gallery, client, user_id, photo_id)


async def _enroll(
    request: Request,
    service: Service,
    caller: Caller,
    client: Client,
    body: EnrollRequest,
    user: UserRef,
    key: str | None,
    **new_user: Any,
) -> JSONResponse:
    if body.allow_other_user and not caller.may("admin"):
        raise NotPermittedError("Only an administrator may enroll a face that is another user's.")

    def enroll() -> Enrollment:
        if isinstance(caller, UserPrincipal) and not caller.may("enroll"):
            return use_cases.enroll_own_photo(service.gallery, client, body.photo, caller.login.user_id, face=body.face)
        return use_cases.enroll_photo(
            service.gallery,
            client,
            body.photo,
            user,
            face=body.face,
            allow_other_user=body.allow_other_user,
            **new_user,
        )

    async def act() -> StoredResponse:
        done = await service.inference.run(enroll)
        answer = EnrollResponse.of(done, service).to_json()
        return StoredResponse(201 if done.added else 200, answer, done.user.id, done.photo_id)

    return await once(request, caller, key, act)


def _user_named_in(body: EnrollByEmailRequest) -> tuple[UserRef, str | None]:
    if body.email is not None:
        return clean_email(body.email), body.name
    if body.name is None:
        raise RequestError("Give the email or the name of the person in the photo.")
    person = person_of(body.name)
    return person.email, person.name
