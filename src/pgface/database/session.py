"""Sets what pgface relies on in a session, because a server, database, role or environment may have other defaults.

Settings of speed, durability and storage stay as they are.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg import sql

from pgface.database.errors import wrap_psycopg_errors
from pgface.errors import DatabaseError

WAIT_FOR_A_LOCK: Final = "10s"
"""The timeout for a lock, longer than pgface itself keeps a lock from other sessions."""
WAIT_TO_MIGRATE: Final = "60s"
"""The timeout for another program that migrates."""
WAIT_TO_BUILD: Final = "30min"
"""The timeout for other transactions. A concurrent build waits for them before its index is valid."""

_SETTINGS: Final = {
    # First, so that it does not cut the others short.
    "statement_timeout": "0",
    "lock_timeout": WAIT_FOR_A_LOCK,
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    # How values and names are written and read.
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "array_nulls": "on",
    "standard_conforming_strings": "on",
    "backslash_quote": "safe_encoding",
    "quote_all_identifiers": "off",
    "transform_null_equals": "off",
    # What a transaction sees and may do.
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "row_security": "on",
    "check_function_bodies": "on",
}
_VERSION_17: Final = 17_00_00
_SINCE_17: Final = {"transaction_timeout": "0"}


def set_up_session(connection: psycopg.Connection[Any]) -> None:
    """Apply pgface's settings to a session.

    Raises:
        DatabaseError: triggers are disabled, and this user cannot enable them.

    """
    with wrap_psycopg_errors():
        connection.execute(settings_statements(connection), prepare=False)
        _require_triggers(connection)


def set_up_transaction(connection: psycopg.Connection[Any]) -> None:
    """Apply pgface's settings to a transaction, whatever the settings of its session are."""
    with wrap_psycopg_errors():
        connection.execute(settings_statements(connection, local=True), prepare=False)


def settings_statements(connection: psycopg.Connection[Any], *, local: bool = False) -> bytes:
    """Return the statements that apply the settings to a session, or with `local` to a transaction."""
    values = _SETTINGS | (_SINCE_17 if connection.info.server_version >= _VERSION_17 else {})
    if local:  # the transaction has begun with the session's defaults
        isolation = values.pop("default_transaction_isolation")
        values |= {"transaction_isolation": isolation}
    # A standby server only reads, and refuses this setting.
    if connection.info.parameter_status("in_hot_standby") != "on":
        values |= {"transaction_read_only" if local else "default_transaction_read_only": "off"}
    statement = sql.SQL("SET LOCAL {} TO {}" if local else "SET {} TO {}")
    each = (statement.format(sql.Identifier(name.lower()), sql.Literal(value)) for name, value in values.items())
    return sql.SQL("; ").join(each).as_bytes(None)


def require_text(connection: psycopg.Connection[Any]) -> None:
    """Check that the database has a text encoding, before a gallery is created in it.

    Raises:
        DatabaseError: its encoding is SQL_ASCII.

    """
    if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
        raise DatabaseError(
            "This database has the encoding SQL_ASCII, in which PostgreSQL accepts any bytes as text. "
            "Create a database with ENCODING 'UTF8' TEMPLATE template0 for the gallery."
        )


def _require_triggers(connection: psycopg.Connection[Any]) -> None:
    if connection.execute("SHOW session_replication_role").fetchone() == ("origin",):
        return
    try:
        connection.execute("SET session_replication_role TO 'origin'")
    except psycopg.errors.InsufficientPrivilege as error:
        raise DatabaseError(
            "This user's sessions start with session_replication_role = replica, which disables triggers and foreign "
            "keys. Run ALTER ROLE ... RESET session_replication_role."
        ) from error
