"""Accounts over HTTP: registering, logging in by password and by face, keys, and introspection."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from httpx2 import Response

from pgface.accounts import Client, FaceLogin, read_audit, revoke_key
from pgface.accounts.sessions import begin_session
from pgface.server.service import Service
from pgface.settings import Settings
from support.moving_heads import MovingHead, follow
from support.photos import Photos
from support.sentences import accounts as says
from support.sentences import api as api_says
from support.web_service import PASSWORD, V1, Served, base64_of, bearer, code_of, file

pytestmark = pytest.mark.usefixtures("short_courses")

OTHER_PASSWORD = "other words than before"
BUSH = ("George_W_Bush", 6)
EMAIL = "bush@example.org"


@pytest.fixture
def settings_of(api: Served) -> Iterator[Any]:
    """Return a function that changes the settings of the running service."""
    service, before = api.service, api.gallery.settings

    def change(**changes: object) -> None:
        values = before.model_dump() | changes
        api.gallery._settings = Settings.model_validate({"PGFACE_SCHEMA": values.pop("schema_name")} | values)
        face_login = FaceLogin(api.gallery)
        parts = {name: getattr(service, name) for name in Service.__dataclass_fields__}
        api.app.state.service = Service(**parts | {"face_login": face_login})

    yield change
    api.gallery._settings = before
    api.app.state.service = service


def test_an_account_from_registration_to_deletion(api: Served) -> None:
    body = {"email": "Ana@Example.org", "password": PASSWORD, "name": "Ana"}
    made = api.client.post(f"{V1}/auth/register", json=body)
    assert (made.status_code, made.json()["email"]) == (201, "ana@example.org")
    assert "token" not in made.json()
    assert code_of(api.client.post(f"{V1}/auth/register", json=body), 409) == "duplicate-email"
    logged_in = api.client.post(f"{V1}/auth/login", json={"email": " ANA@example.org", "password": PASSWORD})
    assert logged_in.status_code == 200
    assert (logged_in.json()["token_type"], logged_in.json()["confidence"]) == ("Bearer", 1.0)
    assert logged_in.headers["cache-control"] == "no-store"
    headers = bearer(logged_in.json()["token"])
    me = api.client.get(f"{V1}/auth/me", headers=headers).json()
    assert (me["user"], me["administrator"]) == (made.json(), False)
    assert me["login"]["expires_at"] == logged_in.json()["expires_at"]

    second = bearer(api.log_in("ana@example.org").token)
    logins = api.client.get(f"{V1}/auth/logins", headers=headers).json()["logins"]
    assert [login["current"] for login in logins] == [True, False]
    assert api.client.delete(f"{V1}/auth/logins/{logins[1]['id']}", headers=headers).status_code == 204
    assert code_of(api.client.get(f"{V1}/auth/me", headers=second), 401) == "not-logged-in"
    deleted = api.client.delete(f"{V1}/auth/logins/{logins[1]['id']}", headers=headers)
    assert code_of(deleted, 404) == "unknown-login"
    assert "www-authenticate" not in deleted.headers

    third = bearer(api.log_in("ana@example.org").token)
    change = {"former": PASSWORD, "new": OTHER_PASSWORD}
    assert api.client.post(f"{V1}/auth/password", json=change, headers=headers).status_code == 204
    assert api.client.get(f"{V1}/auth/me", headers=third).status_code == 401
    assert api.client.get(f"{V1}/auth/me", headers=headers).status_code == 200
    assert code_of(api.client.post(f"{V1}/auth/password", json=change, headers=headers), 401) == "login-refused"
    weak = {"former": OTHER_PASSWORD, "new": "ana@example.org1"}
    assert code_of(api.client.post(f"{V1}/auth/password", json=weak, headers=headers), 422) == "weak-password"

    for _ in range(2):
        api.client.post(f"{V1}/auth/login", json={"email": "ana@example.org", "password": OTHER_PASSWORD})
    kept = api.client.delete(f"{V1}/auth/logins", params={"keep_this": True}, headers=headers)
    assert kept.json() == {"ended": 2}
    assert api.client.post(f"{V1}/auth/logout", headers=headers).status_code == 204
    assert api.client.get(f"{V1}/auth/me", headers=headers).status_code == 401

    again = api.client.post(f"{V1}/auth/login", json={"email": "ana@example.org", "password": OTHER_PASSWORD}).json()
    wrong = api.client.request("DELETE", f"{V1}/auth/me", json={"password": PASSWORD}, headers=bearer(again["token"]))
    assert code_of(wrong, 401) == "login-refused"
    deleted = api.client.request(
        "DELETE", f"{V1}/auth/me", json={"password": OTHER_PASSWORD}, headers=bearer(again["token"])
    )
    assert deleted.status_code == 204
    assert api.gallery.users() == []
    refused = api.client.post(f"{V1}/auth/login", json={"email": "ana@example.org", "password": OTHER_PASSWORD})
    assert code_of(refused, 401) == "login-refused"


def test_a_taken_email_gets_the_same_answer_with_and_without_a_password(api: Served) -> None:
    with_password = api.person().email
    enrolled = api.gallery.add_user("enrolled@example.org").email
    answers = []
    for email in (with_password, enrolled):
        body = {"email": email, "password": PASSWORD}
        answer = api.client.post(f"{V1}/auth/register", json=body)
        assert code_of(answer, 409) == "duplicate-email"
        assert answer.json()["detail"] == api_says.EMAIL_EXISTS
        page = api.client.post("/register", data=body | {"name": "x"}, headers={"Sec-Fetch-Site": "same-origin"})
        assert page.status_code == 409
        assert api_says.EMAIL_EXISTS in page.text
        answers.append(page.text.replace(email, "").replace(page.headers["x-request-id"], ""))
    assert answers[0] == answers[1]


def test_log_out_everywhere(api: Served) -> None:
    person = api.person()
    other = api.log_in(person.email)
    assert api.client.delete(f"{V1}/auth/logins", headers=person.headers).json() == {"ended": 2}
    for token in (person.token, other.token):
        assert api.client.get(f"{V1}/auth/me", headers=bearer(token)).status_code == 401


def test_a_login_does_not_reveal_which_accounts_exist(api: Served) -> None:
    person = api.person()
    wrong = api.client.post(f"{V1}/auth/login", json={"email": person.email, "password": "x"})
    unknown = api.client.post(f"{V1}/auth/login", json={"email": "nobody@example.org", "password": "x"})
    problems = [{k: v for k, v in answer.json().items() if k != "request_id"} for answer in (wrong, unknown)]
    assert problems[0] == problems[1]
    assert code_of(wrong, 401) == "login-refused"


def test_too_many_attempts_have_a_time_to_wait(api: Served) -> None:
    client = api.at("198.51.100.1")
    for _ in range(5):
        code_of(client.post(f"{V1}/auth/login", json={"email": "nobody@example.org", "password": "x"}), 401)
    refused = client.post(f"{V1}/auth/login", json={"email": "nobody@example.org", "password": "x"})
    assert code_of(refused, 429) == "too-many-attempts"
    assert int(refused.headers["retry-after"]) >= 1
    assert read_audit(api.gallery.database, limit=1)[0].address == "198.51.100.1"


def test_an_address_that_is_not_valid_is_not_stored(api: Served) -> None:
    client = api.at("not an address; DROP TABLE users\0")
    assert code_of(client.post(f"{V1}/auth/login", json={"email": "a@b", "password": "x"}), 401) == "login-refused"
    assert read_audit(api.gallery.database, limit=1)[0].address is None


def test_registration_can_be_closed(api: Served, settings_of: Any) -> None:
    settings_of(registration="closed")
    before = api.contents()
    body = {"email": "ana@example.org", "password": PASSWORD}
    assert code_of(api.client.post(f"{V1}/auth/register", json=body), 403) == "not-permitted"
    assert api.contents() == before


def test_keys(api: Served) -> None:
    administrator = api.key("admin")
    asked = {"name": "door terminal", "scopes": ["verify", "identify", "verify"]}
    made = api.client.post(f"{V1}/keys", json=asked, headers=administrator)
    assert made.status_code == 201
    key, about = made.json()["key"], made.json()["about"]
    assert (about["name"], about["scopes"], about["last_used_at"]) == ("door terminal", ["identify", "verify"], None)
    listed = api.client.get(f"{V1}/keys", headers=administrator)
    assert about in listed.json()["keys"]
    assert key not in listed.text
    before = datetime.now().astimezone()
    assert api.client.post(f"{V1}/introspect", json={"token": "x"}, headers=bearer(key)).status_code == 200
    (used,) = [
        one for one in api.client.get(f"{V1}/keys", headers=administrator).json()["keys"] if one["id"] == about["id"]
    ]
    assert abs((datetime.fromisoformat(used["last_used_at"]) - before).total_seconds()) < 120
    assert api.client.delete(f"{V1}/keys/{about['id']}", headers=administrator).status_code == 204
    refused = api.client.post(f"{V1}/introspect", json={"token": "x"}, headers=bearer(key))
    assert code_of(refused, 401) == "key-refused"
    for number in (about["id"], 2**31 - 1):
        deleted = api.client.delete(f"{V1}/keys/{number}", headers=administrator)
        assert code_of(deleted, 404) == "unknown-key"  # 401 would mean that the key of the request is unknown
    for wrong in ({"name": " ", "scopes": ["admin"]}, {"name": "x\ny", "scopes": ["admin"]}):
        assert code_of(api.client.post(f"{V1}/keys", json=wrong, headers=administrator), 422) == "account"
    for wrong in ({"name": "x", "scopes": []}, {"name": "x", "scopes": ["root"]}):
        assert code_of(api.client.post(f"{V1}/keys", json=wrong, headers=administrator), 422) == "invalid-request"


def test_introspection(api: Served) -> None:
    program = api.key("verify")
    person = api.person("ana@example.org", "Ana")

    def introspect(token: str, **more: Any) -> dict[str, Any]:
        by_form = api.client.post(f"{V1}/introspect", data={"token": token} | more, headers=program)
        by_json = api.client.post(f"{V1}/introspect", json={"token": token} | more, headers=program)
        assert by_form.status_code == by_json.status_code == 200, by_form.text
        assert by_form.headers["cache-control"] == "no-store"
        assert by_form.json() == by_json.json()
        answer: dict[str, Any] = by_json.json()
        return answer

    found = introspect(person.token)
    assert abs(found.pop("iat") - time.time()) < 60
    assert found.pop("exp") - time.time() == pytest.approx(12 * 3600, abs=60)
    assert found == {
        "active": True,
        "sub": str(person.id),
        "username": "ana@example.org",
        "name": "Ana",
        "token_type": "Bearer",
        "confidence": 1.0,
        "amr": ["pwd"],
    }
    # OAuth libraries send more fields, which are ignored (RFC 6749, section 3.2).
    assert introspect(person.token, token_type_hint="access_token", client_id="x")["active"] is True
    with api.owner.database.transaction() as connection:
        expired = begin_session(connection, person.id, confidence=1.0, password_given=True, seconds=-1).token
    key, _ = api.new_key("verify")
    api.accounts.log_out(person.token)
    for token in (expired, person.token, "unknown", "", " ", key, "é" * 999, person.token + " "):
        assert introspect(token) == {"active": False}, token
    twice = api.client.post(
        f"{V1}/introspect",
        content="token=a&token=b",
        headers=program | {"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert code_of(twice, 422) == "request"
    missing = api.client.post(f"{V1}/introspect", data={"token_type_hint": "x"}, headers=program)
    assert code_of(missing, 422) == "invalid-request"


def test_a_revoked_key_in_use(api: Served) -> None:
    key, number = api.new_key("admin")
    assert api.client.get(f"{V1}/status", headers=bearer(key)).status_code == 200
    revoke_key(api.owner.database, number, Client())
    assert code_of(api.client.get(f"{V1}/status", headers=bearer(key)), 401) == "key-refused"


# By face


@pytest.fixture
def bush(api: Served, photos: Photos) -> Served:
    api.accounts.register(EMAIL, PASSWORD)
    for number in (7, 8):
        api.gallery.enroll(photos("George_W_Bush", number), EMAIL)
    return api


def by_face(api: Served, photos: Photos, *, seen: list[bytes] | None = None, **who: str) -> Response:
    """Log in by face, and return the last response."""
    started = api.client.post(f"{V1}/auth/challenge", json=who)
    assert started.status_code == 200, started.text
    challenge = started.json()
    head = MovingHead(api.gallery.faces, photos(*BUSH))

    def answer(frames: list[bytes]) -> Any:
        if seen is not None:
            seen.extend(frames)
        files = [("frames", file(frame)) for frame in frames]
        answered = api.client.post(f"{V1}/auth/face", data={"challenge": challenge["token"]}, files=files)
        return answered.json()["pose"] if answered.status_code == 202 else answered

    answered: Response = follow(head.look, answer, challenge["pose"])
    return answered


def test_log_in_by_face_and_password(bush: Served, photos: Photos) -> None:
    started = bush.client.post(f"{V1}/auth/challenge", json={"email": EMAIL, "password": PASSWORD}).json()
    assert started == {
        "token": started["token"],
        "pose": "centre",
        "progress": 0,
        "seconds": 120,
        "policy": "password+face",
    }
    wrong = bush.client.post(f"{V1}/auth/challenge", json={"email": EMAIL, "password": "x"})
    assert code_of(wrong, 401) == "login-refused"
    answer = by_face(bush, photos, email=EMAIL, password=PASSWORD)
    assert answer.status_code == 200, answer.text
    assert 0.3 < answer.json()["confidence"] < 1
    me = bush.client.get(f"{V1}/auth/me", headers=bearer(answer.json()["token"])).json()
    assert me["user"]["email"] == EMAIL
    again = by_face(bush, photos, email=EMAIL, password=PASSWORD)  # with the same pictures
    assert code_of(again, 401) == "login-refused"
    assert again.json()["detail"] == says.LOGIN_BY_FACE_REFUSED


def test_frames_may_be_sent_as_json(bush: Served, photos: Photos) -> None:
    challenge = bush.client.post(f"{V1}/auth/challenge", json={"email": EMAIL, "password": PASSWORD}).json()
    frames = MovingHead(bush.gallery.faces, photos(*BUSH)).look("centre", frames=1)
    body = {"challenge": challenge["token"], "frames": [base64_of(frame) for frame in frames]}
    answer = bush.client.post(f"{V1}/auth/face", json=body)
    assert answer.status_code == 202, answer.text
    assert answer.json() == challenge


def test_a_login_by_face_alone_makes_no_administrator(bush: Served, photos: Photos, settings_of: Any) -> None:
    settings_of(login_policy="face+liveness", liveness="challenge-only")
    bush.execute("INSERT INTO administrators (user_id) SELECT id FROM users")
    # The same pictures are enrolled, so that the similarity is high.
    looked = MovingHead(bush.gallery.faces, photos(*BUSH)).look("centre")
    for frame in looked:
        bush.gallery.enroll(frame, EMAIL)
    answer = by_face(bush, photos, email=EMAIL)
    assert answer.status_code == 200, answer.text
    assert read_audit(bush.gallery.database, limit=1)[0].similarity > 0.9  # type: ignore[operator]
    headers = bearer(answer.json()["token"])
    assert bush.client.get(f"{V1}/auth/me", headers=headers).json()["administrator"] is False
    assert code_of(bush.client.get(f"{V1}/users", headers=headers), 403) == "not-permitted"
    settings_of(login_policy="password+face")  # a later policy does not change this login
    assert code_of(bush.client.get(f"{V1}/users", headers=headers), 403) == "not-permitted"
    by_password = bearer(bush.log_in(EMAIL).token)
    assert bush.client.get(f"{V1}/users", headers=by_password).status_code == 200


def test_refused_frames(bush: Served, settings_of: Any) -> None:
    settings_of(login_policy="face+liveness", liveness="challenge-only")
    client = bush.at("198.51.100.2")
    for token in ("forged", "", "x" * 1000):
        refused = client.post(f"{V1}/auth/face", json={"challenge": token, "frames": [base64_of(b"x")]})
        assert code_of(refused, 401) == "login-refused", token
    token = client.post(f"{V1}/auth/challenge", json={"email": EMAIL}).json()["token"]
    for body in (
        {"challenge": token},
        {"challenge": token, "frames": []},
        {"challenge": token, "frames": ["AAAA"] * 21},
    ):
        assert code_of(client.post(f"{V1}/auth/face", json=body), 422) == "invalid-request"
    unreadable = client.post(f"{V1}/auth/face", json={"challenge": token, "frames": [base64_of(b"x")]})
    assert code_of(unreadable, 415) == "photo-format"  # the developer of the client can fix this
    assert (
        code_of(client.post(f"{V1}/auth/face", json={"challenge": token, "frames": ["AAAA"]}), 401) == "login-refused"
    )


def test_a_policy_without_password_needs_a_network(bush: Served, settings_of: Any) -> None:
    settings_of(login_policy="face+liveness")
    assert code_of(bush.client.post(f"{V1}/auth/challenge", json={"email": EMAIL}), 503) == "model-not-installed"
