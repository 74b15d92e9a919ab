"""Attacks by roles of less rights, by strangers who ask often, and by people who want to learn of others."""

from __future__ import annotations

import hashlib
import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from psycopg import Connection, sql
from psycopg import errors as pg
from psycopg.conninfo import make_conninfo

from pgface.accounts import Accounts, AuditEntry, Client, add_administrator, create_key, read_audit
from pgface.accounts.attempts import OF_A_KNOWN_CLIENT, OF_AN_ACCOUNT, OF_AN_ADDRESS
from pgface.accounts.audit import record
from pgface.accounts.devices import DAYS, MOST_ACCOUNTS, devices_in, prune_devices, remember_device
from pgface.errors import (
    DatabaseAccessError,
    FaceOfAnotherUserError,
    LoginRefusedError,
    PhotoFormatError,
    TooManyAttemptsError,
    UnknownPhotoError,
)
from pgface.gallery import Gallery
from pgface.postgres.database import Database, connected, initialise
from pgface.postgres.roles import grant_reader, grant_service
from pgface.schema import queries
from pgface.server.housekeeping import clean_up
from pgface.server.service import DEVICE_COOKIE
from pgface.settings import Settings
from support.commands import runner
from support.galleries import rows
from support.photos import Photos
from support.service_role import as_role, drop_role
from support.web_service import PASSWORD, V1, Headers, Served, code_of, file

EMAIL, OTHER = "ada@example.org", "five other plain words here"
STRANGER = Client(address="198.51.100.1")


@pytest.fixture
def roles(settings: Settings, database: Database) -> Iterator[tuple[str, str]]:
    """The service's role and the reader's, of a gallery without a model."""
    name = str(one(database, "SELECT id FROM gallery"))
    names = (f"service {name}", f"reader {name}")
    with connected(settings) as connection:
        grant_service(connection, settings.schema_name, names[0])
        grant_reader(connection, settings.schema_name, names[1])
    yield names
    with psycopg.connect(url_of(settings), autocommit=True) as connection:
        for role in names:
            drop_role(connection, role)


def url_of(settings: Settings, role: str | None = None) -> str:
    assert settings.database_url
    url = settings.database_url.get_secret_value()
    return make_conninfo(url, user=role) if role else url


def one(database: Database, query: str) -> object:
    with database.transaction() as connection:
        ((value,),) = rows(connection, query)
    return value


def as_sql(settings: Settings, role: str) -> Connection:
    """What somebody has who has got hold of a role's password."""
    connection = psycopg.connect(url_of(settings, role), autocommit=True)
    connection.execute(sql.SQL("SET search_path = {}, public").format(sql.Identifier(settings.schema_name)))
    return connection


# With the connection of the service


@pytest.fixture
def accounts(settings: Settings, roles: tuple[str, str]) -> Iterator[Accounts]:
    """As the service has them."""
    with Gallery.open(as_role(settings, roles[0])) as gallery:
        yield Accounts(gallery)


def test_the_services_role_makes_no_administrator(
    settings: Settings, database: Database, roles: tuple[str, str], accounts: Accounts
) -> None:
    ada = accounts.register(EMAIL, PASSWORD).id
    eve = accounts.register("eve@example.org", PASSWORD).id
    add_administrator(database, ada, Client())
    login = accounts.log_in(EMAIL, PASSWORD)
    digest = hashlib.sha256(b"known").hexdigest()
    key = "INSERT INTO api_keys (name, key, scopes) VALUES ('x', '{d}', '{{admin}}')"
    for attack in (
        "INSERT INTO auth_tokens (user_id, token, confidence, password_given) VALUES ({ada}, '{d}', 1, TRUE)",
        "UPDATE auth_tokens SET token = '{d}'",
        "UPDATE auth_tokens SET password_given = TRUE, is_active = TRUE",
        "SELECT token FROM auth_tokens",
        "SELECT * FROM auth_tokens",
        key,
        "UPDATE api_keys SET scopes = '{{admin}}'",
        "UPDATE api_keys SET revoked_at = NULL",
        "SELECT key FROM api_keys",
        "INSERT INTO administrators (user_id) VALUES ({eve})",
        "UPDATE administrators SET user_id = {eve}",
        "UPDATE users SET password = 'x' WHERE id = {ada}",
        "UPDATE users SET email = 'x@example.org' WHERE id = {ada}",
        "SELECT password FROM users",
        "SELECT * FROM users",
        "COPY users TO STDOUT",
        "INSERT INTO audit_log (event, outcome, at) VALUES ('register', 'done', '2020-01-01')",
        "UPDATE audit_log SET actor = NULL",
        "DELETE FROM audit_log",
        "SELECT begin_session({ada}, '{d}', 1, TRUE, NULL, 3600)",
        "SELECT begin_session({ada}, '{d}', 1, TRUE, 'owner', 3600)",
        "SELECT begin_session({ada}, '{d}', 1, TRUE, (SELECT blank FROM find_password(ARRAY['{email}'])), 3600)",
        "SELECT begin_session({ada}, '{d}', 1, FALSE, NULL, 1e12)",
        "SELECT set_password({ada}, '$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA', NULL, NULL)",
        "SELECT set_password({ada}, '$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA', 'x', '{d}')",
        "SELECT create_api_key('x', '{d}', '{{admin}}', NULL)",
        "SELECT create_api_key('x', '{d}', '{{admin}}', '{d}')",
        "SELECT revoke_api_key(1, NULL)",
        "SELECT record_event('administrator added', NULL, 'command line', {eve}, NULL, NULL, NULL)",
        "SELECT record_event('register', NULL, 'Ada Lovelace', {eve}, NULL, NULL, NULL)",
        "SELECT prune_audit_log(1)",
        "SELECT has_authority(NULL)",
        "SELECT blank_password('x')",
        "CREATE FUNCTION users() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER FUNCTION begin_session SECURITY INVOKER",
    ):
        statement = attack.format(ada=ada, eve=eve, d=digest, email=EMAIL)
        with as_sql(settings, roles[0]) as stolen, pytest.raises(pg.InsufficientPrivilege):
            stolen.execute(statement.encode())
    # Nor by tables of one's own that pose as the gallery's.
    with as_sql(settings, roles[0]) as stolen:
        stolen.execute("CREATE TEMPORARY TABLE administrators AS SELECT %s AS user_id", (eve,))
        stolen.execute("CREATE TEMPORARY TABLE api_keys (key text, scopes text[], revoked_at timestamptz)")
        stolen.execute("INSERT INTO pg_temp.api_keys VALUES (%s, '{admin}')", (digest,))
        stolen.execute("SET search_path = pg_temp, public")
        schema = sql.Identifier(settings.schema_name)
        made = sql.SQL("SELECT {}.create_api_key('x', {}, '{{admin}}', {})")
        posing = made.format(schema, sql.Literal(digest), sql.Literal(digest))
        with pytest.raises(pg.InsufficientPrivilege):
            stolen.execute(posing)
    assert accounts.who(login.token).user_id == ada
    assert one(database, "SELECT count(*) FROM api_keys") == 0
    assert one(database, "SELECT count(*) FROM auth_tokens") == 1


def test_a_login_by_face_alone_is_no_administrators_whoever_begins_it(
    settings: Settings, database: Database, roles: tuple[str, str], accounts: Accounts
) -> None:
    ada = accounts.register(EMAIL, PASSWORD).id
    add_administrator(database, ada, Client())
    digest = hashlib.sha256(b"known").hexdigest()
    with as_sql(settings, roles[0]) as stolen:
        stolen.execute("SELECT begin_session(%s, %s, 1, FALSE, NULL, 3600)", (ada, digest))
        assert not accounts.who("known").password_given
        with pytest.raises(pg.InsufficientPrivilege):
            stolen.execute("SELECT create_api_key('x', %s, '{admin}', %s)", (digest, digest))


def test_what_only_administrators_do_needs_their_token(database: Database, accounts: Accounts) -> None:
    ada = accounts.register(EMAIL, PASSWORD).id
    eve = accounts.register("eve@example.org", PASSWORD).id
    add_administrator(database, ada, Client())
    service = accounts._database
    of_ada, of_eve = (_with_authority(accounts.log_in(email, PASSWORD).token) for email in (EMAIL, "eve@example.org"))
    for client in (Client(), of_eve):
        with pytest.raises(DatabaseAccessError):
            create_key(service, "x", ["verify"], client)
        with pytest.raises(DatabaseAccessError):
            accounts.set_password(ada, OTHER, client=client)
    key, _ = create_key(service, "x", ["admin"], of_ada)
    create_key(service, "y", ["verify"], _with_authority(key))
    accounts.set_password(eve, OTHER, client=of_ada)
    assert accounts.log_in("eve@example.org", OTHER).user_id == eve


def _with_authority(secret: str) -> Client:
    return Client(authority=hashlib.sha256(secret.encode()).hexdigest())


def test_a_password_in_clear_is_told_to_nobody(
    settings: Settings, database: Database, roles: tuple[str, str], accounts: Accounts
) -> None:
    ada = accounts.register(EMAIL, PASSWORD).id
    blank = "SELECT blank FROM find_password(ARRAY['ada@example.org'])"
    with as_sql(settings, roles[0]) as stolen, database.transaction() as owner:
        ((stored,),) = rows(owner, "SELECT password FROM users")
        ((told,),) = rows(stolen, blank)
        salt, _, digest = stored.rpartition("$")
        assert told == f"{salt}${len(digest) * 'A'}"
    for clear in ("hashed_password_here", "scrypt:secret", "$argon2id$secret", "$2b$12$secret", "pbkdf2:a$b$secret"):
        with database.transaction() as owner:
            owner.execute("UPDATE users SET password = %s WHERE id = %s", (clear, ada))
        with as_sql(settings, roles[0]) as stolen:
            assert rows(stolen, blank) == [("",)]
            assert rows(stolen, f"SELECT confirm_password({ada}, ARRAY['{clear}'])") == [(None,)]
        with pytest.raises(LoginRefusedError):
            accounts.log_in(EMAIL, clear)


# Locks


LOCKS = (
    "SELECT pg_advisory_lock(hashtext('pgface.enrollment'), 'gallery'::regclass::oid::integer)",
    "SELECT pg_advisory_lock(hashtext('pgface.index'), 'gallery'::regclass::oid::integer)",
    "SELECT pg_advisory_lock(hashtext('pgface.photo_files'), 'gallery'::regclass::oid::integer)",
    "SELECT pg_advisory_lock(123589401600869)",
)


def test_the_readers_role_takes_no_lock_that_others_wait_for(
    settings: Settings, roles: tuple[str, str], accounts: Accounts, database: Database
) -> None:
    with as_sql(settings, roles[1]) as reader:
        for query in ("lock_enrollment", "hold_photo_files", "try_share_photo_files", "lock_index_row", "take_index"):
            with pytest.raises(pg.InsufficientPrivilege):
                reader.execute(queries()[query])
        for table in ("users", "gallery_locks", "pgface_migrations", "face_embeddings"):
            for mode in ("ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"):
                with reader.transaction(), pytest.raises(pg.InsufficientPrivilege), reader.transaction():
                    reader.execute(f"LOCK TABLE {table} IN {mode} MODE".encode())
        for query in LOCKS:  # as they once were, and anything else by number
            reader.execute(query.encode())
        began = time.monotonic()
        with database.transaction() as connection:
            connection.execute(queries()["lock_enrollment"])
        with database.connection_of_its_own() as connection:
            with connection.transaction():
                connection.execute(queries()["lock_index_row"])
                assert connection.execute(queries()["take_index"]).fetchone()
            connection.execute(queries()["give_index_back"])
        assert initialise(settings) == []
        user = accounts.register(EMAIL, PASSWORD)
        Accounts(accounts._gallery).log_out_everywhere(user.id)
        assert time.monotonic() - began < 5


def test_the_reader_does_not_stop_enrollments(api: Served, photos: Photos) -> None:
    settings, role = api.owner.settings, "reader who attacks"
    with connected(settings) as connection:
        grant_reader(connection, settings.schema_name, role)
    try:
        with as_sql(settings, role) as reader:
            for query in LOCKS:
                reader.execute(query.encode())
            began = time.monotonic()
            of = {"email": "colin@example.org"}
            picture = {"photo": file(photos("Colin_Powell", 1).read_bytes())}
            answer = api.client.post(f"{V1}/photos", headers=api.key("enroll"), files=picture, data=of)
            assert answer.status_code == 201
            api.owner.fit_search("exact")
            assert api.client.get("/readyz").status_code == 200
            assert time.monotonic() - began < 8
    finally:
        with psycopg.connect(url_of(settings), autocommit=True) as connection:
            drop_role(connection, role)


def test_the_index_is_free_when_its_holder_is_gone(settings: Settings, database: Database) -> None:
    def take(connection: Connection) -> bool:
        with connection.transaction():
            connection.execute(queries()["lock_index_row"])
            return connection.execute(queries()["take_index"]).fetchone() is not None

    with Database.open(settings) as other, other.connection_of_its_own() as second:
        with database.connection_of_its_own() as first:
            assert take(first)
            assert not take(second)
            assert take(first)  # again
        for _ in range(50):  # its server process ends a moment later
            if taken := take(second):
                break
            time.sleep(0.1)
        assert taken


def test_nobody_waits_for_a_lock_without_end(api: Served, photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody with the right to it holds the lock of enrollments: enrolling ends with 503, and others go on."""
    assert api.execute("SHOW lock_timeout") == [("10s",)]
    monkeypatch.setattr("pgface.postgres.database._LONGEST_TURN", 1.0)
    monkeypatch.setattr(api.service.inference._executor, "_max_workers", 6)  # as on a machine of six cores
    enroller, person = api.key("enroll"), api.person()
    picture = photos("Colin_Powell", 1).read_bytes()
    with api.owner.database.transaction() as holder, ThreadPoolExecutor(6) as pool:
        holder.execute(queries()["lock_enrollment"])

        def enroll(number: int) -> tuple[int, str | None, str | None]:
            answer = api.client.post(
                f"{V1}/photos",
                headers=enroller,
                files={"photo": file(picture)},
                data={"email": f"x{number}@example.org"},
            )
            return answer.status_code, answer.headers.get("retry-after"), answer.json().get("code")

        began = time.monotonic()
        waiting = [pool.submit(enroll, number) for number in range(6)]
        time.sleep(1)
        while not all(answer.done() for answer in waiting):
            assert api.client.get("/readyz").status_code == 200
            assert api.client.get(f"{V1}/auth/me", headers=person.headers).status_code == 200
            time.sleep(0.2)
        assert [answer.result() for answer in waiting] == [(503, "5", "table-locked")] * 6
        assert time.monotonic() - began < 40
    assert enroll(1)[0] == 201


# A known client


def guess(accounts: Accounts, client: Client, times: int) -> None:
    for _ in range(times):
        with pytest.raises((LoginRefusedError, TooManyAttemptsError)):
            accounts.log_in(EMAIL, "wrong", client=client)


def test_others_do_not_lock_out_a_browser_that_is_known(accounts: Accounts, database: Database) -> None:
    user = accounts.register(EMAIL, PASSWORD)
    home = Client(address="192.0.2.7")
    cookie = remember_device(accounts._database, user.id, home)
    browser = Client(address="192.0.2.7", devices=devices_in(cookie))
    guess(accounts, STRANGER, OF_AN_ACCOUNT.free + 1)
    guess(accounts, Client(address="192.0.2.7"), OF_AN_ADDRESS.free + 1)  # from behind the same address, too
    with pytest.raises(TooManyAttemptsError):
        accounts.log_in(EMAIL, PASSWORD, client=home)
    assert accounts.log_in(EMAIL, PASSWORD, client=browser).user_id == user.id
    with pytest.raises(TooManyAttemptsError):  # which has helped nobody else
        accounts.log_in(EMAIL, PASSWORD, client=STRANGER)
    # A stolen cookie gives no more guesses than an account, and the owner comes in by another browser.
    second = Client(devices=devices_in(remember_device(accounts._database, user.id, home)))
    guess(accounts, browser, OF_A_KNOWN_CLIENT.free)
    with pytest.raises(TooManyAttemptsError):
        accounts.log_in(EMAIL, PASSWORD, client=browser)
    assert accounts.log_in(EMAIL, PASSWORD, client=second)
    # Only the digest is there.
    assert cookie not in str(rows_of(database, "SELECT * FROM known_devices"))


def test_a_devices_cookie_opens_nothing_and_is_of_one_account(accounts: Accounts) -> None:
    ada, eve = (accounts.register(email, PASSWORD) for email in (EMAIL, "eve@example.org"))
    of_eve = Client(address="203.0.113.9", devices=devices_in(remember_device(accounts._database, eve.id, Client())))
    guess(accounts, STRANGER, OF_AN_ACCOUNT.free + 1)
    for devices in (of_eve.devices, ("x" * 43,), ("'", "\0"), devices_in("." * 5000), devices_in("a." * 5000)):
        with pytest.raises(TooManyAttemptsError):
            accounts.log_in(EMAIL, PASSWORD, client=Client(address="203.0.113.9", devices=devices))
    assert ada.id != eve.id


def test_devices_are_replaced_and_forgotten(accounts: Accounts, database: Database) -> None:
    ada, eve = (accounts.register(email, PASSWORD) for email in (EMAIL, "eve@example.org"))
    service = accounts._database
    first = remember_device(service, ada.id, Client())
    both = remember_device(service, eve.id, Client(devices=devices_in(first)))
    assert len(devices_in(both)) == 2
    later = remember_device(service, ada.id, Client(devices=devices_in(both)))
    assert len(devices_in(later)) == 2
    assert first not in later
    assert one(database, "SELECT count(*) FROM known_devices") == 2
    for _ in range(20):
        remember_device(service, ada.id, Client())
    assert one(database, "SELECT count(*) FROM known_devices") == 11
    assert len(devices_in(".".join("abcdefgh"))) == MOST_ACCOUNTS
    accounts.log_out_everywhere(eve.id)
    assert rows_of(database, "SELECT DISTINCT user_id FROM known_devices") == [(ada.id,)]
    token = accounts.log_in(EMAIL, PASSWORD).token
    accounts.change_password(token, PASSWORD, OTHER)
    assert one(database, "SELECT count(*) FROM known_devices") == 0
    remember_device(service, ada.id, Client())
    with database.transaction() as connection:
        connection.execute("UPDATE known_devices SET used_at = now() - make_interval(days => %s)", (DAYS + 1,))
    assert prune_devices(service) == 1


def test_who_is_logged_in_changes_the_password_whatever_others_get_wrong(accounts: Accounts) -> None:
    accounts.register(EMAIL, PASSWORD)
    login = accounts.log_in(EMAIL, PASSWORD)
    guess(accounts, STRANGER, OF_AN_ACCOUNT.free + 1)
    accounts.change_password(login.token, PASSWORD, OTHER, client=Client(address="192.0.2.7"))
    for _ in range(OF_A_KNOWN_CLIENT.free):
        with pytest.raises(LoginRefusedError):
            accounts.change_password(login.token, "wrong", PASSWORD)
    with pytest.raises(TooManyAttemptsError):  # a stolen login does not guess without end
        accounts.change_password(login.token, OTHER, PASSWORD)


def test_the_pages_know_a_browser(api: Served) -> None:
    person = api.person()
    browser, headers = api.at("192.0.2.44"), {"Sec-Fetch-Site": "same-origin"}
    form = {"email": person.email, "password": PASSWORD}
    entered = browser.post("/login", data=form, headers=headers, follow_redirects=False)
    assert entered.status_code == 303
    (cookie,) = [value for value in entered.headers.get_list("set-cookie") if value.startswith(f"{DEVICE_COOKIE}=")]
    assert {"Secure", "HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    device = cookie.split(";")[0]
    wrong = form | {"password": "wrong"}
    for _ in range(OF_AN_ACCOUNT.free + 1):
        api.at("198.51.100.2").post("/login", data=wrong, headers=headers)
    assert api.at("192.0.2.44").post("/login", data=form, headers=headers).status_code == 429
    again = api.at("192.0.2.44").post("/login", data=form, headers=headers | {"Cookie": device}, follow_redirects=False)
    assert again.status_code == 303
    (replaced,) = [value for value in again.headers.get_list("set-cookie") if value.startswith(f"{DEVICE_COOKIE}=")]
    assert replaced.split(";")[0] != device


# What strangers can make grow


def test_refusals_that_are_alike_are_one_row(
    accounts: Accounts, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts.register(EMAIL, PASSWORD)
    monkeypatch.setattr("pgface.accounts.accounts.prove", lambda *_: [])
    monkeypatch.setattr("pgface.accounts.accounts.even_out", lambda *_: None)
    for number in range(300):
        with pytest.raises((LoginRefusedError, TooManyAttemptsError)):
            accounts.log_in(f"nobody{number}@example.org", "x", client=Client(address=f"2001:db8::{number:x}"))
    refused = [entry for entry in read_audit(database) if entry.outcome == "refused"]
    assert {entry.reason for entry in refused} == {"nobody has this e-mail", "too many attempts"}
    assert len(refused) <= 4  # two, or four about the full hour
    assert sum(entry.count for entry in refused) == 300
    assert all(entry.last_at and entry.last_at >= entry.at for entry in refused)


def test_what_matters_is_told_one_by_one_and_no_more_than_so_often(database: Database) -> None:
    def note(event: str, number: int, **how: object) -> None:
        with database.transaction() as connection:
            record(connection, event, Client(address=f"192.0.{number // 250}.{number % 250}"), **how)  # type: ignore[arg-type]

    note("login by password", 7, user_id=1, refused="the password is wrong")
    for _ in range(3):  # what was done is told each time
        note("password change", 7, user_id=1)
    for number in range(1200):  # as by many machines that work together
        note("login by password", number, user_id=None, refused="nobody has this e-mail")
    note("login by password", 9, user_id=1, refused="the password is wrong")
    for _ in range(150):
        note("log out", 8, user_id=5)
    entries = read_audit(database, limit=5000)
    told: Callable[[AuditEntry], bool] = lambda entry: entry.event == "password change"  # noqa: E731
    assert len(list(filter(told, entries))) == 3
    refused = [entry for entry in entries if entry.outcome == "refused"]
    assert len(refused) <= 2002
    assert sum(entry.count for entry in refused) == 1202
    own = [entry for entry in entries if entry.event == "log out"]
    assert len(own) <= 202
    assert sum(entry.count for entry in own) == 150


def test_nothing_that_a_client_writes_is_in_the_log(database: Database) -> None:
    with database.transaction() as connection:
        record(connection, "login by face", Client(), refused=PhotoFormatError("mae-jemison-at-home.jpg: is no photo."))
    (entry,) = read_audit(database)
    assert entry.reason == str(PhotoFormatError())


def test_what_has_ended_goes_by_itself(api: Served) -> None:
    person = api.person()
    api.accounts.log_out(person.token)
    api.execute("UPDATE login_attempts SET last_failure = now() - interval '2 days'")
    api.execute("UPDATE audit_log SET at = now() - interval '200 days' WHERE user_id = %s", person.id)
    clean_up(api.service)
    for table in ("auth_tokens", "audit_log"):
        assert api.execute(f"SELECT count(*) FROM {table} WHERE user_id = %s", person.id) == [(0,)]
    assert api.execute("SELECT count(*) FROM login_attempts WHERE last_failure < now() - interval '1 day'") == [(0,)]


def test_one_person_does_not_fill_the_gallery(api: Served, photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    person = api.person()
    settings = api.service.settings.model_copy(update={"max_own_photos": 1})
    monkeypatch.setattr(type(api.service), "settings", settings)
    assert _own(api, person.id, person.headers, photos("Colin_Powell", 1)).status_code == 201
    assert code_of(_own(api, person.id, person.headers, photos("Colin_Powell", 2)), 422) == "gallery"


# Who else is in the gallery


def _own(api: Served, user_id: int, headers: Headers, photo: Path):  # type: ignore[no-untyped-def]
    return api.client.post(f"{V1}/users/{user_id}/photos", headers=headers, files={"photo": file(photo.read_bytes())})


def test_nobody_learns_who_else_is_in_the_gallery(api: Served, photos: Photos) -> None:
    """A face that is enrolled under another account, and one that is not, look the same by every door."""
    api.owner.enroll(photos("Colin_Powell", 1), "colin@example.org")
    seen = []
    for photo in (photos("Colin_Powell", 2), photos("Tony_Blair", 2)):
        person = api.person(name="somebody")
        headers = person.headers
        answer = _own(api, person.id, headers, photo)
        again = _own(api, person.id, headers, photo)
        enrolled = answer.json()
        verified = api.client.post(f"{V1}/verify", headers=headers, files={"photo": file(photo.read_bytes())}).json()
        listed = api.client.get(f"{V1}/users/{person.id}/photos", headers=headers).json()["photos"]
        me = api.client.get(f"{V1}/auth/me", headers=headers).json()["user"]
        crop = api.client.get(f"{V1}/users/{person.id}/photos/{enrolled['photo_id']}/crop", headers=headers)
        data = api.client.get("/account/data", headers=person.cookie)
        with zipfile.ZipFile(io.BytesIO(data.content)) as archive:
            own = {name: json.loads(archive.read(name)) for name in archive.namelist() if name.endswith(".json")}
        page = api.client.get("/account", headers=person.cookie)
        seen.append(
            (
                answer.status_code,
                sorted(enrolled),
                again.status_code,
                again.json()["added"],
                enrolled["user"]["embeddings"],
                (verified["match"], round(verified["similarity"], 3)),
                len(listed),
                (me["photos"], me["embeddings"]),
                crop.status_code,
                page.status_code,
                [len(own["embeddings.json"]), sorted(own["embeddings.json"][0])],
                [entry["event"] for entry in own["audit.json"]],
                api.client.delete(f"{V1}/users/{person.id}/photos/{enrolled['photo_id']}", headers=headers).status_code,
                api.client.get(f"{V1}/auth/me", headers=headers).json()["user"]["embeddings"],
            )
        )
    assert seen[0] == seen[1]
    assert seen[0][0] == 201
    assert seen[0][5] == (True, 1.0)


def test_a_face_that_was_taken_before_does_not_count_until_an_administrator_says_so(
    api: Served, photos: Photos
) -> None:
    squatter, owner = api.person(), api.person()
    administrator, terminal = api.administrator(), api.key("enroll", "identify")
    assert _own(api, squatter.id, squatter.headers, photos("Colin_Powell", 1)).status_code == 201
    theirs = _own(api, owner.id, owner.headers, photos("Colin_Powell", 2)).json()["photo_id"]
    assert [event for (event,) in api.execute("SELECT event FROM audit_log WHERE user_id = %s", owner.id)].count(
        "face contested"
    ) == 1
    (contested,) = api.gallery.contested_faces()
    assert (contested.photo_id, contested.user_id) == (theirs, owner.id)
    assert contested.looks_like
    assert contested.looks_like.user_id == squatter.id

    def identified() -> list[int]:
        probe = {"photo": file(photos("Colin_Powell", 3).read_bytes())}
        (face,) = api.client.post(f"{V1}/identify", headers=terminal, files=probe, data={"top": "5"}).json()["faces"]
        return [match["user_id"] for match in face["matches"]]

    assert identified() == [squatter.id]
    # Programs and administrators see the true reason.
    of_terminal = api.client.post(
        f"{V1}/photos",
        headers=terminal,
        files={"photo": file(photos("Colin_Powell", 4).read_bytes())},
        data={"email": "colin@example.org"},
    )
    assert code_of(of_terminal, 409) == "face-of-another-user"
    page = api.client.get("/admin/gallery", headers=administrator.cookie).text
    assert f"/admin/people/{owner.id}" in page
    shown = api.client.get(f"/admin/people/{owner.id}", headers=administrator.cookie).text
    assert f"/admin/people/{squatter.id}" in shown
    accept = f"/admin/people/{owner.id}/photos/{theirs}/accept"
    assert api.client.post(accept, headers=owner.cookie, follow_redirects=False).status_code == 403
    with pytest.raises(FaceOfAnotherUserError):
        api.owner.accept_face(theirs)
    api.owner.erase_user(squatter.id)
    api.owner.accept_face(theirs)
    assert identified() == [owner.id]
    with pytest.raises(UnknownPhotoError):
        api.owner.accept_face(theirs)
    assert api.gallery.contested_faces() == []


def test_an_administrator_accepts_by_page_and_command(api: Served, photos: Photos) -> None:
    api.owner.enroll(photos("Colin_Powell", 1), "colin@example.org")
    administrator, twin = api.administrator(), api.person()
    first = _own(api, twin.id, twin.headers, photos("Colin_Powell", 2)).json()["photo_id"]
    second = _own(api, twin.id, twin.headers, photos("Colin_Powell", 3)).json()["photo_id"]
    path = f"/admin/people/{twin.id}/photos/{first}/accept"
    assert api.client.post(path, headers=administrator.cookie, follow_redirects=False).status_code == 303
    assert [face.photo_id for face in api.gallery.contested_faces()] == [second]
    merged = api.owner.merge_users(twin.id, "colin@example.org")
    assert (merged.photos, merged.embeddings) == (3, 3)
    assert api.gallery.contested_faces() == []


def test_where_a_face_alone_logs_in_nobody_enrolls_for_themselves(
    api: Served, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = api.person()
    settings = api.service.settings.model_copy(update={"login_policy": "identify+liveness"})
    monkeypatch.setattr(type(api.service), "settings", settings)
    answers = [_own(api, person.id, person.headers, photos(name, 1)) for name in ("Colin_Powell", "Tony_Blair")]
    assert {code_of(answer, 403) for answer in answers} == {"not-permitted"}


# One transaction


FAILS = (
    "CREATE FUNCTION refuse_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'disk full'; END $$",
    "CREATE TRIGGER refuse_row BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION refuse_row()",
)


@pytest.fixture
def no_audit(api: Served) -> Iterator[Callable[[], None]]:
    """No row can be added to the audit log, from when this is called."""

    def fail() -> None:
        for statement in FAILS:
            api.execute(statement)

    yield fail
    api.execute("DROP FUNCTION IF EXISTS refuse_row CASCADE")


def test_nothing_is_done_without_its_row_in_the_audit_log(
    api: Served, photos: Photos, no_audit: Callable[[], None]
) -> None:
    person, administrator = api.person(), api.administrator()
    everything = api.key("admin", "enroll")
    photo = _own(api, person.id, person.headers, photos("Colin_Powell", 1)).json()["photo_id"]
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
        ("POST", f"/admin/people/{person.id}/erase", administrator.cookie, {}),
    ]
    for method, path, headers, sent in calls:
        answer = api.client.request(method, path, headers=headers, **sent)  # type: ignore[arg-type]
        assert answer.status_code == 503, (method, path, answer.text)
        assert api.contents() == before, (method, path)


def test_the_commands_do_nothing_without_it_either(api: Served, no_audit: Callable[[], None]) -> None:
    user = api.owner.add_user("somebody@example.org")
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
    assert [found.email for found in api.owner.users()] == ["somebody@example.org"]
    assert api.execute("SELECT count(*) FROM administrators") == [(0,)]


# What is left


def test_a_kept_answer_goes_with_its_photo(api: Served, photos: Photos) -> None:
    person = api.person()
    headers = person.headers | {"Idempotency-Key": "once"}
    photo = _own(api, person.id, headers, photos("Colin_Powell", 1)).json()["photo_id"]
    assert api.idempotent() == 1
    api.client.delete(f"{V1}/users/{person.id}/photos/{photo}", headers=person.headers)
    assert api.idempotent() == 0


@pytest.mark.parametrize("path", ["/login/", "/account/", "//evil.example/login/", "/static", "/admin/gallery/"])
def test_a_redirect_does_not_repeat_the_host_that_a_client_claims(api: Served, path: str) -> None:
    answer = api.client.get(path, headers={"Host": "evil.example"}, follow_redirects=False)
    location = answer.headers.get("location", "/")
    assert location.startswith("/")
    assert not location.startswith(("//", "/\\"))
    assert "evil.example" not in location.split("/")[1:2]


# How large it is


def test_metrics_and_status_tell_the_same(api: Served, photos: Photos) -> None:
    api.owner.enroll(photos("Colin_Powell", 1), "colin@example.org")
    api.person()
    headers = api.key("metrics", "admin")

    def told() -> tuple[float, float]:
        lines = dict(
            line.rsplit(" ", 1)
            for line in api.client.get("/metrics", headers=headers).text.splitlines()
            if line.startswith(("pgface_users", "pgface_embeddings"))
        )
        return float(lines["pgface_users"]), float(lines["pgface_embeddings"])

    status = api.client.get(f"{V1}/status", headers=headers).json()
    assert told() == (status["users"], status["embeddings"]) == (2, 1)
    api.execute("ANALYZE users, face_embeddings")
    api.owner.erase_user("colin@example.org")
    assert told() == (1, 0)


def rows_of(database: Database, query: str) -> list[tuple[object, ...]]:
    with database.transaction() as connection:
        return rows(connection, query)
