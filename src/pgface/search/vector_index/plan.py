"""PostgreSQL's plan for SQL that orders by distance: whether it uses an index."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from pgface.database.cluster import set_on_all_nodes
from pgface.database.sql import queries

_SHARD: Final = re.compile(r"_[0-9]+$")


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of `SELECT id FROM face_embeddings ORDER BY embedding <=> probe LIMIT 10`."""

    index: str | None
    """The index that the planner uses. None if it compares the probe with every row."""
    cost: float
    """The estimated cost, in the planner's unit."""
    possible_index: str | None
    """The index that the planner would use if it could not scan the table."""
    possible_cost: float | None


def read_plan(connection: psycopg.Connection) -> Plan:
    """Read the plan with the planner's own costs, and again with expensive scans."""
    index, cost = _explained(connection)
    with connection.transaction():
        force_index_scan(connection)
        possible_index, possible_cost = _explained(connection)
    return Plan(index, cost, possible_index, possible_cost if possible_index else None)


def force_index_scan(connection: psycopg.Connection) -> None:
    """Make the planner use an index if one is suitable, until the transaction ends."""
    set_on_all_nodes(connection, "enable_seqscan", "off")


def force_seq_scan(connection: psycopg.Connection) -> None:
    """Make the planner compare with every row, until the transaction ends."""
    set_on_all_nodes(connection, "enable_indexscan", "off")


def set_effort(connection: psycopg.Connection, method: str, effort: int) -> None:
    """Set the effort of the method's index until the transaction ends."""
    set_on_all_nodes(connection, "ivfflat.probes" if method == "ivfflat" else "hnsw.ef_search", effort)


def _explained(connection: psycopg.Connection) -> tuple[str | None, float]:
    row = connection.execute(queries()["explain_nearest"]).fetchone()
    (plan,) = row[0] if row else ({"Plan": {}},)
    nodes = list(_nodes(plan))
    costs = [node["Total Cost"] for node in nodes if "Total Cost" in node]
    names = [node["Index Name"] for node in nodes if "Index Name" in node]
    if any("Remote Plan" in node for node in nodes):
        # The plan of a cluster has the plan of the gallery's node in it. Names there end with the number of the shard.
        costs, names = costs[1:], [_SHARD.sub("", name) for name in names]
    return next(iter(names), None), float(costs[0])


def _nodes(plan: Any) -> Iterator[dict[str, Any]]:
    """Yield the nodes of a plan, the outer ones first."""
    if isinstance(plan, dict):
        yield plan
    parts = plan.values() if isinstance(plan, dict) else plan if isinstance(plan, list) else ()
    for part in parts:
        yield from _nodes(part)
