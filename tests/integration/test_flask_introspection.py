"""The Flask application that accepts the service's tokens, with a running service."""

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
from pgface.accounts.sessions import begin_session
from pgface.gallery import Gallery
from pgface.settings import Settings
from support.commands import environment_of
from support.sentences import pages as says
from support.serve import Served, serving

pytestmark = pytest.mark.slow

FILE = Path(__file__).parents[2] / "examples" / "flask_introspection" / "app.py"
EMAIL, PASSWORD = "siti@example.org", "four plain words here"
HERE = Client(address="192.0.2.7")
NOT_AVAILABLE = (503, f'{{"error":"{says.FLASK_NOT_AT_THE_MOMENT}"}}\n'.encode())
LOG_IN_FIRST = (401, b'{"error":"Log in."}\n')


@pytest.fixture
def people(settings: Settings) -> Iterator[Gallery]:
    with Gallery.create(settings, model="sface") as gallery:
        Accounts(gallery).register(EMAIL, PASSWORD, name="Siti")
        yield gallery


@pytest.fixture
def service(people: Gallery, tmp_path: Path) -> Iterator[Served]:
    with serving(environment_of(people.settings) | {"PGFACE_CONNECT_TIMEOUT": "1"}, tmp_path) as service:
        yield service


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")  # a proxy must not get the key and the tokens
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


def status_and_body(answer: TestResponse) -> tuple[int, bytes]:
    return answer.status_code, answer.data


def test_only_valid_tokens_give_access(
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

    refused = [None, "Bearer ", "Bearer", f"Basic {login.token}", f"Bearer {ended.token}", f"Bearer {key}", "Bearer x"]
    for authorization in [*refused, f"Bearer {login.token}x", f"Bearer {'x' * 100_000}", "Bearer \xff", "Bearer a b"]:
        answer = ask(client, "/", authorization)
        assert status_and_body(answer) == LOG_IN_FIRST
        assert answer.headers["WWW-Authenticate"] == "Bearer"

    accounts.log_out(login.token, client=HERE)
    assert status_and_body(ask(client, "/", f"Bearer {login.token}")) == LOG_IN_FIRST

    # Access is refused if the key is revoked, or if the service does not run.
    revoke_key(people.database, stored.id, HERE)
    with caplog.at_level(logging.ERROR):
        assert status_and_body(ask(client, "/", f"Bearer {by_face.token}")) == NOT_AVAILABLE
        service.end()
        assert status_and_body(ask(client, "/", f"Bearer {by_face.token}")) == NOT_AVAILABLE
    assert status_and_body(ask(client, "/", None)) == LOG_IN_FIRST
    assert "UnauthorizedError" in caplog.text
    assert "UnreachableError" in caplog.text
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
def test_unusable_answers_give_no_access(
    example: ModuleType, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes
) -> None:
    class OddService(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), OddService) as odd_service:
        thread = threading.Thread(target=odd_service.handle_request)
        thread.start()
        client = connect(example, monkeypatch, f"http://127.0.0.1:{odd_service.server_port}", "key")
        answer = ask(client, "/", "Bearer abc")
        thread.join()
    assert status_and_body(answer) == NOT_AVAILABLE
