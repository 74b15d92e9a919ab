"""The Flask application that accepts the service's tokens, against a service that runs."""

from __future__ import annotations

import http.server
import importlib.util
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from pgface.accounts import Accounts, Client, create_key, revoke_key
from pgface.accounts.logins import begin_session
from pgface.gallery import Gallery
from pgface.settings import Settings
from support.commands import environment_of
from support.sentences import pages as says
from support.serve import Served, serving

pytestmark = pytest.mark.slow

FILE = Path(__file__).parents[2] / "examples" / "flask_introspection" / "app.py"
EMAIL, PASSWORD = "siti@example.org", "four plain words here"
HERE = Client(address="192.0.2.7")
SHUT = (503, f'{{"error":"{says.FLASK_NOT_AT_THE_MOMENT}"}}\n'.encode())
NOBODY = (401, b'{"error":"Log in."}\n')


@pytest.fixture
def people(settings: Settings) -> Iterator[Gallery]:
    with Gallery.create(settings, model="dlib") as gallery:
        Accounts(gallery).register(EMAIL, PASSWORD, name="Siti")
        yield gallery


@pytest.fixture
def service(people: Gallery, tmp_path: Path) -> Iterator[Served]:
    with serving(environment_of(people.settings) | {"PGFACE_CONNECT_TIMEOUT": "1"}, tmp_path) as service:
        yield service


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")  # the key and the tokens are nobody's else
    spec = importlib.util.spec_from_file_location("flask_introspection_example", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    yield module
    if module.service.cache_info().currsize:
        module.service().close()


def connect(example: ModuleType, monkeypatch: pytest.MonkeyPatch, url: str, key: str) -> FlaskClient:
    monkeypatch.setenv("FACE_SERVICE", url)
    monkeypatch.setenv("FACE_SERVICE_KEY", key)
    client: FlaskClient = example.app.test_client()
    return client


def ask(client: FlaskClient, path: str, authorization: str | None) -> TestResponse:
    return client.get(path, headers={} if authorization is None else {"Authorization": authorization})


def said(answer: TestResponse) -> tuple[int, bytes]:
    return answer.status_code, answer.data


def test_tokens_of_people(
    people: Gallery,
    service: Served,
    example: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    accounts = Accounts(people)
    key, stored = create_key(people.database, "my application", ["verify"], HERE)
    client = connect(example, monkeypatch, service.url, key)
    login = accounts.log_in(EMAIL, PASSWORD, client=HERE)
    with people.database.transaction() as connection:
        by_face = begin_session(connection, login.user_id, confidence=0.82, password_given=False, seconds=60)
        ended = begin_session(connection, login.user_id, confidence=1.0, password_given=True, seconds=-1)

    assert ask(client, "/", f"Bearer {login.token}").json == {"hello": "Siti"}
    assert ask(client, "/", f"bearer {by_face.token}").json == {"hello": "Siti"}
    assert ask(client, "/salary", f"Bearer {login.token}").json == {"of": EMAIL, "amount": 5_000}
    assert ask(client, "/salary", f"Bearer {by_face.token}").status_code == 403

    nobody = [None, "Bearer ", "Bearer", f"Basic {login.token}", f"Bearer {ended.token}", f"Bearer {key}", "Bearer x"]
    for authorization in [*nobody, f"Bearer {login.token}x", f"Bearer {'x' * 100_000}", "Bearer \xff", "Bearer a b"]:
        answer = ask(client, "/", authorization)
        assert said(answer) == NOBODY
        assert answer.headers["WWW-Authenticate"] == "Bearer"

    accounts.log_out(login.token, client=HERE)
    assert said(ask(client, "/", f"Bearer {login.token}")) == NOBODY

    # Nobody is let in by an application that may not ask, or when there is nobody to ask.
    revoke_key(people.database, stored.id, HERE)
    with caplog.at_level(logging.ERROR):
        assert said(ask(client, "/", f"Bearer {by_face.token}")) == SHUT
        service.end()
        assert said(ask(client, "/", f"Bearer {by_face.token}")) == SHUT
    assert said(ask(client, "/", None)) == NOBODY
    assert "HTTPStatusError" in caplog.text
    assert "ConnectError" in caplog.text
    assert by_face.token not in caplog.text + service.log.read_text()
    assert key not in caplog.text + service.log.read_text()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"no JSON"),
        (200, b"[]"),
        (200, b"{}"),
        (200, b'{"active":"yes"}'),
        (200, b'{"active":true}'),
        (200, b'{"active":true,"sub":"x","username":"a","name":"b","confidence":1}'),
        (302, b""),
        (500, b'{"active":true,"sub":"1","username":"a","name":"b","confidence":1}'),
    ],
)
def test_answers_that_cannot_be_relied_upon_open_nothing(
    example: ModuleType, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes
) -> None:
    class Strange(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Strange) as strange:
        thread = threading.Thread(target=strange.handle_request)
        thread.start()
        client = connect(example, monkeypatch, f"http://127.0.0.1:{strange.server_port}", "key")
        answer = ask(client, "/", "Bearer abc")
        thread.join()
    assert said(answer) in (SHUT, NOBODY)
    assert (said(answer) == NOBODY) == (body == b'{"active":"yes"}')
