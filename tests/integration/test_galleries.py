"""Many galleries: the registry, sharing of connections and engines, the commands, and who may use which over HTTP."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import psycopg
import pytest
from httpx2 import Response
from psycopg import sql

from pgface import Galleries, Gallery, Settings
from pgface.accounts import Accounts, Client, add_administrator, create_key
from pgface.accounts.tokens import token_hash
from pgface.database.embedded.server import EmbeddedPostgres
from pgface.database.pool import initialise
from pgface.database.sql import queries
from pgface.errors import (
    DatabaseAccessError,
    DatabaseError,
    DuplicateGalleryError,
    GalleryError,
    SchemaMissingError,
    StorageError,
    UnknownGalleryError,
)
from pgface.gallery.photo_stores.folder import FolderStore
from pgface.gallery.photos import PhotoFiles
from pgface.operations.backup import back_up
from pgface.operations.backup.restore import restore
from support.access import PERMITTED, Example, send
from support.backups import no_passphrase
from support.catalog import catalog
from support.commands import Run, environment_of, runner
from support.databases import Databases
from support.embedded_server import eventually
from support.galleries import in_both_schemas, link_pack
from support.photos import Photos
from support.sentences import commands as says
from support.sentences import database as database_says
from support.service_role import opened_as_service
from support.web_service import PASSWORD, V1, Headers, Served, bearer, code_of


@pytest.fixture
def galleries(gallery: Gallery, insightface_pack: Path) -> Iterator[Galleries]:
    """The default gallery, bound to a model, with an empty registry."""
    gallery.bind(str(insightface_pack))
    with Galleries.open(gallery.settings) as galleries:
        yield galleries


def test_galleries_are_created_listed_renamed_and_deleted(galleries: Galleries, photos: Photos) -> None:
    staff, guests = galleries.create("staff"), galleries.create("Staff")
    assert staff.model_name == guests.model_name == galleries.default.config.model_name
    assert staff.schema_name != guests.schema_name
    galleries["staff"].enroll(photos("Ariel_Sharon", 1), "ariel@example.org")
    folder = galleries.default.settings.photos_dir / str(galleries["staff"].config.id)
    assert len(list(folder.rglob("*.jpg"))) == 1
    assert [(one.name, one.people, one.faces) for one in galleries.list()] == [("Staff", 0, 0), ("staff", 1, 1)]
    galleries.rename("staff", "employees")
    assert galleries.describe("employees").people == 1
    with pytest.raises(UnknownGalleryError):
        galleries["staff"]
    galleries.delete("employees")
    assert [one.name for one in galleries.list()] == ["Staff"]
    assert not folder.exists()
    with galleries.default.database.transaction() as connection:
        schemas = "SELECT nspname FROM pg_namespace WHERE nspname = %s"
        assert connection.execute(schemas, (staff.schema_name,)).fetchall() == []


def test_the_photos_of_a_deleted_gallery_are_deleted_after_an_interruption(
    galleries: Galleries, photos: Photos, insightface_pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each machine deletes its own folder. The other machine here is one with another photos folder."""
    settings = galleries.default.settings
    elsewhere = settings.model_copy(update={"data_dir": settings.data_dir / "elsewhere"})
    link_pack(insightface_pack, elsewhere.models_dir)
    galleries.create("staff")
    galleries["staff"].enroll(photos("Ariel_Sharon", 1), "ariel@example.org")
    kept = galleries.default.enroll(photos("Ariel_Sharon", 1), "ariel@example.org")
    with Galleries.open(elsewhere) as others:
        others["staff"].enroll(photos("Ariel_Sharon", 2), "ariel@example.org")
    folders = [one.photos_dir / str(galleries["staff"].config.id) for one in (settings, elsewhere)]
    with monkeypatch.context() as patch:
        patch.setattr(PhotoFiles, "remove_deleted", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            galleries.delete("staff")
    assert [one.name for one in galleries.list()] == []
    assert [len(list(folder.rglob("*.jpg"))) for folder in folders] == [1, 1]
    with monkeypatch.context() as patch:
        patch.setattr(FolderStore, "delete_all", Mock(side_effect=StorageError))
        galleries.default.clean_photo_store()
    assert galleries.default.status().photos_to_delete == 2
    galleries.default.clean_photo_store()
    assert [folder.exists() for folder in folders] == [False, True]
    Gallery.open(elsewhere).close()
    assert [folder.exists() for folder in folders] == [False, False]
    assert galleries.default.status().photos_to_delete == 0
    assert galleries.default.crop(galleries.default.photo(kept.photo_id))


def test_a_restored_gallery_keeps_its_photos_after_an_interrupted_deletion(
    galleries: Galleries, photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    galleries.create("staff")
    galleries["staff"].enroll(photos("Ariel_Sharon", 1), "ariel@example.org")
    back_up(galleries["staff"].settings, tmp_path / "staff.pgface")
    with monkeypatch.context() as patch:
        patch.setattr(PhotoFiles, "remove_deleted", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            galleries.delete("staff")
    galleries.create("staff")
    restore(galleries["staff"].settings, tmp_path / "staff.pgface", no_passphrase, in_place=True)
    galleries.default.clean_photo_store()
    with Galleries.open(galleries.default.settings) as others:
        (photo,) = others["staff"].photos()
        assert others["staff"].crop(photo)


def test_people_of_one_gallery_are_not_found_in_another(galleries: Galleries, photos: Photos) -> None:
    for name in ("a", "b"):
        galleries.create(name)
    enrolled = galleries["a"].enroll(photos("Ariel_Sharon", 1), "ariel@example.org")
    [face] = galleries["a"].identify(photos("Ariel_Sharon", 2)).faces
    assert [match.user_id for match in face.matches] == [enrolled.user.id]
    for other in (galleries["b"], galleries.default):
        [face] = other.identify(photos("Ariel_Sharon", 2)).faces
        assert face.matches == ()
        assert other.users() == []
    assert galleries["a"].engine is galleries["b"].engine is galleries.default.engine


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "é", "a\n", "x" * 256, "a;b"])
def test_other_names_are_refused(galleries: Galleries, name: str) -> None:
    with pytest.raises(GalleryError):
        galleries.create(name)
    with pytest.raises(UnknownGalleryError):
        galleries[name]


def test_a_name_is_used_once(galleries: Galleries) -> None:
    for name in ("a", "b"):
        galleries.create(name)
    for make in (lambda: galleries.create("a"), lambda: galleries.rename("b", "a")):
        with pytest.raises(DuplicateGalleryError):
            make()
    with pytest.raises(UnknownGalleryError):
        galleries.rename("c", "d")
    with pytest.raises(UnknownGalleryError):
        galleries.delete("c")
    assert [one.name for one in galleries.list()] == ["a", "b"]


def test_a_deadlock_does_not_stop_a_deletion(galleries: Galleries) -> None:
    """Another program locks a table of the gallery first, and the gallery's entry in the registry afterwards."""
    schema = sql.Identifier(galleries.create("staff").schema_name)
    entry = sql.SQL("SELECT FROM galleries WHERE name = 'staff' FOR UPDATE")
    waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    calls: list[object] = []
    with (
        ThreadPoolExecutor(1) as thread,
        galleries.default.database.transaction() as other,
        psycopg.connect(galleries.default.database.url, autocommit=True) as observer,
    ):
        other.execute("SET LOCAL deadlock_timeout = '60s'")  # so PostgreSQL ends the deletion
        other.execute(sql.SQL("LOCK TABLE {}.users").format(schema))
        deleting = thread.submit(galleries.delete, "staff", within=calls.append)
        assert eventually(lambda: observer.execute(waiting).fetchone() is not None)
        other.execute(entry)
        assert calls == []
        other.execute("ROLLBACK")
        deleting.result(30)
    assert (len(calls), galleries.list()) == (1, [])


def test_galleries_that_others_create_and_delete(galleries: Galleries) -> None:
    """Each call succeeds, or says that there is no gallery or already one."""
    end = time.monotonic() + 2 * int(os.environ.get("PGFACE_TEST_ROUNDS", "1"))

    def keep_doing(*calls: Callable[[Galleries], object]) -> None:
        with Galleries.open(galleries.default.settings) as others:
            while time.monotonic() < end:
                for call in calls:
                    with suppress(DuplicateGalleryError, UnknownGalleryError):
                        call(others)

    with ThreadPoolExecutor(3) as threads:
        turns = (lambda one: one.create("staff"), lambda one: one.delete("staff"))
        running = [threads.submit(keep_doing, *calls) for calls in (turns, turns, (Galleries.list,))]
        for one in running:
            one.result()


@in_both_schemas
def test_a_deleted_gallery_never_answers_with_the_data_of_another(galleries: Galleries) -> None:
    """In the schema public, the default gallery's tables come next on the search path of a dropped schema."""
    galleries.default.add_user("default@example.org")
    galleries.create("staff")
    settings = galleries.default.settings.model_copy(update={"pool_size": 1})
    with Galleries.open(settings) as others:
        staff = others["staff"]
        staff.add_user("staff@example.org")
        assert [user.email for user in staff.users()] == ["staff@example.org"]
        galleries.delete("staff")
        for use in (staff.users, lambda: staff.add_user("late@example.org")):
            with pytest.raises(DatabaseError):
                use()
        with pytest.raises(UnknownGalleryError):
            others["staff"]
    assert [user.email for user in galleries.default.users()] == ["default@example.org"]


@pytest.mark.parametrize("pooling", ["session", "transaction"])
def test_many_galleries_share_few_connections(galleries: Galleries, pooling: str) -> None:
    """With `transaction`, pgface sets the search path in each transaction, as behind pgbouncer."""
    settings = galleries.default.settings.model_copy(update={"pool_size": 2, "pooling": pooling})
    names = [f"gallery-{number}" for number in range(6)]
    with Galleries.open(settings) as shared:
        for name in names:
            shared.create(name)
            shared[name].add_user(f"{name}@example.org")

        def emails(number: int) -> bool:
            name = names[number % len(names)]
            return [user.email for user in shared[name].users()] == [f"{name}@example.org"]

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(emails, range(120)))
        count = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pgface'"
        )
        with galleries.default.database.transaction() as connection:
            found = connection.execute(count).fetchone()
    assert found is not None
    assert found[0] <= 2 + galleries.default.settings.pool_size


def test_a_connection_that_served_many_galleries_is_replaced(
    galleries: Galleries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL keeps what it read of each gallery until the connection is closed."""
    monkeypatch.setattr("pgface.database.connection.MAX_SCHEMAS", 2)
    settings = galleries.default.settings.model_copy(update={"pool_size": 1})
    for name in ("a", "b", "c"):
        galleries.create(name)
    with Galleries.open(settings) as shared:

        def process(name: str) -> int:
            assert shared[name].users() == []
            with shared[name].database.transaction() as opened:
                return opened.info.backend_pid

        processes = [process(name) for name in ("a", "a", "a", "b", "b", "c")]
    assert len(set(processes[:3])) == 1
    assert len(set(processes)) > 1


def test_a_gallery_may_be_on_another_server(galleries: Galleries, databases: Databases, photos: Photos) -> None:
    url = databases.create()
    info = galleries.create("archive", database_url=url)
    assert info.server is not None
    assert "archive" in [one.name for one in galleries.list()]
    galleries["archive"].enroll(photos("Ariel_Sharon", 1), "ariel@example.org")
    [face] = galleries["archive"].identify(photos("Ariel_Sharon", 2)).faces
    assert len(face.matches) == 1
    assert galleries.describe("archive").faces == 1
    with pytest.raises(DuplicateGalleryError):
        galleries.create("archive", database_url=url)
    galleries.delete("archive")
    with psycopg.connect(url) as there:
        left = there.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'pgface%'").fetchone()
    assert left == (0,)
    galleries.close()
    databases.drop(url)


def test_the_sizes_of_many_galleries_are_read_in_several_transactions(
    galleries: Galleries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One transaction with the locks of a thousand galleries leaves no room for those of other sessions."""
    for name in ("a", "b", "c"):
        galleries.create(name)
    galleries["c"].add_user("carla@example.org")
    monkeypatch.setattr("pgface.galleries._BATCH", 2)
    locked = []
    read = galleries.default.database.read

    def counted(query: str, *arguments: Any, **options: Any) -> Any:
        with galleries.default.database.transaction() as connection:
            rows = read(query, *arguments, **options)
            if query == "gallery_sizes":
                (names,) = arguments
                connection.execute(queries()[query], names).fetchall()
                found = connection.execute(
                    "SELECT count(DISTINCT c.relnamespace) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation "
                    "WHERE l.pid = pg_backend_pid() AND c.relname = 'users'"
                ).fetchone()
                locked.append(found)
        return rows

    monkeypatch.setattr(galleries.default.database, "read", counted)
    assert [(info.name, info.people) for info in galleries.list()] == [("a", 0), ("b", 0), ("c", 1)]
    assert locked == [(2,), (1,)]
    assert [info.people for info in galleries.list_without_sizes()] == [None] * 3


@in_both_schemas
def test_a_named_gallery_has_the_same_schema_as_the_default_one(galleries: Galleries) -> None:
    """Only the registry is different: its rights, and the function that asks the default gallery."""
    default = galleries.default
    registry = "galleries galleries_id_seq gallery_script create_gallery register_gallery rename_gallery delete_gallery"
    own = (*registry.split(), "gallery_sizes", "open_all_galleries", "is_operator")
    with opened_as_service(default.settings):
        made = catalog(default.url, galleries.create("staff").schema_name, without=own)
        of_default = catalog(default.url, default.settings.schema_name, without=own)
    assert len(made) > 700
    assert sorted(of_default - made, key=str) == sorted(made - of_default, key=str) == []


def test_new_galleries_leave_no_plans_in_the_session_that_makes_them(galleries: Galleries) -> None:
    """PostgreSQL looks at every plan after each change of a table. So each gallery would make the next one slower."""
    plans = (
        "SELECT name, count(*) FROM pg_backend_memory_contexts "
        "WHERE name IN ('PL/pgSQL function', 'CachedPlanSource') GROUP BY name ORDER BY name"
    )
    settings = galleries.default.settings.model_copy(update={"pool_size": 1})
    counted = []
    with Galleries.open(settings) as one_session:
        for name in ("a", "b", "c"):
            one_session.create(name)
            with one_session.default.database.transaction() as connection:
                counted.append(connection.execute(plans).fetchall())
    # The first one has the plans of create_gallery(), and the second one those of this test.
    assert counted[1] == counted[2]


def make_old(galleries: Galleries, name: str) -> None:
    """Bring a gallery and its entry in the registry to an older version."""
    with galleries[name].database.transaction() as connection:
        connection.execute("DELETE FROM pgface_migrations WHERE version > 5")
    with galleries.default.database.transaction() as connection:
        connection.execute("UPDATE galleries SET schema_version = 5 WHERE name = %s", (name,))


def test_a_start_upgrades_only_the_galleries_that_are_older(
    galleries: Galleries, caplog: pytest.LogCaptureFixture
) -> None:
    schemas = {name: sql.Identifier(galleries.create(name).schema_name) for name in ("staff", "guests", "dropped")}
    settings = galleries.default.settings
    for name in ("staff", "dropped"):
        make_old(galleries, name)
    with Galleries.open(settings) as others, pytest.raises(SchemaMissingError, match="older"):
        others["staff"]
    with psycopg.connect(galleries.default.url) as connection:
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(schemas["dropped"]))
        connection.commit()
        # A start that looked into this gallery would wait for the lock.
        connection.execute(sql.SQL("LOCK TABLE {}.pgface_migrations").format(schemas["guests"]))
        initialise(settings)
    (logged,) = caplog.records
    assert says.GALLERY_WAS_NOT_UPGRADED.format(name="dropped") in logged.getMessage()
    with Galleries.open(settings) as others:
        assert others["staff"].users() == []
        assert others["guests"].users() == []


def test_init_upgrades_galleries_on_other_servers_and_says_which_it_could_not(
    galleries: Galleries, tmp_path: Path
) -> None:
    settings = galleries.default.settings
    run = runner(environment_of(settings))
    galleries.create("staff")
    with EmbeddedPostgres(tmp_path / "second") as second:
        server, _ = [galleries.create(name, database_url=second.url).server for name in ("archive", "spare")]
        for name in ("archive", "staff"):
            make_old(galleries, name)
        assert run("init").stdout.splitlines()[-3:] == [
            says.NAMED_GALLERY_IS_READY.format(name="staff") + ".",
            says.NAMED_GALLERY_ELSEWHERE_IS_READY.format(name="archive", server=server) + ".",
            says.NAMED_GALLERY_ELSEWHERE_IS_READY.format(name="spare", server=server) + ".",
        ]
        with Galleries.open(settings) as others:
            assert others["archive"].users() == others["staff"].users() == []
        galleries.close()
    done = run("init", "--json", code=1)
    upgraded = {one["name"]: one["error"] for one in json.loads(done.stdout)["galleries"]}
    assert [name for name, error in upgraded.items() if error is None] == [None, "staff"]
    for name in ("archive", "spare"):
        assert says.GALLERY_ELSEWHERE_WAS_NOT_UPGRADED.format(name=name, server=server) in done.stderr
        assert database_says.SERVER_CANNOT_BE_REACHED in upgraded[name]


def operator(gallery: Gallery) -> str:
    """Return the token of a new administrator of all galleries."""
    accounts = Accounts(gallery)
    user = accounts.register("operator@example.org", PASSWORD)
    add_administrator(gallery.database, user.id, Client(), all_galleries=True)
    return accounts.log_in("operator@example.org", PASSWORD).token


def test_tables_of_others_beside_the_default_gallery(galleries: Galleries) -> None:
    """Such as a view of pg_stat_statements, which everyone may read."""
    with galleries.default.database.transaction() as connection:
        connection.execute("CREATE TABLE orders (id INTEGER)")
        connection.execute("CREATE VIEW all_orders AS SELECT 1 AS id")
        connection.execute("CREATE FUNCTION of_orders() RETURNS INTEGER LANGUAGE sql AS 'SELECT 1'")
        connection.execute("GRANT SELECT ON orders, all_orders TO PUBLIC")
        connection.execute("GRANT UPDATE (id) ON orders TO PUBLIC")
        connection.execute("GRANT EXECUTE ON FUNCTION of_orders TO pg_monitor")
        connection.execute("GRANT SELECT ON users TO pg_monitor")
    made = galleries.create("staff")
    with galleries["staff"].database.transaction() as connection:
        assert connection.execute(
            "SELECT has_table_privilege('pg_monitor', 'users', 'SELECT'), to_regclass(%s) IS NULL",
            (f"{made.schema_name}.orders",),
        ).fetchone() == (True, True)


def test_the_services_role_needs_the_authority_of_an_operator(galleries: Galleries) -> None:
    default = galleries.default
    token = operator(default)
    local, _ = create_key(default.database, "local", ["admin"], Client())
    narrow, _ = create_key(default.database, "narrow", ["enroll"], Client(), all_galleries=True)
    with opened_as_service(default.settings) as opened:
        of_service = Galleries(opened)
        for authority in (None, "", token_hash("x"), token_hash(local), token_hash(narrow), token):
            with pytest.raises(DatabaseAccessError):
                of_service.create("staff", authority=authority)
        of_service.create("staff", authority=token_hash(token))
        # The role has the same rights in the new gallery, and no more.
        staff = of_service["staff"]
        staff.add_user("alice@example.org")
        refused = (
            "UPDATE gallery SET verify_threshold = -1",
            "SELECT password FROM users",
            "SELECT token FROM auth_tokens",
            "DROP TABLE users",
            "INSERT INTO administrators VALUES (1)",
        )
        for statement in refused:
            with pytest.raises(DatabaseAccessError), staff.database.transaction() as connection:
                connection.execute(statement.encode())
        for statement in (
            "INSERT INTO galleries (name, schema_name) VALUES ('x', 'public')",
            "UPDATE galleries SET schema_name = 'public'",
            "UPDATE gallery_script SET statement = 'SELECT 1'",
            "SELECT register_gallery('x', 'public', NULL, NULL)",
            "SELECT is_operator('')",
        ):
            with pytest.raises(DatabaseAccessError), opened.database.transaction() as connection:
                connection.execute(statement.encode())
        with pytest.raises(DatabaseAccessError):
            of_service.delete("staff")
        with pytest.raises(DatabaseAccessError):
            of_service.rename("staff", "x")
        of_service.delete("staff", authority=token_hash(token))
        of_service.close()
    assert galleries.list() == []


def test_a_registered_schema_of_this_database_is_never_one_that_was_given(galleries: Galleries) -> None:
    """delete_gallery() drops schemas with the owner's rights, so no caller may name them."""
    with pytest.raises(DatabaseError), galleries.default.database.transaction() as connection:
        connection.execute("SELECT register_gallery('x', 'public', NULL, NULL)")
    assert galleries.list() == []


def test_the_commands_use_a_gallery_by_its_name(
    run: Run, settings: Settings, insightface_pack: Path, photos: Photos
) -> None:
    link_pack(insightface_pack, settings.models_dir)
    run("init", "--model", insightface_pack.name)
    run("galleries", "create", "staff")
    photo = str(photos("Ariel_Sharon", 1))
    run("enroll", photo, "--user", "ariel@example.org", "--gallery", "staff")
    assert [user["email"] for user in json.loads(run("users", "list", "--json", "--gallery", "staff").stdout)] == [
        "ariel@example.org"
    ]
    assert json.loads(run("users", "list", "--json").stdout) == []
    run("galleries", "rename", "staff", "employees")
    unknown = run("users", "list", "--gallery", "staff", code=1)
    assert "There is no gallery staff" in unknown.stderr
    [listed] = json.loads(run("galleries", "list", "--json").stdout)
    assert (listed["name"], listed["people"], listed["faces"]) == ("employees", 1, 1)
    assert "1 people" in run("galleries", "show", "employees").stdout
    run("galleries", "delete", "employees", "--yes")
    assert json.loads(run("galleries", "list", "--json").stdout) == []


# Over HTTP


class TwoGalleries:
    """The service with the named galleries `one` and `two`, and callers of each."""

    def __init__(self, api: Served) -> None:
        self.api = api
        self.galleries = Galleries(api.owner)
        for name in ("one", "two"):
            self.galleries.create(name)
        self.one, self.two = self.galleries["one"], self.galleries["two"]

    def key(self, gallery: Gallery, *scopes: str, all_galleries: bool = False) -> Headers:
        key, _ = create_key(gallery.database, "a program", scopes, Client(), all_galleries=all_galleries)
        return bearer(key)

    def administrator(self, gallery: Gallery) -> Headers:
        accounts = Accounts(gallery)
        email = f"{gallery.settings.schema_name}@example.org".replace(" ", "").replace('"', "")
        user = accounts.register(email, PASSWORD)
        add_administrator(gallery.database, user.id, Client())
        return bearer(accounts.log_in(email, PASSWORD).token)


@pytest.fixture
def two(api: Served) -> Iterator[TwoGalleries]:
    made = TwoGalleries(api)
    yield made
    for info in made.galleries.list():
        made.galleries.delete(info.name)
    made.galleries.close()
    api.execute("DELETE FROM api_keys WHERE all_galleries")


def test_keys_work_in_their_own_gallery_only(two: TwoGalleries) -> None:
    of_one, of_default = two.key(two.one, "admin"), two.key(two.api.owner, "admin")
    of_all = two.key(two.api.owner, "admin", all_galleries=True)
    two.one.add_user("one@example.org")
    get = two.api.client.get

    def emails(response: Response) -> list[str]:
        assert response.status_code == 200, response.text
        return [user["email"] for user in response.json()["users"]]

    assert emails(get(f"{V1}/galleries/one/users", headers=of_one)) == ["one@example.org"]
    assert emails(get("/galleries/one/api/v1/users", headers=of_one)) == ["one@example.org"]
    assert emails(get(f"{V1}/galleries/one/users", headers=of_all)) == ["one@example.org"]
    assert emails(get(f"{V1}/galleries/two/users", headers=of_all)) == []
    assert emails(get(f"{V1}/users", headers=of_default)) == []
    for path, headers in (
        (f"{V1}/galleries/two/users", of_one),
        (f"{V1}/users", of_one),
        (f"{V1}/galleries/one/users", of_default),
        (f"{V1}/galleries/nowhere/users", of_default),
        (f"{V1}/galleries/nowhere/users", of_one),
    ):
        assert code_of(get(path, headers=headers), 401) == "key-refused", path
    assert code_of(get(f"{V1}/galleries/nowhere/users", headers=of_all), 404) == "unknown-gallery"


def answer_of(response: Response) -> tuple[int, object, str | None]:
    """Return what a client sees of a response, without what differs from request to request."""
    body = response.json() if response.content else None
    if isinstance(body, dict):
        body.pop("request_id", None)
    return response.status_code, body, response.headers.get("www-authenticate")


def test_no_operation_reveals_that_a_gallery_exists(two: TwoGalleries) -> None:
    """Every operation, for callers of another gallery: refused, and with the same answer as for a name not in use."""
    example = Example(two.api)
    callers = {
        "none": {},
        "key of another gallery": two.key(two.two, "admin"),
        "administrator of another gallery": two.administrator(two.two),
        "key of the default gallery": two.key(two.api.owner, "admin"),
        "user of the default gallery": example.me.headers,
    }
    before = [len(gallery.users()) for gallery in (two.one, two.two)]
    differing = []
    admitted = []
    for method, path in PERMITTED:
        if not path.startswith(V1) or path.startswith(f"{V1}/galleries"):
            continue
        for caller, headers in callers.items():
            there, nowhere = (
                send(example, method, path.replace(V1, f"{V1}/galleries/{name}"), headers)
                for name in ("one", "nowhere")
            )
            if answer_of(there) != answer_of(nowhere):
                differing.append((method, path, caller, there.text, nowhere.text))
            if there.status_code < 400:
                admitted.append((method, path, caller))
    assert differing == []
    assert admitted == []
    assert [len(gallery.users()) for gallery in (two.one, two.two)] == before


def test_a_gallery_reveals_nothing_about_the_service(two: TwoGalleries) -> None:
    headers = two.key(two.one, "admin", "metrics")
    for path in ("metrics", "readyz", "healthz", "galleries/two/login"):
        assert two.api.client.get(f"/galleries/one/{path}", headers=headers).status_code == 404, path
    numbered = [info.schema_name for info in two.galleries.list()]
    assert all(re.fullmatch("pgface_[0-9a-f]{32}", schema_name) for schema_name in numbered)


def test_operators_create_rename_and_delete_galleries(two: TwoGalleries) -> None:
    client = two.api.client
    headers = two.key(two.api.owner, "admin", all_galleries=True)
    created = client.post(f"{V1}/galleries", json={"name": "three"}, headers=headers)
    assert created.status_code == 201, created.text
    assert created.json()["people"] == 0
    assert (
        client.post(f"{V1}/galleries/three/users", json={"email": "a@example.org"}, headers=headers).status_code == 201
    )
    assert client.get(f"{V1}/galleries/three", headers=headers).json()["people"] == 1
    assert code_of(client.post(f"{V1}/galleries", json={"name": "three"}, headers=headers), 409) == "duplicate-gallery"
    assert client.patch(f"{V1}/galleries/three", json={"name": "3"}, headers=headers).status_code == 200
    names = [one["name"] for one in client.get(f"{V1}/galleries", headers=headers).json()["galleries"]]
    assert names == ["3", "one", "two"]
    logged = client.get(f"{V1}/galleries/3/audit", headers=headers).json()["entries"]
    assert [entry["actor"].startswith("operator key ") for entry in logged] == [True]
    assert client.delete(f"{V1}/galleries/3", headers=headers).status_code == 204
    assert client.get(f"{V1}/galleries/3/users", headers=headers).status_code == 404
    events = [entry["event"] for entry in client.get(f"{V1}/audit", headers=headers).json()["entries"]]
    assert events[:3] == ["gallery deleted", "gallery renamed", "gallery created"]


def test_only_operators_see_the_registry(two: TwoGalleries) -> None:
    example = Example(two.api)
    for headers in (
        two.key(two.api.owner, "admin"),
        two.key(two.api.owner, "identify", all_galleries=True),
        example.me.headers,
        example.credentials("administrator"),
    ):
        for method, path in (("GET", ""), ("POST", ""), ("GET", "/one"), ("PATCH", "/one"), ("DELETE", "/one")):
            body = {"name": "x"} if method in ("POST", "PATCH") else None
            refused = two.api.client.request(method, f"{V1}/galleries{path}", headers=headers, json=body)
            assert code_of(refused, 403) == "not-permitted"
    assert [one.name for one in two.galleries.list()] == ["one", "two"]


def test_a_user_of_one_gallery_is_not_the_user_of_another_with_the_same_id(two: TwoGalleries) -> None:
    """An operator's id is one of the default gallery, where another user of the named gallery may have it."""
    operator_token = operator(two.api.owner)
    operator_id = two.api.owner.user("operator@example.org").id
    while two.one.add_user(f"{len(two.one.users())}@example.org").id < operator_id:
        pass
    headers = bearer(operator_token)
    client = two.api.client
    assert client.get(f"{V1}/galleries/one/users/{operator_id}", headers=headers).status_code == 200
    for method, path in (("GET", "auth/me"), ("DELETE", "auth/me"), ("GET", "auth/logins"), ("POST", "auth/logout")):
        refused = client.request(method, f"{V1}/galleries/one/{path}", headers=headers)
        assert code_of(refused, 403) == "not-permitted", path
    assert two.one.user(operator_id)


def test_pages_belong_to_a_gallery(two: TwoGalleries) -> None:
    client = two.api.client
    one, nowhere = (client.get(f"/galleries/{name}/login") for name in ("one", "nowhere"))
    assert one.status_code == nowhere.status_code == 200
    as_elsewhere = one.text.replace("/galleries/one/", "/galleries/nowhere/").replace(">one<", ">nowhere<")
    assert as_elsewhere == nowhere.text
    assert 'action="/galleries/one/login"' in one.text
    moved = client.get("/galleries/one/account", follow_redirects=False)
    assert moved.headers["location"].startswith("/galleries/one/login")
    same_origin = {"Sec-Fetch-Site": "same-origin"}
    two.administrator(two.one)
    email = two.one.users()[0].email
    form = {"email": email, "password": PASSWORD}
    logged_in = client.post("/galleries/one/login", data=form, headers=same_origin, follow_redirects=False)
    assert logged_in.status_code == 303, logged_in.text
    cookies = logged_in.headers.get_list("set-cookie")
    name = next(cookie for cookie in cookies if "device" not in cookie).partition("=")[0]
    assert name.startswith("__Host-pgface-")
    token = {"Cookie": f"{name}={logged_in.cookies[name]}"} | same_origin
    assert client.get("/galleries/one/account", headers=token).status_code == 200
    for other in ("/account", "/galleries/two/account"):
        assert client.get(other, headers=token, follow_redirects=False).status_code == 303
    client.cookies.clear()
