"""A primary is lost, a standby is promoted, and the old primary comes back.

The service answers 503 meanwhile, and goes on by itself. `PGFACE_TEST_ROUNDS=20 PGFACE_TEST_ENROLLMENTS=200` runs the
long version of the attack on a service.
"""

from __future__ import annotations

import asyncio
import http.client
import io
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from PIL import Image, ImageOps
from pydantic import SecretStr

from pgface.accounts import Client, create_key
from pgface.accounts.idempotency import RepeatableRequest
from pgface.database import pool
from pgface.database.pool import Database, connected, initialise
from pgface.database.primary import servers_of
from pgface.database.roles import grant_service
from pgface.errors import DatabaseUnreachableError, RequestRepeatedError
from pgface.gallery import Gallery
from pgface.gallery.enroll_folder import person_of
from pgface.operations.doctor import diagnose, replication
from pgface.server import service
from pgface.settings import Settings
from support import web_service
from support.commands import environment_of, runner
from support.embedded_server import eventually
from support.enrollers import Answer, Job, enroll
from support.page_shell import PageShell, own_all
from support.replication import Replicated, Server, replicated, servers_folder, standby_names, url_of
from support.sentences import Sentence
from support.sentences import failover as says
from support.serve import Served, serving
from support.service_role import as_role

pytestmark = pytest.mark.slow

ROUNDS = int(os.environ.get("PGFACE_TEST_ROUNDS", "1"))
ENROLLMENTS = int(os.environ.get("PGFACE_TEST_ENROLLMENTS", "24"))
CLIENTS = 4
SECONDS_AFTER_PROMOTION = 2.0
"""The maximum until the service answers again."""
LONGEST_REQUEST = 15.0
"""Seconds. A request waits at most PGFACE_CONNECT_TIMEOUT for PostgreSQL, and then answers 503."""


@pytest.fixture(scope="session")
def photos_to_enroll(faces_dir: Path) -> list[tuple[str, bytes]]:
    """Return the e-mail and the bytes of 200 different photos: 100 photos, and their mirror images."""
    found = []
    for file in sorted(faces_dir.glob("*/*.jpg")):
        email = person_of(file.parent.name).email
        mirrored = io.BytesIO()
        with Image.open(file) as photo:
            ImageOps.mirror(photo).save(mirrored, "JPEG", quality=95)
        found += [(email, file.read_bytes()), (email, mirrored.getvalue())]
    return found


@dataclass
class Clients:
    """Clients that enroll photos, and repeat a request with the same key until it is acknowledged."""

    served: Served
    api_key: str
    acknowledged: dict[str, Answer] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    without_retry_after: list[Answer] = field(default_factory=list)
    longest: float = 0.0
    failures: list[Exception] = field(default_factory=list)
    """Requests without an answer."""
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self, jobs: Sequence[Job]) -> None:
        self.threads = [
            threading.Thread(target=self._enroll, args=(jobs[number::CLIENTS],), daemon=True)
            for number in range(CLIENTS)
        ]
        for thread in self.threads:
            thread.start()

    def join(self) -> None:
        for thread in self.threads:
            thread.join(120)
            assert not thread.is_alive(), "a request hangs"

    def _enroll(self, jobs: Sequence[Job]) -> None:
        connection = http.client.HTTPConnection(urlsplit(self.served.url).netloc, timeout=60)
        try:
            for job in jobs:
                while (answer := self._ask(connection, job)).status == 503:
                    time.sleep(0.2)
                assert answer.status in (200, 201), answer
                self.acknowledged[job.key] = answer
        except Exception as error:
            self.failures.append(error)
        finally:
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection, job: Job) -> Answer:
        began = time.monotonic()
        answer = enroll(connection, self.api_key, job)
        self.longest = max(self.longest, time.monotonic() - began)
        self.statuses[answer.status] += 1
        if answer.status not in (200, 201) and "retry-after" not in answer.headers:
            self.without_retry_after.append(answer)
        return answer


@contextmanager
def asking(served: Served, api_key: str) -> Iterator[list[float]]:
    """Ask for the users all the time. Yields the moments of answers with status 200."""
    moments: list[float] = []
    ended = threading.Event()

    def ask() -> None:
        while not ended.wait(0.02):
            connection = http.client.HTTPConnection(urlsplit(served.url).netloc, timeout=60)
            connection.request("GET", "/api/v1/users", headers={"Authorization": f"Bearer {api_key}"})
            response = connection.getresponse()
            response.read()
            connection.close()
            if response.status == 200:
                moments.append(time.monotonic())

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield moments
    finally:
        ended.set()
        for thread in threads:
            thread.join(30)


@pytest.fixture(params=[True, False] if ROUNDS > 1 else [True], ids=lambda wait: "synchronous" if wait else "not")
def synchronous(request: pytest.FixtureRequest) -> bool:
    """Whether commits wait for the standby."""
    return bool(request.param)


@pytest.fixture
def group(synchronous: bool) -> Iterator[Replicated]:
    with replicated(1, synchronous=synchronous) as group:
        yield group


@pytest.fixture
def settings_of_group(group: Replicated, tmp_path: Path) -> Settings:
    values = {"database_url": group.url, "data_dir": tmp_path / "data", "detector_size": 320}
    return Settings.model_validate(values)


def test_no_acknowledged_photo_is_lost(
    group: Replicated,
    synchronous: bool,
    settings_of_group: Settings,
    insightface_pack: Path,
    photos_to_enroll: list[tuple[str, bytes]],
    tmp_path: Path,
) -> None:
    with Gallery.create(settings_of_group, model=str(insightface_pack)) as gallery:
        api_key = create_key(gallery.database, "tests", ["enroll", "admin"], Client())[0]
    with connected(settings_of_group) as connection:
        grant_service(connection, settings_of_group.schema_name, "service")
    with serving(_environment(as_role(settings_of_group, "service")), tmp_path) as served:
        seed = int(os.environ.get("PGFACE_TEST_SEED", "0")) or time.time_ns() % 2**32
        print(f"PGFACE_TEST_SEED={seed}")
        chance = random.Random(seed)  # noqa: S311 - for moments, not for secrets
        for number in range(ROUNDS):
            jobs = [Job(email, photo) for email, photo in photos_to_enroll[:ENROLLMENTS]]
            chance.shuffle(jobs)
            clients, outage = _fail_over(group, served, api_key, jobs, chance)
            lost, doubled = _lost_and_doubled(group, clients)
            print(
                f"round {number}: {dict(clients.statuses)}, lost {lost}, doubled {doubled}, longest request "
                f"{clients.longest:.1f} s, answers {outage:.2f} s after the promotion"
            )
            assert not clients.failures
            assert clients.statuses.keys() <= {200, 201, 503}
            assert not clients.without_retry_after
            assert len(clients.acknowledged) == len(jobs)
            assert doubled == 0
            assert lost == 0 or not synchronous
            assert outage < SECONDS_AFTER_PROMOTION
            assert clients.longest < LONGEST_REQUEST
            group.primary.execute("DELETE FROM users; DELETE FROM idempotent_requests")
            _start_old_primary(group, served, api_key, jobs[0])
            _rejoin(group, synchronous)
            group.primary.execute("DELETE FROM users; DELETE FROM idempotent_requests")
        assert served.process.poll() is None


def _fail_over(
    group: Replicated, served: Served, api_key: str, jobs: Sequence[Job], chance: random.Random
) -> tuple[Clients, float]:
    """Kill the primary at a random moment of the enrollments, and promote the standby a moment later.

    Returns:
        the clients, and the seconds from the promotion to the first answer.

    """
    clients = Clients(served, api_key)
    (standby,) = group.standbys
    # A standby has the setting of its primary. It must not wait for a standby of its own after its promotion.
    standby.configure(synchronous_standby_names="")
    with asking(served, api_key) as answered:
        clients.start(jobs)
        count = chance.randrange(5, len(jobs) * 3 // 4)
        assert eventually(lambda: len(clients.acknowledged) >= count, 120, 0.005)
        time.sleep(chance.uniform(0, 0.2))
        group.primary.kill()
        time.sleep(chance.uniform(0.1, 3 if ROUNDS > 1 else 0.5))
        standby.promote()
        promoted = time.monotonic()
        assert eventually(lambda: any(moment > promoted for moment in answered), 30)
        outage = min(moment for moment in answered if moment > promoted) - promoted
        clients.join()
    group.standbys[0], group.primary = group.primary, standby
    return clients, outage


def _start_old_primary(group: Replicated, served: Served, api_key: str, job: Job) -> None:
    """Start the old primary, which accepts writes, and let the service connect to all servers again."""
    (old,) = group.standbys
    old.start()
    assert not old.is_standby()
    group.primary.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgface'")
    before = old.value("SELECT count(*) FROM audit_log")
    late = Clients(served, api_key)
    late.start([Job("late@example.org", job.photo) for _ in range(CLIENTS)])
    late.join()
    assert not late.failures
    assert group.primary.value("SELECT count(*) FROM photos") == 1
    assert old.value("SELECT count(*) FROM audit_log") == before
    old.kill()


def _rejoin(group: Replicated, synchronous: bool) -> None:
    """Make the old primary the standby of the new one."""
    group.standbys[0].create_standby_of(group.primary)
    if synchronous:
        group.make_synchronous()


def _lost_and_doubled(group: Replicated, clients: Clients) -> tuple[int, int]:
    stored = group.primary.execute("SELECT id, user_id, content_sha256 FROM photos").fetchall()
    ids = {photo_id for photo_id, *_ in stored}
    acknowledged = {answer.body["photo_id"] for answer in clients.acknowledged.values()}
    embedded = group.primary.execute("SELECT photo_id FROM face_embeddings").fetchall()
    assert sorted(photo_id for (photo_id,) in embedded) == sorted(ids)
    return len(acknowledged - ids), len(stored) - len({tuple(row[1:]) for row in stored})


# PostgreSQL does not answer


def test_a_request_that_failed_can_be_repeated(database: Database) -> None:
    def request(key: str) -> RepeatableRequest:
        return RepeatableRequest(database, caller="key 1", key=key, content="POST /")

    first = request("one")
    assert first.begin() is None
    database.is_lost = True
    first.give_up()  # it cannot be deleted now
    assert request("one").begin() is None
    with pytest.raises(RequestRepeatedError):
        request("one").begin()

    late = request("two")
    late.abandon()
    late.begin()
    assert request("two").begin() is None


def test_a_query_that_hangs_is_answered(api: web_service.Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_LATE_QUERY_SECONDS", 0.1 - api.service.settings.work_timeout)
    hanging = threading.Event()
    with pytest.raises(DatabaseUnreachableError):
        asyncio.run(api.service.run_db(hanging.wait, 10))
    hanging.set()


# The page, and what `pgface doctor` says at each step


def test_the_page_and_doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replication, "_MAX_BYTES_BEHIND", 100_000)
    with servers_folder() as folder:
        a, b = group = Server(folder, "a"), Server(folder, "b")
        try:
            _follow_the_page(a, b, folder, tmp_path / "data")
        finally:
            for server in group:
                server.kill()


def _follow_the_page(a: Server, b: Server, folder: Path, data_dir: Path) -> None:
    a.create()
    url = url_of([a, b], target_session_attrs="read-write")
    settings = Settings.model_validate({"database_url": url, "data_dir": data_dir, "connect_timeout": 1})
    (folder / "page").mkdir()
    b.folder.mkdir()
    for path in (folder / "page", b.folder):
        own_all(path)
    paths = {"STANDBY": str(b.data), "OLD": str(a.data)}
    shell = PageShell("failover.md", folder / "page", paths | {"PRIMARY_URL": a.url, "STANDBY_URL": b.url})
    initialise(settings)

    assert_found(settings, says.SERVERS_DO_NOT_ANSWER.format(missing=1, count=2), says.NO_STANDBY)
    shell.run("standby")
    b.start()
    assert eventually(lambda: standby_names(a) == ["b"])
    assert_found(settings, says.NOT_SYNCHRONOUS)
    shell.run("synchronous")
    assert eventually(lambda: a.value("SELECT sync_state FROM pg_stat_replication") == "quorum")
    assert_found(settings)
    shell.run("doctor")
    (call,) = shell.calls()
    runner(environment_of(settings))(*call)

    crop = data_dir / "photos" / "crop.jpg"
    crop.parent.mkdir()
    crop.touch()
    assert_found(settings, says.PHOTOS_ARE_NOT_SHARED)
    crop.unlink()

    b.execute("SELECT pg_wal_replay_pause()")
    a.execute("SET synchronous_commit = local")
    a.execute("CREATE TABLE large AS SELECT generate_series(1, 10000)")
    assert_found(settings, says.STANDBY_IS_BEHIND)
    b.execute("SELECT pg_wal_replay_resume()")
    b.wait_until_like(a)
    a.configure(synchronous_commit="local")
    assert eventually(lambda: "synchronous_commit is local" in "".join(found_by_doctor(settings)))
    assert_found(settings, says.COMMITS_DO_NOT_WAIT)
    a.configure(synchronous_commit="remote_apply")
    b.kill()
    assert eventually(lambda: not standby_names(a))
    assert_found(
        settings, says.SERVERS_DO_NOT_ANSWER.format(missing=1, count=2), says.EVERY_WRITE_WAITS, says.NO_STANDBY
    )
    b.start()
    b.wait_until_like(a)

    a.kill()
    shell.run("promote")
    assert eventually(lambda: not b.is_standby())
    with Database.open(settings) as database:  # no write waits for a standby
        assert _add_user(database, "after@example.org") == "b"
    a.start()
    assert_found(settings, says.SEVERAL_ACCEPT_WRITES, says.NO_STANDBY)
    a.kill()
    shell.variables |= {"PRIMARY_URL": b.url, "STANDBY_URL": a.url}
    shell.run("rejoin")
    a.start()
    shell.run("synchronous")
    assert eventually(lambda: b.value("SELECT max(sync_state) FROM pg_stat_replication") == "quorum")
    assert_found(settings)
    assert a.value("SELECT count(*) FROM users") == 1
    alone = settings.model_copy(update={"database_url": SecretStr(a.url)})
    assert found_by_doctor(alone) == []


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"wal_level": "minimal"}, says.MINIMAL_LOG),
        ({"has_command": False}, says.NO_ARCHIVE_COMMAND),
        ({"fails": True}, says.ARCHIVE_FAILS),
        ({"archive_mode": "off"}, None),
        ({}, None),
    ],
)
def test_doctor_looks_at_the_archive(
    given: dict[str, object], sentence: Sentence | None, monkeypatch: pytest.MonkeyPatch, settings_alone: Settings
) -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    row = {"wal_level": "replica", "archive_mode": "on", "has_command": True, "fails": False, "failed": 2}
    row |= {"failed_at": now, "archived_at": now} | given
    with connected(settings_alone) as connection:
        assert replication._row(connection, "archive_settings").keys() == row.keys()
        monkeypatch.setattr(replication, "_row", lambda *_: row)
        (finding,) = replication.archive(connection, settings_alone)
    assert (finding.state == "fine") == (sentence is None)
    assert sentence is None or sentence.is_in(finding.found)


@pytest.fixture
def settings_alone(postgres18: str, tmp_path: Path) -> Settings:
    """A server without standbys."""
    return Settings.model_validate({"database_url": postgres18, "data_dir": tmp_path / "data"})


def found_by_doctor(settings: Settings) -> list[str]:
    """Return what the check of standbys finds wrong."""
    return [finding.found for finding in diagnose(settings, {"standbys"}) if finding.state != "fine"]


def assert_found(settings: Settings, *sentences: str) -> None:
    """Check the findings. Each must contain its sentence."""
    found = found_by_doctor(settings)
    assert len(found) == len(sentences), found
    for text, sentence in zip(found, sentences, strict=True):
        assert Sentence(sentence).is_in(text), text


# An old primary comes back


def test_an_old_primary_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_MAX_LIFETIME_WITH_STANDBYS", 0.1)
    with replicated(2) as group:  # the standbys may miss the last commits
        values = {"database_url": group.url, "data_dir": tmp_path / "data", "connect_timeout": 1}
        settings = Settings.model_validate(values)
        initialise(settings)
        group.wait_until_replayed()
        _refuse_old_primary(group, settings, tmp_path)
        _refuse_two_primaries(group, settings, tmp_path)


def _refuse_old_primary(group: Replicated, settings: Settings, tmp_path: Path) -> None:
    a, (b, c) = group.primary, group.standbys
    with Database.open(settings) as database:
        assert _add_user(database, "first@example.org") == "a"
        b.wait_until_like(a)
        # Only the network between the machines has failed: the primary goes on.
        c.kill()
        b.promote()
        time.sleep(0.1)
        database.execute("gallery_size")  # the last use of the old connection
        assert _add_user(database, "second@example.org") == "b", "connections to the old primary are closed"
        with psycopg.connect(group.url) as libpq:  # the attack is real: libpq prefers the first host
            assert libpq.execute("SHOW cluster_name").fetchone() == ("a",)
        a.kill()
        b.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgface'")
        a.start()
        assert _add_user(database, "third@example.org", again=True) == "b"
        assert _server_of(settings) == "b"
        assert _server_of(settings, data_dir=tmp_path / "another host") == "b"
        b.kill()
        with pytest.raises(DatabaseUnreachableError):
            _add_user(database, "fourth@example.org", again=True)
    servers_of.cache_clear()  # as a new process
    with pytest.raises(DatabaseUnreachableError, match=says.OLD_PRIMARY.pattern()):
        Database.open(settings)
    assert a.execute("SELECT email FROM users ORDER BY 1").fetchall() == [("first@example.org",)]

    b.start()
    a.create_standby_of(b)
    assert _server_of(settings) == "b"
    b.stop()
    with pytest.raises(DatabaseUnreachableError, match=says.NO_PRIMARY.pattern()):
        Database.open(settings)
    b.start()
    assert b.value("SELECT count(*) FROM users") == 3


def _refuse_two_primaries(group: Replicated, settings: Settings, tmp_path: Path) -> None:
    """Promote two standbys of the same primary."""
    a, (b, c) = group.primary, group.standbys
    c.create_standby_of(b)
    b.kill()
    a.promote()
    assert _server_of(settings) == "a"
    c.promote()
    assert _server_of(settings) == "a", "this process knows which one it has used"
    with pytest.raises(DatabaseUnreachableError, match=says.TWO_PRIMARIES.pattern()):
        _server_of(settings, data_dir=tmp_path / "third host")
    c.configure(default_transaction_read_only="on")  # one way to fence it
    assert _server_of(settings, data_dir=tmp_path / "third host") == "a"
    a.kill()
    with pytest.raises(DatabaseUnreachableError, match=says.NO_PRIMARY.pattern()):
        Database.open(settings)

    c.configure(default_transaction_read_only="off")
    with replicated(0) as other:
        url = url_of([c, other.primary], target_session_attrs="read-write")
        with pytest.raises(DatabaseUnreachableError, match=says.OTHER_CLUSTER.pattern()):
            Database.open(settings.model_copy(update={"database_url": SecretStr(url)}))


def _add_user(database: Database, email: str, *, again: bool = False) -> str:
    """Write in a transaction, and return the name of the server. The first try may find that a connection was lost."""
    try:
        with database.transaction() as connection:
            connection.execute("INSERT INTO users (name, email, password) VALUES ('', %s, 'x')", (email,))
            row = connection.execute("SHOW cluster_name").fetchone()
    except DatabaseUnreachableError:
        if not again:
            raise
        return _add_user(database, email)
    assert row is not None
    return str(row[0])


def _server_of(settings: Settings, **changed: object) -> str:
    """Return the name of the server that a new connection leads to."""
    with connected(settings.model_copy(update=changed)) as connection:
        row = connection.execute("SHOW cluster_name").fetchone()
    assert row is not None
    return str(row[0])


def _environment(settings: Settings) -> dict[str, str]:
    assert settings.database_url is not None
    url = settings.database_url.get_secret_value()
    return {
        "PGFACE_DATABASE_URL": url,
        "PGFACE_DATA_DIR": str(settings.data_dir),
        "PGFACE_DETECTOR_SIZE": str(settings.detector_size),
    }
