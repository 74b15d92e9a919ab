"""The operations for administrators: the status of the gallery, API keys, and the audit log."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from pgface.accounts import create_key, list_keys, read_audit, revoke_key
from pgface.errors import NotPermittedError
from pgface.server.api.ids import MAX_ID, KeyId
from pgface.server.auth import Caller, is_operator, require_scope
from pgface.server.bodies import BodyRoute
from pgface.server.cursors import Cursor, Limit, decode_cursor, page
from pgface.server.schemas.admin import (
    AuditPage,
    CreateKeyRequest,
    CreateKeyResponse,
    KeyList,
    KeyResponse,
    StatusResponse,
)
from pgface.server.service import ClientDep, ServiceDep

router = APIRouter(route_class=BodyRoute, tags=["administration"])

CurrentAdmin = Annotated[Caller, require_scope("admin")]


@router.get("/status", summary="Get the status of the gallery")
def get_status(service: ServiceDep, _: CurrentAdmin) -> StatusResponse:
    """Returns the model, the thresholds, the search, and the numbers of users, photos and embeddings."""
    found = service.gallery.status().to_json()
    return StatusResponse.of(found | {"login_policy": service.settings.login_policy}, service)


@router.get("/keys", summary="List the API keys")
def list_api_keys(service: ServiceDep, _: CurrentAdmin) -> KeyList:
    """Returns the keys' names and scopes. pgface does not store the keys themselves."""
    return KeyList.of({"keys": list_keys(service.gallery.database)}, service)


@router.post("/keys", status_code=201, summary="Create an API key")
async def create_api_key(
    service: ServiceDep,
    caller: CurrentAdmin,
    client: ClientDep,
    body: CreateKeyRequest,
) -> CreateKeyResponse:
    """Returns the key, which pgface does not store. If you repeat the request, you get another key."""
    if body.all_galleries and not is_operator(caller):
        raise NotPermittedError("Only an administrator of all galleries may create a key for all of them.")
    key, stored = await service.run_db(
        create_key, service.gallery.database, body.name, body.scopes, client, all_galleries=body.all_galleries
    )
    return CreateKeyResponse(key=key, about=KeyResponse.of(stored, service))


@router.delete("/keys/{key_id}", status_code=204, response_class=Response, summary="Revoke an API key")
def revoke_api_key(service: ServiceDep, _: CurrentAdmin, client: ClientDep, key_id: KeyId) -> None:
    """A program with this key gets the status 401 from now on."""
    revoke_key(service.gallery.database, key_id, client)


@router.get("/audit", summary="List the audit log")
def list_audit(
    service: ServiceDep,
    _: CurrentAdmin,
    user_id: Annotated[int | None, Query(ge=1, le=MAX_ID, description="Only entries about this user.")] = None,
    event: Annotated[str | None, Query(max_length=50, description="Only this event.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> AuditPage:
    """Returns the events of accounts, the newest first."""
    before = decode_cursor("audit", cursor)
    kind = None if event is None else event.replace("\0", "")
    found = read_audit(service.gallery.database, user_id=user_id, event=kind, before=before, limit=limit + 1)
    shown, following = page("audit", found, limit, lambda entry: entry.id)
    return AuditPage.of({"entries": shown, "next_cursor": following}, service)
