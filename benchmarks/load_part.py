"""Measure loading a file of embeddings until they are indexed, beside binary COPY and one index build."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from bare_copy import copy_rows
from pgface import Settings
from pgface.database.pool import Database
from pgface.errors import DatabaseError
from pgface.operations.bench.loading import add_users, empty_gallery
from pgface.operations.bench.measure import OnStep
from pgface.operations.bench.synthetic import PHOTOS_PER_PERSON, Kind, SyntheticPeople
from pgface.operations.bench.timing import Row
from pgface.search.state import SearchState

_TARGET = 1.3
_TARGET_MIN_FACES = 1_000_000
_SAMPLE_SECONDS = 0.05
"""Seconds between two samples of the server's work."""

_COPYING, _TEMPLATES, _TEMPLATE_INDEX, _EMBEDDING_INDEX, _REST = (
    "COPY",
    "templates",
    "their index",
    "index on the embeddings",
    "choosing and measuring",
)
# The current work of pgface's client. The statements themselves stay on the server.
_BUSY_WITH = rf"""
SELECT CASE
    WHEN query ~ 'COPY face_embeddings.*FROM STDIN' THEN '{_COPYING}'
    WHEN query ~ 'CREATE INDEX.* ON (\S+\.)?face_embeddings' THEN '{_EMBEDDING_INDEX}'
    WHEN query ~ 'CREATE INDEX' THEN '{_TEMPLATE_INDEX}'
    WHEN query ~ 'refresh_templates|INTO (user_templates|template_bits)|COPY (user_templates|template_bits).*FROM STDIN'
        THEN '{_TEMPLATES}'
    ELSE '{_REST}'
END
FROM pg_stat_activity
WHERE datname = current_database()
    AND application_name = 'pgface'
    AND backend_type = 'client backend'
    AND state <> 'idle'
"""
_TEMPLATE_INDEXES = """
SELECT relation.relname, pg_get_indexdef(relation.oid)
FROM pg_index
JOIN pg_class relation ON relation.oid = indexrelid
JOIN pg_am method ON method.oid = relation.relam
WHERE relation.relnamespace = current_schema()::regnamespace
    AND method.amname IN ('hnsw', 'ivfflat')
    AND indrelid <> 'face_embeddings'::regclass
ORDER BY relation.relname
"""


def loading(
    settings: Settings, people: int, scratch: Path, seed: int, on_step: OnStep, *, embedding_index: bool
) -> Iterator[Row]:
    """Measure `Gallery.load_embeddings` of a memory-mapped file, until identification uses the index.

    It is compared with binary COPY of the same rows into a table without keys, triggers or checks, and then either
    one more build of pgface's index, or the build of an HNSW index on all embeddings.

    Args:
        settings: the server.
        people: the number of people, with five faces each.
        scratch: a folder for the file.
        seed: the seed of the synthetic people.
        on_step: called with the name of each step that starts.
        embedding_index: whether to build the index on all embeddings, which takes several minutes for a million.

    """
    faces = people * PHOTOS_PER_PERSON
    name = f"loading {faces:,} faces"
    on_step(f"{name}: writing the file")
    file = scratch / f"embeddings-{people}.npy"
    np.save(file, SyntheticPeople(Kind.CLUSTERED, seed).embeddings(people))
    embeddings = np.load(file, mmap_mode="r")
    with empty_gallery(settings) as (_, gallery, database):
        user_ids = add_users(database, people).repeat(PHOTOS_PER_PERSON)
        on_step(f"{name}: pgface")
        with _checkpointed(database), _watched(gallery.url) as busy_with:
            ours = _seconds(lambda: gallery.load_embeddings(user_ids, embeddings))
        state = gallery.search_state()
        (last,) = gallery.identify_embedding(embeddings[-1])
        assert last.user_id == user_ids[-1], "the last loaded row is not found"
        on_step(f"{name}: binary COPY")
        copy = _bare_copy(database, user_ids, embeddings)
        on_step(f"{name}: pgface's index once more")
        index = _build_again(database)
        if embedding_index:
            on_step(f"{name}: an HNSW index on all embeddings")
            hnsw = _build_on_embeddings(database)
    file.unlink()

    loaded = f"{ours:.1f} s: {_parts(ours, busy_with)}"
    strict = f"binary COPY {copy:.1f} s + pgface's own index on the templates {index:.1f} s"
    yield _row(f"{name}, until indexed ({state.method})", loaded, strict, ours / (copy + index), faces)
    if embedding_index:
        usual = f"binary COPY {copy:.1f} s + HNSW on all embeddings (m 16, ef_construction 64) {hnsw:.1f} s"
        yield _row("", f"{ours:.1f} s", usual, ours / (copy + hnsw), faces)
    yield _agreement(state)


def _row(what: str, ours: str, other: str, ratio: float, faces: int) -> Row:
    """Make a row from one run of each side. Both take minutes, so that a warm-up would change little."""
    counts = faces >= _TARGET_MIN_FACES and what != ""
    target, met = (f"≤ {_TARGET:g} ×", ratio <= _TARGET) if counts else ("", None)
    return Row(what, ours, other, ratio, target=target, met=met)


def _agreement(state: SearchState) -> Row:
    what = "agreement that pgface measured while loading"
    if state.agreement is None:
        return Row(what, "exact: nothing to measure")
    interval = f"({state.agreement_low:.4f} to {state.agreement_high:.4f})"
    return Row(what, f"{state.agreement:.4f} {interval}", rounds=state.probes or 0)


def _bare_copy(database: Database, user_ids: NDArray[Any], embeddings: Any) -> float:
    with _checkpointed(database), database.autocommit() as connection:
        connection.execute("CREATE TABLE bare_embeddings (user_id INTEGER NOT NULL, embedding vector(512) NOT NULL)")
        connection.execute("ALTER TABLE bare_embeddings ALTER COLUMN embedding SET STORAGE PLAIN")
        return _seconds(lambda: copy_rows(connection, "bare_embeddings", user_ids, embeddings))


def _build_again(database: Database) -> float:
    """Time the builds of all indexes of the first search. It is 0 for an exact search."""
    took = 0.0
    with _checkpointed(database), database.autocommit() as connection:
        for name, definition in connection.execute(_TEMPLATE_INDEXES).fetchall():
            connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
            took += _seconds(partial(connection.execute, definition.encode()))
    return took


def _build_on_embeddings(database: Database) -> float:
    statement = "CREATE INDEX ON bare_embeddings USING hnsw (embedding vector_cosine_ops)"
    with _checkpointed(database), database.autocommit() as connection:
        return _seconds(lambda: connection.execute(statement))


@contextmanager
def _checkpointed(database: Database) -> Iterator[None]:
    """Write the changes of the previous side to disk, if the server permits it, so that they do not slow this one."""
    with suppress(DatabaseError), database.autocommit() as connection:
        connection.execute("CHECKPOINT")
    yield


@contextmanager
def _watched(url: str) -> Iterator[Counter[str]]:
    """Count samples of pgface's work on the server."""
    seen: Counter[str] = Counter()
    over = Event()

    def watch() -> None:
        with psycopg.connect(url, autocommit=True, application_name="pgface benchmark") as connection:
            while not over.wait(_SAMPLE_SECONDS):
                busy = [what for (what,) in connection.execute(_BUSY_WITH)]
                seen[busy[0] if busy else _REST] += 1

    watcher = Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def _parts(total: float, busy_with: Counter[str]) -> str:
    """Estimate the seconds of each part from its samples."""
    order = _COPYING, _EMBEDDING_INDEX, _TEMPLATES, _TEMPLATE_INDEX, _REST
    samples = max(busy_with.total(), 1)
    return ", ".join(f"{part} {total * busy_with[part] / samples:.1f}" for part in order if busy_with[part])


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
