"""Calls that a client may repeat with the same key: the second time it gets the first response.

See the Internet-Draft "The Idempotency-Key HTTP Header Field" (draft-ietf-httpapi-idempotency-key-header). A refused
request stores nothing, so you can repeat it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, NamedTuple

from fastapi import Header, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from pgface.accounts.idempotency import RepeatableRequest, StoredResponse
from pgface.server.auth import Caller
from pgface.server.service import service_of

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        description="A random text, such as a UUID. A request that you repeat with the same key within a day is done "
        "once, and gets the same response.",
    ),
]


class Created(NamedTuple):
    """What a call created, and the response that reports it."""

    status: int
    answer: BaseModel
    user_id: int
    photo_id: int | None = None


async def once(
    request: Request, caller: Caller | None, key: str | None, act: Callable[[], Awaitable[Created]]
) -> JSONResponse:
    """Do what is asked for, or return the response of the first time.

    Raises:
        RequestRepeatedError: the first request is still running.
        KeyUsedBeforeError: the key was used for another request.

    """
    if key is None:
        done = await act()
        return JSONResponse(done.answer.model_dump(mode="json"), done.status)
    service = service_of(request)
    repeatable = RepeatableRequest(
        service.gallery.database,
        caller=caller.name if caller else "nobody",
        key=key,
        content=f"{request.method} {request.url.path} {getattr(request.state, 'fingerprint', '')}",
    )
    before = await service.run_db(repeatable.begin)
    if before is not None:
        return JSONResponse(before.body, before.status, {"Idempotent-Replayed": "true"})
    try:
        done = await act()
    except BaseException:
        await service.run_db(repeatable.give_up)
        raise
    body = done.answer.model_dump(mode="json")
    await service.run_db(repeatable.store, StoredResponse(done.status, body, done.user_id, done.photo_id))
    return JSONResponse(body, done.status)
