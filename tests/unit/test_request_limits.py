"""A body is read only after the guards of its route, within limits of bytes and of time, and never without limits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.routing import APIRouter, iter_route_contexts
from starlette.testclient import TestClient
from starlette.types import Message

from pgface.errors import RequestError, RequestTooLargeError, RequestTooSlowError, ServiceBusyError
from pgface.server.auth import Guard
from pgface.server.bodies import URL_ENCODED, BodyRoute
from pgface.server.body_budget import BodyBudget
from pgface.server.request_limits import LimitedBody
from pgface.server.schemas.base import RequestBody
from pgface.server.service import get_client, get_service
from support.openapi import described_app

ROUTES = [route for route in iter_route_contexts(described_app().routes) if getattr(route, "body_field", None)]
WITHOUT_REFUSALS = (get_service, get_client)
"""Dependencies that refuse no request."""


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{min(route.methods)} {route.path}")
def test_every_route_with_a_body_is_read_after_its_guards(route: Any) -> None:
    assert isinstance(route.original_route, BodyRoute)
    assert issubclass(route.original_route.model, RequestBody)
    for dependency in route.dependant.dependencies:
        assert dependency.call in WITHOUT_REFUSALS or isinstance(dependency.call, Guard)


def test_only_the_pages_and_one_operation_accept_forms_without_files() -> None:
    routes: dict[str, Any] = {str(route.path): route.original_route for route in ROUTES}
    paths = {path for path, route in routes.items() if URL_ENCODED in route.media_types}
    assert {path for path in paths if path.startswith("/api/")} == {"/api/v1/introspect"}
    assert paths >= {"/login", "/register", "/language", "/account/password", "/account/delete", "/admin/keys"}


class Name(RequestBody):
    name: str


def test_a_body_without_limits_is_not_read() -> None:
    router = APIRouter(route_class=BodyRoute)

    @router.post("/")
    def greet(body: Name) -> str:
        return body.name

    app = FastAPI()
    app.include_router(router)
    with pytest.raises(AttributeError, match="max_body_bytes"):
        TestClient(app).post("/", json={"name": "Alice"})


# The limits of one body


def read(
    chunks: Iterable[bytes], *, limit: int = 10, seconds: float = 5, pause: float = 0, held: int = 0
) -> tuple[bytes, int]:
    """Read a body that arrives in chunks, and return it with the bytes that are then free of a budget of 20.

    `held` is the number of bytes that another body uses.
    """
    messages: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b""} if messages[-1]["body"] else {"type": "http.disconnect"})
    budget = BodyBudget(20)

    async def receive() -> Message:
        await asyncio.sleep(pause)
        return messages.pop(0)

    async def read_all() -> tuple[bytes, int]:
        with budget.lease("another") as other, budget.lease() as lease:
            other.take(held)
            body, data = LimitedBody(receive, limit, lease, seconds), b""
            while True:
                message = await body.receive()
                data += message["body"]
                if not message.get("more_body"):
                    return data, budget.free

    try:
        return asyncio.run(read_all())
    finally:
        assert budget.free == 20


def test_a_body_uses_bytes_of_the_budget() -> None:
    assert read([b"12345", b"67890"]) == (b"1234567890", 10)


@pytest.mark.parametrize(
    ("chunks", "options", "error"),
    [
        ([b"12345", b"678901"], {}, RequestTooLargeError),
        ([b"1", b"2", b"3"], {"seconds": 0.15, "pause": 0.1}, RequestTooSlowError),
        ([b"12345", b""], {}, RequestError),
        ([b"12345", b"67890"], {"held": 12}, ServiceBusyError),
    ],
    ids=["too long", "too slow", "broken off", "no bytes are free"],
)
def test_a_body_is_refused(chunks: list[bytes], options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        read(chunks, **options)


def test_the_deadline_does_not_apply_after_the_body() -> None:
    messages: list[Message] = [{"type": "http.request", "body": b"1"}, {"type": "http.disconnect"}]

    async def receive() -> Message:
        await asyncio.sleep(0 if len(messages) == 2 else 0.1)
        return messages.pop(0)

    async def twice() -> Message:
        with BodyBudget(20).lease() as lease:
            body = LimitedBody(receive, 10, lease, 0.05)
            await body.receive()
            return await body.receive()  # as FastAPI does, to notice that the client has disconnected

    assert asyncio.run(twice())["type"] == "http.disconnect"


def test_a_guard_runs_once_for_a_request() -> None:
    calls: list[str] = []

    @Guard
    async def path(request: Request) -> str:
        calls.append(request.url.path)
        return request.url.path

    async def twice() -> list[str]:
        scope = {"type": "http", "path": "/here", "headers": [], "server": ("localhost", 80), "query_string": b""}
        return [await path(Request(scope)) for _ in range(2)]

    assert asyncio.run(twice()) == ["/here", "/here"]
    assert calls == ["/here"]
