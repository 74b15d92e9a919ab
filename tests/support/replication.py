"""A real primary and its standbys, on unix sockets, made with the programs of the embedded PostgreSQL.

The servers share nothing but the stream of the write-ahead log, as servers on different machines do.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import psycopg
from psycopg import pq, sql

from pgface.database.embedded.cluster import ENVIRONMENT, binaries
from pgface.database.embedded.settings import FIXED_SETTINGS, PORT
from pgface.database.embedded.user import ServerUser, server_user
from support.embedded_server import eventually

USER = "postgres"
DATABASE = "facedb"
_START_SECONDS = 30
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the tests make a new folder in it
_SETTINGS = FIXED_SETTINGS | {
    "shared_buffers": "32MB",
    # These protect against a crash of the machine. The tests only end processes.
    "fsync": "off",
    "full_page_writes": "off",
    # A standby that was away finds what it missed, and looks for it often.
    "wal_keep_size": "256MB",
    "wal_retrieve_retry_interval": "100ms",
    "log_min_messages": "warning",
}


class Server:
    """One PostgreSQL server: a primary, or a standby of another one. It is not started yet."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        """Also the name under which a standby connects to its primary (`pg_stat_replication.application_name`)."""
        self.folder = folder / name
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: psycopg.Connection[Any] | None = None

    @property
    def url(self) -> str:
        """URL of the gallery's database on this server alone."""
        return url_of([self])

    def create(self) -> None:
        """Make an empty server, start it, and create the database."""
        self._prepare_folder()
        self._run("initdb", "-D", self.data, "-U", USER, "--auth=trust", "--encoding=UTF8", "--no-sync")
        self.start()
        with psycopg.connect(self.url, dbname="postgres", autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))

    def create_standby_of(self, primary: Server) -> None:
        """Make a copy of a running primary that follows it, and start it. Earlier data here is deleted."""
        self.copy(primary)
        self.follow(primary)
        self.start()
        assert eventually(lambda: self.name in standby_names(primary), _START_SECONDS), self.log.read_text()

    def copy(self, primary: Server) -> None:
        """Take a base backup of a running server, without starting it. Earlier data here is deleted."""
        self.kill()
        self._prepare_folder()
        shutil.rmtree(self.data, ignore_errors=True)
        source = ("-h", primary.folder, "-p", PORT, "-U", USER)
        self._run("pg_basebackup", *source, "-D", self.data, "--checkpoint=fast", "--no-sync")

    def follow(self, primary: Server) -> None:
        """Make this server a standby at its next start, or lead a running standby to another primary."""
        source = f"host={primary.folder} port={PORT} user={USER}"
        if self.is_running():
            self.configure(primary_conninfo=source)
            return
        signal_file = self.data / "standby.signal"
        signal_file.touch()
        self._own(signal_file)
        with (self.data / "postgresql.auto.conf").open("a", encoding="utf-8") as settings:
            settings.write(f"primary_conninfo = '{source}'\n")

    def start(self, **settings: str) -> None:
        """Start the server, and wait until it accepts connections. `settings` go before those in its files."""
        user = server_user(self.folder)
        # Not in the data folder, because a base backup would copy the socket's lock file.
        own = {"cluster_name": self.name, "unix_socket_directories": str(self.folder)}
        options = [f"--{name}={value}" for name, value in (_SETTINGS | own | settings).items()]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [binaries() / "postgres", "-D", self.data, *options],
                **_as_user(user),
                cwd=self.folder,
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        assert eventually(self._is_ready, _START_SECONDS), self.log.read_text()

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        return pq.PGconn.ping(f"{self.url}&dbname=postgres".encode()) == pq.Ping.OK

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Stop the server in an orderly way: a primary sends everything to its standbys first."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End all processes of the server at once, as the loss of a machine does."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Stop all processes of the server without ending them, as a machine that hangs does."""
        for process in self._processes():
            process.suspend()

    def resume(self) -> None:
        for process in self._processes():
            process.resume()

    def promote(self) -> None:
        """Make this standby the primary of a new timeline, and wait until it accepts writes."""
        assert self.value("SELECT pg_promote(wait => true, wait_seconds => 30)")

    def configure(self, **settings: str) -> None:
        """Change settings in the server's file, and let it read them."""
        for name, value in settings.items():
            self.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
        self.execute("SELECT pg_reload_conf()")

    def execute(self, statement: str | sql.Composed, *parameters: object) -> psycopg.Cursor[Any]:
        """Run a statement on the server's own connection, in autocommit mode."""
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self.url, autocommit=True)
        query = statement.encode() if isinstance(statement, str) else statement
        return self._connection.execute(query, parameters or None)

    def value(self, statement: str, *parameters: object) -> Any:
        """Return the first column of the first row."""
        row = self.execute(statement, *parameters).fetchone()
        assert row is not None
        return row[0]

    def is_standby(self) -> bool:
        return bool(self.value("SELECT pg_is_in_recovery()"))

    def wait_until_like(self, primary: Server) -> None:
        """Wait until this standby has replayed everything that the primary has written."""
        written = primary.value("SELECT pg_current_wal_insert_lsn()::text")
        replayed = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        assert eventually(lambda: bool(self.value(replayed, written)), _START_SECONDS)

    def _processes(self) -> list[psutil.Process]:
        if not self.is_running():
            return []
        assert self._process is not None
        postmaster = psutil.Process(self._process.pid)
        return [postmaster, *postmaster.children()]

    def _end(self, by: signal.Signals) -> None:
        processes = self._processes()
        if by == signal.SIGINT:
            processes = processes[:1]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(by)
        if self._process is not None:
            self._process.wait(_START_SECONDS)
        if self._connection is not None:
            self._connection.close()
        # The number in them may belong to another process by now.
        for lock in (self.data / "postmaster.pid", self.folder / f".s.PGSQL.{PORT}.lock"):
            lock.unlink(missing_ok=True)

    def _prepare_folder(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._own(self.folder)

    def _own(self, path: Path) -> None:
        if (user := server_user(self.folder)) is not None:
            os.chown(path, user.uid, user.gid)

    def _run(self, program: str, *arguments: object) -> None:
        done = subprocess.run(
            [binaries() / program, *map(str, arguments)],
            **_as_user(server_user(self.folder)),
            cwd=self.folder,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


@dataclass
class Replicated:
    """A primary and its standbys."""

    primary: Server
    standbys: list[Server] = field(default_factory=list)

    @property
    def servers(self) -> list[Server]:
        return [self.primary, *self.standbys]

    @property
    def url(self) -> str:
        """URL of all servers, in the order in which they were made, that leads to one which accepts writes."""
        return url_of(self.servers, target_session_attrs="read-write")

    def make_synchronous(self) -> None:
        """Let each commit wait until one standby shows its changes."""
        names = "ANY 1 (*)"
        self.primary.configure(synchronous_standby_names=names, synchronous_commit="remote_apply")
        count = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'"
        assert eventually(lambda: self.primary.value(count) == len(self.standbys), _START_SECONDS)

    def wait_until_replayed(self) -> None:
        """Wait until all standbys show what the primary shows."""
        for standby in self.standbys:
            standby.wait_until_like(self.primary)


def url_of(servers: Sequence[Server], **parameters: str) -> str:
    """URL of the gallery's database on one or several servers."""
    hosts = quote(",".join(str(server.folder) for server in servers), safe="/,")
    options = "".join(f"&{name}={value}" for name, value in parameters.items())
    return f"postgresql://{USER}@/{DATABASE}?host={hosts}&port={PORT}{options}"


def standby_names(primary: Server) -> list[str]:
    """Return the names of the standbys that stream from a primary."""
    return [name for (name,) in primary.execute("SELECT application_name FROM pg_stat_replication").fetchall()]


@contextmanager
def replicated(standbys: int = 1, *, synchronous: bool = False) -> Iterator[Replicated]:
    """Run a primary with an empty database and its standbys. They are deleted at the end, whatever became of them.

    With `synchronous`, a commit waits until a standby shows it. Otherwise, a standby may miss the last commits.
    """
    with servers_folder() as folder:
        group = Replicated(Server(folder, "a"))
        try:
            group.primary.create()
            for name in "bcdefgh"[:standbys]:
                group.standbys.append(Server(folder, name))
                group.standbys[-1].create_standby_of(group.primary)
            if synchronous:
                group.make_synchronous()
            yield group
        finally:
            for server in group.servers:
                server.kill()


@contextmanager
def servers_folder() -> Iterator[Path]:
    """Make a folder that the servers' user can pass through, with a path that is short enough for sockets."""
    place = str(_SHARED_MEMORY) if os.access(_SHARED_MEMORY, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="pgface-replicas-", dir=place))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _as_user(user: ServerUser | None) -> dict[str, Any]:
    return {"user": user.uid, "group": user.gid, "extra_groups": []} if user else {}
