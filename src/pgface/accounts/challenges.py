"""Stores the challenges of logins by face between requests, so that any process of the service can continue one.

A row is encrypted with a key that is derived from the challenge's token, which only the client has.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from cryptography.fernet import Fernet
from psycopg.rows import tuple_row

from pgface.accounts.attempts import Attempt
from pgface.accounts.tokens import token_hash
from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import LivenessError
from pgface.faces.liveness.head_turns import HeadTurns, Pose
from pgface.settings import LoginPolicy

SECONDS: Final = 120
"""The time limit from the first challenge to the end of the login."""
MAX_HINTS: Final = 300


@dataclass(frozen=True, slots=True)
class Challenge:
    """The next step of a login by face."""

    token: str = field(repr=False)
    """Send it with the frames."""
    pose: Pose
    """Where to look, until an answer asks for another pose."""
    progress: float
    """The share of the login that is done, 0 to 1."""
    policy: LoginPolicy
    seconds: int = SECONDS
    """The time limit from the first challenge to the end of the login."""


@dataclass(slots=True)
class FaceAttempt:
    """A login by face that has not finished."""

    policy: LoginPolicy
    attempt: Attempt
    user_id: int | None
    """The user of the given e-mail. None without an e-mail, or if no user has it."""
    head: HeadTurns
    proof: str | None = None
    """The proof of the password, as `Accounts.check_password` returns it."""
    digests: list[tuple[int, ...]] = field(default_factory=list)
    """The digests of each frame so far."""
    scores: dict[str, list[float]] = field(default_factory=dict)
    """The scores of each network against presentation attacks for the frames that it saw."""

    def add(self, digests: tuple[int, ...]) -> None:
        """Add the digests of the next frame.

        Raises:
            LivenessError: the frame was sent before.

        """
        if any(digests[0] == earlier[0] for earlier in self.digests):
            raise LivenessError(f"Frame {self.head.frames} is sent more than once.")
        self.digests.append(digests)

    def to_bytes(self) -> bytes:
        """JSON for `from_bytes`."""
        attempt = [self.attempt.method, self.attempt.account, list(self.attempt.addresses)]
        values = {
            "policy": self.policy,
            "attempt": attempt,
            "user_id": self.user_id,
            "proof": self.proof,
            "head": self.head.to_json(),
            "digests": self.digests,
            "scores": self.scores,
        }
        return json.dumps(values).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> FaceAttempt:
        """An attempt from the JSON of `to_bytes`."""
        values: dict[str, Any] = json.loads(data)
        method, account, addresses = values.pop("attempt")
        head, digests = HeadTurns.from_json(values.pop("head")), [tuple(frame) for frame in values.pop("digests")]
        return cls(attempt=Attempt(method, account, tuple(addresses)), head=head, digests=digests, **values)


class Challenges:
    """Creates challenges, and stores what was seen of their answers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, attempt: FaceAttempt) -> str:
        """Store a new attempt, and return its token."""
        token = secrets.token_urlsafe(32)
        row = {"id": token_hash(token), "seconds": SECONDS, "state": _cipher(token).encrypt(attempt.to_bytes())}
        with self._database.transaction() as connection:
            connection.execute(queries()["prune_challenges"])
            connection.execute(queries()["add_challenge"], row)
        return token

    @contextmanager
    def taken(self, token: str) -> Iterator[FaceAttempt]:
        """The attempt with this token, which no other request has meanwhile.

        It is kept again when the block is left, unless by an error, or its head has done all that it was asked to:
        then the challenge is used.

        Raises:
            LivenessError: there is none, because it is too old, or was used, or another request has it.

        """
        taken = self._take(token)
        if taken is None:
            raise LivenessError("The challenge is unknown: it is too old, was used, or is being answered.")
        state, ends_at, hints = taken
        attempt = FaceAttempt.from_bytes(_cipher(token).decrypt(bytes(state)))
        yield attempt
        if not attempt.head.done:
            state = _cipher(token).encrypt(attempt.to_bytes())
            row = {"id": token_hash(token), "ends_at": ends_at, "hints": hints, "state": state}
            with self._database.transaction() as connection:
                connection.execute(queries()["put_challenge_back"], row)

    def count_hint(self, token: str) -> None:
        """Count a hint, of which a challenge has only so many.

        Raises:
            LivenessError: it has had them all, or there is no such challenge.

        """
        with self._database.transaction() as connection:
            values = {"id": token_hash(token), "most": MAX_HINTS}
            if connection.execute(queries()["count_hint"], values).fetchone() is None:
                raise LivenessError("The challenge is unknown or too old, or has had all its hints.")

    def _take(self, token: str) -> tuple[bytes, datetime, int] | None:
        with self._database.transaction() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            return cursor.execute(queries()["take_challenge"], {"id": token_hash(token)}).fetchone()


def prune_challenges(database: Database) -> int:
    """Delete ended challenges, and return how many."""
    with database.transaction() as connection:
        return connection.execute(queries()["prune_challenges"]).rowcount


def _cipher(token: str) -> Fernet:
    """A cipher with a hash of the token as its key. The token is random and long. The row is found by another hash."""
    key = hashlib.sha256(b"state of a login by face\0" + token.encode("utf-8", "surrogatepass")).digest()
    return Fernet(base64.urlsafe_b64encode(key))
