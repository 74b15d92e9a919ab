"""Databases on a Citus cluster, if `PGFACE_TEST_CITUS_URL` names its coordinator.

The URL is that of a superuser. In its database, the coordinator knows its workers (`citus_add_node`).
"""

from __future__ import annotations

import os

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

CITUS_URL = os.environ.get("PGFACE_TEST_CITUS_URL")


def create_citus_database(coordinator_url: str, name: str) -> str:
    """Create a database on every node of the cluster, and return its URL on the coordinator."""
    nodes = _nodes(coordinator_url)
    for host, port, _ in nodes:
        with psycopg.connect(make_conninfo(coordinator_url, host=host, port=port), autocommit=True) as connection:
            connection.execute("SET citus.enable_create_database_propagation = off")
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        url = make_conninfo(coordinator_url, host=host, port=port, dbname=name)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION citus")
    url = make_conninfo(coordinator_url, dbname=name)
    with psycopg.connect(url, autocommit=True) as connection:
        for host, port, is_coordinator in nodes:
            function = "citus_set_coordinator_host" if is_coordinator else "citus_add_node"
            connection.execute(sql.SQL("SELECT {}(%s, %s)").format(sql.Identifier(function)), (host, port))
    return url


def drop_citus_database(coordinator_url: str, url: str) -> None:
    """Drop a database on every node, and end its connections."""
    name = sql.Identifier(str(conninfo_to_dict(url)["dbname"]))
    for host, port, _ in _nodes(coordinator_url):
        with psycopg.connect(make_conninfo(coordinator_url, host=host, port=port), autocommit=True) as connection:
            connection.execute("SET citus.enable_create_database_propagation = off")
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def _nodes(coordinator_url: str) -> list[tuple[str, int, bool]]:
    with psycopg.connect(coordinator_url, autocommit=True) as connection:
        return connection.execute(
            "SELECT nodename, nodeport, groupid = 0 FROM pg_dist_node ORDER BY groupid"
        ).fetchall()
