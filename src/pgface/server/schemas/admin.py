"""The schemas of the status of the gallery, API keys, and the audit log."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pgface.accounts.keys import Scope
from pgface.server.schemas.base import Name, Page, RequestBody, ResponseBody, Timestamp, example, example_of


class CreateKeyRequest(RequestBody):
    """An API key to create."""

    model_config = example({"name": "door terminal", "scopes": ["identify"]})

    name: Name = Field(description="What the key is for.")
    scopes: list[Scope] = Field(min_length=1, description="What the key permits.")
    all_galleries: bool = Field(
        default=False,
        description="Whether the key works for all galleries. Only an administrator of all galleries can create such a "
        "key, in the default gallery.",
    )


class KeyResponse(ResponseBody):
    """An API key, without the key itself."""

    model_config = example(
        {
            "id": 3,
            "name": "door terminal",
            "scopes": ["identify"],
            "created_at": "2026-05-04T08:00:00Z",
            "last_used_at": "2026-05-04T09:30:00Z",
            "revoked_at": None,
            "all_galleries": False,
        }
    )

    id: int
    name: str
    scopes: list[str]
    created_at: Timestamp
    last_used_at: Timestamp | None = Field(description="Accurate to the minute.")
    revoked_at: Timestamp | None
    all_galleries: bool = Field(description="Whether the key works for all galleries.")


class KeyList(ResponseBody):
    """All API keys, including revoked ones."""

    model_config = example({"keys": [example_of(KeyResponse)]})

    keys: list[KeyResponse]


class CreateKeyResponse(ResponseBody):
    """A new API key."""

    model_config = example({"key": "pgface_3q2-...", "about": example_of(KeyResponse) | {"last_used_at": None}})

    key: str = Field(description="Shown only once. pgface does not store it.")
    about: KeyResponse


class AuditEntry(ResponseBody):
    """A row of the audit log."""

    model_config = example(
        {
            "id": 90,
            "at": "2026-05-04T09:30:00Z",
            "event": "login by password",
            "outcome": "refused",
            "reason": "wrong password",
            "actor": None,
            "user_id": 12,
            "key_id": None,
            "address": "192.0.2.7",
            "similarity": None,
            "count": 3,
            "last_at": "2026-05-04T09:30:00Z",
        }
    )

    id: int
    at: Timestamp
    event: str
    outcome: Literal["done", "refused"]
    reason: str | None
    actor: str | None
    user_id: int | None
    key_id: int | None
    address: str | None
    similarity: float | None
    count: int = Field(description="The number of equal events within the hour. Equal refusals share a row.")
    last_at: Timestamp | None = Field(description="The time of the last of several equal events.")


class AuditPage(Page):
    """A page of the audit log, the newest entries first."""

    model_config = example({"next_cursor": None, "entries": [example_of(AuditEntry)]})

    entries: list[AuditEntry]


class StatusResponse(ResponseBody):
    """The status of the gallery."""

    model_config = example(
        {
            "model": "sface",
            "model_problem": None,
            "execution_provider": "CPUExecutionProvider",
            "runtimes": {"detection": "ONNX Runtime (CPU)", "embedding": "OpenVINO (CPU)"},
            "verify_threshold": 0.32,
            "identify_threshold": 0.45,
            "advised_identify_threshold": 0.45,
            "calibration_due": False,
            "users": 120,
            "photos": 480,
            "embeddings": 480,
            "photo_store": "folder",
            "photos_to_delete": 0,
            "search": "exact",
            "search_agreement": None,
            "search_due": False,
            "index": None,
            "schema_version": 1,
            "postgresql": "18.1",
            "pgvector": "0.8.1",
            "login_policy": "password+face",
        }
    )

    model: str | None
    model_problem: str | None = Field(description="Why the model cannot be used here.")
    execution_provider: str | None
    runtimes: dict[str, str] | None = Field(description="What runs `detection` and `embedding`, and where.")
    verify_threshold: float
    identify_threshold: float
    advised_identify_threshold: float = Field(description="The threshold that the number of enrolled users needs.")
    calibration_due: bool
    users: int
    photos: int
    embeddings: int
    photo_store: str = Field(description="Where new crops go: `folder`, `postgres`, or the URL of a bucket.")
    photos_to_delete: int | None = Field(description="Number of crops of deleted photos that are not deleted yet.")
    search: str = Field(description="`exact`, or the index that a search uses first.")
    search_agreement: float | None
    search_due: bool
    index: str | None
    schema_version: int
    postgresql: str
    pgvector: str
    login_policy: str
