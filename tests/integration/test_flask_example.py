"""The Flask application with login by password and by face."""

from __future__ import annotations

import importlib.util
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.security import generate_password_hash
from werkzeug.test import TestResponse

from pgface.accounts import Accounts, read_audit
from pgface.gallery import Gallery
from pgface.settings import Settings, get_settings
from support.moving_heads import MovingHead, follow
from support.photos import Photos
from support.sentences import accounts as accounts_say
from support.sentences import pages as says

pytestmark = pytest.mark.usefixtures("short_courses")

FILE = Path(__file__).parents[2] / "examples" / "flask_login" / "app.py"
EMAIL, PASSWORD = "bush@example.org", "four plain words here"


@pytest.fixture
def people(gallery: Gallery, photos: Photos) -> Gallery:
    Accounts(gallery).register(EMAIL, PASSWORD, name="George")
    gallery.enroll(photos("George_W_Bush", 7), EMAIL)
    gallery.enroll(photos("Tony_Blair", 3), "blair@example.org")
    return gallery


@pytest.fixture
def example(settings: Settings, people: Gallery, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    assert settings.database_url
    assert people
    monkeypatch.setenv("PGFACE_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("PGFACE_SCHEMA", settings.schema_name)
    monkeypatch.setenv("PGFACE_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("PGFACE_LOGIN_POLICY", "face+liveness")
    monkeypatch.setenv("PGFACE_LIVENESS", "challenge-only")
    get_settings.cache_clear()
    spec = importlib.util.spec_from_file_location("flask_login_example", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    yield module
    if module.gallery.cache_info().currsize:
        module.gallery().close()
    get_settings.cache_clear()


@pytest.fixture
def browser(example: ModuleType) -> FlaskClient:
    client: FlaskClient = example.app.test_client()
    client.environ_base["HTTP_SEC_FETCH_SITE"] = "same-origin"
    return client


def ask(browser: FlaskClient, method: str, path: str, data: dict[str, Any] | None = None) -> TestResponse:
    return browser.open(path, method=method, base_url="https://localhost", data=data)


def test_log_in_by_password_and_log_out(browser: FlaskClient) -> None:
    assert ask(browser, "GET", "/").location == "/login"
    assert says.FLASK_LOG_IN_BY_FACE in ask(browser, "GET", "/login").text
    done = ask(browser, "POST", "/login", data={"email": EMAIL, "password": PASSWORD})
    assert done.location == "/"
    cookie = done.headers["Set-Cookie"]
    assert all(flag in cookie for flag in ("Secure", "HttpOnly", "SameSite=Lax"))
    home = ask(browser, "GET", "/").text
    assert "George" in home
    assert says.FLASK_LOGGED_IN_BY_PASSWORD in home
    assert ask(browser, "POST", "/logout").location == "/login"
    assert ask(browser, "GET", "/").location == "/login"


def test_a_cookie_does_not_work_after_the_log_out(browser: FlaskClient, example: ModuleType) -> None:
    ask(browser, "POST", "/login", data={"email": EMAIL, "password": PASSWORD})
    cookie_before = browser.get_cookie("session", domain="localhost")
    assert cookie_before is not None
    ask(browser, "POST", "/logout")
    thief: FlaskClient = example.app.test_client()
    thief.set_cookie("session", cookie_before.value, domain="localhost", secure=True)
    assert ask(thief, "GET", "/").location == "/login"


def test_a_password_hash_of_werkzeug(browser: FlaskClient, people: Gallery) -> None:
    with people.database.transaction() as connection:
        connection.execute("UPDATE users SET password = %s", (generate_password_hash("old", method="scrypt:1024:8:1"),))
    assert ask(browser, "POST", "/login", data={"email": EMAIL, "password": "old"}).location == "/"


def test_wrong_passwords_and_too_many_attempts(browser: FlaskClient) -> None:
    for _ in range(5):
        refused = ask(browser, "POST", "/login", data={"email": EMAIL, "password": "wrong"})
        assert refused.status_code == 401
        assert accounts_say.WRONG_EMAIL_OR_PASSWORD in refused.text
    waiting = ask(browser, "POST", "/login", data={"email": EMAIL, "password": PASSWORD})
    assert waiting.status_code == 429
    assert int(waiting.headers["Retry-After"]) >= 1


def log_in_by_face(browser: FlaskClient, gallery: Gallery, photo: Path, email: str) -> TestResponse:
    challenge = ask(browser, "POST", "/login/face/challenge", data={"email": email}).get_json()

    def answer(frames: list[bytes]) -> Any:
        files = [(io.BytesIO(frame), "x.jpg") for frame in frames]
        answered = ask(browser, "POST", "/login/face", data={"challenge": challenge["token"], "frames": files})
        return answered.get_json()["pose"] if answered.status_code == 202 else answered

    answered: TestResponse = follow(MovingHead(gallery.faces, photo).look, answer, challenge["pose"])
    return answered


def test_log_in_by_face(browser: FlaskClient, people: Gallery, photos: Photos) -> None:
    assert log_in_by_face(browser, people, photos("George_W_Bush", 6), EMAIL).location == "/"
    assert says.FLASK_LOGGED_IN_BY_FACE in ask(browser, "GET", "/").text


def test_another_face_and_an_unknown_challenge_are_refused(
    browser: FlaskClient, people: Gallery, photos: Photos
) -> None:
    refused = log_in_by_face(browser, people, photos("Tony_Blair", 2), EMAIL)
    assert refused.status_code == 401
    assert accounts_say.LOGIN_BY_FACE_REFUSED in refused.text
    assert read_audit(people.database)[0].reason == accounts_say.REASON_ANOTHER_FACE
    nothing = ask(browser, "POST", "/login/face", data={"challenge": "made up", "email": EMAIL})
    assert nothing.status_code == 401
    assert ask(browser, "GET", "/").location == "/login"


def test_requests_of_other_sites_are_refused(example: ModuleType) -> None:
    client: FlaskClient = example.app.test_client()
    client.environ_base["HTTP_SEC_FETCH_SITE"] = "cross-site"
    for path in ("/login", "/login/face", "/login/face/challenge", "/logout"):
        assert ask(client, "POST", path, data={"email": EMAIL, "password": PASSWORD}).status_code == 403


def test_a_large_body_is_refused(browser: FlaskClient, example: ModuleType) -> None:
    assert example.app.config["MAX_CONTENT_LENGTH"] == 20 * 2**20
    example.app.config["MAX_CONTENT_LENGTH"] = 20_000
    frames = [(io.BytesIO(b"\0" * 22_000), "x.jpg")]
    assert ask(browser, "POST", "/login/face", data={"challenge": "x", "frames": frames}).status_code == 413


def test_without_a_database_the_answer_is_one_sentence(
    browser: FlaskClient, example: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    example.gallery().close()
    example.gallery.cache_clear()
    monkeypatch.setenv("PGFACE_DATABASE_URL", "postgresql://127.0.0.1:1/nothing")
    get_settings.cache_clear()
    failed = ask(browser, "POST", "/login/face/challenge")
    assert (failed.status_code, failed.text) == (503, says.FLASK_NOT_AT_THE_MOMENT)
