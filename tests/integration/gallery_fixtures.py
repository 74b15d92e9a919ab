"""Real PostgreSQL for the tests: the embedded one, of both versions, or the one of PGFACE_TEST_DATABASE_URL."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from galleries import ODD_SCHEMA, create_database, drop_database
from psycopg import Connection, sql
from web_service import Served, served_in_process

from pgface.gallery import Gallery
from pgface.postgres.database import Database, initialise
from pgface.postgres.embedded import EmbeddedPostgres
from pgface.postgres.migrate import migrate
from pgface.settings import Settings


def _server(version: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with EmbeddedPostgres(tmp_path_factory.mktemp("pg") / str(version), postgres_version=version) as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            # The tests end processes and not the machine, so nothing is lost by not waiting for the disk.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield server.url


@pytest.fixture(scope="session")
def postgres16(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a PostgreSQL 16."""
    yield from _server(16, tmp_path_factory)


@pytest.fixture(scope="session")
def postgres18(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a PostgreSQL 18."""
    yield from _server(18, tmp_path_factory)


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> str:
    """URL of the server for tests that do not depend on its version."""
    given = os.environ.get("PGFACE_TEST_DATABASE_URL")
    return given or request.getfixturevalue("postgres18")


@pytest.fixture
def database_url(postgres: str) -> Iterator[str]:
    """URL of a new, empty database."""
    url = create_database(postgres)
    yield url
    drop_database(postgres, url)


@pytest.fixture(params=["public", ODD_SCHEMA], ids=["public", "other-schema"])
def schema_name(request: pytest.FixtureRequest) -> str:
    """Where the gallery lives: everything must work in either."""
    return str(request.param)


@pytest.fixture
def settings(database_url: str, schema_name: str, tmp_path: Path) -> Settings:
    """Settings of a gallery in a new database, with a data folder of its own."""
    return Settings.model_validate(
        {"database_url": database_url, "PGFACE_SCHEMA": schema_name, "data_dir": tmp_path / "data"}
    )


@pytest.fixture
def connection(database_url: str, schema_name: str) -> Iterator[Connection]:
    """A connection to a new gallery, as somebody who knows only SQL has it."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        migrate(connection, schema_name)
        path = sql.SQL("SET search_path = {}, public").format(sql.Identifier(schema_name))
        connection.execute(path)
        yield connection


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """A new gallery that is bound to no model."""
    initialise(settings)
    with Database.open(settings) as database:
        yield database


@pytest.fixture
def gallery(settings: Settings, insightface_pack: Path) -> Iterator[Gallery]:
    """A new gallery of the InsightFace model."""
    with Gallery.create(settings, model=str(insightface_pack)) as gallery:
        yield gallery


@pytest.fixture(scope="session")
def served(postgres: str, tmp_path_factory: pytest.TempPathFactory, insightface_pack: Path) -> Iterator[Served]:
    """The web service, for all tests that leave it as it was."""
    url = create_database(postgres)
    folder = tmp_path_factory.mktemp("served")
    values = {"database_url": url, "PGFACE_SCHEMA": ODD_SCHEMA, "data_dir": folder, "connect_timeout": 2}
    with served_in_process(Settings.model_validate(values), insightface_pack) as served:
        yield served
    drop_database(postgres, url)


@pytest.fixture
def api(served: Served) -> Iterator[Served]:
    """The web service, with nobody in its gallery."""
    yield served
    served.empty()


@pytest.fixture
def photos(faces_dir: Path) -> Callable[[str, int], Path]:
    """Finds a real photo by person and number, 1 to 10."""
    return lambda person, number: faces_dir / person / f"{person}_{number:04}.jpg"


@pytest.fixture(scope="session")
def group_photo() -> Path:
    """Six people in one picture, which comes inside the insightface package."""
    package = importlib.util.find_spec("insightface")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "data" / "images" / "t1.jpg"
