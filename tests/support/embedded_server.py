"""Helpers of the tests of the embedded PostgreSQL: clients in other processes, and the server's processes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg

CLIENT = """
import sys
from pathlib import Path
from pgface.database.embedded.server import EmbeddedPostgres
print(EmbeddedPostgres(Path(sys.argv[1])).start(), flush=True)
sys.stdin.readline()
"""


class Client:
    """Another process that uses the server on a folder."""

    def __init__(self, folder: Path, program: str = CLIENT) -> None:
        command = [sys.executable, "-c", program, str(folder)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._url: str | None = None

    @property
    def url(self) -> str:
        """The URL of the server, as soon as the client has it."""
        if self._url is None:
            assert self.process.stdout
            self._url = self.process.stdout.readline().strip()
            assert self._url, "the client ended without a server"
        return self._url

    def leave(self) -> None:
        assert self.url
        with self.process as process:
            process.communicate("\n", timeout=60)
        assert self.process.returncode == 0

    def kill(self) -> None:
        with self.process as process:
            process.kill()


def server_processes(folder: Path) -> list[psutil.Process]:
    """All processes of the server on the folder, by their working directory."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.name() == "postgres" and process.cwd() == str(folder / "data"):
                found.append(process)
    return found


def owners(folder: Path) -> set[tuple[int, int]]:
    """Users and groups of the server's processes. A process may end meanwhile."""
    found = set()
    for process in server_processes(folder):
        with contextlib.suppress(psutil.NoSuchProcess):
            found.add((process.uids().real, process.gids().real))
    assert found
    return found


def lives(process: psutil.Process) -> bool:
    """Whether it runs. A zombie does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def postmaster(folder: Path) -> psutil.Process:
    return psutil.Process(int((folder / "data" / "postmaster.pid").read_text().splitlines()[0]))


def eventually(condition: Callable[[], bool], seconds: float = 10.0, pause: float = 0.02) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True


def ask(url: str, statement: str, *parameters: object) -> object:
    """Return the first column of the first row."""
    with psycopg.connect(url) as connection:
        row = connection.execute(statement.encode(), parameters or None).fetchone()
    assert row is not None
    return row[0]


def run(url: str, statement: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(statement.encode())


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@contextlib.contextmanager
def stopped_at_the_end(folder: Path) -> Iterator[Path]:
    """Kill the server at the end, whatever the test did."""
    try:
        yield folder
    finally:
        for process in server_processes(folder):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        assert eventually(lambda: not server_processes(folder))
