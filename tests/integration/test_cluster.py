"""A gallery on a cluster of Citus: efforts, statistics and events on its node, moves, and its health checks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import psycopg
import pytest
from psycopg import Connection, sql
from psycopg.conninfo import make_conninfo

from pgface.database.cluster import set_on_all_nodes
from pgface.database.pool import Database, initialise
from pgface.errors import SettingsError
from pgface.gallery.events import Event, last_event_cursor, read_events
from pgface.search.vector_index.check import check_index
from pgface.settings import Settings
from support.citus import (
    move_gallery,
    on_a_cluster,
    turned_off,
    use_transaction_numbers,
    worker_of,
    workers_of,
)
from support.doctor import finding_of, fix, settings_with, sql_on
from support.embedded_server import eventually
from support.galleries import add_embedding, add_user, rows
from support.sentences import database as says_of_databases
from support.sentences import doctor as says

pytestmark = on_a_cluster

BIOMETRIC = ("embedding", "template", "bits", "jpeg")


def url_of(settings: Settings) -> str:
    assert settings.database_url
    return settings.database_url.get_secret_value()


@contextmanager
def on_node(url: str) -> Iterator[Connection]:
    """A connection to a node of the cluster, as its administrator opens it."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET citus.override_table_visibility TO off")
        yield connection


def load(connection: Connection, people: int) -> None:
    """Enroll people with random embeddings."""
    chance = np.random.default_rng(5)
    names = [f"p{number}@example.org" for number in range(people)]
    connection.execute("INSERT INTO users (name, email, password) SELECT n, n, '!' FROM unnest(%s::text[]) n", (names,))
    users = [found for (found,) in rows(connection, "SELECT id FROM users ORDER BY id")]
    with connection.cursor() as cursor, cursor.copy("COPY face_embeddings (user_id, embedding) FROM STDIN") as copy:
        for user in users:
            copy.write_row((user, str(chance.normal(size=512).tolist())))


def test_a_name_that_citus_does_not_quote_is_refused(settings: Settings) -> None:
    with pytest.raises(SettingsError, match=says_of_databases.NAME_ON_A_CLUSTER.pattern(name="new-one")):
        initialise(settings_with(settings, PGFACE_SCHEMA="new-one"))


# Searching


def test_the_first_look_uses_its_effort_on_the_gallerys_node(connection: Connection) -> None:
    load(connection, 150)
    connection.execute("CALL fit_search('hnsw')")
    count = "SELECT cardinality(users_by_index((SELECT embedding FROM face_embeddings LIMIT 1), 'hnsw', %s, 1000))"
    with connection.transaction():
        set_on_all_nodes(connection, "enable_seqscan", "off")  # an index returns as many candidates as the effort
        assert [rows(connection, count, effort) for effort in (5, 40, 120)] == [[(5,)], [(40,)], [(120,)]]


def test_the_check_of_the_index_uses_its_effort_on_the_gallerys_node(
    database: Database, connection: Connection
) -> None:
    load(connection, 300)
    low, high = (check_index(database, probes=60, effort=effort).index for effort in (1, 300))
    assert low.method == high.method == "hnsw"
    assert low.recall is not None
    assert high.recall is not None
    assert low.recall.share < 0.2  # one candidate of ten
    assert high.recall.share > 0.9


def test_probes_are_a_sample(connection: Connection) -> None:
    load(connection, 300)
    ((drawn,),) = rows(connection, "SELECT count(*) FROM draw_probes(30)")
    assert 5 < drawn < 100


def test_the_gallerys_node_counts_its_changes(connection: Connection) -> None:
    load(connection, 30)
    assert eventually(lambda: rows(connection, "SELECT changed_embeddings()") == [(30,)])


# Privacy


def test_no_node_copies_faces_into_its_statistics(settings: Settings, connection: Connection, schema_name: str) -> None:
    load(connection, 50)
    connection.execute("CALL fit_search('hnsw')")
    for moved in (False, True):
        if moved:
            move_gallery(url_of(settings), schema_name)
        connection.execute("ANALYZE")
        for url in (url_of(settings), *workers_of(url_of(settings))):
            with on_node(url) as node:
                kept = rows(node, "SELECT tablename, attname FROM pg_stats WHERE schemaname = %s", schema_name)
                if url == worker_of(url_of(settings), schema_name):
                    assert "user_id" in {column for _, column in kept}  # of the same tables
                assert [pair for pair in kept if pair[1] in BIOMETRIC] == []


# Events


def test_events_are_complete_and_in_order_after_moves(
    settings: Settings, database: Database, connection: Connection, schema_name: str
) -> None:
    seen: list[Event] = []
    cursor = last_event_cursor(database)

    def read() -> None:
        nonlocal cursor
        page = read_events(database, after=cursor)
        seen.extend(page)
        cursor = page.next_cursor

    def wait_for(number: int) -> None:
        ends = time.monotonic() + 10
        while len(seen) < number and time.monotonic() < ends:
            read()

    expected = []
    for turn in range(3):
        # Its transaction numbers are far above or below those of the other node.
        if turn % 2 == 0:
            use_transaction_numbers(worker_of(url_of(settings), schema_name), 3000)
        expected += [add_user(connection, f"{turn}.{number}@example.org") for number in range(3)]
        connection.execute("SELECT record_searches('identified', ARRAY[%s::integer], '{t}', '{99}')", (expected[-1],))
        wait_for(4 * (turn + 1))
        move_gallery(url_of(settings), schema_name)
        read()
    assert [event.user_id for event in seen if event.kind == "user_added"] == expected
    assert [event.kind for event in seen] == [*["user_added"] * 3, "identified"] * 3
    assert [event.id for event in read_events(database)][-12:] == [event.id for event in seen]


def test_writers_and_a_reader_lose_and_double_no_event_while_the_gallery_moves(
    settings: Settings, database: Database, schema_name: str
) -> None:
    start = last_event_cursor(database)
    stop, done = threading.Event(), threading.Event()
    use_transaction_numbers(worker_of(url_of(settings), schema_name), 3000)

    def write(number: int) -> list[int]:
        added: list[int] = []
        with sql_on(settings) as writing:
            while not stop.is_set():
                with writing.transaction():
                    new = [add_user(writing, f"{number}.{len(added)}.{place}@x.org") for place in range(2)]
                added += new
        return added

    def read() -> list[Event]:
        seen: list[Event] = []
        cursor = start
        while True:
            last_round = done.is_set()
            page = read_events(database, after=cursor, limit=7)
            seen.extend(page)
            cursor = page.next_cursor
            if last_round and not page.events:
                return seen

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, number) for number in range(3)]
        reader = pool.submit(read)
        for _ in range(2):
            move_gallery(url_of(settings), schema_name)
        stop.set()
        expected = [user for writer in writers for user in writer.result()]
        assert eventually(lambda: len(read_events(database, after=start, limit=100_000)) == len(expected), seconds=60)
        done.set()
        seen = [event.user_id or 0 for event in reader.result()]
    assert len(expected) > 50
    assert sorted(seen) == sorted(expected)


# Moves


def test_a_move_loses_no_enrollment_and_no_search(settings: Settings, connection: Connection, schema_name: str) -> None:
    load(connection, 200)
    ends = threading.Event()

    def enroll() -> list[int]:
        added: list[int] = []
        chance = np.random.default_rng(6)
        with sql_on(settings) as writing:
            while not ends.is_set():
                with writing.transaction():
                    user = add_user(writing, f"n{len(added)}@example.org")
                    add_embedding(writing, user, str(chance.normal(size=512).tolist()))
                added.append(user)
        return added

    def search() -> tuple[int, float]:
        searches, longest = 0, 0.0
        with sql_on(settings) as searching:
            probes = rows(searching, "SELECT user_id, embedding::text FROM face_embeddings WHERE user_id <= 200")
            while not ends.is_set():
                user, probe = probes[searches % len(probes)]
                began = time.monotonic()
                ((found,),) = rows(searching, "SELECT user_id FROM find_similar_faces(%s::vector, 0.9)", probe)
                longest = max(longest, time.monotonic() - began)
                assert found == user
                searches += 1
        return searches, longest

    with ThreadPoolExecutor(2) as pool:
        enrolling, searching = pool.submit(enroll), pool.submit(search)
        before = worker_of(url_of(settings), schema_name)
        after = move_gallery(url_of(settings), schema_name)
        ends.set()
        added, (searches, longest) = enrolling.result(), searching.result()
    assert before != after == worker_of(url_of(settings), schema_name)
    assert len(added) > 5
    assert searches > 20
    assert longest < 10
    assert {user for (user,) in rows(connection, "SELECT user_id FROM face_embeddings")} >= set(added)
    assert rows(connection, "SELECT count(*) FROM face_embeddings") == [(200 + len(added),)]


# Health checks


@pytest.mark.usefixtures("bound")
def test_a_cluster_with_its_settings_is_fine(settings: Settings) -> None:
    assert (finding_of(settings, "cluster").state, finding_of(settings, "node").state) == ("fine", "fine")
    assert finding_of(settings, "tables and functions").state == "fine"


@pytest.mark.usefixtures("bound")
@pytest.mark.parametrize("name", ["citus.allow_nested_distributed_execution", "synchronous_commit"])
def test_a_missing_setting_of_a_worker(settings: Settings, name: str) -> None:
    (worker, _) = workers_of(url_of(settings))
    with turned_off(worker, name):
        assert eventually(lambda: finding_of(settings, "cluster").state == "problem")
        finding = finding_of(settings, "cluster")
        assert says.SETTING_OF_NODE_IS_OFF.format(name=name) in finding.found
        assert f"ALTER SYSTEM SET {name} = on" in finding.remedy
    assert eventually(lambda: finding_of(settings, "cluster").state == "fine")


@pytest.mark.usefixtures("bound")
def test_a_url_of_a_worker(settings: Settings) -> None:
    (worker, _) = workers_of(url_of(settings))
    finding = finding_of(settings_with(settings, database_url=worker), "cluster")
    assert (finding.state, finding.remedy) == ("problem", says.SET_URL_TO_COORDINATOR)


def test_a_user_who_does_not_own_the_gallery(settings: Settings, roles: tuple[str, str]) -> None:
    service = make_conninfo(url_of(settings), user=roles[0])
    finding = finding_of(settings_with(settings, database_url=service), "node")
    assert (finding.state, finding.remedy) == ("problem", says.SET_URL_TO_OWNER)


@pytest.mark.usefixtures("bound")
def test_statistics_that_would_copy_faces(settings: Settings, schema_name: str) -> None:
    with on_node(worker_of(url_of(settings), schema_name)) as node:
        ((shard,),) = rows(node, "SELECT relname FROM pg_class WHERE relname ~ '^template_bits_[0-9]+$'")
        statement = sql.SQL("ALTER TABLE {} ALTER COLUMN bits SET STATISTICS -1")
        node.execute("SET citus.enable_ddl_propagation = off")
        node.execute(statement.format(sql.Identifier(schema_name, shard)))
    finding = finding_of(settings, "node")
    assert (finding.state, finding.remedy) == ("problem", "pgface doctor --fix")
    assert "template_bits.bits" in finding.found
    fix(settings, "node")
    assert finding_of(settings, "node").state == "fine"


def test_an_effort_that_the_node_ignores(settings: Settings, bound: Connection) -> None:
    load(bound, 150)
    bound.execute("CALL fit_search('hnsw')")
    assert finding_of(settings, "node").state == "fine"
    # As before version 13: the coordinator sets the effort, and the index is on another node.
    bound.execute(
        "CREATE OR REPLACE FUNCTION users_by_index(query_embedding vector(512), method text, effort integer, "
        "max_users integer) RETURNS INTEGER[] LANGUAGE plpgsql STABLE SET search_path FROM CURRENT "
        "SET hnsw.ef_search = 40 AS $$ BEGIN PERFORM set_config('hnsw.ef_search', effort::text, true); RETURN ARRAY("
        "SELECT near.user_id FROM (SELECT t.user_id FROM user_templates t ORDER BY t.template <=> "
        "query_embedding::halfvec(512) LIMIT 1000) near LIMIT max_users); END $$"
    )
    finding = finding_of(settings, "node")
    assert says.EFFORT_IS_IGNORED.format(found=40, effort=3) in finding.found
    fix(settings)
    assert finding_of(settings, "node").state == "fine"


def test_a_gallery_on_the_coordinator(settings: Settings) -> None:
    off = make_conninfo(url_of(settings), options="-c citus.enable_schema_based_sharding=off")
    local = settings_with(settings, PGFACE_SCHEMA="on_coordinator")
    initialise(settings_with(local, database_url=off))
    finding = finding_of(local, "node")
    assert finding.state == "advice"
    assert says.NEW_SCHEMA in finding.remedy
    with sql_on(local) as connection:  # it works, but in one place
        add_embedding(connection, add_user(connection, "a@example.org"), str([1.0] * 512))
        assert eventually(lambda: rows(connection, "SELECT kind FROM read_events()")[-1] == ("enrolled",))
