"""The templates of the search: making them, and keeping them up to date."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from psycopg import Connection

from pgface.database.pool import Database
from pgface.gallery import Gallery
from pgface.gallery.bulk import copy_embeddings, load_embeddings
from pgface.search.fit import fit_search, refresh_templates
from pgface.search.state import read_search_state
from pgface.settings import Settings
from support.galleries import add_embedding, axis, rows
from support.searched_gallery import PEOPLE, PHOTOS, SCAN, enroll_users, found, photos_of, text, wait_until

pytestmark = pytest.mark.slow


def templates(connection: Connection) -> int:
    ((count,),) = rows(connection, "SELECT count(*) FROM user_templates")
    return int(count)


@pytest.mark.usefixtures("random_people")
def test_two_photos_that_differ_too_much_have_a_template_each(database: Database, connection: Connection) -> None:
    # The similarity of each photo to their mean is 0.71.
    user_ids = enroll_users(connection, 1).repeat(2)
    copy_embeddings(connection, user_ids, np.eye(2, 512, dtype=np.float32))
    fit_search(database, "hnsw", SCAN)
    ((count, nearest),) = rows(
        connection,
        "SELECT count(*), max(1 - (template <=> %s::halfvec(512))) FROM user_templates WHERE user_id = %s",
        axis(1),
        user_ids[0],
    )
    assert (count, nearest) == (2, pytest.approx(1))


@pytest.mark.usefixtures("random_people")
def test_opposite_embeddings_have_no_mean(database: Database, connection: Connection) -> None:
    user_ids = enroll_users(connection, 1).repeat(2)
    copy_embeddings(connection, user_ids, np.array([[1], [-1]], np.float32) * np.eye(1, 512, dtype=np.float32))
    fit_search(database, "hnsw", SCAN)
    drawn = rows(connection, "SELECT user_id, vector_norm(probe) FROM draw_probes(10000)")  # all of them
    assert {user_id for user_id, _ in drawn} == set(range(1, PEOPLE + 1))
    assert all(norm == pytest.approx(1) for _, norm in drawn)
    assert rows(connection, "SELECT min(l2_norm(template)) > 0.99 FROM user_templates") == [(True,)]
    assert found(connection, axis(0)) == found(connection, axis(0, scale=-1)) == [(user_ids[0], 1)]


@pytest.mark.usefixtures("random_people")
def test_deleted_users_leave_no_stale_templates(database: Database, connection: Connection) -> None:
    fit_search(database, "hnsw", SCAN)
    connection.execute("DELETE FROM users WHERE id <= 30")
    assert rows(connection, "SELECT count(*) FROM stale_templates") == [(0,)]
    # The same applies to users without templates yet, also if templates of others are made.
    connection.execute("INSERT INTO stale_templates (user_id) SELECT generate_series(1, 31)")
    refresh_templates(database)
    assert rows(connection, "SELECT count(*) FROM stale_templates") == [(0,)]


def test_a_batch_of_templates_reads_only_its_own_users(connection: Connection) -> None:
    connection.execute(
        "INSERT INTO users (name, email, password) SELECT n, n || '@example.org', '!' FROM generate_series(1, 50000) n"
    )
    connection.execute("INSERT INTO stale_templates (user_id) SELECT id FROM users")
    connection.execute("ANALYZE users, stale_templates")

    def rows_read() -> int:
        connection.execute("SELECT pg_stat_force_next_flush()")
        found = """
            SELECT sum(seq_tup_read + idx_tup_fetch)
            FROM pg_stat_all_tables
            WHERE relid IN ('users'::regclass, 'stale_templates'::regclass)
        """
        ((number,),) = rows(connection, found)
        return int(number)

    seen = [rows_read()]
    for _ in range(7):
        assert rows(connection, "SELECT refresh_templates(100)") == [(100,)]
        seen.append(rows_read())
    assert max(after - before for before, after in pairwise(seen)) < 500  # also in the last batch
    assert rows(connection, "SELECT count(*), min(user_id) > 700 FROM stale_templates") == [(49_300, True)]


def test_rows_of_deleted_users_do_not_stay_stale(connection: Connection) -> None:
    connection.execute(
        "INSERT INTO users (name, email, password) SELECT n, n || '@example.org', '!' FROM generate_series(1, 20) n"
    )
    connection.execute("INSERT INTO stale_templates (user_id) SELECT id FROM users")
    connection.execute("DELETE FROM users WHERE id % 5 = 1")
    assert rows(connection, "SELECT refresh_templates(10)") == [(10,)]
    assert rows(connection, "SELECT array_agg(user_id) FROM stale_templates") == [([6, 11, *range(14, 21)],)]
    assert rows(connection, "SELECT refresh_templates(10)") == [(6,)]
    assert rows(connection, "SELECT count(*) FROM stale_templates") == [(0,)]


def test_an_embedding_deleted_while_templates_are_made_is_in_no_template(
    database: Database, connection: Connection, random_people: NDArray[np.float32]
) -> None:
    fit_search(database, "hnsw", SCAN)
    delete = "DELETE FROM face_embeddings WHERE id = (SELECT min(id) FROM face_embeddings WHERE user_id = 5)"
    left = "SELECT count(*) FROM user_templates WHERE user_id = 5"
    copy_embeddings(connection, np.array([5]), photos_of(random_people, 12)[4:5])
    with ThreadPoolExecutor(1) as thread:
        with database.transaction() as refreshing:
            assert rows(refreshing, "SELECT refresh_templates(10)") == [(1,)]
            deleting = thread.submit(connection.execute, delete)
            with pytest.raises(TimeoutError):  # it waits
                deleting.result(0.5)
        deleting.result(30)
    assert rows(connection, left) == [(0,)]
    with database.transaction() as other:
        other.execute(delete)
        assert rows(connection, "SELECT refresh_templates(10)") == [(0,)]
    assert rows(connection, left) == [(0,)]
    assert rows(connection, "SELECT refresh_templates(10)") == [(1,)]
    assert rows(connection, left) == [(1,)]


@pytest.mark.usefixtures("random_people")
def test_users_that_another_transaction_has_locked_are_refreshed_later(
    database: Database, connection: Connection
) -> None:
    fit_search(database, "hnsw", SCAN)
    for user_id in (5, 6):
        add_embedding(connection, user_id, axis(user_id))
    with database.transaction() as other:
        other.execute("DELETE FROM users WHERE id = 5")
        assert rows(connection, "SELECT refresh_templates()") == [(1,)]
        assert rows(connection, "SELECT DISTINCT user_id FROM stale_templates") == [(5,)]
        assert found(connection, axis(5)) == [(5, 1)]
    assert found(connection, axis(5)) == []
    assert rows(connection, "SELECT refresh_templates()") == [(0,)]


@pytest.mark.usefixtures("random_people")
def test_a_small_load_makes_its_templates_in_the_same_transaction(database: Database, connection: Connection) -> None:
    fit_search(database, "hnsw", SCAN)
    newcomers = np.eye(3, 512, dtype=np.float32)
    user_ids = enroll_users(connection, 3)
    assert load_embeddings(database, user_ids, newcomers, latency_target=SCAN) == 3
    assert templates(connection) == PEOPLE + 3
    assert read_search_state(database).stale_users == 0
    assert found(connection, text(newcomers[1])) == [(user_ids[1], 1)]


@pytest.mark.usefixtures("random_people")
def test_a_load_leaves_no_dead_rows_among_the_stale_templates(database: Database, connection: Connection) -> None:
    fit_search(database, "hnsw", SCAN)
    # pgface's own vacuum skips a table that autovacuum is working on.
    connection.execute("ALTER TABLE stale_templates SET (autovacuum_enabled = off)")
    newcomers = np.random.default_rng(5).standard_normal((200, 512))
    load_embeddings(database, enroll_users(connection, 200), newcomers, latency_target=SCAN)
    assert rows(connection, "SELECT pg_relation_size('stale_templates')") == [(0,)]


def test_a_load_of_many_is_vacuumed_and_analysed(database: Database, connection: Connection) -> None:
    connection.execute("ALTER TABLE face_embeddings SET (autovacuum_enabled = off)")
    embeddings = np.random.default_rng(5).standard_normal((1200, 512))
    load_embeddings(database, enroll_users(connection, 1200), embeddings, latency_target=SCAN)
    known = "SELECT reltuples, relallvisible = relpages FROM pg_class WHERE oid = 'face_embeddings'::regclass"
    assert rows(connection, known) == [(1200, True)]


@pytest.mark.usefixtures("random_people")
def test_statistics_contain_no_embedding(database: Database, connection: Connection) -> None:
    fit_search(database, "hnsw", SCAN)
    connection.execute("ANALYZE")
    kept = "SELECT DISTINCT attname FROM pg_stats WHERE schemaname = current_schema() AND tablename = ANY (%s)"
    columns = {name for (name,) in rows(connection, kept, ["face_embeddings", "user_templates", "template_bits"])}
    assert "user_id" in columns
    assert not columns & {"embedding", "template", "bits"}


def test_a_fit_tries_fewer_probes_and_more_templates_in_a_huge_gallery(connection: Connection) -> None:
    sizes = {1: 1, 95: 10, 9_000: 900, 1_000_000: 1_000, 5_000_000: 400, 100_000_000: 200}
    for embeddings, probes in sizes.items():
        assert rows(connection, "SELECT probes_to_measure(%s)", embeddings) == [(probes,)]
    for part in ("probes_to_measure((SELECT", "THEN ARRAY[4000] END"):
        assert rows(connection, "SELECT count(*) FROM pg_proc WHERE strpos(prosrc, %s) > 0", part) == [(1,)]


def test_probes_made_from_the_gallery_resemble_further_photos(
    database: Database, random_people: NDArray[np.float32]
) -> None:
    with database.autocommit() as connection:
        answers = """
            SELECT a.best, a.stranger
            FROM (SELECT array_agg(user_id) AS users, array_agg(probe) AS probes FROM draw_probes(%s)) d,
                exact_answers(d.users, d.probes) a
        """
        made, strangers = np.array(rows(connection, answers, 4 * PEOPLE * PHOTOS // 10)).T
        ((stored,),) = rows(connection, "SELECT array_agg(embedding ORDER BY user_id, id) FROM face_embeddings")
    enrolled = np.stack([embedding.to_numpy() for embedding in stored]).reshape(PEOPLE, PHOTOS, 512)
    further = np.einsum("pd,pnd->pn", photos_of(random_people, 99), enrolled).max(axis=1)
    assert abs(np.median(made) - np.median(further)) < 0.02
    others = photos_of(random_people, 99)[:100] @ enrolled[100:].reshape(-1, 512).T
    # Strangers are slightly more similar, because the probes are mixed from their differences.
    assert 0 <= np.median(strangers) - np.median(others.max(axis=1)) < 0.05


@pytest.mark.usefixtures("random_people")
def test_closing_a_gallery_makes_the_remaining_templates(settings: Settings, database: Database) -> None:
    fit_search(database, "hnsw", SCAN)
    with Gallery.open(settings) as gallery:
        gallery.enroll_embedding(np.eye(1, 512, 7)[0], 1)
        wait_until(lambda: gallery.search_state().stale_users == 0)
        gallery.enroll_embedding(np.eye(1, 512, 8)[0], 2)  # while the thread pauses
    assert read_search_state(database).stale_users == 0
