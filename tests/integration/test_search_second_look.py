"""The second look of the search: all templates by their signs, in a large gallery with parallel workers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from psycopg import Connection

from pgface.database.pool import Database
from pgface.search.fit import fit_search, suspend_index_search
from support.galleries import axis, rows
from support.searched_gallery import PEOPLE, SCAN, found, photos_of, text

pytestmark = pytest.mark.slow

_TEMPLATES = 40_000


@pytest.fixture
def without_index(database: Database, random_people: NDArray[np.float32]) -> NDArray[np.float32]:
    """Let all searches use the second look. Return photos of the people."""
    fit_search(database, "hnsw", SCAN)
    with database.autocommit() as other:
        suspend_index_search(other)
    return photos_of(random_people, 99)


def launched_workers(connection: Connection) -> int:
    connection.execute("SELECT pg_stat_force_next_flush()")
    ((workers,),) = rows(
        connection, "SELECT parallel_workers_launched FROM pg_stat_database WHERE datname = current_database()"
    )
    return int(workers)


@pytest.mark.parametrize(
    "call",
    [
        "SELECT user_id FROM find_similar_faces(%s, 0.3, 1)",
        "SELECT user_id FROM find_similar_faces_among(%s, ARRAY[]::TEXT[], 0.3, 1, true)",
    ],
    ids=["all", "among"],
)
def test_several_cores_share_the_work(
    connection: Connection, without_index: NDArray[np.float32], call: str, request: pytest.FixtureRequest
) -> None:
    if connection.info.server_version < 180_000:
        pytest.skip("PostgreSQL counts parallel workers from version 18 on")
    if "among" in request.node.callspec.id:
        # More people than are compared one by one.
        connection.execute(
            "INSERT INTO users (name, email, password) "
            "SELECT g, g || '@example.com', 'x' FROM generate_series(1, 1000) g"
        )
    for function in ("templates_by_signs", "templates_by_signs_among"):
        connection.execute(f"ALTER FUNCTION {function} SET min_parallel_table_scan_size = 0")
    for name in ("parallel_setup_cost", "parallel_tuple_cost"):
        connection.execute(f"SET {name} = 0")
    before = launched_workers(connection)
    with_workers = [rows(connection, call, text(probe)) for probe in without_index[:5]]
    assert launched_workers(connection) >= before + 5
    connection.execute("SET max_parallel_workers_per_gather = 0")
    between = launched_workers(connection)
    assert [rows(connection, call, text(probe)) for probe in without_index[:5]] == with_workers
    assert with_workers == [[(number,)] for number in range(1, 6)]
    assert launched_workers(connection) == between


@pytest.mark.parametrize("estimate", ["NULL", "0", "100", "240", "513"])
def test_a_wrong_estimate_changes_no_answer(
    connection: Connection, without_index: NDArray[np.float32], estimate: str
) -> None:
    connection.execute(
        "CREATE OR REPLACE FUNCTION near_by_signs(probe_bits bit(512), wanted integer) RETURNS integer "
        f"LANGUAGE sql AS 'SELECT {estimate}::integer'"
    )
    for number, probe in enumerate(without_index[:10], start=1):
        nearest = found(connection, text(probe), 3)
        assert nearest == found(connection, text(probe), 3, "find_similar_faces_exactly")
        assert nearest[0][0] == number
    ((users,),) = rows(connection, "SELECT cardinality(users_by_signs(%s, 100, 50))", axis(0))
    assert users == 50
    ((users,),) = rows(connection, "SELECT cardinality(users_by_signs_among(%s, '{}', true, 100, 50))", axis(0))
    assert users == 50


def test_a_sample_estimates_how_near_the_nearest_are(connection: Connection) -> None:
    random = np.random.default_rng(3)
    signs = np.packbits(random.random((_TEMPLATES, 512)) < random.uniform(0.3, 0.7, (_TEMPLATES, 1)), axis=1)
    connection.execute("SET session_replication_role = replica")  # without the templates themselves
    with connection.cursor().copy("COPY template_bits (template_id, user_id, bits) FROM STDIN") as copy:
        for number, row in enumerate(signs, start=1):
            copy.write_row((number, number, "".join(map("{:08b}".format, row.tobytes()))))
    probe = "1" * 512
    for wanted in (400, 2_000, 8_000):
        ((found_near,),) = rows(
            connection,
            "SELECT count(*) FROM template_bits "
            "WHERE hamming_distance(bits, %s::bit(512)) < (SELECT near_by_signs(%s::bit(512), %s))",
            probe,
            probe,
            wanted,
        )
        assert wanted / 5 < found_near < wanted * 5


def test_a_small_gallery_has_no_sample(connection: Connection, without_index: NDArray[np.float32]) -> None:
    assert len(without_index) == PEOPLE
    assert rows(connection, "SELECT near_by_signs(repeat('1', 512)::bit(512), 1000)") == [(None,)]
