"""The schemas to enroll photos and to list them."""

from __future__ import annotations

from pydantic import Field

from pgface.server.schemas.base import (
    EXAMPLE_PHOTO,
    Email,
    ExternalId,
    FaceChoice,
    Labels,
    Metadata,
    Name,
    Page,
    PhotoField,
    RequestBody,
    ResponseBody,
    Timestamp,
    example,
    example_of,
)
from pgface.server.schemas.faces import Box, Face
from pgface.server.schemas.users import UserResponse


class EnrollRequest(RequestBody):
    """A photo to enroll for a user."""

    model_config = example({"photo": EXAMPLE_PHOTO})

    photo: PhotoField = Field(description="The photo.")
    face: FaceChoice = "only"
    allow_other_user: bool = Field(
        default=False, description="Enroll the face even if it is another user's. Only for administrators."
    )


class EnrollByEmailRequest(EnrollRequest):
    """A photo to enroll for the user with an e-mail. A user with a new e-mail is added."""

    model_config = example({"photo": EXAMPLE_PHOTO, "email": "alice@example.org", "name": "Alice"})

    email: Email | None = Field(default=None, description="The user's e-mail. Optional if you give a name.")
    name: Name | None = Field(
        default=None,
        description="The name of a user who is added. By default the first part of the e-mail. Without an e-mail, the "
        "name identifies the user, like the name of a folder for `pgface enroll --folder`. The e-mail is then "
        "`<name>@pgface.invalid`.",
    )
    external_id: ExternalId | None = Field(default=None, description="The external id of a user who is added.")
    labels: Labels = Field(default=[], description="The labels of a user who is added.")
    metadata: Metadata = Field(default={}, description="The metadata of a user who is added. In a form, its text.")


class PhotoResponse(ResponseBody):
    """An enrolled photo. pgface stores only the crop of the face."""

    model_config = example(
        {
            "id": 40,
            "user_id": 12,
            "filename": "alice.jpg",
            "width": 224,
            "height": 224,
            "created_at": "2026-05-04T09:30:00Z",
        }
    )

    id: int
    user_id: int
    filename: str
    width: int
    height: int
    created_at: Timestamp


class PhotoPage(Page):
    """A page of a user's photos."""

    model_config = example({"next_cursor": None, "photos": [example_of(PhotoResponse)]})

    photos: list[PhotoResponse]


class EnrollResponse(ResponseBody):
    """The result of an enrollment."""

    model_config = example(
        {"user": example_of(UserResponse), "photo_id": 40, "added": True, "face": example_of(Face), "left_aside": []}
    )

    user: UserResponse
    photo_id: int
    added: bool = Field(description="False if the user has this photo already. Nothing was changed then.")
    face: Face | None = Field(description="Null if nothing was added.")
    left_aside: list[Box] = Field(description="Smaller faces in the background, which were not enrolled.")
