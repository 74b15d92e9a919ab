"""The embedded PostgreSQL. The first client starts it, and the last one stops it.

Each client holds a shared lock on the file `clients`. The kernel releases the lock when the client's process ends, even
by kill -9. Clients start and stop the server under an exclusive lock on the file `start`. If a client leaves and no
other client holds `clients`, it was the last one.
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
from pgface.system.forks import renew_after_fork
from pgface.system.ownership import reason_with_owner
from pgface.system.private_folder import private_folder
from pgface.text import counted

__all__ = ["EmbeddedPostgres", "binaries"]

_log = logging.getLogger("pgface.database")


class EmbeddedPostgres:
    """The embedded PostgreSQL in a folder. You can enter this context manager several times, from any thread.

    An object is a client of the server from its first start to its last release. The folder is created with mode 0700.
    The server listens only on a unix socket in it. `postgres_version` (18 or 16) applies to a new folder. An existing
    folder keeps its version.
    """

    def __init__(self, folder: Path, *, postgres_version: int = 18) -> None:
        self._folder = folder.expanduser().absolute().resolve()
        self._cluster = Cluster(self._folder, postgres_version)
        self._keep = self._folder / "keep-running"
        self._start_lock = self._folder / "start"
        self._clients_lock = self._folder / "clients"
        self._starts = 0
        self._descriptor: int | None = None
        self._mutex = threading.Lock()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Renew the mutex, whose thread does not exist in a child process.

        The child still counts as a client, by the descriptor that it has from its parent.
        """
        self._mutex = threading.Lock()

    @property
    def url(self) -> str:
        """libpq URL of the gallery's database, without a password: only the folder's owner and root can connect."""
        return self._cluster.url

    @property
    def binaries(self) -> Path:
        """The folder with psql, pg_dump and the other programs, of the version of the data."""
        return self._cluster.binaries

    def is_made(self) -> bool:
        """Whether the folder already contains a server's data. Does not create or start a server."""
        return self._cluster.data.is_dir()

    def start(self) -> str:
        """Become a client of the server, start it unless it runs, and return its URL.

        If you call it again, it makes sure that the server still runs. Call `release` once for each call. The end of
        the process releases the rest.

        Raises:
            EmbeddedPostgresError: there is no server. The message says why.

        """
        with self._mutex, self._wrap_os_errors():
            _check_platform()
            binaries()
            private_folder(self._folder.parent)
            self._folder.mkdir(mode=0o700, exist_ok=True)
            with locks.exclusive(self._start_lock):
                # First, so that no other client can stop the server after it was found here.
                if self._descriptor is None:
                    self._descriptor = locks.shared(self._clients_lock)
                try:
                    self._cluster.ensure_running()
                except BaseException:
                    if self._starts == 0:
                        self._close()
                    raise
            self._starts += 1
            _started.add(self)
            return self.url

    def release(self) -> None:
        """Undo one `start`. After the last one this is no longer a client, and the last client stops the server.

        After `keep_running`, the server continues without clients.
        """
        with self._mutex, self._wrap_os_errors():
            if self._starts > 1:
                self._starts -= 1
            elif self._starts == 1:
                self._leave()

    def release_all(self) -> None:
        """Undo every `start`, because the process ends."""
        with self._mutex, self._wrap_os_errors():
            self._leave()

    def keep_running(self) -> None:
        """Keep the server running without clients, until `stop`."""
        with self._wrap_os_errors():
            os.close(locks.open_file(self._keep))

    def is_running(self) -> bool:
        """Whether a server runs on this folder."""
        with self._wrap_os_errors():
            return self.is_made() and self._cluster.answers()

    def stop(self, *, force: bool = False) -> bool:
        """Stop the server, even after `keep_running`. Return whether it was running.

        Raises:
            EmbeddedPostgresError: it is in use, and `force` was not given.

        """
        if not self._folder.is_dir():
            return False
        with self._wrap_os_errors(), locks.exclusive(self._start_lock):
            runs = self._cluster.answers()
            if runs and not force:
                self._require_unused()
            self._keep.unlink(missing_ok=True)
            if runs:
                self._cluster.stop()
            return runs

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _require_unused(self) -> None:
        sessions = self._cluster.sessions()
        if sessions == 0 and locks.is_free(self._clients_lock):
            return
        users = counted(sessions, "session is open", "sessions are open") if sessions else "another process is using it"
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL was not stopped: {users}. End that first, "
            "or stop the server anyway with `pgface postgres stop --force`."
        )

    def _leave(self) -> None:
        self._starts = 0
        _started.discard(self)
        if not self._folder.is_dir():
            self._close()
            return
        with locks.exclusive(self._start_lock):
            self._close()
            if not self._keep.exists() and locks.is_free(self._clients_lock):
                self._cluster.stop()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @contextmanager
    def _wrap_os_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            place = error.filename if isinstance(error.filename, str) else self._folder
            raise EmbeddedPostgresError(
                f"The embedded PostgreSQL cannot use {place} ({reason_with_owner(error, place)}). "
                "Set PGFACE_DATA_DIR to a folder that you own, or PGFACE_DATABASE_URL to your own server."
            ) from error


_started: set[EmbeddedPostgres] = set()


@atexit.register
def _release_started() -> None:
    for server in list(_started):
        try:
            server.release_all()
        except EmbeddedPostgresError as error:
            _log.warning("%s", error)


def _check_platform() -> None:
    if sys.platform == "win32":
        raise EmbeddedPostgresError(
            "The embedded PostgreSQL needs Linux or macOS. Set PGFACE_DATABASE_URL to your own server."
        )
