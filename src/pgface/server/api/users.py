"""`/users`: people of the gallery."""

from __future__ import annotations

from typing import Annotated

import psycopg
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from pgface.accounts.audit import record
from pgface.results import User
from pgface.server.answers import UserOut, UserPage
from pgface.server.api.ids import UserId
from pgface.server.auth import Caller, scoped, scoped_or_self
from pgface.server.bodies import body, described
from pgface.server.cursors import Cursor, Limit, decode_cursor, page
from pgface.server.enrolling import noting
from pgface.server.idempotency import Created, IdempotencyKey, once
from pgface.server.requests import NewUser
from pgface.server.service import TheClient, TheService

router = APIRouter(prefix="/users", tags=["users"])


@router.get("", summary="List the users")
def list_users(
    service: TheService,
    _: Annotated[Caller, scoped("admin")],
    search: Annotated[str | None, Query(max_length=255, description="A part of the name or the e-mail.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> UserPage:
    """In the order of their ids."""
    after = decode_cursor("users", cursor) or 0
    found = service.gallery.users(after=after, limit=limit + 1, text=(search or "").replace("\0", "") or None)
    shown, following = page("users", found, limit, lambda user: user.id)
    return UserPage(users=[UserOut.of(user, service) for user in shown], next_cursor=following)


@router.post(
    "",
    status_code=201,
    response_model=UserOut,
    summary="Add a user",
    openapi_extra=described(NewUser, {"email": "alice@example.org", "name": "Alice"}, photos=False),
)
async def create_user(
    request: Request,
    service: TheService,
    caller: Annotated[Caller, scoped("enroll")],
    client: TheClient,
    asked: Annotated[NewUser, body(NewUser)],
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Without a photo and without a password."""

    def add() -> UserOut:
        def note(connection: psycopg.Connection, user: User) -> None:
            record(connection, "user added", client, user_id=user.id)

        return UserOut.of(service.gallery.add_user(asked.email, asked.name, within=note), service)

    async def act() -> Created:
        added = await service.ask(add)
        return Created(201, added, added.id)

    return await once(request, caller, idempotency_key, act)


@router.get("/{user_id}", summary="Get a user")
def get_user(service: TheService, _: Annotated[Caller, scoped_or_self("admin")], user_id: UserId) -> UserOut:
    """A person sees only themselves."""
    return UserOut.of(service.gallery.user(user_id), service)


@router.delete("/{user_id}", status_code=204, response_class=Response, summary="Erase a user")
def erase_user(service: TheService, _: Annotated[Caller, scoped("admin")], client: TheClient, user_id: UserId) -> None:
    """Rows, embeddings, logins and files: nothing of them can be found afterwards."""
    service.gallery.erase_user(user_id, within=noting("user erased", client, user_id))
