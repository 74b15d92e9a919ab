"""Creating calls that a client may repeat: the second time the first answer comes again.

After the Internet-Draft "The Idempotency-Key HTTP Header Field" (draft-ietf-httpapi-idempotency-key-header). Keys
are kept for a day, with the answer, and both go when the user or the photo that it tells of is erased. A refused
request leaves nothing, so that it can be repeated. Where a process dies in between, the request may be done again after
a minute.
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

KEPT: Final = 24 * 3600
"""Seconds."""
GIVEN_UP_AFTER: Final = 60
"""Seconds after which a request without an answer is taken for one whose process died."""

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        description="A random text of the client's, such as a UUID. A request that is repeated with it within a day is "
        "done once, and answered with the same answer.",
    ),
]


class Created(NamedTuple):
    """What a call has done."""

    status: int
    answer: BaseModel
    user_id: int
    """Of whom the answer tells: it is kept as long as they are there."""
    photo_id: int | None = None
    """Of what photo, likewise."""


async def once(
    request: Request, caller: Caller | None, key: str | None, act: Callable[[], Awaitable[Created]]
) -> JSONResponse:
    """Do it, or give the answer of the first time.

    Raises:
        RequestRepeatedError: the first time is still under way.
        KeyUsedBeforeError: the key was given with another request.

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
        with suppress(PgfaceError):  # the first error is the one to tell of
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
            # With the client's key, of which nothing is kept that could open it: a body may hold a password.
            "request": hmac.new(key.encode(), what.encode(), "sha256").hexdigest(),
        }


def _begin(database: Database, asked: _Asked) -> tuple[int, Any] | None:
    """The answer of the first time; None if this is the first time."""
    values = asked.values
    with database.transaction() as connection:
        connection.execute(queries()["forget_idempotent_requests"], {"kept": KEPT})
        given_up = {"given_up_after": GIVEN_UP_AFTER}
        begun = connection.execute(queries()["begin_idempotent_request"], values | given_up).fetchone()
        if begun is not None:
            # Only this one may answer, and not one that was so slow that it was taken for dead.
            values["started_at"] = begun[0]
            return None
    found = database.read("select_idempotent_request", values, row_factory=tuple_row)
    if not found:  # it was given up just now
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
        # What was asked for is done, and that is what the client has to know; the user may be erased by now.
        with suppress(PgfaceError):
            _give_up(database, asked)


def forget_old_requests(database: Database) -> None:
    """Remove what is older than a day, also where clients no longer send keys."""
    with database.transaction() as connection:
        connection.execute(queries()["forget_idempotent_requests"], {"kept": KEPT})


def _give_up(database: Database, asked: _Asked) -> None:
    with database.transaction() as connection:
        connection.execute(queries()["give_up_idempotent_request"], asked.values)
