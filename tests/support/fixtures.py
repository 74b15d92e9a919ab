"""Real PostgreSQL for the tests: embedded servers of both versions, or the server of PGFACE_TEST_DATABASE_URL.

Each test gets a separate database. To make a gallery takes longer than most tests, so the database is a copy of a
template. See `database_url`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
from psycopg import Connection, sql
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from pgface.accounts import Accounts, passwords
from pgface.database.embedded import cluster
from pgface.database.embedded.server import EmbeddedPostgres
from pgface.database.pool import Database, connected
from pgface.database.roles import grant_reader, grant_service
from pgface.faces.liveness import head_turns
from pgface.gallery import Gallery
from pgface.settings import MEBI, Settings
from support.citus import CITUS_URL
from support.commands import Run, environment_of, runner
from support.databases import Databases, Template
from support.embedding_cache import cached_embeddings
from support.galleries import ODD_SCHEMA, link_pack
from support.photo_store import LOCATION, PHOTO_STORE
from support.photos import Photos
from support.service_role import as_role, drop_role
from support.web_service import Served, served_in_process

_SERVER_MEMORY = 1024 * MEBI
"""Bytes of memory that the servers of the tests are configured for."""
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the tests make a new folder in it
_MIN_FREE_SHARED_MEMORY = 4096 * MEBI
"""Bytes. A server takes some hundred megabytes."""
_DISABLED_SETTINGS = ("fsync", "full_page_writes")
"""Settings that protect against a crash of the machine. The tests only end processes."""


def _server(version: int) -> Iterator[str]:
    with TemporaryDirectory(prefix="pgface-tests-", dir=_fast_folder()) as folder:
        server = EmbeddedPostgres(Path(folder) / str(version), postgres_version=version)
        # Dropping a database searches all shared buffers. With many of them, that takes longer than to make it.
        with patch.object(cluster, "usable_memory", lambda: _SERVER_MEMORY):
            server.start()
        try:
            with psycopg.connect(server.url, autocommit=True) as connection:
                for name in _DISABLED_SETTINGS:
                    connection.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(name)))
                connection.execute("SELECT pg_reload_conf()")
            yield server.url
        finally:
            server.release()


def _fast_folder() -> str | None:
    """Return a folder in memory, if it has enough space. On a busy disk, copying a database takes ten times as long."""
    if _SHARED_MEMORY.is_dir() and os.access(_SHARED_MEMORY, os.W_OK):
        return str(_SHARED_MEMORY) if shutil.disk_usage(_SHARED_MEMORY).free > _MIN_FREE_SHARED_MEMORY else None
    return None


@pytest.fixture(scope="session")
def postgres16() -> Iterator[str]:
    """URL of a PostgreSQL 16."""
    yield from _server(16)


@pytest.fixture(scope="session")
def postgres18() -> Iterator[str]:
    """URL of a PostgreSQL 18."""
    yield from _server(18)


@pytest.fixture(scope="session", autouse=True)
def _objects() -> Iterator[Callable[[], None]]:
    """Run the S3-compatible store, if the galleries of this run are in one. Returns what deletes its objects."""
    if PHOTO_STORE != LOCATION:
        yield lambda: None
        return
    from support.object_store import serving_objects  # it loads moto

    with serving_objects() as store:
        yield store.delete_all


@pytest.fixture(autouse=True)
def _delete_objects(_objects: Callable[[], None]) -> Iterator[None]:
    """Delete the objects of a test, because galleries of other tests have the same id."""
    yield
    _objects()


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> str:
    """URL of the server for tests that do not depend on the version."""
    given = CITUS_URL or os.environ.get("PGFACE_TEST_DATABASE_URL")
    return given or request.getfixturevalue("postgres18")


@pytest.fixture(scope="session")
def databases(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Creates and drops databases on that server."""
    with Databases(postgres, tmp_path_factory.mktemp("templates")) as databases:
        yield databases


@pytest.fixture
def template(request: pytest.FixtureRequest) -> Template | None:
    """The gallery in `database_url` before the test. None if no fixture of the test opens it."""
    schema = request.getfixturevalue("schema_name") if "schema_name" in request.fixturenames else ODD_SCHEMA
    if "bound" in request.fixturenames:
        return Template(schema, "sface")
    if "gallery" in request.fixturenames:
        return Template(schema, str(request.getfixturevalue("insightface_pack")))
    return Template(schema) if {"connection", "database"} & set(request.fixturenames) else None


@pytest.fixture
def database_url(databases: Databases, template: Template | None) -> Iterator[str]:
    """URL of a new database for the test."""
    url = databases.create(template)
    yield url
    databases.drop(url)


@pytest.fixture
def schema_name() -> str:
    """The schema of the gallery. A test for which it may matter uses `in_both_schemas`."""
    return ODD_SCHEMA


@pytest.fixture
def settings(database_url: str, schema_name: str, tmp_path: Path) -> Settings:
    """Settings of a gallery in a new database, with a separate data folder.

    The latency target is long, so that a small gallery is scanned even on a busy machine.
    """
    return Settings.model_validate(
        {
            "database_url": database_url,
            "PGFACE_SCHEMA": schema_name,
            "data_dir": tmp_path / "data",
            "search_latency_target": 60,
        }
    )


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    """Environment variables of the same gallery, for a command."""
    return environment_of(settings)


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Run:
    """Runs a command on that gallery, in a separate folder."""
    return runner(environment, tmp_path)


@pytest.fixture
def connection(database_url: str, schema_name: str) -> Iterator[Connection]:
    """A connection to a new gallery, as a user of plain SQL opens it."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        path = sql.SQL("SET search_path = {}, public").format(sql.Identifier(schema_name))
        connection.execute(path)
        yield connection


@pytest.fixture
def bound(connection: Connection) -> Connection:
    """A connection to an empty gallery that is bound to sface."""
    connection.execute("ALTER TABLE face_embeddings SET (autovacuum_enabled = off)")
    return connection


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """A new gallery that is bound to no model."""
    with Database.open(settings) as database:
        yield database


@pytest.fixture
def gallery(settings: Settings, insightface_pack: Path) -> Iterator[Gallery]:
    """A new gallery of the InsightFace model."""
    link_pack(insightface_pack, settings.models_dir)
    with Gallery.open(settings) as gallery:
        yield gallery


@pytest.fixture(scope="session")
def served(databases: Databases, tmp_path_factory: pytest.TempPathFactory, insightface_pack: Path) -> Iterator[Served]:
    """The web service, shared by all tests. They leave its gallery empty."""
    url = databases.create()
    folder = tmp_path_factory.mktemp("served")
    values = {"database_url": url, "PGFACE_SCHEMA": ODD_SCHEMA, "data_dir": folder, "connect_timeout": 2}
    values |= {"compreface": True, "photo_store": PHOTO_STORE}
    with served_in_process(Settings.model_validate(values), insightface_pack) as served:
        yield served
    databases.drop(url)


@pytest.fixture
def api(served: Served) -> Iterator[Served]:
    """The web service with an empty gallery."""
    yield served
    served.delete_users()


@pytest.fixture
def photos(faces_dir: Path) -> Photos:
    """Returns the path of a real photo, by person and number from 1 to 10."""
    return lambda person, number: faces_dir / person / f"{person}_{number:04}.jpg"


@pytest.fixture(scope="session")
def group_photo() -> Path:
    """A photo of six people, which comes with the package insightface."""
    package = importlib.util.find_spec("insightface")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "data" / "images" / "t1.jpg"


@pytest.fixture(scope="module", autouse=True)
def _cached_embeddings(request: pytest.FixtureRequest) -> Iterator[None]:
    """Cache embeddings, except in the tests of the engines."""
    with nullcontext() if request.path.parent.name == "engines" else cached_embeddings():
        yield


@pytest.fixture
def hash_parameters() -> dict[str, Any]:
    """Parameters of new password hashes. They are fast, because a hash with the defaults takes 0.2 s."""
    return {"time_cost": 1, "memory_cost": 1024}


@pytest.fixture(autouse=True)
def _hash_passwords(hash_parameters: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_hashes", PasswordHash((Argon2Hasher(**hash_parameters),)))
    monkeypatch.setattr(passwords, "_decoy_of_own_kind", cache(passwords._decoy_of_own_kind.__wrapped__))


@pytest.fixture
def short_courses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logins by face with only two turns, one to each side. They take a second."""
    monkeypatch.setattr(head_turns, "TURN_COUNTS", (2,))
    monkeypatch.setattr(head_turns, "HOLD_FRAMES", (2,))


@pytest.fixture
def roles(settings: Settings, database: Database) -> Iterator[tuple[str, str]]:
    """The names of the service's role and the reader's role, in a gallery without a model."""
    with database.transaction() as connection:
        names = (f"service of {connection.info.dbname}", f"reader of {connection.info.dbname}")
    with connected(settings) as connection:
        grant_service(connection, settings.schema_name, names[0])
        grant_reader(connection, settings.schema_name, names[1])
    yield names
    assert settings.database_url
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as owner:
        for role in names:
            drop_role(owner, role)


@pytest.fixture
def accounts(settings: Settings, roles: tuple[str, str]) -> Iterator[Accounts]:
    """The accounts, opened with the service's role."""
    with Gallery.open(as_role(settings, roles[0])) as gallery:
        yield Accounts(gallery)
