"""The description of the REST API, generated once in each test process."""

from __future__ import annotations

from functools import cache
from typing import Any

from fastapi import FastAPI

from pgface.server.app import create_app


@cache
def described_app() -> FastAPI:
    """Return the application without a gallery. Do not start it, because all tests share it."""
    return create_app()


def document() -> dict[str, Any]:
    """Return its OpenAPI document. Do not change it."""
    return described_app().openapi()
