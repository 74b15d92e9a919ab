"""Sessions of users who have logged in. The client has a random token, and `auth_tokens` has its SHA-256."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from pgface.accounts.tokens import token_hash
from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import NotLoggedInError

_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class LoginOfUser:
    """One of a user's sessions."""

    id: int
    confidence: float
    """The similarity of the face, or 1.0 for a password."""
    password_given: bool
    """Whether the password was given, alone or with the face."""
    created_at: datetime
    """In the time zone of the database server, like `expires_at`."""
    expires_at: datetime | None

    @property
    def methods(self) -> list[str]:
        """How the user logged in, in the terms of RFC 8176: `pwd`, `face`, or both."""
        by_face = not self.password_given or self.confidence < 1
        return [*(["pwd"] if self.password_given else []), *(["face"] if by_face else [])]

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        ends = None if self.expires_at is None else self.expires_at.isoformat()
        return asdict(self) | {"created_at": self.created_at.isoformat(), "expires_at": ends}


@dataclass(frozen=True, slots=True)
class Login(LoginOfUser):
    """An open session and its user."""

    user_id: int
    name: str
    email: str


@dataclass(frozen=True, slots=True)
class NewLogin:
    """A new session."""

    token: str = field(repr=False)
    """256 random bits. Only their SHA-256 is stored."""
    user_id: int
    confidence: float
    expires_at: datetime


def begin_session(
    connection: psycopg.Connection,
    user_id: int,
    *,
    confidence: float,
    password_given: bool,
    seconds: float,
    proof: str | None = None,
) -> NewLogin:
    """Begin a session of a user.

    Args:
        connection: a connection in a transaction.
        user_id: the user's id.
        confidence: the similarity of the face, or 1.0 for a password.
        password_given: whether the password was given, alone or with the face.
        seconds: the time until the session ends.
        proof: the proof of that password, as `Accounts.check_password` returns it. PostgreSQL requires it from every
            role except the gallery's owner.

    Raises:
        DatabaseAccessError: the proof is missing, or does not belong to this user's password.

    """
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    values = {
        "user_id": user_id,
        "token": token_hash(token),
        "confidence": confidence,
        "password_given": password_given,
        "proof": proof,
        "seconds": seconds,
    }
    ((expires_at,),) = connection.execute(queries()["begin_session"], values).fetchall()
    return NewLogin(token, user_id, confidence, expires_at)


def find_session(database: Database, token: str) -> Login:
    """Find the session with this token.

    Raises:
        NotLoggedInError: the token is unknown, or the session has ended.

    """
    found = database.read("find_session", {"token": token_hash(token)}, row_factory=class_row(Login))
    if not found:
        raise NotLoggedInError
    return found[0]


def sessions_of(database: Database, user_id: int) -> list[LoginOfUser]:
    """List a user's sessions that have not ended, the oldest first."""
    return database.read("select_sessions_of_user", {"user_id": user_id}, row_factory=class_row(LoginOfUser))


def end_other_sessions(connection: psycopg.Connection, user_id: int, but: str | None) -> int:
    """End a user's sessions, except the one with the token `but`, and return how many."""
    return len(_end(connection, user_id=user_id, but=but and token_hash(but)))


def end_session(connection: psycopg.Connection, user_id: int, session_id: int) -> bool:
    """End one of a user's sessions by its id, and return whether there was one."""
    return bool(_end(connection, user_id=user_id, id=session_id))


def end_session_with_token(connection: psycopg.Connection, token: str) -> int | None:
    """End the session with this token, and return the id of its user."""
    return next(iter(_end(connection, token=token_hash(token))), None)


def _end(connection: psycopg.Connection, **values: str | int | None) -> list[int]:
    parameters = {"user_id": None, "id": None, "token": None, "but": None} | values
    return [user_id for (user_id,) in connection.execute(queries()["end_sessions"], parameters).fetchall()]


def prune_logins(database: Database) -> int:
    """Delete ended sessions, and return how many."""
    return database.execute("prune_tokens")
