"""The schemas of the health checks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pgface.server.schemas.base import ResponseBody, example


class HealthResponse(ResponseBody):
    """The process responds."""

    model_config = example({"status": "ok"})

    status: Literal["ok"] = "ok"


class ReadinessResponse(ResponseBody):
    """Whether the service is ready, and the parts that it needs."""

    model_config = example({"ready": True, "database": True, "schema_current": True, "model": True})

    ready: bool
    database: bool
    schema_current: bool = Field(description="Whether the tables are those of this version of pgface.")
    model: bool = Field(description="Whether the model is loaded.")
