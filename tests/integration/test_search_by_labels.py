"""Identification among the people with some labels: as exact as a scan of these people."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from psycopg import Connection

from pgface.database.pool import Database
from pgface.gallery.bulk import copy_embeddings
from pgface.search.fit import fit_search
from pgface.search.state import SearchMethod
from pgface.search.vector_index.check import check_index
from support.galleries import axis, enroll_synthetic, rows
from support.searched_gallery import SCAN, text

pytestmark = pytest.mark.slow

PEOPLE = 1_300
MANY = 1_100
"""People with the label "many", more than are compared one by one."""
THRESHOLD = 0.3


@pytest.fixture
def labelled_people(connection: Connection) -> NDArray[np.float32]:
    """Enroll people with the ids 1, 2 and so on, some with labels. Return an embedding of each."""
    connection.execute("UPDATE gallery SET verify_threshold = 0.3, identify_threshold = 0.4")
    connection.execute("DROP INDEX idx_embeddings_vector")
    embeddings = enroll_synthetic(connection, PEOPLE, photos=1)
    connection.execute("UPDATE users SET labels = '{all}'")
    connection.execute("UPDATE users SET labels = labels || '{many}' WHERE id <= %s", (MANY,))
    connection.execute("UPDATE users SET labels = labels || '{few}' WHERE id % 100 = 0")
    # Each of these looks more like the first person than the first person's other photos do.
    twins = 40
    connection.execute(
        "INSERT INTO users (name, email, password, labels) "
        "SELECT 'twin', 'twin' || g || '@example.org', 'x', '{all,twin}' FROM generate_series(1, %s) g",
        (twins,),
    )
    noise = np.random.default_rng(5).standard_normal((twins, 512)).astype(np.float32)
    copies = embeddings[0] + 0.3 * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    copy_embeddings(connection, np.arange(PEOPLE + 1, PEOPLE + twins + 1), copies.astype(np.float32))
    return embeddings


def among(
    connection: Connection, probe: str, labels: list[str], count: int = 1, people_only: bool = False
) -> list[Any]:
    query = "SELECT user_id, round(similarity::numeric, 5) FROM find_similar_faces_among(%s, %s, %s, %s, %s)"
    return rows(connection, query, probe, labels, THRESHOLD, count, people_only)


def exactly(connection: Connection, probe: str, labels: list[str], count: int = 1) -> list[Any]:
    return rows(
        connection,
        "SELECT f.user_id, round(f.similarity::numeric, 5) FROM find_similar_faces_exactly(%s, %s, NULL) f "
        "JOIN users u ON u.id = f.user_id WHERE u.labels @> %s ORDER BY f.similarity DESC LIMIT %s",
        probe,
        THRESHOLD,
        labels,
        count,
    )


@pytest.mark.parametrize("method", ["exact", "hnsw"])
def test_the_answer_is_that_of_an_exact_scan(
    database: Database, connection: Connection, labelled_people: NDArray[np.float32], method: SearchMethod
) -> None:
    fit_search(database, method, SCAN)
    noise = np.random.default_rng(6).standard_normal((PEOPLE, 512)).astype(np.float32)
    photos = labelled_people + 0.8 * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    if method == "hnsw":
        checked = check_index(database, probes=40, labels=["many"]).identification
        assert checked.rank_1 is not None
        assert checked.recall is not None
        assert (checked.effort, checked.rank_1.share, checked.recall.share) == (None, 1, 1)
    # The first person, whom 40 twins without the label resemble, and people with and without the labels.
    probes = [text(photos[number]) for number in (0, 99, 1_250)]
    for labels in (["all"], ["many"], ["many", "few"], ["few"], ["twin"], ["no one"], []):
        for probe in probes:
            for count in (1, 60):
                found = among(connection, probe, labels, count)
                assert found == exactly(connection, probe, labels, count), (labels, count)
    assert among(connection, probes[0], ["many"])[0][0] == 1
    assert among(connection, probes[0], ["no one"]) == []
    # A face enrolled just now, whose template is not made yet.
    copy_embeddings(connection, np.array([7]), np.eye(1, 512, dtype=np.float32))
    assert among(connection, axis(0), ["many"]) == [(7, 1)]
    assert among(connection, axis(0), ["twin"]) == []
    # A label given just now.
    connection.execute("UPDATE users SET labels = labels || '{twin}' WHERE id = 7")
    assert among(connection, axis(0), ["twin"]) == [(7, 1)]
    # Few people remain among many faces without a person.
    connection.execute("UPDATE users SET is_person = id IN (1, 7)")
    assert [user_id for user_id, _ in among(connection, axis(0), [], people_only=True)] == [7]
    assert among(connection, probes[2], [], people_only=True) == []
    with pytest.raises(Exception, match="zero vector"):
        among(connection, axis(0, scale=0), ["all"])
    assert rows(connection, "SELECT * FROM find_similar_faces_among(NULL, '{all}')") == []
