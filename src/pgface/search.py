"""How identification searches a gallery of this size: chosen by timing, and checked against the exact answer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from psycopg.rows import class_row, dict_row, tuple_row

from pgface.bulk import ROW
from pgface.enrollment import unit_embedding
from pgface.errors import DatabaseError, GalleryError
from pgface.postgres.database import Database
from pgface.postgres.index import vector_index_to_oneself
from pgface.schema import queries

SearchMethod = Literal["auto", "exact", "hnsw", "hnsw_binary", "ivfflat"]
METHODS: tuple[SearchMethod, ...] = ("auto", "exact", "hnsw", "hnsw_binary", "ivfflat")

_PROBES = 1_000
_SHARE_OF_PROBES = 0.1
"""Of the embeddings at most: the measurement of a small gallery need not take longer than filling it."""
_FIRST_EFFORTS = (10, 16, 24, 40, 64)
_SECOND_EFFORTS = (50, 100, 200, 400, 1000)
_TIMED_PROBES = 100
_SCANS = 5
_DUE = 0.3
"""Share of the gallery that has changed, from which on the choice is made again."""
_WORTH_CHOOSING = 1_000
"""Changed rows; smaller galleries are scanned in well under a millisecond or two."""
_BATCH = 5_000
"""Users whose templates are made in one transaction when all of them are."""
_HNSW = "WITH (m = 16, ef_construction = 128)"
_INDEXES = {
    "hnsw": ("idx_user_templates_hnsw", f"user_templates USING hnsw (template halfvec_cosine_ops) {_HNSW}"),
    "hnsw_binary": ("idx_template_bits_hnsw", f"template_bits USING hnsw (bits bit_hamming_ops) {_HNSW}"),
    "ivfflat": (
        "idx_user_templates_ivfflat",
        "user_templates USING ivfflat (template halfvec_cosine_ops) WITH (lists = {lists})",
    ),
}


@dataclass(frozen=True, slots=True)
class SearchState:
    """How identification searches, and how that was chosen."""

    choice: SearchMethod
    """What was asked for; "auto" lets the size decide."""
    method: str
    """What is used."""
    first_effort: int | None
    """Of the look through the index: `hnsw.ef_search`, or `ivfflat.probes`."""
    second_effort: int | None
    """How many users of the nearest templates are compared exactly where the first look was not enough."""
    certain_similarity: float | None
    """Similarity that one stranger of a thousand reaches; beyond it the first look is enough."""
    agreement: float | None
    """Share of probes for which search and an exact scan name the same person, when it was last measured."""
    agreement_low: float | None
    """Lower end of the agreement's 95 % interval (Wilson)."""
    agreement_high: float | None
    """Upper end of it."""
    probes: int | None
    """How many probes that was measured with."""
    scan_ms: float | None
    """What an exact scan took when the method was last chosen, in milliseconds."""
    embeddings: int
    """The gallery's size then."""
    changes: int
    """How many rows had been changed then, as the server counts them."""
    chosen_at: datetime | None
    stale_users: int
    """Users who are compared exactly in every search until their templates are made."""
    changes_now: int

    @property
    def due(self) -> bool:
        """Whether so much of the gallery has changed that the choice should be made again."""
        changed = self.changes_now - self.changes
        # A server that was restored or killed counts from the beginning.
        return changed < 0 or changed >= max(_WORTH_CHOOSING, _DUE * self.embeddings)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        chosen_at = None if self.chosen_at is None else self.chosen_at.isoformat()
        return asdict(self) | {"chosen_at": chosen_at, "due": self.due}


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """Probes made from the gallery itself, and the exact answers."""

    probes: NDArray[np.float32]
    """Shape (n, 512), unit vectors."""
    users: NDArray[np.int64]
    """Shape (n,): whom an exact scan names first."""
    similarities: NDArray[np.float32]
    """Shape (n,): how similar that one is."""
    strangers: NDArray[np.float32]
    """Shape (n,): similarity of the nearest person who is not the one that the probe was made of."""


@dataclass(frozen=True, slots=True)
class _Fit:
    first_effort: int
    second_effort: int
    certain_similarity: float
    agreement: float
    agreement_low: float
    agreement_high: float
    probes: int


def read_search_state(database: Database) -> SearchState:
    """Read how the gallery is searched now."""
    (state,) = database.read("search_state", row_factory=class_row(SearchState))
    return state


def fit_search(database: Database, choice: SearchMethod, latency_target: float) -> SearchState:
    """Choose the method for the gallery as it is now, build what it needs, measure its agreement, and switch to it.

    Search goes on as it was until the last step, which is one UPDATE.

    Args:
        database: the gallery's.
        choice: "auto" scans exactly while a scan takes no longer than the target, and uses HNSW beyond.
        latency_target: seconds.

    Raises:
        GalleryError: there is no such method, or the index needs a gallery with people in it.
        DatabaseError: PostgreSQL could not do it; search goes on as before.

    """
    if choice not in METHODS:
        raise GalleryError(f"There is no search method {choice}; choose one of {', '.join(METHODS)}.")
    changes = read_search_state(database).changes_now
    with database.autocommit() as connection, vector_index_to_oneself(connection):
        embeddings = _count(connection, "count_embeddings")
        scan = _scan_seconds(connection, embeddings)
        method = ("exact" if scan <= latency_target else "hnsw") if choice == "auto" else choice
        chosen: dict[str, Any] = {
            "choice": choice,
            "method": method,
            "scan_ms": scan * 1e3,
            "embeddings": embeddings,
            "changes": changes,
        }
        if method == "exact":
            connection.execute(queries()["choose_exact_search"], chosen)
        else:
            if not embeddings:
                raise GalleryError(f"There is nobody in the gallery to fit {method} to; enroll people first.")
            _refresh_all(connection)
            _build_index(connection, method)
            fit = _measure(connection, method)
            connection.execute(queries()["choose_index_search"], chosen | asdict(fit))
        _drop_other_indexes(connection, method)
    return read_search_state(database)


def refresh_templates(database: Database, max_users: int = 50) -> None:
    """Make templates that wait, where they are searched; whoever is busy with the same users now will do it."""
    if database.read("search_method", row_factory=tuple_row) == [("exact",)]:
        return
    with suppress(DatabaseError), database.autocommit() as connection:
        connection.execute(queries()["refresh_templates"], {"max_users": max_users})


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    z = 1.959964
    share = successes / trials
    centre = share + z * z / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def _count(connection: psycopg.Connection, query: str) -> int:
    row = connection.execute(queries()[query]).fetchone()
    return 0 if row is None else int(row[0])


def _sample(connection: psycopg.Connection, wanted: int, embeddings: int) -> list[tuple[int, NDArray[np.float32], Any]]:
    """About so many embeddings as unit vectors, with their users and the similarity of the user's nearest other one."""
    if not embeddings:
        return []
    values = {"wanted": wanted, "embeddings": embeddings}
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(queries()["sample_embeddings"], values).fetchall()
    return [(user_id, unit_embedding(embedding.to_numpy()), nearest) for user_id, embedding, nearest in rows]


def _scan_seconds(connection: psycopg.Connection, embeddings: int) -> float:
    """Median time of an exact scan."""
    took = []
    for _, embedding, _ in _sample(connection, 2 * _SCANS, embeddings)[:_SCANS]:
        started = time.perf_counter()
        connection.execute(queries()["find_similar_faces_exactly"], {"embedding": embedding})
        took.append(time.perf_counter() - started)
    return float(np.median(took)) if took else 0.0


def _refresh_all(connection: psycopg.Connection) -> None:
    # Whoever enrolls all the time must not keep this from ending: a few who wait are searched exactly.
    while connection.execute(queries()["refresh_templates"], {"max_users": _BATCH}).fetchone() == (_BATCH,):
        pass
    connection.execute(queries()["analyze_templates"])


def _build_index(connection: psycopg.Connection, method: str) -> None:
    name, definition = _INDEXES[method]
    with connection.cursor(row_factory=dict_row) as cursor:
        found = {row["name"]: row["valid"] for row in cursor.execute(queries()["template_indexes"])}
    if found.get(name):
        return
    connection.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier(name)))
    # The specification's rule: as many lists as the square root of the rows.
    lists = max(1, math.isqrt(_count(connection, "count_templates")))
    create = f"CREATE INDEX CONCURRENTLY {name} ON {definition.format(lists=lists)}"
    connection.execute(create.encode())


def _drop_other_indexes(connection: psycopg.Connection, method: str) -> None:
    for other, (name, _) in _INDEXES.items():
        if other != method:
            connection.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier(name)))


def _measure(connection: psycopg.Connection, method: str) -> _Fit:
    sample = _draw_sample(connection)
    certain = float(np.quantile(sample.strangers, 0.999))

    def look(query: str, number: int, effort: int) -> tuple[float, bool, float]:
        """The best similarity, whether it is the exact answer, and the seconds that it took."""
        values = {"embedding": sample.probes[number], "method": method, "effort": effort}
        started = time.perf_counter()
        row = connection.execute(queries()[query], values).fetchone()
        took = time.perf_counter() - started
        similarity = -1.0 if row is None else float(row[1])
        # Of two people who are equally similar, either is right.
        return similarity, similarity >= sample.similarities[number] - 1e-5, took

    second_effort = _second_effort(look, len(sample.probes))
    timed = range(min(_TIMED_PROBES, len(sample.probes)))
    second = float(np.median([look("find_similar_faces_by_templates", n, second_effort)[2] for n in timed]))

    def expected_seconds(effort: int) -> float:
        looks = [look("find_similar_faces_by_index", number, effort) for number in timed]
        doubtful = np.mean([similarity < certain for similarity, _, _ in looks])
        return float(np.median([took for _, _, took in looks]) + doubtful * second)

    efforts: tuple[int, ...] = _FIRST_EFFORTS
    if method == "ivfflat":
        lists = math.isqrt(_count(connection, "count_templates"))
        efforts = (max(1, math.isqrt(lists)),)
    first_effort = min(efforts, key=expected_seconds)

    agreed = 0
    for number in range(len(sample.probes)):
        similarity, agrees, _ = look("find_similar_faces_by_index", number, first_effort)
        if similarity < certain:
            _, agrees, _ = look("find_similar_faces_by_templates", number, second_effort)
        agreed += agrees
    low, high = wilson_interval(agreed, len(sample.probes))
    return _Fit(first_effort, second_effort, certain, agreed / len(sample.probes), low, high, len(sample.probes))


def _second_effort(look: Callable[[str, int, int], tuple[float, bool, float]], probes: int) -> int:
    """The smallest effort that misses nobody of the sample, or the largest that there is."""
    missed = list(range(probes))
    for effort in _SECOND_EFFORTS:
        missed = [n for n in missed if not look("find_similar_faces_by_templates", n, effort)[1]]
        if not missed:
            return effort
    return _SECOND_EFFORTS[-1]


def _draw_sample(connection: psycopg.Connection) -> _Sample:
    """Probes as similar to people of the gallery as these people's own photos are to one another.

    A stored embedding is moved until its cosine with where it was is one that was found between two embeddings of
    one user. The direction is a random mixture of the whole sample, so it varies as the gallery does and is nobody's.
    """
    embeddings = _count(connection, "count_embeddings")
    wanted = min(_PROBES, math.ceil(_SHARE_OF_PROBES * embeddings))
    drawn = _sample(connection, wanted, embeddings) or _sample(connection, embeddings, embeddings)
    owners = np.array([user_id for user_id, _, _ in drawn])
    stored = np.stack([embedding for _, embedding, _ in drawn])
    random = np.random.default_rng()
    own = np.array([nearest for _, _, nearest in drawn if nearest is not None and nearest > 0])
    cosines = random.choice(own, len(drawn)) if own.size else random.uniform(0.3, 0.9, len(drawn))
    cosines = np.clip(cosines, 0.1, 1.0).astype(np.float32)[:, np.newaxis]

    away = random.standard_normal((len(drawn), len(drawn)), dtype=np.float32) @ stored
    away += random.standard_normal(away.shape, dtype=np.float32)  # also where there are fewer people than dimensions
    away -= np.sum(away * stored, axis=1, keepdims=True) * stored
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    probes = cosines * stored + np.sqrt(1 - cosines**2) * away
    return _answered(connection, probes, owners)


def _answered(connection: psycopg.Connection, probes: NDArray[np.float32], owners: NDArray[Any]) -> _Sample:
    """The exact answers, from one pass over all embeddings."""
    users = np.zeros(len(probes), dtype=np.int64)
    best = np.full(len(probes), -2, dtype=np.float32)
    strangers = np.full(len(probes), -1, dtype=np.float32)
    everyone = np.arange(len(probes))
    for user_ids, embeddings in _stored_blocks(connection):
        similarities = probes @ embeddings.T
        nearest = similarities.argmax(axis=1)
        found = similarities[everyone, nearest]
        better = found > best
        best[better], users[better] = found[better], user_ids[nearest[better]]
        similarities[owners[:, np.newaxis] == user_ids] = -1
        np.maximum(strangers, similarities.max(axis=1), out=strangers)
    return _Sample(probes, users, best, strangers)


def _stored_blocks(connection: psycopg.Connection) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """All embeddings as unit vectors with their users, some thousands at a time."""
    block: list[bytes] = []
    with connection.cursor() as cursor, cursor.copy(queries()["copy_out_embeddings"]) as copy:
        for data in copy:
            # The first row comes with the format's header before it, and the end is a mark of its own.
            if len(data) >= ROW.itemsize:
                block.append(bytes(data[-ROW.itemsize :]))
            if len(block) == 4_096:
                yield _unpacked(block)
                block = []
    if block:
        yield _unpacked(block)


def _unpacked(rows: list[bytes]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    table = np.frombuffer(b"".join(rows), dtype=ROW)
    embeddings = table["embedding"].astype(np.float32)
    return table["user_id"].astype(np.int64), embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
