"""Events in the service, in commands, and of identifications and verifications."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from psycopg import Connection

from pgface import Galleries
from pgface.accounts import Client, create_key
from pgface.errors import DatabaseError
from pgface.gallery import Gallery
from pgface.gallery.events import EVENT_KINDS, EventPage, last_event_cursor
from pgface.server.housekeeping import clean_up
from pgface.settings import Settings
from support.commands import Run
from support.documentation import HOW_TO, blocks
from support.embedded_server import eventually
from support.galleries import add_embedding, add_user, axis, rows
from support.photos import Photos
from support.web_service import V1, Served, bearer, code_of, file

EVENTS = f"{V1}/events"


def test_the_service_returns_events_by_cursor(api: Served, photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, admin = api.key("events"), api.key("admin")
    start = api.client.get(EVENTS, headers=reader, params={"after": "end"}).json()
    assert start["events"] == []
    picture = file(photos("Colin_Powell", 1).read_bytes())
    enrolled = api.client.post(f"{V1}/photos", headers=admin, files={"photo": picture}, data={"email": "c@example.org"})
    assert enrolled.status_code == 201
    monkeypatch.setattr(api.gallery, "_settings", api.gallery.settings.model_copy(update={"search_events": True}))
    user = enrolled.json()["user"]["id"]
    for path, data in (("identify", {}), ("verify", {"user_id": str(user)})):
        assert api.client.post(f"{V1}/{path}", headers=admin, files={"photo": picture}, data=data).status_code == 200
    api.client.delete(f"{V1}/users/{user}", headers=admin)

    def read(**parameters: object) -> list[dict[str, object]]:
        values = {"after": start["next_cursor"], "wait": 5} | parameters
        answer = api.client.get(EVENTS, headers=reader, params=values)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["events"])

    assert read(kind="user_deleted")[0] | {"cursor": "", "at": "", "id": 0} == {
        "cursor": "",
        "id": 0,
        "at": "",
        "kind": "user_deleted",
        "user_id": user,
        "other_user_id": None,
        "photo_id": None,
        "matched": None,
        "confidence": None,
        "count": 1,
    }
    found = read()
    assert [event["kind"] for event in found] == ["user_added", "enrolled", "identified", "verified", "user_deleted"]
    assert [event["matched"] for event in found] == [None, None, True, True, None]
    # Deleting the user took their number from the earlier events.
    assert [event["user_id"] for event in found] == [None] * 4 + [user]
    assert {event["confidence"] for event in found} == {None}
    assert read(limit=1, after=found[0]["cursor"]) == [found[1]]
    assert read(kind=["enrolled", "verified"]) == [found[1], found[3]]
    assert code_of(api.client.get(EVENTS, headers=reader, params={"after": "x"}), 400) == "cursor"
    old = {"after": "00000000.1.1"}
    assert code_of(api.client.get(EVENTS, headers=reader, params=old), 410) == "events-deleted"
    for wrong in ({"kind": "x"}, {"wait": 31}, {"limit": 0}, {"limit": 1001}, {"wait": "nan"}):
        assert code_of(api.client.get(EVENTS, headers=reader, params=wrong), 422) == "invalid-request"


def test_a_long_poll_waits_for_an_event_and_holds_no_thread(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgface.server.event_watcher._PAUSE", 0.05)
    monkeypatch.setattr("pgface.server.event_watcher._MAX_WAITING", 14)
    keys = [api.key("events"), api.key("events")]
    (start,) = {api.client.get(EVENTS, headers=key, params={"after": "end"}).json()["next_cursor"] for key in keys}
    values = {"after": start, "kind": "user_added"}
    began = time.monotonic()
    assert api.client.get(EVENTS, headers=keys[0], params=values | {"wait": 0.2}).json() == {
        "events": [],
        "next_cursor": start,
    }
    assert 0.2 <= time.monotonic() - began < 5
    with ThreadPoolExecutor(20) as pool:

        def poll(key: int) -> int:
            answer = api.client.get(EVENTS, headers=keys[key], params=values | {"wait": 20})
            if answer.status_code != 200:
                assert code_of(answer, 503) == "service-busy"
                return 0
            return len(answer.json()["events"])

        def waiting() -> int:
            return api.service.event_watcher.waiting

        first = [pool.submit(poll, 0) for _ in range(12)]
        assert eventually(lambda: waiting() == 10)
        second = [pool.submit(poll, 1) for _ in range(6)]
        assert eventually(lambda: waiting() == 14 and sum(answer.done() for answer in (*first, *second)) == 4)
        queries = api.service.queries
        # All threads are idle but the one that looks for events.
        assert eventually(lambda: queries._idle_semaphore._value >= len(queries._threads) - 1)
        api.execute("DELETE FROM users")  # another kind of event
        began = time.monotonic()
        api.gallery.add_user("new@example.org")
        # Of 12 requests of one key, 10 may wait, and 14 of both keys.
        assert sorted(answer.result() for answer in first) == [0] * 2 + [1] * 10
        assert sorted(answer.result() for answer in second) == [0] * 2 + [1] * 4
        assert time.monotonic() - began < 10
        assert waiting() == 0


@pytest.fixture
def staff(api: Served) -> Iterator[Gallery]:
    """A named gallery of the service."""
    with Galleries.open(api.owner.settings) as galleries:
        galleries.create("staff")
        yield galleries["staff"]
        galleries.delete("staff")


def test_each_gallery_has_its_own_events(api: Served, staff: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgface.server.event_watcher._PAUSE", 0.05)
    key = bearer(create_key(staff.database, "reader", ["events"], Client())[0])
    path = f"{V1}/galleries/staff/events"
    start = api.client.get(path, headers=key).json()
    assert [event["kind"] for event in start["events"]] == ["gallery_created", "model_changed"]
    with ThreadPoolExecutor(1) as pool:
        values = {"after": start["next_cursor"], "wait": 20}
        polled = pool.submit(api.client.get, path, headers=key, params=values)
        assert eventually(lambda: api.service.event_watcher.waiting == 1)
        api.gallery.add_user("elsewhere@example.org")
        added = staff.add_user("staff@example.org")
        assert [event["user_id"] for event in polled.result().json()["events"]] == [added.id]
    for other in (EVENTS, f"{V1}/galleries/other/events"):
        assert code_of(api.client.get(other, headers=key), 401) == "key-refused"
    # A cursor of another gallery does not work.
    answer = api.client.get(EVENTS, headers=api.key("events"), params={"after": start["next_cursor"]})
    assert code_of(answer, 410) == "events-deleted"


def test_housekeeping_deletes_old_events_in_every_gallery(api: Served, staff: Gallery) -> None:
    for gallery in (api.owner, staff):
        with gallery.database.transaction() as connection:
            connection.execute("UPDATE gallery_events SET at = now() - interval '31 days'")
    clean_up(api.service)
    for gallery in (api.owner, staff):
        assert gallery.events().events == ()


def test_searches_add_events_only_with_the_setting(settings: Settings, bound: Connection) -> None:
    ada = add_user(bound, "ada@example.org")
    add_embedding(bound, ada, axis(0))
    known, unknown = ([float(i == place) for i in range(512)] for place in (0, 1))
    with Gallery.open(settings) as gallery:
        start = last_event_cursor(gallery.database)
        gallery.identify_embedding(known)
        assert gallery.verify_embedding(known, ada).match
        assert last_event_cursor(gallery.database) == start
    with Gallery.open(settings.model_copy(update={"search_events": True})) as gallery:
        gallery.identify_embeddings([known, unknown], threshold=-1)
        assert gallery.verify_embedding(unknown, ada, threshold=-1).match
        gallery.identify_embeddings([])
        assert eventually(lambda: len(gallery.events(after=start)) == 3)
        found = gallery.events(after=start)
        assert [(event.kind, event.user_id, event.matched, event.confidence) for event in found] == [
            ("identified", ada, True, pytest.approx(100)),
            ("identified", None, False, None),
            ("verified", ada, False, None),
        ]
        assert found.next_cursor == found.events[-1].cursor
        bound.execute("ALTER TABLE gallery_events RENAME TO other")
        with pytest.raises(DatabaseError):  # no search without its event
            gallery.identify_embedding(known)


def test_the_command_prints_events(run: Run, connection: Connection) -> None:
    ada = add_user(connection, "ada@example.org")
    shown = run("events", "--limit", "1")
    assert "gallery_created" in shown.stdout
    rest = json.loads(run("events", "--after", last_cursor(shown.stderr), "--json").stdout)
    assert [(event["kind"], event["user_id"]) for event in rest["events"]] == [("user_added", ada)]
    only = json.loads(run("events", "--kind", "enrolled,user_added", "--json").stdout)
    assert only == rest
    refused = run("events", "--kind", "x", code=1)
    assert "user_added" in refused.stderr


def test_following_prints_lines_until_it_is_interrupted(
    run: Run, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = []

    def sleep(_: float) -> None:
        pauses.append(1)
        if len(pauses) > 1:
            raise KeyboardInterrupt
        add_user(connection, "ada@example.org")
        assert eventually(lambda: rows(connection, "SELECT count(*) FROM read_events()") == [(2,)])

    monkeypatch.setattr("pgface.cli.events.time", SimpleNamespace(sleep=sleep))
    followed = run("events", "--follow", "--json")
    printed = [json.loads(line)["kind"] for line in followed.stdout.splitlines()]
    assert printed == ["gallery_created", "user_added"]
    assert last_cursor(followed.stderr)


def last_cursor(text: str) -> str:
    """Return the cursor at the end of what a command says."""
    return text.rstrip().rstrip(".").rpartition(" ")[2]


def test_the_page_works(run: Run, connection: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = add_user(connection, "ada@example.org")
    add_embedding(connection, ada, axis(0))
    monkeypatch.setattr("pgface.gallery.gallery.get_settings", lambda: settings)
    outputs, tables = [], []
    for block in blocks("events.md"):
        if block.language == "shell":
            outputs += [run(*shlex.split(line)[1:]).stdout for line in block.text.splitlines()]
        elif block.language == "python":
            names: dict[str, object] = {}
            exec(block.text, names)  # noqa: S102 - the page's own example
            later = names["later"]
            assert isinstance(later, EventPage)
            assert later.events == ()
        elif block.language == "sql":
            tables += [rows(connection, statement) for statement in block.text.strip().rstrip(";").split(";\n")]
    assert "enrolled" in outputs[0]
    assert [event["kind"] for event in json.loads(outputs[1])["events"]] == ["enrolled"]
    assert [kind for _, kind, _ in tables[0]] == ["gallery_created", "user_added", "enrolled"]
    assert tables[1:] == [[], [(0,)]]
    documented = set(
        re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[^|]+) \|", page_of("events.md"), re.MULTILINE)))
    )
    assert documented == set(EVENT_KINDS)


def page_of(name: str) -> str:
    return (HOW_TO / name).read_text("utf-8")
