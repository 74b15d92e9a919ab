"""A real pgbouncer in front of a test's PostgreSQL: a process of the test's own, on a unix socket of its own."""

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
    """The installed pgbouncer; the test is skipped where there is none."""
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        pytest.skip("pgbouncer is not installed; scripts/install-debian-packages installs it")
    return found


def user_for(server_host: str) -> tuple[int, int] | None:
    """Who pgbouncer runs as: it refuses to be root, and only the server's user reaches the embedded one's socket."""
    if os.geteuid() != 0:
        return None
    if server_host.startswith("/"):
        owner = Path(server_host).stat()
        return owner.st_uid, owner.st_gid
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


@contextmanager
def pooler(server_url: str, mode: str = "transaction", pool_size: int = 2) -> Iterator[str]:
    """A pgbouncer before the server, which takes everybody for the server's user; gives its URL of the database."""
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
        yield make_conninfo(host=str(folder), port=str(PORT), user="somebody", dbname=server["dbname"])


@contextmanager
def running(configuration: str, user: tuple[int, int] | None) -> Iterator[Path]:
    """Run pgbouncer with a configuration and a socket in a new folder, which is given."""
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
        # The socket is there a moment before anybody may connect to it.
        with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            return client.connect(str(folder / f".s.PGSQL.{PORT}"))
        if process.poll() is not None or time.monotonic() > end:
            raise AssertionError((folder / "log").read_text())
        time.sleep(0.01)
