"""Databases on a Citus cluster, if `PGFACE_TEST_CITUS_URL` names its coordinator.

The URL is that of a superuser. In its database, the coordinator knows its workers (`citus_add_node`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

CITUS_URL = os.environ.get("PGFACE_TEST_CITUS_URL")
on_a_cluster = pytest.mark.skipif(not CITUS_URL, reason="PGFACE_TEST_CITUS_URL names no cluster")


def not_on_a_cluster(reason: str) -> pytest.MarkDecorator:
    """Skip a test on a cluster, for this reason."""
    return pytest.mark.skipif(bool(CITUS_URL), reason=f"on a cluster, {reason}")


def create_citus_database(coordinator_url: str, name: str, template: str | None = None) -> str:
    """Create a database on every node of the cluster, new or copied, and return its URL on the coordinator."""
    nodes = _nodes(coordinator_url)
    url = make_conninfo(coordinator_url, dbname=name)
    for host, port, _ in nodes:
        with _server(coordinator_url, host, port) as connection:
            if template is not None:
                # Otherwise Citus' own processes come back, and a database in use cannot be copied.
                close = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(template))
                connection.execute(close)
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (template,)
                )
            create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
            connection.execute(create.format(sql.Identifier(name), sql.Identifier(template or "template0")))
        if template is None:
            with psycopg.connect(make_conninfo(url, host=host, port=port), autocommit=True) as connection:
                connection.execute("CREATE EXTENSION citus")
    if template is None:
        with psycopg.connect(url, autocommit=True) as connection:
            for host, port, is_coordinator in nodes:
                function = "citus_set_coordinator_host" if is_coordinator else "citus_add_node"
                connection.execute(sql.SQL("SELECT {}(%s, %s)").format(sql.Identifier(function)), (host, port))
    return url


def drop_citus_database(coordinator_url: str, url: str) -> None:
    """Drop a database on every node, and end its connections."""
    name = sql.Identifier(str(conninfo_to_dict(url)["dbname"]))
    for host, port, _ in _nodes(coordinator_url):
        with _server(coordinator_url, host, port) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@contextmanager
def _server(coordinator_url: str, host: str, port: int) -> Iterator[psycopg.Connection]:
    """Connect to one node, for statements that Citus does not pass on to others."""
    with psycopg.connect(make_conninfo(coordinator_url, host=host, port=port), autocommit=True) as connection:
        connection.execute("SET citus.enable_create_database_propagation = off")
        connection.execute("SET citus.enable_ddl_propagation = off")
        yield connection


def _nodes(coordinator_url: str) -> list[tuple[str, int, bool]]:
    with psycopg.connect(coordinator_url, autocommit=True) as connection:
        return connection.execute(
            "SELECT nodename, nodeport, groupid = 0 FROM pg_dist_node ORDER BY groupid"
        ).fetchall()


def workers_of(url: str) -> list[str]:
    """Return the URLs of the same database on each worker."""
    return [
        make_conninfo(url, host=host, port=port) for host, port, is_coordinator in _nodes(url) if not is_coordinator
    ]


def worker_of(url: str, schema_name: str) -> str:
    """Return the URL of the same database on the node that has a gallery's rows."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(
            "SELECT DISTINCT s.nodename, s.nodeport FROM citus_shards s JOIN pg_class c ON c.oid = s.table_name "
            "WHERE c.relnamespace = %s::regnamespace",
            (schema_name,),
        ).fetchall()
    ((host, port),) = row
    return make_conninfo(url, host=host, port=port)


def move_gallery(url: str, schema_name: str) -> str:
    """Move a gallery to another worker while it is in use, and return that worker's URL."""
    now = worker_of(url, schema_name)
    target = next(worker for worker in workers_of(url) if worker != now)
    address = conninfo_to_dict(target)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT citus_schema_move(%s::regnamespace, %s, %s::integer, 'force_logical')",
            (schema_name, address["host"], address["port"]),
        )
    return target


def use_transaction_numbers(url: str, count: int) -> None:
    """Make a node's next transaction number larger."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            f"DO $$ BEGIN FOR n IN 1..{count} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
        )


@contextmanager
def turned_off(url: str, setting: str) -> Iterator[None]:
    """Turn a setting of a node off in the meantime, for new sessions."""
    with psycopg.connect(url, autocommit=True) as connection:
        name = sql.SQL(".").join(map(sql.Identifier, setting.split(".")))
        connection.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(name))
        connection.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            connection.execute(sql.SQL("ALTER SYSTEM RESET {}").format(name))
            connection.execute("SELECT pg_reload_conf()")
