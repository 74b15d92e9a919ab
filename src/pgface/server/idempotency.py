"""Idempotency keys: a repeated request with the same key gets the response of the first one.

See the Internet-Draft "The Idempotency-Key HTTP Header Field" (draft-ietf-httpapi-idempotency-key-header). A refused
request stores nothing, so you can repeat it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from fastapi import Header, Request
from fastapi.responses import JSONResponse

from pgface.accounts.idempotency import RepeatableRequest, StoredResponse
from pgface.server.auth import Caller
from pgface.server.service import service_of

_GIVE_UP_SECONDS: Final = 1.0
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        description="A random text, such as a UUID. If you repeat a request with the same key within a day, it is done "
        "only once, and gets the same response.",
    ),
]


async def once(
    request: Request, caller: Caller | None, key: str | None, act: Callable[[], Awaitable[StoredResponse]]
) -> JSONResponse:
    """Process a request, or return the response of the first request with the same key.

    Raises:
        RequestRepeatedError: the first request is still running.
        KeyUsedBeforeError: the key was used for another request.

    """
    if key is None:
        done = await act()
        return JSONResponse(done.body, done.status)
    service = service_of(request)
    repeatable = RepeatableRequest(
        service.gallery.database,
        caller=caller.name if caller else "anonymous",
        key=key,
        content=f"{request.method} {request.url.path} {getattr(request.state, 'fingerprint', '')}",
    )
    try:
        first = await service.run_db(repeatable.begin)
    except BaseException:
        repeatable.abandon()
        raise
    if first is not None:
        return JSONResponse(first.body, first.status, {"Idempotent-Replayed": "true"})
    try:
        done = await act()
    except BaseException:
        # If PostgreSQL does not answer, the client should not wait for it a second time.
        await asyncio.wait([service.run_long_db(repeatable.give_up)], timeout=_GIVE_UP_SECONDS)
        raise
    await service.run_db(repeatable.store, done)
    return JSONResponse(done.body, done.status)
