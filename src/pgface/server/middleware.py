"""The middleware for every request: its id, the log, metrics, security headers, and the response to any error."""

from __future__ import annotations

import re
import secrets
import time
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pgface.server import metrics
from pgface.server.error_handlers import answer_error
from pgface.server.logs import log, request_id
from pgface.server.service import requester_of
from pgface.server.work_queue import requester

_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_UNKNOWN: Final = "unknown"
_UNLOGGED: Final = frozenset({"healthz", "readyz", "get_metrics"})
"""Operations that monitoring calls every few seconds. They are counted in the metrics, but not logged."""

_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class RequestContextMiddleware:
    """Sets the context of a request, and completes its response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        if method == "HEAD":  # used by monitoring. The server leaves out the body (RFC 9110, section 9.3.2)
            scope = {**scope, "method": "GET"}
        request = Request(scope, receive)
        sent_id = request.headers.get("x-request-id", "")
        own_id = sent_id if _ID.fullmatch(sent_id) else secrets.token_hex(8)
        request.state.request_id = own_id
        request_id.set(own_id)
        requester.set(requester_of(request))
        status = 500
        response_started = False
        started = time.perf_counter()

        async def send_with_headers(message: Message) -> None:
            nonlocal status, response_started
            if message["type"] == "http.response.start":
                response_started = True
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = own_id
                if "location" in headers:
                    headers["Location"] = _without_host(headers["location"], scope.get("root_path", ""))
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                # Caches must not store personal data.
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            response = await answer_error(request, error)
            if not response_started:
                await response(scope, receive, send_with_headers)
        finally:
            _record(request, method, status, time.perf_counter() - started)


def _without_host(location: str, root: str) -> str:
    """Remove the host from the location of a redirect. Starlette's redirects contain the host that the client sent."""
    parts = urlsplit(location)
    path = parts.path if parts.netloc else root + parts.path
    # A browser would take the text after two slashes for a host.
    return urlunsplit(("", "", f"/{path.lstrip('/')}", parts.query, parts.fragment))


def _record(request: Request, method: str, status: int, seconds: float) -> None:
    # The path is left out, because a client can put any text into it.
    operation = getattr(request.state, "operation", None) or getattr(request.scope.get("route"), "name", _UNKNOWN)
    method = method if method in _METHODS else "OTHER"
    metrics.requests.labels(method, operation, status).observe(seconds)
    if operation not in _UNLOGGED:
        caller = getattr(request.state, "caller", None)
        fields = {"method": method, "operation": operation, "status": status, "seconds": round(seconds, 4)}
        log.info("request", extra=fields | {"caller": caller.name if caller else None})
