"""Limits of a connection that uvicorn does not have: for the head of a request, and after an early response.

If a server closes a connection while the client is still sending, the client's system drops the response (RFC 9112,
section 9.6). So pgface continues to read after an early response and discards the bytes, within limits.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final, cast

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pgface.server.errors import HTTP_PROBLEMS, MEDIA_TYPE
from pgface.settings import MEBI, ROOT_PATH, get_settings

MAX_HEAD_BYTES: Final = 64 * 1024
"""The limit of a request line and its headers. Browsers and proxies send less than 16 KiB."""
MAX_HEADERS: Final = 100
MAX_DISCARDED_BYTES: Final = 96 * MEBI
"""The limit of the bytes that are discarded after an early response. urllib sends the whole body before it reads the
response, and the largest body that the service accepts has 80 MiB."""
IDLE_SECONDS: Final = 5
"""Seconds without a byte after which pgface stops reading after an early response."""
_MAX_HELD_BYTES: Final = 64 * 1024
_PREFIX_HEADER: Final = b"x-forwarded-prefix"
_HOST_HEADER: Final = b"x-forwarded-host"


def usable_prefix(sent: str) -> str | None:
    """Return the path that a proxy sent, without a slash at its end. None if it is not a valid path."""
    path = sent.strip().removesuffix("/")
    return path if ROOT_PATH.fullmatch(path) else None


class BoundedProtocol(HttpToolsProtocol):
    """The HTTP protocol of uvicorn, with limits. Without them, a connection could wait forever or fill the memory."""

    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    """Received bytes of the head."""
    _parsed_head_bytes = 0
    _in_head = True
    _too_large = False
    _in_body = False
    """Whether a part of the body is missing."""
    _lingering: _Lingering | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for the first request."""
        super().connection_made(_LingeringTransport(transport, self.loop, self._close))  # type: ignore[arg-type]
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel all timers."""
        self._stop_waiting()
        self._stop_lingering()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse more bytes. Refuse a head that is too large before all of it is in memory."""
        if self._lingering is not None and not self._lingering.accepts(len(data)):
            self._close_now()
            return
        if self._too_large or (self._lingering is not None and self._lingering.closes):
            return
        self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and not self._too_large:
            self._refuse_head()

    def on_message_begin(self) -> None:
        """Start to wait for the rest of the head."""
        super().on_message_begin()
        self._in_head, self._head_bytes, self._parsed_head_bytes = True, 0, 0
        self._wait_for_head()

    def on_url(self, url: bytes) -> None:
        """Count the request line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header."""
        self._count(len(name) + len(value))
        if len(self.headers) >= MAX_HEADERS:
            self._too_large = True
            raise _HeadTooLargeError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Stop waiting for the head, and set the path of the service."""
        self._in_head = False
        self._in_body = True
        self._stop_waiting()
        self._set_root_path()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Start to wait for the next request if the body has ended after an early response."""
        self._in_body = False
        super().on_message_complete()
        if self._lingering is not None:
            self._stop_lingering()
            self._wait_for_head()

    def on_response_complete(self) -> None:
        """Continue to read if the response was sent before the end of the body."""
        super().on_response_complete()
        if self._in_body and self._lingering is None and not self.transport.is_closing():
            self._linger(closes=False)

    def shutdown(self) -> None:
        """Close the connection: now after an early response, else after the current response."""
        if self._lingering is not None:
            self._close_now()
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Respond to a head that cannot be parsed or is too large."""
        if self._too_large:
            self._refuse_head()
        else:
            super().send_400_response(msg)

    def _set_root_path(self) -> None:
        """Set the path of this service on a shared host. Only a trusted proxy may set it."""
        root = get_settings().root_path
        # uvicorn's middleware, which trusts the same proxies, hides the proxy's address from the application.
        proxies = cast("ProxyHeadersMiddleware", self.app).trusted_hosts
        if self.client is not None and self.client[0] in proxies:
            sent = [value.decode("latin-1") for name, value in self.headers if name == _PREFIX_HEADER]
            root = (len(sent) == 1 and usable_prefix(sent[0])) or root
            hosts = [value.decode("latin-1") for name, value in self.headers if name == _HOST_HEADER]
            if len(hosts) == 1:
                self.scope["pgface.forwarded_host"] = hosts[0]  # type: ignore[typeddict-unknown-key]
        self.scope["root_path"] = root
        # Some proxies remove this path from the URL. In ASGI the URL's path includes it.
        self.root_path = "" if self.url.startswith(root.encode() + b"/") else root

    def _count(self, size: int) -> None:
        self._parsed_head_bytes += size
        if self._parsed_head_bytes > MAX_HEAD_BYTES:
            self._too_large = True
            raise _HeadTooLargeError

    def _refuse_head(self) -> None:
        self._too_large = True
        self._stop_waiting()
        code, title = "head-too-large", "Head too large"
        status, detail = HTTP_PROBLEMS[code]
        problem = {"type": f"/problems#{code}", "title": title, "status": status, "detail": detail, "code": code}
        body = json.dumps(problem).encode()
        head = (
            f"HTTP/1.1 {status} Request Header Fields Too Large\r\ncontent-type: {MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _close(self) -> None:
        """Close the connection after a response. Continue to read first if the client may still be sending."""
        sending = self._in_body or (self._in_head and self._head_bytes > 0)
        crowded = self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency
        if sending and not crowded and self._lingering is None and not self.transport.is_closing():
            self._linger(closes=True)
        else:
            self._close_now()

    def _linger(self, *, closes: bool) -> None:
        self._stop_waiting()
        self._lingering = _Lingering(self.loop, self._close_now, closes=closes)
        if closes and self.transport.can_write_eof():
            self.transport.write_eof()  # tells the client that nothing follows

    def _stop_lingering(self) -> None:
        if self._lingering is not None:
            self._lingering.stop()
            self._lingering = None

    def _close_now(self) -> None:
        self._stop_lingering()
        cast("_LingeringTransport", self.transport).close_now()

    def _wait_for_head(self) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(get_settings().request_timeout, self._close_now)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Lingering:
    """The timers and the byte count while pgface reads and discards the rest of a body."""

    def __init__(self, loop: asyncio.AbstractEventLoop, end: Callable[[], None], *, closes: bool) -> None:
        self.closes = closes
        """Whether the connection is closed afterwards. Otherwise it waits for the next request."""
        self._loop, self._end = loop, end
        self._bytes = 0
        self._deadline = loop.call_later(get_settings().request_timeout, end)
        self._idle = loop.call_later(IDLE_SECONDS, end)

    def accepts(self, size: int) -> bool:
        """Count bytes. Return whether they are within the limit."""
        self._bytes += size
        self._idle.cancel()
        self._idle = self._loop.call_later(IDLE_SECONDS, self._end)
        return self._bytes <= MAX_DISCARDED_BYTES

    def stop(self) -> None:
        """Cancel the timers."""
        self._deadline.cancel()
        self._idle.cancel()


class _LingeringTransport:
    """The transport of a connection. `BoundedProtocol` decides when it is closed."""

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, close: Callable[[], None]
    ) -> None:
        self._transport = transport
        self._loop = loop
        self.close = close
        self._held: list[bytes] = []
        self._held_bytes = 0

    def write(self, data: bytes) -> None:
        """Send bytes together with those that follow at once, such as the head and the body of a response."""
        if not self._held:
            self._loop.call_soon(self._send_held)
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > _MAX_HELD_BYTES:
            self._send_held()

    def _send_held(self) -> None:
        if self._held:
            data = b"".join(self._held)
            self._held.clear()
            self._held_bytes = 0
            self._transport.write(data)

    def write_eof(self) -> None:
        """End the sending side after all bytes."""
        self._send_held()
        self._transport.write_eof()

    def close_now(self) -> None:
        """Close the connection after all bytes."""
        self._send_held()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _HeadTooLargeError(Exception):
    """Stops the parser, so that uvicorn calls `send_400_response`."""
