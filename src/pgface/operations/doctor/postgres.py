"""Checks of the server: versions of PostgreSQL and pgvector, connections, clock, and password."""

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
from pgface.operations.doctor.finding import Finding, advice, ok, problem
from pgface.settings import Settings

MIN_POSTGRESQL = 16
MIN_PGVECTOR = (0, 7)
KNOWN_PASSWORDS = frozenset(
    {"facepass123", "password", "postgres", "admin", "faceuser", "pgface", "secret", "changeme", "123456"}
)
"""Passwords of examples and tutorials, including the specification."""
_CLOCK_TOLERANCE_SECONDS = 5.0


def version(connection: psycopg.Connection, _: Settings) -> Iterator[Finding]:
    """Check that PostgreSQL is new enough, and can store any name."""
    major = connection.info.server_version // 10_000
    encoding = connection.info.parameter_status("server_encoding")
    found = f"PostgreSQL {connection.info.parameter_status('server_version')} answers, and stores text in {encoding}."
    if major < MIN_POSTGRESQL:
        yield problem(found, f"Upgrade the server to PostgreSQL {MIN_POSTGRESQL} or newer.")
    elif encoding != "UTF8":
        yield problem(
            f"{found} It cannot store names in other scripts.",
            "Create a database with ENCODING 'UTF8' TEMPLATE template0, and move the gallery there with "
            "pgface backup and pgface restore.",
        )
    else:
        yield ok(found)


def extension(connection: psycopg.Connection, _: Settings) -> Iterator[Finding]:
    """Check that pgvector is installed and up to date."""
    row = _one(connection, "vector_extension")
    yield judge_extension(row["installed"], row["available"], connection.info.server_version // 10_000)


def judge_extension(installed: str | None, available: str | None, server: int) -> Finding:
    """Check the version of pgvector.

    Args:
        installed: the version in this database, None if it is not installed.
        available: the version on the server, None if the server does not have it.
        server: PostgreSQL's major version.

    """
    update = "ALTER EXTENSION vector UPDATE"
    install = (
        f"Install pgvector on the server (Debian and Ubuntu: apt install postgresql-{server}-pgvector, containers: "
        "the image pgvector/pgvector), then run pgface init."
    )
    if installed is None and available is None:
        return problem("This server does not have pgvector.", install)
    if installed is None:
        return problem(
            "pgvector is not installed in this database.",
            "pgface init, or as an administrator in psql: CREATE EXTENSION vector;",
        )
    old = numbers(installed) < MIN_PGVECTOR
    faults = faults_of(installed)
    bugs = f" It has bugs: {', and '.join(fault.sentence for fault in faults)}." if faults else ""
    meanwhile = "".join(f" {fault.what_to_do}" for fault in faults)
    if available is None or numbers(available) <= numbers(installed):
        newest = "the newest that this server has" if available else "but the server no longer has its files"
        found = f"pgvector {installed} is installed, {newest}.{bugs}"
        return problem(found, f"{install}{meanwhile}") if old or faults or not available else ok(found)
    finding = problem if old or faults else advice
    return finding(
        f"pgvector {installed} is installed, and the server has {available}.{bugs}",
        f"In psql: {update};{meanwhile}",
        lambda settings: _execute(settings, update),
    )


def connections(connection: psycopg.Connection, settings: Settings) -> Iterator[Finding]:
    """Check that the connection pool fits into the server's limits."""
    row = _one(connection, "connection_limits")
    room, used, pool = row["room"], row["used"], settings.pool_size
    found = f"{used} of {room} connections are in use. A process of pgface takes up to {pool} (PGFACE_POOL_SIZE)."
    if pool > room:
        yield problem(found, f"Set PGFACE_POOL_SIZE to {max(room // 2, 1)} or less, or raise {row['limited_by']}.")
    elif used + pool > room:
        yield advice(found, f"Raise {row['limited_by']}, or put a pooler such as pgbouncer in between.")
    else:
        yield ok(found)


def clock(connection: psycopg.Connection, _: Settings) -> Iterator[Finding]:
    """Check that this machine and the server agree on the time."""
    before = time.time()
    theirs = float(_one(connection, "server_clock")["seconds"])
    apart = abs(theirs - (before + time.time()) / 2)
    found = f"The clocks of this machine and of the server are {apart:,.1f} s apart."
    if apart > _CLOCK_TOLERANCE_SECONDS:
        yield problem(found, "Synchronize both with a time server. Sessions end early or late.")
    else:
        yield ok(found)


def database_password(connection: psycopg.Connection, settings: Settings) -> Iterator[Finding]:
    """Check that PostgreSQL's password is not a well-known one."""
    if settings.database_url is None:
        yield ok("The embedded PostgreSQL needs no password, because it listens on a socket of this user.")
        return
    given = connection.info.password  # from the URL, from PGPASSWORD, or from a passfile
    if not given:
        yield ok("The connection needed no password.")
    elif given in KNOWN_PASSWORDS or given == connection.info.user:
        yield problem(
            f"The password of the PostgreSQL user {connection.info.user} is well known from examples.",
            "Set a new password (\\password in psql), and put it into PGFACE_DATABASE_URL or a passfile. "
            "For containers, create passwords with pgface secrets.",
        )
    else:
        yield ok("The password is not one of those known from examples.")


def _execute(settings: Settings, statement: str) -> None:
    with connected(settings) as connection, wrap_psycopg_errors():
        connection.execute(statement.encode())


def _one(connection: psycopg.Connection, name: str) -> dict[str, Any]:
    with wrap_psycopg_errors(), connection.cursor(row_factory=dict_row) as cursor:
        (row,) = cursor.execute(queries()[name]).fetchall()
    return row
