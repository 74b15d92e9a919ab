"""`CALL fit_search()`: SQL alone fits the search."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray
from psycopg import Connection, sql

from pgface.database.pool import Database
from pgface.gallery.bulk import copy_embeddings
from pgface.search.fit import fit_search
from pgface.search.state import read_search_state
from pgface.search.vector_index.lifecycle import vector_index_lock
from pgface.settings import Settings
from support.galleries import rows
from support.searched_gallery import INDEXED, PEOPLE, PHOTOS, SCAN, enroll_users, found, photos_of, text, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def notices(connection: Connection) -> list[str]:
    """Collects the notices of the server, which psql prints."""
    notices: list[str] = []
    connection.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    return notices


@pytest.mark.parametrize("method", [*INDEXED, "auto"])
def test_the_call_fits_the_search(
    database: Database,
    connection: Connection,
    random_people: NDArray[np.float32],
    notices: list[str],
    method: str,
) -> None:
    connection.execute("SELECT pg_stat_force_next_flush()")
    connection.execute("CALL fit_search(%s, 0)", (method,))
    state = read_search_state(database)
    used = "hnsw" if method == "auto" else method
    assert (state.choice, state.method, state.stale_users, state.due) == (method, used, 0, False)
    assert (state.fitting, state.suspended, state.embeddings) == (False, False, PEOPLE * PHOTOS)
    assert state.agreement is not None
    assert state.agreement >= 0.99
    assert state.probes is not None
    assert notices[0].startswith(f"searching {PEOPLE * PHOTOS} embeddings with {used}. An exact scan takes ")
    assert notices[1].startswith(f"agreement with the exact answer: {state.agreement:.4f} of {state.probes} probes ")
    assert rows(connection, "SELECT to_regclass('idx_embeddings_vector')") == [(None,)]
    for user_id, probe in enumerate(photos_of(random_people, 99)[:30], start=1):
        assert found(connection, text(probe)) == found(connection, text(probe), 1, "find_similar_faces_exactly")
        assert found(connection, text(probe), 5)[0][0] == user_id
    # Python and SQL can follow each other.
    assert fit_search(database, "exact", SCAN).method == "exact"


@pytest.mark.usefixtures("random_people")
def test_the_call_returns_to_the_exact_scan(database: Database, connection: Connection, notices: list[str]) -> None:
    fit_search(database, "hnsw", SCAN)
    connection.execute("CALL fit_search('auto', 100000)")
    state = read_search_state(database)
    assert (state.choice, state.method, state.agreement) == ("auto", "exact", None)
    assert notices[0].startswith(f"searching exactly: comparing a probe with all {PEOPLE * PHOTOS} embeddings takes ")
    left = rows(
        connection, "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() AND indexdef ~ 'hnsw'"
    )
    assert left == [("idx_embeddings_vector",)]


@pytest.mark.usefixtures("random_people")
def test_the_call_builds_an_index_again_only_if_that_helps(connection: Connection) -> None:
    index = "SELECT reloptions[1], relfilenode FROM pg_class WHERE oid = to_regclass(%s)"
    newcomers = np.random.default_rng(5).standard_normal((500, 512))
    before, after = {}, {}
    for method in ("ivfflat", "hnsw"):
        connection.execute("CALL fit_search(%s)", (method,))
        before[method] = rows(connection, index, f"idx_user_templates_{method}")[0]
    copy_embeddings(connection, enroll_users(connection, 500), newcomers)
    for method in ("hnsw", "ivfflat"):
        connection.execute("CALL fit_search(%s)", (method,))
        after[method] = rows(connection, index, f"idx_user_templates_{method}")[0]
    assert after["hnsw"] == before["hnsw"]
    assert (before["ivfflat"][0], after["ivfflat"][0]) == ("lists=20", "lists=30")
    names = "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() AND indexdef ~ 'USING (hnsw|ivfflat)'"
    assert rows(connection, names) == [("idx_user_templates_ivfflat",)]


@pytest.mark.usefixtures("random_people")
def test_the_call_finds_its_gallery_with_any_search_path(
    database: Database, connection: Connection, settings: Settings
) -> None:
    connection.execute("SET search_path = pg_catalog")
    procedure = sql.Identifier(settings.schema_name, "fit_search")
    connection.execute(sql.SQL("CALL {}('hnsw')").format(procedure))
    assert read_search_state(database).method == "hnsw"
    assert rows(connection, "SHOW search_path") == [("pg_catalog",)]


def test_methods_that_cannot_be_fitted_are_refused(database: Database, connection: Connection) -> None:
    for call, reason in (
        ("CALL fit_search('faiss')", "there is no search method faiss. Choose one of auto, exact, hnsw"),
        ("CALL fit_search('hnsw')", "the gallery is empty, so hnsw cannot be fitted. Enroll people first"),
    ):
        with pytest.raises(psycopg.Error, match=reason):
            connection.execute(call.encode())
        state = read_search_state(database)
        assert (state.method, state.fitting) == ("exact", False)
    connection.execute("CALL fit_search()")
    assert read_search_state(database).method == "exact"


@pytest.mark.usefixtures("random_people")
def test_a_failed_call_leaves_the_search_as_it_was(database: Database, connection: Connection) -> None:
    connection.execute("ALTER TABLE gallery_search ADD CHECK (method = 'exact')")
    with pytest.raises(psycopg.errors.CheckViolation):
        connection.execute("CALL fit_search('hnsw')")
    state = read_search_state(database)
    assert (state.method, state.fitting) == ("exact", False)
    assert rows(connection, "SELECT to_regclass('idx_user_templates_hnsw')") == [(None,)]


@pytest.mark.usefixtures("random_people")
def test_the_call_waits_for_a_fit_of_another_session(database: Database, connection: Connection) -> None:
    with ThreadPoolExecutor(1) as thread:
        with database.dedicated_connection() as other, vector_index_lock(other):
            waiting = thread.submit(connection.execute, "CALL fit_search('hnsw')")
            with pytest.raises(TimeoutError):
                waiting.result(0.5)
            assert read_search_state(database).method == "exact"
        waiting.result(60)
    assert read_search_state(database).method == "hnsw"


@pytest.mark.usefixtures("random_people")
def test_a_cancelled_call_releases_its_lock(database: Database, connection: Connection) -> None:
    with database.transaction() as other, ThreadPoolExecutor(1) as thread:
        other.execute("LOCK TABLE user_templates IN ROW EXCLUSIVE MODE")  # so that the build of the index waits
        fitting = thread.submit(connection.execute, "CALL fit_search('hnsw')")
        building = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = to_regclass('user_templates'))"
        wait_until(lambda: rows(other, building) == [(True,)])
        connection.cancel_safe()
        with pytest.raises(psycopg.errors.QueryCanceled):
            fitting.result(60)
    state = read_search_state(database)
    assert (state.method, state.fitting) == ("exact", False)


def test_only_the_owner_may_fit_the_search(connection: Connection) -> None:
    (schema,) = rows(connection, "SELECT quote_ident(current_schema())")[0]
    role = f"plain_{connection.info.backend_pid}"
    for statement in (f"CREATE ROLE {role}", f"GRANT USAGE ON SCHEMA {schema} TO {role}", f"SET ROLE {role}"):
        connection.execute(statement.encode())
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("CALL fit_search()")
    for statement in ("RESET ROLE", f"DROP OWNED BY {role}", f"DROP ROLE {role}"):
        connection.execute(statement.encode())
