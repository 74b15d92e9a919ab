"""`/users/{user_id}/photos`, and `/photos` for programs that know an e-mail: enrolling."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from pgface.accounts import Client
from pgface.errors import NotPermittedError, RequestError
from pgface.gallery.enroll_folder import person_of
from pgface.gallery.users import UserRef, clean_email
from pgface.results import Enrollment
from pgface.server.answers import EnrollmentOut, PhotoOut, PhotoPage
from pgface.server.api.examples import PHOTO
from pgface.server.api.ids import PhotoId, UserId
from pgface.server.auth import Caller, Person, scoped, scoped_or_self
from pgface.server.bodies import body, described
from pgface.server.cursors import Cursor, Limit, decode_cursor, page
from pgface.server.enrolling import enroll, enroll_own, photo_of
from pgface.server.enrolling import erase_photo as erase_enrolled
from pgface.server.idempotency import Created, IdempotencyKey, once
from pgface.server.requests import NewPhoto, NewPhotoOf
from pgface.server.service import Service, TheClient, TheService

router = APIRouter(tags=["photos"])

_CREATED: Final[dict[str, Any]] = {
    "status_code": 201,
    "response_model": EnrollmentOut,
    "responses": {200: {"model": EnrollmentOut, "description": "The user has this photo already."}},
}


@router.get("/users/{user_id}/photos", summary="List a user's photos")
def list_photos(
    service: TheService,
    _: Annotated[Caller, scoped_or_self("admin")],
    user_id: UserId,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> PhotoPage:
    """In the order of their ids."""
    after = decode_cursor("photos", cursor) or 0
    found = service.gallery.photos(user_id, after=after, limit=limit + 1)
    shown, following = page("photos", found, limit, lambda photo: photo.id)
    return PhotoPage(photos=[PhotoOut.of(photo, service) for photo in shown], next_cursor=following)


@router.post(
    "/users/{user_id}/photos",
    summary="Enroll a photo of a user",
    openapi_extra=described(NewPhoto, {"photo": PHOTO}),
    **_CREATED,
)
async def enroll_photo(
    request: Request,
    service: TheService,
    caller: Annotated[Caller, scoped_or_self("enroll")],
    client: TheClient,
    user_id: UserId,
    asked: Annotated[NewPhoto, body(NewPhoto, photos=1)],
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Of the photo only the aligned crop of the face is kept. A photo that the user has already changes nothing.

    Who enrolls a photo of themselves does not learn whether the face is another user's: an administrator does.
    """
    return await _enroll(request, service, caller, client, asked, (user_id, None), idempotency_key)


@router.post(
    "/photos",
    summary="Enroll a photo by e-mail",
    openapi_extra=described(NewPhotoOf, {"photo": PHOTO, "email": "alice@example.org", "name": "Alice"}),
    **_CREATED,
)
async def enrollphoto_of(
    request: Request,
    service: TheService,
    caller: Annotated[Caller, scoped("enroll")],
    client: TheClient,
    asked: Annotated[NewPhotoOf, body(NewPhotoOf, photos=1)],
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """A user with a new e-mail is added, in the same transaction."""
    return await _enroll(request, service, caller, client, asked, _meant(asked), idempotency_key)


@router.get(
    "/users/{user_id}/photos/{photo_id}/crop",
    response_class=Response,
    responses={
        200: {
            "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
            "description": "A JPEG of 224×224 pixels.",
        }
    },
    summary="Get the crop of a photo",
)
def get_crop(
    service: TheService, _: Annotated[Caller, scoped_or_self("admin")], user_id: UserId, photo_id: PhotoId
) -> Response:
    """The face, upright, with its eyes level."""
    return Response(service.gallery.crop(photo_of(service, user_id, photo_id)), media_type="image/jpeg")


@router.delete("/users/{user_id}/photos/{photo_id}", status_code=204, response_class=Response, summary="Erase a photo")
def erase_photo(
    service: TheService,
    _: Annotated[Caller, scoped_or_self("admin")],
    client: TheClient,
    user_id: UserId,
    photo_id: PhotoId,
) -> None:
    """Its row, the embeddings made from it, and its file."""
    erase_enrolled(service, client, user_id, photo_id)


async def _enroll(
    request: Request,
    service: Service,
    caller: Caller,
    client: Client,
    asked: NewPhoto,
    user: tuple[UserRef, str | None],
    key: str | None,
) -> JSONResponse:
    if asked.allow_other_user and not caller.may("admin"):
        raise NotPermittedError("Only an administrator may enroll a face that is another user's.")

    ref, name = user

    def added() -> Enrollment:
        if isinstance(caller, Person) and not caller.may("enroll"):
            return enroll_own(service, client, asked.photo, caller.login.user_id, face=asked.face)
        return enroll(
            service, client, asked.photo, ref, name=name, face=asked.face, allow_other_user=asked.allow_other_user
        )

    async def act() -> Created:
        done = await service.infer(added)
        answer = EnrollmentOut.of(done, service)
        return Created(201 if done.added else 200, answer, done.user.id, done.photo_id)

    return await once(request, caller, key, act)


def _meant(asked: NewPhotoOf) -> tuple[UserRef, str | None]:
    if asked.email is not None:
        return clean_email(asked.email), asked.name
    if asked.name is None:
        raise RequestError("Give email or name: whose photo is it?")
    person = person_of(asked.name)
    return person.email, person.name
