"""Attacks with the database role of the service or of the reader."""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import Connection, sql
from psycopg import errors as pg

from pgface.accounts import Accounts, Client, add_administrator, create_key
from pgface.database.pool import Database, connected, initialise
from pgface.database.roles import grant_reader
from pgface.database.sql import queries
from pgface.errors import (
    DatabaseAccessError,
    LoginRefusedError,
)
from pgface.settings import Settings
from support.galleries import rows
from support.photos import Photos
from support.service_role import drop_role, sql_as
from support.web_service import PASSWORD, V1, Served, file

EMAIL, OTHER = "ada@example.org", "five other plain words here"
STRANGER = Client(address="198.51.100.1")


def rows_of(database: Database, query: str) -> list[tuple[object, ...]]:
    with database.transaction() as connection:
        return rows(connection, query)


def one_of(database: Database, query: str) -> object:
    ((value,),) = rows_of(database, query)
    return value


def test_the_services_role_cannot_become_an_administrator(
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
        "SELECT encrypted_secret FROM access_keys",
        "INSERT INTO access_keys (access_key_id, key_id, encrypted_secret) VALUES ('PGFA', 1, '')",
        "SELECT add_access_key('PGFAAAAAAAAAAAAAAAAA', 1, '', NULL)",
        "SELECT add_access_key('PGFAAAAAAAAAAAAAAAAA', 1, '', '{d}')",
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
        "SELECT is_gallery_owner()",
        "SELECT require_authority(NULL)",
        "SELECT blank_password('x')",
        "CREATE FUNCTION users() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER FUNCTION begin_session SECURITY INVOKER",
    ):
        statement = attack.format(ada=ada, eve=eve, d=digest, email=EMAIL)
        with sql_as(settings, roles[0]) as stolen, pytest.raises(pg.InsufficientPrivilege):
            stolen.execute(statement.encode())
    # Also not with own tables that have the names of the gallery's.
    with sql_as(settings, roles[0]) as stolen:
        stolen.execute("CREATE TEMPORARY TABLE administrators AS SELECT %s AS user_id", (eve,))
        stolen.execute("CREATE TEMPORARY TABLE api_keys (key text, scopes text[], revoked_at timestamptz)")
        stolen.execute("INSERT INTO pg_temp.api_keys VALUES (%s, '{admin}')", (digest,))
        stolen.execute("SET search_path = pg_temp, public")
        schema = sql.Identifier(settings.schema_name)
        made = sql.SQL("SELECT {}.create_api_key('x', {}, '{{admin}}', {})")
        with_own_tables = made.format(schema, sql.Literal(digest), sql.Literal(digest))
        with pytest.raises(pg.InsufficientPrivilege):
            stolen.execute(with_own_tables)
    assert accounts.who(login.token).user_id == ada
    assert one_of(database, "SELECT count(*) FROM api_keys") == 0
    assert one_of(database, "SELECT count(*) FROM auth_tokens") == 1


def test_a_session_without_a_password_has_no_authority(
    settings: Settings, database: Database, roles: tuple[str, str], accounts: Accounts
) -> None:
    ada = accounts.register(EMAIL, PASSWORD).id
    add_administrator(database, ada, Client())
    digest = hashlib.sha256(b"known").hexdigest()
    with sql_as(settings, roles[0]) as stolen:
        stolen.execute("SELECT begin_session(%s, %s, 1, FALSE, NULL, 3600)", (ada, digest))
        assert not accounts.who("known").password_given
        with pytest.raises(pg.InsufficientPrivilege):
            stolen.execute("SELECT create_api_key('x', %s, '{admin}', %s)", (digest, digest))


def test_actions_of_administrators_need_their_token(database: Database, accounts: Accounts) -> None:
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


def test_a_password_in_clear_text_is_not_revealed(
    settings: Settings, database: Database, roles: tuple[str, str], accounts: Accounts
) -> None:
    ada = accounts.register(EMAIL, PASSWORD).id
    blank = "SELECT blank FROM find_password(ARRAY['ada@example.org'])"
    with sql_as(settings, roles[0]) as stolen, database.transaction() as owner:
        ((stored,),) = rows(owner, "SELECT password FROM users")
        ((revealed,),) = rows(stolen, blank)
        salt, _, digest = stored.rpartition("$")
        assert revealed == f"{salt}${len(digest) * 'A'}"
    for clear in ("hashed_password_here", "scrypt:secret", "$argon2id$secret", "$2b$12$secret", "pbkdf2:a$b$secret"):
        with database.transaction() as owner:
            owner.execute("UPDATE users SET password = %s WHERE id = %s", (clear, ada))
        with sql_as(settings, roles[0]) as stolen:
            assert rows(stolen, blank) == [("",)]
            assert rows(stolen, f"SELECT confirm_password({ada}, ARRAY['{clear}'])") == [(None,)]
        with pytest.raises(LoginRefusedError):
            accounts.log_in(EMAIL, clear)


# Locks


LOCKS = (
    "SELECT pg_advisory_lock(hashtext('pgface.gallery.enroll'), 'gallery'::regclass::oid::integer)",
    "SELECT pg_advisory_lock(hashtext('pgface.search.vector_index'), 'gallery'::regclass::oid::integer)",
    "SELECT pg_advisory_lock(hashtext('pgface.gallery.photos'), 'gallery'::regclass::oid::integer)",
    "SELECT pg_advisory_lock(123589401600869)",
)


def test_the_readers_role_cannot_block_others_with_locks(
    settings: Settings, roles: tuple[str, str], accounts: Accounts, database: Database
) -> None:
    with sql_as(settings, roles[1]) as reader:
        for query in ("lock_enrollment", "hold_photo_files", "try_share_photo_files", "take_index"):
            with pytest.raises(pg.InsufficientPrivilege):
                reader.execute(queries()[query])
        for table in ("users", "gallery_locks", "pgface_migrations", "face_embeddings"):
            for mode in ("ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"):
                with reader.transaction(), pytest.raises(pg.InsufficientPrivilege), reader.transaction():
                    reader.execute(f"LOCK TABLE {table} IN {mode} MODE".encode())
        for query in LOCKS:  # locks of former versions, and any number
            reader.execute(query.encode())
        began = time.monotonic()
        with database.transaction() as connection:
            connection.execute(queries()["lock_enrollment"])
        with database.dedicated_connection() as connection:
            with connection.transaction():
                assert connection.execute(queries()["take_index"]).fetchone()
            connection.execute(queries()["give_index_back"])
        assert initialise(settings) == []
        user = accounts.register(EMAIL, PASSWORD)
        Accounts(accounts._gallery).log_out_everywhere(user.id)
        assert time.monotonic() - began < 5


def test_the_reader_does_not_stop_enrollments(api: Served, photos: Photos) -> None:
    settings, role = api.owner.settings, "hostile reader"
    with connected(settings) as connection:
        grant_reader(connection, settings.schema_name, role)
    try:
        with sql_as(settings, role) as reader:
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
        assert settings.database_url
        with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
            drop_role(connection, role)


def test_the_index_lock_is_free_after_the_end_of_its_process(settings: Settings, database: Database) -> None:
    def take(connection: Connection) -> bool:
        with connection.transaction():
            return connection.execute(queries()["take_index"]).fetchone() is not None

    with Database.open(settings) as other, other.dedicated_connection() as second:
        with database.dedicated_connection() as first:
            assert take(first)
            assert not take(second)
            assert take(first)  # again
        for _ in range(50):  # its server process ends a moment later
            if taken := take(second):
                break
            time.sleep(0.1)
        assert taken


def test_no_request_waits_forever_for_a_lock(api: Served, photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the owner holds the lock of enrollments, they fail with 503, and other requests continue."""
    assert api.execute("SHOW lock_timeout") == [("10s",)]
    monkeypatch.setattr("pgface.database.pool._TURN_TIMEOUT", 1.0)
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
