"""Measuring how often the gallery's searches give the exact answer, and how long they take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.rows import dict_row

from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import GalleryError
from pgface.search.measure import wilson_interval
from pgface.search.sample import draw_probes, stored_blocks
from pgface.search.state import read_search_state
from pgface.search.vector_index.exact import NO_RESULT, Nearest, nearest
from pgface.search.vector_index.lifecycle import count_embeddings
from pgface.search.vector_index.plan import Plan, force_index_scan, force_seq_scan, read_plan, set_effort

_DEFAULT_PROBES = 1_000
_MAX_SECONDS = 15.0
"""Maximum time for the probes of each search. It does not apply if you give the number of probes."""
_MIN_PROBES = 50
_WARM_UP_PROBES = 5
_MAX_SCANS = 100
_MAX_SCAN_SECONDS = 4.0
_MIN_SCANS = 5
_TOLERANCE = 1e-5
"""Tolerance between the cosines of PostgreSQL and NumPy. Of two people with equal similarity, either is correct."""

Search = Callable[[NDArray[np.float32]], list[float]]
"""A function that searches for a probe and returns the similarities found, the highest first."""
OnStep = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Share:
    """A measured share with its 95 % interval (Wilson)."""

    share: float
    low: float
    high: float
    probes: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Share | None:
        """Calculate the mean of one value for each probe, 0 to 1. None if there are no values."""
        if not values:
            return None
        total = float(sum(values))
        low, high = wilson_interval(total, len(values))
        return cls(total / len(values), low, high, len(values))


@dataclass(frozen=True, slots=True)
class Latency:
    """The latency of a search, as the client measures it."""

    median_ms: float
    p95_ms: float
    searches: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency:
        """Calculate the latency from the seconds of each search."""
        median, p95 = np.percentile(np.array(seconds) * 1e3, (50, 95))
        return cls(float(median), float(p95), len(seconds))


@dataclass(frozen=True, slots=True)
class SearchCheck:
    """The result of one search, compared with exact search."""

    method: str
    """"exact", "hnsw", "hnsw_binary" or "ivfflat"."""
    effort: int | None
    """`hnsw.ef_search` or `ivfflat.probes`, of the first look if the search has two."""
    rank_1: Share | None
    """Share of probes for which the first result equals the exact one."""
    recall: Share | None
    """Share of the exact results that the search finds. In identification, only people above the threshold count."""
    latency: Latency | None
    exact_latency: Latency


@dataclass(frozen=True, slots=True)
class IndexCheck:
    """The check of a gallery's searches."""

    embeddings: int
    probes: int
    """Number of probes. They are made from the gallery's own embeddings and resemble further photos of people."""
    count: int
    """Number of results of each search, k."""
    threshold: float
    """The threshold for identification."""
    plan: Plan
    index: SearchCheck
    """The result for SQL that orders by distance. Its method is "exact" if no index can serve it."""
    identification: SearchCheck
    """The result for `find_similar_faces` and `pgface identify`, for one person and for k people."""

    def to_json(self) -> dict[str, Any]:
        """Return values that `json.dumps` accepts."""
        return asdict(self)


def check_index(
    database: Database,
    *,
    probes: int | None = None,
    count: int = 10,
    effort: int | None = None,
    labels: Sequence[str] = (),
    on_step: OnStep | None = None,
) -> IndexCheck:
    """Measure how often the gallery's two searches give the exact answer, and how long they and a scan take.

    Args:
        database: the gallery's connections.
        probes: the approximate number of probes, by default 1,000, or fewer if they would take long.
        count: the number of results of each search, k.
        effort: `hnsw.ef_search` or `ivfflat.probes` for the index, by default the server's setting.
        labels: measure identification among the users who have all of these labels.
        on_step: called with a description of each step.

    Raises:
        GalleryError: the gallery is empty, or a number is out of its range.
        DatabaseError: PostgreSQL could not do it.

    """
    for name, value, most in (("probes", probes, 100_000), ("k", count, 50), ("effort", effort, 32_768)):
        if value is not None and not 1 <= value <= most:
            raise GalleryError(f"{name} must be from 1 to {most}, got {value}.")
    on_step = on_step or (lambda _: None)
    seconds = _MAX_SECONDS if probes is None else float("inf")
    with database.dedicated_connection() as connection:
        embeddings = count_embeddings(connection)
        on_step("drawing probes from the gallery")
        drawn, _ = draw_probes(connection, min(probes or _DEFAULT_PROBES, embeddings))
        on_step("finding the exact answers")
        exact = nearest(stored_blocks(connection), drawn, count)
        plan = read_plan(connection)
        with connection.cursor(row_factory=dict_row) as cursor:
            (gallery,) = cursor.execute(queries()["select_gallery"]).fetchall()
        threshold = float(gallery["identify_threshold"])
        on_step("searching by the index")
        by_index = _check_index(connection, plan, drawn, exact, count, effort, seconds)
        on_step("identifying")
        people = nearest(stored_blocks(connection, labels=labels), drawn, count).people if labels else exact.people
        identification = _check_identification(connection, drawn, people, count, threshold, labels, seconds)
    return IndexCheck(embeddings, len(drawn), count, threshold, plan, by_index, identification)


def _check_index(
    connection: psycopg.Connection,
    plan: Plan,
    probes: NDArray[np.float32],
    exact: Nearest,
    count: int,
    effort: int | None,
    seconds: float,
) -> SearchCheck:
    def search(probe: NDArray[np.float32]) -> list[float]:
        # Not prepared, because a cached plan would ignore the settings below.
        return _similarities(connection, "nearest", {"embedding": probe, "count": count}, prepare=False)

    with connection.transaction():
        force_seq_scan(connection)
        _, scans = _timed(search, probes[:_MAX_SCANS], _MAX_SCAN_SECONDS, _MIN_SCANS)
    if plan.possible_index is None:
        return SearchCheck("exact", None, None, None, None, Latency.of(scans))
    method = _method(connection, plan.possible_index)
    with connection.transaction():
        force_index_scan(connection)
        used = _effort(connection, method, effort)
        found, took = _timed(search, probes, seconds, _MIN_PROBES)
    wanted = [similarities[similarities > NO_RESULT] for similarities in exact.embeddings]
    return SearchCheck(
        method, used, _rank_1(found, wanted), _recall(found, wanted), Latency.of(took), Latency.of(scans)
    )


def _check_identification(
    connection: psycopg.Connection,
    probes: NDArray[np.float32],
    exact_people: NDArray[np.float32],
    count: int,
    threshold: float,
    labels: Sequence[str],
    seconds: float,
) -> SearchCheck:
    values = {"threshold": threshold, "labels": list(labels)}
    query, exact_query = "identified", "identified_exactly"
    if labels:
        query, exact_query = "identified_among", "identified_among_exactly"

    def search(name: str, wanted: int) -> Search:
        return lambda probe: _similarities(
            connection, name, values | {"embedding": probe, "count": wanted}, prepare=True
        )

    one, took = _timed(search(query, 1), probes, seconds, _MIN_PROBES)
    several, _ = _timed(search(query, count), probes[: len(one)], seconds, _MIN_PROBES)
    _, scans = _timed(search(exact_query, 1), probes[:_MAX_SCANS], _MAX_SCAN_SECONDS, _MIN_SCANS)
    # At the threshold, PostgreSQL may count a person as above it and NumPy as below it.
    wanted = [similarities[similarities >= threshold + _TOLERANCE] for similarities in exact_people]
    state = read_search_state(connection)
    return SearchCheck(
        state.method,
        None if labels else state.first_effort,  # with labels, no index proposes people
        _rank_1(one, wanted),
        _recall(several, wanted),
        Latency.of(took),
        Latency.of(scans),
    )


def _timed(
    search: Search, probes: NDArray[np.float32], max_seconds: float, min_searches: int
) -> tuple[list[list[float]], list[float]]:
    """Time the search for each probe. Stop early if that takes too long."""
    for probe in probes[:_WARM_UP_PROBES]:
        search(probe)
    found, took = [], []
    start = time.perf_counter()
    for number, probe in enumerate(probes):
        before = time.perf_counter()
        if number >= min_searches and before - start > max_seconds:
            break
        found.append(search(probe))
        took.append(time.perf_counter() - before)
    return found, took


def _rank_1(found: list[list[float]], wanted: list[NDArray[np.float32]]) -> Share | None:
    """Return the share of probes whose first result is as similar as the exact one, or that have no exact result."""
    return Share.of(
        [
            float(not len(right) or (len(given) > 0 and given[0] >= float(right[0]) - _TOLERANCE))
            for given, right in zip(found, wanted, strict=False)
        ]
    )


def _recall(found: list[list[float]], wanted: list[NDArray[np.float32]]) -> Share | None:
    """Return the mean share of exact results that were found, over the probes that have exact results."""
    return Share.of(
        [
            min(sum(similarity >= float(right[-1]) - _TOLERANCE for similarity in given) / len(right), 1.0)
            for given, right in zip(found, wanted, strict=False)
            if len(right)
        ]
    )


def _similarities(connection: psycopg.Connection, query: str, values: dict[str, Any], *, prepare: bool) -> list[float]:
    return [float(row[0]) for row in connection.execute(queries()[query], values, prepare=prepare)]


def _method(connection: psycopg.Connection, index: str) -> str:
    with connection.cursor(row_factory=dict_row) as cursor:
        found = {row["name"]: row["method"] for row in cursor.execute(queries()["vector_indexes"])}
    return str(found[index])


def _effort(connection: psycopg.Connection, method: str, wanted: int | None) -> int:
    """Set the effort for this transaction, if it is given. Return the effort in use."""
    if wanted is not None:
        set_effort(connection, method, wanted)
    row = connection.execute(queries()["search_efforts"]).fetchone()
    ef_search, probes = row or (0, 0)
    return int(probes if method == "ivfflat" else ef_search)
