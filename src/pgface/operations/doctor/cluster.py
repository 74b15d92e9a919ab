"""Checks of a cluster of Citus: the settings of its nodes, and how the gallery uses the node that has its rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import psycopg
from psycopg.rows import dict_row, scalar_row, tuple_row

from pgface.database.cluster import is_cluster, set_on_all_nodes
from pgface.database.errors import wrap_psycopg_errors
from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.operations.doctor.finding import Finding, advice, ok, problem
from pgface.search.state import read_search_state
from pgface.settings import Settings
from pgface.text import counted

_NEEDED: Final = {
    "citus.enable_schema_based_sharding": "new galleries stay on the coordinator",
    "citus.enable_unsafe_triggers": "pgface cannot make its triggers",
    "citus.allow_nested_distributed_execution": "functions and triggers cannot read the gallery where its rows are",
    # Citus copies up to the WAL that is written, and clients have an answer before that.
    "synchronous_commit": "a move of a gallery loses changes that clients believe are done",
}
"""Settings that must not be off, and what does not work without each."""
_FEW: Final = 3
"""An effort below pgvector's default of 40."""
_ANOTHER_SCHEMA: Final = (
    "Set PGFACE_SCHEMA to a new name other than public. Then move the people there with pgface backup, pgface init and "
    "pgface restore."
)
_DIMENSIONS: Final = 512


def nodes(connection: psycopg.Connection, _: Settings) -> Iterator[Finding]:
    """Check that each node of a cluster answers, and has pgvector and the settings that pgface needs."""
    if not is_cluster(connection):
        yield ok("The database is on one server, and not on a cluster of Citus.")
        return
    with wrap_psycopg_errors(), connection.cursor(row_factory=dict_row) as cursor:
        own = cursor.execute(queries()["is_coordinator"]).fetchone()
        if own is not None and not own["is_coordinator"]:
            yield problem(
                "PGFACE_DATABASE_URL leads to a worker of the cluster, which cannot give new ids.",
                "Set it to the coordinator.",
            )
            return
        found = cursor.execute(queries()["cluster_nodes"]).fetchall()
    findings = [finding for row in found for finding in _judge_node(row)]
    versions = {json.loads(row["result"])["pgvector"] for row in found if row["answers"]} - {None}
    if len(versions) > 1:
        listed = ", ".join(sorted(versions))
        findings.append(problem(f"The nodes have different versions of pgvector: {listed}.", "Update it on each node."))
    if not any(row["is_coordinator"] for row in found):
        findings.append(
            problem("The coordinator is not among the nodes.", "SELECT citus_set_coordinator_host('ITS NAME', 5432);")
        )
    yield from findings or [ok(f"{counted(len(found), 'node')} of the cluster answer, with the needed settings.")]


def _judge_node(row: dict[str, Any]) -> Iterator[Finding]:
    if not row["answers"]:
        yield problem(
            f"The node {row['node']} does not answer: {row['result']}",
            "Start it. Until then, its galleries do not work, and no gallery can be made.",
        )
        return
    settings = json.loads(row["result"])["settings"]
    for name, effect in _NEEDED.items():
        if settings.get(name) in (None, "off"):
            yield problem(
                f"{name} is off on the node {row['node']}, so {effect}.",
                f"In psql on this node, run ALTER SYSTEM SET {name} = on, and then SELECT pg_reload_conf().",
            )
    if settings["wal_level"] != "logical":
        yield advice(
            f"Galleries cannot be moved without a pause of writes, because the node {row['node']} has wal_level = "
            f"{settings['wal_level']}.",
            "In psql on this node, run ALTER SYSTEM SET wal_level = logical. Then start PostgreSQL again.",
        )


def placement(database: Database, _: Settings) -> Iterator[Finding]:
    """Check that the gallery is on one node, with its privacy and its efforts in force there."""
    with database.dedicated_connection() as connection:
        if not is_cluster(connection):
            yield ok("All of the gallery is on this server.")
            return
        with wrap_psycopg_errors():
            if connection.execute(queries()["owns_gallery"]).fetchone() == (False,):
                yield problem(
                    "This PostgreSQL user does not own the gallery. Logins and other functions with the owner's rights "
                    "fail, because Citus refuses changes by two users in one transaction.",
                    "Set PGFACE_DATABASE_URL to the user that ran pgface init.",
                )
                return
            parts = connection.cursor(row_factory=tuple_row).execute(queries()["gallery_parts"]).fetchall()
        elsewhere = {node for _, node, _ in parts}
        if elsewhere == {None}:
            yield advice(
                "The gallery is on the coordinator, so the other nodes take none of its work.", _ANOTHER_SCHEMA
            )
            return
        local = [name for name, node, _ in parts if node is None]
        if local:
            yield problem(
                f"{counted(len(local), 'table')} of the gallery are only on the coordinator ({', '.join(local[:3])}).",
                _ANOTHER_SCHEMA,
            )
            return
        if len(elsewhere) > 1 or any(number > 1 for _, _, number in parts):
            yield problem(
                f"The gallery's tables are on several nodes: {', '.join(sorted(elsewhere))}.",
                "In psql, move them to one node with citus_move_shard_placement.",
            )
            return
        wrong = [*_statistics(connection), *_effort(connection)]
        yield from wrong or [ok(f"The gallery is on the node {elsewhere.pop()}, and its efforts are used there.")]


def _statistics(connection: psycopg.Connection) -> Iterator[Finding]:
    with wrap_psycopg_errors():
        kept = connection.cursor(row_factory=scalar_row).execute(queries()["statistics_of_faces"]).fetchall()
    if kept:
        yield problem(
            f"PostgreSQL may copy biometric data into its statistics: {', '.join(sorted(kept))}.",
            "pgface doctor --fix",
            _remove_statistics,
        )


def _remove_statistics(settings: Settings) -> None:
    with Database.open(settings) as database:
        database.execute("remove_statistics")


def _effort(connection: psycopg.Connection) -> Iterator[Finding]:
    """Search with a small effort, because an HNSW index returns as many candidates as the effort."""
    state = read_search_state(connection)
    if not state.method.startswith("hnsw") or state.suspended:
        return
    values = {"embedding": np.ones(_DIMENSIONS, np.float32), "method": state.method, "effort": _FEW}
    with wrap_psycopg_errors(), connection.transaction():
        set_on_all_nodes(connection, "enable_seqscan", "off")
        row = connection.execute(queries()["count_candidates"], values, prepare=False).fetchone()
    if row is not None and row[0] > _FEW:
        yield problem(
            f"The node of the gallery ignores the effort of the search: {row[0]} candidates for an effort of {_FEW}.",
            "pgface doctor --fix, which makes the functions again. Then run pgface fit-search.",
        )
