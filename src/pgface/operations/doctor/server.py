"""The server: its version, pgvector's, its connections, its clock, and the password that it was reached with."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg.rows import dict_row

from pgface.database.errors import wrap_psycopg_errors
from pgface.database.pgvector import faults_of, numbers
from pgface.database.pool import connected
from pgface.database.sql import queries
from pgface.operations.doctor.finding import Finding, ok
from pgface.settings import Settings

OLDEST_POSTGRESQL = 16
OLDEST_PGVECTOR = (0, 7)
KNOWN_PASSWORDS = frozenset(
    {"facepass123", "password", "postgres", "admin", "faceuser", "pgface", "secret", "changeme", "123456"}
)
"""Of examples and tutorials, the specification's own first."""
_CLOCK_TOLERANCE = 5.0
"""Seconds: within them nobody's token ends noticeably early or late."""


def version(connection: psycopg.Connection, _: Settings) -> Iterator[Finding]:
    """PostgreSQL is new enough, and keeps any name."""
    major = connection.info.server_version // 10_000
    encoding = connection.info.parameter_status("server_encoding")
    told = f"PostgreSQL {connection.info.parameter_status('server_version')} answers, and keeps text in {encoding}."
    if major < OLDEST_POSTGRESQL:
        yield Finding("server", "problem", told, f"Upgrade the server to PostgreSQL {OLDEST_POSTGRESQL} or newer.")
    elif encoding != "UTF8":
        yield Finding(
            "server",
            "problem",
            f"{told} Names in other scripts are refused.",
            "Make a database with ENCODING 'UTF8' TEMPLATE template0, and move the gallery there with "
            "pgface backup and pgface restore.",
        )
    else:
        yield ok("server", told)


def extension(connection: psycopg.Connection, _: Settings) -> Iterator[Finding]:
    """pgvector is there, and as new as the server has it."""
    row = _one(connection, "vector_extension")
    yield judge_extension(row["installed"], row["available"], connection.info.server_version // 10_000)


def judge_extension(installed: str | None, available: str | None, server: int) -> Finding:
    """Say what to do about a version of pgvector.

    Args:
        installed: in this database; None where it is not.
        available: on the server; None where it is not.
        server: PostgreSQL's major version.

    """
    check, update = "pgvector", "ALTER EXTENSION vector UPDATE"
    install = (
        f"Install pgvector on the server (Debian and Ubuntu: apt install postgresql-{server}-pgvector; containers: the "
        "image pgvector/pgvector), then pgface init"
    )
    if installed is None:
        there = available is not None
        return Finding(
            check,
            "problem",
            "pgvector is not in this database yet." if there else "This server does not have pgvector.",
            "pgface init, or as an administrator in psql: CREATE EXTENSION vector;" if there else install,
        )
    old = numbers(installed) < OLDEST_PGVECTOR
    faults = faults_of(installed)
    wrong = f" It has faults: {'; '.join(fault.sentence for fault in faults)}." if faults else ""
    meanwhile = "".join(f". {fault.what_to_do[0].upper()}{fault.what_to_do[1:]}" for fault in faults)
    if available is None or numbers(available) <= numbers(installed):
        newest = "the newest that this server has" if available else "and the server has its files no more"
        told = f"pgvector {installed} is in this database, {newest}.{wrong}"
        bad = old or faults or not available
        return Finding(check, "problem", told, f"{install}{meanwhile}") if bad else ok(check, told)
    return Finding(
        check,
        "problem" if old or faults else "advice",
        f"pgvector {installed} is in this database, and the server has {available}.{wrong}",
        f"In psql: {update};{meanwhile.removeprefix('.')}",
        lambda settings: _execute(settings, update),
    )


def connections(connection: psycopg.Connection, settings: Settings) -> Iterator[Finding]:
    """The pool fits into what the server allows this user."""
    row = _one(connection, "connection_limits")
    room, used, pool = row["room"], row["used"], settings.pool_size
    told = f"{used} of {room} connections are in use, and a process of pgface takes {pool} at most (PGFACE_POOL_SIZE)."
    if pool > room:
        remedy = f"Set PGFACE_POOL_SIZE to {max(room // 2, 1)} or less, or raise {row['limited_by']}."
        yield Finding("connections", "problem", told, remedy)
    elif used + pool > room:
        remedy = f"Raise {row['limited_by']}, or put a pooler such as pgbouncer in between."
        yield Finding("connections", "advice", told, remedy)
    else:
        yield ok("connections", told)


def clock(connection: psycopg.Connection, _: Settings) -> Iterator[Finding]:
    """This machine and the server agree on the time."""
    before = time.time()
    theirs = float(_one(connection, "server_clock")["seconds"])
    apart = abs(theirs - (before + time.time()) / 2)
    told = f"The clocks of this machine and of the server are {apart:,.1f} s apart."
    if apart > _CLOCK_TOLERANCE:
        yield Finding("clock", "problem", told, "Let both follow a time server, or tokens end early or late.")
    else:
        yield ok("clock", told)


def database_password(connection: psycopg.Connection, settings: Settings) -> Iterator[Finding]:
    """PostgreSQL's password is none of those that everybody tries first."""
    check = "database password"
    if settings.database_url is None:
        yield ok(check, "The embedded PostgreSQL is reached through a socket of this user, and needs none.")
        return
    given = connection.info.password  # from the URL, from PGPASSWORD, or from a passfile
    if not given:
        yield ok(check, "None was needed from here.")
    elif given in KNOWN_PASSWORDS or given == connection.info.user:
        yield Finding(
            check,
            "problem",
            f"The password of the PostgreSQL user {connection.info.user} is one that everybody knows from examples.",
            "Set a new one (\\password in psql), and give it in PGFACE_DATABASE_URL or a passfile; "
            "for containers pgface secrets makes them.",
        )
    else:
        yield ok(check, "It is none that everybody knows from examples.")


def _execute(settings: Settings, statement: str) -> None:
    with connected(settings) as connection, wrap_psycopg_errors():
        connection.execute(statement.encode())


def _one(connection: psycopg.Connection, name: str) -> dict[str, Any]:
    with wrap_psycopg_errors(), connection.cursor(row_factory=dict_row) as cursor:
        (row,) = cursor.execute(queries()[name]).fetchall()
    return row
