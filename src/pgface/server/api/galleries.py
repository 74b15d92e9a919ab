"""The operations on galleries, for administrators of all of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from pgface.accounts import use_cases
from pgface.server.auth import Caller, CallerGuard, is_operator
from pgface.server.bodies import BodyRoute
from pgface.server.schemas.galleries import CreateGalleryRequest, GalleryList, GalleryResponse, RenameGalleryRequest
from pgface.server.service import ClientDep, ServiceDep

router = APIRouter(route_class=BodyRoute, tags=["galleries"])


_Operator = Depends(
    CallerGuard(
        lambda _, caller: is_operator(caller),
        "administrators of all galleries, and programs with the scope `admin` for all galleries",
    )
)
Operator = Annotated[Caller, _Operator]
GalleryPath = Annotated[str, Path(min_length=1, max_length=255, description="The name of the gallery.")]


@router.get("/galleries", summary="List the galleries")
def list_galleries(service: ServiceDep, _: Operator) -> GalleryList:
    """The default gallery is not in the list. The paths without a gallery belong to it."""
    return GalleryList.of({"galleries": service.galleries.list()}, service)


@router.post("/galleries", status_code=201, summary="Create a gallery")
async def create_gallery(
    service: ServiceDep, _: Operator, client: ClientDep, body: CreateGalleryRequest
) -> GalleryResponse:
    """The gallery is empty, and registration in it is closed. Its paths are `/api/v1/galleries/{gallery}/...`."""
    create = use_cases.create_gallery
    info = await service.run_db(create, service.galleries, client, body.name, model=body.model)
    return GalleryResponse.of(info, service)


@router.get("/galleries/{gallery}", summary="Get a gallery")
def get_gallery(service: ServiceDep, _: Operator, gallery: GalleryPath) -> GalleryResponse:
    """Returns the model and the numbers of people and faces."""
    return GalleryResponse.of(service.galleries.describe(gallery), service)


@router.patch("/galleries/{gallery}", summary="Rename a gallery")
async def rename_gallery(
    service: ServiceDep,
    _: Operator,
    client: ClientDep,
    gallery: GalleryPath,
    body: RenameGalleryRequest,
) -> GalleryResponse:
    """The ids of its people stay, and so do its keys. Browsers have to log in again."""
    rename = use_cases.rename_gallery
    return GalleryResponse.of(await service.run_db(rename, service.galleries, client, gallery, body.name), service)


@router.delete("/galleries/{gallery}", status_code=204, response_class=Response, summary="Delete a gallery")
def delete_gallery(service: ServiceDep, _: Operator, client: ClientDep, gallery: GalleryPath) -> None:
    """Deletes its people, photos, keys and sessions. You cannot undo this."""
    use_cases.delete_gallery(service.galleries, client, gallery)
