"""The pages that list, create and delete galleries, for administrators of all of them."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import Field

from pgface.accounts import use_cases
from pgface.errors import GalleryError, NotPermittedError, UnknownGalleryError
from pgface.server.auth import Guard, UserPrincipal, is_operator
from pgface.server.schemas.base import RequestBody
from pgface.server.service import ClientDep, Service, ServiceDep
from pgface.server.web.pages import PageRoute, explain, get_viewer, redirect, render
from pgface.server.web.translations import N_


@Guard
async def require_operator(request: Request) -> None:
    """Refuse other callers than administrators of all galleries, and the pages of other galleries than the default one.

    Raises:
        NotPermittedError: the caller is not one, or this is not the default gallery.

    """
    person = await get_viewer(request)
    if not (isinstance(person, UserPrincipal) and is_operator(person)):
        raise NotPermittedError(N_("Only administrators of all galleries may see this page, in the default gallery."))


router = APIRouter(prefix="/galleries", route_class=PageRoute, dependencies=[Depends(require_operator)])

GalleryName = Annotated[str, Field(default="", max_length=1000)]


class GalleryForm(RequestBody):
    """The form of a new gallery. If it is refused, the page shows it again with its values."""

    name: GalleryName


@router.get("")
def galleries(request: Request, service: ServiceDep) -> Response:
    """Show all galleries."""
    return _page(request, service)


@router.post("")
def create(request: Request, service: ServiceDep, client: ClientDep, form: GalleryForm) -> Response:
    """Create a gallery of the default gallery's model."""
    try:
        use_cases.create_gallery(service.galleries, client, form.name)
    except GalleryError as error:
        return _page(request, service, form=form, refused=explain(request, error), status=422)
    return redirect("/admin/galleries")


@router.get("/{name}/delete")
def confirm_deletion(request: Request, service: ServiceDep, name: str) -> Response:
    """Show the page that asks for confirmation."""
    try:
        info = service.galleries.describe(name)
    except UnknownGalleryError:
        return redirect("/admin/galleries")
    return render(request, "admin_delete_gallery.html", info=info)


@router.post("/{name}/delete")
def delete(service: ServiceDep, client: ClientDep, name: str) -> Response:
    """Delete a gallery with all its data."""
    with suppress(UnknownGalleryError):
        use_cases.delete_gallery(service.galleries, client, name)
    return redirect("/admin/galleries")


def _page(
    request: Request,
    service: Service,
    *,
    form: GalleryForm | None = None,
    refused: str | None = None,
    status: int = 200,
) -> Response:
    return render(
        request,
        "admin_galleries.html",
        status,
        galleries=service.galleries.list(),
        form=form or GalleryForm(name=""),
        refused=refused,
    )
