"""Questions about faces: identify, verify, compare, detect. Nothing of a photo is kept."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter

from pgface.errors import NotPermittedError, RequestError
from pgface.gallery.users import UserRef, clean_email
from pgface.server.answers import ComparisonOut, FaceOut, FacesOut, IdentificationOut, VerificationOut
from pgface.server.api.examples import PHOTO
from pgface.server.auth import Caller, Person, scoped, scoped_or_person
from pgface.server.bodies import body, described
from pgface.server.requests import Claim, Pair, Picture, Probe
from pgface.server.service import TheService
from pgface.text import same_email

router = APIRouter(tags=["faces"])


@router.post(
    "/identify", summary="Who is in a photo? (1:N)", openapi_extra=described(Probe, {"photo": PHOTO, "top": 3})
)
async def identify(
    service: TheService, _: Annotated[Caller, scoped("identify")], asked: Annotated[Probe, body(Probe, photos=1)]
) -> IdentificationOut:
    """For every face in it, or for the largest if there are many. A photo without a face is an answer, not an error."""
    found = await service.infer(service.gallery.identify, asked.photo, threshold=asked.threshold, top=asked.top)
    return IdentificationOut.of(found)


@router.post(
    "/verify", summary="Is it this user? (1:1)", openapi_extra=described(Claim, {"photo": PHOTO, "user_id": 12})
)
async def verify(
    service: TheService,
    caller: Annotated[Caller, scoped_or_person("verify")],
    asked: Annotated[Claim, body(Claim, photos=1)],
) -> VerificationOut:
    """A person may ask only of themselves."""
    user = _claimed(caller, asked)
    found = await service.infer(service.gallery.verify, asked.photo, user, threshold=asked.threshold, face=asked.face)
    return VerificationOut.of(found)


@router.post(
    "/compare", summary="Are two photos of one person?", openapi_extra=described(Pair, {"photo": PHOTO, "other": PHOTO})
)
async def compare(
    service: TheService,
    _: Annotated[Caller, scoped_or_person("verify")],
    asked: Annotated[Pair, body(Pair, photos=2)],
) -> ComparisonOut:
    """Nobody needs to be enrolled."""
    found = await service.infer(
        service.gallery.compare, asked.photo, asked.other, threshold=asked.threshold, face=asked.face
    )
    return ComparisonOut.of(found)


@router.post("/detect", summary="Find the faces of a photo", openapi_extra=described(Picture, {"photo": PHOTO}))
async def detect(
    service: TheService,
    _: Annotated[Caller, scoped_or_person("identify")],
    asked: Annotated[Picture, body(Picture, photos=1)],
) -> FacesOut:
    """Boxes, landmarks and quality; nobody is searched for."""
    found = await service.infer(service.gallery.detect, asked.photo)
    return FacesOut(faces=[FaceOut(**FaceOut.values(face)) for face in found])


def _claimed(caller: Caller, asked: Claim) -> UserRef:
    """Whom a photo is claimed to be of; a person who is no administrator learns nothing of anybody else."""
    claims = [claim for claim in (asked.user_id, asked.email, asked.name) if claim is not None]
    if len(claims) > 1:
        raise RequestError("Give one of user_id, email and name.")
    given: UserRef | None = claims[0] if claims else None
    if asked.email is not None:
        given = clean_email(asked.email)
    if caller.may("verify"):
        if given is None:
            raise RequestError("Give user_id, email or name of whom the photo is claimed to be.")
        return given
    assert isinstance(caller, Person)  # noqa: S101 - the other kind has a scope
    own = caller.login
    if given not in (None, own.user_id) and same_email(str(given)) != same_email(own.email):
        raise NotPermittedError
    return own.user_id
