"""Keys of programs: listing, making and revoking them."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field

from pgface.accounts import create_key, list_keys, revoke_key
from pgface.accounts.keys import SCOPES
from pgface.errors import AccountError
from pgface.server.api.ids import KeyId
from pgface.server.bodies import Body, body
from pgface.server.service import Service, TheClient, TheService
from pgface.server.web.pages import PageRoute, explain, redirect, render

router = APIRouter(prefix="/keys", route_class=PageRoute)


class KeyForm(Body):
    """What the form of a new key holds; it may be left empty, and is sent back then."""

    name: str = Field(default="", max_length=1000)
    scopes: list[str] = Field(default=[], max_length=len(SCOPES))


@router.get("")
def keys(request: Request, service: TheService) -> Response:
    """All keys, also those that were revoked."""
    return _page(request, service)


@router.post("")
def make_key(
    request: Request, service: TheService, client: TheClient, asked: Annotated[KeyForm, body(KeyForm, plain_form=True)]
) -> Response:
    """Make one; the answer shows it this once."""
    try:
        key, stored = create_key(service.gallery.database, asked.name, asked.scopes, client)
    except AccountError as error:
        return _page(request, service, form=asked, refused=explain(request, error), status=422)
    return _page(request, service, key=key, made=stored.name, status=201)


@router.get("/{key_id}/revoke")
def ask_to_revoke(request: Request, service: TheService, key_id: KeyId) -> Response:
    """Whether this is really meant."""
    found = [key for key in list_keys(service.gallery.database) if key.id == key_id and key.revoked_at is None]
    return render(request, "admin_revoke_key.html", key=found[0]) if found else redirect("/admin/keys")


@router.post("/{key_id}/revoke")
def revoke(service: TheService, client: TheClient, key_id: KeyId) -> Response:
    """It opens nothing any more."""
    with suppress(AccountError):  # somebody else has revoked it meanwhile
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
