"""Galleries behind a real pgbouncer that gives every transaction another server process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import Connection, sql
from psycopg import errors as pg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import tuple_row

from pgface import Gallery
from pgface.accounts import prune_logins
from pgface.accounts.sessions import begin_session
from pgface.database.pool import Database, initialise
from pgface.database.sql import migrations, queries
from pgface.errors import DatabaseUnreachableError, FaceOfAnotherUserError, SessionNeededError, SettingsError
from pgface.results import Match, Verification
from pgface.search.vector_index.lifecycle import try_vector_index_lock
from pgface.settings import Settings
from support.commands import runner
from support.databases import create_database, drop_database
from support.galleries import ODD_SCHEMA, add_embedding, add_user, axis, contents, rows
from support.pgbouncer import pooler
from support.photos import Photos
from support.sentences import database as says

pytestmark = pytest.mark.slow

EVERY_USER: dict[str, Any] = {"after": 0, "limit": None, "text": None, "labels": [], "external_id": None}
NEW_USER: dict[str, Any] = {"password": "!", "external_id": None, "labels": [], "metadata": "{}"}

VERSIONS = ("postgres16", "postgres18")
SCHROEDER, BUSH, POWELL = "Gerhard_Schroeder", "George_W_Bush", "Colin_Powell"


@pytest.fixture(params=VERSIONS)
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a new, empty database, without a pooler."""
    server = request.getfixturevalue(request.param)
    url = create_database(server)
    yield url
    drop_database(server, url)


@pytest.fixture
def pooled_url(database_url: str) -> Iterator[str]:
    """URL of the same database through pgbouncer, which has two connections to the server."""
    with pooler(database_url) as url:
        yield url


@pytest.fixture
def settings(settings: Settings, pooled_url: str, database_url: str) -> Settings:
    """Settings of a gallery behind pgbouncer, with a direct URL."""
    return through(settings, pooled_url, database_url)


def through(settings: Settings, pooled_url: str, direct_url: str | None, **values: object) -> Settings:
    urls = {"database_url": pooled_url, "direct_url": direct_url, "PGFACE_SCHEMA": settings.schema_name}
    return Settings.model_validate(urls | {"data_dir": settings.data_dir} | values)


def process(connection: Connection) -> int:
    ((number,),) = rows(connection, "SELECT pg_backend_pid()")
    return int(number)


# Problems of a client that ignores pgbouncer


@pytest.fixture
def two_clients(pooled_url: str) -> Iterator[tuple[Connection, Connection]]:
    """Two clients of pgbouncer, in autocommit mode, which prepare every statement."""
    with ExitStack() as clients:
        first, second = (
            clients.enter_context(psycopg.connect(pooled_url, autocommit=True, prepare_threshold=0)) for _ in range(2)
        )
        yield first, second


def test_a_session_setting_reaches_other_clients_and_is_lost(two_clients: tuple[Connection, Connection]) -> None:
    first, second = two_clients
    first.execute("CREATE SCHEMA first", prepare=False)
    first.execute("SET search_path = first", prepare=False)
    assert second.execute("SHOW search_path", prepare=False).fetchone() == ("first",)
    with second.transaction():
        second.execute("SELECT 1", prepare=False)  # it occupies that process, so the first client gets another
        assert first.execute("SHOW search_path", prepare=False).fetchone() != ("first",)


def test_prepared_statements_of_two_clients_have_the_same_name(two_clients: tuple[Connection, Connection]) -> None:
    first, second = two_clients
    first.execute("SELECT 1")
    with pytest.raises(pg.DuplicatePreparedStatement):
        second.execute("SELECT 2")


def test_a_session_lock_belongs_to_all_clients(two_clients: tuple[Connection, Connection]) -> None:
    first, second = two_clients
    for client in (first, second):  # both use the same server process, so the lock has no effect
        assert client.execute("SELECT pg_try_advisory_lock(1)", prepare=False).fetchone() == (True,)


def test_a_pooler_sends_another_process_number(two_clients: tuple[Connection, Connection], database_url: str) -> None:
    for client in two_clients:
        assert client.info.backend_pid != client.execute("SELECT pg_backend_pid()", prepare=False).fetchone()[0]  # type: ignore[index]
    with psycopg.connect(database_url) as direct:
        assert direct.info.backend_pid == process(direct)


# How pgface handles pgbouncer


def test_faces_are_enrolled_and_found(settings: Settings, insightface_pack: Path, photos: Photos) -> None:
    probes = [photos(person, number) for person in (SCHROEDER, BUSH, POWELL) for number in (2, 3)]

    def ask(gallery: Gallery) -> list[tuple[tuple[Match, ...], Verification]]:
        return [
            (gallery.identify(probe, top=2).faces[0].matches, gallery.verify(probe, "bush@example.org"))
            for probe in probes
        ]

    with Gallery.create(settings, model=str(insightface_pack)) as gallery:
        gallery.enroll(photos(SCHROEDER, 1), "schroeder@example.org")
        gallery.enroll(photos(BUSH, 1), "bush@example.org")
        found = ask(gallery)
        before = contents(gallery)
        with pytest.raises(FaceOfAnotherUserError):
            gallery.enroll(photos(BUSH, 4), "other@example.org")
        assert contents(gallery) == before
        assert len(gallery.identify_embeddings(list(np.eye(3, 512)), threshold=-1)) == 3
    assert [len(matches) for matches, _ in found] == [1, 1, 1, 1, 0, 0]
    assert [verified.match for _, verified in found] == [False, False, True, True, False, False]

    assert settings.direct_url is not None
    with Gallery.open(through(settings, settings.direct_url.get_secret_value(), None)) as gallery:
        assert contents(gallery) == before
        assert ask(gallery) == found
    with Gallery.open(settings) as gallery:
        gallery.merge_users("schroeder@example.org", "bush@example.org")
        gallery.erase_user("bush@example.org")
        assert gallery.users() == []
        assert list(settings.photos_dir.rglob("*.jpg")) == []


@pytest.mark.parametrize("database_url", ["postgres18"], indirect=True)
def test_the_commands_run_and_thresholds_are_set(
    settings: Settings, insightface_pack: Path, faces_dir: Path, tmp_path: Path
) -> None:
    assert settings.database_url is not None
    assert settings.direct_url is not None
    environment = {
        "PGFACE_DATABASE_URL": settings.database_url.get_secret_value(),
        "PGFACE_DIRECT_URL": settings.direct_url.get_secret_value(),
        "PGFACE_SCHEMA": settings.schema_name,
        "PGFACE_DATA_DIR": str(settings.data_dir),
    }
    run = runner(environment, tmp_path)
    run("init", "--model", insightface_pack)
    run("enroll", faces_dir / BUSH / f"{BUSH}_0001.jpg", "--user", "george@example.org", "--faces", "largest")
    run("calibrate", faces_dir, "--faces", "largest", "--fmr", "1e-2", "--yes")
    (calibrated,) = json.loads(run("thresholds", "--json").stdout)["history"]
    assert calibrated["kind"] == "verify"
    verified = run("verify", faces_dir / BUSH / f"{BUSH}_0002.jpg", "--user", "george@example.org", "--json")
    assert json.loads(verified.stdout)["threshold"] == calibrated["threshold"]
    status = json.loads(run("status", "--json").stdout)
    assert (status["embeddings"], status["embedded"], status["index"]) == (1, False, "hnsw")


def test_a_bulk_load_builds_the_index_again(settings: Settings) -> None:
    initialise(settings)
    people = 200
    embeddings, others = np.random.default_rng(4).standard_normal((2, 5 * people, 512)).astype(np.float32)
    with Gallery.open(settings) as gallery:
        ids = np.array([gallery.add_user(f"user{number}@example.org").id for number in range(people)]).repeat(5)
        with ThreadPoolExecutor(2) as threads:
            loads = [threads.submit(gallery.load_embeddings, ids, part) for part in (embeddings, others)]
            assert [load.result() for load in loads] == [len(ids)] * 2
        found = [gallery.identify_embedding(probe, threshold=0.9)[0].user_id for probe in embeddings[::50]]
        assert found == ids[::50].tolist()
        assert gallery.fit_search("exact").embeddings == 2 * len(ids)
        assert gallery.status().index == "hnsw"


def test_programs_that_start_together_migrate_once(settings: Settings) -> None:
    with ThreadPoolExecutor(4) as threads:
        ran = sorted(threads.map(lambda _: len(initialise(settings)), range(4)))
    assert ran == [0, 0, 0, len(migrations())]


def test_galleries_of_one_database_never_see_each_other(settings: Settings, pooled_url: str, database_url: str) -> None:
    """There are more threads than server processes, two galleries, and a program that changes search paths."""
    others = through(settings, pooled_url, database_url, PGFACE_SCHEMA="public")
    rounds, ended = 60, Event()

    def use(own: Settings, number: int) -> int:
        mine = f"{own.schema_name}-{number}@example.org"
        with Database.open(own) as database:
            for turn in range(rounds):
                with database.transaction() as connection:
                    values = NEW_USER | {"name": own.schema_name, "email": f"{turn}-{mine}"}
                    connection.execute(queries()["insert_user"], values)
                found = database.read(
                    "select_users",
                    EVERY_USER,
                    row_factory=tuple_row,
                )
                assert {name for _, name, *_ in found} == {own.schema_name}
                several = database.read_each(
                    "select_users",
                    [EVERY_USER | {"after": after, "limit": 3} for after in (0, 1)],
                    row_factory=tuple_row,
                )
                assert {name for answer in several for _, name, *_ in answer} <= {own.schema_name}
        return rounds

    def vandalise() -> int:
        with psycopg.connect(pooled_url, autocommit=True, prepare_threshold=None) as connection:
            while not ended.is_set():
                for path in ("public", "pg_catalog", f'"{ODD_SCHEMA.replace(chr(34), chr(34) * 2)}"'):
                    connection.execute(f"SET search_path = {path}".encode())
        return 0

    for own in (settings, others):
        initialise(own)
    with ThreadPoolExecutor(9) as threads:
        vandal = threads.submit(vandalise)
        uses = [threads.submit(use, own, number) for number in range(4) for own in (settings, others)]
        done = [future.exception() or future.result() for future in uses]
        ended.set()
        assert vandal.result() == 0
    assert done == [rounds] * 8
    for own in (settings, others):
        with Database.open(own) as database:
            found = database.read(
                "select_users",
                EVERY_USER,
                row_factory=tuple_row,
            )
            assert len(found) == 4 * rounds


def test_the_server_processes_keep_no_statements_settings_or_locks(settings: Settings, pooled_url: str) -> None:
    initialise(settings)
    with Database.open(settings) as database:
        for _ in range(50):
            database.read("select_gallery", row_factory=tuple_row)
            database.read_each("select_user", [{"id": 1}, {"id": 2}], row_factory=tuple_row)
            with database.transaction() as connection:
                connection.execute(queries()["lock_gallery_row"])
    with ExitStack() as clients:
        processes = set()
        for _ in range(2):  # each occupies a server process, so these are all processes
            client = clients.enter_context(psycopg.connect(pooled_url, prepare_threshold=None))
            processes.add(process(client))
            assert rows(client, "SELECT name FROM pg_prepared_statements") == []
            assert rows(client, "SHOW search_path") == [('"$user", public',)]
            assert rows(client, "SELECT FROM pg_locks WHERE locktype = 'advisory'") == []
        assert len(processes) == 2


@pytest.mark.parametrize("pooled", [True, False], ids=["pooled", "direct"])
def test_times_without_a_zone_are_in_the_servers_zone(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch, pooled: bool
) -> None:
    """Otherwise a session could have ended in the zone of one client, and be open in that of another."""
    initialise(settings)
    if not pooled:
        settings = through(settings, database_url, None)
    with psycopg.connect(database_url, autocommit=True) as plain:  # a client without its own zone
        (servers,) = rows(plain, "SHOW timezone")
        plain.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(settings.schema_name)))
        user = add_user(plain, "ada@example.org")
        insert = (
            "INSERT INTO auth_tokens (user_id, token, confidence, expires_at) VALUES (%s, %s, 1, LOCALTIMESTAMP + %s)"
        )
        plain.execute(insert, (user, "ended", timedelta(hours=-1)))
        plain.execute(insert, (user, "lasts", timedelta(hours=1)))
        for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago", ""):  # 14 hours before Greenwich, and 11 behind it
            monkeypatch.setenv("PGTZ", zone) if zone else monkeypatch.delenv("PGTZ")
            with Database.open(settings) as database:
                with database.transaction() as connection:
                    assert rows(connection, "SHOW timezone") == [servers]
                    new = begin_session(connection, user, confidence=1, password_given=True, seconds=1800)
                listed = database.read("select_sessions_of_user", {"user_id": user}, row_factory=tuple_row)
                assert len(listed) == 2, zone
                assert prune_logins(database) == (1 if zone == "Pacific/Kiritimati" else 0)
            left = "SELECT expires_at - LOCALTIMESTAMP BETWEEN '1 second' AND '30 minutes' FROM auth_tokens"
            assert rows(plain, f"{left} WHERE expires_at = '{new.expires_at}'") == [(True,)]
            plain.execute("DELETE FROM auth_tokens WHERE token <> 'lasts'")


def test_the_databases_zone_overrides_those_of_the_server_and_of_clients(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    initialise(settings)
    name = str(conninfo_to_dict(database_url)["dbname"])
    with psycopg.connect(database_url, autocommit=True) as plain:
        plain.execute(sql.SQL("ALTER DATABASE {} SET TimeZone = 'Asia/Kathmandu'").format(sql.Identifier(name)))
    for zone in ("Pacific/Kiritimati", "Asia/Kathmandu"):
        monkeypatch.setenv("PGTZ", zone)
        for each in (settings, through(settings, database_url, None)):
            with Database.open(each) as database, database.transaction() as connection:
                assert rows(connection, "SHOW timezone") == [("Asia/Kathmandu",)]


def test_a_transaction_may_choose_its_isolation(settings: Settings) -> None:
    initialise(settings)
    with Database.open(settings) as database, database.transaction() as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        assert rows(connection, "SHOW transaction_isolation") == [("repeatable read",)]
        assert rows(connection, "SELECT current_schema()") == [(settings.schema_name,)]


def test_one_connection_to_the_server_is_enough(
    settings: Settings, database_url: str, insightface_pack: Path, photos: Photos
) -> None:
    with pooler(database_url, pool_size=1) as url:
        own = through(settings, url, database_url)
        with Gallery.create(own, model=str(insightface_pack)) as gallery, ThreadPoolExecutor(3) as threads:
            work = [threads.submit(gallery.enroll, photos(BUSH, n), "george@example.org") for n in (1, 2, 3)]
            assert [enrolled.result().added for enrolled in work] == [True] * 3


def test_sql_functions_need_only_their_schemas_name(settings: Settings, pooled_url: str, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        for number, schema in enumerate((settings.schema_name, "public")):
            initialise(through(settings, database_url, None, PGFACE_SCHEMA=schema))
            path = sql.SQL("SET search_path = {}, public").format(sql.Identifier(schema))
            connection.execute(path)
            add_embedding(connection, add_user(connection, f"{number}@example.org"), axis(0))
    with psycopg.connect(pooled_url, autocommit=True, prepare_threshold=None) as client:
        for number, schema in enumerate((settings.schema_name, "public")):
            function = sql.SQL("SELECT user_email FROM {}.find_similar_face(%s)").format(sql.Identifier(schema))
            client.execute("SET search_path = pg_catalog")
            assert client.execute(function, (axis(0),)).fetchall() == [(f"{number}@example.org",)]


# Operations that need a session


def test_without_a_direct_url_the_operation_changes_nothing(
    settings: Settings, pooled_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    initialise(settings)
    alone = through(settings, pooled_url, None)
    with Gallery.open(alone) as gallery:
        user = gallery.add_user("a@example.org")
        before = contents(gallery)
        with pytest.raises(SessionNeededError, match=says.NEEDS_A_SESSION.pattern()):
            gallery.load_embeddings([user.id], np.eye(1, 512))
        with pytest.raises(SessionNeededError):
            gallery.fit_search("exact")
        assert contents(gallery) == before
    # A direct URL through the same pooler does not help.
    with Gallery.open(through(settings, pooled_url, pooled_url)) as gallery, pytest.raises(SessionNeededError):
        gallery.load_embeddings([user.id], np.eye(1, 512))
    assert caplog.records == []


def test_init_logs_what_it_could_not_do(
    settings: Settings, insightface_pack: Path, pooled_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    alone = through(settings, pooled_url, None)
    Gallery.create(alone, model=str(insightface_pack)).close()
    assert caplog.records == []
    with Database.open(settings) as database, database.autocommit() as connection:
        connection.execute("DROP INDEX idx_embeddings_vector")
    Gallery.create(alone).close()
    (record,) = caplog.records
    assert says.SEARCH_MUST_BE_FITTED in record.getMessage()
    Gallery.create(settings).close()
    with Gallery.open(settings) as gallery:
        assert gallery.status().index == "hnsw"


def test_a_direct_url_of_another_database_is_refused(settings: Settings, postgres16: str, pooled_url: str) -> None:
    initialise(settings)
    elsewhere = create_database(postgres16)
    try:
        initialise(through(settings, elsewhere, None))
        wrong = through(settings, pooled_url, elsewhere)
        with Database.open(wrong) as database:
            with (
                pytest.raises(SettingsError, match=says.DIRECT_URL_LEADS_ELSEWHERE.pattern()),
                database.dedicated_connection(),
            ):
                pass
            with pytest.raises(SettingsError), database.autocommit():
                pass
    finally:
        drop_database(postgres16, elsewhere)


def test_any_role_may_read_the_identity_of_the_database(postgres16: str, database_url: str) -> None:
    found = []
    for server in (postgres16, database_url):
        with psycopg.connect(server) as connection:
            connection.execute("CREATE ROLE without_privileges")
            connection.execute("SET ROLE without_privileges")
            found.append(rows(connection, queries()["database_identity"]))
            connection.rollback()
    assert found[0] != found[1]


def test_pooled_and_direct_connections_share_the_lock_of_the_index(settings: Settings, database_url: str) -> None:
    initialise(settings)
    direct = through(settings, database_url, None)
    with (
        Database.open(settings) as pooled,
        Database.open(direct) as unpooled,
        pooled.dedicated_connection() as ours,
        unpooled.autocommit() as theirs,
        try_vector_index_lock(ours) as held,
    ):
        assert held
        with try_vector_index_lock(theirs) as also:
            assert not also


# The setting PGFACE_POOLING


def test_the_setting_does_not_apply_to_the_direct_url(settings: Settings, pooled_url: str) -> None:
    initialise(settings)
    assert settings.direct_url is not None
    pooled = through(settings, pooled_url, settings.direct_url.get_secret_value(), pooling="transaction")
    with Gallery.open(pooled) as gallery:
        user = gallery.add_user("a@example.org")
        assert gallery.load_embeddings([user.id], np.eye(1, 512)) == 1


def test_without_a_pooler_the_session_is_used(settings: Settings, database_url: str) -> None:
    initialise(settings)
    for pooling, prepared in (("auto", True), ("session", True), ("transaction", False)):
        with Database.open(through(settings, database_url, None, pooling=pooling)) as database:
            for _ in range(3):
                database.read("select_gallery", row_factory=tuple_row)
            with database.transaction() as connection:
                statements = rows(connection, "SELECT statement FROM pg_prepared_statements")
                assert bool(statements) == prepared


def test_a_session_pooler_can_be_configured(settings: Settings, database_url: str) -> None:
    initialise(settings)
    with pooler(database_url, mode="session", pool_size=6) as url:
        with (
            Database.open(through(settings, url, None)) as database,
            pytest.raises(SessionNeededError),
            database.dedicated_connection(),
        ):
            pass
        with Gallery.open(through(settings, url, None, pooling="session")) as gallery:
            user = gallery.add_user("a@example.org")
            assert gallery.load_embeddings([user.id], np.eye(1, 512)) == 1


def test_a_statement_pooler_is_refused(settings: Settings, database_url: str) -> None:
    initialise(settings)
    reason = "transaction blocks not allowed in statement pooling"
    with (
        pooler(database_url, mode="statement") as url,
        pytest.raises(DatabaseUnreachableError, match=says.CONNECTION_WAS_LOST_BECAUSE.pattern(reason=reason)),
    ):
        Database.open(through(settings, url, None))
