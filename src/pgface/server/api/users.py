"""The operations of `/users`, the users of the gallery."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from pgface.accounts import use_cases
from pgface.accounts.idempotency import StoredResponse
from pgface.server.api.ids import UserId
from pgface.server.auth import Caller, require_scope
from pgface.server.bodies import BodyRoute
from pgface.server.cursors import Cursor, Limit, decode_cursor, page
from pgface.server.idempotency import IdempotencyKey, once
from pgface.server.schemas.users import CreateUserRequest, UpdateUserRequest, UserPage, UserResponse
from pgface.server.service import ClientDep, ServiceDep

router = APIRouter(route_class=BodyRoute, prefix="/users", tags=["users"])


@router.get("", summary="List the users")
def list_users(
    service: ServiceDep,
    _: Annotated[Caller, require_scope("admin")],
    search: Annotated[str | None, Query(max_length=255, description="A part of the name or the e-mail.")] = None,
    label: Annotated[
        list[str] | None, Query(max_length=32, description="A label. Repeat it for users who have all of these labels.")
    ] = None,
    external_id: Annotated[str | None, Query(max_length=255, description="The external id of one user.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> UserPage:
    """Returns the users in the order of their ids."""
    after = decode_cursor("users", cursor) or 0
    found = service.gallery.users(
        after=after,
        limit=limit + 1,
        text=(search or "").replace("\0", "") or None,
        labels=label or (),
        external_id=external_id,
    )
    shown, following = page("users", found, limit, lambda user: user.id)
    return UserPage.of({"users": shown, "next_cursor": following}, service)


@router.post("", status_code=201, response_model=UserResponse, summary="Add a user")
async def create_user(
    request: Request,
    service: ServiceDep,
    caller: Annotated[Caller, require_scope("enroll")],
    client: ClientDep,
    body: CreateUserRequest,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Adds a user without a photo and without a password."""

    async def act() -> StoredResponse:
        user = await service.run_db(
            use_cases.add_user,
            service.gallery,
            client,
            body.email,
            body.name,
            external_id=body.external_id,
            labels=body.labels,
            metadata=body.metadata,
        )
        return StoredResponse(201, UserResponse.of(user, service).to_json(), user.id)

    return await once(request, caller, idempotency_key, act)


@router.get("/{user_id}", summary="Get a user")
def get_user(
    service: ServiceDep, _: Annotated[Caller, require_scope("admin", or_self=True)], user_id: UserId
) -> UserResponse:
    """A logged-in user may get only their own account."""
    return UserResponse.of(service.gallery.user(user_id), service)


@router.patch("/{user_id}", summary="Change a user")
async def update_user(
    service: ServiceDep,
    _: Annotated[Caller, require_scope("admin")],
    client: ClientDep,
    user_id: UserId,
    body: UpdateUserRequest,
) -> UserResponse:
    """Changes only the fields that you send."""
    removed = "external_id" in body.model_fields_set and body.external_id is None
    user = await service.run_db(
        use_cases.update_user,
        service.gallery,
        client,
        user_id,
        name=body.name,
        external_id="" if removed else body.external_id,
        labels=body.labels,
        metadata=body.metadata,
    )
    return UserResponse.of(user, service)


@router.delete("/{user_id}", status_code=204, response_class=Response, summary="Delete a user")
def delete_user(
    service: ServiceDep, _: Annotated[Caller, require_scope("admin")], client: ClientDep, user_id: UserId
) -> None:
    """Deletes the user's rows, embeddings, logins and files."""
    use_cases.delete_user(service.gallery, client, user_id)
