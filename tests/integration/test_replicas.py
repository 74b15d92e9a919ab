"""Replicas: a gallery that can only be read, and searches that see what was committed before them.

The primary and its replicas are real servers, which all tests of this file share. The last test ends the primary.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from starlette.testclient import TestClient

from pgface.accounts import Accounts, Client, FaceLogin, add_administrator, create_key, find_key, revoke_key
from pgface.accounts import accounts as accounts_module
from pgface.accounts.access_keys import create_access_key
from pgface.accounts.compreface_keys import create_compreface_key
from pgface.accounts.tokens import token_hash
from pgface.database import replica_lag
from pgface.database import replicas as replicas_module
from pgface.database.replicas import observe_searches
from pgface.errors import DatabaseUnreachableError, LoginRefusedError, ReadOnlyError, ReplicaBehindError, SettingsError
from pgface.galleries import Galleries
from pgface.gallery import Gallery
from pgface.server import healthcheck
from pgface.server.app import create_app
from pgface.server.housekeeping import clean_up
from pgface.server.run import prepare
from pgface.settings import Settings
from support.commands import environment_of, runner
from support.embedded_server import eventually
from support.photos import Photos
from support.replication import Replicated, Server, replicated, url_of
from support.sentences import api as api_says
from support.sentences import database as says
from support.service_role import service_role
from support.web_service import PASSWORD, V1, Headers, base64_of, bearer, code_of, file

pytestmark = pytest.mark.slow

LIVENESS_SESSION = "0b5c1f1e-4a53-4c0e-9a2b-6f1f5d1f9c11"
ROUNDS = int(os.environ.get("PGFACE_TEST_ROUNDS", "20"))
"""Enrollments and deletions, each followed by a search."""
READS = {"/identify", "/verify", "/compare", "/detect", "/introspect"}
"""Operations that are sent with POST and change nothing."""


@dataclass(frozen=True)
class Place:
    """A gallery on a primary, and the settings of its service on each server."""

    group: Replicated
    owner: Gallery
    of_service: Settings
    photo: Path
    """Of the only person."""
    key: str
    token: str
    """Of an administrator."""

    def at(self, server: Server, **settings: Any) -> Settings:
        """Return the settings of a service on a server."""
        return self._settings(server.url, **settings)

    def reading_from(self, *servers: Server, url: str | None = None, **settings: Any) -> Settings:
        """Return the settings of a service on the primary that sends searches to replicas."""
        read_url = self._as_service(url_of(servers))
        return self._settings(url or self.group.primary.url, read_url=read_url, **settings)

    def _settings(self, url: str, **settings: Any) -> Settings:
        values = self.of_service.model_dump() | {"database_url": self._as_service(url)} | settings
        return Settings.model_validate({"PGFACE_SCHEMA": values.pop("schema_name")} | values)

    def _as_service(self, url: str) -> str:
        assert self.of_service.database_url
        return make_conninfo(url, user=conninfo_to_dict(self.of_service.database_url.get_secret_value())["user"])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, insightface_pack: Path, faces_dir: Path) -> Iterator[Place]:
    """A gallery on a primary with two replicas."""
    photo = faces_dir / "Colin_Powell" / "Colin_Powell_0001.jpg"
    with replicated(2) as group:
        folder = tmp_path_factory.mktemp("replicas")
        settings = Settings.model_validate({"database_url": group.primary.url, "data_dir": folder})
        with Gallery.create(settings, model=str(insightface_pack)) as owner, service_role(settings) as of_service:
            owner.enroll(photo, "colin@example.org", name="Colin")
            accounts = Accounts(owner)
            administrator = accounts.register("admin@example.org", PASSWORD)
            add_administrator(owner.database, administrator.id, Client(), all_galleries=True)
            token = accounts.log_in("admin@example.org", PASSWORD).token
            key, _ = create_key(owner.database, "a program", ["admin"], Client(), all_galleries=True)
            with Galleries(owner) as galleries:
                galleries.create("staff")
            group.wait_until_replayed()
            yield Place(group, owner, of_service, photo, key, token)
            # The last test ends the primary, which has to drop the role.
            if not group.primary.is_running():
                group.primary.start()


@pytest.fixture
def replica(place: Place) -> Iterator[Gallery]:
    """The gallery on a replica."""
    place.group.wait_until_replayed()
    with Gallery.open(place.at(place.group.standbys[0])) as gallery:
        yield gallery


@pytest.fixture
def client(replica: Gallery) -> Iterator[TestClient]:
    """A client of a service on a replica."""
    with _client(replica) as client:
        yield client


def _client(gallery: Gallery) -> TestClient:
    return TestClient(create_app(gallery), base_url="http://localhost", raise_server_exceptions=False)


@pytest.fixture
def outcomes() -> Counter[tuple[str, str]]:
    """Counts the searches by server and outcome."""
    found: Counter[tuple[str, str]] = Counter()
    observe_searches(lambda server, outcome: found.update([(server.split("/")[-1].split(":")[0], outcome)]))
    return found


# A gallery on a replica


def test_a_replica_answers_everything_that_only_reads(place: Place, replica: Gallery, photos: Photos) -> None:
    probe = photos("Colin_Powell", 2)
    [face] = replica.identify(probe).faces
    assert [match.email for match in face.matches] == ["colin@example.org"]
    assert replica.verify(probe, "colin@example.org").match
    assert replica.compare(probe, place.photo).match
    assert replica.detect(probe)
    assert [user.email for user in replica.users()] == ["colin@example.org", "admin@example.org"]
    [stored] = replica.photos("colin@example.org")
    assert replica.crop(stored) == place.owner.crop(stored)
    assert {event.kind for event in replica.events()} >= {"gallery_created", "enrolled"}
    assert replica.contested_faces() == []
    status = replica.status()
    assert (status.is_replica, status.replica_lag_bytes, status.replica_lag_seconds) == (True, 0, 0.0)
    # Its counts of changed rows began at 0, so they say nothing.
    assert not status.search_due
    assert not place.owner.status().is_replica
    with Galleries(replica) as galleries:
        assert galleries["staff"].users() == []


def test_a_replica_refuses_every_change_of_a_program(place: Place, replica: Gallery, tmp_path: Path) -> None:
    accounts, face_login = Accounts(replica), FaceLogin(replica)
    operator = Client(authority=token_hash(place.token))
    colin = place.owner.user("colin@example.org")
    (tmp_path / "Dora").mkdir()
    (tmp_path / "Dora" / "1.jpg").symlink_to(place.photo)
    before = place.owner.users(), place.owner.photos()
    changes: list[Callable[[], object]] = [
        lambda: replica.enroll(place.photo, "dora@example.org"),
        lambda: replica.enroll_all(place.photo, [colin.id]),
        lambda: replica.enroll_embedding(np.ones(512), colin.id),
        lambda: replica.enroll_folder(tmp_path),
        lambda: replica.load_embeddings([colin.id], np.ones((1, 512))),
        lambda: replica.add_user("dora@example.org"),
        lambda: replica.update_user(colin.id, name="Dora"),
        lambda: replica.erase_user(colin.id),
        lambda: replica.erase_face(colin.id),
        lambda: replica.erase_photo(replica.photos()[0].id),
        lambda: replica.merge_users(colin.id, "admin@example.org"),
        lambda: replica.fit_search(),
        lambda: accounts.register("dora@example.org", PASSWORD),
        lambda: accounts.log_in("admin@example.org", PASSWORD),
        lambda: accounts.log_out(place.token),
        lambda: accounts.change_password(place.token, PASSWORD, PASSWORD + "!"),
        lambda: face_login.challenge(email="admin@example.org", password=PASSWORD),
        lambda: face_login.answer("token", [place.photo]),
        lambda: face_login.count_hint("token"),
        lambda: create_key(replica.database, "another", ["verify"], operator),
        lambda: revoke_key(replica.database, 1, operator),
        lambda: Galleries(replica).create("visitors", authority=operator.authority),
        lambda: Galleries(replica).delete("staff", authority=operator.authority),
        lambda: Gallery.create(replica.settings),
    ]
    for number, change in enumerate(changes):
        with pytest.raises(ReadOnlyError, match=says.REPLICA_ONLY_READS.pattern()):
            print(number, change())
    assert (place.owner.users(), place.owner.photos()) == before


def test_a_search_that_must_be_recorded_is_refused(place: Place, photos: Photos) -> None:
    settings = place.at(place.group.standbys[0], search_events=True)
    with Gallery.open(settings) as gallery:
        for search in (gallery.identify, lambda photo: gallery.verify(photo, "colin@example.org")):
            with pytest.raises(ReadOnlyError):
                search(photos("Colin_Powell", 2))


def test_a_key_is_checked_without_a_write(place: Place, replica: Gallery) -> None:
    key, about = create_key(place.owner.database, "new", ["verify"], Client())
    place.group.wait_until_replayed()
    assert find_key(replica.database, key).last_used_at is None
    assert find_key(place.owner.database, key).last_used_at is not None
    revoke_key(place.owner.database, about.id, Client())
    place.group.wait_until_replayed()
    with pytest.raises(Exception, match="revoked"):
        find_key(replica.database, key)


# The service on a replica


def test_every_operation_of_a_service_on_a_replica(
    place: Place, client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    document = client.get(f"{V1}/openapi.json").json()
    user_id = place.owner.user("colin@example.org").id
    photo = base64_of(place.photo.read_bytes())
    found: dict[str, Counter[int]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if (path == f"{V1}/jobs" and method == "post") or "{job_id}" in path:  # there is no job
                continue
            body = _body(document, operation, photo=photo, user_id=user_id)
            named = path.format(
                user_id=user_id, photo_id=1, gallery="staff", key_id=1, login_id=1, session_id=LIVENESS_SESSION
            )
            for headers in (bearer(place.key), bearer(place.token)):
                answer = client.request(method, named, headers=headers, json=body)
                short = f"{method.upper()} {path.removeprefix(V1)}"
                found.setdefault(short, Counter())[answer.status_code] += 1
                if answer.status_code == 421:
                    assert code_of(answer, 421) == "read-only"
                    assert answer.json()["detail"] == api_says.SERVICE_ONLY_READS
                    # A client that repeats the request here waits for nothing.
                    assert "retry-after" not in answer.headers
    for operation_name, statuses in found.items():
        method, path = operation_name.split()
        # A key is no user, so operations of one's own account refuse it with 403.
        expected = 200 if method == "GET" or path in READS else 421
        assert set(statuses) <= {expected, 403}, (operation_name, statuses)
        assert statuses[expected], (operation_name, statuses)
    job = client.post(f"{V1}/jobs", params={"kind": "evaluate"}, headers=bearer(place.key))
    assert code_of(job, 421) == "read-only"
    clean_up(client.app.state.service)  # type: ignore[attr-defined]
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []
    assert client.get("/docs").status_code in (200, 404)


def _body(document: Any, operation: Any, *, photo: str, user_id: int) -> Any:
    """Return the example of an operation's body, with a real photo."""
    if "requestBody" not in operation:
        return None
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    body = dict(schema["examples"][0])
    for name in body.keys() & {"photo", "other"}:
        body[name] = photo
    if schema["title"] == "VerifyRequest":
        body = {"photo": photo, "user_id": user_id}
    return body


def test_guessing_passwords_at_a_replica_gains_nothing(
    place: Place, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica cannot count attempts, so it compares no password: right and wrong ones get the same answer."""

    def compared(*_: object) -> None:
        raise AssertionError("a password was compared")

    monkeypatch.setattr(accounts_module, "prove", compared)
    answers = set()
    for password in ["wrong password here", PASSWORD] * (ROUNDS // 4):
        for path, body in (
            ("login", {"email": "admin@example.org", "password": password}),
            ("challenge", {"email": "admin@example.org", "password": password}),
        ):
            answer = client.post(f"{V1}/auth/{path}", json=body)
            answers.add((answer.status_code, answer.json()["code"], answer.json()["detail"]))
        page = client.post(
            "/login",
            data={"email": "admin@example.org", "password": password},
            headers={"Sec-Fetch-Site": "same-origin"},
        )
        assert (page.status_code, "set-cookie" in page.headers) == (421, False)
        assert "only reads" in page.text
    assert answers == {(421, "read-only", api_says.SERVICE_ONLY_READS)}
    monkeypatch.undo()
    with pytest.raises(LoginRefusedError):
        Accounts(place.owner).log_in("admin@example.org", "wrong password here")
    assert Accounts(place.owner).log_in("admin@example.org", PASSWORD)


def test_the_pages_of_a_service_on_a_replica(place: Place, client: TestClient) -> None:
    cookie = {"Cookie": f"__Host-pgface={place.token}", "Sec-Fetch-Site": "same-origin"}
    user_id = place.owner.user("colin@example.org").id
    pages = ("gallery", f"people/{user_id}", "identify", "status", "keys", "audit", "galleries")
    for page in ("/", "/account", *(f"/admin/{page}" for page in pages)):
        answer = client.get(page, headers=cookie)
        assert answer.status_code == 200, (page, answer.text[-500:])
    refused = client.post("/logout", headers=cookie)
    assert refused.status_code == 421
    # The session goes on, so the browser keeps its cookie.
    assert "set-cookie" not in refused.headers


def test_the_apis_of_other_services_on_a_replica(place: Place, photos: Photos) -> None:
    settings = place.at(place.group.standbys[0], rekognition=True, compreface=True)
    access_key = create_access_key(place.owner.database, settings, "a program", ["admin"], Client())
    key, _ = create_compreface_key(place.owner.database, "a program", "recognition", Client())
    place.group.wait_until_replayed()
    photo = photos("Colin_Powell", 2).read_bytes()
    with Gallery.open(settings) as gallery, _client(gallery) as client:

        def call(operation: str, **values: Any) -> Any:
            request = AWSRequest(
                "POST",
                "http://localhost/",
                data=json.dumps(values),
                headers={
                    "Content-Type": "application/x-amz-json-1.1",
                    "X-Amz-Target": f"RekognitionService.{operation}",
                },
            )
            secret = Credentials(access_key.access_key_id, access_key.secret)
            SigV4Auth(secret, "rekognition", "eu-central-1").add_auth(request)
            return client.post("/", content=request.data, headers=dict(request.headers))

        assert call("ListCollections").json()["CollectionIds"] == ["staff"]
        image = {"Bytes": base64_of(photo)}
        found = call("SearchFacesByImage", CollectionId="staff", Image=image)
        assert (found.status_code, found.json()["FaceMatches"]) == (200, [])
        for refused in (
            call("IndexFaces", CollectionId="staff", Image=image),
            call("CreateCollection", CollectionId="visitors"),
            call("DeleteCollection", CollectionId="staff"),
            call("CreateFaceLivenessSession"),
            call("GetFaceLivenessSessionResults", SessionId=LIVENESS_SESSION),
        ):
            # AWS SDKs do not repeat this error.
            assert (refused.status_code, refused.json()["__type"]) == (400, "AccessDeniedException"), refused.text
            assert refused.json()["Message"] == api_says.SERVICE_ONLY_READS

        recognition, headers = f"{V1}/recognition", {"x-api-key": key}
        answer = client.post(f"{recognition}/recognize", files={"file": file(photo)}, headers=headers)
        assert (answer.status_code, len(answer.json()["result"])) == (200, 1)
        refused = client.post(f"{recognition}/subjects", json={"subject": "Dora"}, headers=headers)
        assert refused.status_code == 421
        assert api_says.SERVICE_ONLY_READS in refused.text


def test_a_query_that_the_replica_stops_is_an_error_to_try_again(place: Place) -> None:
    b = place.group.standbys[0]
    b.configure(max_standby_streaming_delay="100ms")
    try:
        with Gallery.open(place.at(b)) as gallery:
            with pytest.raises(DatabaseUnreachableError, match=says.REPLICA_STOPPED_THE_QUERY.pattern()):
                _read_while_the_table_is_written_anew(place, gallery)
            # Other reads connect again.
            assert gallery.users()
    finally:
        b.configure(max_standby_streaming_delay="30s")


def _read_while_the_table_is_written_anew(place: Place, gallery: Gallery) -> None:
    with gallery.database.transaction() as connection:
        connection.execute("SELECT count(*) FROM users")
        place.group.primary.execute("VACUUM FULL public.users")
        for _ in range(100):
            time.sleep(0.05)
            connection.execute("SELECT count(*) FROM users")


def test_a_replica_says_how_far_it_is_behind(place: Place, photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica_lag, "_MAX_AGE", 0.0)
    b = place.group.standbys[0]
    settings = place.at(b, max_replica_lag=0.5)
    with (
        Gallery.open(settings) as gallery,
        _client(gallery) as client,
    ):
        current = {"current": True, "lag_bytes": 0, "lag_seconds": 0.0}
        assert eventually(lambda: client.get("/readyz").json()["replica"] == current, 5)
        # An idle primary commits nothing, so the last commit gets older.
        place.group.primary.execute("CHECKPOINT")
        time.sleep(0.6)
        assert eventually(lambda: client.get("/readyz").json()["replica"] == current, 5)
        with _paused(b):
            deleted = place.owner.add_user("gone@example.org")
            place.owner.enroll(photos("Hugo_Chavez", 1), deleted.id)
            assert eventually(lambda: client.get("/readyz").status_code == 503, 5)
            replica = client.get("/readyz").json()["replica"]
            assert not replica["current"]
            assert replica["lag_bytes"] > 0
            assert replica["lag_seconds"] > 0.5
            assert api_says.REPLICA_IS_BEHIND in healthcheck._reason(client.get("/readyz").content)
            values = _metrics(client, bearer(place.key))
            assert values["pgface_read_only", ()] == 1
            assert values["pgface_replica_lag_bytes", ("database",)] > 0
            assert values["pgface_replica_lag_seconds", ("database",)] > 0.5
            # Beyond the limit, it could show people who were deleted.
            for answer in (
                client.post(f"{V1}/identify", json={"photo": _base64(photos)}, headers=bearer(place.key)),
                client.get(f"{V1}/users", headers=bearer(place.key)),
            ):
                assert code_of(answer, 503) == "replica-behind"
                assert answer.headers["retry-after"]
            with pytest.raises(ReplicaBehindError, match=says.REPLICA_IS_BEHIND.pattern()):
                gallery.identify_embedding(np.ones(512))
            assert gallery.status().is_replica
            place.owner.erase_user(deleted.id)
        assert eventually(lambda: client.get("/readyz").status_code == 200, 5)
        assert client.get(f"{V1}/users", headers=bearer(place.key)).status_code == 200


def _base64(photos: Photos) -> str:
    return base64_of(photos("Colin_Powell", 2).read_bytes())


def test_a_replica_without_its_primary_is_behind(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica_lag, "_MAX_AGE", 0.0)
    c = place.group.standbys[1]
    source = c.value("SHOW primary_conninfo")
    with Gallery.open(place.at(c)) as known, Gallery.open(place.at(c)) as new:
        assert known.database.replica_lag() is not None
        try:
            c.configure(primary_conninfo="host=/nowhere port=5432")
            assert eventually(lambda: c.value("SELECT count(*) FROM pg_stat_wal_receiver") == 0, 5)
            time.sleep(0.1)
            lag = known.database.replica_lag()
            assert lag is not None
            # All that it has received is shown, and it does not know what it has not received.
            assert lag.bytes == 0
            assert lag.seconds is not None
            assert 0.1 < lag.seconds < 10
            unknown = new.database.replica_lag()
            assert unknown is not None
            assert unknown.seconds is None or unknown.seconds >= lag.seconds
        finally:
            c.configure(primary_conninfo=source)
        assert eventually(lambda: c.value("SELECT count(*) FROM pg_stat_wal_receiver") == 1, 10)


def test_commands_on_a_replica(place: Place, tmp_path: Path) -> None:
    settings = place.at(place.group.standbys[0], database_url=place.group.standbys[0].url)
    environment = environment_of(settings) | {"PGFACE_DATABASE_URL": place.group.standbys[0].url}
    run = runner(environment, tmp_path)
    assert says.STATUS_OF_A_REPLICA in run("status").stdout
    assert "Colin" in run("identify", place.photo).stdout
    findings = json.loads(run("doctor", "--json").stdout)["findings"]
    assert says.DOCTOR_NEEDS_THE_PRIMARY in {finding["found"] for finding in findings}
    assert "problem" not in {finding["state"] for finding in findings}
    for command in (
        ("enroll", place.photo, "--user", "dora@example.org"),
        ("init",),
        ("keys", "create", "x", "--scope", "verify"),
    ):
        refused = run(*command, code=1)
        assert says.REPLICA_ONLY_READS in " ".join(refused.stderr.split())


# Searches on replicas


def test_searches_are_spread_over_the_replicas(place: Place, outcomes: Counter[tuple[str, str]]) -> None:
    place.group.wait_until_replayed()
    with Gallery.open(place.reading_from(*place.group.standbys)) as gallery:
        for _ in range(60):
            gallery.identify_embedding(np.ones(512))
        assert outcomes.total() == outcomes["b", "answered"] + outcomes["c", "answered"] == 60
        assert min(outcomes["b", "answered"], outcomes["c", "answered"]) >= 12
        assert gallery.database.lags_of_replicas().keys() == {
            f"{server.folder}:5432" for server in place.group.standbys
        }
        # Several probes are one search. Everything else is asked of the primary.
        gallery.identify_embeddings([np.ones(512)] * 5)
        gallery.users()
        assert outcomes.total() == 61
        with Galleries(gallery) as galleries:
            assert galleries["staff"].identify_embedding(np.ones(512)) == []
        assert outcomes.total() == 62


def test_a_search_sees_every_change_before_it(place: Place, outcomes: Counter[tuple[str, str]]) -> None:
    """The changes are made by another process of the same gallery, and by SQL."""
    with Gallery.open(place.reading_from(*place.group.standbys)) as gallery:
        for number in range(ROUNDS):
            probe = _probe(number)
            user = place.owner.add_user(f"new{number}@example.org")
            place.owner.enroll_embedding(probe, user.id)
            assert [match.user_id for match in gallery.identify_embedding(probe)] == [user.id]
            assert gallery.verify_embedding(probe, user.id).match
            if number % 2:
                place.owner.erase_user(user.id)
            else:
                place.group.primary.execute("DELETE FROM public.users WHERE id = %s", user.id)
            assert gallery.identify_embedding(probe) == []
    replicas = outcomes["b", "answered"] + outcomes["c", "answered"]
    assert replicas + outcomes["primary", "answered"] == 3 * ROUNDS
    assert replicas > ROUNDS


def test_a_deleted_person_is_not_found_on_a_replica_that_is_behind(
    place: Place, outcomes: Counter[tuple[str, str]]
) -> None:
    b, c = place.group.standbys
    probe = _probe(1000)
    user = place.owner.add_user("deleted@example.org")
    place.owner.enroll_embedding(probe, user.id)
    with Gallery.open(place.reading_from(b, c)) as gallery:
        assert [match.user_id for match in gallery.identify_embedding(probe)] == [user.id]
        outcomes.clear()
        with _paused(b), _paused(c):
            place.owner.erase_user(user.id)
            # Both still have the person.
            assert b.value("SELECT count(*) FROM public.users WHERE id = %s", user.id) == 1
            began = time.monotonic()
            for _ in range(30):
                assert gallery.identify_embedding(probe) == []
            # Only the first of them waits.
            assert time.monotonic() - began < 5
            assert outcomes["primary", "answered"] == outcomes["b", "behind"] == outcomes["c", "behind"] == 30
            lags = gallery.database.lags_of_replicas()
            assert all(lag is not None and lag.bytes and lag.seconds for lag in lags.values()), lags
        place.group.wait_until_replayed()
        outcomes.clear()
        assert gallery.identify_embedding(probe) == []
        assert outcomes["primary", "answered"] == 0


def test_the_primary_answers_for_replicas_that_are_gone(
    place: Place, outcomes: Counter[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicas_module, "_PAUSE_LOST", 0.2)
    monkeypatch.setattr(replicas_module, "_CONNECT_TIMEOUT", 0.3)
    b, c = place.group.standbys
    probe = _probe(2000)
    user = place.owner.add_user("stays@example.org")
    place.owner.enroll_embedding(probe, user.id)

    def find() -> None:
        assert [match.user_id for match in gallery.identify_embedding(probe)] == [user.id]

    def is_used_again(server: str) -> bool:
        outcomes.clear()
        find()
        return outcomes[server, "answered"] == 1

    with Gallery.open(place.reading_from(b, c)) as gallery:
        find()
        b.kill()
        for _ in range(10):
            find()
        assert outcomes["primary", "answered"] == 0
        c.kill()
        for _ in range(10):
            find()
        assert outcomes["primary", "answered"] == 10
        assert set(gallery.database.lags_of_replicas().values()) == {None}
        b.start()
        c.start()
        assert eventually(lambda: is_used_again("b"), 10, 0.05)
    # A replica that hangs accepts connections and says nothing.
    monkeypatch.setattr(replicas_module, "_MAX_ANSWER", 0.5)
    with Gallery.open(place.reading_from(b)) as gallery:
        find()
        b.pause()
        began = time.monotonic()
        for _ in range(10):
            find()
        assert time.monotonic() - began < 5
        b.resume()
        assert eventually(lambda: is_used_again("b"), 10, 0.05)
    # Replicas that cannot be reached at the start are used later.
    c.kill()
    with Gallery.open(place.reading_from(c)) as gallery:
        find()
        c.start()
        assert eventually(lambda: is_used_again("c"), 10, 0.05)
    place.owner.erase_user(user.id)


def test_no_search_is_wrong_while_replicas_come_and_go(
    place: Place, outcomes: Counter[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four threads enroll, search, delete and search, while something happens to the replicas in each round."""
    monkeypatch.setattr(replicas_module, "_PAUSE_LOST", 0.2)
    monkeypatch.setattr(replicas_module, "_PAUSE_BEHIND", 0.2)
    chance = random.Random(1)  # noqa: S311 - the same in every run
    b, c = place.group.standbys
    wrong: list[str] = []

    def work(number: int) -> None:
        probe = _probe(10_000 + number)
        user = place.owner.add_user(f"round{number}@example.org")
        place.owner.enroll_embedding(probe, user.id)
        if [match.user_id for match in gallery.identify_embedding(probe)] != [user.id]:
            wrong.append("a new face was not found")
        place.owner.erase_user(user.id)
        if gallery.identify_embedding(probe):
            wrong.append("a deleted person was found")

    with Gallery.open(place.reading_from(b, c)) as gallery, ThreadPoolExecutor(4) as threads:
        for turn in range(ROUNDS // 5):
            server = chance.choice((b, c))
            happens = ("pause", "kill", "nothing")[turn % 3]
            with _paused(server) if happens == "pause" else nullcontext():
                if happens == "kill":
                    server.kill()
                for done in [threads.submit(work, 12 * turn + number) for number in range(12)]:
                    done.result()
            if happens == "kill":
                server.start()
    assert wrong == []
    print(dict(outcomes))
    assert {"answered", "behind", "lost"} <= {outcome for _, outcome in outcomes}


def test_another_database_is_no_replica(place: Place, postgres: str, database_url: str) -> None:
    assert postgres
    settings = place.reading_from(place.group.standbys[0]).model_dump() | {"read_url": database_url}
    settings["PGFACE_SCHEMA"] = settings.pop("schema_name")
    elsewhere = Settings.model_validate(settings)
    with Gallery.open(elsewhere) as gallery:
        for _ in range(2):
            with pytest.raises(SettingsError, match=says.READ_URL_LEADS_ELSEWHERE.pattern(host="...")):
                gallery.identify_embedding(np.ones(512))
    # The service does not even start.
    with pytest.raises(SettingsError):
        prepare(elsewhere)
    with prepare(place.reading_from(place.group.standbys[0])) as gallery:
        assert gallery.identify_embedding(np.ones(512)) == []


def test_the_metrics_of_a_service_with_replicas(place: Place, photos: Photos) -> None:
    with Gallery.open(place.reading_from(*place.group.standbys)) as gallery, _client(gallery) as client:
        before = _searches(client, place)
        for _ in range(6):
            found = client.post(f"{V1}/identify", json={"photo": _base64(photos)}, headers=bearer(place.key))
            assert found.json()["faces"][0]["matches"][0]["email"] == "colin@example.org"
        grown = _searches(client, place) - before
        hosts = {f"{server.folder}:5432" for server in place.group.standbys}
        assert grown.total() == 6
        assert {server for server, _ in grown} <= hosts
        values = _metrics(client, bearer(place.key))
        assert values["pgface_read_only", ()] == 0
        for host in hosts:
            assert values["pgface_replica_lag_bytes", (host,)] >= 0
            assert values["pgface_replica_lag_seconds", (host,)] >= 0
        assert client.get("/readyz").json()["replica"] is None


def _searches(client: TestClient, place: Place) -> Counter[tuple[str, str]]:
    """Return the number of searches by server and outcome."""
    text = client.get("/metrics", headers=bearer(place.key)).text
    return Counter(
        {
            (sample.labels["server"], sample.labels["outcome"]): int(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "pgface_searches_total"
        }
    )


def test_after_a_failover_only_replicas_of_the_new_primary_answer(
    place: Place, outcomes: Counter[tuple[str, str]]
) -> None:
    """This test ends the primary, so it is the last one."""
    b, c = place.group.standbys
    place.group.wait_until_replayed()
    settings = place.reading_from(b, c, url=url_of(place.group.servers, target_session_attrs="read-write"))
    place.group.primary.kill()
    c.promote()
    with (
        Gallery.open(settings) as gallery,
        Gallery.open(place.at(c)) as owner,
    ):
        for number in range(3):
            probe = _probe(3000 + number)
            user = owner.add_user(f"later{number}@example.org")
            owner.enroll_embedding(probe, user.id)
            # One follows the lost primary, and the other is the new one.
            assert [match.user_id for match in gallery.identify_embedding(probe)] == [user.id]
        assert outcomes.total() == 3 * 3
        assert outcomes["primary", "answered"] == 3
        b.follow(c)
        assert eventually(lambda: b.value("SELECT count(*) FROM public.users WHERE email = 'later2@example.org'") == 1)
        c.execute("CHECKPOINT")
        b.wait_until_like(c)
        b.execute("CHECKPOINT")
        outcomes.clear()
        assert [match.user_id for match in gallery.identify_embedding(probe)] == [user.id]
        assert outcomes["b", "answered"] == 1


def _probe(number: int) -> NDArray[np.float64]:
    return np.random.default_rng(number).normal(size=512)


@contextmanager
def _paused(server: Server) -> Iterator[None]:
    """Let a replica receive changes without showing them."""
    server.execute("SELECT pg_wal_replay_pause()")
    assert eventually(lambda: server.value("SELECT pg_get_wal_replay_pause_state()") == "paused")
    try:
        yield
    finally:
        server.execute("SELECT pg_wal_replay_resume()")


def _metrics(client: TestClient, headers: Headers) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(client.get("/metrics", headers=headers).text)
        for sample in family.samples
    }
