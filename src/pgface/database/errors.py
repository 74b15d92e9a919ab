"""Translates psycopg's errors into pgface's, without data of rows in the messages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import errors as pg
from psycopg_pool import PoolTimeout

from pgface.errors import (
    DatabaseAccessError,
    DatabaseError,
    DatabaseUnreachableError,
    EmbeddingError,
    EventsDeletedError,
    ModelMismatchError,
    PgvectorError,
    ReadOnlyError,
    SchemaMissingError,
    SchemaTooNewError,
    TableLockedError,
)
from pgface.system.ownership import reason_with_owner

SCHEMA_TOO_NEW = "PGF01"
PGVECTOR_TOO_OLD = "PGF02"
"""SQLSTATEs raised by the schema's preamble."""
MODEL_CHANGED = "PGF04"
"""The SQLSTATE raised by `refuse_earlier_model`."""
EVENTS_DELETED = "PGF05"
"""The SQLSTATE raised by `read_events`."""
POOLER = "08P01"
"""The SQLSTATE of messages from pgbouncer itself."""

_REFUSED = ("password", "authentication", "role", "pg_hba", "no pg_hba.conf entry", "permission")


def connection_error(error: psycopg.OperationalError) -> DatabaseError:
    """Return the error of a failed connection, with the server's reason and without the password."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[0].rpartition("failed: ")[2] if lines else "no answer"
    if "resolve host" in str(error):
        # Not the host itself: if a password contains an @, libpq takes the rest of the password for the host.
        return DatabaseUnreachableError(
            "PostgreSQL cannot be reached: the host in PGFACE_DATABASE_URL cannot be resolved. Check it, and write "
            "@ : / and % in the password as %40 %3A %2F and %25."
        )
    answered = "FATAL:" in reason
    reason = reason.replace("FATAL:", "").strip().rstrip(".")
    if answered and "does not exist" in reason and "database" in reason:
        return DatabaseAccessError(f"PostgreSQL says: {reason}. Create it first, or correct PGFACE_DATABASE_URL.")
    if "no password supplied" in reason:
        return DatabaseAccessError(f"PostgreSQL asks for a password, and pgface has none: {_without_password(error)}")
    if answered and any(word in reason for word in _REFUSED):
        return DatabaseAccessError(
            f"PostgreSQL refused access: {reason}. Check the user and the password in PGFACE_DATABASE_URL."
        )
    return DatabaseUnreachableError(
        f"PostgreSQL cannot be reached: {reason}. Check that it runs and that PGFACE_DATABASE_URL is right."
    )


def _without_password(error: psycopg.OperationalError) -> str:
    """Explain why libpq found no password, because libpq skips a password file without a reason."""
    file = _password_file(error)
    if file is None or not os.path.lexists(file):
        missing = "no password file was found" if file is None else f"there is no file {file}"
        return f"{missing}. Write the password into PGFACE_DATABASE_URL, or into a password file and set PGPASSFILE."
    try:
        file.open("rb").close()
    except OSError as refusal:
        return (
            f"the password file {file} cannot be read ({reason_with_owner(refusal, file)}). Run pgface as its owner. "
            "In containers, set PGFACE_UID and PGFACE_GID in .env, then run `docker compose up -d`."
        )
    if file.stat().st_mode & 0o077:
        return f"others may read the password file {file}, so libpq does not use it. Run `chmod 600 {file}`."
    return f"the password file {file} has no line for this server, port, database and user. Add one."


def _password_file(error: psycopg.OperationalError) -> Path | None:
    options = [] if error.pgconn is None else error.pgconn.info
    given = {option.keyword: option.val for option in options}.get(b"passfile") or os.environb.get(b"PGPASSFILE")
    return Path(os.fsdecode(given)) if given else None


@contextmanager
def wrap_psycopg_errors() -> Iterator[None]:
    """Raise pgface's errors in place of psycopg's.

    The messages have only the first line of the server's message. Its details repeat rows, which contain embeddings.
    """
    try:
        yield
    except PoolTimeout as error:
        raise DatabaseUnreachableError(
            "No connection to PostgreSQL became free in time. Check that it runs, or raise PGFACE_POOL_SIZE."
        ) from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        if error.sqlstate is None or error.sqlstate.startswith(("08", "57P")):
            # pgbouncer has one SQLSTATE for all its reasons, which PostgreSQL never sends to libpq.
            pooler_message = error.diag.message_primary if error.sqlstate == POOLER else None
            reason = f" ({pooler_message})" if pooler_message else ""
            raise DatabaseUnreachableError(
                f"The connection to PostgreSQL was lost{reason}. "
                "The open transaction was rolled back. Committed changes remain."
            ) from error
        raise _from_sqlstate(error) from error
    except psycopg.Error as error:
        raise _from_sqlstate(error) from error


def _from_sqlstate(error: psycopg.Error) -> DatabaseError | EmbeddingError | ModelMismatchError | EventsDeletedError:
    message = (error.diag.message_primary or "no reason given").rstrip(".")
    match error:
        case pg.UndefinedTable() | pg.UndefinedFunction() | pg.UndefinedColumn() | pg.InvalidSchemaName():
            return SchemaMissingError(f"There is no gallery here ({message}). Run `pgface init`.")
        case pg.InsufficientPrivilege() if "extension" in message:
            return PgvectorError(
                f"This PostgreSQL user may not add pgvector ({message}). "
                "Ask an administrator to run CREATE EXTENSION vector in this database, then try again."
            )
        case pg.InsufficientPrivilege() if "for function" in message:
            return DatabaseAccessError(
                f"PostgreSQL refused: {message}. Ask the gallery's owner to run `pgface roles create` after an upgrade."
            )
        case pg.InsufficientPrivilege():
            return DatabaseAccessError(f"PostgreSQL refused: {message}. Use a PostgreSQL user with that right.")
        case pg.UndefinedFile() | pg.FeatureNotSupported() if "extension" in message:
            return PgvectorError(
                f"pgvector is not on this PostgreSQL server ({message}). Install it there, then try again. "
                "The pgvector/pgvector image and most hosted PostgreSQL servers have it."
            )
        case pg.CharacterNotInRepertoire():
            return DatabaseError(
                f"A text in the database is not UTF-8 ({message}). It was written in another encoding, and the "
                "database accepts any bytes (SQL_ASCII). Nothing was changed. Correct that text."
            )
        case pg.LockNotAvailable():
            return TableLockedError()
        case pg.ReadOnlySqlTransaction():
            return ReadOnlyError()
        case pg.SerializationFailure():
            # pgface uses no isolation level in which a primary raises this error.
            return DatabaseUnreachableError(
                "The replica stopped this query, because it had to apply changes of the primary. Nothing was changed. "
                "Try again."
            )
        case pg.CheckViolation():
            return EmbeddingError(f"PostgreSQL refused: {message}.")
        case pg.InvalidParameterValue() | pg.DataException():
            return EmbeddingError(f"PostgreSQL refused the value: {message}.")
        case _ if error.sqlstate == SCHEMA_TOO_NEW:
            return SchemaTooNewError(f"{message[:1].upper()}{message[1:]}.")
        case _ if error.sqlstate == PGVECTOR_TOO_OLD:
            return PgvectorError(f"{message}.")
        case _ if error.sqlstate == MODEL_CHANGED:
            return ModelMismatchError(
                "This gallery has got another model, and this embedding is of the earlier one. Nothing was changed. "
                "Open the gallery again."
            )
        case _ if error.sqlstate == EVENTS_DELETED:
            return EventsDeletedError()
        case _:
            return DatabaseError(f"PostgreSQL says: {message} (SQLSTATE {error.sqlstate}). Nothing was changed.")
