"""The schemas of jobs."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from pgface.jobs.jobs import JobKind, JobState
from pgface.server.schemas.base import Page, ResponseBody, Timestamp, example, example_of

_ID = "0b5c1f1e-4a53-4c0e-9a2b-6f1f5d1f9c11"


class JobResponse(ResponseBody):
    """A job."""

    model_config = example(
        {
            "id": _ID,
            "kind": "enroll",
            "state": "running",
            "created_by": "key 3",
            "created_at": "2026-05-04T09:30:00Z",
            "started_at": "2026-05-04T09:30:01Z",
            "finished_at": None,
            "total": 1200,
            "done": 340,
            "enrolled": 331,
            "already_enrolled": 5,
            "refused": 4,
            "error": None,
            "reason": None,
            "report": None,
        }
    )

    id: UUID
    kind: JobKind
    state: JobState
    created_by: str = Field(description="The caller, as in the audit log.")
    created_at: Timestamp
    started_at: Timestamp | None = Field(description="Null while the job waits for a worker.")
    finished_at: Timestamp | None
    total: int = Field(description="The number of photos or embeddings. 0 until it is known.")
    done: int = Field(description="How many of them have a result.")
    enrolled: int = Field(description="Photos that were enrolled.")
    already_enrolled: int = Field(description="Photos that their users had already.")
    refused: int = Field(description="Photos that could not be enrolled.")
    error: str | None = Field(description="The code of the error, for a failed job.")
    reason: str | None = Field(description="Why the job failed.")
    report: dict[str, Any] | None = Field(
        description="What an import, a change of the model or an evaluation returned. Null if nothing was changed."
    )


class JobPage(Page):
    """A page of jobs."""

    model_config = example({"next_cursor": None, "jobs": [example_of(JobResponse)]})

    jobs: list[JobResponse]


class PhotoResultResponse(ResponseBody):
    """What a job did with one photo."""

    model_config = example(
        {
            "photo": "Alice/1.jpg",
            "outcome": "refused",
            "user_id": None,
            "photo_id": None,
            "error": "no-face",
            "reason": "1.jpg: no face was found. Give a photo in which the face is visible.",
        }
    )

    photo: str | None = Field(description="The path in the archive. Null after the user was deleted.")
    outcome: Literal["waiting", "enrolled", "already enrolled", "refused", "cancelled"]
    user_id: int | None
    photo_id: int | None
    error: str | None = Field(description="The code of the error, for a refused photo.")
    reason: str | None = Field(description="Why the photo was refused.")


class PhotoResultPage(Page):
    """A page of results."""

    model_config = example({"next_cursor": None, "results": [example_of(PhotoResultResponse)]})

    results: list[PhotoResultResponse]
