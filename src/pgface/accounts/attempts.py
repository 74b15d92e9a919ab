"""Counts failed attempts to log in. The counts are in PostgreSQL, so that all processes share the limits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

import psycopg

from pgface.accounts.audit_log import Event, record
from pgface.accounts.client import Client
from pgface.accounts.tokens import token_hash
from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import TooManyAttemptsError
from pgface.text import email_spellings

Method = Literal["password", "face"]
"""The methods have separate counts: a user who fails with one can still use the other."""


FIRST_WAIT: Final = 1
"""The number of seconds to wait when a limit is reached. Each further failure doubles it."""
_MAX_WAIT: Final = 900
"""The maximum number of seconds to wait."""
_RESET_AFTER: Final = 24 * 3600
"""Seconds after which a failure no longer counts."""
ACCOUNT_LIMIT: Final = 5
"""Failures for one account."""
ADDRESS_LIMIT: Final = 30
"""Higher, because many people may share an address."""
WIDER_NETWORK_LIMIT: Final = 120
"""For an IPv6 network of /56, which may belong to one customer or to several."""
KNOWN_CLIENT_LIMIT: Final = 5
"""For a browser that has logged in to the account before, or an open session. It has its own count: failures of others
do not lock its owner out, and a stolen cookie allows no more guesses than an account."""
REGISTRATION_LIMIT: Final = 20
"""For registrations from one address, including successful ones, so that one program cannot fill the gallery."""
WIDER_REGISTRATION_LIMIT: Final = 80
"""For registrations from an IPv6 network of /56."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt, which counts as failed until it succeeds."""

    method: Method
    account: str | None
    """The hashed account or known client. None without an e-mail."""
    addresses: tuple[str, ...]


def begin_attempt(database: Database, method: Method, account: str | None, client: Client, event: Event) -> Attempt:
    """Count an attempt before it is made.

    The `account` is the given e-mail, whether or not a user has it. A known device or session has its own count.

    Raises:
        TooManyAttemptsError: the account, the address or the known client has to wait. This is recorded, and not
            counted.

    """
    with _recorded(database, client, event), database.transaction() as connection:
        known = None if account is None else _known_client(connection, account, client)
        if known is not None:
            attempt = Attempt(method, _hashed(known), ())
            _count(connection, method, _hashed(known), KNOWN_CLIENT_LIMIT)
            return attempt
        attempt = Attempt(
            method,
            None if account is None else _hashed(f"account {account}"),
            tuple(_hashed(f"address {network}") for network in client.networks),
        )
        for address, limit in zip(attempt.addresses, (ADDRESS_LIMIT, WIDER_NETWORK_LIMIT), strict=False):
            _count(connection, method, address, limit)
        if attempt.account is not None:
            _count(connection, method, attempt.account, ACCOUNT_LIMIT)
    return attempt


def count_registration(database: Database, client: Client) -> None:
    """Count a registration before it is made.

    Raises:
        TooManyAttemptsError: the address has registered too many users, and has to wait. This is recorded.

    """
    with _recorded(database, client, "register"), database.transaction() as connection:
        for network, limit in zip(client.networks, (REGISTRATION_LIMIT, WIDER_REGISTRATION_LIMIT), strict=False):
            _count(connection, "password", _hashed(f"registrations of {network}"), limit)


def attempt_succeeded(connection: psycopg.Connection, attempt: Attempt) -> None:
    """Reset the count of the account, and subtract the attempt from the count of its address."""
    if attempt.account is not None:
        connection.execute(queries()["reset_attempts"], {"subject": attempt.account, "method": attempt.method})
    for address in attempt.addresses:
        connection.execute(queries()["uncount_attempt"], {"subject": address, "method": attempt.method})


def prune_attempts(database: Database) -> int:
    """Delete expired counts, and return how many."""
    return database.execute("prune_attempts", {"reset_after": _RESET_AFTER})


@contextmanager
def _recorded(database: Database, client: Client, event: Event) -> Iterator[None]:
    """Record in the audit log that a client has to wait."""
    try:
        yield
    except TooManyAttemptsError:
        with database.transaction() as connection:
            record(connection, event, client, refused="too many attempts")
        raise


def _known_client(connection: psycopg.Connection, account: str, client: Client) -> str | None:
    """Return the subject under which a known client is counted. None for an unknown client."""
    if client.session is not None:
        return f"session {client.session}"
    if not client.devices:
        return None
    values = {"tokens": [token_hash(token) for token in client.devices], "spellings": email_spellings(account)}
    found = connection.execute(queries()["find_device"], values).fetchone()
    return None if found is None else f"device {found[0]}"


def _count(connection: psycopg.Connection, method: Method, subject: str, max_failures: int) -> None:
    values = {
        "subject": subject,
        "method": method,
        "max_failures": max_failures,
        "first_wait": FIRST_WAIT,
        "max_wait": _MAX_WAIT,
        "reset_after": _RESET_AFTER,
    }
    if connection.execute(queries()["count_attempt"], values).fetchone() is None:
        row = connection.execute(queries()["seconds_to_wait"], values).fetchone()
        raise TooManyAttemptsError(max(1, row[0] if row else 1))


def _hashed(subject: str) -> str:
    """Hash a subject. Some rows are for e-mails without an account, which must not be stored."""
    return hashlib.sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()
