"""The schemas of users."""

from __future__ import annotations

from pydantic import Field

from pgface.server.schemas.base import Email, Name, Page, RequestBody, ResponseBody, Timestamp, example, example_of


class CreateUserRequest(RequestBody):
    """A user to add, without a photo."""

    model_config = example({"email": "alice@example.org", "name": "Alice"})

    email: Email
    name: Name | None = Field(default=None, description="By default the first part of the e-mail.")


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
        }
    )

    id: int
    name: str
    email: str
    created_at: Timestamp
    photos: int
    embeddings: int


class UserPage(Page):
    """A page of users."""

    model_config = example({"next_cursor": "dXNlcnM6MTI", "users": [example_of(UserResponse)]})

    users: list[UserResponse]
