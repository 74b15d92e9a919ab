"""Run clients of the service in their own process.

They read a JSON load from stdin and write results to stdout. Requests are prepared in advance and answers are hardly
parsed, because clients share the cores with the service.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any

_BOUNDARY = "pgface-benchmark"
_TIMEOUT = 120
"""The maximum seconds to wait for an answer."""
_GOOD = {200, 201}


@dataclass(frozen=True, slots=True)
class Load:
    """The load for the service."""

    port: int
    key: str
    photos: list[str]
    """The files to identify, in turn."""
    clients: int
    """The number of clients that identify, without pauses unless the service requests one."""
    seconds: float = 0.0
    requests: int | None = None
    """The number of requests after which to stop, instead of the seconds."""
    enrollments: list[tuple[str, str]] = field(default_factory=list)
    """The files and e-mails of the people to enroll meanwhile, each time as a new photo."""
    enrollers: int = 1
    """The number of clients that enroll."""
    enroll_every: float = 0.5
    """Seconds between two enrollments of a client, 0 for no pause."""
    health_every: float | None = None
    """Seconds between two requests for /healthz."""


@dataclass(slots=True)
class Answers:
    """The results."""

    statuses: dict[str, int] = field(default_factory=dict)
    without_retry_after: int = 0
    """The number of answers with status 503 and no Retry-After."""
    identify: list[float] = field(default_factory=list)
    """The seconds of every answer with status 200."""
    enroll: list[float] = field(default_factory=list)
    health: list[float] = field(default_factory=list)
    in_time: int = 0
    """The number of photos identified or enrolled in time."""
    seconds: float = 0.0
    """Seconds until the last answer."""
    processor: float = 0.0
    """The processor seconds of the clients."""

    def note(self, kind: str, status: int, headers: bytes, seconds: float) -> None:
        self.statuses[str(status)] = self.statuses.get(str(status), 0) + 1
        if status in _GOOD:
            getattr(self, kind).append(seconds)
        elif status == 503 and b"retry-after:" not in headers:
            self.without_retry_after += 1


class Connection:
    """A connection that stays open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a request. Returns the status and the headers of the answer, in lower case."""
        self._writer.write(request)
        async with asyncio.timeout(_TIMEOUT):
            head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            await self._reader.readexactly(length)
        return int(head[9:12]), head


@asynccontextmanager
async def connected(load: Load) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", load.port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def posted(load: Load, path: str, photo: bytes, **fields: str) -> bytes:
    """Make a request with a photo."""
    parts = [
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    parts.append(
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="photo"; filename="photo"\r\n'
        f"Content-Type: application/octet-stream\r\n\r\n".encode()
        + photo
    )
    body = b"".join(parts) + f"\r\n--{_BOUNDARY}--\r\n".encode()
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {load.key}\r\n"
        f"Content-Type: multipart/form-data; boundary={_BOUNDARY}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def renewed(jpeg: bytes) -> bytes:
    """Make a different file of the same picture, by adding a comment."""
    comment = secrets.token_hex(16).encode()
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]


async def run(load: Load) -> Answers:
    answers = Answers()
    photos = cycle([posted(load, "/api/v1/identify", Path(file).read_bytes()) for file in load.photos])
    people = cycle([(Path(file).read_bytes(), email) for file, email in load.enrollments])
    processor, began = time.process_time(), time.perf_counter()
    requests: Iterator[bytes] = photos
    if load.requests is not None:
        requests = islice(photos, load.requests)

    def is_over() -> bool:
        return load.requests is None and time.perf_counter() - began >= load.seconds

    async def identify() -> None:
        async with connected(load) as connection:
            for request in requests:
                status, headers = await timed(connection, "identify", request)
                if status == 503:
                    await asyncio.sleep(float(headers.partition(b"retry-after:")[2].partition(b"\r\n")[0] or 1))
                if is_over():
                    return

    async def timed(connection: Connection, kind: str, request: bytes) -> tuple[int, bytes]:
        sent = time.perf_counter()
        status, headers = await connection.ask(request)
        answers.note(kind, status, headers, time.perf_counter() - sent)
        answers.in_time += kind != "health" and status in _GOOD and not is_over()
        return status, headers

    async def enroll() -> None:
        async with connected(load) as connection:
            for number in count(1):
                photo, email = next(people)
                request = posted(load, "/api/v1/photos", renewed(photo), email=email, face="largest")
                await timed(connection, "enroll", request)
                await asyncio.sleep(max(0, began + number * load.enroll_every - time.perf_counter()))

    async def check_health() -> None:
        async with connected(load) as connection:
            while load.health_every is not None:
                await timed(connection, "health", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                await asyncio.sleep(load.health_every)

    others = [asyncio.create_task(enroll()) for _ in range(load.enrollers if load.enrollments else 0)]
    others += [asyncio.create_task(check_health())] if load.health_every else []
    await asyncio.gather(*(identify() for _ in range(load.clients)))
    if not load.clients:
        await asyncio.sleep(load.seconds)
    answers.seconds, answers.processor = time.perf_counter() - began, time.process_time() - processor
    for task in others:
        if task.done():
            await task  # it only ends with an error
        task.cancel()
    return answers


def main() -> None:
    values: dict[str, Any] = json.load(sys.stdin)
    json.dump(asdict(asyncio.run(run(Load(**values)))), sys.stdout)


if __name__ == "__main__":
    main()
