"""The pages that list, create and revoke API keys."""

from __future__ import annotations

from contextlib import suppress

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field

from pgface.accounts import create_key, list_keys, revoke_key
from pgface.accounts.keys import SCOPES
from pgface.errors import AccountError
from pgface.server.api.ids import KeyId
from pgface.server.schemas.base import RequestBody
from pgface.server.service import ClientDep, Service, ServiceDep
from pgface.server.web.pages import PageRoute, explain, redirect, render

router = APIRouter(prefix="/keys", route_class=PageRoute)


class KeyForm(RequestBody):
    """The form of a new key. If it is refused, the page shows it again with its values."""

    name: str = Field(default="", max_length=1000)
    scopes: list[str] = Field(default=[], max_length=len(SCOPES))


@router.get("")
def keys(request: Request, service: ServiceDep) -> Response:
    """Show all keys, including revoked ones."""
    return _page(request, service)


@router.post("")
def create(request: Request, service: ServiceDep, client: ClientDep, form: KeyForm) -> Response:
    """Create a key. Only the response shows it."""
    try:
        key, stored = create_key(service.gallery.database, form.name, form.scopes, client)
    except AccountError as error:
        return _page(request, service, form=form, refused=explain(request, error), status=422)
    return _page(request, service, key=key, made=stored.name, status=201)


@router.get("/{key_id}/revoke")
def confirm_revocation(request: Request, service: ServiceDep, key_id: KeyId) -> Response:
    """Show the page that asks for confirmation."""
    found = [key for key in list_keys(service.gallery.database) if key.id == key_id and key.revoked_at is None]
    return render(request, "admin_revoke_key.html", key=found[0]) if found else redirect("/admin/keys")


@router.post("/{key_id}/revoke")
def revoke(service: ServiceDep, client: ClientDep, key_id: KeyId) -> Response:
    """Revoke a key, so that it no longer works."""
    with suppress(AccountError):  # the key is revoked already
        revoke_key(service.gallery.database, key_id, client)
    return redirect("/admin/keys")


def _page(
    request: Request,
    service: Service,
    *,
    form: KeyForm | None = None,
    refused: str | None = None,
    key: str | None = None,
    made: str | None = None,
    status: int = 200,
) -> Response:
    return render(
        request,
        "admin_keys.html",
        status,
        keys=list_keys(service.gallery.database),
        scopes=SCOPES,
        form=form or KeyForm(),
        refused=refused,
        key=key,
        made=made,
    )
