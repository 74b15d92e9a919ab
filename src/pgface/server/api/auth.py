"""`/auth`: registering, logging in and out, one's own account, and what other applications ask of a token."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from pgface.accounts import Challenge
from pgface.errors import NotPermittedError
from pgface.server.answers import ChallengeOut, EndedOut, HintOut, LoginOut, LoginsOut, MeOut, TokenOut, UserOut
from pgface.server.api.examples import PHOTO
from pgface.server.api.ids import LoginId
from pgface.server.auth import Caller, Person, person
from pgface.server.bodies import body, described
from pgface.server.camera_hints import MOST_GLIMPSE_BYTES, hint_of
from pgface.server.entering import MOST_ANSWER_BYTES, begin_by_face, enter_by_password, go_on_by_face
from pgface.server.idempotency import Created, IdempotencyKey, once
from pgface.server.requests import (
    Credentials,
    FaceAnswer,
    FaceClaim,
    Glimpse,
    PasswordChange,
    PasswordOnly,
    Registration,
)
from pgface.server.service import TheClient, TheService

router = APIRouter(prefix="/auth", tags=["auth"])

TheCaller = Annotated[Caller, person()]
_EXAMPLE = {"email": "alice@example.org", "password": "four plain words here"}


@router.post(
    "/register",
    status_code=201,
    response_model=UserOut,
    summary="Register",
    openapi_extra=described(Registration, _EXAMPLE | {"name": "Alice"}, photos=False),
)
async def register(
    request: Request,
    service: TheService,
    client: TheClient,
    asked: Annotated[Registration, body(Registration)],
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Somebody whom another one has enrolled cannot register: an administrator sets their first password."""
    if service.settings.registration == "closed":
        raise NotPermittedError("Nobody may register here; an administrator adds people.")

    async def act() -> Created:
        user = await service.hash(
            service.accounts.register, asked.email, asked.password, name=asked.name, client=client
        )
        return Created(201, UserOut.of(user, service), user.id)

    return await once(request, None, idempotency_key, act)


@router.post("/login", summary="Log in by password", openapi_extra=described(Credentials, _EXAMPLE, photos=False))
async def log_in(service: TheService, client: TheClient, asked: Annotated[Credentials, body(Credentials)]) -> TokenOut:
    """An unknown e-mail and a wrong password have the same answer, after the same work."""

    return TokenOut.of(await enter_by_password(service, asked, client), service)


@router.post(
    "/challenge",
    summary="Begin to log in by face",
    openapi_extra=described(FaceClaim, _EXAMPLE, photos=False),
)
async def challenge(
    service: TheService, client: TheClient, asked: Annotated[FaceClaim, body(FaceClaim)]
) -> ChallengeOut:
    """Where to look first. It counts as a failed attempt until the login is done."""
    return ChallengeOut.of(await begin_by_face(service, asked, client))


@router.post(
    "/hint",
    summary="How do I stand in front of the camera?",
    openapi_extra=described(Glimpse, {"challenge": "mF_9...", "frame": PHOTO}),
)
async def hint(service: TheService, asked: Annotated[Glimpse, body(Glimpse, most_bytes=MOST_GLIMPSE_BYTES)]) -> HintOut:
    """For a challenge that is under way, 300 times at most. No face is recognised. A busy service gives no hint."""
    await service.ask(service.face_login.count_hint, asked.challenge)
    return HintOut(hint=await service.inference.run_if_idle(hint_of, service.gallery, asked.frame))


@router.post(
    "/face",
    summary="Log in by face",
    response_model=TokenOut,
    responses={202: {"model": ChallengeOut, "description": "Look there now, and send the next frames."}},
    openapi_extra=described(FaceAnswer, {"challenge": "mF_9...", "frames": [PHOTO] * 2}),
)
async def log_in_by_face(
    service: TheService,
    client: TheClient,
    asked: Annotated[FaceAnswer, body(FaceAnswer, most_bytes=MOST_ANSWER_BYTES)],
) -> TokenOut | JSONResponse:
    """Send frames again and again while the answer is 202, and look where it says. A refusal does not say why; the
    audit log does. No frame is kept."""
    answered = await go_on_by_face(service, asked, client)
    if isinstance(answered, Challenge):
        return JSONResponse(ChallengeOut.of(answered).model_dump(), 202)
    return TokenOut.of(answered, service)


@router.post("/logout", status_code=204, response_class=Response, summary="Log out")
def log_out(service: TheService, caller: TheCaller, client: TheClient) -> None:
    """The token opens nothing any more."""
    service.accounts.log_out(_person(caller).token, client=client)


@router.get("/me", summary="Who am I?")
def me(service: TheService, caller: TheCaller) -> MeOut:
    """The user and the login of the token."""
    login = _person(caller).login
    user = UserOut.of(service.gallery.user(login.user_id), service)
    return MeOut(user=user, administrator=_person(caller).administrator, login=LoginOut.of(login, login, service))


@router.delete(
    "/me",
    status_code=204,
    response_class=Response,
    summary="Erase my account",
    openapi_extra=described(PasswordOnly, {"password": _EXAMPLE["password"]}, photos=False),
)
async def erase_me(
    service: TheService, caller: TheCaller, client: TheClient, asked: Annotated[PasswordOnly, body(PasswordOnly)]
) -> None:
    """Rows, faces, logins and files: nothing can be found afterwards."""
    await service.hash(service.accounts.erase, _person(caller).token, asked.password, client=client)


@router.post(
    "/password",
    status_code=204,
    response_class=Response,
    summary="Change my password",
    openapi_extra=described(
        PasswordChange, {"former": _EXAMPLE["password"], "new": "other words than before"}, photos=False
    ),
)
async def change_password(
    service: TheService, caller: TheCaller, client: TheClient, asked: Annotated[PasswordChange, body(PasswordChange)]
) -> None:
    """All other logins end."""
    token = _person(caller).token
    await service.hash(service.accounts.change_password, token, asked.former, asked.new, client=client)


@router.get("/logins", summary="List my logins")
def list_logins(service: TheService, caller: TheCaller) -> LoginsOut:
    """Those that have not ended."""
    login = _person(caller).login
    return LoginsOut(logins=[LoginOut.of(one, login, service) for one in service.accounts.logins(login.user_id)])


@router.delete("/logins", summary="Log out everywhere")
def end_logins(
    service: TheService,
    caller: TheCaller,
    client: TheClient,
    keep_this: Annotated[bool, Query(description="Whether the login that asks goes on.")] = False,
) -> EndedOut:
    """All logins end; with `keep_this`, all others."""
    logged_in = _person(caller)
    but = logged_in.token if keep_this else None
    user_id = logged_in.login.user_id
    return EndedOut(ended=service.accounts.log_out_everywhere(user_id, but=but, client=client))


@router.delete("/logins/{login_id}", status_code=204, response_class=Response, summary="End one of my logins")
def end_login(service: TheService, caller: TheCaller, client: TheClient, login_id: LoginId) -> None:
    """It may be the one that asks."""
    service.accounts.end_login(_person(caller).login.user_id, login_id, client=client)


def _person(caller: Caller) -> Person:
    return cast("Person", caller)  # `person()` lets nobody else through
