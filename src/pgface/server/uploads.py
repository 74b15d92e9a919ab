"""Receives the upload of a job, which is too large for the memory, into a temporary file without a name."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO, Final

from fastapi import Request
from starlette.requests import ClientDisconnect

from pgface.errors import MediaTypeError, RequestError, RequestTooLargeError, RequestTooSlowError, ServiceBusyError
from pgface.server.bodies import media_type_of
from pgface.server.request_limits import require_length
from pgface.server.service import service_of
from pgface.settings import MEBI
from pgface.system.private_folder import private_folder

MEDIA_TYPES: Final = (
    "application/zip",
    "application/x-tar",
    "application/gzip",
    "application/vnd.apache.parquet",
    "application/octet-stream",
)
_MAX_UPLOADS: Final = 4
"""Uploads that one process receives at the same time. Each may fill a file of PGFACE_MAX_ARCHIVE_BYTES."""
_IN_MEMORY: Final = MEBI
_MIN_BYTES_PER_SECOND: Final = 50_000

_receiving: set[int] = set()
"""The ids of the requests whose uploads this process receives."""


@asynccontextmanager
async def received_upload(request: Request) -> AsyncIterator[IO[bytes] | None]:
    """Receive the body. Yields None for a request without one. `request.state.fingerprint` gets its SHA-256.

    Raises:
        MediaTypeError: the media type is not that of an archive.
        RequestTooLargeError: the body is larger than PGFACE_MAX_ARCHIVE_BYTES.
        RequestTooSlowError: the body arrives too slowly.
        ServiceBusyError: too many uploads are being received.

    """
    limit = service_of(request).settings.max_archive_bytes
    require_length(request, limit)
    if len(_receiving) >= _MAX_UPLOADS:
        raise ServiceBusyError
    _receiving.add(id(request))
    try:
        # Not in /tmp, which is in memory in a container.
        folder = private_folder(service_of(request).settings.data_dir)
        with tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(folder)) as file:
            size = await _receive(request, file, limit)
            if size and media_type_of(request) not in MEDIA_TYPES:
                raise MediaTypeError(f"The body must be {', '.join(MEDIA_TYPES[:-1])} or {MEDIA_TYPES[-1]}.")
            file.seek(0)
            yield file if size else None
    finally:
        _receiving.discard(id(request))


async def _receive(request: Request, file: IO[bytes], limit: int) -> int:
    loop = asyncio.get_running_loop()
    started = loop.time()
    digest = hashlib.sha256()
    size = 0
    chunks = request.stream()
    while True:
        deadline = started + service_of(request).settings.request_timeout + size / _MIN_BYTES_PER_SECOND
        try:
            async with asyncio.timeout_at(deadline):
                chunk = await anext(chunks, None)
        except TimeoutError:
            raise RequestTooSlowError from None
        except ClientDisconnect:
            raise RequestError("The connection was closed before the body had arrived.") from None
        if chunk is None:
            request.state.fingerprint = digest.hexdigest()
            return size
        size += len(chunk)
        if size > limit:
            raise RequestTooLargeError(f"The body is longer than the limit of {limit:,} bytes.")
        digest.update(chunk)
        await asyncio.to_thread(file.write, chunk) if size > _IN_MEMORY else file.write(chunk)
