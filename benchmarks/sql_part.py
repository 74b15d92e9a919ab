"""Measure without an engine: verification of an embedding, and bulk loading."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import psycopg
from pgvector.psycopg import register_vector
from psycopg import sql
from psycopg.rows import tuple_row

from comparisons import compare
from faces_part import GALLERY_SIZE, PEOPLE, fill, new_settings
from pgface import Gallery, Settings
from pgface.database.pool import Database, initialise
from pgface.database.sql import queries
from pgface.gallery.bulk import copy_embeddings
from pgface.operations.bench.timing import Row, interleave, seconds
from pgface.search.vector_index.lifecycle import build_vector_index, drop_vector_index, vector_index_lock

VERIFICATIONS = 3_000
LOADS = 3
ROWS = 4_000
"""The number of rows that each round loads by COPY, and by the loop without an index."""
ROWS_WITH_INDEX = 1_000
"""The number of rows that the loop inserts with the HNSW index, which is several times slower."""
_INSERT = "INSERT INTO face_embeddings (user_id, embedding) VALUES (%s, %s)"


def verification(settings: Settings) -> list[Row]:
    """Compare `Gallery.verify_embedding` with `SELECT 1`, for a user with five embeddings among a thousand."""
    settings = new_settings(settings)
    initialise(settings)
    with Gallery.open(settings) as gallery, _connect(gallery._database.url) as bare:
        bare.execute(sql.SQL("SET search_path = {}, public").format(sql.Identifier(settings.schema_name)))
        register_vector(bare)
        user = fill(gallery, GALLERY_SIZE, PEOPLE)[0]
        assert gallery.user(user).embeddings == GALLERY_SIZE // PEOPLE
        probe = np.random.default_rng(2).standard_normal(512).astype(np.float32)
        probe /= np.linalg.norm(probe)
        config = gallery.config
        values = {"embedding": probe, "user_id": user, "threshold": config.verify_threshold}
        values["model_changes"] = config.model_changes
        verify_face = queries()["verify_face"]

        def pooled_select(_: int) -> None:
            # The same pool and connection that `verify_embedding` uses.
            with gallery._database.autocommit() as connection, connection.cursor(row_factory=tuple_row) as cursor:
                cursor.execute("SELECT 1", binary=True).fetchall()

        def bare_select(_: int) -> None:
            bare.execute("SELECT 1", binary=True).fetchall()

        def bare_verify_face(_: int) -> None:
            bare.execute(verify_face, values, binary=True).fetchall()

        verify = "verify_embedding", seconds(lambda _: gallery.verify_embedding(probe, user))
        pooled = "SELECT 1 through its pool", seconds(pooled_select)
        select = "SELECT 1 on a bare connection", seconds(bare_select)
        function = "SQL verify_face on a bare connection", seconds(bare_verify_face)
        what = f"verification among {GALLERY_SIZE:,} embeddings, 5 of the user"
        # Two sides at a time: with more of them, each would find the processor's caches filled by the others.
        return [
            compare(
                what,
                interleave(dict([ours, other]), VERIFICATIONS, warm_up=200),
                ours[0],
                other[0],
                measure="time",
                target=target,
            )
            for ours, other, target in ((verify, pooled, 2), (verify, select, None), (function, select, 2))
        ]


def loading(settings: Settings) -> list[Row]:
    """Compare `Gallery.load_embeddings` with a loop of INSERTs in one transaction, into the same table."""
    settings = new_settings(settings)
    initialise(settings)
    random = np.random.default_rng(3).standard_normal((ROWS, 512)).astype(np.float32)
    with Gallery.open(settings) as gallery, Database.open(settings) as database:
        ids = np.resize([gallery.add_user(f"user{number}@example.org").id for number in range(PEOPLE)], ROWS)

        def empty(*, with_index: bool) -> None:
            with database.autocommit() as connection:
                connection.execute("TRUNCATE face_embeddings")
                if with_index:
                    build_vector_index(connection)
                else:
                    drop_vector_index(connection)

        def loop(rows: int) -> float:
            started = time.perf_counter()
            with database.transaction() as connection:
                for user_id, embedding in zip(ids[:rows].tolist(), random[:rows], strict=True):
                    connection.execute(_INSERT, (user_id, embedding.tolist()))
            return (time.perf_counter() - started) / rows

        def loop_without_index(_: int) -> float:
            empty(with_index=False)
            return loop(ROWS)

        def loop_with_index(_: int) -> float:
            empty(with_index=True)
            return loop(ROWS_WITH_INDEX)

        def copied(_: int) -> float:
            empty(with_index=True)
            started = time.perf_counter()
            # The steps of `load_embeddings` before it builds the index again.
            with database.autocommit() as connection, vector_index_lock(connection):
                drop_vector_index(connection)
                copy_embeddings(connection, ids, random)
            took = time.perf_counter() - started
            (match,) = gallery.identify_embedding(random[-1])
            assert match.user_id == ids[-1], "the last loaded row is not found"
            return took / ROWS

        def loaded(_: int) -> float:
            empty(with_index=True)
            return seconds(lambda _: gallery.load_embeddings(ids, random))(0) / ROWS

        sides = {
            "INSERT loop, vector index away": loop_without_index,
            "load_embeddings until rows are found": copied,
            "INSERT loop, HNSW index in place": loop_with_index,
            "load_embeddings with index build": loaded,
        }
        series = interleave(sides, LOADS, warm_up=1)
    versus = partial(compare, f"bulk loading, {ROWS:,} embeddings", series, measure="rate", unit="rows/s")
    found, built = "load_embeddings until rows are found", "load_embeddings with index build"
    return [
        versus(found, "INSERT loop, vector index away", target=25),
        versus(found, "INSERT loop, HNSW index in place"),
        versus(built, "INSERT loop, HNSW index in place"),
        versus(built, "INSERT loop, vector index away"),
    ]


def _connect(url: str) -> psycopg.Connection:
    return psycopg.connect(url, autocommit=True, prepare_threshold=0)
