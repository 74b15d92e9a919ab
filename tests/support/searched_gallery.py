"""Galleries of random people, and searches in them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from psycopg import Connection

from pgface.gallery.bulk import copy_embeddings
from pgface.search.state import SearchMethod
from support.galleries import rows

PEOPLE = 400
PHOTOS = 3
INDEXED: tuple[SearchMethod, ...] = ("hnsw", "hnsw_binary", "ivfflat")
SCAN = 10.0
"""Seconds, more than a scan of these galleries takes."""


@pytest.fixture
def random_people(connection: Connection) -> NDArray[np.float32]:
    """Enroll `PHOTOS` photos of `PEOPLE` users with the ids 1, 2 and so on. Return a unit vector for each user.

    The vector is what the photos of the user have in common.
    """
    people = np.random.default_rng(1_000).standard_normal((PEOPLE, 512)).astype(np.float32)
    people /= np.linalg.norm(people, axis=1, keepdims=True)
    connection.execute("UPDATE gallery SET verify_threshold = 0.3, identify_threshold = 0.4")
    connection.execute(
        "INSERT INTO users (name, email, password) SELECT g, g || '@example.org', 'x' FROM generate_series(1, %s) g",
        (PEOPLE,),
    )
    # The index is built afterwards, which takes a quarter of the time.
    ((index,),) = rows(connection, "SELECT pg_get_indexdef('idx_embeddings_vector'::regclass)")
    connection.execute("DROP INDEX idx_embeddings_vector")
    for seed in range(PHOTOS):
        copy_embeddings(connection, np.arange(1, PEOPLE + 1), photos_of(people, seed))
    connection.execute(index.encode())
    return people


def photos_of(people: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Return a photo of each person. Its cosine with the person is about 0.77, and with another photo 0.6."""
    noise = np.random.default_rng(seed).standard_normal(people.shape).astype(np.float32)
    photos = people + 0.82 * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return np.asarray(photos / np.linalg.norm(photos, axis=1, keepdims=True), dtype=np.float32)


def text(embedding: NDArray[np.float32]) -> str:
    """Return an embedding as SQL text."""
    return str(embedding.tolist())


def found(connection: Connection, probe: str, count: int = 1, function: str = "find_similar_faces") -> list[Any]:
    """Return the user ids and rounded similarities that a search function finds."""
    query = f"SELECT user_id, round(similarity::numeric, 5) FROM {function}(%s, 0.4, %s)"
    return rows(connection, query, probe, count)


def enroll_users(connection: Connection, count: int) -> NDArray[np.int64]:
    """Add users without photos, and return their ids."""
    statement = (
        "INSERT INTO users (name, email, password) "
        "SELECT 'n', gen_random_uuid() || '@example.org', 'x' FROM generate_series(1, %s) RETURNING id"
    )
    return np.array([user_id for (user_id,) in connection.execute(statement, (count,)).fetchall()])


def wait_until(done: Callable[[], bool]) -> None:
    """Wait up to a minute until the function returns true."""
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)
