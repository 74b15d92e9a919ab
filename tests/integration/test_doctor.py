"""`pgface doctor` checks the server, the schema version and this machine, and its command reports and fixes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
from psycopg import Connection, sql
from psycopg.conninfo import make_conninfo

from pgface.database.sql import migrations
from pgface.gallery import Gallery
from pgface.operations.doctor import CHECKS, diagnose, machine, postgres
from pgface.operations.doctor.postgres import judge_extension
from pgface.search.vector_index.advice import advise_indexes
from pgface.search.vector_index.lifecycle import vector_index_lock
from pgface.search.vector_index.status import read_index_status
from pgface.settings import Settings
from support.commands import runner
from support.doctor import ADVISED_IN_A_NEW_GALLERY, BROKEN, cli, finding_of, findings_of, fix, settings_with, sql_on
from support.embedded_server import eventually
from support.galleries import add_user, axis, contents, in_both_schemas, rows
from support.migrations import later_migration
from support.pgbouncer import pooler
from support.sentences import database
from support.sentences import doctor as says


@pytest.mark.usefixtures("bound")
@in_both_schemas
def test_a_new_gallery_is_fine_and_stays_as_it_is(settings: Settings) -> None:
    with Gallery.open(settings) as gallery:
        before = contents(gallery), schemas(settings)
        found = diagnose(settings)
        assert (contents(gallery), schemas(settings)) == before
    assert {finding.check for finding in found if finding.state != "fine"} == ADVISED_IN_A_NEW_GALLERY
    assert all(bool(finding.remedy) == (finding.state != "fine") for finding in found)
    assert len({finding.check for finding in found}) == 24


def schemas(settings: Settings) -> list[tuple[str]]:
    with sql_on(settings) as connection:
        return rows(connection, "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp' ORDER BY 1")


# The schema and the server


@pytest.mark.usefixtures("bound")
def test_an_older_schema(settings: Settings) -> None:
    before = migrations()[-1].version
    with later_migration() as later:
        finding = finding_of(settings, "schema version")
        assert (finding.state, finding.remedy) == ("problem", "pgface init")
        assert database.SCHEMA_IS_OLDER.format(found=before, needed=later.version) in finding.found
        assert finding_of(settings, "photo files").state == "unknown"
        cli(settings)("init")
        assert finding_of(settings, "schema version").state == "fine"


def test_a_newer_schema(settings: Settings, bound: Connection) -> None:
    bound.execute("INSERT INTO pgface_migrations (version, name) VALUES (999, 'of the future')")
    finding = finding_of(settings, "schema version")
    assert (finding.state, finding.remedy) == ("problem", says.UPGRADE_PGFACE)
    bound.execute("DELETE FROM pgface_migrations WHERE version = 999")
    assert finding_of(settings, "schema version").state == "fine"


def test_no_gallery_yet(settings: Settings) -> None:
    found = {finding.check: finding for finding in diagnose(settings)}
    assert (found["schema version"].state, found["schema version"].remedy) == ("problem", "pgface init")
    assert "CREATE EXTENSION vector" in found["pgvector"].remedy
    assert found["server"].state == "fine"
    assert {found[check].state for check in ("model", "indexes", "storage")} == {"unknown"}


def test_a_server_that_does_not_answer(settings: Settings) -> None:
    found = diagnose(settings_with(settings, database_url="postgresql://u:hidden-word@127.0.0.1:1/db"))
    states = {finding.check: finding.state for finding in found}
    assert states.pop("server") == "problem"
    assert states.pop("data folder") == states.pop("free disk") == "fine"
    assert set(states.values()) == {"unknown"}
    assert len(states) == 21
    assert "hidden-word" not in repr(found)


def test_a_dropped_pgvector(settings: Settings, bound: Connection) -> None:
    bound.execute("DROP EXTENSION vector CASCADE")
    (finding,) = (one for one in diagnose(settings) if one.check == "pgvector")
    assert finding.state == "problem"
    assert finding.remedy.startswith("pgface init")
    bound.execute("CREATE EXTENSION vector SCHEMA public")
    assert finding_of(settings, "pgvector").state == "fine"
    made_again, by_hand = findings_of(settings, "tables and functions")
    assert "function" in made_again.found
    assert "column face_embeddings.embedding" in by_hand.found


def test_a_pgvector_that_can_be_updated(settings: Settings, bound: Connection) -> None:
    ((installed,),) = rows(bound, "SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    assert installed != "0.8.0"
    bound.execute("UPDATE pg_extension SET extversion = '0.8.0' WHERE extname = 'vector'")
    finding = finding_of(settings, "pgvector")
    assert finding.state == "problem"  # because of what is wrong with that version
    assert says.PGVECTOR_CAN_BE_UPDATED.format(installed="0.8.0", available=installed) in finding.found
    assert "ALTER EXTENSION vector UPDATE" in finding.remedy
    fix(settings, "pgvector")
    assert finding_of(settings, "pgvector").state == "fine"
    assert rows(bound, "SELECT extversion FROM pg_extension WHERE extname = 'vector'") == [(installed,)]


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


@pytest.mark.parametrize(("version", "workers", "warnings"), [("0.8.1", "0", 3), ("0.8.3", "2", 1), ("0.8.4", "2", 0)])
def test_bugs_of_an_old_pgvector_are_avoided(
    gallery: Gallery, connection: psycopg.Connection, version: str, workers: str, warnings: int
) -> None:
    connection.execute("UPDATE pg_extension SET extversion = %s WHERE extname = 'vector'", (version,))
    with gallery.database.dedicated_connection() as own:
        own.execute("SET max_parallel_maintenance_workers = 2")
        with vector_index_lock(own):
            assert own.execute("SHOW max_parallel_maintenance_workers").fetchone() == (workers,)
    advice = [one.sentence for one in advise_indexes(read_index_status(gallery.database))]
    assert sum(f"pgvector {version}" in sentence for sentence in advice) == warnings


@pytest.mark.usefixtures("bound")
def test_a_server_that_is_too_old(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert finding_of(settings, "server").state == "fine"
    monkeypatch.setattr(postgres, "MIN_POSTGRESQL", 99)
    finding = finding_of(settings, "server")
    assert finding.state == "problem"
    assert says.POSTGRESQL_OR_NEWER.format(version=99) in finding.remedy


def test_a_database_that_cannot_store_every_name(postgres: str, settings: Settings) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        options = "ENCODING 'LATIN1' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        connection.execute(f"CREATE DATABASE narrow {options}")
        try:
            finding = finding_of(
                settings_with(settings, database_url=make_conninfo(postgres, dbname="narrow")), "server"
            )
        finally:
            connection.execute("DROP DATABASE narrow WITH (FORCE)")
    assert finding.state == "problem"
    assert says.TEXT_IS_STORED_IN.format(encoding="LATIN1") in finding.found


def test_a_pool_that_is_too_large_for_the_server(settings: Settings, bound: Connection) -> None:
    ((room,),) = rows(
        bound,
        "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int "
        "- current_setting('reserved_connections')::int",
    )
    finding = finding_of(settings_with(settings, pool_size=room + 1), "connections")
    assert finding.state == "problem"
    lower = says.LOWER_THE_POOL_OR_RAISE_THE_LIMIT.format(size=room // 2, limit="max_connections")
    assert lower in finding.remedy
    tight = finding_of(settings_with(settings, pool_size=room), "connections")
    assert tight.state == "advice"
    assert says.CONNECTIONS_IN_USE.is_in(tight.found, used="...", room=room)
    assert finding_of(settings, "connections").state == "fine"


def test_the_connection_limit_of_a_user(settings: Settings, bound: Connection) -> None:
    name = f"few_{bound.info.dbname}"
    bound.execute(sql.SQL("CREATE ROLE {} LOGIN CONNECTION LIMIT 3").format(sql.Identifier(name)))
    try:
        assert settings.database_url
        url = make_conninfo(settings.database_url.get_secret_value(), user=name)
        finding = finding_of(settings_with(settings, database_url=url), "connections")
    finally:
        bound.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
    assert finding.state == "problem"
    assert says.CONNECTIONS_IN_USE.format(used=0, room=3) in finding.found
    assert finding.remedy.endswith(says.OR_RAISE_THE_LIMIT_OF_THE_USER)


@pytest.mark.usefixtures("bound")
def test_clocks_that_differ(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert finding_of(settings, "clock").state == "fine"
    monkeypatch.setattr(postgres, "time", SimpleNamespace(time=lambda: time.time() - 3600))
    finding = finding_of(settings, "clock")
    assert finding.state == "problem"
    assert says.CLOCKS_ARE_APART.format(seconds="3,600.0") in finding.found


@pytest.mark.usefixtures("bound")
@pytest.mark.parametrize("known", ["facepass123", "changeme", None])
def test_a_well_known_password(settings: Settings, known: str | None) -> None:
    assert settings.database_url
    url = settings.database_url.get_secret_value()
    with psycopg.connect(url) as connection:
        password = known or connection.info.user  # the user name is the first guess
    finding = finding_of(
        settings_with(settings, database_url=make_conninfo(url, password=password)), "database password"
    )
    assert finding.state == "problem"
    assert "pgface secrets" in finding.remedy
    assert known is None or known not in repr(finding)
    better = make_conninfo(url, password="not-on-any-list")
    assert finding_of(settings_with(settings, database_url=better), "database password").state == "fine"


@pytest.mark.usefixtures("bound")
def test_a_transaction_pooler_without_a_direct_url(settings: Settings) -> None:
    assert settings.database_url
    direct = settings.database_url.get_secret_value()
    with pooler(direct) as pooled:
        finding = finding_of(settings_with(settings, database_url=pooled), "pooling")
        around = diagnose(settings_with(settings, database_url=pooled, direct_url=direct))
    assert finding.state == "problem"
    assert "PGFACE_DIRECT_URL" in finding.remedy
    assert {finding.check for finding in around if finding.state != "fine"} == ADVISED_IN_A_NEW_GALLERY


# This machine


@pytest.mark.usefixtures("bound")
def test_a_data_folder_that_others_may_read(settings: Settings) -> None:
    for folder, mode in ((settings.data_dir, 0o755), (settings.photos_dir, 0o770)):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(mode)
    open_data, open_photos = findings_of(settings, "data folder")
    assert "(mode 0755)" in open_data.found
    assert open_photos.remedy == f"chmod go-rw {settings.photos_dir}"
    fix(settings, "data folder")
    assert finding_of(settings, "data folder").state == "fine"
    assert settings.data_dir.stat().st_mode & 0o777 == 0o711
    assert settings.photos_dir.stat().st_mode & 0o777 == 0o710


def test_a_data_folder_of_another_user() -> None:
    program = (
        "import os, sys; from pathlib import Path; from pgface.operations.doctor.machine import data_folder\n"
        "from pgface.settings import Settings; os.setgroups([]) if os.getuid() == 0 else None\n"
        "os.setuid(65534) if os.getuid() == 0 else None\n"
        "print([(f.state, f.found) for f in data_folder(Settings(data_dir=Path(sys.argv[1])))])"
    )
    done = subprocess.run([sys.executable, "-c", program, "/"], capture_output=True, text=True, check=True, timeout=60)
    assert says.MAY_NOT_WRITE.format(folder="/") in done.stdout


@pytest.mark.usefixtures("bound")
def test_a_full_disk(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert finding_of(settings, "free disk").state == "fine"
    monkeypatch.setattr(machine, "MIN_FREE_BYTES", 2**80)
    finding = finding_of(settings, "free disk")
    assert finding.state == "problem"
    assert "PGFACE_DATA_DIR" in finding.remedy


# The command


def test_the_command(settings: Settings, bound: Connection) -> None:
    pgface = cli(settings)
    fine = pgface("doctor").stdout
    assert "✓  server" in fine
    assert fine.rstrip().endswith(says.PROBLEMS_AND_ADVICE.format(problems=0, advice=1))
    bound.execute("DROP FUNCTION verify_face")
    broken = pgface("doctor", code=1).stdout
    assert "✗  tables and functions" in broken
    assert "→ pgface doctor --fix" in broken
    summary = says.PROBLEM_AND_ADVICE_AND_FIXES.format(problems=1, advice=1, fixable=1)
    assert broken.rstrip().endswith(summary)
    found = json.loads(pgface("doctor", "--json", code=1).stdout)
    assert found["fixed"] == []
    assert [one["check"] for one in found["findings"] if one["state"] == "problem"] == ["tables and functions"]
    fixed = json.loads(pgface("doctor", "--fix", "--json").stdout)
    assert [one["check"] for one in fixed["fixed"]] == ["tables and functions"]
    assert not [one for one in fixed["findings"] if one["state"] == "problem"]
    assert says.FIXED not in pgface("doctor", "--fix").stdout


def test_the_command_runs_the_checks_that_are_named(settings: Settings, bound: Connection) -> None:
    pgface = cli(settings)
    bound.execute("DROP FUNCTION verify_face")
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


@pytest.mark.usefixtures("bound")
def test_the_command_refuses_a_check_that_it_does_not_know(settings: Settings) -> None:
    refused = cli(settings)("doctor", "--only", "storage", "--only", "weather", code=2, more={"COLUMNS": "1000"})
    assert refused.stdout == ""
    assert says.NO_SUCH_CHECK.format(check="weather", checks=", ".join(CHECKS)) in refused.stderr


def test_the_command_fixes_only_what_the_named_checks_find(settings: Settings, bound: Connection) -> None:
    pgface = cli(settings)
    bound.execute("DROP FUNCTION verify_face; DROP INDEX idx_embeddings_vector")
    fixed = json.loads(pgface("doctor", "--only", "indexes", "--fix", "--json").stdout)
    assert [one["check"] for one in fixed["fixed"]] == ["indexes"]
    assert [(one["check"], one["state"]) for one in fixed["findings"]] == [("indexes", "fine")]
    assert rows(bound, "SELECT to_regproc('verify_face'), to_regclass('idx_embeddings_vector') IS NULL") == [
        (None, False)
    ]
    said = pgface("doctor", "--fix", "--only", "tables and functions").stdout
    assert says.FIXED in said
    assert says.FIXED_CHECK.format(check="tables and functions") in said
    assert rows(bound, "SELECT to_regproc('verify_face') IS NULL") == [(False,)]
    pgface("doctor", "--fix", "--only", "weather", code=2)


@pytest.fixture
def visitor(settings: Settings, bound: Connection) -> Iterator[Settings]:
    """Settings of a role that may read everything and create schemas, but not fix the gallery."""
    role = sql.Identifier(f"visitor_{bound.info.dbname}")
    names = {
        "role": role,
        "schema": sql.Identifier(settings.schema_name),
        "database": sql.Identifier(bound.info.dbname),
    }
    bound.execute(
        sql.SQL(
            "CREATE ROLE {role} LOGIN; GRANT CREATE ON DATABASE {database} TO {role}; "
            "GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}; "
            "GRANT SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {role}"
        ).format(**names)
    )
    assert settings.database_url
    url = make_conninfo(settings.database_url.get_secret_value(), user=f"visitor_{bound.info.dbname}")
    yield settings_with(settings, database_url=url)
    bound.execute(sql.SQL("DROP OWNED BY {role}; DROP ROLE {role}").format(role=role))


def test_a_refused_fix_is_reported(visitor: Settings, bound: Connection) -> None:
    bound.execute(BROKEN)
    refused = cli(visitor)("doctor", "--fix", code=1)
    assert says.NOT_FIXED_REFUSED_BY_POSTGRESQL.format(check="tables and functions") in refused.stderr
    assert "✗  tables and functions" in refused.stdout
    assert says.FIXED not in refused.stdout


def test_a_fix_without_effect_is_reported(visitor: Settings, bound: Connection) -> None:
    user = add_user(bound, "a@example.org")
    bound.execute(
        "INSERT INTO face_embeddings (user_id, embedding) SELECT %s, %s FROM generate_series(1, 2000)", (user, axis(0))
    )
    bound.execute("DELETE FROM face_embeddings")
    bound.execute("SELECT pg_stat_force_next_flush()")
    assert eventually(lambda: finding_of(visitor, "vacuum").state == "advice")
    done = cli(visitor)("doctor", "--fix", code=1)
    assert says.NOT_FIXED_FOR_LACK_OF_RIGHTS.format(check="vacuum") in done.stderr
    assert says.FIXED_CHECK.format(check="vacuum") not in done.stdout


@pytest.mark.slow
def test_on_an_embedded_server(tmp_path: Path) -> None:
    pgface = runner({"PGFACE_DATA_DIR": str(tmp_path / "data")})
    pgface("init")
    found = json.loads(pgface("doctor", "--json").stdout)["findings"]
    assert {one["check"] for one in found if one["state"] != "fine"} == ADVISED_IN_A_NEW_GALLERY
