"""A real pgbouncer in front of a test's PostgreSQL, on its own unix socket."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

PORT = 6432


def program() -> str:
    """Find the installed pgbouncer, or skip the test."""
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        pytest.skip("pgbouncer is not installed; scripts/install-debian-packages installs it")
    return found


def user_for(server_host: str) -> tuple[int, int] | None:
    """The user of pgbouncer, which refuses to run as root. Only the server's user can reach the embedded socket."""
    if os.geteuid() != 0:
        return None
    if server_host.startswith("/"):
        owner = Path(server_host).stat()
        return owner.st_uid, owner.st_gid
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


@contextmanager
def pooler(server_url: str, mode: str = "transaction", pool_size: int = 2) -> Iterator[str]:
    """Run a pgbouncer that maps every client to the server's user, and yield its URL of the database."""
    server = conninfo_to_dict(server_url)
    login = " ".join(f"{key}={server[key]}" for key in ("host", "port", "user", "password") if key in server)
    configuration = f"""\
[databases]
* = {login}
[pgbouncer]
listen_addr =
auth_type = any
pool_mode = {mode}
default_pool_size = {pool_size}
query_wait_timeout = 20
"""
    with running(configuration, user_for(str(server["host"]))) as folder:
        yield make_conninfo(host=str(folder), port=str(PORT), user="client", dbname=server["dbname"])


@contextmanager
def running(configuration: str, user: tuple[int, int] | None) -> Iterator[Path]:
    """Run pgbouncer with a configuration and a socket in a new folder, and yield the folder."""
    found = program()
    folder = Path(tempfile.mkdtemp(prefix="pgface-bouncer-"))  # a socket's path is short
    file = folder / "pgbouncer.ini"
    file.write_text(f"{configuration}\nunix_socket_dir = {folder}\nlisten_port = {PORT}\n", encoding="utf-8")
    uid, gid = user or (None, None)
    if user is not None:
        os.chown(folder, *user)
        os.chown(file, *user)
    groups: list[int] | None = None if user is None else []
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([found, str(file)], stdout=log, stderr=log, user=uid, group=gid, extra_groups=groups)
    try:
        _wait(folder, process)
        yield folder
    finally:
        process.terminate()
        process.wait(timeout=30)
        shutil.rmtree(folder)


def _wait(folder: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 10
    while True:
        # The socket exists a moment before it accepts connections.
        with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            return client.connect(str(folder / f".s.PGSQL.{PORT}"))
        if process.poll() is not None or time.monotonic() > end:
            raise AssertionError((folder / "log").read_text())
        time.sleep(0.01)
