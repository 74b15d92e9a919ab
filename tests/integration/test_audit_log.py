"""The audit log: limits on its growth, and one transaction for each change and its row."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from pgface.accounts import Accounts, Client, read_audit
from pgface.accounts.audit_log import record
from pgface.database.pool import Database
from pgface.errors import (
    LoginRefusedError,
    PhotoFormatError,
    TooManyAttemptsError,
)
from pgface.server.housekeeping import clean_up
from support.commands import runner
from support.photos import Photos
from support.web_service import PASSWORD, V1, Headers, Served, enroll_own, file

EMAIL, OTHER = "ada@example.org", "five other plain words here"
STRANGER = Client(address="198.51.100.1")


def test_equal_refusals_share_a_row(accounts: Accounts, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts.register(EMAIL, PASSWORD)
    monkeypatch.setattr("pgface.accounts.accounts.prove", lambda *_: [])
    monkeypatch.setattr("pgface.accounts.accounts.even_out", lambda *_: None)
    for number in range(300):
        with pytest.raises((LoginRefusedError, TooManyAttemptsError)):
            accounts.log_in(f"unknown{number}@example.org", "x", client=Client(address=f"2001:db8::{number:x}"))
    refused = [entry for entry in read_audit(database) if entry.outcome == "refused"]
    assert {entry.reason for entry in refused} == {"no account has this e-mail", "too many attempts"}
    assert len(refused) <= 4  # two rows, or four if an hour ends meanwhile
    assert sum(entry.count for entry in refused) == 300
    assert all(entry.last_at and entry.last_at >= entry.at for entry in refused)


def test_important_events_have_their_own_rows_and_others_are_limited(database: Database) -> None:
    def note(event: str, number: int, **how: object) -> None:
        with database.transaction() as connection:
            record(connection, event, Client(address=f"192.0.{number // 250}.{number % 250}"), **how)  # type: ignore[arg-type]

    note("login by password", 7, user_id=1, refused="wrong password")
    for _ in range(3):  # each has its own row
        note("password change", 7, user_id=1)
    for number in range(1200):  # as from many machines in one attack
        note("login by password", number, user_id=None, refused="no account has this e-mail")
    note("login by password", 9, user_id=1, refused="wrong password")
    for _ in range(150):
        note("log out", 8, user_id=5)
    entries = read_audit(database, limit=5000)
    assert len([entry for entry in entries if entry.event == "password change"]) == 3
    refused = [entry for entry in entries if entry.outcome == "refused"]
    assert len(refused) <= 2002
    assert sum(entry.count for entry in refused) == 1202
    own = [entry for entry in entries if entry.event == "log out"]
    assert len(own) <= 202
    assert sum(entry.count for entry in own) == 150


def test_the_log_has_no_text_from_clients(database: Database) -> None:
    with database.transaction() as connection:
        record(connection, "login by face", Client(), refused=PhotoFormatError("mae-jemison.jpg: is not a photo."))
    (entry,) = read_audit(database)
    assert entry.reason == str(PhotoFormatError())


def test_expired_rows_are_deleted_automatically(api: Served) -> None:
    person = api.person()
    api.accounts.log_out(person.token)
    api.execute("UPDATE login_attempts SET last_failure = now() - interval '2 days'")
    api.execute("UPDATE audit_log SET at = now() - interval '200 days' WHERE user_id = %s", person.id)
    clean_up(api.service)
    for table in ("auth_tokens", "audit_log"):
        assert api.execute(f"SELECT count(*) FROM {table} WHERE user_id = %s", person.id) == [(0,)]
    assert api.execute("SELECT count(*) FROM login_attempts WHERE last_failure < now() - interval '1 day'") == [(0,)]


# One transaction


FAILS = (
    "CREATE FUNCTION refuse_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'disk full'; END $$",
    "CREATE TRIGGER refuse_row BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION refuse_row()",
)


@pytest.fixture
def no_audit(api: Served) -> Iterator[Callable[[], None]]:
    """A function after whose call no row can be added to the audit log."""

    def fail() -> None:
        for statement in FAILS:
            api.execute(statement)

    yield fail
    api.execute("DROP FUNCTION IF EXISTS refuse_row CASCADE")


def test_no_change_without_its_row_in_the_audit_log(api: Served, photos: Photos, no_audit: Callable[[], None]) -> None:
    person, administrator = api.person(), api.administrator()
    everything = api.key("admin", "enroll")
    photo = enroll_own(api, person.id, person.headers, photos("Colin_Powell", 1)).json()["photo_id"]
    key_id = api.new_key("verify")[1]
    no_audit()
    before = api.contents()
    user, json_type = f"{V1}/users/{person.id}", {"Content-Type": "application/json"}
    calls: list[tuple[str, str, Headers, dict[str, object]]] = [
        ("DELETE", f"{user}/photos/{photo}", everything, {}),
        ("DELETE", user, everything, {}),
        ("POST", f"{V1}/users", everything, {"json": {"email": "new@example.org"}}),
        (
            "POST",
            f"{V1}/photos",
            everything,
            {
                "files": {"photo": file(photos("Tony_Blair", 3).read_bytes())},
                "data": {"email": "tony@example.org"},
            },
        ),
        ("DELETE", f"{V1}/auth/me", person.headers | json_type, {"json": {"password": PASSWORD}}),
        ("POST", f"{V1}/auth/password", person.headers, {"json": {"former": PASSWORD, "new": OTHER}}),
        ("POST", f"{V1}/auth/register", {}, {"json": {"email": "new@example.org", "password": PASSWORD}}),
        ("POST", f"{V1}/auth/login", {}, {"json": {"email": person.email, "password": PASSWORD}}),
        ("POST", f"{V1}/auth/logout", person.headers, {}),
        ("DELETE", f"{V1}/auth/logins", person.headers, {}),
        ("POST", f"{V1}/keys", everything, {"json": {"name": "x", "scopes": ["verify"]}}),
        ("DELETE", f"{V1}/keys/{key_id}", everything, {}),
        ("POST", "/account/face/delete", person.cookie, {}),
        ("POST", f"/admin/people/{person.id}/password", administrator.cookie, {"data": {"password": OTHER}}),
        ("POST", f"/admin/people/{person.id}/delete", administrator.cookie, {}),
    ]
    for method, path, headers, sent in calls:
        answer = api.client.request(method, path, headers=headers, **sent)  # type: ignore[arg-type]
        assert answer.status_code == 503, (method, path, answer.text)
        assert api.contents() == before, (method, path)


def test_no_change_by_a_command_without_its_row(api: Served, no_audit: Callable[[], None]) -> None:
    user = api.owner.add_user("ada@example.org")
    no_audit()
    url = api.owner.settings.database_url
    assert url
    run = runner(
        {
            "PGFACE_DATABASE_URL": url.get_secret_value(),
            "PGFACE_SCHEMA": api.owner.settings.schema_name,
            "PGFACE_DATA_DIR": str(api.owner.settings.data_dir),
        }
    )
    for command in (
        ("users", "delete", user.id, "--yes"),
        ("users", "add", "new@example.org"),
        ("admins", "add", user.id),
        ("keys", "create", "x", "--scope", "verify"),
    ):
        run(*command, code=1)
    assert [found.email for found in api.owner.users()] == ["ada@example.org"]
    assert api.execute("SELECT count(*) FROM administrators") == [(0,)]
