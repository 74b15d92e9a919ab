"""Stores the challenges of logins by face between requests, so that any process of the service can continue one.

A row is encrypted with a key that is derived from the challenge's token, which only the client has.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from typing import Any, Final

from psycopg.rows import tuple_row

from pgface.accounts.attempts import Attempt
from pgface.accounts.frame_checks import CheckedFrames
from pgface.accounts.tokens import state_cipher, token_hash
from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import LivenessError
from pgface.faces.liveness.head_turns import Pose
from pgface.settings import LoginPolicy

SECONDS: Final = 120
"""The time limit from the first challenge to the end of the login."""
MAX_HINTS: Final = 300
_PURPOSE: Final = "login by face"


@dataclass(frozen=True, slots=True)
class Challenge:
    """The next step of a login by face."""

    token: str = field(repr=False)
    """Send it with the frames."""
    pose: Pose
    """The requested pose, until an answer returns another one."""
    progress: float
    """The share of the login that is done, 0 to 1."""
    policy: LoginPolicy
    seconds: int = SECONDS
    """The time limit from the first challenge to the end of the login."""


@dataclass(slots=True, kw_only=True)
class FaceAttempt(CheckedFrames):
    """A login by face that has not finished."""

    policy: LoginPolicy
    attempt: Attempt
    user_id: int | None
    """The user with the given e-mail. None without an e-mail, or if no user has it."""
    proof: str | None = None
    """The proof of the password, as `Accounts.check_password` returns it."""

    def _json(self) -> dict[str, Any]:
        return {"attempt": astuple(self.attempt), "head": self.head.to_json()}

    @classmethod
    def from_bytes(cls, data: bytes) -> FaceAttempt:
        """Restore the output of `to_bytes`."""
        values = cls.values_of(data)
        method, account, addresses = values.pop("attempt")
        return cls(attempt=Attempt(method, account, tuple(addresses)), **values)


def create_challenge(database: Database, attempt: FaceAttempt) -> str:
    """Store a new attempt, and return its token."""
    token = secrets.token_urlsafe(32)
    row = {
        "id": token_hash(token),
        "seconds": SECONDS,
        "state": state_cipher(_PURPOSE, token).encrypt(attempt.to_bytes()),
    }
    with database.transaction() as connection:
        connection.execute(queries()["prune_challenges"])
        connection.execute(queries()["add_challenge"], row)
    return token


@contextmanager
def taken_attempt(database: Database, token: str) -> Iterator[FaceAttempt]:
    """Take the attempt with this token, so that no other request can use it meanwhile.

    The end of the block stores it again. After an error or the last step, the challenge cannot be used again.

    Raises:
        LivenessError: the challenge is too old, was used, or another request has it.

    """
    database.require_primary()  # the table of challenges cannot even be read on a replica
    with database.transaction() as connection, connection.cursor(row_factory=tuple_row) as cursor:
        taken = cursor.execute(queries()["take_challenge"], {"id": token_hash(token)}).fetchone()
    if taken is None:
        raise LivenessError("The challenge is unknown: it is too old, was used, or is being answered.")
    state, ends_at, hints = taken
    attempt = FaceAttempt.from_bytes(state_cipher(_PURPOSE, token).decrypt(bytes(state)))
    yield attempt
    if not attempt.head.done:
        state = state_cipher(_PURPOSE, token).encrypt(attempt.to_bytes())
        row = {"id": token_hash(token), "ends_at": ends_at, "hints": hints, "state": state}
        database.execute("put_challenge_back", row)


def count_hint(database: Database, token: str) -> None:
    """Count a hint.

    Raises:
        LivenessError: the challenge is unknown, or has had `MAX_HINTS` hints.

    """
    database.require_primary()
    if not database.execute("count_hint", {"id": token_hash(token), "most": MAX_HINTS}):
        raise LivenessError("The challenge is unknown or too old, or has had all its hints.")


def prune_challenges(database: Database) -> int:
    """Delete ended challenges, and return how many."""
    return database.execute("prune_challenges")
