"""PostgreSQL's plan for SQL that orders by distance: whether it uses an index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from pgface.database.sql import queries


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
    connection.execute("SET LOCAL enable_seqscan = off")


def force_seq_scan(connection: psycopg.Connection) -> None:
    """Make the planner compare with every row, until the transaction ends."""
    connection.execute("SET LOCAL enable_indexscan = off")


def _explained(connection: psycopg.Connection) -> tuple[str | None, float]:
    row = connection.execute(queries()["explain_nearest"]).fetchone()
    plan = row[0][0]["Plan"] if row else {}
    return next((node["Index Name"] for node in _nodes(plan) if "Index Name" in node), None), float(plan["Total Cost"])


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)
