"""Requests that a client may repeat with the same key, stored with their responses.

A key and its response are kept for a day, or until the user or the photo in the response is deleted. If a process dies
during a request, the request can be repeated after `GIVEN_UP_AFTER` seconds.
"""

from __future__ import annotations

import hashlib
import hmac
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg import Connection
from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import KeyUsedBeforeError, PgfaceError, RequestRepeatedError

KEPT_SECONDS: Final = 24 * 3600
GIVEN_UP_AFTER: Final = 60
"""Seconds after which the process of a request without a response counts as dead."""


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """The status and the body of a response, and what is in it."""

    status: int
    body: Any
    """JSON-ready values."""
    user_id: int | None = None
    """The user in the response. It is deleted with the user."""
    photo_id: int | None = None
    """The photo in the response. It is deleted with the photo."""


class RepeatableRequest:
    """A request with a key that its caller chose."""

    def __init__(self, database: Database, *, caller: str, key: str, content: str) -> None:
        """Identify a request by its caller, as the audit log names it, by the caller's random key, and by its content.

        The content may contain a password. So the table has only a hash of it with the key, and the key is not stored.
        """
        self._database = database
        self._started_at: datetime | None = None
        self._values = _identity(caller, key, content)

    def begin(self) -> StoredResponse | None:
        """Record that the request has started, or return the stored response.

        Raises:
            RequestRepeatedError: the first request is still running.
            KeyUsedBeforeError: the key was used for another request.

        """
        with self._database.transaction() as connection:
            connection.execute(queries()["delete_idempotent_requests"], {"kept": KEPT_SECONDS})
            # Only this request may store its response, and not an earlier one that counts as dead.
            self._started_at = _begin(connection, self._values)
            if self._started_at is not None:
                return None
        return _stored(
            self._database.read("select_idempotent_request", self._values, row_factory=tuple_row), self._values
        )

    def store(self, response: StoredResponse) -> None:
        """Store the response. A failure is ignored, because the client must learn that the work is done."""
        try:
            self._database.execute("answer_idempotent_request", self._begun | _columns(response))
        except PgfaceError:  # the user may be deleted by now
            self.give_up()

    def give_up(self) -> None:
        """Delete the request, so that it can be repeated. A failure is ignored."""
        with suppress(PgfaceError):
            self._database.execute("give_up_idempotent_request", self._begun)

    @property
    def _begun(self) -> dict[str, Any]:
        return self._values | {"started_at": self._started_at}


class RepeatableTransaction:
    """A request whose work is done in one transaction, together with its response.

    If the process dies, both are rolled back, and the request can be repeated at once. A repetition that arrives while
    the first request is running waits for its end. Call `begin` before the transaction takes other locks.
    """

    def __init__(self, connection: Connection, *, caller: str, key: str, content: str) -> None:
        """Identify a request as `RepeatableRequest` does."""
        self._connection = connection
        self._values = _identity(caller, key, content)
        self._started_at: datetime | None = None

    def begin(self) -> StoredResponse | None:
        """Record that the request has started, or return the stored response.

        Raises:
            KeyUsedBeforeError: the key was used for another request.

        """
        self._started_at = _begin(self._connection, self._values)
        if self._started_at is not None:
            return None
        return _stored(
            self._connection.execute(queries()["select_idempotent_request"], self._values).fetchall(), self._values
        )

    def store(self, response: StoredResponse) -> None:
        """Store the response."""
        values = self._values | {"started_at": self._started_at} | _columns(response)
        self._connection.execute(queries()["answer_idempotent_request"], values)


def _identity(caller: str, key: str, content: str) -> dict[str, Any]:
    return {
        "caller": caller,
        "key": hashlib.sha256(key.encode()).hexdigest(),
        "request": hmac.new(key.encode(), content.encode(), "sha256").hexdigest(),
    }


def _begin(connection: Connection, values: dict[str, Any]) -> datetime | None:
    """Record that a request has started. None if its key was used already."""
    row = connection.execute(
        queries()["begin_idempotent_request"], values | {"given_up_after": GIVEN_UP_AFTER}
    ).fetchone()
    return None if row is None else row[0]


def _stored(found: list[tuple[Any, ...]], values: dict[str, Any]) -> StoredResponse:
    if not found:  # the first request failed meanwhile
        raise RequestRepeatedError
    request, status, body = found[0]
    if request != values["request"]:
        raise KeyUsedBeforeError
    if status is None:
        raise RequestRepeatedError
    return StoredResponse(status, body)


def _columns(response: StoredResponse) -> dict[str, Any]:
    return {
        "status": response.status,
        "answer": Jsonb(response.body),
        "user_id": response.user_id,
        "photo_id": response.photo_id,
    }


def delete_old_requests(database: Database) -> None:
    """Delete requests that are older than a day."""
    database.execute("delete_idempotent_requests", {"kept": KEPT_SECONDS})
