"""Calls that a client may repeat with the same key: the second time it gets the first response.

See the Internet-Draft "The Idempotency-Key HTTP Header Field" (draft-ietf-httpapi-idempotency-key-header). A key and
its response are kept for a day, or until the user or the photo in the response is deleted. A refused request stores
nothing, so you can repeat it. If a process dies during a request, it can be repeated after a minute.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Annotated, Any, Final, NamedTuple

from fastapi import Header, Request
from fastapi.responses import JSONResponse
from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb
from pydantic import BaseModel

from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import KeyUsedBeforeError, PgfaceError, RequestRepeatedError
from pgface.server.auth import Caller
from pgface.server.service import service_of

KEPT_SECONDS: Final = 24 * 3600
GIVEN_UP_AFTER: Final = 60
"""Seconds after which the process of a request without a response counts as dead."""

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
    """The user in the response. It is deleted with the user."""
    photo_id: int | None = None
    """The photo in the response. It is deleted with the photo."""


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
    asked = _Asked(caller, key, request)
    database = service.gallery.database
    there = await service.run_db(_begin, database, asked)
    if there is not None:
        return JSONResponse(there[1], there[0], {"Idempotent-Replayed": "true"})
    try:
        done = await act()
    except BaseException:
        with suppress(PgfaceError):  # the first error is the one to report
            await service.run_db(_give_up, database, asked)
        raise
    content = done.answer.model_dump(mode="json")
    await service.run_db(_answered, database, asked, done, content)
    return JSONResponse(content, done.status)


class _Asked:
    def __init__(self, caller: Caller | None, key: str, request: Request) -> None:
        what = f"{request.method} {request.url.path} {getattr(request.state, 'fingerprint', '')}"
        self.values: dict[str, Any] = {
            "caller": caller.name if caller else "nobody",
            "key": hashlib.sha256(key.encode()).hexdigest(),
            # Keyed with the client's key, which is not stored: a body may contain a password.
            "request": hmac.new(key.encode(), what.encode(), "sha256").hexdigest(),
        }


def _begin(database: Database, asked: _Asked) -> tuple[int, Any] | None:
    """The response of the first time; None if this is the first time."""
    values = asked.values
    with database.transaction() as connection:
        connection.execute(queries()["forget_idempotent_requests"], {"kept": KEPT_SECONDS})
        given_up = {"given_up_after": GIVEN_UP_AFTER}
        begun = connection.execute(queries()["begin_idempotent_request"], values | given_up).fetchone()
        if begun is not None:
            # Only this request may store its response, and not an earlier one that was so slow that it counted as dead.
            values["started_at"] = begun[0]
            return None
    found = database.read("select_idempotent_request", values, row_factory=tuple_row)
    if not found:  # it was given up at this moment
        raise RequestRepeatedError
    first, status, answer = found[0]
    if first != values["request"]:
        raise KeyUsedBeforeError
    if status is None:
        raise RequestRepeatedError
    return status, answer


def _answered(database: Database, asked: _Asked, done: Created, content: Any) -> None:
    told = {"status": done.status, "answer": Jsonb(content), "user_id": done.user_id, "photo_id": done.photo_id}
    values = asked.values | told
    try:
        with database.transaction() as connection:
            connection.execute(queries()["answer_idempotent_request"], values)
    except PgfaceError:
        # The work is done, and the client must learn that. The user may be deleted by now.
        with suppress(PgfaceError):
            _give_up(database, asked)


def delete_old_requests(database: Database) -> None:
    """Delete requests that are older than a day."""
    with database.transaction() as connection:
        connection.execute(queries()["forget_idempotent_requests"], {"kept": KEPT_SECONDS})


def _give_up(database: Database, asked: _Asked) -> None:
    with database.transaction() as connection:
        connection.execute(queries()["give_up_idempotent_request"], asked.values)
