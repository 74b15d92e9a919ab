"""The embedded PostgreSQL. The first process that needs it starts it, and the last one stops it.

Each process that needs the server holds a shared lock on the file `clients`. The kernel releases the lock when the
process ends, even by kill -9. A process starts and stops the server under an exclusive lock on the file `start`. If a
process leaves and no other process holds `clients`, it was the last one.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from pgface.database.embedded import locks
from pgface.database.embedded.cluster import Cluster, binaries
from pgface.errors import EmbeddedPostgresError
from pgface.system.forks import call_after_fork, renew_after_fork
from pgface.system.ownership import reason_with_owner
from pgface.system.private_folder import private_folder
from pgface.text import counted

__all__ = ["EmbeddedPostgres", "binaries"]

_log = logging.getLogger("pgface.database")


class EmbeddedPostgres:
    """The embedded PostgreSQL in a folder. You can enter this context manager several times, from any thread.

    All objects for one folder in a process count as one client of the server. The folder is created with mode 0700.
    The server listens only on a unix socket in it. `postgres_version` (18 or 16) applies to a new folder. An existing
    folder keeps its version.
    """

    def __init__(self, folder: Path, *, postgres_version: int = 18) -> None:
        self._client = _client(folder.expanduser().absolute().resolve(), postgres_version)
        self._starts = 0
        self._mutex = threading.Lock()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Renew the lock: in a child process, the thread that held it does not exist."""
        self._mutex = threading.Lock()

    @property
    def url(self) -> str:
        """libpq URL of the gallery's database, without a password: only the folder's owner and root can connect."""
        return self._client.cluster.url

    @property
    def binaries(self) -> Path:
        """The folder with psql, pg_dump and the other programs, of the version of the data."""
        return self._client.cluster.binaries

    def is_made(self) -> bool:
        """Whether the folder already holds a server's data. Does not create or start a server."""
        return self._client.cluster.data.is_dir()

    def start(self) -> str:
        """Become a client of the server, start it unless it runs, and return its URL.

        Called again, it makes sure that the server still runs. Call `release` for each call. The end of the process
        releases the rest.

        Raises:
            EmbeddedPostgresError: there is no server. The message says why.

        """
        url = self._client.enter()
        with self._mutex:
            self._starts += 1
        return url

    def release(self) -> None:
        """Stop being a client. The last client stops the server, except after `keep_running`."""
        with self._mutex:
            if self._starts == 0:
                return
            self._starts -= 1
        self._client.leave()

    def keep_running(self) -> None:
        """Keep the server running without clients, until `stop`."""
        self._client.keep_running()

    def is_running(self) -> bool:
        """Whether a server runs on this folder."""
        return self._client.runs()

    def stop(self, *, force: bool = False) -> bool:
        """Stop the server, even after `keep_running`. Return whether it was running.

        Raises:
            EmbeddedPostgresError: it is in use, and `force` was not given.

        """
        return self._client.stop(force=force)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class _Client:
    """This process as a client of one folder's server."""

    def __init__(self, folder: Path, postgres_version: int) -> None:
        self.cluster = Cluster(folder, postgres_version)
        self.keep = folder / "keep-running"
        self._start = folder / "start"
        self._clients = folder / "clients"
        self._mutex = threading.Lock()
        self._descriptor: int | None = None
        self._users = 0
        renew_after_fork(self)

    def after_fork(self) -> None:
        """A child process still counts as a client, by the descriptor that it has from its parent."""
        self._mutex = threading.Lock()

    def enter(self) -> str:
        with self._mutex, _wrap_os_errors(self.cluster.folder):
            _check_platform()
            binaries()
            private_folder(self.cluster.folder.parent)
            self.cluster.folder.mkdir(mode=0o700, exist_ok=True)
            with locks.exclusive(self._start):
                # Held before the server is looked at: it then cannot be stopped between being found and being used.
                if self._descriptor is None:
                    self._descriptor = locks.shared(self._clients)
                try:
                    self.cluster.ensure_running()
                except BaseException:
                    if self._users == 0:
                        self._close()
                    raise
            self._users += 1
            return self.cluster.url

    def leave(self) -> None:
        with self._mutex, _wrap_os_errors(self.cluster.folder):
            self._users -= 1
            if self._users == 0:
                self._leave()

    def leave_for_good(self) -> None:
        """Stop being a client for all users in this process, which ends."""
        with self._mutex, _wrap_os_errors(self.cluster.folder):
            self._users = 0
            self._leave()

    def keep_running(self) -> None:
        with _wrap_os_errors(self.cluster.folder):
            os.close(locks.open_file(self.keep))

    def runs(self) -> bool:
        with _wrap_os_errors(self.cluster.folder):
            return self.cluster.data.is_dir() and self.cluster.answers()

    def stop(self, *, force: bool) -> bool:
        if not self.cluster.folder.is_dir():
            return False
        with _wrap_os_errors(self.cluster.folder), locks.exclusive(self._start):
            runs = self.cluster.answers()
            if runs and not force:
                self._refuse_if_used()
            self.keep.unlink(missing_ok=True)
            if runs:
                self.cluster.stop()
            return runs

    def _refuse_if_used(self) -> None:
        sessions = self.cluster.sessions()
        if sessions == 0 and locks.is_free(self._clients):
            return
        users = counted(sessions, "session is open", "sessions are open") if sessions else "another process is using it"
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL was not stopped: {users}. End that first, "
            "or stop the server anyway with `pgface postgres stop --force`."
        )

    def _leave(self) -> None:
        if self._descriptor is None or not self.cluster.folder.is_dir():
            self._close()
            return
        with locks.exclusive(self._start):
            self._close()
            if not self.keep.exists() and locks.is_free(self._clients):
                self.cluster.stop()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


_all_clients: dict[Path, _Client] = {}
_all_clients_mutex = threading.Lock()


def _client(folder: Path, postgres_version: int) -> _Client:
    with _all_clients_mutex:
        return _all_clients.setdefault(folder, _Client(folder, postgres_version))


@call_after_fork
def _renew_mutex() -> None:
    global _all_clients_mutex
    _all_clients_mutex = threading.Lock()


@atexit.register
def _leave_all() -> None:
    for client in _all_clients.values():
        try:
            client.leave_for_good()
        except EmbeddedPostgresError as error:
            _log.warning("%s", error)


@contextmanager
def _wrap_os_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        place = error.filename if isinstance(error.filename, str) else folder
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL cannot use {place} ({reason_with_owner(error, place)}). "
            "Set PGFACE_DATA_DIR to a folder that you own, or PGFACE_DATABASE_URL to your own server."
        ) from error


def _check_platform() -> None:
    if sys.platform == "win32":
        raise EmbeddedPostgresError(
            "The embedded PostgreSQL needs Linux or macOS. Set PGFACE_DATABASE_URL to your own server."
        )
