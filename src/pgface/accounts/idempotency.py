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
        self._values = {
            "caller": caller,
            "key": hashlib.sha256(key.encode()).hexdigest(),
            "request": hmac.new(key.encode(), content.encode(), "sha256").hexdigest(),
        }

    def begin(self) -> StoredResponse | None:
        """Record that the request has started, or return the stored response.

        Raises:
            RequestRepeatedError: the first request is still running.
            KeyUsedBeforeError: the key was used for another request.

        """
        with self._database.transaction() as connection:
            connection.execute(queries()["delete_idempotent_requests"], {"kept": KEPT_SECONDS})
            values = self._values | {"given_up_after": GIVEN_UP_AFTER}
            begun = connection.execute(queries()["begin_idempotent_request"], values).fetchone()
            if begun is not None:
                # Only this request may store its response, and not an earlier one that counts as dead.
                self._started_at = begun[0]
                return None
        found = self._database.read("select_idempotent_request", self._values, row_factory=tuple_row)
        if not found:  # the first request failed meanwhile
            raise RequestRepeatedError
        request, status, body = found[0]
        if request != self._values["request"]:
            raise KeyUsedBeforeError
        if status is None:
            raise RequestRepeatedError
        return StoredResponse(status, body)

    def store(self, response: StoredResponse) -> None:
        """Store the response. A failure is ignored, because the client must learn that the work is done."""
        values = {
            "status": response.status,
            "answer": Jsonb(response.body),
            "user_id": response.user_id,
            "photo_id": response.photo_id,
        }
        try:
            self._database.execute("answer_idempotent_request", self._begun | values)
        except PgfaceError:  # the user may be deleted by now
            self.give_up()

    def give_up(self) -> None:
        """Delete the request, so that it can be repeated. A failure is ignored."""
        with suppress(PgfaceError):
            self._database.execute("give_up_idempotent_request", self._begun)

    @property
    def _begun(self) -> dict[str, Any]:
        return self._values | {"started_at": self._started_at}


def delete_old_requests(database: Database) -> None:
    """Delete requests that are older than a day."""
    database.execute("delete_idempotent_requests", {"kept": KEPT_SECONDS})
