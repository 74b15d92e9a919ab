"""The method of the search: choosing it for the size of the gallery, and building its index."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from psycopg import Connection

from pgface.database.pool import Database
from pgface.errors import GalleryError, IndexNotBuiltError, UnknownUserError
from pgface.gallery import Gallery
from pgface.gallery.bulk import copy_embeddings, load_embeddings
from pgface.search.fit import fit_search, fit_search_if_due
from pgface.search.state import read_search_state
from pgface.search.vector_index.lifecycle import vector_index_lock
from pgface.settings import Settings
from support.galleries import axis, rows
from support.searched_gallery import PEOPLE, SCAN, enroll_users, found, photos_of, text, wait_until
from support.sentences import database as says_of_databases
from support.sentences import search as says

pytestmark = pytest.mark.slow


@pytest.mark.usefixtures("random_people")
def test_the_size_decides_unless_the_method_is_fixed(database: Database) -> None:
    assert read_search_state(database).method == "exact"
    assert fit_search(database, "auto", SCAN).method == "exact"
    assert fit_search(database, "auto", 1e-9).method == "hnsw"
    assert fit_search(database, "exact", 1e-9).method == "exact"
    with database.transaction() as connection:
        left = rows(connection, "SELECT indexname FROM pg_indexes WHERE indexname LIKE 'idx_%%_hnsw'")
    assert left == []


class BusyServer:
    """Slows exact scans, as other work on the server would."""

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
            "SELECT pg_stat_force_next_flush()",  # otherwise PostgreSQL counts this session's rows some seconds later
        ):
            connection.execute(statement.encode())

    def quiet_after(self, scans: int) -> None:
        """Slow the next scans, as many as given."""
        self._connection.execute("UPDATE busy SET until = (SELECT last_value FROM scans) + %s", (scans,))


@pytest.fixture
def busy_server(connection: Connection) -> BusyServer:
    return BusyServer(connection)


TARGET = 0.5
"""Seconds, more than a scan of these galleries takes, and less than a slow one."""
ALL_SCANS = 1_000_000
MIN_SCANS = 5


@pytest.mark.usefixtures("random_people")
def test_a_server_that_is_busy_for_a_moment_does_not_change_the_method(
    database: Database, busy_server: BusyServer
) -> None:
    busy_server.quiet_after(MIN_SCANS - 1)
    assert fit_search(database, "auto", TARGET).method == "exact"


def test_a_server_that_is_busy_while_the_gallery_grows_does_not_change_the_method(
    database: Database, random_people: NDArray[np.float32], busy_server: BusyServer
) -> None:
    fit_search(database, "auto", TARGET)
    busy_server.quiet_after(ALL_SCANS)
    for seed in (50, 60):  # each load is so large that the method is chosen again
        users = np.tile(np.arange(1, PEOPLE + 1), 3)
        photos = np.concatenate([photos_of(random_people, seed + number) for number in range(3)])
        load_embeddings(database, users, photos, latency_target=TARGET)
    state = read_search_state(database)
    assert (state.method, state.due, state.embeddings) == ("exact", False, 9 * PEOPLE)
    assert state.scan_ms is not None
    assert state.scan_ms < TARGET * 1e3  # the time on a quiet server
    # An explicit fit trusts its own measurement, because the gallery may have moved to a slower server.
    assert fit_search(database, "auto", TARGET).method == "hnsw"


def test_methods_that_cannot_be_fitted_are_refused(database: Database) -> None:
    unknown = says.UNKNOWN_SEARCH_METHOD.pattern(method="faiss", methods="auto, exact, hnsw")
    with pytest.raises(GalleryError, match=unknown):
        fit_search(database, "faiss", SCAN)  # type: ignore[arg-type]
    with pytest.raises(GalleryError, match=says.EMPTY_GALLERY_CANNOT_BE_FITTED.pattern(method="hnsw")):
        fit_search(database, "hnsw", SCAN)
    assert read_search_state(database).method == "exact"


@pytest.mark.usefixtures("random_people")
def test_every_method_uses_its_own_index_while_another_exists(database: Database, connection: Connection) -> None:
    fit_search(database, "ivfflat", SCAN)
    connection.execute(
        "CREATE INDEX idx_user_templates_hnsw ON user_templates USING hnsw (template halfvec_cosine_ops)"
    )
    connection.execute("SET enable_seqscan = off")
    scans = "SELECT pg_stat_get_numscans(%s::regclass)"
    for method in ("hnsw", "ivfflat"):
        index = f"idx_user_templates_{method}"
        ((before,),) = rows(connection, scans, index)
        for number in range(3):
            rows(connection, "SELECT users_by_index(%s, %s, 10, 1)", axis(number), method)
        connection.execute("SELECT pg_stat_force_next_flush()")
        assert rows(connection, scans, index) == [(before + 3,)]


@pytest.mark.usefixtures("random_people")
def test_the_lists_follow_the_present_size_of_the_gallery(database: Database, connection: Connection) -> None:
    lists = "SELECT reloptions, relfilenode FROM pg_class WHERE oid = 'idx_user_templates_ivfflat'::regclass"
    fit_search(database, "ivfflat", SCAN)
    ((options, file),) = rows(connection, lists)
    assert options == ["lists=20"]
    newcomers = np.random.default_rng(5).standard_normal((500, 512))
    copy_embeddings(connection, enroll_users(connection, 500), newcomers)
    fit_search(database, "ivfflat", SCAN)
    ((options, other_file),) = rows(connection, lists)
    assert options == ["lists=30"]
    assert other_file != file


@pytest.mark.usefixtures("random_people")
def test_a_large_load_builds_the_index_again(database: Database, connection: Connection) -> None:
    before = fit_search(database, "hnsw", SCAN)
    newcomers = photos_of(np.random.default_rng(5).standard_normal((1_000, 512)).astype(np.float32), 6)
    user_ids = enroll_users(connection, 1_000)
    load_embeddings(database, user_ids, newcomers, latency_target=SCAN)
    after = read_search_state(database)
    assert (after.method, after.suspended, after.stale_users, after.due) == ("hnsw", False, 0, False)
    assert after.chosen_at != before.chosen_at
    assert after.embeddings == before.embeddings + 1_000
    assert rows(connection, "SELECT to_regclass('idx_user_templates_hnsw') IS NOT NULL") == [(True,)]
    assert found(connection, text(newcomers[7]))[0][0] == user_ids[7]


@pytest.mark.usefixtures("random_people")
def test_a_large_load_that_fails_leaves_the_search_as_it_was(database: Database, connection: Connection) -> None:
    before = fit_search(database, "hnsw", SCAN)
    embeddings = np.random.default_rng(5).standard_normal((1_000, 512))
    with pytest.raises(UnknownUserError):
        load_embeddings(database, np.full(1_000, 987_654), embeddings, latency_target=SCAN)
    after = read_search_state(database)
    assert (after.method, after.suspended, after.embeddings) == ("hnsw", False, before.embeddings)
    assert rows(connection, "SELECT to_regclass('idx_user_templates_hnsw') IS NOT NULL") == [(True,)]


@pytest.mark.usefixtures("random_people")
def test_a_load_whose_search_cannot_be_fitted_reports_that_it_is_loaded(
    database: Database, connection: Connection
) -> None:
    connection.execute("ALTER TABLE gallery_search ADD CHECK (method = 'exact')")
    user_ids = enroll_users(connection, 1_000)
    newcomers = np.random.default_rng(5).standard_normal((1_000, 512))
    with pytest.raises(IndexNotBuiltError, match=says_of_databases.LOADED_WITHOUT_INDEX.pattern()):
        load_embeddings(database, user_ids, newcomers, latency_target=1e-9)
    assert found(connection, text(newcomers[7])) == [(user_ids[7], 1)]


def test_agreement_after_a_third_of_the_gallery_was_replaced(
    database: Database, connection: Connection, random_people: NDArray[np.float32]
) -> None:
    before = fit_search(database, "hnsw", SCAN)
    connection.execute("DELETE FROM users WHERE id <= %s", (PEOPLE // 3,))
    newcomers = np.random.default_rng(5).standard_normal((PEOPLE, 512)).astype(np.float32)
    user_ids = enroll_users(connection, PEOPLE)
    for seed in (6, 7):
        load_embeddings(database, user_ids, photos_of(newcomers, seed), latency_target=SCAN)
    connection.execute("SELECT pg_stat_force_next_flush()")
    assert read_search_state(database).due
    with database.autocommit() as other, vector_index_lock(other):
        fit_search_if_due(other, 1e-9)
    after = read_search_state(database)
    assert (after.method, after.due, after.stale_users) == ("hnsw", False, 0)
    assert after.chosen_at != before.chosen_at
    assert after.agreement is not None
    assert after.agreement >= 0.99
    for probe in photos_of(random_people, 99)[:20]:  # of deleted users
        assert found(connection, text(probe)) == []
    for probe in photos_of(newcomers, 99)[:20]:
        assert found(connection, text(probe)) == found(connection, text(probe), 1, "find_similar_faces_exactly") != []


@pytest.mark.usefixtures("random_people")
def test_a_large_gallery_has_no_unused_index(database: Database, connection: Connection) -> None:
    there = "SELECT amname FROM pg_class JOIN pg_am ON pg_am.oid = relam WHERE pg_class.oid = to_regclass(%s)"
    fit_search(database, "hnsw", SCAN)
    assert rows(connection, there, "idx_embeddings_vector") == []
    fit_search(database, "exact", SCAN)
    assert rows(connection, there, "idx_embeddings_vector") == [("hnsw",)]
    connection.execute("DROP INDEX idx_embeddings_vector")
    connection.execute(
        "CREATE INDEX idx_embeddings_vector ON face_embeddings USING ivfflat (embedding vector_cosine_ops) "
        "WITH (lists = 2)"
    )
    fit_search(database, "hnsw", SCAN)
    assert rows(connection, there, "idx_embeddings_vector") == [("ivfflat",)]


def test_a_gallery_that_stays_open_fits_itself(
    settings: Settings, connection: Connection, random_people: NDArray[np.float32]
) -> None:
    connection.execute("SELECT pg_stat_force_next_flush()")
    probes = photos_of(random_people, 99)[:3]
    exactly = [found(connection, text(probe), 1, "find_similar_faces_exactly") for probe in probes]
    with Gallery.open(settings.model_copy(update={"search_latency_target": 1e-9})) as gallery:
        gallery.enroll_embedding(np.eye(1, 512, 7)[0], 1)

        def fitted() -> bool:
            assert [found(connection, text(probe)) for probe in probes] == exactly  # during the fit
            return gallery.search_state().method != "exact"

        wait_until(fitted)
        assert [found(connection, text(probe)) for probe in probes] == exactly
        gallery.enroll_embedding(np.eye(1, 512, 8)[0], 2)
        assert found(connection, axis(8)) == [(2, 1)]
        wait_until(lambda: gallery.search_state().stale_users == 0)
        assert found(connection, axis(8)) == [(2, 1)]


@pytest.mark.usefixtures("random_people")
def test_closing_a_gallery_cancels_a_fit(settings: Settings, database: Database, connection: Connection) -> None:
    connection.execute("SELECT pg_stat_force_next_flush()")
    with database.transaction() as other:
        # The concurrent build of an index waits for transactions that have written to the table.
        other.execute("LOCK TABLE user_templates IN ROW EXCLUSIVE MODE")
        with Gallery.open(settings.model_copy(update={"search_latency_target": 1e-9})) as gallery:
            gallery.enroll_embedding(np.eye(1, 512, 7)[0], 1)
            wait_until(lambda: gallery.search_state().fitting)
            building = "SELECT FROM pg_locks WHERE NOT granted AND relation = to_regclass('user_templates')"
            waiting = f"SELECT EXISTS ({building}) OR EXISTS (SELECT FROM pg_stat_progress_create_index)"
            wait_until(lambda: rows(connection, waiting) == [(True,)])
    state = read_search_state(database)
    assert (state.method, state.fitting) == ("exact", False)
    assert found(connection, axis(7)) == [(1, 1)]
