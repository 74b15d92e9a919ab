"""Unusual defaults of a database, a role and an environment, on which pgface must not rely."""

from __future__ import annotations

from typing import Final

import psycopg
from psycopg import sql

OF_THE_DATABASE: Final = {
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "iso_8601",
    "TimeZone": "Asia/Kathmandu",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "quote_all_identifiers": "on",
    "standard_conforming_strings": "off",
    "backslash_quote": "on",
    "transform_null_equals": "on",
    "array_nulls": "off",
    "check_function_bodies": "off",
    "search_path": "nowhere",
    "client_encoding": "LATIN1",
    "default_transaction_deferrable": "on",
    "row_security": "off",
}
OF_THE_ROLE: Final = {
    "statement_timeout": "300ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "300ms",
    "idle_session_timeout": "500ms",
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "serializable",
    "client_encoding": "SQL_ASCII",
    "TimeZone": "Pacific/Chatham",
    "enable_seqscan": "off",
    "enable_indexscan": "off",
    "client_min_messages": "debug1",
}
OF_THE_ENVIRONMENT: Final = {
    "PGCLIENTENCODING": "SQL_ASCII",
    "PGTZ": "America/St_Johns",
    "PGDATESTYLE": "German",
    "PGOPTIONS": "-c default_transaction_read_only=on -c extra_float_digits=-10 -c search_path=pg_catalog",
}


def make_hostile(url: str) -> None:
    """Give a database these defaults, and the URL's role its defaults in that database."""
    with psycopg.connect(url, autocommit=True) as connection:
        names = {"database": sql.Identifier(connection.info.dbname), "role": sql.Identifier(connection.info.user)}
        for change, values in (
            ("ALTER DATABASE {database} SET {name} TO {value}", OF_THE_DATABASE),
            ("ALTER ROLE {role} IN DATABASE {database} SET {name} TO {value}", OF_THE_ROLE),
        ):
            for name, value in values.items():
                statement = sql.SQL(change).format(name=sql.Identifier(name.lower()), value=sql.Literal(value), **names)
                connection.execute(statement)
