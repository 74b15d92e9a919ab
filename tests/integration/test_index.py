"""`pgface index`: the status of the indexes, building them while others use the gallery, and checking them."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray
from psycopg import Connection, sql
from psycopg.generators import execute
from psycopg.pq.abc import PGconn

from pgface.database.pool import Database, initialise
from pgface.errors import GalleryError, IndexNotBuiltError
from pgface.gallery.bulk import load_embeddings
from pgface.search.fit import fit_search
from pgface.search.vector_index import build, definition
from pgface.search.vector_index.advice import advise_indexes
from pgface.search.vector_index.build import WAITING, build_index
from pgface.search.vector_index.check import check_index
from pgface.search.vector_index.lifecycle import NEW_NAME, OLD_NAME, vector_index_lock
from pgface.search.vector_index.progress import Progress
from pgface.search.vector_index.status import IndexStatus, read_index_status
from pgface.settings import Settings
from support.commands import Run, environment_of, runner, without_settings
from support.databases import create_database, drop_database
from support.galleries import add_embedding, add_user, axis, enroll_synthetic, rows
from support.searched_gallery import SCAN, wait_until
from support.sentences import search as says

pytestmark = pytest.mark.slow

NAME = "idx_embeddings_vector"
PEOPLE = 400
NAMES = (
    "SELECT indexname FROM pg_indexes "
    "WHERE schemaname = current_schema() AND indexname ~ 'embeddings_vector' ORDER BY 1"
)
NEAREST = "SELECT id FROM face_embeddings ORDER BY embedding <=> %s LIMIT 1"


@pytest.fixture
def sql_user(settings: Settings, database: Database) -> Iterator[Connection]:
    """A connection with plain SQL, without autovacuum."""
    with connected(settings, database) as connection:
        connection.execute("ALTER TABLE face_embeddings SET (autovacuum_enabled = off)")
        connection.execute("UPDATE gallery SET verify_threshold = 0.3, identify_threshold = 0.4")
        yield connection


@contextmanager
def connected(settings: Settings, database: Database) -> Iterator[Connection]:
    with psycopg.connect(database.url, autocommit=True) as connection:
        path = sql.SQL("SET search_path = {}, public").format(sql.Identifier(settings.schema_name))
        connection.execute(path)
        yield connection


@pytest.fixture
def people(sql_user: Connection) -> NDArray[np.float32]:
    """Synthetic people in a gallery without an index. They are loaded faster without it."""
    sql_user.execute(f"DROP INDEX {NAME}")
    embeddings = enroll_synthetic(sql_user, PEOPLE)
    sql_user.execute("SELECT pg_stat_force_next_flush()")
    return embeddings


def advised(status: IndexStatus) -> list[str]:
    return [advice.command for advice in advise_indexes(status)]


# Status


def test_the_status_of_a_new_gallery(database: Database) -> None:
    status = read_index_status(database)
    assert status.index is not None
    assert (status.index.method, status.index.options) == ("hnsw", {"m": 16, "ef_construction": 64})
    assert (status.index.valid, status.index.building, status.index.rows_at_build) == (True, False, None)
    assert (status.table.rows, status.wanted, status.ef_search, status.probes) == (0, True, 40, 1)
    assert (status.leftovers, status.others, status.under_way, status.search_index) == ((), (), (), None)
    assert status.plan.index == NAME
    assert advised(status) == []
    assert json.loads(json.dumps(status.to_json()))["search"]["method"] == "exact"


@pytest.mark.usefixtures("people")
def test_init_builds_a_missing_index(database: Database) -> None:
    status = read_index_status(database)
    assert status.index is None
    assert (status.plan.index, status.plan.possible_index) == (None, None)
    assert "pgface init" in advised(status)
    fit_search(database, "exact", SCAN)
    status = read_index_status(database)
    assert status.index is not None
    assert status.index.rows_at_build == 5 * PEOPLE
    assert "pgface init" not in advised(status)


def test_an_index_of_another_distance_is_of_no_use(database: Database, sql_user: Connection) -> None:
    sql_user.execute(f"DROP INDEX {NAME}")
    sql_user.execute(f"CREATE INDEX {NAME} ON face_embeddings USING hnsw (embedding vector_l2_ops)")
    status = read_index_status(database)
    assert (status.index and status.index.operator_class, status.plan.possible_index) == ("vector_l2_ops", None)
    (advice,) = advise_indexes(status)
    assert says.OTHER_DISTANCE.format(operators="vector_l2_ops") in advice.sentence
    build_index(database, "hnsw")
    assert advised(read_index_status(database)) == []


def test_an_incomplete_index_is_reported_with_its_remedy(database: Database, sql_user: Connection) -> None:
    sql_user.execute('CREATE INDEX "odd ""one" ON face_embeddings USING hnsw (embedding vector_ip_ops)')
    sql_user.execute(f"CREATE INDEX {NEW_NAME} ON face_embeddings USING hnsw (embedding vector_cosine_ops)")
    invalid = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass"
    for name in (NAME, '"odd ""one"'):
        sql_user.execute(invalid, (name,))
    status = read_index_status(database)
    assert {left.name for left in status.leftovers} == {'odd "one', NEW_NAME}
    assert (status.index and status.index.valid) is False
    first, second, third = advised(status)
    assert {first, second} == {"pgface init", f'DROP INDEX CONCURRENTLY {drop_target(sql_user)}."odd ""one";'}
    assert third == "pgface index build --method hnsw"
    sql_user.execute(first if first.startswith("DROP") else second)  # the printed command
    fit_search(database, "exact", SCAN)  # as `pgface init` does
    assert advised(read_index_status(database)) == []
    assert rows(sql_user, NAMES) == [(NAME,)]


def drop_target(connection: Connection) -> str:
    ((schema,),) = rows(connection, "SELECT quote_ident(current_schema())")
    return str(schema)


@pytest.mark.usefixtures("people")
def test_dead_rows_and_old_statistics_are_reported_with_their_remedy(database: Database, sql_user: Connection) -> None:
    build_index(database, "hnsw")
    table = f"{drop_target(sql_user)}.face_embeddings"
    sql_user.execute("SELECT pg_stat_force_next_flush()")
    assert advised(read_index_status(database))[-1] == f"ANALYZE {table};"
    sql_user.execute("DELETE FROM face_embeddings WHERE id % 3 > 0")
    sql_user.execute("SELECT pg_stat_force_next_flush()")
    command = advised(read_index_status(database))[-1]
    assert command == f"VACUUM (ANALYZE) {table};"
    sql_user.execute(command)
    status = read_index_status(database)
    assert (status.table.dead_rows, status.table.changed_rows) == (0, 0)
    assert status.table.last_vacuum is not None
    assert not any(table in one for one in advised(status))


@pytest.mark.usefixtures("people")
def test_the_index_of_identification_is_reported_separately(database: Database, sql_user: Connection) -> None:
    sql_user.execute("SELECT pg_stat_force_next_flush()")
    assert "pgface fit-search" in advised(read_index_status(database))  # the gallery was empty before
    fit_search(database, "hnsw", SCAN)
    status = read_index_status(database)
    assert status.index is None
    assert status.search_index is not None
    assert (status.search_index.name, status.search.method) == ("idx_user_templates_hnsw", "hnsw")
    assert status.search_bytes > status.search_index.bytes > 0
    assert [command for command in advised(status) if command.startswith("pgface")] == []  # no other index is needed
    sql_user.execute("DROP INDEX idx_user_templates_hnsw")
    assert "pgface fit-search" in advised(read_index_status(database))
    sql_user.execute("UPDATE gallery_search SET changes = changes + 5")  # as if nothing had changed since
    fit_search(database, "hnsw", SCAN)
    sql_user.execute("INSERT INTO stale_templates (user_id) SELECT generate_series(1, 1000)")
    (advice,) = [advice for advice in advise_indexes(read_index_status(database)) if "pgface" in advice.command]
    assert advice.sentence.startswith(says.USERS_WAIT_FOR_TEMPLATES.format(users=1000))


def test_lists_that_were_learned_from_too_few_embeddings_are_detected(database: Database, sql_user: Connection) -> None:
    sql_user.execute(f"DROP INDEX {NAME}")
    enroll_synthetic(sql_user, 20)
    by_hand = f"CREATE INDEX {NAME} ON face_embeddings USING ivfflat (embedding vector_cosine_ops) WITH (lists = 100)"
    sql_user.execute(by_hand)
    enroll_synthetic(sql_user, 4_000, first=20)
    status = read_index_status(database)
    assert status.index is not None
    assert (status.index.method, status.index.options, status.index.rows_at_build) == ("ivfflat", {"lists": 100}, None)
    assert status.ivfflat_trial is not None
    assert status.ivfflat_trial.missed > status.ivfflat_trial.probes_tried / 3
    found = [advice for advice in advise_indexes(status) if advice.command == "pgface index build --method ivfflat"]
    assert says.LISTS_BUILT_ON_TOO_LITTLE in found[0].sentence

    built = build_index(database, "ivfflat")
    assert (built.lists, built.rows) == (100, 20_100)
    status = read_index_status(database)
    assert status.index is not None
    assert status.index.rows_at_build == 20_100
    assert status.ivfflat_trial is not None
    assert status.ivfflat_trial.missed < status.ivfflat_trial.probes_tried / 3
    assert "pgface index build --method ivfflat" not in advised(status)
    assert "SET ivfflat.probes = 10;" in advised(status)
    few, more = (check_index(database, probes=60, effort=effort).index for effort in (1, 30))
    assert (few.method, few.effort, more.effort) == ("ivfflat", 1, 30)
    assert few.rank_1 is not None
    assert more.rank_1 is not None
    assert few.recall is not None
    assert more.recall is not None
    assert few.rank_1.share < more.rank_1.share  # their intervals may overlap
    assert few.recall.high < more.recall.low

    # The gallery has doubled, or the number of lists is far from the rule.
    sql_user.execute(f"COMMENT ON INDEX {NAME} IS 'pgface: built on 10000 rows'")
    found = [advice for advice in advise_indexes(read_index_status(database)) if "build" in advice.command]
    assert says.LISTS_LEARNED_FROM_FEWER.format(before=10_000, now=20_100) in found[0].sentence
    build_index(database, "ivfflat", lists=20)
    found = [advice for advice in advise_indexes(read_index_status(database)) if "build" in advice.command]
    assert says.LISTS_FAR_FROM_RULE.format(lists=20, embeddings=20_100, advised=100) in found[0].sentence


def test_lists_of_an_empty_gallery(database: Database, sql_user: Connection) -> None:
    sql_user.execute(f"DROP INDEX {NAME}")
    sql_user.execute(f"CREATE INDEX {NAME} ON face_embeddings USING ivfflat (embedding vector_cosine_ops)")
    (advice,) = advise_indexes(read_index_status(database))
    assert advice.sentence == says.TOO_FEW_FOR_LISTS.format(embeddings=0, lists=100)
    assert advice.command == "pgface index build --method hnsw"


# Build


def test_queries_always_find_an_index_during_a_build(
    settings: Settings, database: Database, people: NDArray[np.float32]
) -> None:
    build_index(database, "hnsw", m=4)
    ended, seen = threading.Event(), []

    def look() -> None:
        with connected(settings, database) as other:
            while not ended.is_set():
                names = [name for (name,) in rows(other, NAMES)]
                plan = str(rows(other, f"EXPLAIN {NEAREST}", str(people[0].tolist())))
                seen.append((NAME in names, "Index Scan using idx_embeddings_vector" in plan))

    thread = threading.Thread(target=look)
    thread.start()
    built = [
        build_index(database, "ivfflat", lists=30),
        build_index(database, "hnsw", m=8, ef_construction=32),
        build_index(database, "hnsw"),
    ]
    ended.set()
    thread.join()
    assert len(seen) > 20
    assert set(seen) == {(True, True)}
    assert [(one.method, one.m, one.ef_construction, one.lists) for one in built] == [
        ("ivfflat", None, None, 30),
        ("hnsw", 8, 32, None),
        ("hnsw", 16, 64, None),
    ]
    assert all(one.rows == 5 * PEOPLE and one.bytes > 0 and not one.old_left for one in built)
    status = read_index_status(database)
    assert status.index is not None
    assert (status.index.options, status.index.valid) == ({"m": 16, "ef_construction": 64}, True)
    assert (status.leftovers, status.others) == ((), ())


def test_an_embedding_that_is_enrolled_during_a_build_is_in_the_index(
    settings: Settings, database: Database, sql_user: Connection, people: NDArray[np.float32]
) -> None:
    added: list[int] = []

    def enroll_one(_: Progress) -> None:
        with connected(settings, database) as other:
            added.append(add_embedding(other, 1, axis(100 + len(added))))

    build_index(database, "hnsw", on_progress=enroll_one)
    assert added
    sql_user.execute("SET enable_seqscan = off")
    assert [rows(sql_user, NEAREST, axis(100 + number)) for number in range(len(added))] == [[(id_,)] for id_ in added]
    assert f"using {NAME}" in str(rows(sql_user, f"EXPLAIN {NEAREST}", str(people[0].tolist())))


@pytest.mark.usefixtures("people")
def test_progress_comes_from_postgresql(database: Database) -> None:
    seen: list[Progress] = []
    build_index(database, "hnsw", ef_construction=200, on_progress=seen.append)
    assert any(progress.phase.startswith("building index") for progress in seen)
    shares = [progress.share for progress in seen if progress.share is not None]
    assert shares
    assert all(0 <= share <= 1 for share in shares)
    assert Progress("initializing").share is None


def test_exact_drops_the_index_until_it_is_built_again(
    database: Database, sql_user: Connection, people: NDArray[np.float32]
) -> None:
    build_index(database, "hnsw")
    assert build_index(database, "exact").method == "exact"
    assert rows(sql_user, NAMES) == []
    fit_search(database, "exact", SCAN)
    load_embeddings(database, [1] * 1_500, people[:1_500], latency_target=SCAN)
    assert rows(sql_user, NAMES) == []
    status = read_index_status(database)
    assert not status.wanted
    assert "pgface init" not in advised(status)
    build_index(database, "ivfflat")
    fit_search(database, "exact", SCAN)
    assert read_index_status(database).wanted
    assert rows(sql_user, NAMES) == [(NAME,)]


@pytest.mark.usefixtures("people")
def test_a_chosen_index_stays_with_every_search_method(database: Database) -> None:
    build_index(database, "hnsw")
    fit_search(database, "hnsw", SCAN)
    status = read_index_status(database)
    assert status.index is not None
    assert status.index.options == {"m": 16, "ef_construction": 64}
    assert status.search_index is not None


def test_a_large_load_builds_the_chosen_index_again(database: Database, people: NDArray[np.float32]) -> None:
    build_index(database, "ivfflat", lists=40)
    load_embeddings(database, [1] * 1_500, people[:1_500], latency_target=SCAN)
    status = read_index_status(database)
    assert status.index is not None
    assert (status.index.options, status.index.rows_at_build) == ({"lists": 40}, 5 * PEOPLE + 1_500)


@pytest.mark.usefixtures("people")
def test_a_build_waits_for_another_session_that_builds(database: Database) -> None:
    seen: list[Progress] = []
    with database.dedicated_connection() as other:
        with vector_index_lock(other):
            thread = threading.Thread(target=build_index, args=(database, "hnsw"), kwargs={"on_progress": seen.append})
            thread.start()
            wait_until(lambda: bool(seen))
            assert read_index_status(database).index is None
        thread.join()
    assert seen[0] == Progress(WAITING)
    assert read_index_status(database).index is not None


def test_galleries_of_one_database_leave_each_others_indexes_alone(settings: Settings) -> None:
    # PostgreSQL also searches public, where pgvector is, for names that are not in the gallery's schema.
    first, second = (settings.model_copy(update={"schema_name": name}) for name in ("public", "second"))
    for one in (first, second):
        initialise(one)
    with Database.open(first) as database, Database.open(second) as other, connected(second, other) as connection:
        connection.execute(
            "CREATE INDEX idx_user_templates_hnsw ON public.user_templates USING hnsw (template halfvec_cosine_ops)"
        )
        there = "SELECT indexname FROM pg_indexes WHERE schemaname = %s AND indexname ~ 'vector|hnsw' ORDER BY 1"
        before = rows(connection, there, "public")
        assert before == [(NAME,), ("idx_user_templates_hnsw",)]
        build_index(other, "exact")
        fit_search(other, "exact", SCAN)
        user = add_user(connection, "a@example.org")
        embeddings = np.random.default_rng(1).standard_normal((1_500, 512))
        load_embeddings(other, [user] * 1_500, embeddings, latency_target=SCAN)
        assert rows(connection, there, "public") == before
        assert rows(connection, there, "second") == []
        assert read_index_status(other).index is None
        assert read_index_status(database).index is not None


# Memory


@pytest.mark.usefixtures("people")
def test_ivfflat_that_needs_more_memory_than_it_may_use_is_refused_with_the_setting(database: Database) -> None:
    too_little = says.IVFFLAT_NEEDS_MORE_MEMORY.pattern(lists=100, memory="8MB")
    with pytest.raises(IndexNotBuiltError, match=too_little) as refused:
        build_index(database, "ivfflat", memory=8 * 1024**2)
    (asked_for,) = re.findall(r"set `memory` to (\d+)MB", str(refused.value))
    built = build_index(database, "ivfflat", memory=int(asked_for) * 1024**2)
    assert built.memory is not None
    assert built.memory.given <= int(asked_for) * 1024**2


@pytest.mark.usefixtures("people")
def test_a_refusal_of_pgvector_is_reported_and_leaves_nothing(
    database: Database, sql_user: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_index(database, "hnsw")
    monkeypatch.setattr(definition, "_ivfflat_memory", lambda *_: 1)  # as if another version needed more
    needs, old_is_there = says.PGVECTOR_NEEDS_MORE_MEMORY.pattern(), says.OLD_INDEX_IS_THERE.pattern()
    with pytest.raises(IndexNotBuiltError, match=rf"{needs} \(memory required is \d+ MB.*{old_is_there}"):
        build_index(database, "ivfflat", memory=4 * 1024**2)
    assert rows(sql_user, NAMES) == [(NAME,)]
    assert read_index_status(database).index is not None


@pytest.mark.usefixtures("people")
def test_a_build_raises_a_memory_setting_that_is_too_low(database: Database, sql_user: Connection) -> None:
    ((name,),) = rows(sql_user, "SELECT quote_ident(current_database())")
    sql_user.execute(f"ALTER DATABASE {name} SET maintenance_work_mem = '1MB'")
    built = build_index(database, "hnsw")
    assert built.outgrown_after is None
    assert built.memory is not None
    assert built.memory.given == built.memory.needed > 1024**2
    slow = build_index(database, "hnsw", memory=4 * 1024**2)
    assert slow.outgrown_after is not None
    assert 1_000 < slow.outgrown_after < 5 * PEOPLE


# Interrupted builds


def end_when_building(database: Database, function: str) -> Callable[[Progress], None]:
    """Return a function that ends a running build on the server."""
    done = threading.Event()

    def end(progress: Progress) -> None:
        if progress.phase.startswith("building index") and not done.is_set():
            done.set()
            with psycopg.connect(database.url, autocommit=True) as connection:
                connection.execute(f"SELECT {function}(pid) FROM pg_stat_progress_create_index")

    return end


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("pg_cancel_backend", says.BUILD_ENDED_ON_SERVER.pattern()),
        ("pg_terminate_backend", f"{says.BUILD_ENDED_ON_SERVER.pattern()}|{says.BUILD_LOST_CONNECTION.pattern()}"),
    ],
)
def test_a_build_that_is_ended_on_the_server_leaves_nothing(
    database: Database, sql_user: Connection, function: str, reason: str
) -> None:
    build_index(database, "hnsw", m=4)
    with pytest.raises(IndexNotBuiltError, match=f"({reason}).*{says.OLD_INDEX_IS_THERE.pattern()}$"):
        build_index(database, "hnsw", m=32, ef_construction=400, on_progress=end_when_building(database, function))
    assert rows(sql_user, NAMES) == [(NAME,)]
    status = read_index_status(database)
    assert status.index is not None
    assert (status.index.m, status.index.valid) == (4, True)
    assert not status.search.fitting


@pytest.mark.usefixtures("people")
def test_an_unfinished_index_that_is_in_use_is_dropped_later(
    settings: Settings, database: Database, sql_user: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_CLEAN_UP_SECONDS", 0.3)
    with connected(settings, database) as writer, writer.transaction():
        writer.execute("LOCK TABLE face_embeddings IN ROW EXCLUSIVE MODE")  # like an open write

        def cancel(progress: Progress) -> None:
            if progress.waits_for == writer.info.backend_pid:
                sql_user.execute("SELECT pg_cancel_backend(pid) FROM pg_stat_progress_create_index")

        ended = says.BUILD_ENDED_ON_SERVER.pattern()
        dropped_later = says.UNFINISHED_INDEX_IS_DROPPED_LATER.pattern(index=NEW_NAME)
        with pytest.raises(IndexNotBuiltError, match=f"{ended}.*{dropped_later}"):
            build_index(database, "hnsw", on_progress=cancel)
    status = read_index_status(database)
    assert [(left.name, left.valid) for left in status.leftovers] == [(NEW_NAME, False)]
    assert "pgface init" in advised(status)
    build_index(database, "hnsw")
    assert rows(sql_user, NAMES) == [(NAME,)]


@pytest.mark.usefixtures("people")
def test_an_old_index_that_is_in_use_is_dropped_later(
    settings: Settings, database: Database, sql_user: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_index(database, "hnsw", m=4)
    monkeypatch.setattr(build, "_DROP_TIMEOUT", "300ms")
    with connected(settings, database) as reader, reader.transaction():

        def read(progress: Progress) -> None:
            if progress.phase.startswith("building index"):
                reader.execute("LOCK TABLE face_embeddings IN ACCESS SHARE MODE")

        assert build_index(database, "hnsw", ef_construction=200, on_progress=read).old_left
    status = read_index_status(database)
    assert [left.name for left in status.leftovers] == [OLD_NAME]
    assert status.index is not None
    assert status.index.ef_construction == 200
    fit_search(database, "exact", SCAN)
    assert rows(sql_user, NAMES) == [(NAME,)]


def test_on_the_oldest_postgresql(postgres16: str, tmp_path: Path) -> None:
    url = create_database(postgres16)
    settings = Settings.model_validate({"database_url": url, "data_dir": tmp_path})
    initialise(settings)
    with Database.open(settings) as database, connected(settings, database) as connection:
        enroll_synthetic(connection, 30)
        assert build_index(database, "ivfflat", lists=10).lists == 10
        assert read_index_status(database).index is not None
        assert check_index(database).probes > 0
    drop_database(postgres16, url)


# The commands


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    return environment_of(settings) | {"COLUMNS": "300"}


@pytest.fixture
def pgface(environment: dict[str, str]) -> Run:
    return runner(environment)


@contextmanager
def building(environment: dict[str, str], connection: Connection) -> Iterator[subprocess.Popen[str]]:
    """Run `pgface index build` in a separate process, and wait until PostgreSQL builds the index."""
    command = [
        sys.executable,
        "-m",
        "pgface",
        "index",
        "build",
        "--method",
        "hnsw",
        "--m",
        "48",
        "--ef-construction",
        "1000",
    ]
    with subprocess.Popen(
        command, env=without_settings() | environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_until(
                lambda: rows(connection, "SELECT FROM pg_stat_progress_create_index WHERE phase ~ 'loading'") != []
            )
            yield process
        finally:
            process.kill()


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_the_old_index(
    database: Database, sql_user: Connection, environment: dict[str, str], number: int
) -> None:
    build_index(database, "hnsw", m=4)
    with building(environment, sql_user) as process:
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, f"{says.BUILD_INTERRUPTED}\n")
    assert rows(sql_user, NAMES) == [(NAME,)]
    status = read_index_status(database)
    assert (status.index and status.index.m, status.search.fitting, status.under_way) == (4, False, ())


@pytest.mark.usefixtures("people")
def test_ctrl_c_while_an_answer_is_read_leaves_the_old_index(
    database: Database, sql_user: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python may raise it in psycopg's generator, which ends then. Usually it is raised between two steps of it."""
    build_index(database, "hnsw", m=4)

    def interrupted(connection: PGconn) -> Iterator[Any]:
        yield next(execute(connection))
        raise KeyboardInterrupt

    @contextmanager
    def at_the_build(*_: object) -> Iterator[None]:
        with patch("psycopg._cursor_base.execute", interrupted):
            yield

    monkeypatch.setattr(build, "watched", at_the_build)
    with pytest.raises(KeyboardInterrupt):
        build_index(database, "hnsw")
    assert rows(sql_user, NAMES) == [(NAME,)]
    status = read_index_status(database)
    assert (status.index and status.index.m, status.search.fitting, status.under_way) == (4, False, ())


@pytest.mark.usefixtures("people")
def test_the_index_that_a_killed_program_leaves_is_reported_and_dropped(
    database: Database, sql_user: Connection, environment: dict[str, str], pgface: Run
) -> None:
    build_index(database, "hnsw", m=4)
    with building(environment, sql_user) as process:
        process.kill()
        process.wait()
        assert says.BEING_BUILT in pgface("index", "status").stdout
    # PostgreSQL checks every 5 seconds whether its client is still connected.
    wait_until(lambda: not read_index_status(database).search.fitting)
    status = read_index_status(database)
    assert [left.name for left in status.leftovers] == [NEW_NAME]
    assert (status.index and status.index.m) == 4
    assert says.LEFT_FROM_A_BUILD.format(index=NEW_NAME) in pgface("index", "status").stdout
    pgface("index", "build", "--method", "hnsw")
    assert rows(sql_user, NAMES) == [(NAME,)]


@pytest.mark.usefixtures("people")
def test_the_commands(pgface: Run, database: Database) -> None:
    ivfflat = ("--method", "ivfflat", "--lists", 20, "--memory", "1GB")
    built = json.loads(pgface("index", "build", *ivfflat, "--json").stdout)
    assert (built["method"], built["lists"], built["rows"]) == ("ivfflat", 20, 5 * PEOPLE)
    said = pgface("index", "build", "--method", "hnsw", "--memory", "2MB").stdout
    hnsw = says.HNSW_WITH.format(m=16, ef_construction=64)
    assert says.INDEX_BUILT.format(index=NAME, method=hnsw, embeddings=2_000) in said
    assert says.GRAPH_OUTGREW_MEMORY.format(memory="2.0 MB") in said
    said = pgface("index", "check", "--probes", 100, "--effort", 10).stdout
    assert says.CHECKED_WITH_EFFORT.format(method="hnsw", effort=10) in said
    assert "recall@10" in said
    fit_search(database, "hnsw", SCAN)
    said = pgface("index", "status").stdout
    assert says.SERVES_SQL_BY_DISTANCE in said
    assert hnsw in said
    assert says.PLANNER_TAKES_INDEX.format(index=NAME) in said
    assert says.SERVES_IDENTIFICATION in said
    assert says.HNSW_WITH.format(m=16, ef_construction=128) in said
    assert says.INDEX_DROPPED.format(index=NAME) in pgface("index", "build", "--method", "exact").stdout
    assert json.loads(pgface("index", "status", "--json").stdout)["advice"] == []
    assert says.NO_INDEX_AS_CHOSEN in pgface("index", "status").stdout
    checked = json.loads(pgface("index", "check", "--probes", 50, "--k", 5, "--json").stdout)
    assert (checked["count"], checked["index"]["method"], checked["identification"]["method"]) == (5, "exact", "hnsw")
    assert says.OPTIONS_OF_HNSW in pgface("index", "build", "--method", "ivfflat", "--m", 4, code=1).stderr
    assert says.SIZE_SUCH_AS in pgface("index", "build", "--method", "hnsw", "--memory", "lots", code=2).stderr


# Check


def test_an_empty_gallery_cannot_be_checked(database: Database) -> None:
    with pytest.raises(GalleryError, match=says.EMPTY_GALLERY_CANNOT_BE_MEASURED.pattern()):
        check_index(database)
    for name, value in (("probes", 0), ("count", 51), ("effort", 0)):
        out_of_range = says.NUMBER_OUT_OF_RANGE.pattern(name="...", least=1, most="...", given=value)
        with pytest.raises(GalleryError, match=out_of_range):
            check_index(database, **{name: value})  # type: ignore[arg-type]


def test_a_gallery_of_one_person_can_be_checked(database: Database, sql_user: Connection) -> None:
    enroll_synthetic(sql_user, 1, photos=1)
    found = check_index(database)
    assert (found.embeddings, found.probes, found.index.method) == (1, 1, "hnsw")
    assert (found.index.rank_1 and found.index.rank_1.share) == 1
    assert (found.index.recall and found.index.recall.share) == 1  # of one embedding


@pytest.mark.usefixtures("people")
def test_without_an_index_only_the_scan_is_checked(database: Database) -> None:
    found = check_index(database, probes=50)
    assert (found.index.method, found.index.rank_1, found.index.recall, found.index.latency) == (
        "exact",
        None,
        None,
        None,
    )
    assert found.index.exact_latency.median_ms > 0
    assert found.identification.method == "exact"
    assert found.identification.rank_1 is not None
    assert found.identification.rank_1.share == 1
    assert found.identification.rank_1.low < 1
    assert found.identification.recall is not None
    assert found.identification.recall.share == 1
    assert found.identification.recall.probes > 20  # people above the threshold


@pytest.mark.usefixtures("people")
def test_searches_that_miss_people_are_detected(database: Database, sql_user: Connection) -> None:
    build_index(database, "hnsw")
    fit_search(database, "hnsw", SCAN)
    right = check_index(database, probes=200)
    assert right.identification.method == "hnsw"
    assert right.identification.rank_1 is not None
    assert right.identification.rank_1.share > 0.97
    # Without their templates, half of the people are not proposed.
    sql_user.execute("DELETE FROM user_templates WHERE user_id % 2 = 0")
    wrong = check_index(database, probes=200)
    assert wrong.identification.rank_1 is not None
    assert wrong.identification.recall is not None
    assert wrong.identification.rank_1.high < 0.8
    assert wrong.identification.recall.high < 0.8
    assert wrong.index.rank_1 is not None
    assert wrong.index.rank_1.share > 0.9
