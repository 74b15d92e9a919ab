"""What administrators ask for: the gallery's status, keys of programs, and the audit log."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from pgface.accounts import create_key, list_keys, read_audit, revoke_key
from pgface.server.answers import AuditEntryOut, AuditPage, KeyOut, KeysOut, NewKeyOut, StatusOut
from pgface.server.api.ids import KeyId
from pgface.server.auth import Caller, scoped
from pgface.server.bodies import body, described
from pgface.server.cursors import Cursor, Limit, decode_cursor, page
from pgface.server.requests import NewKey
from pgface.server.service import TheClient, TheService

router = APIRouter(tags=["administration"])

Administrator = Annotated[Caller, scoped("admin")]


@router.get("/status", summary="The gallery at a glance")
def status(service: TheService, _: Administrator) -> StatusOut:
    """Its model, thresholds, search and sizes."""
    found = service.gallery.status().to_json()
    known = {name: found[name] for name in StatusOut.model_fields if name in found}
    return StatusOut(**known, login_policy=service.settings.login_policy)


@router.get("/keys", summary="List the API keys")
def list_api_keys(service: TheService, _: Administrator) -> KeysOut:
    """Without the keys themselves."""
    return KeysOut(keys=[KeyOut.of(key, service) for key in list_keys(service.gallery.database)])


@router.post(
    "/keys",
    status_code=201,
    summary="Make an API key",
    openapi_extra=described(NewKey, {"name": "door terminal", "scopes": ["identify"]}, photos=False),
)
async def create_api_key(
    service: TheService, _: Administrator, client: TheClient, asked: Annotated[NewKey, body(NewKey)]
) -> NewKeyOut:
    """It is shown this once, and kept nowhere; a call that is repeated makes another one."""
    key, stored = await service.ask(create_key, service.gallery.database, asked.name, asked.scopes, client)
    return NewKeyOut(key=key, about=KeyOut.of(stored, service))


@router.delete("/keys/{key_id}", status_code=204, response_class=Response, summary="Revoke an API key")
def revoke_api_key(service: TheService, _: Administrator, client: TheClient, key_id: KeyId) -> None:
    """It opens nothing any more."""
    revoke_key(service.gallery.database, key_id, client)


@router.get("/audit", summary="The audit log")
def list_audit(
    service: TheService,
    _: Administrator,
    user_id: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="Of this user alone.")] = None,
    event: Annotated[str | None, Query(max_length=50, description="Of this kind alone.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> AuditPage:
    """What happened to accounts, the newest first."""
    before = decode_cursor("audit", cursor)
    kind = None if event is None else event.replace("\0", "")
    found = read_audit(service.gallery.database, user_id=user_id, event=kind, before=before, limit=limit + 1)
    shown, following = page("audit", found, limit, lambda entry: entry.id)
    return AuditPage(entries=[AuditEntryOut.of(entry, service) for entry in shown], next_cursor=following)
