"""`/introspect`: whose token is this? OAuth 2.0 Token Introspection, RFC 7662."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import ConfigDict

from pgface.accounts import Login
from pgface.errors import NotLoggedInError
from pgface.server.answers import IntrospectionOut
from pgface.server.auth import Caller, scoped
from pgface.server.bodies import Body, body, described
from pgface.server.requests import Text
from pgface.server.service import Service, TheService

router = APIRouter(tags=["auth"])


class Introspection(Body):
    """A token that somebody has shown to another application; what else OAuth libraries send along is ignored."""

    model_config = ConfigDict(extra="ignore")

    token: Text
    token_type_hint: Text | None = None


@router.post(
    "/introspect",
    response_model_exclude_none=True,
    summary="Whose token is this? (RFC 7662)",
    openapi_extra=described(Introspection, {"token": "mF_9.B5f-4.1JqM"}, plain_form=True),
)
async def introspect(
    service: TheService,
    _: Annotated[Caller, scoped("verify")],
    response: Response,
    asked: Annotated[Introspection, body(Introspection, plain_form=True)],
) -> IntrospectionOut:
    """So that another application can accept the tokens of people who logged in here."""
    response.headers["Cache-Control"] = "no-store"
    try:
        login = await service.ask(service.accounts.who, asked.token)
    except NotLoggedInError:
        return IntrospectionOut(active=False)
    return _active(login, service)


def _active(login: Login, service: Service) -> IntrospectionOut:
    ends = None if login.expires_at is None else int(service.moment(login.expires_at).timestamp())
    return IntrospectionOut(
        active=True,
        sub=str(login.user_id),
        username=login.email,
        name=login.name,
        token_type="Bearer",  # noqa: S106 - what it is called
        exp=ends,
        iat=int(service.moment(login.created_at).timestamp()),
        confidence=login.confidence,
        amr=login.methods,
    )
