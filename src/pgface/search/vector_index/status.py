"""The gallery's indexes of vectors: what there is, in which state, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

import psycopg
from psycopg.rows import class_row, dict_row

from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.search import SearchState, read_search_state
from pgface.search.vector_index.definition import advised_probes
from pgface.search.vector_index.lifecycle import NAME, NEW_NAME, OLD_NAME, count_embeddings
from pgface.search.vector_index.plan import Plan, force_index_scan, read_plan
from pgface.search.vector_index.progress import Progress

_MATES = 100
"""Photos that an IVFFlat index is tried with."""
_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class StoredIndex:
    """An index of vectors, or one that is not whole."""

    name: str
    table: str
    method: str
    operator_class: str
    m: int | None
    ef_construction: int | None
    lists: int | None
    bytes: int
    valid: bool
    """Whether it is valid. What an interrupted build has left is not."""
    building: bool
    """Whether it is being built just now."""
    rows_at_build: int | None
    """Embeddings that it was built on, if pgface built it."""
    scans: int
    """How often it was used since the server counts."""
    last_scan: datetime | None

    @property
    def options(self) -> dict[str, int]:
        """Return the options of its method."""
        given = {"m": self.m, "ef_construction": self.ef_construction, "lists": self.lists}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class EmbeddingsTable:
    """`face_embeddings`."""

    rows: int
    dead_rows: int
    """How many deleted or changed rows are not vacuumed yet, by PostgreSQL's estimate."""
    changed_rows: int
    """How many rows have changed since the last ANALYZE."""
    bytes: int
    last_vacuum: datetime | None
    last_analyze: datetime | None
    qualified_name: str
    """With its schema, quoted where necessary."""


@dataclass(frozen=True, slots=True)
class Mates:
    """A trial of an IVFFlat index with stored photos: does it find another photo of the same person?

    A miss counts only if the index returned something farther away instead, so there may be more misses.
    """

    tried: int
    missed: int
    """With `ivfflat.probes` as a new session has it."""
    missed_at_advised: int
    """With as many probes as the square root of the lists."""
    advised_probes: int


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """Everything about the gallery's indexes."""

    table: EmbeddingsTable
    index: StoredIndex | None
    """The specification's, `idx_embeddings_vector`, which serves SQL that orders by distance."""
    wanted: bool
    """Whether pgface keeps it where it scans the gallery itself."""
    plan: Plan
    ef_search: int
    """`hnsw.ef_search` of a new session."""
    probes: int
    """`ivfflat.probes` of a new session."""
    mates: Mates | None
    """For an IVFFlat index only."""
    search: SearchState
    """How identification searches. Its index is `search_index`."""
    search_index: StoredIndex | None
    """The index of the templates. None if identification compares with every embedding."""
    search_bytes: int
    """Bytes of the templates, their signs and their indexes."""
    leftovers: tuple[StoredIndex, ...]
    """What interrupted builds have left."""
    others: tuple[StoredIndex, ...]
    """Other vector indexes, which are not pgface's."""
    under_way: tuple[Progress, ...]
    """Builds that are running on the gallery's tables."""
    pgvector: str
    """Its version."""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        found: dict[str, Any] = _json_ready(asdict(self))
        return found | {"search": self.search.to_json(), "under_way": [build.to_json() for build in self.under_way]}


def read_index_status(database: Database) -> IndexStatus:
    """Read the state of the gallery's indexes, without changing anything.

    Raises:
        DatabaseError: PostgreSQL could not be reached, or refused.

    """
    with database.dedicated_connection() as connection:
        (found_table,) = connection.cursor(row_factory=dict_row).execute(queries()["embeddings_table"])
        table = EmbeddingsTable(rows=count_embeddings(connection), **found_table)
        wanted = connection.execute(queries()["vector_index_wanted"]).fetchone() == (True,)
        (facts,) = connection.cursor(row_factory=dict_row).execute(queries()["index_facts"])
        efforts = connection.cursor(row_factory=dict_row).execute(queries()["search_efforts"]).fetchall()[0]
        stored = connection.cursor(row_factory=class_row(StoredIndex)).execute(queries()["vector_indexes"]).fetchall()
        under_way = connection.cursor(row_factory=class_row(Progress)).execute(queries()["index_progress_here"])
        kinds: dict[str, list[StoredIndex]] = {"index": [], "search": [], "leftover": [], "other": []}
        for found in stored:
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
            mates=_try(connection, index, table.rows, efforts["probes"]) if plan.possible_index == NAME else None,
            search=read_search_state(connection),
            search_index=next(iter(kinds["search"]), None),
            search_bytes=facts["search_bytes"],
            leftovers=tuple(kinds["leftover"]),
            others=tuple(kinds["other"]),
            under_way=tuple(under_way),
            pgvector=facts["pgvector"],
        )


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


def _try(connection: psycopg.Connection, index: StoredIndex | None, rows: int, probes: int) -> Mates | None:
    if index is None or index.lists is None or not rows:
        return None
    drawn = connection.execute(queries()["mated_embeddings"], {"wanted": _MATES, "embeddings": rows}).fetchall()
    if not drawn:
        return None
    advised = advised_probes(index.lists)
    missed = [_misses(connection, drawn, effort) for effort in (probes, advised)]
    return Mates(len(drawn), missed[0], missed[1], advised)


def _misses(connection: psycopg.Connection, drawn: list[Any], probes: int) -> int:
    """Count how often fewer than two are as near as the mate: the photo itself is one, and the mate the other."""
    missed = 0
    with connection.transaction():
        force_index_scan(connection)
        connection.execute(queries()["set_effort"], {"method": "ivfflat", "effort": str(probes)})
        for embedding, similarity in drawn:
            asked = {"embedding": embedding, "count": 2}
            found = connection.execute(queries()["nearest"], asked, prepare=False).fetchall()
            missed += sum(near >= similarity - _TOLERANCE for (near,) in found) < 2
    return missed


def _json_ready(value: Any) -> Any:
    match value:
        case dict():
            return {name: _json_ready(member) for name, member in value.items()}
        case list() | tuple():
            return [_json_ready(member) for member in value]
        case datetime():
            return value.isoformat()
        case _:
            return value
