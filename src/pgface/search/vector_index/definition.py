"""The definition of an index: its method, its options, and the memory that its build needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, LiteralString

from psycopg import sql

from pgface.errors import GalleryError

Method = Literal["exact", "hnsw", "ivfflat"]
METHODS: tuple[Method, ...] = ("exact", "hnsw", "ivfflat")

_DEFAULT_M, _DEFAULT_EF_CONSTRUCTION, _MIN_LISTS = 16, 64, 100
_M, _EF_CONSTRUCTION, _LISTS = (2, 100), (4, 1000), (1, 32_768)
"""The ranges that pgvector accepts."""
_MANY_ROWS = 100_000
_VECTOR_BYTES = 8 + 4 * 512
_SAMPLES, _SAMPLES_PER_LIST = 10_000, 50
"""Number of rows that an IVFFlat build learns its lists from: the minimum in total, and for each list."""
_MEBI = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Definition:
    """An index that `ORDER BY embedding <=> probe` can use."""

    method: Literal["hnsw", "ivfflat"]
    m: int | None = None
    """Neighbors of a node (HNSW only)."""
    ef_construction: int | None = None
    """Candidates for these neighbors (HNSW only)."""
    lists: int | None = None
    """Number of lists (IVFFlat only)."""

    def create(self, name: LiteralString) -> sql.Composed:
        """Return the statement that builds the index without locking the table.

        It writes all options, because pgface's own index has none. An index with options stays when identification no
        longer scans.
        """
        given = {"m": self.m, "ef_construction": self.ef_construction, "lists": self.lists}
        options = sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(option), sql.Literal(value))
            for option, value in given.items()
            if value is not None
        )
        return sql.SQL(
            "CREATE INDEX CONCURRENTLY {} ON face_embeddings USING {} (embedding vector_cosine_ops) WITH ({})"
        ).format(sql.Identifier(name), sql.SQL(self.method), options)

    def memory(self, rows: int) -> int:
        """Return the bytes of `maintenance_work_mem` that a build on so many rows needs."""
        return _ivfflat_memory(rows, self.lists or 0) if self.method == "ivfflat" else hnsw_memory(rows, self.m or 0)


def define(
    method: Method, rows: int, *, m: int | None = None, ef_construction: int | None = None, lists: int | None = None
) -> Definition | None:
    """Check the options. Those that are not given follow pgvector's defaults and the specification's rule.

    Args:
        method: "exact" means no index, and returns None.
        rows: number of embeddings in the gallery.
        m: option of HNSW, 2 to 100.
        ef_construction: option of HNSW, 4 to 1000 and at least twice m.
        lists: option of IVFFlat, 1 to 32,768.

    Raises:
        GalleryError: there is no such method, an option belongs to another method or is out of range, or IVFFlat has
            fewer rows than lists to learn from.

    """
    if method not in METHODS:
        raise GalleryError(f"There is no index {method}. Choose one of {', '.join(METHODS)}.")
    of_hnsw = m is not None or ef_construction is not None
    if (of_hnsw and method != "hnsw") or (lists is not None and method != "ivfflat"):
        raise GalleryError("m and ef_construction are options of hnsw. lists is an option of ivfflat.")
    if method == "exact":
        return None
    if method == "hnsw":
        return _hnsw(_DEFAULT_M if m is None else m, ef_construction)
    return _ivfflat(advised_lists(rows) if lists is None else lists, rows)


def advised_lists(rows: int) -> int:
    """Return the lists by the specification's rule: 100 up to 100,000 rows, then the square root of the rows."""
    return _MIN_LISTS if rows < _MANY_ROWS else math.isqrt(rows)


def advised_probes(lists: int) -> int:
    """Return the probes by pgvector's rule: the square root of the lists."""
    return max(1, math.isqrt(lists))


def hnsw_memory(rows: int, m: int, vector_bytes: int = _VECTOR_BYTES) -> int:
    """Add up the graph: for each row its vector, its node, and its neighbours, twice m of them on the lowest level.

    In measurements, pgvector 0.8.5 used 2,392, 2,764 and 3,276 bytes a row with m 4, 16 and 32. It reports after how
    many rows it has used 24 MB.

    Args:
        rows: number of vectors.
        m: neighbors of a node.
        vector_bytes: size of a vector in PostgreSQL, by default a `vector(512)`.

    """
    return rows * (vector_bytes + 220 + 32 * m) + 4 * _MEBI


def _hnsw(m: int, ef_construction: int | None) -> Definition:
    _require_in_range("m", m, _M)
    chosen = max(_DEFAULT_EF_CONSTRUCTION, 2 * m) if ef_construction is None else ef_construction
    _require_in_range("ef_construction", chosen, _EF_CONSTRUCTION)
    if chosen < 2 * m:
        raise GalleryError(f"ef_construction must be at least twice m. Give {2 * m} or more.")
    return Definition("hnsw", m=m, ef_construction=chosen)


def _ivfflat(lists: int, rows: int) -> Definition:
    _require_in_range("lists", lists, _LISTS)
    if rows < lists:
        raise GalleryError(
            f"IVFFlat learns its lists from the embeddings, and {rows} of them are fewer than {lists} lists. It would "
            "miss most people later. Choose hnsw, which learns nothing, or build it when the gallery is larger."
        )
    return Definition("ivfflat", lists=lists)


def _require_in_range(option: str, value: int, limits: tuple[int, int]) -> None:
    if not limits[0] <= value <= limits[1]:
        raise GalleryError(f"{option} must be from {limits[0]} to {limits[1]}, got {value}.")


def _ivfflat_memory(rows: int, lists: int) -> int:
    """Add up the samples, the centres of the lists, and the distances between all of them.

    pgvector makes the same calculation before a build (`ComputeCenters` and `ElkanKmeans` of 0.8.5).
    """
    samples = max(_SAMPLES, _SAMPLES_PER_LIST * lists)
    taken = min(samples, rows)
    vectors = (samples + 2 * lists) * _VECTOR_BYTES + lists * 4 * 512
    numbers = taken * lists + lists * lists + 2 * taken + 3 * lists
    return vectors + 4 * numbers + _MEBI
