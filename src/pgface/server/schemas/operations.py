"""The schemas of the health checks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pgface.server.schemas.base import ResponseBody, example


class HealthResponse(ResponseBody):
    """The process responds."""

    model_config = example({"status": "ok"})

    status: Literal["ok"] = "ok"


class ReplicaResponse(ResponseBody):
    """How far a replica is behind its primary."""

    model_config = example({"current": True, "lag_bytes": 0, "lag_seconds": 0.0})

    current: bool = Field(description="Whether it is not further behind than PGFACE_MAX_REPLICA_LAG.")
    lag_bytes: int | None = Field(description="Bytes that the replica has received and does not show yet.")
    lag_seconds: float | None = Field(
        description="Seconds since the replica certainly showed everything. Null if that is not known."
    )


class ReadinessResponse(ResponseBody):
    """Whether the service is ready, and the parts that it needs."""

    model_config = example({"ready": True, "database": True, "schema_current": True, "model": True, "replica": None})

    ready: bool
    database: bool
    schema_current: bool = Field(description="Whether the tables are those of this version of pgface.")
    model: bool = Field(description="Whether the model is loaded.")
    replica: ReplicaResponse | None = Field(
        description="The state of the database if it is a replica, so that the service only reads. Null if the service "
        "can write."
    )
