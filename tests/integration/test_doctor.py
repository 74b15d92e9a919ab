"""`pgface doctor`: each check sees what was broken, and sees it fixed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
from psycopg import Connection, sql
from psycopg.conninfo import make_conninfo

from pgface.database.pool import initialise
from pgface.database.sql import migrations, queries
from pgface.errors import TableLockedError
from pgface.gallery import Gallery
from pgface.operations.doctor import CHECKS, Finding, apply_fixes, diagnose, machine, postgres
from pgface.operations.doctor.postgres import judge_extension
from pgface.search.vector_index.advice import advise_indexes
from pgface.search.vector_index.lifecycle import vector_index_lock
from pgface.search.vector_index.status import read_index_status
from pgface.settings import Settings
from support.commands import Run, environment_of, runner
from support.databases import Template
from support.embedded_server import eventually
from support.galleries import add_embedding, add_user, axis, contents, in_both_schemas, rows
from support.migrations import later_migration
from support.pgbouncer import pooler
from support.photos import Photos
from support.sentences import commands, database
from support.sentences import doctor as says
from support.sentences.gallery import MODELS_CANNOT_BE_COMPARED

ADVISED_IN_A_NEW_GALLERY = {"thresholds"}


def of(settings: Settings, check: str) -> list[Finding]:
    """What this check finds, when it runs alone."""
    return [finding for finding in diagnose(settings, {check}) if finding.check == check]


def one(settings: Settings, check: str) -> Finding:
    (finding,) = of(settings, check)
    return finding


def changed(settings: Settings, **values: object) -> Settings:
    known = {
        "database_url": settings.database_url,
        "PGFACE_SCHEMA": settings.schema_name,
        "data_dir": settings.data_dir,
        "search_latency_target": settings.search_latency_target,
    }
    return Settings.model_validate(known | values)


def fix(settings: Settings, check: str = "tables and functions") -> None:
    """Run the fixes of what this check finds; each must work."""
    for finding, error in apply_fixes(settings, of(settings, check)):
        assert error is None, (finding, error)


@pytest.fixture
def template(request: pytest.FixtureRequest, schema_name: str, template: Template | None) -> Template | None:
    """A gallery that is bound to dlib, for the tests that look at one."""
    return Template(schema_name, "dlib") if "plain" in request.fixturenames else template


@pytest.fixture
def plain(settings: Settings) -> Iterator[Connection]:
    """SQL on a gallery that is bound to dlib and has nobody."""
    with sql_on(settings) as connection:
        connection.execute("ALTER TABLE face_embeddings SET (autovacuum_enabled = off)")
        yield connection


def sql_on(settings: Settings) -> Connection:
    assert settings.database_url
    connection = psycopg.connect(settings.database_url.get_secret_value(), autocommit=True)
    path = sql.SQL("SET search_path = {}, public").format(sql.Identifier(settings.schema_name))
    connection.execute(path)
    return connection


def cli(settings: Settings) -> Run:
    return runner(environment_of(settings))


@pytest.mark.usefixtures("plain")
@in_both_schemas
def test_a_new_gallery_is_fine_and_stays_as_it_is(settings: Settings) -> None:
    with Gallery.open(settings) as gallery:
        before = contents(gallery), schemas(settings)
        found = diagnose(settings)
        assert (contents(gallery), schemas(settings)) == before
    assert {finding.check for finding in found if finding.state != "fine"} == ADVISED_IN_A_NEW_GALLERY
    assert all(bool(finding.remedy) == (finding.state != "fine") for finding in found)
    assert len({finding.check for finding in found}) == 19


def schemas(settings: Settings) -> list[tuple[str]]:
    with sql_on(settings) as connection:
        return rows(connection, "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp' ORDER BY 1")


# What the contract says


@pytest.mark.parametrize("schema_name", ["public"])
def test_a_gallery_that_the_specifications_script_has_begun(settings: Settings, specification: str) -> None:
    (script,) = re.findall(r"```sql\n(.*?CREATE EXTENSION.*?)```", specification, re.DOTALL)
    with sql_on(settings) as connection:
        connection.execute(script.encode())
    Gallery.create(settings, model="dlib").close()
    assert one(settings, "tables and functions").state == "fine"


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        ("DROP FUNCTION verify_face", "function verify_face("),
        ("DROP FUNCTION find_similar_face", "function find_similar_face("),
        ("DROP FUNCTION refuse_zero_vector CASCADE", "function refuse_zero_vector("),
        ("DROP INDEX idx_users_email", "index idx_users_email."),
        (
            "DROP TRIGGER update_face_embeddings_updated_at ON face_embeddings",
            "trigger face_embeddings.update_face_embeddings_updated_at.",
        ),
        ("DROP FUNCTION remember_stale_templates CASCADE", "function remember_stale_templates(), "),
        (
            "ALTER TABLE face_embeddings DISABLE TRIGGER update_face_embeddings_updated_at",
            "trigger face_embeddings.update_face_embeddings_updated_at.",
        ),
        (
            "CREATE OR REPLACE FUNCTION get_user_embeddings_count(target_user_id integer) RETURNS integer "
            "LANGUAGE sql STABLE AS 'SELECT 7'",
            "function get_user_embeddings_count(target_user_id integer).",
        ),
        (
            "DO $$ BEGIN EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER', "
            "(SELECT oid::regprocedure FROM pg_proc WHERE proname = 'verify_face')); END $$",
            "function verify_face(",
        ),
        ("ALTER FUNCTION update_updated_at_column RESET search_path", "function update_updated_at_column()."),
        (
            "DO $$ BEGIN EXECUTE format('ALTER FUNCTION remember_stale_templates() "
            "SET search_path = %I, evil, pg_temp', current_schema()); END $$",
            "function remember_stale_templates().",
        ),
        (
            "GRANT EXECUTE ON FUNCTION remember_stale_templates() TO PUBLIC",
            says.RIGHT_NOT_OF_EVERYBODY.format(right="remember_stale_templates()"),
        ),
        ("REVOKE SELECT ON gallery FROM PUBLIC", says.RIGHT_OF_EVERYBODY.format(right="SELECT on gallery")),
    ],
)
@in_both_schemas
def test_what_holds_no_data_is_made_again(settings: Settings, plain: Connection, broken: str, named: str) -> None:
    user = add_user(plain, "a@example.org")
    add_embedding(plain, user, axis(0))
    plain.execute(broken.encode())
    finding = one(settings, "tables and functions")
    assert finding.state == "problem"
    assert finding.found.startswith(says.NOT_PGFACES_OWN.format(parts=named))
    assert finding.remedy == "pgface doctor --fix"
    fix(settings)
    assert one(settings, "tables and functions").state == "fine"
    found = "SELECT user_id FROM find_similar_faces((SELECT embedding FROM face_embeddings), 0.9, 1)"
    assert rows(plain, found) == [(user,)]


OWN_FUNCTIONS = """
    SELECT p.oid::regprocedure::text
    FROM pg_proc p
    WHERE pronamespace = quote_ident(current_schema())::regnamespace
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
    ORDER BY 1
"""


def test_functions_that_call_one_another_are_all_made_again(settings: Settings, plain: Connection) -> None:
    before = rows(plain, OWN_FUNCTIONS)
    for (function,) in before:
        plain.execute(f"DROP ROUTINE IF EXISTS {function} CASCADE".encode())
    assert rows(plain, OWN_FUNCTIONS) == []
    fix(settings)
    assert one(settings, "tables and functions").state == "fine"
    assert rows(plain, OWN_FUNCTIONS) == before


@pytest.mark.parametrize(
    ("broken", "named", "remedy", "undone"),
    [
        (
            "ALTER TABLE auth_tokens RENAME TO tokens",
            "table auth_tokens",
            says.RENAME_IT_BACK,
            "ALTER TABLE tokens RENAME TO auth_tokens",
        ),
        (
            "ALTER TABLE photos RENAME COLUMN width TO breadth",
            "column photos.width",
            says.RENAME_IT_BACK_OR_ADD_IT.format(statement="ALTER TABLE photos ADD COLUMN width integer DEFAULT 224;"),
            "ALTER TABLE photos RENAME COLUMN breadth TO width",
        ),
        (
            "ALTER TABLE users DROP COLUMN created_at",
            "column users.created_at",
            "ALTER TABLE users ADD COLUMN created_at timestamp without time zone DEFAULT CURRENT_TIMESTAMP;",
            "ALTER TABLE users ADD COLUMN created_at timestamp without time zone DEFAULT CURRENT_TIMESTAMP",
        ),
        (
            "ALTER TABLE photos ALTER COLUMN width TYPE bigint",
            "column photos.width",
            says.IS_AND_SHOULD_BE.format(
                part="column photos.width", found="bigint DEFAULT 224", expected="integer DEFAULT 224"
            ),
            "ALTER TABLE photos ALTER COLUMN width TYPE integer",
        ),
        (
            "ALTER TABLE stale_templates ALTER id DROP IDENTITY",
            "column stale_templates.id",
            says.AND_SHOULD_BE.format(found="", expected="bigint GENERATED ALWAYS AS IDENTITY NOT NULL."),
            "ALTER TABLE stale_templates ALTER id ADD GENERATED ALWAYS AS IDENTITY",
        ),
        (
            "ALTER TABLE users DROP CONSTRAINT users_email_key",
            "constraint users.users_email_key",
            says.IN_PSQL.format(statement="ALTER TABLE users ADD CONSTRAINT users_email_key UNIQUE (email);"),
            "ALTER TABLE users ADD CONSTRAINT users_email_key UNIQUE (email)",
        ),
        (
            "ALTER TABLE auth_tokens DISABLE TRIGGER ALL",
            "constraint auth_tokens.auth_tokens_user_id_fkey",
            says.AND_SHOULD_BE.format(found="(DISABLED)", expected="FOREIGN KEY"),
            "ALTER TABLE auth_tokens ENABLE TRIGGER ALL",
        ),
        (
            "ALTER TABLE auth_tokens SET UNLOGGED",
            "table auth_tokens",
            says.IS_AND_SHOULD_BE.format(part="table auth_tokens", found="UNLOGGED", expected="TABLE"),
            "ALTER TABLE auth_tokens SET LOGGED",
        ),
        (
            "ALTER TABLE photos ENABLE ROW LEVEL SECURITY; ALTER TABLE photos FORCE ROW LEVEL SECURITY",
            "table photos",
            says.IS_AND_SHOULD_BE.format(
                part="table photos", found="TABLE ROW LEVEL SECURITY FORCED", expected="TABLE"
            ),
            "ALTER TABLE photos DISABLE ROW LEVEL SECURITY; ALTER TABLE photos NO FORCE ROW LEVEL SECURITY",
        ),
        (
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_users_email'::regclass",
            "index idx_users_email",
            "REINDEX INDEX idx_users_email;",
            "REINDEX INDEX idx_users_email",
        ),
        (
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'users_email_key'::regclass",
            "constraint users.users_email_key",
            says.AND_SHOULD_BE.format(found="(INVALID)", expected="UNIQUE (email)"),
            "REINDEX INDEX users_email_key",
        ),
    ],
)
def test_what_holds_data_is_for_somebody_to_fix(
    settings: Settings, plain: Connection, broken: str, named: str, remedy: str, undone: str
) -> None:
    add_user(plain, "a@example.org")
    plain.execute(broken.encode())
    everything = diagnose(settings)  # no other check may fail because of it
    (finding, *_) = (one for one in everything if one.check == "tables and functions" and one.fix is None)
    assert finding.state == "problem"
    assert finding.found.startswith(says.NOT_AS_IT_SHOULD_BE.format(parts=named))
    assert remedy in finding.remedy
    fix(settings)
    assert finding in of(settings, "tables and functions")  # nothing was made in its way
    plain.execute(undone.encode())
    fix(settings)
    assert one(settings, "tables and functions").state == "fine"


def test_a_function_of_another_result_has_to_go_first(settings: Settings, plain: Connection) -> None:
    plain.execute("DROP FUNCTION get_user_embeddings_count")
    other = "get_user_embeddings_count(target_user_id integer)"
    plain.execute(f"CREATE FUNCTION {other} RETURNS text LANGUAGE sql AS $$ SELECT '7' $$".encode())
    finding = one(settings, "tables and functions")
    assert finding.remedy == says.IN_PSQL_AND_THEN_FIX.format(statement=f"DROP FUNCTION {other};")
    plain.execute(f"DROP FUNCTION {other}".encode())
    fix(settings)
    assert one(settings, "tables and functions").state == "fine"


BROKEN = "DROP FUNCTION verify_face; DROP TRIGGER update_face_embeddings_updated_at ON face_embeddings"


@pytest.mark.slow
def test_a_fix_waits_for_nobody_long_and_undoes_all(settings: Settings, plain: Connection) -> None:
    plain.execute(BROKEN)
    findings = diagnose(settings)
    with sql_on(settings) as writer, writer.transaction():
        writer.execute("LOCK TABLE face_embeddings IN ROW EXCLUSIVE MODE")
        ((finding, error),) = apply_fixes(settings, findings)
    assert finding.check == "tables and functions"
    assert isinstance(error, TableLockedError)
    assert "function verify_face(" in one(settings, "tables and functions").found
    fix(settings)
    assert one(settings, "tables and functions").state == "fine"


def test_fixes_at_once(settings: Settings, plain: Connection) -> None:
    plain.execute(BROKEN)
    findings = diagnose(settings)
    with ThreadPoolExecutor() as threads:
        outcomes = list(threads.map(lambda _: list(apply_fixes(settings, findings)), range(4)))
    assert [error for outcome in outcomes for _, error in outcome] == [None] * 4
    assert one(settings, "tables and functions").state == "fine"


def test_a_fix_builds_no_index_that_nobody_wants(settings: Settings, plain: Connection) -> None:
    cli(settings)("index", "build", "--method", "exact")
    plain.execute(BROKEN)
    assert [error for _, error in apply_fixes(settings, diagnose(settings))] == [None]
    assert rows(plain, "SELECT to_regclass('idx_embeddings_vector')") == [(None,)]


def test_without_rights_to_compare_it_says_so(settings: Settings, plain: Connection) -> None:
    name = f"reader_{plain.info.dbname}"
    plain.execute(
        sql.SQL(
            "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA {schema} TO {role}; "
            "GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}"
        ).format(role=sql.Identifier(name), schema=sql.Identifier(settings.schema_name))
    )
    try:
        assert settings.database_url
        url = make_conninfo(settings.database_url.get_secret_value(), user=name)
        found = {finding.check: finding for finding in diagnose(changed(settings, database_url=url))}
        assert found["tables and functions"].state == "unknown"
        assert "permission denied" in found["tables and functions"].found
        assert found["user passwords"].state == "fine"
    finally:
        plain.execute(sql.SQL("DROP OWNED BY {role}; DROP ROLE {role}").format(role=sql.Identifier(name)))


# The schema and the server


@pytest.mark.usefixtures("plain")
def test_an_older_schema(settings: Settings) -> None:
    before = migrations()[-1].version
    with later_migration() as later:
        finding = one(settings, "schema version")
        assert (finding.state, finding.remedy) == ("problem", "pgface init")
        assert database.SCHEMA_IS_OLDER.format(found=before, needed=later.version) in finding.found
        assert one(settings, "photo files").state == "unknown"
        cli(settings)("init")
        assert one(settings, "schema version").state == "fine"


def test_a_newer_schema(settings: Settings, plain: Connection) -> None:
    plain.execute("INSERT INTO pgface_migrations (version, name) VALUES (999, 'of the future')")
    finding = one(settings, "schema version")
    assert (finding.state, finding.remedy) == ("problem", says.UPGRADE_PGFACE)
    plain.execute("DELETE FROM pgface_migrations WHERE version = 999")
    assert one(settings, "schema version").state == "fine"


def test_no_gallery_yet(settings: Settings) -> None:
    found = {finding.check: finding for finding in diagnose(settings)}
    assert (found["schema version"].state, found["schema version"].remedy) == ("problem", "pgface init")
    assert "CREATE EXTENSION vector" in found["pgvector"].remedy
    assert found["server"].state == "fine"
    assert {found[check].state for check in ("model", "indexes", "storage")} == {"unknown"}


def test_a_server_that_does_not_answer(settings: Settings) -> None:
    found = diagnose(changed(settings, database_url="postgresql://u:hidden-word@127.0.0.1:1/db"))
    states = {finding.check: finding.state for finding in found}
    assert states.pop("server") == "problem"
    assert states.pop("data folder") == states.pop("free disk") == "fine"
    assert set(states.values()) == {"unknown"}
    assert len(states) == 16
    assert "hidden-word" not in repr(found)


def test_a_pgvector_that_was_dropped_with_all_that_used_it(settings: Settings, plain: Connection) -> None:
    plain.execute("DROP EXTENSION vector CASCADE")
    (finding,) = (one for one in diagnose(settings) if one.check == "pgvector")
    assert finding.state == "problem"
    assert finding.remedy.startswith("pgface init")
    plain.execute("CREATE EXTENSION vector SCHEMA public")
    assert one(settings, "pgvector").state == "fine"
    made_again, by_hand = of(settings, "tables and functions")
    assert "function" in made_again.found
    assert "column face_embeddings.embedding" in by_hand.found


def test_a_pgvector_that_can_be_updated(settings: Settings, plain: Connection) -> None:
    ((installed,),) = rows(plain, "SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    assert installed != "0.8.0"
    plain.execute("UPDATE pg_extension SET extversion = '0.8.0' WHERE extname = 'vector'")
    finding = one(settings, "pgvector")
    assert finding.state == "problem"  # because of what is wrong with that version
    assert says.PGVECTOR_CAN_BE_UPDATED.format(installed="0.8.0", available=installed) in finding.found
    assert "ALTER EXTENSION vector UPDATE" in finding.remedy
    fix(settings, "pgvector")
    assert one(settings, "pgvector").state == "fine"
    assert rows(plain, "SELECT extversion FROM pg_extension WHERE extname = 'vector'") == [(installed,)]


@pytest.mark.parametrize(
    ("installed", "available", "state", "remedy"),
    [
        (None, None, "problem", "apt install postgresql-17-pgvector"),
        (None, "0.8.1", "problem", "CREATE EXTENSION vector"),
        ("0.6.2", "0.6.2", "problem", "apt install"),
        ("0.6.2", "0.10.0", "problem", "ALTER EXTENSION vector UPDATE"),
        ("0.9.0", "0.10.0", "advice", "ALTER EXTENSION vector UPDATE"),
        ("0.10.0", "0.10.0", "fine", ""),
        ("0.10.0", "0.9.0", "fine", ""),
        ("0.8.1", None, "problem", "apt install"),
        ("0.8.1", "0.8.5", "problem", "max_parallel_maintenance_workers = 0"),
        ("0.8.2", "0.8.2", "problem", "pgface index build --method hnsw"),
        ("0.8.3", "0.8.4", "problem", "uild that index again"),
        ("0.8.4", "0.8.4", "fine", ""),
    ],
)
def test_versions_of_pgvector(installed: str | None, available: str | None, state: str, remedy: str) -> None:
    finding = judge_extension(installed, available, 17)
    assert finding.state == state
    assert remedy in finding.remedy
    assert bool(finding.remedy) == bool(remedy)


@pytest.mark.parametrize(("version", "workers", "told"), [("0.8.1", "0", 3), ("0.8.3", "2", 1), ("0.8.4", "2", 0)])
def test_what_is_dangerous_in_an_old_pgvector_is_not_done(
    gallery: Gallery, connection: psycopg.Connection, version: str, workers: str, told: int
) -> None:
    connection.execute("UPDATE pg_extension SET extversion = %s WHERE extname = 'vector'", (version,))
    with gallery.database.dedicated_connection() as own:
        own.execute("SET max_parallel_maintenance_workers = 2")
        with vector_index_lock(own):
            assert own.execute("SHOW max_parallel_maintenance_workers").fetchone() == (workers,)
    advice = [one.sentence for one in advise_indexes(read_index_status(gallery.database))]
    assert sum(f"pgvector {version}" in sentence for sentence in advice) == told


@pytest.mark.usefixtures("plain")
def test_a_server_that_is_too_old(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert one(settings, "server").state == "fine"
    monkeypatch.setattr(postgres, "MIN_POSTGRESQL", 99)
    finding = one(settings, "server")
    assert finding.state == "problem"
    assert says.POSTGRESQL_OR_NEWER.format(version=99) in finding.remedy


def test_a_database_that_cannot_keep_every_name(postgres: str, settings: Settings) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        options = "ENCODING 'LATIN1' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        connection.execute(f"CREATE DATABASE narrow {options}")
        try:
            finding = one(changed(settings, database_url=make_conninfo(postgres, dbname="narrow")), "server")
        finally:
            connection.execute("DROP DATABASE narrow WITH (FORCE)")
    assert finding.state == "problem"
    assert says.TEXT_IS_KEPT_IN.format(encoding="LATIN1") in finding.found


def test_a_pool_that_the_server_has_no_room_for(settings: Settings, plain: Connection) -> None:
    ((room,),) = rows(
        plain,
        "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int "
        "- current_setting('reserved_connections')::int",
    )
    finding = one(changed(settings, pool_size=room + 1), "connections")
    assert finding.state == "problem"
    lower = says.LOWER_THE_POOL_OR_RAISE_THE_LIMIT.format(size=room // 2, limit="max_connections")
    assert lower in finding.remedy
    tight = one(changed(settings, pool_size=room), "connections")
    assert tight.state == "advice"
    assert says.CONNECTIONS_IN_USE.is_in(tight.found, used="...", room=room)
    assert one(settings, "connections").state == "fine"


def test_the_connections_of_a_user_who_may_have_few(settings: Settings, plain: Connection) -> None:
    name = f"few_{plain.info.dbname}"
    plain.execute(sql.SQL("CREATE ROLE {} LOGIN CONNECTION LIMIT 3").format(sql.Identifier(name)))
    try:
        assert settings.database_url
        url = make_conninfo(settings.database_url.get_secret_value(), user=name)
        finding = one(changed(settings, database_url=url), "connections")
    finally:
        plain.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
    assert finding.state == "problem"
    assert says.CONNECTIONS_IN_USE.format(used=0, room=3) in finding.found
    assert finding.remedy.endswith(says.OR_RAISE_THE_LIMIT_OF_THE_USER)


@pytest.mark.usefixtures("plain")
def test_clocks_that_differ(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert one(settings, "clock").state == "fine"
    monkeypatch.setattr(postgres, "time", SimpleNamespace(time=lambda: time.time() - 3600))
    finding = one(settings, "clock")
    assert finding.state == "problem"
    assert says.CLOCKS_ARE_APART.format(seconds="3,600.0") in finding.found


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("known", ["facepass123", "changeme", None])
def test_a_password_that_everybody_knows(settings: Settings, known: str | None) -> None:
    assert settings.database_url
    url = settings.database_url.get_secret_value()
    with psycopg.connect(url) as connection:
        password = known or connection.info.user  # the user's name is the first that anybody tries
    finding = one(changed(settings, database_url=make_conninfo(url, password=password)), "database password")
    assert finding.state == "problem"
    assert "pgface secrets" in finding.remedy
    assert known is None or known not in repr(finding)
    better = make_conninfo(url, password="of-nobodys-list")
    assert one(changed(settings, database_url=better), "database password").state == "fine"


@pytest.mark.usefixtures("plain")
def test_a_pooler_of_transactions_without_a_way_around(settings: Settings) -> None:
    assert settings.database_url
    direct = settings.database_url.get_secret_value()
    with pooler(direct) as pooled:
        finding = one(changed(settings, database_url=pooled), "pooling")
        around = diagnose(changed(settings, database_url=pooled, direct_url=direct))
    assert finding.state == "problem"
    assert "PGFACE_DIRECT_URL" in finding.remedy
    assert {finding.check for finding in around if finding.state != "fine"} == ADVISED_IN_A_NEW_GALLERY


# What is in the gallery


def test_embeddings_beside_their_rows(settings: Settings, plain: Connection) -> None:
    plain.execute("ALTER TABLE face_embeddings ALTER COLUMN embedding SET STORAGE EXTERNAL")
    assert says.NEW_EMBEDDINGS_BESIDE_THEIR_ROWS in one(settings, "storage").found
    user = add_user(plain, "a@example.org")
    for number in range(20):
        add_embedding(plain, user, axis(number))
    unchanged = "SELECT id, embedding::text, updated_at FROM face_embeddings ORDER BY id"
    before = rows(plain, unchanged)
    finding = one(settings, "storage")
    assert finding.state == "problem"
    assert finding.found.startswith("0.")
    fix(settings, "storage")
    assert one(settings, "storage").state == "fine"
    assert rows(plain, unchanged) == before


def test_an_index_that_is_gone(settings: Settings, plain: Connection) -> None:
    plain.execute("DROP INDEX idx_embeddings_vector")
    finding = one(settings, "indexes")
    assert (finding.state, finding.remedy) == ("advice", "pgface init")
    fix(settings, "indexes")
    assert one(settings, "indexes").state == "fine"


def test_a_fix_of_an_index_binds_no_gallery(settings: Settings) -> None:
    initialise(settings)
    with sql_on(settings) as connection:
        connection.execute("DROP INDEX idx_embeddings_vector")
        fix(settings, "indexes")
        assert one(settings, "indexes").state == "fine"
        assert rows(connection, "SELECT model_name FROM gallery") == [(None,)]


def test_people_who_came_while_triggers_were_off(settings: Settings, plain: Connection) -> None:
    people = "SELECT i, i || '@example.org', '!' FROM generate_series(1, 120) AS i"
    plain.execute(f"INSERT INTO users (name, email, password) {people}".encode())
    faces = (
        "SELECT u.id, array_agg(sin(u.id * i))::vector FROM users u, generate_series(1, 512) AS i "
        "WHERE u.id {} GROUP BY u.id"
    )
    load = "INSERT INTO face_embeddings (user_id, embedding) "
    plain.execute((load + faces.format("<= 60")).encode())
    cli(settings)("fit-search", "--method", "hnsw")
    plain.execute("SET session_replication_role = replica")
    plain.execute((load + faces.format("> 60")).encode())
    plain.execute("RESET session_replication_role")
    not_found = (
        "SELECT count(*) FROM face_embeddings e "
        "WHERE NOT EXISTS (SELECT FROM find_similar_faces(e.embedding, 0.99, 5) f WHERE f.user_id = e.user_id)"
    )
    assert rows(plain, not_found) == [(60,)]
    (finding,) = (found for found in of(settings, "indexes") if found.state == "problem")
    assert finding.found.startswith(says.USERS_ARE_NOT_FOUND.format(count=60))
    fix(settings, "indexes")
    assert {found.state for found in of(settings, "indexes")} <= {"fine", "advice"}
    assert rows(plain, not_found) == [(0,)]


def test_ids_that_would_be_given_twice(settings: Settings, plain: Connection) -> None:
    for number in range(3):
        add_user(plain, f"{number}@example.org")
    plain.execute("SELECT setval(pg_get_serial_sequence('users', 'id'), 1, false)")
    finding = one(settings, "sequences")
    assert finding.state == "problem"
    assert says.NEXT_ID_IS_TAKEN.format(table="users") in finding.found
    fix(settings, "sequences")
    assert one(settings, "sequences").state == "fine"
    assert add_user(plain, "new@example.org") == 4


def test_what_is_left_of_users_who_are_gone(settings: Settings, plain: Connection) -> None:
    user = add_user(plain, "a@example.org")
    add_embedding(plain, user, axis(0))
    plain.execute("SET session_replication_role = replica")
    plain.execute("DELETE FROM users")
    plain.execute("RESET session_replication_role")
    finding = one(settings, "erased users")
    assert finding.state == "problem"
    assert says.ROWS_OF_ERASED_USERS.format(embeddings=1, photos=0, tokens=0) in finding.found
    plain.execute(finding.remedy.partition(": ")[2].encode())
    assert one(settings, "erased users").state == "fine"


def test_a_table_that_somebody_has_for_themselves(settings: Settings, plain: Connection) -> None:
    with plain.transaction():
        plain.execute("LOCK TABLE face_embeddings IN ACCESS EXCLUSIVE MODE")
        found = {finding.check: finding for finding in diagnose(settings)}
    assert found["locks"].state == "problem"
    locked = says.TABLE_IS_LOCKED.format(process=plain.info.backend_pid, program="unnamed", table="face_embeddings")
    assert locked in found["locks"].found
    assert found["storage"].state == "unknown"
    assert [finding for finding in diagnose(settings) if finding.check == "locks"] == []


def test_another_column_beside_the_rows_is_no_embedding(settings: Settings, plain: Connection) -> None:
    add_embedding(plain, add_user(plain, "a@example.org"), axis(0))
    plain.execute("ALTER TABLE face_embeddings ADD COLUMN notes text")
    long = "SELECT string_agg(md5(i::text), '') FROM generate_series(1, 2000) AS i"
    plain.execute(f"UPDATE face_embeddings SET notes = ({long})".encode())
    assert one(settings, "storage").state == "fine"


def test_an_index_that_is_not_whole(settings: Settings, plain: Connection) -> None:
    plain.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_embeddings_vector'::regclass")
    finding = one(settings, "indexes")
    assert (finding.state, finding.fix) == ("advice", None)
    program, *arguments = finding.remedy.split()
    assert program == "pgface"
    cli(settings)(*arguments)
    assert one(settings, "indexes").state == "fine"


def test_an_index_of_another_kind_that_is_not_whole(settings: Settings, plain: Connection) -> None:
    plain.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_embeddings_user_id'::regclass")
    told = [
        (finding.check, finding.remedy) for finding in diagnose(settings) if "idx_embeddings_user_id" in finding.found
    ]
    (_, by_contract), (_, by_advice) = sorted(told, reverse=True)
    assert by_contract == says.IN_PSQL.format(statement="REINDEX INDEX idx_embeddings_user_id;")
    assert by_advice.startswith("REINDEX INDEX CONCURRENTLY ")
    plain.execute(by_advice.encode())
    assert not [finding for finding in diagnose(settings) if "idx_embeddings_user_id" in finding.found]


def test_rows_of_the_erased(settings: Settings, plain: Connection) -> None:
    user = add_user(plain, "a@example.org")
    plain.execute(
        "INSERT INTO face_embeddings (user_id, embedding) SELECT %s, %s FROM generate_series(1, 2000)", (user, axis(0))
    )
    plain.execute("DELETE FROM face_embeddings")
    plain.execute("SELECT pg_stat_force_next_flush()")
    assert eventually(lambda: one(settings, "vacuum").state == "advice")
    assert says.DEAD_ROWS.format(count=2000) in one(settings, "vacuum").found
    fix(settings, "vacuum")
    assert eventually(lambda: one(settings, "vacuum").state == "fine")


def test_weights_that_are_gone_or_others(settings: Settings, insightface_pack: Path, tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    shutil.copytree(insightface_pack, pack)
    Gallery.create(settings, model=str(pack)).close()
    assert one(settings, "model").state == "fine"
    pack.rename(tmp_path / "elsewhere")  # a copy was made
    assert one(settings, "model").state == "fine"
    kept = settings.models_dir / "pack"
    kept.rename(tmp_path / "taken away")
    gone = one(settings, "model")
    assert gone.state == "problem"
    assert gone.remedy == "pgface models install pack --from FOLDER --accept-license"
    assert says.MODEL_IS_NOT_HERE.is_in(gone.found, model="pack", place=kept)
    (tmp_path / "taken away").rename(kept)
    assert one(settings, "model").state == "fine"
    with sql_on(settings) as connection:
        connection.execute("ALTER TABLE gallery DISABLE TRIGGER USER")
        ((right,),) = rows(connection, "SELECT weights_sha256 FROM gallery")
        connection.execute("UPDATE gallery SET weights_sha256 = %s", ("0" * 64,))
        assert MODELS_CANNOT_BE_COMPARED in one(settings, "model").found
        connection.execute("UPDATE gallery SET weights_sha256 = %s", (right,))
    assert one(settings, "model").state == "fine"


def test_a_gallery_without_a_model(settings: Settings) -> None:
    initialise(settings)
    finding = one(settings, "model")
    assert (finding.state, finding.remedy) == ("problem", "pgface init --model NAME")
    cli(settings)("init", "--model", "dlib")
    assert one(settings, "model").state == "fine"


def test_thresholds_that_are_too_low(settings: Settings, plain: Connection) -> None:
    assert one(settings, "thresholds").state == "advice"
    plain.execute("UPDATE gallery SET identify_threshold = 0.1")
    finding = one(settings, "thresholds")
    assert finding.state == "problem"
    assert says.THRESHOLD_IS_TOO_LOW.format(people=0) in finding.found
    cli(settings)("calibrate", "--follow", "--yes")
    assert one(settings, "thresholds").state == "fine"


@pytest.fixture
def enrolled(gallery: Gallery, photos: Photos) -> Gallery:
    """Three photos of two people."""
    for person, number in (("George_W_Bush", 1), ("George_W_Bush", 2), ("Colin_Powell", 1)):
        gallery.enroll(photos(person, number), f"{person.lower()}@example.org")
    return gallery


def test_photos_without_files_and_files_without_photos(settings: Settings, enrolled: Gallery) -> None:
    assert one(settings, "photo files").found == says.PHOTOS_HAVE_THEIR_FILES.format(count=3)
    first, second, _ = (enrolled.photo_file(photo) for photo in enrolled.photos())
    data = first.read_bytes()
    first.unlink()
    missing = one(settings, "photo files")
    assert missing.state == "problem"
    assert missing.found.startswith(says.PHOTOS_WITHOUT_FILE.format(count=1))
    assert first.name in missing.found
    first.write_bytes(data)

    stray = second.parent.with_name("ab") / f"ab{'0' * 30}.jpg"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(data)
    beside = second.with_name(f"{second.name[:2]}{'f' * 30}.jpg")
    beside.write_bytes(data)
    found = one(settings, "photo files")
    assert found.state == "problem"
    assert found.found.startswith(says.FILES_WITHOUT_PHOTO.format(count=2))
    pgface = cli(settings)
    assert set(pgface("photos", "strays").stdout.splitlines()[:-1]) == {str(stray), str(beside)}
    assert stray.exists()
    removed = json.loads(pgface("photos", "strays", "--delete", "--yes", "--json").stdout)
    assert set(removed["removed"]) == {str(stray), str(beside)}
    assert not stray.exists()
    assert not beside.exists()
    assert second.exists()
    assert one(settings, "photo files").found == says.PHOTOS_HAVE_THEIR_FILES.format(count=3)
    assert pgface("photos", "strays").stdout == f"{commands.EVERY_FILE_BELONGS_TO_A_PHOTO}\n"


def test_files_on_their_way_are_not_missing(settings: Settings, enrolled: Gallery) -> None:
    place = enrolled.photo_file(enrolled.photos()[0])
    place.rename(place.parents[1] / "incoming" / place.name)  # as a process that was killed after its commit leaves it
    assert one(settings, "photo files").found == says.PHOTOS_HAVE_THEIR_FILES.format(count=3)


def test_another_photos_folder(settings: Settings, enrolled: Gallery, tmp_path: Path) -> None:
    assert len(enrolled.photos()) == 3
    finding = one(changed(settings, data_dir=tmp_path / "another"), "photo files")
    assert finding.state == "advice"
    assert finding.found.startswith(says.FILES_OF_ANOTHER_FOLDER.format(count=3))
    assert "PGFACE_DATA_DIR" in finding.remedy


def test_strays_are_left_alone_while_a_backup_copies(settings: Settings, enrolled: Gallery) -> None:
    photo = enrolled.photo_file(enrolled.photos()[0])
    stray = photo.with_name(f"{photo.name[:2]}{'f' * 30}.jpg")
    stray.write_bytes(b"a face")
    with sql_on(settings) as backup, backup.transaction():
        backup.execute(queries()["hold_photo_files"])
        refused = cli(settings)("photos", "strays", "--delete", "--yes", code=1)
        assert commands.BACKUP_IS_COPYING_PHOTO_FILES in refused.stderr
    assert stray.exists()


def test_passwords_that_can_be_read(settings: Settings, plain: Connection) -> None:
    hashes = (
        "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$aGFzaA",
        "scrypt:32768:8:1$salt$0f0f",
        "pbkdf2:sha256:600000$salt$0f0f",
        "$2b$12$abcdefghijklmnopqrstuu",
        "pbkdf2_sha256$600000$salt$0f0f",
        "sha256$salt$0f0f",
        "!",
        "*",
    )
    readable = ("secret", "hashed_password_here", "pa$$word", "")
    for number, password in enumerate((*hashes, *readable)):
        plain.execute(
            "INSERT INTO users (id, name, email, password) VALUES (%s, 'A', %s, %s)",
            (number + 1, f"{number}@example.org", password),
        )
    finding = one(settings, "user passwords")
    assert finding.state == "problem"
    assert finding.found.endswith(says.USERS_WITH_READABLE_PASSWORDS.format(count=4, ids="9, 10, 11, ..."))
    assert "secret" not in finding.found + finding.remedy
    plain.execute("UPDATE users SET password = '!' WHERE id > %s", (len(hashes),))
    assert one(settings, "user passwords").state == "fine"


# This machine


@pytest.mark.usefixtures("plain")
def test_a_data_folder_that_others_may_look_into(settings: Settings) -> None:
    for folder, mode in ((settings.data_dir, 0o755), (settings.photos_dir, 0o770)):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(mode)
    open_data, open_photos = of(settings, "data folder")
    assert "(mode 0755)" in open_data.found
    assert open_photos.remedy == f"chmod go-rw {settings.photos_dir}"
    fix(settings, "data folder")
    assert one(settings, "data folder").state == "fine"
    assert settings.data_dir.stat().st_mode & 0o777 == 0o711
    assert settings.photos_dir.stat().st_mode & 0o777 == 0o710


def test_a_data_folder_of_somebody_else() -> None:
    program = (
        "import os, sys; from pathlib import Path; from pgface.operations.doctor.machine import data_folder\n"
        "from pgface.settings import Settings; os.setgroups([]) if os.getuid() == 0 else None\n"
        "os.setuid(65534) if os.getuid() == 0 else None\n"
        "print([(f.state, f.found) for f in data_folder(Settings(data_dir=Path(sys.argv[1])))])"
    )
    done = subprocess.run([sys.executable, "-c", program, "/"], capture_output=True, text=True, check=True, timeout=60)
    assert says.MAY_NOT_WRITE.format(folder="/") in done.stdout


@pytest.mark.usefixtures("plain")
def test_a_full_disk(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert one(settings, "free disk").state == "fine"
    monkeypatch.setattr(machine, "MIN_FREE_BYTES", 2**80)
    finding = one(settings, "free disk")
    assert finding.state == "problem"
    assert "PGFACE_DATA_DIR" in finding.remedy


# The command


def test_the_command(settings: Settings, plain: Connection) -> None:
    pgface = cli(settings)
    fine = pgface("doctor").stdout
    assert "✓  server" in fine
    assert fine.rstrip().endswith(says.PROBLEMS_AND_ADVICE.format(problems=0, advice=1))
    plain.execute("DROP FUNCTION verify_face")
    broken = pgface("doctor", code=1).stdout
    assert "✗  tables and functions" in broken
    assert "→ pgface doctor --fix" in broken
    summary = says.PROBLEM_AND_ADVICE_AND_FIXES.format(problems=1, advice=1, fixable=1)
    assert broken.rstrip().endswith(summary)
    found = json.loads(pgface("doctor", "--json", code=1).stdout)
    assert found["mended"] == []
    assert [one["check"] for one in found["findings"] if one["state"] == "problem"] == ["tables and functions"]
    fixed = json.loads(pgface("doctor", "--fix", "--json").stdout)
    assert [one["check"] for one in fixed["mended"]] == ["tables and functions"]
    assert not [one for one in fixed["findings"] if one["state"] == "problem"]
    assert says.FIXED not in pgface("doctor", "--fix").stdout


def test_the_command_runs_the_checks_that_are_named(settings: Settings, plain: Connection) -> None:
    pgface = cli(settings)
    plain.execute("DROP FUNCTION verify_face")
    for named in (["storage"], ["clock", "storage", "free disk"]):  # none of which looks at functions
        options = [part for check in named for part in ("--only", check)]
        found = json.loads(pgface("doctor", *options, "--json").stdout)["findings"]
        assert [one["check"] for one in found] == sorted(named, key=CHECKS.index)
        assert {one["state"] for one in found} == {"fine"}
        said = pgface("doctor", *options).stdout
        assert all(check in said for check in named)
        assert said.rstrip().endswith(says.EVERYTHING_IS_FINE)
    (broken,) = json.loads(pgface("doctor", "--only", "tables and functions", "--json", code=1).stdout)["findings"]
    assert (broken["check"], broken["state"]) == ("tables and functions", "problem")


@pytest.mark.usefixtures("plain")
def test_the_command_refuses_a_check_that_it_does_not_know(settings: Settings) -> None:
    refused = cli(settings)("doctor", "--only", "storage", "--only", "weather", code=2, more={"COLUMNS": "1000"})
    assert refused.stdout == ""
    assert says.NO_SUCH_CHECK.format(check="weather", checks=", ".join(CHECKS)) in refused.stderr


def test_the_command_fixes_only_what_the_named_checks_find(settings: Settings, plain: Connection) -> None:
    pgface = cli(settings)
    plain.execute("DROP FUNCTION verify_face; DROP INDEX idx_embeddings_vector")
    fixed = json.loads(pgface("doctor", "--only", "indexes", "--fix", "--json").stdout)
    assert [one["check"] for one in fixed["mended"]] == ["indexes"]
    assert [(one["check"], one["state"]) for one in fixed["findings"]] == [("indexes", "fine")]
    assert rows(plain, "SELECT to_regproc('verify_face'), to_regclass('idx_embeddings_vector') IS NULL") == [
        (None, False)
    ]
    said = pgface("doctor", "--fix", "--only", "tables and functions").stdout
    assert says.FIXED in said
    assert says.FIXED_CHECK.format(check="tables and functions") in said
    assert rows(plain, "SELECT to_regproc('verify_face') IS NULL") == [(False,)]
    pgface("doctor", "--fix", "--only", "weather", code=2)


@pytest.fixture
def visitor(settings: Settings, plain: Connection) -> Iterator[Settings]:
    """Settings of a role that may look at everything, and make schemas of its own."""
    role = sql.Identifier(f"visitor_{plain.info.dbname}")
    names = {
        "role": role,
        "schema": sql.Identifier(settings.schema_name),
        "database": sql.Identifier(plain.info.dbname),
    }
    plain.execute(
        sql.SQL(
            "CREATE ROLE {role} LOGIN; GRANT CREATE ON DATABASE {database} TO {role}; "
            "GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}; "
            "GRANT SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {role}"
        ).format(**names)
    )
    assert settings.database_url
    url = make_conninfo(settings.database_url.get_secret_value(), user=f"visitor_{plain.info.dbname}")
    yield changed(settings, database_url=url)
    plain.execute(sql.SQL("DROP OWNED BY {role}; DROP ROLE {role}").format(role=role))


def test_a_fix_that_is_refused_is_said(visitor: Settings, plain: Connection) -> None:
    plain.execute(BROKEN)
    refused = cli(visitor)("doctor", "--fix", code=1)
    assert says.NOT_FIXED_REFUSED_BY_POSTGRESQL.format(check="tables and functions") in refused.stderr
    assert "✗  tables and functions" in refused.stdout
    assert says.FIXED not in refused.stdout


def test_what_a_fix_did_not_help_is_not_fixed(visitor: Settings, plain: Connection) -> None:
    user = add_user(plain, "a@example.org")
    plain.execute(
        "INSERT INTO face_embeddings (user_id, embedding) SELECT %s, %s FROM generate_series(1, 2000)", (user, axis(0))
    )
    plain.execute("DELETE FROM face_embeddings")
    plain.execute("SELECT pg_stat_force_next_flush()")
    assert eventually(lambda: one(visitor, "vacuum").state == "advice")
    done = cli(visitor)("doctor", "--fix", code=1)
    assert says.NOT_FIXED_FOR_LACK_OF_RIGHTS.format(check="vacuum") in done.stderr
    assert says.FIXED_CHECK.format(check="vacuum") not in done.stdout


@pytest.mark.slow
def test_on_an_embedded_server(tmp_path: Path) -> None:
    pgface = runner({"PGFACE_DATA_DIR": str(tmp_path / "data")})
    pgface("init")
    found = json.loads(pgface("doctor", "--json").stdout)["findings"]
    assert {one["check"] for one in found if one["state"] != "fine"} == ADVISED_IN_A_NEW_GALLERY
