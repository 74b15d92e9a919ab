"""Work that a client may repeat with the same ClientRequestToken: it is done once, and its answer is stored with it.

The REST API records a request before its work, because that may take long. The operations with a token only change
rows. So one transaction has the record, the work and the answer, and a crash leaves all of them or no part.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

from psycopg import Connection
from psycopg.types.json import Jsonb

from pgface.accounts.idempotency import GIVEN_UP_AFTER
from pgface.database.sql import queries
from pgface.errors import KeyUsedBeforeError, RequestRepeatedError


def answer_once(
    connection: Connection, work: Callable[[Connection], dict[str, Any]], *, caller: str, token: str, content: str
) -> dict[str, Any]:
    """Do work in the transaction of a connection, or return the answer to the first request with this token.

    A repetition that arrives while the first request is running waits for its end.

    Args:
        connection: a connection in a transaction that has no lock yet.
        work: makes the answer, in that transaction.
        caller: the caller, as the audit log names it. Another caller may have the same token.
        token: the token, and what it is of.
        content: the request without its token. Only its hash is stored.

    Raises:
        KeyUsedBeforeError: the token was used for another request.

    """
    values: dict[str, Any] = {
        "caller": caller,
        "key": hashlib.sha256(token.encode()).hexdigest(),
        "request": hmac.new(token.encode(), content.encode(), "sha256").hexdigest(),
    }
    begun = connection.execute(
        queries()["begin_idempotent_request"], values | {"given_up_after": GIVEN_UP_AFTER}
    ).fetchone()
    if begun is None:
        return _first_answer(connection, values)
    answer = work(connection)
    stored = {"started_at": begun[0], "status": 200, "answer": Jsonb(answer), "user_id": None, "photo_id": None}
    connection.execute(queries()["answer_idempotent_request"], values | stored)
    return answer


def _first_answer(connection: Connection, values: dict[str, Any]) -> dict[str, Any]:
    row = connection.execute(queries()["select_idempotent_request"], values).fetchone()
    if row is None:  # it was deleted in the meantime
        raise RequestRepeatedError
    request, _, answer = row
    if request != values["request"]:
        raise KeyUsedBeforeError
    if answer is None:  # a process of an earlier version has begun it
        raise RequestRepeatedError
    found: dict[str, Any] = answer
    return found
