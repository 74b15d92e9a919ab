"""Search by templates and indexes gives the same answers as an exact scan."""

from __future__ import annotations

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray
from psycopg import Connection

from pgface.database.pool import Database
from pgface.errors import EmbeddingError
from pgface.gallery import Gallery
from pgface.gallery.bulk import copy_embeddings
from pgface.search.fit import fit_search, fit_search_if_due, refresh_templates, suspend_index_search
from pgface.search.measure import wilson_interval
from pgface.search.state import SearchMethod, read_search_state
from pgface.search.vector_index.lifecycle import vector_index_lock
from pgface.settings import Settings
from support.galleries import add_embedding, add_user, axis, rows
from support.searched_gallery import INDEXED, PEOPLE, PHOTOS, SCAN, found, photos_of, text
from support.sentences import database as says_of_databases

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("method", INDEXED)
def test_every_method_gives_the_exact_answer(
    database: Database, connection: Connection, random_people: NDArray[np.float32], method: SearchMethod
) -> None:
    state = fit_search(database, method, SCAN)
    assert (state.method, state.choice, state.stale_users, state.due) == (method, method, 0, False)
    assert state.agreement is not None
    assert state.agreement >= 0.99
    assert state.agreement_low is not None
    assert state.agreement_low < state.agreement
    mated, strangers = photos_of(random_people, 99)[:60], photos_of(np.roll(random_people, 1, axis=1), 98)[:20]
    for user_id, probe in enumerate(mated, start=1):
        assert found(connection, text(probe)) == found(connection, text(probe), 1, "find_similar_faces_exactly")
        assert found(connection, text(probe), 5)[0][0] == user_id
    assert [found(connection, text(probe)) for probe in strangers] == [[]] * 20


@pytest.mark.usefixtures("random_people")
@pytest.mark.parametrize("method", INDEXED)
def test_a_face_is_found_as_soon_as_it_is_enrolled(
    database: Database, connection: Connection, method: SearchMethod
) -> None:
    fit_search(database, method, SCAN)
    new = add_user(connection, "new@example.org")
    add_embedding(connection, new, axis(7))
    assert found(connection, axis(7)) == [(new, 1)]
    assert read_search_state(database).stale_users == 1
    refresh_templates(database)
    assert read_search_state(database).stale_users == 0
    assert found(connection, axis(7)) == [(new, 1)]


def test_deleted_embeddings_are_no_longer_found(
    database: Database, connection: Connection, random_people: NDArray[np.float32]
) -> None:
    fit_search(database, "hnsw", SCAN)
    probe = text(photos_of(random_people, 99)[4])
    connection.execute("DELETE FROM face_embeddings WHERE id = (SELECT min(id) FROM face_embeddings WHERE user_id = 5)")
    # The old mean contains the deleted embedding.
    assert rows(connection, "SELECT count(*) FROM user_templates WHERE user_id = 5") == [(0,)]
    assert found(connection, probe)[0][0] == 5
    connection.execute("DELETE FROM users WHERE id = 5")
    for table in ("user_templates", "template_bits"):
        assert rows(connection, f"SELECT count(*) FROM {table} WHERE user_id = 5") == [(0,)]
    assert found(connection, probe) == []
    refresh_templates(database)
    assert rows(connection, "SELECT count(*) FROM stale_templates") == [(0,)]


def test_changed_moved_and_truncated_embeddings(
    database: Database, connection: Connection, random_people: NDArray[np.float32]
) -> None:
    fit_search(database, "hnsw", SCAN)
    probe = text(photos_of(random_people, 99)[4])
    connection.execute("UPDATE face_embeddings SET user_id = 6 WHERE user_id = 5")
    assert found(connection, probe)[0][0] == 6
    connection.execute("UPDATE face_embeddings SET embedding = %s WHERE user_id = 7", (axis(3),))
    assert found(connection, axis(3)) == [(7, 1)]
    refresh_templates(database)
    assert found(connection, probe)[0][0] == 6
    connection.execute("TRUNCATE face_embeddings")
    assert found(connection, probe) == []
    assert rows(connection, "SELECT count(*) FROM user_templates") == [(0,)]


@pytest.mark.parametrize("verify_threshold", [0.3, 0.7])  # with 0.7, every photo has a template
@pytest.mark.parametrize("method", INDEXED)
def test_five_hundred_photos_of_one_person_hide_no_other_person(
    database: Database,
    connection: Connection,
    random_people: NDArray[np.float32],
    method: SearchMethod,
    verify_threshold: float,
) -> None:
    connection.execute("UPDATE gallery SET verify_threshold = %s", (verify_threshold,))
    alike = np.repeat(random_people[:1], 500, axis=0)
    copy_embeddings(connection, np.ones(500, dtype=int), photos_of(alike, 5))
    # Photos of twenty more users are as similar to the probe as those of the first user.
    copy_embeddings(connection, np.arange(2, 22), photos_of(alike[:20], 6))
    fit_search(database, method, SCAN)
    probe = text(photos_of(alike[:1], 7)[0])
    exactly = found(connection, probe, 30, "find_similar_faces_exactly")
    assert len(exactly) == 21
    assert found(connection, probe, 30) == exactly


@pytest.mark.usefixtures("random_people")
def test_the_graph_of_a_fit_stays_in_memory(database: Database, connection: Connection) -> None:
    connection.execute("UPDATE gallery SET verify_threshold = 0.7")  # a template for each photo, 2 MB together
    connection.execute(
        "UPDATE gallery_search SET choice = 'hnsw', method = 'hnsw'"
    )  # without an index, as after a load
    notices: list[str | None] = []
    with database.dedicated_connection() as session, vector_index_lock(session):
        session.execute("SET maintenance_work_mem = '1MB'")
        session.execute("SET client_min_messages = notice")
        session.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        fit_search_if_due(session, SCAN)
        assert rows(session, "SELECT count(*) FROM user_templates") == [(PEOPLE * PHOTOS,)]
    assert read_search_state(database).method == "hnsw"
    assert [notice for notice in notices if notice is not None and "no longer fits" in notice] == []


def test_two_people_who_share_an_account_are_both_found(
    database: Database, connection: Connection, random_people: NDArray[np.float32]
) -> None:
    copy_embeddings(connection, np.full(3, 1), photos_of(np.repeat(random_people[1:2], 3, axis=0), 5))
    connection.execute("DELETE FROM users WHERE id = 2")
    fit_search(database, "hnsw", SCAN)
    assert rows(connection, "SELECT count(*) FROM user_templates WHERE user_id = 1")[0][0] >= 2
    for person in random_people[:2]:
        assert found(connection, text(person)) == found(connection, text(person), 1, "find_similar_faces_exactly")
        assert found(connection, text(person))[0][0] == 1


@pytest.mark.parametrize("method", INDEXED)
@pytest.mark.parametrize("norm", [1e-6, 1e6])
def test_a_probe_may_have_any_norm(
    database: Database, connection: Connection, random_people: NDArray[np.float32], method: SearchMethod, norm: float
) -> None:
    fit_search(database, method, SCAN)
    for probe in photos_of(random_people, 99)[:10]:
        for count in (1, 3):
            assert found(connection, text(norm * probe), count) == found(connection, text(probe), count) != []


def test_many_stale_templates_and_long_lists_are_answered_by_a_scan(
    database: Database, connection: Connection, random_people: NDArray[np.float32]
) -> None:
    fit_search(database, "hnsw", SCAN)
    connection.execute("DELETE FROM template_bits WHERE user_id = 5")
    probe = text(photos_of(random_people, 99)[4])
    assert found(connection, probe, 5) == []  # so the second look uses the bits
    assert found(connection, probe, 51)[0][0] == 5
    assert found(connection, probe, None)[0][0] == 5  # type: ignore[arg-type]
    connection.execute("INSERT INTO stale_templates (user_id) SELECT 1 FROM generate_series(1, 1000)")
    assert found(connection, probe, 5)[0][0] == 5


def test_a_role_that_may_not_read_templates_gets_the_exact_answer(
    database: Database, connection: Connection, random_people: NDArray[np.float32]
) -> None:
    fit_search(database, "hnsw", SCAN)
    connection.execute("DELETE FROM template_bits WHERE user_id = 5")
    ((schema, role),) = rows(connection, "SELECT quote_ident(current_schema()), 'reader_' || txid_current()")
    connection.execute(f"CREATE ROLE {role}")
    try:
        connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
        connection.execute(f"GRANT SELECT ON users, face_embeddings TO {role}")
        connection.execute(f"SET ROLE {role}")
        assert found(connection, text(photos_of(random_people, 99)[4]), 5)[0][0] == 5
    finally:
        connection.execute("RESET ROLE")
        connection.execute(f"DROP OWNED BY {role}")
        connection.execute(f"DROP ROLE {role}")


def test_the_sessions_own_settings_stay_as_they_were(
    database: Database, connection: Connection, random_people: NDArray[np.float32]
) -> None:
    fit_search(database, "hnsw", SCAN)
    connection.execute("SET hnsw.ef_search = 77")
    found(connection, text(random_people[0]))
    assert rows(connection, "SHOW hnsw.ef_search") == [("77",)]


@pytest.mark.usefixtures("random_people")
def test_a_zero_probe_is_refused(database: Database, connection: Connection) -> None:
    fit_search(database, "hnsw", SCAN)
    with pytest.raises(
        psycopg.errors.InvalidParameterValue, match=says_of_databases.ZERO_VECTOR_HAS_NO_COSINE.pattern()
    ):
        found(connection, axis(0, scale=0))


def test_without_the_index_every_template_is_compared(
    database: Database, connection: Connection, random_people: NDArray[np.float32]
) -> None:
    fit_search(database, "hnsw", SCAN)
    with database.autocommit() as other:
        suspend_index_search(other)
    state = read_search_state(database)
    assert (state.method, state.suspended, state.due) == ("hnsw", True, True)
    for probe in photos_of(random_people, 99)[:20]:
        assert found(connection, text(probe)) == found(connection, text(probe), 1, "find_similar_faces_exactly") != []


def test_several_probes_get_the_same_answers_as_single_ones(
    settings: Settings, random_people: NDArray[np.float32]
) -> None:
    probes = [*photos_of(random_people, 99)[:5], *photos_of(np.roll(random_people, 1, axis=1), 98)[:2]]
    with Gallery.open(settings) as gallery:
        for method in ("exact", "hnsw"):
            gallery.fit_search(method)
            single = [gallery.identify_embedding(probe, threshold=0.3, top=3) for probe in probes]
            assert gallery.identify_embeddings(probes, threshold=0.3, top=3) == single
            assert [bool(found) for found in single] == [True] * 5 + [False] * 2
        assert gallery.identify_embeddings([]) == []
        with pytest.raises(EmbeddingError):
            gallery.identify_embeddings([probes[0], np.zeros(512)])


def test_wilson_interval() -> None:
    # The figures follow from the closed form of E. B. Wilson (1927), with z² = 3.8415.
    low, high = wilson_interval(0, 10)
    assert low == 0
    assert high == pytest.approx(3.8414588 / (10 + 3.8414588))
    assert wilson_interval(10, 10)[0] == pytest.approx(1 - high)
