"""The limits of a request body: its sender, its length, and the time that it takes.

FastAPI reads a body before it calls the dependencies that find the caller. So this ASGI middleware runs the guards of
the route first. Then the body is read, within limits of bytes and of time.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

from fastapi import Request
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pgface.errors import MediaTypeError, RequestError, RequestTooLargeError, RequestTooSlowError
from pgface.server.auth import Guard
from pgface.server.bodies import JSON, BodyRoute, media_type_of
from pgface.server.body_budget import BodyLease
from pgface.server.schemas.base import RequestBody
from pgface.server.service import service_of
from pgface.server.work_queue import requester_name
from pgface.settings import Settings

MAX_FIELD_BYTES: Final = 64 * 1024
"""The limit of a body without its files."""
_MAX_LENGTH_DIGITS: Final = 15


class RequestLimitsMiddleware:
    """Limits what is read of a body, after the guards of the route have admitted the caller."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._routes: list[RouteContext] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        route = self._route_with_body(scope)
        if route is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        for dependency in route.dependant.dependencies:
            if isinstance(dependency.call, Guard):
                await dependency.call(request)
        service = service_of(request)
        request.state.max_body_bytes = limit = _limit_of(request, cast(BodyRoute, route.original_route))
        known = getattr(request.state, "caller", None) is not None
        budget = service.body_budget if known else service.anonymous_body_budget
        with budget.lease(requester_name()) as lease:
            body = LimitedBody(receive, limit, lease, service.settings.request_timeout)
            await self._app(scope, body.receive, send)

    def _route_with_body(self, scope: Scope) -> RouteContext | None:
        """Find the route of a request that may have a body, and set the parameters of its path."""
        if scope["type"] != "http" or scope["method"] == "GET":
            return None
        if self._routes is None:
            routes = iter_route_contexts(scope["app"].routes)
            self._routes = [route for route in routes if getattr(route.original_route, "model", None)]
        for route in self._routes:
            match, parameters = route.matches(scope)
            if match == Match.FULL:
                scope.update(parameters, route=route.original_route)
                return route
        return None


class LimitedBody:
    """Receives a body within limits."""

    def __init__(self, receive: Receive, limit: int, lease: BodyLease, seconds: float) -> None:
        self._receive, self._limit, self._lease = receive, limit, lease
        self._deadline = asyncio.get_running_loop().time() + seconds
        self._bytes = 0
        self._complete = False

    async def receive(self) -> Message:
        """Receive the next message. An error refuses the body."""
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise RequestTooSlowError from None
        if message["type"] == "http.disconnect":
            raise RequestError("The connection was closed before the body had arrived.")
        # Counted as it arrives, so that a client that announces a large body and sends nothing takes no bytes.
        size = len(message.get("body", b""))
        self._bytes += size
        if self._bytes > self._limit:
            raise _too_large(self._limit)
        self._lease.take(size)
        self._complete = not message.get("more_body", False)
        return message


def _limit_of(request: Request, route: BodyRoute) -> int:
    """Return the limit of a body in bytes. Refuse a media type that the route does not accept, and a larger body."""
    media_type = media_type_of(request)
    if media_type not in route.media_types:
        raise MediaTypeError(f"The body must be {' or '.join(route.media_types)}.")
    limit = _max_bytes(route.model, media_type, service_of(request).settings)
    require_length(request, limit)
    return limit


def require_length(request: Request, limit: int) -> None:
    """Refuse a request that announces a body of more bytes than the limit.

    Raises:
        RequestTooLargeError: it does.
        RequestError: the header is not a number.

    """
    announced = request.headers.get("content-length", "0")
    if not (announced.isascii() and announced.isdigit()):
        raise RequestError("The header Content-Length is not a number.")
    if len(announced) > _MAX_LENGTH_DIGITS or int(announced) > limit:
        raise _too_large(limit)


def _max_bytes(model: type[RequestBody], media_type: str, settings: Settings) -> int:
    of_photos = len(model.photo_fields()) * settings.max_photo_bytes
    files = of_photos if model.max_file_bytes is None else model.max_file_bytes
    return MAX_FIELD_BYTES + (files * 4 // 3 + 4 if media_type == JSON else files)


def _too_large(limit: int) -> RequestTooLargeError:
    return RequestTooLargeError(f"The body is longer than the limit of {limit:,} bytes.")
