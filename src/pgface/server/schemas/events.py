"""The schemas of events."""

from __future__ import annotations

from pydantic import Field

from pgface.server.schemas.base import ResponseBody, Timestamp, example, example_of


class EventResponse(ResponseBody):
    """Something that happened in the gallery. It has no name, e-mail, photo or embedding."""

    model_config = example(
        {
            "cursor": "5f0c2a91.1234.87",
            "id": 87,
            "at": "2026-05-04T09:30:00Z",
            "kind": "enrolled",
            "user_id": 12,
            "other_user_id": None,
            "photo_id": 7,
            "matched": None,
            "confidence": None,
            "count": 1,
        }
    )

    cursor: str = Field(description="The place of the event. Send it as `after` to read the events that follow.")
    id: int = Field(description="Unique in the gallery. The ids are not in the order of the events.")
    at: Timestamp
    kind: str
    user_id: int | None = Field(
        description="The user. Null if the event is about no user or about more than 100 users, or if the user was "
        "deleted since."
    )
    other_user_id: int | None = Field(description="Of `user_merged`: the user that was deleted.")
    photo_id: int | None = Field(description="The photo, if the event is about one photo.")
    matched: bool | None = Field(description="Of `identified` and `verified`: whether a user matched.")
    confidence: float | None = Field(description="Of a match, 0 to 100.")
    count: int = Field(description="The number of users, photos or faces that one statement changed.")


class EventPageResponse(ResponseBody):
    """Events in their order."""

    model_config = example({"events": [example_of(EventResponse)], "next_cursor": "5f0c2a91.1234.87"})

    events: list[EventResponse]
    next_cursor: str = Field(description="Keep it, and send it as `after` of the next request.")
