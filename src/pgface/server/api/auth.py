"""The operations of `/auth` and `/introspect`: accounts, logins, and tokens for other applications."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from pgface.accounts import Challenge, Login, LoginOfUser
from pgface.accounts.idempotency import StoredResponse
from pgface.errors import NotLoggedInError
from pgface.server import logins
from pgface.server.api.ids import LoginId
from pgface.server.auth import Caller, CurrentCaller, require_scope
from pgface.server.bodies import BodyRoute, FormRoute
from pgface.server.camera_hints import camera_hint
from pgface.server.idempotency import IdempotencyKey, once
from pgface.server.logins import continue_face_login, log_in_by_password, require_open_registration, start_face_login
from pgface.server.openapi import problems
from pgface.server.schemas.auth import (
    ChallengeRequest,
    ChallengeResponse,
    ChangePasswordRequest,
    EndedLoginsResponse,
    FaceLoginRequest,
    HintRequest,
    HintResponse,
    IntrospectRequest,
    IntrospectResponse,
    LoginList,
    LoginRequest,
    LoginResponse,
    MeResponse,
    PasswordRequest,
    RegisterRequest,
    TokenResponse,
)
from pgface.server.schemas.users import UserResponse
from pgface.server.service import ClientDep, Service, ServiceDep

router = APIRouter(route_class=BodyRoute, tags=["auth"])
_oauth = APIRouter(route_class=FormRoute)


@router.post(
    "/auth/register", status_code=201, response_model=UserResponse, summary="Register", responses=problems(403, 429)
)
async def register(
    request: Request,
    service: ServiceDep,
    client: ClientDep,
    body: RegisterRequest,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """A user whom an administrator has enrolled cannot register. An administrator sets the first password."""
    require_open_registration(service)

    async def act() -> StoredResponse:
        user = await logins.register(service, body, client)
        return StoredResponse(201, UserResponse.of(user, service).to_json(), user.id)

    return await once(request, None, idempotency_key, act)


@router.post("/auth/login", summary="Log in by password", responses=problems(401, 429))
async def log_in(service: ServiceDep, client: ClientDep, body: LoginRequest) -> TokenResponse:
    """An unknown e-mail and a wrong password get the same response, after the same work."""
    return TokenResponse.of(await log_in_by_password(service, body, client), service)


@router.post("/auth/challenge", summary="Start a login by face", responses=problems(401, 429))
async def create_challenge(service: ServiceDep, client: ClientDep, body: ChallengeRequest) -> ChallengeResponse:
    """Returns where to look first. The challenge counts as a failed attempt until the login is done."""
    return ChallengeResponse.of(await start_face_login(service, body, client), service)


@router.post("/auth/hint", summary="Check the position of a face", responses=problems(401))
async def get_hint(service: ServiceDep, body: HintRequest) -> HintResponse:
    """Accepts at most 300 frames for each challenge. A hint identifies no face. A busy service gives no hints."""
    await service.run_db(service.face_login.count_hint, body.challenge)
    return HintResponse(hint=await service.inference.run_if_idle(camera_hint, service.gallery, body.frame))


@router.post(
    "/auth/face",
    summary="Log in by face",
    response_model=TokenResponse,
    responses={
        202: {"model": ChallengeResponse, "description": "Look where the response says, and send the next frames."},
        **problems(401, 429),
    },
)
async def log_in_by_face(
    service: ServiceDep, client: ClientDep, body: FaceLoginRequest
) -> TokenResponse | JSONResponse:
    """Send frames while the status is 202, and look where the response says. The service stores no frame.

    The audit log has the reason of a refusal, but the response does not.
    """
    answered = await continue_face_login(service, body, client)
    if isinstance(answered, Challenge):
        return JSONResponse(ChallengeResponse.of(answered, service).to_json(), 202)
    return TokenResponse.of(answered, service)


@router.post("/auth/logout", status_code=204, response_class=Response, summary="Log out")
def log_out(service: ServiceDep, caller: CurrentCaller, client: ClientDep) -> None:
    """Ends the login of this request. Its token is no longer valid."""
    service.accounts.log_out(caller.secret, client=client)


@router.get("/auth/me", summary="Get my account")
def get_me(service: ServiceDep, caller: CurrentCaller) -> MeResponse:
    """Returns the user and the login of the token."""
    return MeResponse(
        user=UserResponse.of(service.gallery.user(caller.login.user_id), service),
        administrator=caller.administrator,
        login=_login(caller.login, caller.login, service),
    )


@router.delete(
    "/auth/me", status_code=204, response_class=Response, summary="Delete my account", responses=problems(429)
)
async def delete_me(
    service: ServiceDep,
    caller: CurrentCaller,
    client: ClientDep,
    body: PasswordRequest,
) -> None:
    """Deletes the user's rows, faces, logins and files."""
    await service.hashing.run(service.accounts.erase, caller.secret, body.password, client=client)


@router.post(
    "/auth/password", status_code=204, response_class=Response, summary="Change my password", responses=problems(429)
)
async def change_password(
    service: ServiceDep,
    caller: CurrentCaller,
    client: ClientDep,
    body: ChangePasswordRequest,
) -> None:
    """Ends all other logins."""
    change = service.accounts.change_password
    await service.hashing.run(change, caller.secret, body.former, body.new, client=client)


@router.get("/auth/logins", summary="List my logins")
def list_logins(service: ServiceDep, caller: CurrentCaller) -> LoginList:
    """Returns the logins that have not ended."""
    found = service.accounts.logins(caller.login.user_id)
    return LoginList(logins=[_login(login, caller.login, service) for login in found])


@router.delete("/auth/logins", summary="Log out everywhere")
def end_logins(
    service: ServiceDep,
    caller: CurrentCaller,
    client: ClientDep,
    keep_this: Annotated[bool, Query(description="Whether to keep the login of this request.")] = False,
) -> EndedLoginsResponse:
    """Ends all logins, or with `keep_this` all others."""
    but = caller.secret if keep_this else None
    ended = service.accounts.log_out_everywhere(caller.login.user_id, but=but, client=client)
    return EndedLoginsResponse(ended=ended)


@router.delete("/auth/logins/{login_id}", status_code=204, response_class=Response, summary="End one of my logins")
def end_login(service: ServiceDep, caller: CurrentCaller, client: ClientDep, login_id: LoginId) -> None:
    """Ends a login, which may be the login of this request."""
    service.accounts.end_login(caller.login.user_id, login_id, client=client)


@_oauth.post("/introspect", response_model_exclude_none=True, summary="Introspect a token (RFC 7662)")
async def introspect(
    service: ServiceDep,
    _: Annotated[Caller, require_scope("verify")],
    response: Response,
    body: IntrospectRequest,
) -> IntrospectResponse:
    """Lets another application accept the tokens of users who have logged in here."""
    response.headers["Cache-Control"] = "no-store"
    try:
        login = await service.run_db(service.accounts.who, body.token)
    except NotLoggedInError:
        return IntrospectResponse(active=False)
    return _active(login, service)


router.include_router(_oauth)


def _login(login: LoginOfUser, current: Login, service: Service) -> LoginResponse:
    return LoginResponse.of(login.to_json() | {"current": login.id == current.id}, service)


def _active(login: Login, service: Service) -> IntrospectResponse:
    ends = None if login.expires_at is None else int(service.as_utc(login.expires_at).timestamp())
    return IntrospectResponse(
        active=True,
        sub=str(login.user_id),
        username=login.email,
        name=login.name,
        token_type="Bearer",  # noqa: S106 - a type
        exp=ends,
        iat=int(service.as_utc(login.created_at).timestamp()),
        confidence=login.confidence,
        amr=login.methods,
    )
