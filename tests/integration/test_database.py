"""Migrations, and the errors of a database."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import psutil
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import tuple_row

from pgface.database.migrate import migrate, require_current
from pgface.database.pool import Database, initialise
from pgface.database.sql import init_sql, migrations, statements
from pgface.errors import (
    DatabaseAccessError,
    DatabaseUnreachableError,
    EmbeddingError,
    IndexNotBuiltError,
    PgvectorError,
    SchemaMissingError,
    SchemaTooNewError,
)
from pgface.gallery.bulk import load_embeddings
from pgface.search.vector_index.lifecycle import build_vector_index, drop_vector_index, settle_vector_index
from pgface.settings import Settings
from support.databases import create_database, drop_database
from support.galleries import add_embedding, add_user, axis, in_both_schemas, rows
from support.migrations import later_migration
from support.sentences import database as says

SPECIFICATION = Path(__file__).with_name("specification.sql")

EVERY_USER: dict[str, Any] = {"after": 0, "limit": None, "text": None, "labels": [], "external_id": None}


def settings_for(url: str, tmp_path: Path) -> Settings:
    return Settings.model_validate({"database_url": url, "data_dir": tmp_path, "connect_timeout": 3})


@in_both_schemas
def test_programs_that_start_together_migrate_once(settings: Settings) -> None:
    together = Barrier(6)

    def start(_: int) -> int:
        together.wait()
        return len(initialise(settings))

    with ThreadPoolExecutor(6) as threads:
        ran = sorted(threads.map(start, range(6)))
    assert ran == [0, 0, 0, 0, 0, len(migrations())]


@in_both_schemas
def test_a_newer_schema_is_refused(settings: Settings) -> None:
    initialise(settings)
    assert settings.database_url is not None
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
        table = sql.Identifier(settings.schema_name, "pgface_migrations")
        connection.execute(sql.SQL("INSERT INTO {} (version, name) VALUES (999, 'later')").format(table))
    sentence = says.SCHEMA_IS_NEWER.pattern(found=999, known=migrations()[-1].version)
    with pytest.raises(SchemaTooNewError, match=sentence):
        Database.open(settings)
    with pytest.raises(SchemaTooNewError, match=sentence):
        initialise(settings)


@in_both_schemas
def test_an_older_schema_asks_for_init(settings: Settings) -> None:
    initialise(settings)
    before = migrations()[-1].version
    with later_migration("ALTER TABLE users ADD COLUMN IF NOT EXISTS floor INTEGER DEFAULT 7;") as later:
        sentence = says.SCHEMA_IS_OLDER.pattern(found=before, needed=later.version)
        with pytest.raises(SchemaMissingError, match=sentence):
            Database.open(settings)
        assert initialise(settings) == [later]
        assert initialise(settings) == []
        with Database.open(settings) as database, database.transaction() as connection:
            assert rows(connection, "SELECT max(version) FROM pgface_migrations") == [(later.version,)]
            add_user(connection, "a@example.org")
            assert rows(connection, "SELECT floor FROM users") == [(7,)]
    with pytest.raises(SchemaTooNewError):
        Database.open(settings)


def test_tables_of_another_schema_stay_as_they_are(database_url: str) -> None:
    """Also tables in pgvector's schema, which is on the search_path of every gallery."""
    columns = (
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"
    )
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SPECIFICATION.read_bytes())
        before = rows(connection, columns)
        with connection.transaction():
            connection.execute("LOCK TABLE photos, face_embeddings IN ACCESS SHARE MODE")
            with psycopg.connect(database_url, autocommit=True) as other:
                other.execute("SET lock_timeout = '5s'")
                assert migrate(other, "elsewhere") == list(migrations())
        assert rows(connection, columns) == before


def test_a_new_gallery_gets_all_migrations_in_order(database_url: str) -> None:
    with (
        later_migration("ALTER TABLE users ADD COLUMN IF NOT EXISTS floor INTEGER;") as later,
        psycopg.connect(database_url, autocommit=True) as connection,
    ):
        assert migrate(connection, "public") == list(migrations())
        versions = [(migration.version,) for migration in migrations()]
        assert rows(connection, "SELECT version FROM pgface_migrations ORDER BY version") == versions
        assert versions[-1] == (later.version,)
        assert rows(connection, "SELECT floor FROM users") == []
        script = init_sql()
        assert script.index("CREATE TABLE IF NOT EXISTS users") < script.index(f"MIGRATION {later.version}: later")
        connection.execute(script.encode())


def test_a_script_is_split_into_its_statements() -> None:
    function = "CREATE FUNCTION f() RETURNS text AS $body$ BEGIN; 'a; $$ -- $body$ LANGUAGE x;"
    atomic = "CREATE FUNCTION g() RETURNS int\nBEGIN ATOMIC\n    SELECT CASE 1 WHEN 1 THEN 2 END;\nEND;"
    script = f"-- a; comment's\nSELECT ';''', \"a;\";\n/* b; */\n{function}\n{atomic}\n-- the end; or not"
    assert list(statements(script)) == [
        "-- a; comment's\nSELECT ';''', \"a;\";",
        f"/* b; */\n{function}",
        atomic,
    ]
    whole = migrations()[0].sql
    assert "".join("".join(statements(whole)).split()) == "".join(whole.split())


def test_a_failed_migration_is_rolled_back(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SPECIFICATION.read_bytes())
        user = add_user(connection, "a@example.org")
        add_embedding(connection, user, axis(0, scale=0.0))
        with pytest.raises(EmbeddingError, match=says.ZERO_VECTORS_ARE_STORED.pattern(count=1)):
            migrate(connection, "public")
        assert rows(connection, "SELECT to_regclass('pgface_migrations'), to_regclass('gallery')") == [(None, None)]
        with pytest.raises(SchemaMissingError):
            require_current(connection)
        connection.execute("DELETE FROM face_embeddings")
        assert len(migrate(connection, "public")) == len(migrations())


def test_a_database_of_the_specifications_own_script_is_taken_over(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SPECIFICATION.read_bytes())
        people = [add_user(connection, f"user{number}@example.org") for number in range(12)]
        for number, user in enumerate(people):
            add_embedding(connection, user, axis(number))
        migrate(connection, "public")
        found = [rows(connection, "SELECT user_id FROM find_similar_face(%s)", axis(n))[0][0] for n in range(12)]
        assert found == people
        assert rows(connection, "SELECT match FROM verify_face(%s, %s)", axis(3), people[3]) == [(True,)]


@in_both_schemas
def test_a_missing_schema_does_not_lead_to_another(settings: Settings) -> None:
    initialise(settings)
    typo = settings.model_copy(update={"schema_name": "typo"})
    with pytest.raises(SchemaMissingError, match=says.NO_SCHEMA_IN_THE_DATABASE.pattern(schema="typo")):
        Database.open(typo)


def test_a_forbidden_schema_does_not_lead_to_another(stranger: str, tmp_path: Path) -> None:
    with psycopg.connect(make_conninfo(stranger, user="postgres"), autocommit=True) as connection:
        migrate(connection, "public")
        migrate(connection, "closed")
    settings = settings_for(stranger, tmp_path).model_copy(update={"schema_name": "closed"})
    with pytest.raises(DatabaseAccessError, match=says.SCHEMA_MAY_NOT_BE_USED.pattern(schema="closed")):
        Database.open(settings)


@in_both_schemas
def test_a_fresh_database_has_no_gallery(settings: Settings) -> None:
    if settings.schema_name == "public":  # which every database has
        sentence = says.NO_GALLERY_IN_THE_DATABASE.pattern()
    else:
        sentence = says.NO_SCHEMA_IN_THE_DATABASE.pattern(schema=settings.schema_name)
    with pytest.raises(SchemaMissingError, match=sentence):
        Database.open(settings)


@pytest.mark.parametrize("url", ["postgresql://u:top@secret-word@127.0.0.1/db", "postgresql://u:se@secret-word:x@h/db"])
def test_a_password_that_was_not_encoded_is_not_repeated(url: str, tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnreachableError, match=says.HOST_CANNOT_BE_RESOLVED.pattern()) as e:
        Database.open(settings_for(url, tmp_path))
    assert "secret" not in str(e.value)


def test_an_unreachable_server(tmp_path: Path) -> None:
    url = "postgresql://someone:secret-word@127.0.0.1:1/facedb"
    sentence = says.SERVER_CANNOT_BE_REACHED_BECAUSE.pattern(reason="Connection refused")
    with pytest.raises(DatabaseUnreachableError, match=sentence) as e:
        Database.open(settings_for(url, tmp_path))
    assert "secret-word" not in str(e.value)


def test_a_missing_database(postgres: str, tmp_path: Path) -> None:
    with pytest.raises(DatabaseAccessError, match=says.DATABASE_DOES_NOT_EXIST.pattern(database="nowhere")):
        Database.open(settings_for(make_conninfo(postgres, dbname="nowhere"), tmp_path))


@pytest.fixture
def stranger(postgres18: str) -> Iterator[str]:
    """URL of a new database for a role without privileges, with the password `right-password`."""
    url = create_database(postgres18)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS stranger")
        connection.execute("CREATE ROLE stranger LOGIN PASSWORD 'right-password'")
        (hba,) = rows(connection, "SHOW hba_file")[0]
        before = Path(hba).read_text(encoding="utf-8")
        Path(hba).write_text(f"local all stranger scram-sha-256\n{before}", encoding="utf-8")
        connection.execute("SELECT pg_reload_conf()")
        yield make_conninfo(url, user="stranger", password="right-password")
        Path(hba).write_text(before, encoding="utf-8")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("DROP OWNED BY stranger")
        connection.execute("DROP ROLE stranger")
    drop_database(postgres18, url)


def test_a_wrong_password(stranger: str, tmp_path: Path) -> None:
    url = make_conninfo(stranger, password="wrong-password")
    sentence = says.ACCESS_WAS_REFUSED.pattern(reason="password authentication failed")
    with pytest.raises(DatabaseAccessError, match=sentence) as e:
        Database.open(settings_for(url, tmp_path))
    assert "wrong-password" not in str(e.value)


def test_a_role_that_may_not_create_the_extension(stranger: str, tmp_path: Path) -> None:
    with pytest.raises(PgvectorError, match=says.PGVECTOR_MAY_NOT_BE_ADDED.pattern()):
        initialise(settings_for(stranger, tmp_path))


def test_a_role_that_may_not_create_tables(stranger: str, tmp_path: Path) -> None:
    with psycopg.connect(make_conninfo(stranger, user="postgres"), autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
    sentence = says.PRIVILEGE_IS_MISSING.pattern(reason="permission denied for schema public")
    with pytest.raises(DatabaseAccessError, match=sentence):
        initialise(settings_for(stranger, tmp_path))


def test_a_server_without_pgvector(postgres18: str, tmp_path: Path) -> None:
    url = create_database(postgres18)
    name = sql.Identifier(str(psycopg.conninfo.conninfo_to_dict(url)["dbname"]))
    with psycopg.connect(url, autocommit=True) as connection:
        # This hides the installed extensions from this database.
        connection.execute(sql.SQL("ALTER DATABASE {} SET extension_control_path = '/nonexistent'").format(name))
    with pytest.raises(PgvectorError, match=says.PGVECTOR_IS_NOT_ON_THE_SERVER.pattern()):
        initialise(settings_for(url, tmp_path))
    drop_database(postgres18, url)


def test_a_pgvector_that_is_too_old(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute("UPDATE pg_extension SET extversion = '0.6.2' WHERE extname = 'vector'")
        with pytest.raises(PgvectorError, match=says.PGVECTOR_IS_TOO_OLD.pattern(installed="0.6.2", oldest="0.7")):
            migrate(connection, "public")


def test_reads_survive_a_lost_connection_and_transactions_are_rolled_back(settings: Settings) -> None:
    initialise(settings)
    with Database.open(settings) as database:
        with database.autocommit() as connection:
            pid = connection.info.backend_pid
        end_session(settings, pid)
        assert (
            database.read(
                "select_users",
                EVERY_USER,
                row_factory=tuple_row,
            )
            == []
        )

        with pytest.raises(DatabaseUnreachableError, match=says.CONNECTION_WAS_LOST.pattern()):
            add_two_users_and_lose_the_connection_between(database, settings)
        assert (
            database.read(
                "select_users",
                EVERY_USER,
                row_factory=tuple_row,
            )
            == []
        )


@pytest.mark.slow
def test_a_killed_embedded_server_is_started_again(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    initialise(settings)
    with Database.open(settings) as database:
        with database.transaction() as connection:
            add_user(connection, "a@example.org")
        kill_server(settings)
        with pytest.raises(DatabaseUnreachableError), database.transaction() as connection:
            connection.execute("SELECT 1")
        with database.transaction() as connection:  # a transaction is not repeated, but the next one works
            assert rows(connection, "SELECT email FROM users") == [("a@example.org",)]
        kill_server(settings)
        assert (
            len(
                database.read(
                    "select_users",
                    EVERY_USER,
                    row_factory=tuple_row,
                )
            )
            == 1
        )


def kill_server(settings: Settings) -> None:
    pid = int((settings.postgres_dir / "data" / "postmaster.pid").read_text().splitlines()[0])
    postmaster = psutil.Process(pid)
    for process in (postmaster, *postmaster.children()):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def add_two_users_and_lose_the_connection_between(database: Database, settings: Settings) -> None:
    with database.transaction() as connection:
        add_user(connection, "a@example.org")
        end_session(settings, connection.info.backend_pid)
        add_user(connection, "b@example.org")


def end_session(settings: Settings, pid: int) -> None:
    assert settings.database_url is not None
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
        assert rows(connection, "SELECT pg_terminate_backend(%s, 5000)", pid) == [(True,)]


@in_both_schemas
def test_the_vector_index_is_built_again_with_its_definition(settings: Settings) -> None:
    initialise(settings)
    with Database.open(settings) as database, database.autocommit() as connection:
        assert "USING hnsw" in drop_vector_index(connection)
        connection.execute(
            "CREATE INDEX idx_embeddings_vector ON face_embeddings USING hnsw (embedding vector_cosine_ops) "
            "WITH (m = 8)"
        )
        tuned = drop_vector_index(connection)
        assert "m='8'" in tuned
        build_vector_index(connection, tuned)
        assert drop_vector_index(connection) == tuned


@pytest.mark.slow
def test_parallel_loads_leave_one_index(settings: Settings) -> None:
    initialise(settings)
    with Database.open(settings) as database:
        with database.transaction() as connection:
            user = add_user(connection, "a@example.org")
        embeddings = np.random.default_rng(1).standard_normal((1500, 512))
        with ThreadPoolExecutor(3) as threads:
            loads = [
                threads.submit(load_embeddings, database, [user] * 1500, embeddings, latency_target=10)
                for _ in range(3)
            ]
            assert [load.result() for load in loads] == [1500] * 3
        with database.autocommit() as connection:
            assert rows(connection, "SELECT count(*) FROM face_embeddings") == [(4500,)]
            assert "USING hnsw" in drop_vector_index(connection)


def test_an_error_of_the_index_says_that_the_load_succeeded(settings: Settings) -> None:
    initialise(settings)
    with Database.open(settings) as database:
        with database.transaction() as connection:
            user = add_user(connection, "a@example.org")
        embeddings = np.random.default_rng(1).standard_normal((1500, 512))
        with database.autocommit() as connection:  # an index whose next build fails
            connection.execute("DROP INDEX idx_embeddings_vector")
            connection.execute(
                "CREATE FUNCTION odd(vector) RETURNS vector LANGUAGE plpgsql IMMUTABLE AS "
                "$$ BEGIN IF (SELECT count(*) FROM face_embeddings) > 0 THEN RAISE 'odd'; END IF; RETURN $1; END $$"
            )
            connection.execute(
                "CREATE INDEX idx_embeddings_vector ON face_embeddings USING hnsw "
                "((odd(embedding)::vector(512)) vector_cosine_ops)"
            )
        with pytest.raises(IndexNotBuiltError, match=says.LOADED_WITHOUT_INDEX.pattern()):
            load_embeddings(database, [user] * 1500, embeddings, latency_target=10)
        with database.autocommit() as connection:
            assert rows(connection, "SELECT count(*) FROM face_embeddings") == [(1500,)]
            connection.execute("DROP FUNCTION odd CASCADE")
            settle_vector_index(connection)
            assert "USING hnsw" in drop_vector_index(connection)


def test_identification_works_during_a_load(settings: Settings) -> None:
    initialise(settings)
    with Database.open(settings) as database:
        with database.transaction() as connection:
            user = add_user(connection, "a@example.org")
            add_embedding(connection, user, axis(0))
        search = {"embedding": np.eye(1, 512)[0], "threshold": 0.5, "max_results": 1, "model_changes": None}
        found = []

        class SearchingArray(np.ndarray):
            """Embeddings that run a search while the load reads them."""

            def __getitem__(self, key: Any) -> Any:
                if isinstance(key, slice) and key.start == 1000:
                    found.append(database.read("find_similar_faces", search, row_factory=tuple_row)[0][0])
                return super().__getitem__(key)

        embeddings = np.random.default_rng(1).standard_normal((1500, 512)).view(SearchingArray)
        load_embeddings(database, [user] * 1500, embeddings, latency_target=10)
        assert found == [user]


def test_a_broken_index_is_built_again(settings: Settings) -> None:
    initialise(settings)
    with Database.open(settings) as database, database.autocommit() as connection:
        connection.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_embeddings_vector'::regclass"
        )
        build_vector_index(connection)
        valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'idx_embeddings_vector'::regclass"
        assert rows(connection, valid) == [(True,)]
