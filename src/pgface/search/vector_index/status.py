"""The status of the gallery's vector indexes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Literal

import psycopg
from psycopg.rows import class_row, dict_row

from pgface.database.cluster import is_cluster
from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.search.state import SearchState, read_search_state
from pgface.search.vector_index.definition import advised_probes
from pgface.search.vector_index.lifecycle import NAME, NEW_NAME, OLD_NAME, count_embeddings
from pgface.search.vector_index.plan import Plan, force_index_scan, read_plan, set_effort
from pgface.search.vector_index.progress import Progress

_TRIAL_PROBES = 100
"""Approximate number of stored photos that an IVFFlat index is tried with."""
_TOLERANCE = 1e-5
_ON_NODE = ("bytes", "valid", "scans", "last_scan")
"""What is different on the gallery's node of a cluster."""


@dataclass(frozen=True, slots=True)
class StoredIndex:
    """A vector index, which may be incomplete."""

    name: str
    table: str
    method: str
    operator_class: str
    m: int | None
    ef_construction: int | None
    lists: int | None
    bytes: int
    valid: bool
    """False for the leftover of an interrupted build."""
    building: bool
    """Whether a build is running."""
    rows_at_build: int | None
    """Number of embeddings at the time of the build. None if pgface did not build it."""
    scans: int
    """Number of scans since the server's statistics were reset."""
    last_scan: datetime | None

    @property
    def options(self) -> dict[str, int]:
        """Return the options of the index method."""
        given = {"m": self.m, "ef_construction": self.ef_construction, "lists": self.lists}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class EmbeddingsTable:
    """The state of the table `face_embeddings`."""

    rows: int
    dead_rows: int
    """PostgreSQL's estimate of deleted or changed rows that are not vacuumed yet."""
    changed_rows: int
    """Number of rows that have changed since the last ANALYZE."""
    bytes: int
    last_vacuum: datetime | None
    last_analyze: datetime | None
    qualified_name: str
    """The name with its schema, quoted where necessary."""


@dataclass(frozen=True, slots=True)
class IvfflatTrial:
    """The result of searching an IVFFlat index for stored photos.

    Each probe is a stored photo of a person with several. The nearest other photo of the person counts as missed if the
    index returned a less similar one instead. The true number of misses may be higher.
    """

    probes_tried: int
    missed: int
    """Number of misses with the `ivfflat.probes` of a new session."""
    missed_with_advised_probes: int
    """Number of misses with `advised_probes`."""
    advised_probes: int
    """The advised `ivfflat.probes`: the square root of the number of lists."""


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """The gallery's vector indexes, their settings, and how identification searches."""

    table: EmbeddingsTable
    index: StoredIndex | None
    """The specification's index `idx_embeddings_vector`. It serves SQL that orders by distance."""
    wanted: bool
    """Whether pgface keeps that index, which its own searches do not use."""
    plan: Plan
    ef_search: int
    """`hnsw.ef_search` of a new session."""
    probes: int
    """`ivfflat.probes` of a new session."""
    ivfflat_trial: IvfflatTrial | None
    """None unless there is an IVFFlat index."""
    search: SearchState
    """The state of identification's search. Its index is `search_index`."""
    search_index: StoredIndex | None
    """The index of the templates. None if identification compares with every embedding."""
    search_bytes: int
    """Size of the templates, their signs and their indexes."""
    leftovers: tuple[StoredIndex, ...]
    """Incomplete indexes of interrupted builds."""
    others: tuple[StoredIndex, ...]
    """Vector indexes that pgface did not make."""
    under_way: tuple[Progress, ...]
    """Running builds on the gallery's tables."""
    pgvector: str
    """The version of pgvector."""

    def to_json(self) -> dict[str, Any]:
        """Return values that `json.dumps` accepts."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self), default=datetime.isoformat))
        return values | {"search": self.search.to_json(), "under_way": [build.to_json() for build in self.under_way]}


def read_index_status(database: Database) -> IndexStatus:
    """Read the state of the gallery's indexes.

    Raises:
        DatabaseError: PostgreSQL cannot be reached, or refused.

    """
    with database.dedicated_connection() as connection:
        on_node = _facts_of_node(connection)
        (found_table,) = connection.cursor(row_factory=dict_row).execute(queries()["embeddings_table"])
        found_table |= {name: value for name, value in on_node("face_embeddings").items() if name in found_table}
        table = EmbeddingsTable(rows=count_embeddings(connection), **found_table)
        wanted = connection.execute(queries()["vector_index_wanted"]).fetchone() == (True,)
        (facts,) = connection.cursor(row_factory=dict_row).execute(queries()["index_facts"])
        efforts = connection.cursor(row_factory=dict_row).execute(queries()["search_efforts"]).fetchall()[0]
        stored = connection.cursor(row_factory=class_row(StoredIndex)).execute(queries()["vector_indexes"]).fetchall()
        under_way = connection.cursor(row_factory=class_row(Progress)).execute(queries()["index_progress_here"])
        kinds: dict[str, list[StoredIndex]] = {"index": [], "search": [], "leftover": [], "other": []}
        for found in stored:
            of_index = {name: value for name, value in on_node(found.table, found.name).items() if name in _ON_NODE}
            found = replace(found, **of_index)
            kinds[_kind(found)].append(found)
        index = next(iter(kinds["index"]), None)
        plan = read_plan(connection)
        return IndexStatus(
            table=table,
            index=index,
            wanted=wanted,
            plan=plan,
            ef_search=efforts["ef_search"],
            probes=efforts["probes"],
            ivfflat_trial=_try_index(connection, index, table.rows, efforts["probes"])
            if plan.possible_index == NAME
            else None,
            search=read_search_state(connection),
            search_index=next(iter(kinds["search"]), None),
            search_bytes=sum(on_node(table).get("total_bytes", 0) for table in ("user_templates", "template_bits"))
            or facts["search_bytes"],
            leftovers=tuple(kinds["leftover"]),
            others=tuple(kinds["other"]),
            under_way=tuple(under_way),
            pgvector=facts["pgvector"],
        )


def _facts_of_node(connection: psycopg.Connection) -> Callable[..., dict[str, Any]]:
    """Return a function that reads the size and the use of a table or an index from the gallery's node of a cluster.

    Without a cluster, it returns nothing, because the catalogs of this server have them.
    """

    def read(table: str, index: str | None = None) -> dict[str, Any]:
        values = {"table": table, "index": index}
        return connection.cursor(row_factory=dict_row).execute(queries()["relation_on_node"], values).fetchall()[0]

    return read if is_cluster(connection) else lambda *_: {}


def _kind(index: StoredIndex) -> Literal["index", "search", "leftover", "other"]:
    if index.building:
        return "other"
    if index.name in (NEW_NAME, OLD_NAME):
        return "leftover"
    if index.name == NAME:
        return "index"
    if not index.valid:
        return "leftover"
    return "other" if index.table == "face_embeddings" else "search"


def _try_index(
    connection: psycopg.Connection, index: StoredIndex | None, rows: int, probes: int
) -> IvfflatTrial | None:
    if index is None or index.lists is None or not rows:
        return None
    drawn = connection.execute(queries()["mated_embeddings"], {"wanted": _TRIAL_PROBES, "embeddings": rows}).fetchall()
    if not drawn:
        return None
    advised = advised_probes(index.lists)
    missed = [_misses(connection, drawn, effort) for effort in (probes, advised)]
    return IvfflatTrial(len(drawn), missed[0], missed[1], advised)


def _misses(connection: psycopg.Connection, drawn: list[Any], probes: int) -> int:
    """Count the probes with fewer than two results as similar as the mate. The two are the photo and its mate."""
    missed = 0
    with connection.transaction():
        force_index_scan(connection)
        set_effort(connection, "ivfflat", probes)
        for embedding, similarity in drawn:
            values = {"embedding": embedding, "count": 2}
            found = connection.execute(queries()["nearest"], values, prepare=False).fetchall()
            missed += sum(near >= similarity - _TOLERANCE for (near,) in found) < 2
    return missed
