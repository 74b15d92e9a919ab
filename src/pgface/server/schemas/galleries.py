"""The schemas of galleries."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pgface.server.schemas.base import RequestBody, ResponseBody, Timestamp, example, example_of

GalleryName = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9_.-]+$")]


class CreateGalleryRequest(RequestBody):
    """A gallery to create."""

    model_config = example({"name": "staff"})

    name: GalleryName = Field(description="Letters, digits and `_.-`. Upper and lower case differ.")
    model: str | None = Field(
        default=None,
        max_length=100,
        pattern=r"^[A-Za-z0-9_.-]+$",
        description="The name of an installed model. The default gallery's model by default.",
    )


class RenameGalleryRequest(RequestBody):
    """A new name of a gallery."""

    model_config = example({"name": "employees"})

    name: GalleryName


class GalleryResponse(ResponseBody):
    """A gallery."""

    model_config = example(
        {"name": "staff", "model_name": "sface", "people": 120, "faces": 340, "created_at": "2026-05-04T08:00:00Z"}
    )

    name: str
    model_name: str | None = Field(description="Null in a list if the gallery is on another server.")
    people: int | None = Field(description="The number of people. Null as for the model.")
    faces: int | None = Field(description="The number of enrolled faces. Null as for the model.")
    created_at: Timestamp


class GalleryList(ResponseBody):
    """All galleries except the default one."""

    model_config = example({"galleries": [example_of(GalleryResponse)]})

    galleries: list[GalleryResponse]
