"""Compare pgface with the specification's script, which has an index that was built on empty tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from pgvector.psycopg import register_vector
from psycopg import sql

from bare_copy import copy_rows
from pgface import Settings
from pgface.operations.bench.loading import LoadedGallery, scratch_schema
from pgface.operations.bench.measure import OnStep, Plan, Probes, agreement, rank_1, while_there_is_time
from pgface.operations.bench.report import share_row
from pgface.operations.bench.results import Latency, Proportion
from pgface.operations.bench.synthetic import PHOTOS_PER_PERSON
from pgface.operations.bench.timing import Call, Ratio, Row, in_turn, ratio_row

_MAX_RATIO = 1.0
_TARGET_MIN_FACES = 100_000
"""The minimum number of faces for a speed target, because smaller galleries are scanned exactly."""

# The specification also builds its index on an empty table, from which IVFFlat learns its lists.
_SCRIPT = """
CREATE TABLE users (
    id SERIAL PRIMARY KEY,
    name VARCHAR(255) NOT NULL,
    email VARCHAR(255) UNIQUE NOT NULL,
    password VARCHAR(255) NOT NULL,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE face_embeddings (
    id SERIAL PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    photo_id INTEGER,
    embedding vector(512) NOT NULL,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX ON face_embeddings (user_id);
CREATE INDEX ON face_embeddings USING ivfflat (embedding vector_cosine_ops) WITH (lists = 100);
CREATE FUNCTION find_similar_face(probe vector(512), threshold float DEFAULT 0.7)
RETURNS TABLE(user_id INTEGER, user_name VARCHAR, user_email VARCHAR, similarity float, embedding_id INTEGER)
LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
    SELECT u.id, u.name, u.email, 1 - (fe.embedding <=> probe), fe.id
    FROM face_embeddings fe JOIN users u ON fe.user_id = u.id
    WHERE 1 - (fe.embedding <=> probe) >= threshold
    ORDER BY fe.embedding <=> probe
    LIMIT 1;
END;
$$;
"""
_USERS = """
INSERT INTO users (id, name, email, password)
SELECT number, 'synthetic-' || number, 'synthetic-' || number || '@example.org', '!'
FROM generate_series(1, %s) AS number
"""
_FIND = "SELECT * FROM find_similar_face(%s::vector, %s)"
_TEXT, _BINARY = "probe as text", "probe in binary, prepared"


def compare_with_specification(
    settings: Settings, loaded: LoadedGallery, probes: Probes, plan: Plan, on_step: OnStep
) -> Iterator[Row]:
    """Measure agreement and latency for mated probes.

    The script is timed twice: with the probe as text in the statement, as in the specification, and with a prepared
    statement and a binary probe, as in pgface. The faster one counts.
    """
    on_step("the specification's script: loading")
    with _script(settings, loaded) as connection:
        on_step("the specification's script: agreement")
        ours = rank_1(loaded, probes.mated, probes.mated_answers, plan)
        theirs = _rank_1(connection, loaded, probes, plan)
        yield share_row("rank-1 agreement, mated probes", ours, f"the specification's script: {theirs}")
        on_step("the specification's script: latency")
        timed = {
            _TEXT: _timed(loaded, probes, plan, _TEXT, _by_text(connection, probes)),
            _BINARY: _timed(loaded, probes, plan, _BINARY, _by_binary(connection, probes)),
        }
    faster = min(timed, key=lambda name: timed[name][1].p50)
    for name, (mine, other, ratio) in timed.items():
        counts = name == faster and loaded.faces >= _TARGET_MIN_FACES
        yield ratio_row(
            "identify_embedding, mated probes",
            f"p50 {mine.p50:.3g} ms",
            f"the specification's script, {name}: p50 {other.p50:.3g} ms",
            ratio,
            mine.calls,
            at_most=_MAX_RATIO if counts else None,
        )


@contextmanager
def _script(settings: Settings, loaded: LoadedGallery) -> Iterator[psycopg.Connection]:
    """Create the script's tables with the same faces in a temporary schema.

    The rows are copied, as the specification recommends for many rows.
    """
    with scratch_schema(settings) as (name, url), psycopg.connect(url, autocommit=True) as connection:
        schema = sql.Identifier(name)
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
        connection.execute(
            "SELECT set_config('search_path', concat_ws(', ', quote_ident(%s), extnamespace::regnamespace), false) "
            "FROM pg_extension WHERE extname = 'vector'",
            (name,),
        )
        connection.execute("SET client_min_messages = error")  # of pgvector: no rows for the lists
        connection.execute(_SCRIPT)
        connection.execute("RESET client_min_messages")
        register_vector(connection)
        connection.execute(_USERS, (loaded.people,))
        owners = np.arange(1, loaded.people + 1).repeat(PHOTOS_PER_PERSON)
        copy_rows(connection, "face_embeddings", owners, loaded.embeddings)
        connection.execute("VACUUM ANALYZE face_embeddings")  # as the specification says
        yield connection


def _rank_1(connection: psycopg.Connection, loaded: LoadedGallery, probes: Probes, plan: Plan) -> Proportion:
    persons = []
    with connection.cursor(binary=True) as cursor:
        for probe in while_there_is_time(probes.mated, plan.agreement_patience):
            row = cursor.execute(_FIND, (probe, -1.0), prepare=True).fetchone()
            persons.append(row[0] - 1 if row else -1)
    return agreement(loaded, probes.mated, probes.mated_answers, persons)


def _by_text(connection: psycopg.Connection, probes: Probes) -> Call:
    cursor = psycopg.ClientCursor(connection)

    def find(number: int) -> Any:
        probe: NDArray[np.float32] = probes.mated[number % len(probes.mated)]
        return cursor.execute(_FIND, (str(probe.tolist()), probes.threshold)).fetchall()

    return find


def _by_binary(connection: psycopg.Connection, probes: Probes) -> Call:
    cursor = connection.cursor(binary=True)

    def find(number: int) -> Any:
        probe = probes.mated[number % len(probes.mated)]
        return cursor.execute(_FIND, (probe, probes.threshold), prepare=True).fetchall()

    return find


def _timed(loaded: LoadedGallery, probes: Probes, plan: Plan, name: str, call: Call) -> tuple[Latency, Latency, Ratio]:
    def identify(number: int) -> Any:
        probe = probes.mated[number % len(probes.mated)]
        return loaded.gallery.identify_embedding(probe, threshold=probes.threshold)

    calls, rounds = in_turn({"pgface": identify, name: call}, plan.patience)
    return Latency.of(calls["pgface"]), Latency.of(calls[name]), Ratio.of(rounds["pgface"], rounds[name])
