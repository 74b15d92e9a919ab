"""The limits of a connection: how long the head of a request may take to arrive, and how large it may be."""

from __future__ import annotations

import asyncio
import json
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pgface.server.problems import HEAD_TOO_LARGE, MEDIA_TYPE
from pgface.settings import get_settings

MOST_HEAD_BYTES: Final = 64 * 1024
"""Bytes of a request line and its headers. Browsers and proxies stay below 16 KiB."""
MOST_HEADERS: Final = 100


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits: without them, one connection could wait forever or fill the memory."""

    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    """Bytes that have arrived of a head, parsed or not."""
    _counted = 0
    """Bytes of its request line and headers that were parsed."""
    _in_head = True
    _too_large = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse more bytes, and refuse a head that is too large before all of it is in memory."""
        if self._too_large:
            return
        self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MOST_HEAD_BYTES and not self._too_large:
            self._refuse_head()

    def on_message_begin(self) -> None:
        """Wait for the rest of a head."""
        super().on_message_begin()
        self._in_head, self._head_bytes, self._counted = True, 0, 0
        self._wait_for_head()

    def on_url(self, url: bytes) -> None:
        """Count the request line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header."""
        self._count(len(name) + len(value))
        if len(self.headers) >= MOST_HEADERS:
            self._too_large = True
            raise _HeadTooLargeError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head has arrived."""
        self._in_head = False
        self._stop_waiting()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be parsed, or what `on_url` and `on_header` have refused."""
        if self._too_large:
            self._refuse_head()
        else:
            super().send_400_response(msg)

    def _count(self, size: int) -> None:
        self._counted += size
        if self._counted > MOST_HEAD_BYTES:
            self._too_large = True
            raise _HeadTooLargeError

    def _refuse_head(self) -> None:
        self._too_large = True
        self._stop_waiting()
        code, status, detail = HEAD_TOO_LARGE
        problem = {"type": f"/problems#{code}", "title": "Head too large", "status": status, "code": code}
        body = json.dumps(problem | {"detail": detail}).encode()
        head = (
            f"HTTP/1.1 {status} Request Header Fields Too Large\r\ncontent-type: {MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _wait_for_head(self) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(get_settings().request_timeout, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _HeadTooLargeError(Exception):
    """The parser stops at it, and uvicorn answers."""
