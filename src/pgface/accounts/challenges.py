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
from dataclasses import astuple, dataclass, field, fields
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
    """The requested pose, until an answer returns another one."""
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
    """The user with the given e-mail. None without an e-mail, or if no user has it."""
    head: HeadTurns
    model_changes: int
    """`GalleryConfig.model_changes` at the start. All frames are of the same model."""
    proof: str | None = None
    """The proof of the password, as `Accounts.check_password` returns it."""
    digests: list[tuple[int, ...]] = field(default_factory=list)
    """The digests of each frame so far."""
    scores: dict[str, list[float]] = field(default_factory=dict)
    """The scores of each network against presentation attacks, one for each frame that it scored."""

    def add(self, digests: tuple[int, ...]) -> None:
        """Add the digests of the next frame.

        Raises:
            LivenessError: the frame was sent before.

        """
        if any(digests[0] == earlier[0] for earlier in self.digests):
            raise LivenessError(f"Frame {self.head.frames} is sent more than once.")
        self.digests.append(digests)

    def to_bytes(self) -> bytes:
        """Return JSON for `from_bytes`."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return json.dumps(values | {"attempt": astuple(self.attempt), "head": self.head.to_json()}).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> FaceAttempt:
        """Restore the output of `to_bytes`."""
        values: dict[str, Any] = json.loads(data)
        method, account, addresses = values.pop("attempt")
        head, digests = HeadTurns.from_json(values.pop("head")), [tuple(frame) for frame in values.pop("digests")]
        return cls(attempt=Attempt(method, account, tuple(addresses)), head=head, digests=digests, **values)


def create_challenge(database: Database, attempt: FaceAttempt) -> str:
    """Store a new attempt, and return its token."""
    token = secrets.token_urlsafe(32)
    row = {"id": token_hash(token), "seconds": SECONDS, "state": _cipher(token).encrypt(attempt.to_bytes())}
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
    attempt = FaceAttempt.from_bytes(_cipher(token).decrypt(bytes(state)))
    yield attempt
    if not attempt.head.done:
        state = _cipher(token).encrypt(attempt.to_bytes())
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


def _cipher(token: str) -> Fernet:
    """Return a cipher whose key is a hash of the long random token. The row's id is another hash of it."""
    key = hashlib.sha256(b"state of a login by face\0" + token.encode("utf-8", "surrogatepass")).digest()
    return Fernet(base64.urlsafe_b64encode(key))
