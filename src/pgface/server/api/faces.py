"""The operations that identify, verify, compare and detect faces. They store nothing of a photo."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter

from pgface.errors import NotPermittedError, RequestError
from pgface.gallery.attributes import ExternalId
from pgface.gallery.users import UserRef, clean_email
from pgface.server.auth import Caller, UserPrincipal, require_scope
from pgface.server.bodies import BodyRoute
from pgface.server.openapi import problems
from pgface.server.schemas.faces import (
    CompareRequest,
    CompareResponse,
    DetectRequest,
    DetectResponse,
    IdentifyRequest,
    IdentifyResponse,
    VerifyRequest,
    VerifyResponse,
)
from pgface.server.service import ServiceDep
from pgface.text import same_email

router = APIRouter(route_class=BodyRoute, tags=["faces"])


@router.post("/identify", summary="Identify people (1:N)")
async def identify(
    service: ServiceDep,
    _: Annotated[Caller, require_scope("identify")],
    body: IdentifyRequest,
) -> IdentifyResponse:
    """Identifies every face, or the largest ones if there are many. A photo without a face is not an error."""
    found = await service.inference.run(
        service.gallery.identify, body.photo, threshold=body.threshold, top=body.top, labels=body.labels
    )
    return IdentifyResponse.of(found, service)


@router.post("/verify", summary="Verify a user (1:1)", responses=problems(404))
async def verify(
    service: ServiceDep,
    caller: Annotated[Caller, require_scope("verify", or_user=True)],
    body: VerifyRequest,
) -> VerifyResponse:
    """A logged-in user may verify only themselves."""
    user = _claimed_user(caller, body)
    found = await service.inference.run(
        service.gallery.verify, body.photo, user, threshold=body.threshold, face=body.face
    )
    return VerifyResponse.of(found, service)


@router.post("/compare", summary="Compare two photos")
async def compare(
    service: ServiceDep,
    _: Annotated[Caller, require_scope("verify", or_user=True)],
    body: CompareRequest,
) -> CompareResponse:
    """Compares the faces of two photos. The person need not be enrolled."""
    found = await service.inference.run(
        service.gallery.compare, body.photo, body.other, threshold=body.threshold, face=body.face
    )
    return CompareResponse.of(found, service)


@router.post("/detect", summary="Detect faces")
async def detect(
    service: ServiceDep,
    _: Annotated[Caller, require_scope("identify", or_user=True)],
    body: DetectRequest,
) -> DetectResponse:
    """Returns boxes, landmarks and quality. It does not search for users."""
    found = await service.inference.run(service.gallery.detect, body.photo)
    return DetectResponse.of({"faces": found}, service)


def _claimed_user(caller: Caller, body: VerifyRequest) -> UserRef:
    """Return the user whom a photo is claimed to show. Only administrators and programs may verify other users."""
    claims: list[UserRef] = [claim for claim in (body.user_id, body.name) if claim is not None]
    if body.email is not None:
        claims.append(clean_email(body.email))
    if body.external_id is not None:
        claims.append(ExternalId(body.external_id))
    if len(claims) > 1:
        raise RequestError("Give one of user_id, email, name and external_id.")
    given = claims[0] if claims else None
    if caller.may("verify"):
        if given is None:
            raise RequestError(
                "Give user_id, email, name or external_id of the user whom the photo is claimed to show."
            )
        return given
    assert isinstance(caller, UserPrincipal)  # noqa: S101 - require_scope lets in keys only with the scope
    own = caller.login
    is_own = given in (None, own.user_id) or (isinstance(given, str) and same_email(given) == same_email(own.email))
    if not is_own:
        raise NotPermittedError
    return own.user_id
