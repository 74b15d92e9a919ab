"""The schemas of users."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from pgface.server.schemas.base import (
    Email,
    ExternalId,
    Labels,
    Metadata,
    Name,
    Page,
    RequestBody,
    ResponseBody,
    Timestamp,
    example,
    example_of,
)


class CreateUserRequest(RequestBody):
    """A user to add, without a photo."""

    model_config = example(
        {"email": "alice@example.org", "name": "Alice", "external_id": "emp-17", "labels": ["staff"]}
    )

    email: Email
    name: Name | None = Field(default=None, description="By default the first part of the e-mail.")
    external_id: ExternalId | None = None
    labels: Labels = Field(default=[])
    metadata: Metadata = Field(default={})


class UpdateUserRequest(RequestBody):
    """What to change of a user. A field that you leave out stays as it is."""

    model_config = example({"labels": ["staff", "night shift"], "metadata": {"room": 12}})

    name: Name | None = None
    external_id: ExternalId | None = Field(default=None, description="Null or an empty text deletes the external id.")
    labels: Labels | None = Field(default=None, description="The new labels, in place of all earlier ones.")
    metadata: Metadata | None = Field(default=None, description="The new metadata, in place of all earlier ones.")


class UserResponse(ResponseBody):
    """A user of the gallery."""

    model_config = example(
        {
            "id": 12,
            "name": "Alice",
            "email": "alice@example.org",
            "created_at": "2026-05-04T08:00:00Z",
            "photos": 1,
            "embeddings": 1,
            "external_id": "emp-17",
            "labels": ["staff"],
            "metadata": {},
        }
    )

    id: int
    name: str
    email: str
    created_at: Timestamp
    photos: int
    embeddings: int
    external_id: str | None = Field(description="The id of the user in another system.")
    labels: list[str] = Field(description="Sorted.")
    metadata: dict[str, Any]


class UserPage(Page):
    """A page of users."""

    model_config = example({"next_cursor": "dXNlcnM6MTI", "users": [example_of(UserResponse)]})

    users: list[UserResponse]
