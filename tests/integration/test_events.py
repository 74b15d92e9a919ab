"""Events: which changes write them, and that a reader with a cursor gets every event exactly once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import psycopg
import pytest
from psycopg import Connection, sql
from psycopg import errors as pg

from pgface.database.pool import Database
from pgface.errors import CursorError, EventsDeletedError, GalleryError
from pgface.gallery.events import Event, EventPage, last_event_cursor, prune_events, read_events
from pgface.gallery.users import merge_users
from pgface.settings import Settings
from support.embedded_server import eventually
from support.galleries import add_embedding, add_user, axis, rows
from support.service_role import sql_as


def read_until(read: Callable[[], EventPage], number: int) -> list[Event]:
    """Read until there are as many events. Other transactions on the server, such as ANALYZE, delay them."""
    ends = time.monotonic() + 10
    while len(page := read()) < number and time.monotonic() < ends:
        time.sleep(0.01)
    return list(page)


def since(database: Database, cursor: str, number: int) -> list[tuple[str, int | None, int]]:
    events = read_until(lambda: read_events(database, after=cursor), number)
    return [(event.kind, event.user_id, event.count) for event in events]


@contextmanager
def writer(settings: Settings) -> Iterator[Connection]:
    """A connection of a SQL client, which begins and commits its transactions itself."""
    assert settings.database_url
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        connection.execute(sql.SQL("SET search_path = {}, public").format(sql.Identifier(settings.schema_name)))
        connection.commit()
        yield connection


def test_every_change_by_sql_writes_its_event(database: Database, connection: Connection) -> None:
    start = read_until(lambda: read_events(database), 1)
    assert [event.kind for event in start] == ["gallery_created"]
    ada, eve = (add_user(connection, f"{name}@example.org") for name in ("ada", "eve"))
    insert = "INSERT INTO photos (user_id, filename, filepath) VALUES (%s, 'f', 'f') RETURNING id"
    ((photo,),) = rows(connection, insert, ada)
    face = add_embedding(connection, ada, axis(0))
    connection.execute("UPDATE face_embeddings SET photo_id = %s WHERE id = %s", (photo, face))  # not an event
    add_embedding(connection, eve, axis(1))
    contest = "INSERT INTO contested_faces (user_id, photo_id, embedding) VALUES (%s, %s, %s) RETURNING id"
    ((contested,),) = rows(connection, contest, ada, photo, axis(1))
    connection.execute(
        "WITH accepted AS MATERIALIZED (SELECT * FROM contested_faces WHERE id = %s) INSERT INTO face_embeddings "
        "(id, user_id, photo_id, embedding) SELECT id, user_id, photo_id, embedding FROM accepted",
        (contested,),
    )
    connection.execute("DELETE FROM contested_faces WHERE id = %s", (contested,))
    connection.execute("UPDATE users SET name = name, password = 'y'")  # not an event
    connection.execute("UPDATE users SET labels = '{staff}' WHERE id = %s", (ada,))
    connection.execute("UPDATE face_embeddings SET embedding = %s WHERE id = %s", (axis(2), face))
    connection.execute("DELETE FROM face_embeddings WHERE id = %s", (face,))
    connection.execute("DELETE FROM photos WHERE id = %s", (photo,))
    connection.execute("UPDATE gallery SET model_name = 'another'")
    found = read_until(lambda: read_events(database, after=start[-1].cursor), 12)
    assert [(event.kind, event.user_id, event.photo_id) for event in found] == [
        ("user_added", ada, None),
        ("user_added", eve, None),
        ("enrolled", ada, None),
        ("enrolled", eve, None),
        ("face_contested", ada, photo),
        ("enrolled", ada, photo),
        ("face_accepted", ada, photo),
        ("user_changed", ada, None),
        ("face_changed", ada, photo),
        ("face_deleted", ada, photo),
        ("photo_deleted", ada, photo),
        ("model_changed", None, None),
    ]
    assert len({event.id for event in found}) == 12
    assert {event.matched for event in found} == {None}


def test_a_bulk_load_writes_one_event_and_a_small_statement_one_for_each_user(
    database: Database, connection: Connection
) -> None:
    cursor = last_event_cursor(database)
    series = (
        "INSERT INTO users (name, email, password) SELECT n, n || '@x', '!' FROM generate_series(%s::int, %s::int) n"
    )
    connection.execute(series, (1, 101))
    connection.execute(series, (102, 103))
    faces = (
        "INSERT INTO face_embeddings (user_id, embedding) SELECT u.id, %s::vector FROM users u, generate_series(1, 3)"
    )
    connection.execute(faces + " WHERE u.name IN ('1', '2')", (axis(0),))
    connection.execute(faces, (axis(0),))
    (one, two) = (found for (found,) in rows(connection, "SELECT id FROM users WHERE name IN ('1', '2') ORDER BY id"))
    (late, later) = (found for (found,) in rows(connection, "SELECT id FROM users ORDER BY id DESC LIMIT 2"))
    added = [("user_added", None, 101), ("user_added", later, 1), ("user_added", late, 1)]
    assert since(database, cursor, 6) == [*added, ("enrolled", one, 3), ("enrolled", two, 3), ("enrolled", None, 309)]
    cursor = last_event_cursor(database)
    connection.execute("TRUNCATE users CASCADE")
    truncated = since(database, cursor, 2)
    assert sorted(truncated) == [("face_deleted", None, 315), ("user_deleted", None, 103)]
    assert all(event.user_id is None for event in read_events(database))


def test_a_deleted_user_leaves_only_the_number_in_the_event_of_the_deletion(
    database: Database, connection: Connection
) -> None:
    cursor = last_event_cursor(database)
    ada, eve = (add_user(connection, f"{name}@example.org") for name in ("ada", "eve"))
    for user, face in ((ada, 0), (ada, 1), (eve, 2)):
        add_embedding(connection, user, axis(face))
    with database.transaction() as merging:
        merge_users(merging, ada, eve)
    merge = [("face_changed", eve, 2), ("user_deleted", ada, 1), ("user_merged", eve, 1)]
    before = [("user_added", None, 1), ("user_added", eve, 1), ("enrolled", None, 1), ("enrolled", None, 1)]
    assert since(database, cursor, 8) == [*before, ("enrolled", eve, 1), *merge]
    assert read_events(database, kinds=["user_merged"]).events[0].other_user_id == ada
    connection.execute("DELETE FROM users WHERE id = %s", (eve,))
    found = read_until(lambda: read_events(database, after=cursor), 9)
    # One event stands for the user with all photos and faces.
    assert [event.kind for event in found].count("face_deleted") == 0
    assert {event.user_id for event in found} == {None, ada, eve}
    assert [event.kind for event in found if event.user_id or event.other_user_id] == ["user_deleted"] * 2


def test_transactions_that_commit_in_another_order_lose_no_event(settings: Settings, database: Database) -> None:
    cursor = last_event_cursor(database)
    with writer(settings) as first, writer(settings) as second, writer(settings) as third:
        add_user(first, "first@example.org")
        add_user(second, "second@example.org")
        second.commit()
        add_user(third, "third@example.org")
        page = read_events(database, after=cursor)
        # The event of `second` is written, but `first` could still commit an event that comes before it.
        assert (page.events, page.next_cursor) == ((), cursor)
        third.rollback()
        first.commit()
        assert [kind for kind, _, _ in since(database, cursor, 2)] == ["user_added", "user_added"]
        (one,) = read_events(database, after=cursor, limit=1).events
        (two,) = read_events(database, after=one.cursor, limit=1)
        assert [one.user_id, two.user_id] == [found for (found,) in rows(second, "SELECT id FROM users ORDER BY id")]
        # The same with savepoints, which have numbers of their own.
        add_user(first, "fourth@example.org")
        with second.transaction():
            add_user(second, "fifth@example.org")
        second.commit()
        with first.transaction():
            add_user(first, "sixth@example.org")
        assert read_events(database, after=two.cursor).events == ()
        first.commit()
        assert len(since(database, two.cursor, 3)) == 3


def test_eight_writers_and_a_reader_lose_and_double_no_event(settings: Settings, database: Database) -> None:
    writers, transactions = 8, 60
    start = last_event_cursor(database)
    expected: list[int] = []
    done = threading.Event()

    def write(number: int) -> None:
        chance = np.random.default_rng(number)
        with writer(settings) as connection:
            for turn in range(transactions):
                added = [
                    add_user(connection, f"{number}.{turn}.{place}@x.org") for place in range(chance.integers(1, 4))
                ]
                if chance.random() < 0.3:
                    time.sleep(chance.random() * 0.01)
                if chance.random() < 0.1:
                    connection.rollback()
                else:
                    connection.commit()
                    expected.extend(added)

    seen: list[Event] = []

    def read() -> None:
        cursor = start
        while True:
            last_round = done.is_set()
            page = read_events(database, after=cursor, limit=7)
            seen.extend(page)
            cursor = page.next_cursor
            if last_round and not page.events:
                return

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    reader = threading.Thread(target=read)
    for thread in (*threads, reader):
        thread.start()
    for thread in threads:
        thread.join()
    read_until(lambda: read_events(database, after=start, limit=10_000), len(expected))
    done.set()
    reader.join()
    users = [event.user_id or 0 for event in seen]
    assert len(expected) > 500
    assert sorted(users) == sorted(expected)  # 0 lost, 0 doubled
    assert len({event.cursor for event in seen}) == len(seen)


def test_a_cursor_from_before_the_kept_events_is_refused(database: Database, connection: Connection) -> None:
    start = last_event_cursor(database)
    add_user(connection, "old@example.org")
    (old,) = read_until(lambda: read_events(database, after=start), 1)
    assert prune_events(database, 1) == 0
    connection.execute("UPDATE gallery_events SET at = now() - interval '2 days'")
    # This transaction is younger, but its place is after the next event that stays.
    add_user(connection, "new@example.org")
    read_until(lambda: read_events(database, after=old.cursor), 1)
    assert prune_events(database, 1) == 2
    with pytest.raises(EventsDeletedError):
        read_events(database, after=start)
    assert [event.kind for event in read_events(database, after=old.cursor)] == ["user_added"]
    assert len(read_events(database)) == 1
    connection.execute("SELECT restart_events()")
    for cursor in (old.cursor, start):
        with pytest.raises(EventsDeletedError):
            read_events(database, after=cursor)
    assert read_events(database, after=last_event_cursor(database)).events == ()
    # A cursor from the future, as after a recovery to an earlier time.
    name = last_event_cursor(database).partition(".")[0]
    with pytest.raises(EventsDeletedError):
        read_events(database, after=f"{name}.9000000000000000000.1")
    # `pg_restore` of an archive leaves the table without its row.
    connection.execute("DELETE FROM event_stream")
    assert read_events(database, after=last_event_cursor(database)).events == ()
    assert prune_events(database, 1) == 0


def test_a_reader_of_one_kind_moves_on_beside_others(database: Database, connection: Connection) -> None:
    start = last_event_cursor(database)
    add_user(connection, "a@example.org")
    read_until(lambda: read_events(database, after=start), 1)
    page = read_events(database, after=start, kinds=["enrolled"])
    assert (page.events, page.next_cursor) == ((), last_event_cursor(database))
    assert page.next_cursor != start
    assert read_events(database, after="end") == page
    with pytest.raises(CursorError):
        read_events(database, after="x")
    with pytest.raises(GalleryError):
        read_events(database, kinds=["x"])
    with pytest.raises(GalleryError):
        read_events(database, limit=0)
    with pytest.raises(pg.InvalidParameterValue):
        connection.execute("SELECT * FROM read_events('x')")


def test_the_services_role_can_read_events_and_write_only_those_of_searches(
    settings: Settings, database: Database, roles: tuple[str, str], connection: Connection
) -> None:
    ada = add_user(connection, "ada@example.org")
    start = last_event_cursor(database)
    with sql_as(settings, roles[0]) as service:
        for attack in (
            "INSERT INTO gallery_events (kind) VALUES ('enrolled')",
            "UPDATE gallery_events SET user_id = 1",
            "DELETE FROM gallery_events",
            "UPDATE event_stream SET name = 'x'",
            "SELECT record_searches('enrolled', '{1}', '{t}', '{1}')",
            "SELECT add_events('enrolled', '{1}', NULL)",
            "SELECT restart_events()",
            "SELECT prune_events(0)",
            f"SELECT record_merge({ada}, {ada})",
        ):
            with pytest.raises(pg.InsufficientPrivilege):
                service.execute(attack.encode())
        service.execute("SELECT record_searches('identified', ARRAY[%s, NULL, 0], '{t,f,t}', '{99,NULL,1}')", (ada,))
        service.execute("SELECT record_searches('verified', array_fill(0, ARRAY[101]), NULL, NULL)")
        assert eventually(lambda: len(rows(service, "SELECT * FROM read_events()")) >= 2)
    found = read_until(lambda: read_events(database, after=start), 4)
    assert [(event.kind, event.user_id, event.matched, event.confidence, event.count) for event in found] == [
        ("identified", ada, True, 99, 1),
        ("identified", None, False, None, 1),
        ("identified", None, True, 1, 1),  # the user was deleted in the meantime
        ("verified", None, None, None, 101),
    ]
    with sql_as(settings, roles[1]) as reader, pytest.raises(pg.InsufficientPrivilege):
        reader.execute("SELECT * FROM read_events()")
