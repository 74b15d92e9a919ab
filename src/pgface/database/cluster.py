"""Settings of a transaction on a cluster of Citus, where the gallery's rows are on another node than the client's."""

from __future__ import annotations

import psycopg
from psycopg import sql

from pgface.database.errors import wrap_psycopg_errors
from pgface.database.sql import queries


def set_on_all_nodes(connection: psycopg.Connection, name: str, value: str | int) -> None:
    """Set a setting until the transaction ends, also on the node of the gallery's rows.

    Citus passes on the statement SET LOCAL, but neither the function `set_config` nor the settings of a session.
    Servers without Citus ignore its setting.
    """
    with wrap_psycopg_errors():
        connection.execute("SET LOCAL citus.propagate_set_commands TO 'local'")
        statement = sql.SQL("SET LOCAL {} TO {}").format(sql.Identifier(*name.split(".")), sql.Literal(value))
        connection.execute(statement)


def is_cluster(connection: psycopg.Connection) -> bool:
    """Whether the database is part of a cluster."""
    with wrap_psycopg_errors():
        return connection.execute(queries()["is_cluster"]).fetchone() == (True,)
