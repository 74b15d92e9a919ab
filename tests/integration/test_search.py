"""Search by template and index gives what the exact scan gives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray
from psycopg import Connection, sql

from pgface.database.pool import Database
from pgface.errors import EmbeddingError, GalleryError, IndexNotBuiltError, UnknownUserError
from pgface.gallery import Gallery
from pgface.gallery.bulk import copy_embeddings, load_embeddings
from pgface.search.fit import fit_search, fit_search_if_due, refresh_templates, suspend_index_search
from pgface.search.measure import wilson_interval
from pgface.search.state import SearchMethod, read_search_state
from pgface.search.vector_index.lifecycle import vector_index_lock
from pgface.settings import Settings
from support.galleries import add_embedding, add_user, axis, rows
from support.sentences import database as says_of_databases
from support.sentences import search as says

pytestmark = pytest.mark.slow

PEOPLE = 400
PHOTOS = 3
INDEXED: tuple[SearchMethod, ...] = ("hnsw", "hnsw_binary", "ivfflat")
SCAN = 10.0
"""Seconds; more than a scan of these galleries takes."""
FOUND = "SELECT user_id, round(similarity::numeric, 5) FROM {}(%s, 0.4, %s)"


@pytest.fixture
def sql_user(settings: Settings, database: Database) -> Iterator[Connection]:
    """A connection of somebody who knows only SQL."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        path = sql.SQL("SET search_path = {}, public").format(sql.Identifier(settings.schema_name))
        connection.execute(path)
        connection.execute("UPDATE gallery SET verify_threshold = 0.3, identify_threshold = 0.4")
        yield connection


def photos_of(people: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """A photo of each: cosine about 0.77 with the person, 0.6 between two photos."""
    noise = np.random.default_rng(seed).standard_normal(people.shape).astype(np.float32)
    photos = people + 0.82 * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return np.asarray(photos / np.linalg.norm(photos, axis=1, keepdims=True), dtype=np.float32)


@pytest.fixture
def people(sql_user: Connection) -> NDArray[np.float32]:
    """The people of a gallery, user ids 1 to PEOPLE; each row is what their photos have in common."""
    people = np.random.default_rng(1_000).standard_normal((PEOPLE, 512)).astype(np.float32)
    people /= np.linalg.norm(people, axis=1, keepdims=True)
    sql_user.execute(
        "INSERT INTO users (name, email, password) SELECT g, g || '@example.org', 'x' FROM generate_series(1, %s) g",
        (PEOPLE,),
    )
    # The index is built afterwards, which takes a quarter of the time.
    ((index,),) = rows(sql_user, "SELECT pg_get_indexdef('idx_embeddings_vector'::regclass)")
    sql_user.execute("DROP INDEX idx_embeddings_vector")
    for seed in range(PHOTOS):
        copy_embeddings(sql_user, np.arange(1, PEOPLE + 1), photos_of(people, seed))
    sql_user.execute(index.encode())
    return people


def text(embedding: NDArray[np.float32]) -> str:
    return str(embedding.tolist())


def found(connection: Connection, probe: str, count: int = 1, function: str = "find_similar_faces") -> list[Any]:
    return rows(connection, FOUND.format(function), probe, count)


@pytest.mark.parametrize("method", INDEXED)
def test_every_method_gives_the_exact_answer(
    database: Database, sql_user: Connection, people: NDArray[np.float32], method: SearchMethod
) -> None:
    state = fit_search(database, method, SCAN)
    assert (state.method, state.choice, state.stale_users, state.due) == (method, method, 0, False)
    assert state.agreement is not None
    assert state.agreement >= 0.99
    assert state.agreement_low is not None
    assert state.agreement_low < state.agreement
    mated, strangers = photos_of(people, 99)[:60], photos_of(np.roll(people, 1, axis=1), 98)[:20]
    for user_id, probe in enumerate(mated, start=1):
        assert found(sql_user, text(probe)) == found(sql_user, text(probe), 1, "find_similar_faces_exactly")
        assert found(sql_user, text(probe), 5)[0][0] == user_id
    assert [found(sql_user, text(probe)) for probe in strangers] == [[]] * 20


@pytest.mark.usefixtures("people")
def test_the_size_decides_unless_the_method_is_fixed(database: Database) -> None:
    assert read_search_state(database).method == "exact"
    assert fit_search(database, "auto", SCAN).method == "exact"
    assert fit_search(database, "auto", 1e-9).method == "hnsw"
    assert fit_search(database, "exact", 1e-9).method == "exact"
    with database.transaction() as connection:
        left = rows(connection, "SELECT indexname FROM pg_indexes WHERE indexname LIKE 'idx_%%_hnsw'")
    assert left == []


class BusyServer:
    """Makes an exact scan take longer, while the server has other work."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        arguments = "query_embedding vector(512), threshold float DEFAULT NULL, max_results integer DEFAULT 1"
        for statement in (
            "CREATE SEQUENCE scans",
            "SELECT nextval('scans')",
            "CREATE TABLE busy (until bigint)",
            "INSERT INTO busy VALUES (0)",
            "ALTER FUNCTION find_similar_faces_exactly RENAME TO quiet_scan",
            f"""
            CREATE FUNCTION find_similar_faces_exactly({arguments})
            RETURNS TABLE(user_id INT, user_name VARCHAR, user_email VARCHAR, similarity float, embedding_id INT)
            LANGUAGE plpgsql
            SET search_path FROM CURRENT
            AS $$
            BEGIN
                PERFORM pg_sleep(0.6) FROM busy WHERE nextval('scans') <= until;
                RETURN QUERY SELECT * FROM quiet_scan(query_embedding, threshold, max_results);
            END
            $$
            """,
            "SELECT pg_stat_force_next_flush()",  # or PostgreSQL would count this session's rows some seconds later
        ):
            connection.execute(statement.encode())

    def quiet_after(self, scans: int) -> None:
        """Slow so many of the next scans."""
        self._connection.execute("UPDATE busy SET until = (SELECT last_value FROM scans) + %s", (scans,))


@pytest.fixture
def busy_server(sql_user: Connection) -> BusyServer:
    return BusyServer(sql_user)


TARGET = 0.5
"""Seconds; more than a scan of these galleries takes, and less than one on a busy server."""
ALWAYS = 1_000_000
MIN_SCANS = 5


@pytest.mark.usefixtures("people")
def test_a_server_that_is_busy_for_a_moment_does_not_change_the_method(
    database: Database, busy_server: BusyServer
) -> None:
    busy_server.quiet_after(MIN_SCANS - 1)
    assert fit_search(database, "auto", TARGET).method == "exact"


def test_a_server_that_is_busy_while_the_gallery_grows_does_not_change_the_method(
    database: Database, people: NDArray[np.float32], busy_server: BusyServer
) -> None:
    fit_search(database, "auto", TARGET)
    busy_server.quiet_after(ALWAYS)
    for seed in (50, 60):  # each load is so large that the method is chosen again
        users = np.tile(np.arange(1, PEOPLE + 1), 3)
        photos = np.concatenate([photos_of(people, seed + number) for number in range(3)])
        load_embeddings(database, users, photos, latency_target=TARGET)
    state = read_search_state(database)
    assert (state.method, state.due, state.embeddings) == ("exact", False, 9 * PEOPLE)
    assert state.scan_ms is not None
    assert state.scan_ms < TARGET * 1e3  # what it takes on a quiet server
    # Told to choose anew, it believes what it measures: the gallery may have moved to a slower server.
    assert fit_search(database, "auto", TARGET).method == "hnsw"


def test_refusals(database: Database) -> None:
    unknown = says.UNKNOWN_SEARCH_METHOD.pattern(method="faiss", methods="auto, exact, hnsw")
    with pytest.raises(GalleryError, match=unknown):
        fit_search(database, "faiss", SCAN)  # type: ignore[arg-type]
    with pytest.raises(GalleryError, match=says.NOBODY_TO_FIT_TO.pattern(method="hnsw")):
        fit_search(database, "hnsw", SCAN)
    assert read_search_state(database).method == "exact"


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("method", INDEXED)
def test_a_face_is_found_as_soon_as_it_is_enrolled(
    database: Database, sql_user: Connection, method: SearchMethod
) -> None:
    fit_search(database, method, SCAN)
    new = add_user(sql_user, "new@example.org")
    add_embedding(sql_user, new, axis(7))
    assert found(sql_user, axis(7)) == [(new, 1)]
    assert read_search_state(database).stale_users == 1
    refresh_templates(database)
    assert read_search_state(database).stale_users == 0
    assert found(sql_user, axis(7)) == [(new, 1)]


def test_what_is_erased_is_gone_at_once(database: Database, sql_user: Connection, people: NDArray[np.float32]) -> None:
    fit_search(database, "hnsw", SCAN)
    probe = text(photos_of(people, 99)[4])
    sql_user.execute("DELETE FROM face_embeddings WHERE id = (SELECT min(id) FROM face_embeddings WHERE user_id = 5)")
    # A mean of what was erased would still tell of it.
    assert rows(sql_user, "SELECT count(*) FROM user_templates WHERE user_id = 5") == [(0,)]
    assert found(sql_user, probe)[0][0] == 5
    sql_user.execute("DELETE FROM users WHERE id = 5")
    for table in ("user_templates", "template_bits"):
        assert rows(sql_user, f"SELECT count(*) FROM {table} WHERE user_id = 5") == [(0,)]
    assert found(sql_user, probe) == []
    refresh_templates(database)
    assert rows(sql_user, "SELECT count(*) FROM stale_templates") == [(0,)]


def test_changed_moved_and_truncated_embeddings(
    database: Database, sql_user: Connection, people: NDArray[np.float32]
) -> None:
    fit_search(database, "hnsw", SCAN)
    probe = text(photos_of(people, 99)[4])
    sql_user.execute("UPDATE face_embeddings SET user_id = 6 WHERE user_id = 5")
    assert found(sql_user, probe)[0][0] == 6
    sql_user.execute("UPDATE face_embeddings SET embedding = %s WHERE user_id = 7", (axis(3),))
    assert found(sql_user, axis(3)) == [(7, 1)]
    refresh_templates(database)
    assert found(sql_user, probe)[0][0] == 6
    sql_user.execute("TRUNCATE face_embeddings")
    assert found(sql_user, probe) == []
    assert rows(sql_user, "SELECT count(*) FROM user_templates") == [(0,)]


@pytest.mark.parametrize("verify_threshold", [0.3, 0.7])  # with the second, every photo is a template
@pytest.mark.parametrize("method", INDEXED)
def test_five_hundred_photos_of_one_person_crowd_out_nobody(
    database: Database,
    sql_user: Connection,
    people: NDArray[np.float32],
    method: SearchMethod,
    verify_threshold: float,
) -> None:
    sql_user.execute("UPDATE gallery SET verify_threshold = %s", (verify_threshold,))
    alike = np.repeat(people[:1], 500, axis=0)
    copy_embeddings(sql_user, np.ones(500, dtype=int), photos_of(alike, 5))
    # Twenty more people as similar to the probe as the first one's photos are.
    copy_embeddings(sql_user, np.arange(2, 22), photos_of(alike[:20], 6))
    fit_search(database, method, SCAN)
    probe = text(photos_of(alike[:1], 7)[0])
    exactly = found(sql_user, probe, 30, "find_similar_faces_exactly")
    assert len(exactly) == 21
    assert found(sql_user, probe, 30) == exactly


def test_two_people_who_share_an_account_are_both_found(
    database: Database, sql_user: Connection, people: NDArray[np.float32]
) -> None:
    copy_embeddings(sql_user, np.full(3, 1), photos_of(np.repeat(people[1:2], 3, axis=0), 5))
    sql_user.execute("DELETE FROM users WHERE id = 2")
    fit_search(database, "hnsw", SCAN)
    assert rows(sql_user, "SELECT count(*) FROM user_templates WHERE user_id = 1")[0][0] >= 2
    for person in people[:2]:
        assert found(sql_user, text(person)) == found(sql_user, text(person), 1, "find_similar_faces_exactly")
        assert found(sql_user, text(person))[0][0] == 1


@pytest.mark.usefixtures("people")
def test_two_photos_that_do_not_go_together_have_a_template_each(database: Database, sql_user: Connection) -> None:
    # Of two such photos the mean is as similar to one of them as 0.71.
    user_ids = enroll_users(sql_user, 1).repeat(2)
    copy_embeddings(sql_user, user_ids, np.eye(2, 512, dtype=np.float32))
    fit_search(database, "hnsw", SCAN)
    ((count, nearest),) = rows(
        sql_user,
        "SELECT count(*), max(1 - (template <=> %s::halfvec(512))) FROM user_templates WHERE user_id = %s",
        axis(1),
        user_ids[0],
    )
    assert (count, nearest) == (2, pytest.approx(1))


@pytest.mark.usefixtures("people")
def test_opposite_embeddings_have_no_mean(database: Database, sql_user: Connection) -> None:
    user_ids = enroll_users(sql_user, 1).repeat(2)
    copy_embeddings(sql_user, user_ids, np.array([[1], [-1]], np.float32) * np.eye(1, 512, dtype=np.float32))
    fit_search(database, "hnsw", SCAN)
    drawn = rows(sql_user, "SELECT user_id, vector_norm(probe) FROM draw_probes(10000)")  # everybody
    assert {user_id for user_id, _ in drawn} == set(range(1, PEOPLE + 1))
    assert all(norm == pytest.approx(1) for _, norm in drawn)
    assert rows(sql_user, "SELECT min(l2_norm(template)) > 0.99 FROM user_templates") == [(True,)]
    assert found(sql_user, axis(0)) == found(sql_user, axis(0, scale=-1)) == [(user_ids[0], 1)]


@pytest.mark.parametrize("method", INDEXED)
@pytest.mark.parametrize("norm", [1e-6, 1e6])
def test_a_probe_may_have_any_norm(
    database: Database, sql_user: Connection, people: NDArray[np.float32], method: SearchMethod, norm: float
) -> None:
    fit_search(database, method, SCAN)
    for probe in photos_of(people, 99)[:10]:
        for count in (1, 3):
            assert found(sql_user, text(norm * probe), count) == found(sql_user, text(probe), count) != []


@pytest.mark.usefixtures("people")
def test_erased_users_leave_no_notes(database: Database, sql_user: Connection) -> None:
    fit_search(database, "hnsw", SCAN)
    sql_user.execute("DELETE FROM users WHERE id <= 30")
    assert rows(sql_user, "SELECT count(*) FROM stale_templates") == [(0,)]
    # Nor do those of users who were waiting for their templates, also where others are made.
    sql_user.execute("INSERT INTO stale_templates (user_id) SELECT generate_series(1, 31)")
    refresh_templates(database)
    assert rows(sql_user, "SELECT count(*) FROM stale_templates") == [(0,)]


def test_what_is_erased_while_templates_are_made_is_in_none_of_them(
    database: Database, sql_user: Connection, people: NDArray[np.float32]
) -> None:
    fit_search(database, "hnsw", SCAN)
    erase = "DELETE FROM face_embeddings WHERE id = (SELECT min(id) FROM face_embeddings WHERE user_id = 5)"
    left = "SELECT count(*) FROM user_templates WHERE user_id = 5"
    copy_embeddings(sql_user, np.array([5]), photos_of(people, 12)[4:5])
    with ThreadPoolExecutor(1) as thread:
        with database.transaction() as refreshing:
            assert rows(refreshing, "SELECT refresh_templates(10)") == [(1,)]
            erasing = thread.submit(sql_user.execute, erase)
            with pytest.raises(TimeoutError):  # it waits
                erasing.result(0.5)
        erasing.result(30)
    assert rows(sql_user, left) == [(0,)]
    with database.transaction() as erasing_elsewhere:
        erasing_elsewhere.execute(erase)
        assert rows(sql_user, "SELECT refresh_templates(10)") == [(0,)]
    assert rows(sql_user, left) == [(0,)]
    assert rows(sql_user, "SELECT refresh_templates(10)") == [(1,)]
    assert rows(sql_user, left) == [(1,)]


def test_many_stale_templates_and_long_lists_are_answered_by_a_scan(
    database: Database, sql_user: Connection, people: NDArray[np.float32]
) -> None:
    fit_search(database, "hnsw", SCAN)
    sql_user.execute("DELETE FROM template_bits WHERE user_id = 5")
    probe = text(photos_of(people, 99)[4])
    assert found(sql_user, probe, 5) == []  # so the second look does go through the bits
    assert found(sql_user, probe, 51)[0][0] == 5
    assert found(sql_user, probe, None)[0][0] == 5  # type: ignore[arg-type]
    sql_user.execute("INSERT INTO stale_templates (user_id) SELECT 1 FROM generate_series(1, 1000)")
    assert found(sql_user, probe, 5)[0][0] == 5


def test_a_role_that_may_not_read_templates_gets_the_exact_answer(
    database: Database, sql_user: Connection, people: NDArray[np.float32]
) -> None:
    fit_search(database, "hnsw", SCAN)
    sql_user.execute("DELETE FROM template_bits WHERE user_id = 5")
    ((schema, role),) = rows(sql_user, "SELECT quote_ident(current_schema()), 'reader_' || txid_current()")
    sql_user.execute(f"CREATE ROLE {role}")
    try:
        sql_user.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
        sql_user.execute(f"GRANT SELECT ON users, face_embeddings TO {role}")
        sql_user.execute(f"SET ROLE {role}")
        assert found(sql_user, text(photos_of(people, 99)[4]), 5)[0][0] == 5
    finally:
        sql_user.execute("RESET ROLE")
        sql_user.execute(f"DROP OWNED BY {role}")
        sql_user.execute(f"DROP ROLE {role}")


def test_the_sessions_own_settings_stay_as_they_were(
    database: Database, sql_user: Connection, people: NDArray[np.float32]
) -> None:
    fit_search(database, "hnsw", SCAN)
    sql_user.execute("SET hnsw.ef_search = 77")
    found(sql_user, text(people[0]))
    assert rows(sql_user, "SHOW hnsw.ef_search") == [("77",)]


@pytest.mark.usefixtures("people")
def test_users_under_way_elsewhere_are_refreshed_later(database: Database, sql_user: Connection) -> None:
    fit_search(database, "hnsw", SCAN)
    for user_id in (5, 6):
        add_embedding(sql_user, user_id, axis(user_id))
    with database.transaction() as other:
        other.execute("DELETE FROM users WHERE id = 5")
        assert rows(sql_user, "SELECT refresh_templates()") == [(1,)]
        assert rows(sql_user, "SELECT DISTINCT user_id FROM stale_templates") == [(5,)]
        assert found(sql_user, axis(5)) == [(5, 1)]
    assert found(sql_user, axis(5)) == []
    assert rows(sql_user, "SELECT refresh_templates()") == [(0,)]


@pytest.mark.usefixtures("people")
def test_a_zero_probe_is_refused(database: Database, sql_user: Connection) -> None:
    fit_search(database, "hnsw", SCAN)
    with pytest.raises(
        psycopg.errors.InvalidParameterValue, match=says_of_databases.ZERO_VECTOR_HAS_NO_COSINE.pattern()
    ):
        found(sql_user, axis(0, scale=0))


def templates(connection: Connection) -> int:
    ((count,),) = rows(connection, "SELECT count(*) FROM user_templates")
    return int(count)


def enroll_users(connection: Connection, count: int) -> NDArray[np.int64]:
    statement = (
        "INSERT INTO users (name, email, password) "
        "SELECT 'n', gen_random_uuid() || '@example.org', 'x' FROM generate_series(1, %s) RETURNING id"
    )
    return np.array([user_id for (user_id,) in connection.execute(statement, (count,)).fetchall()])


@pytest.mark.usefixtures("people")
def test_a_small_load_has_its_templates_from_the_first_moment(database: Database, sql_user: Connection) -> None:
    fit_search(database, "hnsw", SCAN)
    newcomers = np.eye(3, 512, dtype=np.float32)
    user_ids = enroll_users(sql_user, 3)
    assert load_embeddings(database, user_ids, newcomers, latency_target=SCAN) == 3
    assert templates(sql_user) == PEOPLE + 3
    assert read_search_state(database).stale_users == 0
    assert found(sql_user, text(newcomers[1])) == [(user_ids[1], 1)]


@pytest.mark.usefixtures("people")
def test_a_load_leaves_no_notes_for_every_search_to_read(database: Database, sql_user: Connection) -> None:
    fit_search(database, "hnsw", SCAN)
    newcomers = np.random.default_rng(5).standard_normal((200, 512))
    load_embeddings(database, enroll_users(sql_user, 200), newcomers, latency_target=SCAN)
    assert rows(sql_user, "SELECT pg_relation_size('stale_templates')") == [(0,)]


def test_a_load_of_many_is_vacuumed_and_analysed(database: Database, sql_user: Connection) -> None:
    sql_user.execute("ALTER TABLE face_embeddings SET (autovacuum_enabled = off)")
    embeddings = np.random.default_rng(5).standard_normal((1200, 512))
    load_embeddings(database, enroll_users(sql_user, 1200), embeddings, latency_target=SCAN)
    known = "SELECT reltuples, relallvisible = relpages FROM pg_class WHERE oid = 'face_embeddings'::regclass"
    assert rows(sql_user, known) == [(1200, True)]


@pytest.mark.usefixtures("people")
def test_every_method_uses_its_own_index_while_another_is_there(database: Database, sql_user: Connection) -> None:
    fit_search(database, "ivfflat", SCAN)
    sql_user.execute("CREATE INDEX idx_user_templates_hnsw ON user_templates USING hnsw (template halfvec_cosine_ops)")
    sql_user.execute("SET enable_seqscan = off")
    scans = "SELECT pg_stat_get_numscans(%s::regclass)"
    for method in ("hnsw", "ivfflat"):
        index = f"idx_user_templates_{method}"
        ((before,),) = rows(sql_user, scans, index)
        for number in range(3):
            rows(sql_user, "SELECT users_by_index(%s, %s, 10, 1)", axis(number), method)
        sql_user.execute("SELECT pg_stat_force_next_flush()")
        assert rows(sql_user, scans, index) == [(before + 3,)]


@pytest.mark.usefixtures("people")
def test_lists_are_those_of_the_gallery_as_it_is(database: Database, sql_user: Connection) -> None:
    lists = "SELECT reloptions, relfilenode FROM pg_class WHERE oid = 'idx_user_templates_ivfflat'::regclass"
    fit_search(database, "ivfflat", SCAN)
    ((options, file),) = rows(sql_user, lists)
    assert options == ["lists=20"]
    newcomers = np.random.default_rng(5).standard_normal((500, 512))
    copy_embeddings(sql_user, enroll_users(sql_user, 500), newcomers)
    fit_search(database, "ivfflat", SCAN)
    ((options, other_file),) = rows(sql_user, lists)
    assert options == ["lists=30"]
    assert other_file != file


def test_probes_made_from_the_gallery_are_like_further_photos(database: Database, people: NDArray[np.float32]) -> None:
    with database.autocommit() as connection:
        answers = """
            SELECT a.best, a.stranger
            FROM (SELECT array_agg(user_id) AS users, array_agg(probe) AS probes FROM draw_probes(%s)) d,
                exact_answers(d.users, d.probes) a
        """
        made, strangers = np.array(rows(connection, answers, 4 * PEOPLE * PHOTOS // 10)).T
        ((stored,),) = rows(connection, "SELECT array_agg(embedding ORDER BY user_id, id) FROM face_embeddings")
    enrolled = np.stack([embedding.to_numpy() for embedding in stored]).reshape(PEOPLE, PHOTOS, 512)
    further = np.einsum("pd,pnd->pn", photos_of(people, 99), enrolled).max(axis=1)
    assert abs(np.median(made) - np.median(further)) < 0.02
    others = photos_of(people, 99)[:100] @ enrolled[100:].reshape(-1, 512).T
    # A little nearer: those whose differences were mixed are among the strangers.
    assert 0 <= np.median(strangers) - np.median(others.max(axis=1)) < 0.05


@pytest.mark.usefixtures("people")
def test_a_large_load_builds_the_index_anew(database: Database, sql_user: Connection) -> None:
    before = fit_search(database, "hnsw", SCAN)
    newcomers = photos_of(np.random.default_rng(5).standard_normal((1_000, 512)).astype(np.float32), 6)
    user_ids = enroll_users(sql_user, 1_000)
    load_embeddings(database, user_ids, newcomers, latency_target=SCAN)
    after = read_search_state(database)
    assert (after.method, after.suspended, after.stale_users, after.due) == ("hnsw", False, 0, False)
    assert after.chosen_at != before.chosen_at
    assert after.embeddings == before.embeddings + 1_000
    assert rows(sql_user, "SELECT to_regclass('idx_user_templates_hnsw') IS NOT NULL") == [(True,)]
    assert found(sql_user, text(newcomers[7]))[0][0] == user_ids[7]


@pytest.mark.usefixtures("people")
def test_a_large_load_that_fails_leaves_the_search_as_it_was(database: Database, sql_user: Connection) -> None:
    before = fit_search(database, "hnsw", SCAN)
    embeddings = np.random.default_rng(5).standard_normal((1_000, 512))
    with pytest.raises(UnknownUserError):
        load_embeddings(database, np.full(1_000, 987_654), embeddings, latency_target=SCAN)
    after = read_search_state(database)
    assert (after.method, after.suspended, after.embeddings) == ("hnsw", False, before.embeddings)
    assert rows(sql_user, "SELECT to_regclass('idx_user_templates_hnsw') IS NOT NULL") == [(True,)]


@pytest.mark.usefixtures("people")
def test_a_load_whose_search_cannot_be_fitted_says_that_it_is_loaded(database: Database, sql_user: Connection) -> None:
    sql_user.execute("ALTER TABLE gallery_search ADD CHECK (method = 'exact')")
    user_ids = enroll_users(sql_user, 1_000)
    newcomers = np.random.default_rng(5).standard_normal((1_000, 512))
    with pytest.raises(IndexNotBuiltError, match=says_of_databases.LOADED_WITHOUT_INDEX.pattern()):
        load_embeddings(database, user_ids, newcomers, latency_target=1e-9)
    assert found(sql_user, text(newcomers[7])) == [(user_ids[7], 1)]


def test_without_the_index_every_template_is_compared(
    database: Database, sql_user: Connection, people: NDArray[np.float32]
) -> None:
    fit_search(database, "hnsw", SCAN)
    with database.autocommit() as connection:
        suspend_index_search(connection)
    state = read_search_state(database)
    assert (state.method, state.suspended, state.due) == ("hnsw", True, True)
    for probe in photos_of(people, 99)[:20]:
        assert found(sql_user, text(probe)) == found(sql_user, text(probe), 1, "find_similar_faces_exactly") != []


def test_agreement_after_a_third_of_the_gallery_was_replaced(
    database: Database, sql_user: Connection, people: NDArray[np.float32]
) -> None:
    before = fit_search(database, "hnsw", SCAN)
    sql_user.execute("DELETE FROM users WHERE id <= %s", (PEOPLE // 3,))
    newcomers = np.random.default_rng(5).standard_normal((PEOPLE, 512)).astype(np.float32)
    user_ids = enroll_users(sql_user, PEOPLE)
    for seed in (6, 7):
        load_embeddings(database, user_ids, photos_of(newcomers, seed), latency_target=SCAN)
    sql_user.execute("SELECT pg_stat_force_next_flush()")
    assert read_search_state(database).due
    with database.autocommit() as connection, vector_index_lock(connection):
        fit_search_if_due(connection, 1e-9)
    after = read_search_state(database)
    assert (after.method, after.due, after.stale_users) == ("hnsw", False, 0)
    assert after.chosen_at != before.chosen_at
    assert after.agreement is not None
    assert after.agreement >= 0.99
    for probe in photos_of(people, 99)[:20]:  # of people who were erased
        assert found(sql_user, text(probe)) == []
    for probe in photos_of(newcomers, 99)[:20]:
        assert found(sql_user, text(probe)) == found(sql_user, text(probe), 1, "find_similar_faces_exactly") != []


@pytest.mark.usefixtures("people")
def test_a_large_gallery_has_no_index_that_nobody_uses(database: Database, sql_user: Connection) -> None:
    there = "SELECT amname FROM pg_class JOIN pg_am ON pg_am.oid = relam WHERE pg_class.oid = to_regclass(%s)"
    fit_search(database, "hnsw", SCAN)
    assert rows(sql_user, there, "idx_embeddings_vector") == []
    fit_search(database, "exact", SCAN)
    assert rows(sql_user, there, "idx_embeddings_vector") == [("hnsw",)]
    sql_user.execute("DROP INDEX idx_embeddings_vector")
    sql_user.execute(
        "CREATE INDEX idx_embeddings_vector ON face_embeddings USING ivfflat (embedding vector_cosine_ops) "
        "WITH (lists = 2)"
    )
    fit_search(database, "hnsw", SCAN)
    assert rows(sql_user, there, "idx_embeddings_vector") == [("ivfflat",)]


@pytest.mark.usefixtures("people")
def test_statistics_hold_no_embedding(database: Database, sql_user: Connection) -> None:
    fit_search(database, "hnsw", SCAN)
    sql_user.execute("ANALYZE")
    kept = "SELECT DISTINCT attname FROM pg_stats WHERE schemaname = current_schema() AND tablename = ANY (%s)"
    columns = {name for (name,) in rows(sql_user, kept, ["face_embeddings", "user_templates", "template_bits"])}
    assert "user_id" in columns
    assert not columns & {"embedding", "template", "bits"}


def test_several_probes_are_answered_like_single_ones(settings: Settings, people: NDArray[np.float32]) -> None:
    probes = [*photos_of(people, 99)[:5], *photos_of(np.roll(people, 1, axis=1), 98)[:2]]
    with Gallery.open(settings) as gallery:
        for method in ("exact", "hnsw"):
            gallery.fit_search(method)
            single = [gallery.identify_embedding(probe, threshold=0.3, top=3) for probe in probes]
            assert gallery.identify_embeddings(probes, threshold=0.3, top=3) == single
            assert [bool(found) for found in single] == [True] * 5 + [False] * 2
        assert gallery.identify_embeddings([]) == []
        with pytest.raises(EmbeddingError):
            gallery.identify_embeddings([probes[0], np.zeros(512)])


def wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_gallery_that_stays_open_fits_itself(
    settings: Settings, sql_user: Connection, people: NDArray[np.float32]
) -> None:
    sql_user.execute("SELECT pg_stat_force_next_flush()")
    probes = photos_of(people, 99)[:3]
    exactly = [found(sql_user, text(probe), 1, "find_similar_faces_exactly") for probe in probes]
    with Gallery.open(settings.model_copy(update={"search_latency_target": 1e-9})) as gallery:
        gallery.enroll_embedding(np.eye(1, 512, 7)[0], 1)

        def fitted() -> bool:
            assert [found(sql_user, text(probe)) for probe in probes] == exactly  # all the while
            return gallery.search_state().method != "exact"

        wait_until(fitted)
        assert [found(sql_user, text(probe)) for probe in probes] == exactly
        gallery.enroll_embedding(np.eye(1, 512, 8)[0], 2)
        assert found(sql_user, axis(8)) == [(2, 1)]
        wait_until(lambda: gallery.search_state().stale_users == 0)
        assert found(sql_user, axis(8)) == [(2, 1)]


@pytest.mark.usefixtures("people")
def test_closing_a_gallery_makes_the_templates_that_wait(settings: Settings, database: Database) -> None:
    fit_search(database, "hnsw", SCAN)
    with Gallery.open(settings) as gallery:
        gallery.enroll_embedding(np.eye(1, 512, 7)[0], 1)
        wait_until(lambda: gallery.search_state().stale_users == 0)
        gallery.enroll_embedding(np.eye(1, 512, 8)[0], 2)  # while the thread pauses
    assert read_search_state(database).stale_users == 0


@pytest.mark.usefixtures("people")
def test_closing_a_gallery_breaks_off_a_fit(settings: Settings, database: Database, sql_user: Connection) -> None:
    sql_user.execute("SELECT pg_stat_force_next_flush()")
    with database.transaction() as other:
        # An index that is built concurrently waits for whoever has written to the table.
        other.execute("LOCK TABLE user_templates IN ROW EXCLUSIVE MODE")
        with Gallery.open(settings.model_copy(update={"search_latency_target": 1e-9})) as gallery:
            gallery.enroll_embedding(np.eye(1, 512, 7)[0], 1)
            wait_until(lambda: gallery.search_state().fitting)
            building = "SELECT FROM pg_locks WHERE NOT granted AND relation = to_regclass('user_templates')"
            waiting = f"SELECT EXISTS ({building}) OR EXISTS (SELECT FROM pg_stat_progress_create_index)"
            wait_until(lambda: rows(sql_user, waiting) == [(True,)])
    state = read_search_state(database)
    assert (state.method, state.fitting) == ("exact", False)
    assert found(sql_user, axis(7)) == [(1, 1)]


# SQL alone: CALL fit_search()


@pytest.fixture
def notices(sql_user: Connection) -> list[str]:
    """What the server tells, as psql prints it."""
    told: list[str] = []
    sql_user.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))
    return told


@pytest.mark.parametrize("method", [*INDEXED, "auto"])
def test_sql_alone_fits_the_search(
    database: Database,
    sql_user: Connection,
    people: NDArray[np.float32],
    notices: list[str],
    method: str,
) -> None:
    sql_user.execute("SELECT pg_stat_force_next_flush()")
    sql_user.execute("CALL fit_search(%s, 0)", (method,))
    state = read_search_state(database)
    used = "hnsw" if method == "auto" else method
    assert (state.choice, state.method, state.stale_users, state.due) == (method, used, 0, False)
    assert (state.fitting, state.suspended, state.embeddings) == (False, False, PEOPLE * PHOTOS)
    assert state.agreement is not None
    assert state.agreement >= 0.99
    assert state.probes is not None
    assert notices[0].startswith(f"searching {PEOPLE * PHOTOS} embeddings with {used}. An exact scan takes ")
    assert notices[1].startswith(f"agreement with the exact answer: {state.agreement:.4f} of {state.probes} probes ")
    assert rows(sql_user, "SELECT to_regclass('idx_embeddings_vector')") == [(None,)]
    for user_id, probe in enumerate(photos_of(people, 99)[:30], start=1):
        assert found(sql_user, text(probe)) == found(sql_user, text(probe), 1, "find_similar_faces_exactly")
        assert found(sql_user, text(probe), 5)[0][0] == user_id
    # Python takes the gallery as SQL has left it, and the other way round.
    assert fit_search(database, "exact", SCAN).method == "exact"


@pytest.mark.usefixtures("people")
def test_sql_alone_goes_back_to_the_exact_scan(database: Database, sql_user: Connection, notices: list[str]) -> None:
    fit_search(database, "hnsw", SCAN)
    sql_user.execute("CALL fit_search('auto', 100000)")
    state = read_search_state(database)
    assert (state.choice, state.method, state.agreement) == ("auto", "exact", None)
    assert notices[0].startswith(f"searching exactly: comparing a probe with all {PEOPLE * PHOTOS} embeddings takes ")
    left = rows(sql_user, "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() AND indexdef ~ 'hnsw'")
    assert left == [("idx_embeddings_vector",)]


@pytest.mark.usefixtures("people")
def test_sql_alone_builds_an_index_again_only_where_that_helps(sql_user: Connection) -> None:
    index = "SELECT reloptions[1], relfilenode FROM pg_class WHERE oid = to_regclass(%s)"
    newcomers = np.random.default_rng(5).standard_normal((500, 512))
    before, after = {}, {}
    for method in ("ivfflat", "hnsw"):
        sql_user.execute("CALL fit_search(%s)", (method,))
        before[method] = rows(sql_user, index, f"idx_user_templates_{method}")[0]
    copy_embeddings(sql_user, enroll_users(sql_user, 500), newcomers)
    for method in ("hnsw", "ivfflat"):
        sql_user.execute("CALL fit_search(%s)", (method,))
        after[method] = rows(sql_user, index, f"idx_user_templates_{method}")[0]
    assert after["hnsw"] == before["hnsw"]
    assert (before["ivfflat"][0], after["ivfflat"][0]) == ("lists=20", "lists=30")
    names = "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() AND indexdef ~ 'USING (hnsw|ivfflat)'"
    assert rows(sql_user, names) == [("idx_user_templates_ivfflat",)]


@pytest.mark.usefixtures("people")
def test_sql_alone_finds_its_gallery_from_anywhere(
    database: Database, sql_user: Connection, settings: Settings
) -> None:
    sql_user.execute("SET search_path = pg_catalog")
    procedure = sql.Identifier(settings.schema_name, "fit_search")
    sql_user.execute(sql.SQL("CALL {}('hnsw')").format(procedure))
    assert read_search_state(database).method == "hnsw"
    assert rows(sql_user, "SHOW search_path") == [("pg_catalog",)]


def test_refusals_of_sql_alone(database: Database, sql_user: Connection) -> None:
    for call, reason in (
        ("CALL fit_search('faiss')", "there is no search method faiss. Choose one of auto, exact, hnsw"),
        ("CALL fit_search('hnsw')", "the gallery is empty, so hnsw cannot be fitted. Enroll people first"),
    ):
        with pytest.raises(psycopg.Error, match=reason):
            sql_user.execute(call.encode())
        state = read_search_state(database)
        assert (state.method, state.fitting) == ("exact", False)
    sql_user.execute("CALL fit_search()")
    assert read_search_state(database).method == "exact"


@pytest.mark.usefixtures("people")
def test_sql_alone_leaves_the_search_as_it_was_where_it_fails(database: Database, sql_user: Connection) -> None:
    sql_user.execute("ALTER TABLE gallery_search ADD CHECK (method = 'exact')")
    with pytest.raises(psycopg.errors.CheckViolation):
        sql_user.execute("CALL fit_search('hnsw')")
    state = read_search_state(database)
    assert (state.method, state.fitting) == ("exact", False)
    assert rows(sql_user, "SELECT to_regclass('idx_user_templates_hnsw')") == [(None,)]


@pytest.mark.usefixtures("people")
def test_sql_alone_waits_for_a_fit_of_another_session(database: Database, sql_user: Connection) -> None:
    with ThreadPoolExecutor(1) as thread:
        with database.dedicated_connection() as connection, vector_index_lock(connection):
            waiting = thread.submit(sql_user.execute, "CALL fit_search('hnsw')")
            with pytest.raises(TimeoutError):
                waiting.result(0.5)
            assert read_search_state(database).method == "exact"
        waiting.result(60)
    assert read_search_state(database).method == "hnsw"


@pytest.mark.usefixtures("people")
def test_a_fit_of_sql_alone_that_is_cancelled_releases_its_lock(database: Database, sql_user: Connection) -> None:
    with database.transaction() as other, ThreadPoolExecutor(1) as thread:
        other.execute("LOCK TABLE user_templates IN ROW EXCLUSIVE MODE")  # so that the index waits
        fitting = thread.submit(sql_user.execute, "CALL fit_search('hnsw')")
        building = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = to_regclass('user_templates'))"
        wait_until(lambda: rows(other, building) == [(True,)])
        sql_user.cancel_safe()
        with pytest.raises(psycopg.errors.QueryCanceled):
            fitting.result(60)
    state = read_search_state(database)
    assert (state.method, state.fitting) == ("exact", False)


def test_only_the_owner_may_fit_the_search(sql_user: Connection) -> None:
    (schema,) = rows(sql_user, "SELECT quote_ident(current_schema())")[0]
    role = f"plain_{sql_user.info.backend_pid}"
    for statement in (f"CREATE ROLE {role}", f"GRANT USAGE ON SCHEMA {schema} TO {role}", f"SET ROLE {role}"):
        sql_user.execute(statement.encode())
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        sql_user.execute("CALL fit_search()")
    for statement in ("RESET ROLE", f"DROP OWNED BY {role}", f"DROP ROLE {role}"):
        sql_user.execute(statement.encode())


def test_wilson_interval() -> None:
    # E. B. Wilson 1927; the figures are those of the closed form worked by hand: z² = 3.8415.
    low, high = wilson_interval(0, 10)
    assert low == 0
    assert high == pytest.approx(3.8414588 / (10 + 3.8414588))
    assert wilson_interval(10, 10)[0] == pytest.approx(1 - high)
