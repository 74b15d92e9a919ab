"""The Python client with the real service: every method, repeated calls, and a service that is killed and restarted."""

from __future__ import annotations

import inspect
import json
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import anyio
import httpx
import pytest
from anyio import from_thread
from PIL import Image

from pgface.accounts import Client as AccountsClient
from pgface.accounts import create_key
from pgface.accounts.liveness_sessions import LivenessSessions
from pgface.client import (
    AsyncClient,
    Challenge,
    Client,
    ConflictError,
    Event,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    PhotoRefusedError,
    ServiceFailedError,
    TooManyRequestsError,
    UnauthorizedError,
    UnexpectedResponseError,
    UnreachableError,
    retries,
)
from pgface.server.openapi import operations
from support.archives import zipped
from support.moving_heads import MovingHead
from support.openapi import document
from support.photos import Photos
from support.web_service import PASSWORD, Place, Running, Served, gallery_for_a_process, running

BUSH = ("George_W_Bush", 6)
EMAIL = "george@example.org"

Connect = Callable[..., Any]
"""Makes a client with a key, and perhaps for a gallery. Its methods wait for the response."""


class Recorded:
    """A client that records which methods were called."""

    def __init__(self, client: Client | AsyncClient, called: set[str], wait: Callable[[Any], Any]) -> None:
        self._client = client
        self._called = called
        self._wait = wait

    def __getattr__(self, name: str) -> Any:
        self._called.add(name)
        method = getattr(self._client, name)

        def call(*args: Any, **options: Any) -> Any:
            return self._wait(lambda: method(*args, **options))

        return call


@pytest.fixture
def called() -> set[str]:
    return set()


@pytest.fixture(params=["blocking", "async"])
def connect(request: pytest.FixtureRequest, api: Served, called: set[str]) -> Iterator[Connect]:
    """Makes clients of both kinds for the application in this process."""

    def respond(asked: httpx.Request) -> httpx.Response:
        answered = api.client.request(asked.method, str(asked.url), headers=dict(asked.headers), content=asked.content)
        headers = {name: value for name, value in answered.headers.items() if name != "content-encoding"}
        return httpx.Response(answered.status_code, headers=headers, content=answered.content)

    transport = httpx.MockTransport(respond)
    if request.param == "blocking":
        with httpx.Client(transport=transport) as http:
            yield lambda key, gallery=None: Recorded(
                Client("http://localhost", key, gallery=gallery, http=http), called, lambda work: work()
            )
        return

    async def awaited(work: Callable[[], Any]) -> Any:
        result = work()
        return await result if inspect.isawaitable(result) else [item async for item in result]

    with from_thread.start_blocking_portal() as portal:
        http_async = httpx.AsyncClient(transport=transport)
        yield lambda key, gallery=None: Recorded(
            AsyncClient("http://localhost", key, gallery=gallery, http=http_async),
            called,
            lambda work: portal.call(awaited, work),
        )
        portal.call(http_async.aclose)


@pytest.fixture
def operator_key(api: Served) -> Iterator[str]:
    """A key for all galleries."""
    yield create_key(api.owner.database, "a program", ["admin"], AccountsClient(), all_galleries=True)[0]
    api.execute("DELETE FROM api_keys WHERE all_galleries")


def test_every_method(api: Served, connect: Connect, called: set[str], photos: Photos, operator_key: str) -> None:
    admin = connect(api.new_key("admin")[0])
    faces(admin, photos)
    accounts(admin, connect, api, photos)
    jobs(admin)
    administration(admin, connect)
    galleries(connect, operator_key)
    assert called >= {operation["operationId"] for _, _, operation in operations(document())}


def faces(admin: Any, photos: Photos) -> None:
    blair = admin.create_user(
        "tony@example.org", "Tony Blair", external_id="1", labels=["staff"], metadata={"room": 10}
    )
    assert (blair.email, blair.name, blair.photos) == ("tony@example.org", "Tony Blair", 0)
    assert (blair.external_id, blair.labels, blair.metadata) == ("1", ("staff",), {"room": 10})
    assert admin.update_user(blair.id, external_id="", labels=["night", "day"]).labels == ("day", "night")
    assert admin.get_user(blair.id).external_id is None
    enrolled = admin.enroll_photo(blair.id, photos("Tony_Blair", 2))
    assert (enrolled.added, enrolled.user.photos) == (True, 1)
    with photos("Colin_Powell", 1).open("rb") as opened:
        other = admin.enroll_photo_by_email(
            opened, "colin@example.org", "Colin Powell", external_id="emp-1", labels=["a", "b"], metadata={"k": [1.5]}
        )
    assert (other.user.external_id, other.user.labels, other.user.metadata) == ("emp-1", ("a", "b"), {"k": [1.5]})
    again = admin.enroll_photo_by_email(photos("Colin_Powell", 1), "colin@example.org")
    assert (other.added, again.added, again.photo_id) == (True, False, other.photo_id)
    probe = photos("Tony_Blair", 3).read_bytes()
    found = admin.identify(probe, top=2)
    assert [match.name for match in found.faces[0].matches] == ["Tony Blair"]
    assert admin.identify(probe, labels=["a"]).faces[0].matches == ()
    changed = admin.update_user(blair.id, external_id="emp-2", labels=["b"])
    assert (changed.name, changed.external_id, changed.labels) == ("Tony Blair", "emp-2", ("b",))
    assert admin.identify(probe, labels=["b"]).faces[0].matches[0].external_id == "emp-2"
    assert [len(admin.list_users(label=labels).items) for labels in ("b", ["a", "b"])] == [2, 1]
    assert admin.list_users(external_id="emp-2").items[0].id == blair.id
    assert admin.update_user(blair.id, external_id="").external_id is None
    assert found.faces[0].quality.face_size == pytest.approx(found.faces[0].box.width, abs=0.1)
    assert admin.verify(probe, email="tony@example.org").match
    assert not admin.verify(probe, external_id="emp-1").match
    assert admin.compare(probe, photos("Tony_Blair", 2)).match
    assert len(admin.detect(probe)) == 1
    assert admin.get_user(blair.id).embeddings == 1
    assert [user.name for user in admin.list_users("blair").items] == ["Tony Blair"]
    assert [user.id for user in admin.iter_users(limit=1)] == [blair.id, other.user.id]
    (photo,) = admin.list_photos(blair.id).items
    assert list(admin.iter_photos(blair.id)) == [photo]
    with Image.open(BytesIO(admin.get_crop(blair.id, photo.id))) as crop:
        assert crop.size == (224, 224)
    admin.delete_photo(blair.id, photo.id)
    admin.delete_user(blair.id)
    with pytest.raises(NotFoundError) as raised:
        admin.get_user(blair.id)
    assert raised.value.code == "unknown-user"
    with pytest.raises(PhotoRefusedError):
        admin.identify(b"no photo")


def accounts(admin: Any, connect: Connect, api: Served, photos: Photos) -> None:
    anyone = connect(None)
    george = anyone.register(EMAIL, PASSWORD, "George")
    first, second, third = (anyone.log_in(EMAIL, PASSWORD) for _ in range(3))
    user = connect(first.token)
    assert user.get_me().user == george
    assert user.get_me().login.confidence == first.confidence == 1
    (current,) = [login for login in user.list_logins() if login.current]
    (oldest, *_) = [login for login in user.list_logins() if login != current]
    user.end_login(oldest.id)
    assert user.end_logins(keep_this=True) == 1
    for token in (second.token, third.token):
        assert not admin.introspect(token).active
    introspected = admin.introspect(first.token)
    assert (introspected.sub, introspected.username, introspected.amr) == (str(george.id), EMAIL, ("pwd",))
    with pytest.raises(ForbiddenError):
        user.list_users()
    with pytest.raises(UnauthorizedError):
        anyone.log_in(EMAIL, "wrong")
    for number in (7, 8):
        user.enroll_photo(george.id, photos(BUSH[0], number))
    challenge = anyone.create_challenge(EMAIL, PASSWORD)
    frames = MovingHead(api.gallery.faces, photos(*BUSH)).look("centre", frames=2)
    assert anyone.get_hint(challenge.token, frames[0])
    assert isinstance(anyone.log_in_by_face(challenge.token, frames), Challenge)
    with api.owner.database.transaction() as connection:
        session = LivenessSessions(api.gallery).create(connection)
    assert anyone.get_liveness_hint(session, frames[0])
    step = anyone.answer_liveness_session(session, frames)
    assert (step.done, 0 <= step.progress < 1) == (False, True)
    user.change_password(PASSWORD, PASSWORD + "!")
    user.log_out()
    with pytest.raises(UnauthorizedError):
        user.get_me()
    connect(anyone.log_in(EMAIL, PASSWORD + "!").token).delete_me(PASSWORD + "!")


def jobs(admin: Any) -> None:
    added = admin.create_job("enroll", zipped({"Alice/1.jpg": b"x", "loose.jpg": b"x"}))
    assert (added.state, added.total, added.refused) == ("queued", 2, 1)
    assert admin.get_job(added.id) == added
    assert [result.outcome for result in admin.iter_job_results(added.id, limit=1)] == ["waiting", "refused"]
    assert admin.list_job_results(added.id, limit=1).next_cursor
    assert admin.cancel_job(added.id).state == "cancelled"
    assert [job.id for job in admin.list_jobs("cancelled").items] == [job.id for job in admin.iter_jobs()] == [added.id]


def administration(admin: Any, connect: Connect) -> None:
    created = admin.create_api_key("door", ["verify"])
    with pytest.raises(ForbiddenError):
        connect(created.key).list_users()
    assert created.about.id in {key.id for key in admin.list_api_keys()}
    admin.revoke_api_key(created.about.id)
    with pytest.raises(UnauthorizedError):
        connect(created.key).introspect("x")
    assert admin.get_status().users == 1
    (login, *_) = admin.list_audit(event="login by password", limit=1).items
    assert login.outcome in ("done", "refused")
    assert login in list(admin.iter_audit(limit=5))
    enrolled = admin.list_events(kind=["enrolled"], limit=2)
    assert [event.kind for event in enrolled.items] == ["enrolled"] * 2
    assert admin.list_events(enrolled.items[0].cursor, kind=["enrolled"], limit=1).items == enrolled.items[1:]
    assert admin.list_events("end", wait=0.01).items == ()
    assert admin.healthz() == "ok"
    assert admin.readyz().ready
    assert "pgface_users 1.0" in admin.get_metrics()


def galleries(connect: Connect, operator_key: str) -> None:
    operator = connect(operator_key, "another")
    created = operator.create_gallery("staff")
    assert (created.name, created.people) == ("staff", 0)
    staff = connect(operator_key, "staff")
    ana = staff.create_user("ana@example.org")
    assert staff.get_user(ana.id) == ana
    assert [user.email for user in staff.iter_users()] == ["ana@example.org"]
    assert "ana@example.org" not in [user.email for user in connect(operator_key).iter_users()]
    key = staff.create_api_key("door", ["admin"])
    assert (key.about.all_galleries, connect(key.key, "staff").get_status().users) == (False, 1)
    with pytest.raises(UnauthorizedError):
        connect(key.key).get_status()
    assert operator.get_gallery("staff").people == 1
    assert operator.rename_gallery("staff", "employees").name == "employees"
    assert [one.name for one in operator.list_galleries()] == ["employees"]
    with pytest.raises(ConflictError):
        operator.create_gallery("employees")
    operator.delete_gallery("employees")
    with pytest.raises(NotFoundError):
        operator.get_gallery("employees")


def test_an_enrollment_sent_twice_adds_one_photo(api: Served, connect: Connect, photos: Photos) -> None:
    service = connect(api.new_key("enroll")[0])
    photo = photos("Tony_Blair", 2)
    sent = [service.enroll_photo_by_email(photo, EMAIL, idempotency_key="door-7") for _ in range(2)]
    assert sent[0] == sent[1]
    assert sent[0].added
    assert api.gallery.user(EMAIL).photos == 1
    with pytest.raises(InvalidRequestError) as raised:
        service.enroll_photo_by_email(photos("Tony_Blair", 3), EMAIL, idempotency_key="door-7")
    assert raised.value.code == "key-used-before"
    with pytest.raises(ConflictError):
        service.create_user(EMAIL)


# A service that fails

Response = tuple[int, str, dict[str, str]]
"""The status, the code of the problem or the JSON of a success, and the headers."""
USER = {"id": 1, "name": "Ana", "email": EMAIL, "created_at": "2026-05-04T08:00:00Z", "photos": 0, "embeddings": 0}
BUSY: Response = (503, "service-busy", {"Retry-After": "0"})
STILL_RUNNING: Response = (409, "request-repeated", {"Retry-After": "0"})
OK: Response = (200, json.dumps(USER), {})
CUT: Response = (200, '{"events": [', {"Content-Length": "9999"})
"""The connection is closed in the middle of the response."""


class Failing(BaseHTTPRequestHandler):
    """Responds as it is told to. None closes the connection without a response."""

    protocol_version = "HTTP/1.1"
    script: ClassVar[list[Response | None]]
    seen: ClassVar[list[str | None]]
    """The idempotency keys of the requests."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.respond
        raise AttributeError(name)

    def respond(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.seen.append(self.headers.get("idempotency-key"))
        response = self.script.pop(0)
        if response is None:
            self.close_connection = True
            return
        status, code, headers = response
        problem = {"type": "", "title": "", "status": status, "detail": "A detail.", "code": code}
        body = (code if status == 200 else json.dumps(problem)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if status == 200 else "application/problem+json")
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = "Content-Length" in headers

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def failing(*responses: Response | None, **options: Any) -> Iterator[tuple[Client, list[str | None]]]:
    """Run a service on a real port that gives these responses. Yield a client and the keys of its requests."""

    class Handler(Failing):
        script: ClassVar = list(responses)
        seen: ClassVar = []

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with local(f"http://127.0.0.1:{server.server_port}", "key", **options) as client:
            yield client, Handler.seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert Handler.script == []


@contextmanager
def local(url: str, key: str, **options: Any) -> Iterator[Client]:
    """Make a client of a service on this machine, which uses no proxy."""
    with httpx.Client(trust_env=False, timeout=60) as http:
        yield Client(url, key, http=http, **options)


@pytest.fixture
def _short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "_FIRST_DELAY", 0.01)


@pytest.mark.usefixtures("_short_delays")
def test_a_busy_service_is_asked_again() -> None:
    with failing(BUSY, (502, "", {}), None, OK) as (client, _):
        assert client.get_user(1).name == "Ana"
    with failing(BUSY, None, STILL_RUNNING, OK) as (client, keys):
        assert client.create_user(EMAIL).name == "Ana"
        assert len(keys) == 4
        assert len(set(keys)) == 1
        assert keys[0]


@pytest.mark.usefixtures("_short_delays")
def test_attempts_are_bounded() -> None:
    with failing(*[BUSY] * 3, retries=2) as (client, _), pytest.raises(ServiceFailedError):
        client.get_user(1)
    with failing(BUSY) as (client, _), pytest.raises(ServiceFailedError):
        client.delete_user(1)
    with failing(None) as (client, _):
        with pytest.raises(UnreachableError) as lost:
            client.delete_user(1)
        assert lost.value.sent
        assert "the connection was lost" in str(lost.value)
    with failing((429, "too-many-attempts", {"Retry-After": "900"})) as (client, _):
        with pytest.raises(TooManyRequestsError) as refused:
            client.get_user(1)
        assert refused.value.retry_after == 900


def page_of(*cursors: str) -> Response:
    """A page of events."""
    about = {"kind": "enrolled", "at": USER["created_at"], "count": 1}
    empty = dict.fromkeys(("user_id", "other_user_id", "photo_id", "matched", "confidence"))
    events = [about | empty | {"cursor": cursor, "id": number} for number, cursor in enumerate(cursors)]
    return 200, json.dumps({"events": events, "next_cursor": cursors[-1] if cursors else "c"}), {}


@pytest.mark.usefixtures("_short_delays")
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_following_outlasts_an_outage(kind: type[Client | AsyncClient]) -> None:
    """Each event comes once, also if the connection is cut, or the service is busy more often than a call allows."""
    busy: Response = (429, "too-many-waiting", {"Retry-After": "0"})
    outage = [BUSY, None, busy, CUT, CUT]

    async def following(url: str, count: int, **options: Any) -> list[str]:
        if kind is Client:
            with local(url, "key", retries=0) as client:
                return [event.cursor for event in islice(client.follow_events(**options), count)]
        async with httpx.AsyncClient(trust_env=False) as http:
            events = AsyncClient(url, "key", retries=0, http=http).follow_events(**options)
            return [(await anext(events)).cursor for _ in range(count)]

    with failing(page_of("a", "b"), page_of(), *outage, page_of("d")) as (client, _):
        assert anyio.run(partial(following, client.url, 3)) == ["a", "b", "d"]
    with failing(page_of("a"), BUSY) as (client, _), pytest.raises(ServiceFailedError):
        anyio.run(partial(following, client.url, 2, max_outage=0))
    with failing(BUSY) as (client, _), pytest.raises(ServiceFailedError):  # nothing was ever received
        anyio.run(partial(following, client.url, 1))


def test_another_server_is_not_pgface() -> None:
    with failing(OK) as (client, _), pytest.raises(UnexpectedResponseError):
        client.get_status()


@pytest.fixture(scope="module")
def place(postgres: str, tmp_path_factory: pytest.TempPathFactory, insightface_pack: Path) -> Iterator[Place]:
    with gallery_for_a_process(postgres, tmp_path_factory.mktemp("place"), insightface_pack) as place:
        yield place


@pytest.mark.slow
def test_a_killed_service_is_found_again_after_its_restart(
    place: Place, tmp_path: Path, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "_MAX_DELAY", 0.5)
    key = place.key("enroll", "identify", "events")["Authorization"].split()[1]
    photo = photos("Tony_Blair", 2)
    with (
        running(tmp_path / "first", place.environment) as first,
        local(first.url, key, retries=200) as client,
        ThreadPoolExecutor(1) as thread,
    ):
        events = client.follow_events(client.list_events("end").next_cursor, kind=["user_added"])
        followed = thread.submit(lambda: [event.user_id for event in islice(events, 2)])
        assert client.enroll_photo_by_email(photo, EMAIL, idempotency_key="1").added
        first.end(signal.SIGKILL)
        with pytest.raises(UnreachableError) as raised, local(first.url, key, retries=0) as impatient:
            impatient.readyz()
        assert not raised.value.sent
        other = place.owner.add_user("added@example.org")
        with ThreadPoolExecutor(1) as second:
            enrolled = second.submit(client.enroll_photo_by_email, photo, EMAIL, idempotency_key="1")
            with running(tmp_path / "second", place.environment, "--port", str(first.port)):
                assert enrolled.result(60).added
                (face,) = client.identify(photos("Tony_Blair", 3)).faces
                assert [match.email for match in face.matches] == [EMAIL]
                assert followed.result(60) == [place.owner.user(EMAIL).id, other.id]
    assert place.owner.user(EMAIL).photos == 1


@pytest.mark.slow
def test_a_body_that_is_too_large_is_refused(place: Place, tmp_path: Path) -> None:
    key = place.key("identify")["Authorization"].split()[1]
    photo = bytes(200_000_000)  # of less than that, the service reads enough for a complete response

    async def identify(service: Running) -> None:
        async with AsyncClient(service.url, key) as client:
            await client.identify(photo)

    with running(tmp_path, place.environment) as service, local(service.url, key) as client:
        for attempt in (partial(client.identify, photo), partial(anyio.run, identify, service)):
            with pytest.raises(InvalidRequestError) as raised:
                attempt()
            assert (raised.value.status, raised.value.code) == (413, "request-too-large")


def test_events_are_followed(api: Served) -> None:
    key = api.new_key("admin")[0]
    emails = iter(range(10))

    def respond(asked: httpx.Request) -> httpx.Response:
        api.owner.add_user(f"follower{next(emails)}@example.org")
        answered = api.client.get(str(asked.url), headers=dict(asked.headers))
        return httpx.Response(answered.status_code, json=answered.json())

    async def first_two() -> list[Event]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(respond)) as http:
            service = AsyncClient("http://localhost", key, http=http)
            events = service.follow_events("end", wait=0.01)
            return [await anext(events), await anext(events)]

    with httpx.Client(transport=httpx.MockTransport(respond)) as http:
        found = list(islice(Client("http://localhost", key, http=http).follow_events("end", wait=0.01), 2))
    for first, second in (found, anyio.run(first_two)):
        assert first.kind == second.kind == "user_added"
        assert first.user_id is not None
        assert second.user_id is not None
        assert first.user_id < second.user_id
