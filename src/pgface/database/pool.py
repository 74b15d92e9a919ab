"""A pool of connections to one gallery, on the embedded PostgreSQL or on yours."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any, LiteralString, Self, TypeVar

import psycopg
from psycopg import Connection
from psycopg.errors import DeadlockDetected
from psycopg.rows import BaseRowFactory, class_row, dict_row, scalar_row, tuple_row
from psycopg_pool import ConnectionPool

from pgface.database.connection import GalleryConnection, Pooling
from pgface.database.embedded.server import EmbeddedPostgres
from pgface.database.errors import connection_error, wrap_psycopg_errors
from pgface.database.migrate import migrate, require_current
from pgface.database.primary import servers_of
from pgface.database.registry import registered, upgrade
from pgface.database.replica_lag import ReplicaLag, ReplicaWatch, any_lag
from pgface.database.replicas import Position, Replicas
from pgface.database.session import set_up_session
from pgface.database.sql import Migration, queries
from pgface.errors import (
    DatabaseError,
    DatabaseUnreachableError,
    ReadOnlyError,
    SessionNeededError,
    SettingsError,
    TableLockedError,
)
from pgface.settings import Settings
from pgface.system.forks import leave_to_parent, renew_after_fork

Row = TypeVar("Row")
Result = TypeVar("Result")

_log = logging.getLogger("pgface.database")
_MAX_IDLE = 60.0
"""Seconds after which an unused connection is closed."""
_MAX_LIFETIME = 3600.0
"""Seconds after which a connection is replaced."""
_MAX_LIFETIME_WITH_STANDBYS = 60.0
_TURN_TIMEOUT = 10.0
"""Seconds that `transaction_alone` waits for other threads of this process."""
_ONE_TRY = 0.1
"""Seconds to connect again to a replica. Its searches say when to try again."""
_CONNECTION: dict[str, Any] = {
    "autocommit": True,
    "application_name": "pgface",
    # Overrides PGCLIENTENCODING, and the settings of a database or a role.
    "client_encoding": "UTF8",
    # `enter` changes it if no other client uses the same session.
    "prepare_threshold": None,
}


class Database:
    """Runs the named statements of `sql/queries/` in one gallery's schema."""

    def __init__(
        self,
        pool: ConnectionPool[GalleryConnection] | None,
        resources: ExitStack,
        url: str,
        embedded: EmbeddedPostgres | None,
        settings: Settings,
    ) -> None:
        self._settings = settings
        self._opened_pool: ConnectionPool[GalleryConnection] | None = pool
        self._opening = threading.Lock()
        self._resources = resources
        self._embedded = embedded
        self._parent: Database | None = None
        self.is_lost = False
        """Whether the last attempt to reach PostgreSQL failed."""
        self.url = url
        """PostgreSQL's URL. It may contain a password, so never print it."""
        given = None if settings.direct_url is None else settings.direct_url.get_secret_value()
        self._direct_url = None if given == url else given
        self._alone = threading.Lock()
        self._watch = ReplicaWatch(settings.max_replica_lag)
        self._replicas: Replicas | None = None
        if settings.read_url is not None:
            self._replicas = Replicas(
                settings.read_url.get_secret_value(),
                lambda: self.read("database_identity", row_factory=tuple_row),
                lambda url: _replica_pool(url, settings),
            )
        renew_after_fork(self)

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Connect to the gallery.

        Raises:
            DatabaseUnreachableError, DatabaseAccessError: no connection. The message says why.
            EmbeddedPostgresError: the embedded server did not start.
            SchemaMissingError, SchemaTooNewError: there is no gallery that this program can use.

        """
        with ExitStack() as resources:
            url, embedded = _start(settings, resources)
            with _connect(url, settings) as connection, wrap_psycopg_errors():
                connection.enter(settings.schema_name, settings.pooling)
                with connection.gallery_transaction():
                    require_current(connection)
            pool = _open_pool(url, settings)
            return cls(pool, resources.pop_all(), url, embedded, settings)

    @classmethod
    def sharing(cls, parent: Self, schema_name: str) -> Self:
        """Open another gallery of the same database with the same connections. Closing it leaves them open.

        Each use of a connection checks at its end that the schema still exists (see `require_same_schema`).
        """
        settings = parent._settings.model_copy(update={"schema_name": schema_name})
        database = cls(None, ExitStack(), parent.url, None, settings)
        database._parent = parent
        database._watch, database._replicas = parent._watch, parent._replicas
        return database

    @property
    def direct_url(self) -> str:
        """A URL of the primary without a pooler, for programs such as pg_dump. It may contain a password, too.

        Raises:
            DatabaseUnreachableError, DatabaseAccessError: no server in the URL is the primary.

        """
        return servers_of(self._direct_url or self.url, self._settings.data_dir).primary()

    @property
    def _pool(self) -> ConnectionPool[GalleryConnection]:
        if self._parent is not None:
            return self._parent._pool
        if self._opened_pool is None:
            with self._opening:
                self._opened_pool = self._opened_pool or _open_pool(self.url, self._settings)
        return self._opened_pool

    def after_fork(self) -> None:
        """Connect again at the first use in a child process, which cannot use the parent's connections and threads."""
        leave_to_parent(self._opened_pool)
        self._opened_pool = None
        self._opening = threading.Lock()
        self._alone = threading.Lock()
        self._watch.after_fork()

    def close(self) -> None:
        """Close the connections. The last client also stops the embedded server."""
        if self._opened_pool is not None:
            self._opened_pool.close()
        if self._parent is None and self._replicas is not None:
            self._replicas.close()
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield a connection in a transaction. It commits at the end, and rolls back on an error."""
        try:
            with wrap_psycopg_errors(), self._borrowed() as connection, connection.gallery_transaction():
                yield connection
                self._require_same_schema(connection)
        except DatabaseUnreachableError:
            self.is_lost = True
            self._recover()
            raise
        self.is_lost = False

    @contextmanager
    def transaction_alone(self) -> Iterator[Connection]:
        """Yield a connection in a transaction that runs alone in this process.

        Use it for transactions that wait for the same lock. Otherwise they would all occupy connections while they
        wait.

        Raises:
            TableLockedError: the transactions of other threads took too long.

        """
        if not self._alone.acquire(timeout=_TURN_TIMEOUT):
            raise TableLockedError
        try:
            with self.transaction() as connection:
                yield connection
        finally:
            self._alone.release()

    @contextmanager
    def autocommit(self) -> Iterator[Connection]:
        """Yield a connection outside a transaction, for statements that cannot run in one.

        Raises:
            SessionNeededError: as for `dedicated_connection`.

        """
        with wrap_psycopg_errors(), self._borrowed() as connection:
            if connection.has_session:
                yield connection
                self._require_same_schema(connection)
                return
        with self.dedicated_connection() as own:
            yield own

    @contextmanager
    def dedicated_connection(self) -> Iterator[Connection]:
        """Open a connection outside the pool and outside a transaction, for work that takes minutes.

        Raises:
            SessionNeededError: there is a transaction pooler, and PGFACE_DIRECT_URL is not set.
            SettingsError: PGFACE_DIRECT_URL leads to another database.

        """
        with wrap_psycopg_errors(), _connect(self._direct_url or self.url, self._settings) as connection:
            # The setting for the pooler does not apply to the direct connection.
            _configure(connection, self._settings, "auto" if self._direct_url else self._settings.pooling)
            if not connection.has_session:
                raise SessionNeededError
            if self._direct_url:
                self._require_same_database(connection)
            yield connection

    def _require_same_database(self, connection: Connection) -> None:
        direct = connection.execute(queries()["database_identity"]).fetchall()
        if direct != self.read("database_identity", row_factory=tuple_row):
            raise SettingsError(
                "PGFACE_DIRECT_URL leads to another database than PGFACE_DATABASE_URL. "
                "Set it to the same database, without the pooler."
            )

    def execute(self, name: str, parameters: Mapping[str, Any] | None = None) -> int:
        """Run one statement in its own transaction, and return the number of its rows."""
        with self.transaction() as connection:
            return connection.execute(queries()[name], parameters).rowcount

    def read(
        self, name: str, parameters: Mapping[str, Any] | None = None, *, row_factory: BaseRowFactory[Row]
    ) -> list[Row]:
        """Run one statement that only reads. After a lost connection or a deadlock, run it again."""

        def run(cursor: Any) -> list[Row]:
            rows: list[Row] = cursor.execute(queries()[name], parameters).fetchall()
            return rows

        return self._run_again_if_interrupted(run, row_factory)

    def read_each(
        self, name: str, parameters: Sequence[Mapping[str, Any]], *, row_factory: BaseRowFactory[Row]
    ) -> list[list[Row]]:
        """Run a statement that only reads for several sets of parameters, without waiting for each result."""

        run = partial(_read_each, queries()[name], parameters)
        return self._run_again_if_interrupted(run, row_factory) if parameters else []

    def search(
        self, name: str, parameters: Mapping[str, Any] | None = None, *, row_factory: BaseRowFactory[Row]
    ) -> list[Row]:
        """Do the same as `read`, on a replica if PGFACE_READ_URL names some. It sees what was committed before."""
        return self.search_each(name, [parameters or {}], row_factory=row_factory)[0]

    def search_each(
        self, name: str, parameters: Sequence[Mapping[str, Any]], *, row_factory: BaseRowFactory[Row]
    ) -> list[list[Row]]:
        """Do the same as `read_each`, on a replica if PGFACE_READ_URL names some."""
        run = partial(_read_each, queries()[name], parameters)
        if self._replicas is not None and parameters:
            position = self._written_position()
            if position.position is not None:
                answer = self._replicas.answer(position, self._settings.schema_name, run, row_factory)
                if answer is not None:
                    return answer[0]
        return self._run_again_if_interrupted(run, row_factory) if parameters else []

    def replica_lag(self) -> ReplicaLag | None:
        """Measure how far the server of PGFACE_DATABASE_URL is behind its primary. None if it is a primary itself."""
        # In a transaction, which is tried once: a health check must not wait for a lost server.
        with any_lag(), self.transaction() as connection, connection.cursor(row_factory=dict_row) as cursor:
            return self._watch.update(cursor.execute(queries()["replica_state"]).fetchall()[0])

    def is_behind(self, lag: ReplicaLag | None) -> bool:
        """Whether the server of PGFACE_DATABASE_URL is further behind than PGFACE_MAX_REPLICA_LAG allows."""
        return self._watch.exceeds_limit(lag)

    def is_replica(self) -> bool:
        """Whether the server of PGFACE_DATABASE_URL is a replica now."""
        with any_lag():
            (found,) = self.read("is_replica", row_factory=scalar_row)
        return bool(found)

    def require_primary(self) -> None:
        """Check that the gallery can be changed, before work that would be useless otherwise.

        Raises:
            ReadOnlyError: the server of PGFACE_DATABASE_URL is a replica.

        """
        if self.is_replica():
            raise ReadOnlyError

    def lags_of_replicas(self) -> dict[str, ReplicaLag | None]:
        """Measure how far each replica of PGFACE_READ_URL is behind, by host. None for one that cannot be used."""
        if self._replicas is None:
            return {}
        return self._replicas.lags(self._written_position())

    def open_replicas(self) -> None:
        """Connect to the replicas of PGFACE_READ_URL now, and not at the first search.

        Raises:
            SettingsError: a replica that can be reached belongs to another primary.

        """
        if self._replicas is not None:
            self._replicas.open()

    def _written_position(self) -> Position:
        (position,) = self.read("written_position", row_factory=class_row(Position))
        return position

    def _run_again_if_interrupted(self, run: Callable[[Any], Result], row_factory: BaseRowFactory[Row]) -> Result:
        try:
            return self._run(run, row_factory)
        except DatabaseUnreachableError:
            self._recover()
            self.is_lost = True
            result = self._run(run, row_factory)
            self.is_lost = False
            return result
        except DatabaseError as error:
            if not isinstance(error.__cause__, DeadlockDetected):
                raise
            return self._run(run, row_factory)  # another transaction was deleting the tables of a gallery

    @contextmanager
    def _borrowed(self) -> Iterator[GalleryConnection]:
        with self._pool.connection() as connection:
            self._enter(connection)
            yield connection

    def _enter(self, connection: GalleryConnection) -> None:
        """Let names lead to this gallery, also on a connection that another gallery used before."""
        self._watch.require_limit(connection)
        connection.switch(self._settings.schema_name)
        connection.register_vectors()

    def _require_same_schema(self, connection: GalleryConnection) -> None:
        # The schema of a gallery that does not share its connections can only be dropped by hand.
        if self._parent is not None:
            connection.require_same_schema()

    def _recover(self) -> None:
        """Restore working connections for the next try."""
        if self._parent is not None:
            self._parent._recover()
            return
        if self._embedded is not None:
            with self._embedded:  # starts the server if it was killed
                pass
        self._pool.check()

    def _run(self, run: Callable[[Any], Result], row_factory: BaseRowFactory[Row]) -> Result:
        # Without the pool's context manager, and with one cursor for all reads: both took a quarter of the time of a
        # verification.
        with wrap_psycopg_errors():
            connection = self._pool.getconn()
            try:
                self._enter(connection)
                cursor = connection.reading_cursor
                cursor.row_factory = row_factory
                with nullcontext() if connection.has_session else connection.gallery_transaction():
                    found = run(cursor)
                    self._require_same_schema(connection)
                    return found
            finally:
                self._pool.putconn(connection)


def _read_each(statement: LiteralString, parameters: Sequence[Mapping[str, Any]], cursor: Any) -> list[list[Any]]:
    if len(parameters) == 1:
        return [cursor.execute(statement, parameters[0]).fetchall()]
    cursor.executemany(statement, parameters, returning=True)
    results = [cursor.fetchall()]
    while cursor.nextset():
        results.append(cursor.fetchall())
    return results


def _open_pool(url: str, settings: Settings) -> ConnectionPool[GalleryConnection]:
    servers = servers_of(url, settings.data_dir)
    options = _CONNECTION | {"connect_timeout": _timeout(settings)}

    used = ""

    def find_server() -> str:
        nonlocal used
        before = used
        used = servers.wait_for_primary(settings.connect_timeout, is_closed=lambda: pool.closed)
        if before not in ("", used):
            pool.drain()  # the other connections are to a server that was replaced
        return used

    pool = ConnectionPool(
        url,
        connection_class=GalleryConnection,
        kwargs=options | {"find_server": find_server} if servers.are_several else options,
        configure=partial(GalleryConnection.set_up, pooling=settings.pooling),
        min_size=1,
        max_size=settings.pool_size,
        timeout=settings.connect_timeout,
        # Each failed try doubles the pause before the next one. A request after this time starts with a short pause
        # again, so that pgface finds a server within seconds after a long interruption.
        reconnect_timeout=settings.connect_timeout,
        # Few connections, because they take turns: a search is a tenth slower if its server process was idle.
        max_idle=_MAX_IDLE,
        # A new connection finds out whether another server has become the primary.
        max_lifetime=_MAX_LIFETIME_WITH_STANDBYS if servers.are_several else _MAX_LIFETIME,
        open=False,
    )
    with ExitStack() as undo:
        undo.callback(pool.close)
        with wrap_psycopg_errors():
            pool.open(wait=True, timeout=settings.connect_timeout)
        undo.pop_all()
    return pool


def initialise(settings: Settings) -> list[Migration]:
    """Create the gallery's schema or upgrade it, and return the migrations that were run.

    This upgrades also the galleries of the same database that are older in its registry. If one of them fails, it is
    logged, and opening that gallery is an error.

    Raises:
        DatabaseError: for the reasons of `Database.open` and `pgface.database.migrate.migrate`.

    """
    with connected(settings) as connection:
        ran = migrate(connection, settings.schema_name)
        for entry in registered(connection, settings.schema_name):
            if entry.is_old and entry.url is None:
                upgraded = upgrade(connection, entry, connection, settings.schema_name)
                if upgraded.error is not None:
                    _log.warning("The gallery %s could not be upgraded: %s", upgraded.name, upgraded.error)
        return ran


@contextmanager
def connected(settings: Settings, *, session: bool = False) -> Iterator[Connection]:
    """Yield a connection to the server outside a transaction, whether or not there is a gallery.

    With `session`, the connection keeps its session, and uses PGFACE_DIRECT_URL if that is set.

    Raises:
        DatabaseUnreachableError, DatabaseAccessError, EmbeddedPostgresError: no connection. The message says why.
        SessionNeededError: the caller needs a session, and there is a transaction pooler.

    """
    with ExitStack() as resources:
        url, _ = _start(settings, resources)
        pooling = settings.pooling
        if session and settings.direct_url is not None:
            url, pooling = settings.direct_url.get_secret_value(), "auto"
        with _connect(url, settings) as connection:
            pooled = connection.is_pooled(pooling)
            if session and pooled:
                raise SessionNeededError
            if not pooled:
                set_up_session(connection)
            yield connection


def _start(settings: Settings, resources: ExitStack) -> tuple[str, EmbeddedPostgres | None]:
    if settings.database_url is not None:
        return settings.database_url.get_secret_value(), None
    embedded = EmbeddedPostgres(settings.postgres_dir)
    url = embedded.start()
    resources.callback(embedded.release)
    return url, embedded


def _connect(url: str, settings: Settings) -> GalleryConnection:
    url = servers_of(url, settings.data_dir).primary()
    try:
        return GalleryConnection.connect(url, connect_timeout=_timeout(settings), **_CONNECTION)
    except psycopg.OperationalError as error:
        raise connection_error(error) from error


def _timeout(settings: Settings) -> int:
    return math.ceil(settings.connect_timeout)


def _replica_pool(url: str, settings: Settings) -> ConnectionPool[GalleryConnection]:
    """Create a closed pool of connections to a replica, whose searches say when to try again."""
    return ConnectionPool(
        url,
        connection_class=GalleryConnection,
        kwargs=_CONNECTION,
        configure=partial(GalleryConnection.set_up, pooling=settings.pooling),
        min_size=1,
        max_size=settings.pool_size,
        reconnect_timeout=_ONE_TRY,
        max_idle=_MAX_IDLE,
        open=False,
    )


def _configure(connection: GalleryConnection, settings: Settings, pooling: Pooling) -> None:
    connection.enter(settings.schema_name, pooling)
    connection.register_vectors()
