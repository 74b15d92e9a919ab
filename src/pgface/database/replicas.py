"""Searches on replicas that show every change which was committed before the search began.

Each search asks the primary for the end of its log. A replica may answer once it shows the log up to there. If no
replica does so within a moment, the primary answers. So a search finds a face that was enrolled just before, also by
another process or by SQL, and it does not find a person who was deleted just before.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar
from weakref import WeakSet

from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.rows import BaseRowFactory, dict_row, tuple_row
from psycopg_pool import ConnectionPool, PoolTimeout

from pgface.database.connection import GalleryConnection
from pgface.database.errors import wrap_psycopg_errors
from pgface.database.replica_lag import LagClock, ReplicaLag
from pgface.database.sql import queries
from pgface.errors import DatabaseError, SettingsError
from pgface.system.forks import leave_to_parent, renew_after_fork

Result = TypeVar("Result")
Pool = ConnectionPool[GalleryConnection]
Outcome = Literal["answered", "behind", "busy", "lost"]
"""What came of asking a replica: it answered, or was behind, had no free connection, or could not be reached."""
Observer = Callable[[str, Outcome], None]
"""A function that gets the name of a server and the outcome of each search there."""
PRIMARY: Final = "primary"
"""The name of the primary for observers. It answers what no replica has answered."""

_MAX_WAIT = 0.1
"""Seconds that a search waits for replicas. A search on the primary takes less than that."""
_MAX_ANSWER = 2.0
"""Seconds in which a replica has to say how far it is. One that hangs says nothing, although it accepts connections."""
_POLL = 0.002
_PAUSE_BEHIND = 1.0
"""Seconds for which searches do not wait for a replica that was behind."""
_PAUSE_LOST = 5.0
"""Seconds for which searches do not ask a replica that could not be reached."""
_CONNECT_TIMEOUT = 3
_LIVELINESS = {
    # A replica whose machine is gone is noticed within seconds, also while it answers.
    "connect_timeout": _CONNECT_TIMEOUT,
    "keepalives_idle": 5,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
}
_log = logging.getLogger(__name__)
_observers: list[Observer] = []


def observe_searches(observer: Observer) -> None:
    """Report every search of this process on a replica to an observer. One that is added twice is called once."""
    if observer not in _observers:
        _observers.append(observer)


def _observe(server: str, outcome: Outcome) -> None:
    for observer in _observers:
        observer(server, outcome)


@dataclass(frozen=True, slots=True)
class Position:
    """The end of the primary's log."""

    position: str | None
    """None if the server is not a primary."""
    timeline: str | None


class _NotUsableError(Exception):
    """The replica cannot answer this search."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class Replicas:
    """The replicas of PGFACE_READ_URL. Their connections are opened at the first search."""

    def __init__(self, url: str, identity: Callable[[], list[Any]], new_pool: Callable[[str], Pool]) -> None:
        """Use each host of a URL as a replica.

        Args:
            url: the URL, with one host or several.
            identity: returns what `database_identity` finds on the primary.
            new_pool: creates a closed pool of connections to a URL.

        """
        self._identity = identity
        self._replicas = [_Replica(name, url, new_pool) for name, url in _hosts(url)]
        self._opening = threading.Lock()
        self._is_open = False
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Connect again at the first search in a child process."""
        self._opening = threading.Lock()
        self._is_open = False
        for replica in self._replicas:
            replica.leave_to_parent()

    def open(self) -> None:
        """Open the connections, if they are not open.

        Raises:
            SettingsError: a replica that can be reached belongs to another primary.

        """
        with self._opening:
            if not self._is_open:
                identity = self._identity()
                try:
                    for replica in self._replicas:
                        replica.open(identity)
                except SettingsError:
                    self.close()
                    raise
                self._is_open = True

    def close(self) -> None:
        """Close the connections."""
        for replica in self._replicas:
            replica.close()

    def answer(
        self,
        position: Position,
        schema_name: str,
        run: Callable[[Any], Result],
        row_factory: BaseRowFactory[Any],
    ) -> tuple[Result] | None:
        """Run a search on a replica that shows the primary's log up to a position. None if no replica does in time."""
        self.open()
        wait_until = time.monotonic() + _MAX_WAIT
        for replica in random.sample(self._replicas, len(self._replicas)):
            outcome: Outcome = "answered"
            try:
                return (replica.run(position, wait_until, schema_name, run, row_factory),)
            except _NotUsableError as error:
                outcome = error.outcome
            finally:
                _observe(replica.name, outcome)
        _observe(PRIMARY, "answered")
        return None

    def lags(self, position: Position) -> dict[str, ReplicaLag | None]:
        """Measure how far each replica is behind a position of the primary. None for one that cannot be used."""
        self.open()
        return {replica.name: replica.lag(position) for replica in self._replicas}


class _Replica:
    """One host of the URL."""

    def __init__(self, name: str, url: str, new_pool: Callable[[str], Pool]) -> None:
        self.name = name
        """The host and the port."""
        self._url = url
        self._new_pool = new_pool
        self._pool: Pool | None = None
        self._places = threading.BoundedSemaphore()
        """As many as the pool may have connections. So a pool without a free one is not taken for a lost replica."""
        self._identity: list[Any] = []
        self._checked: WeakSet[GalleryConnection] = WeakSet()
        """The connections that lead to the right database."""
        self._clock = LagClock()
        self._behind_at = -math.inf
        self._lost_at = -math.inf

    def open(self, identity: list[Any]) -> None:
        """Open the connections. A replica that cannot be reached is tried again later."""
        self._identity = identity
        self._lost_at = -math.inf
        self._pool = self._new_pool(self._url)
        self._places = threading.BoundedSemaphore(self._pool.max_size)
        self._pool.open()
        try:
            with self._borrowed(_CONNECT_TIMEOUT):
                pass
        except _NotUsableError as error:
            if isinstance(error.__cause__, SettingsError):
                raise error.__cause__ from None
            _log.warning("The replica %s cannot be reached. The primary answers until it can.", self.name)

    def close(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def leave_to_parent(self) -> None:
        """Leave the connections to the parent of a forked process."""
        leave_to_parent(self._pool)
        self._pool = None

    def run(
        self,
        position: Position,
        wait_until: float,
        schema_name: str,
        run: Callable[[Any], Result],
        row_factory: BaseRowFactory[Any],
    ) -> Result:
        """Run a search as soon as the replica shows a position."""
        with self._borrowed() as connection:
            connection.switch(schema_name)
            connection.register_vectors()
            cursor = connection.reading_cursor
            # Behind a pooler, only a transaction stays on the server that was asked for its position.
            with nullcontext() if connection.has_session else connection.gallery_transaction():
                self._wait_for(cursor, position, wait_until)
                cursor.row_factory = row_factory
                connection.answer_within = None
                found = run(cursor)
                connection.require_same_schema()
                return found

    def lag(self, position: Position) -> ReplicaLag | None:
        """Measure how far the replica is behind. None if it cannot be used."""
        try:
            with self._borrowed() as connection, connection.cursor(row_factory=dict_row) as cursor:
                (found,) = cursor.execute(queries()["replayed_position"], _values(position)).fetchall()
        except _NotUsableError:
            return None
        if found["bytes"] is None:
            return None
        missing = max(found["bytes"], 0)
        return ReplicaLag(
            missing, self._clock.seconds(is_current=missing == 0, since_commit=found["seconds_since_commit"])
        )

    @contextmanager
    def _borrowed(self, timeout: float = _MAX_WAIT) -> Iterator[GalleryConnection]:
        """Borrow a connection. If there is no working one, the replica is left alone for a moment."""
        if self._pool is None or time.monotonic() - self._lost_at < _PAUSE_LOST:
            raise _NotUsableError("lost")
        if not self._places.acquire(timeout=timeout):
            raise _NotUsableError("busy")
        try:
            with self._connection(self._pool, timeout) as connection:
                yield connection
        finally:
            self._places.release()

    @contextmanager
    def _connection(self, pool: Pool, timeout: float) -> Iterator[GalleryConnection]:
        try:
            connection = pool.getconn(timeout)
            while connection.opened_at < self._lost_at:  # it is lost as well
                connection.close()
                pool.putconn(connection)
                connection = pool.getconn(timeout)
        except PoolTimeout:
            self._lost_at = time.monotonic()
            raise _NotUsableError("lost") from None
        try:
            with wrap_psycopg_errors():
                connection.answer_within = _MAX_ANSWER
                self._require_same_database(connection)
                yield connection
        except SettingsError as error:
            self._lost_at = time.monotonic()
            _log.error("The primary answers. %s", error)
            raise _NotUsableError("lost") from error
        except DatabaseError as error:  # it was lost, or the replica had to apply changes, or lacks a new gallery
            if connection.broken or connection.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self._lost_at = time.monotonic()
                connection.close()
            _log.info("The primary answers, because the replica %s did not. %s", self.name, error)
            raise _NotUsableError("lost") from error
        finally:
            pool.putconn(connection)

    def _require_same_database(self, connection: GalleryConnection) -> None:
        """Check a new connection, because positions of two databases cannot be compared."""
        if connection in self._checked:
            return
        if connection.execute(queries()["database_identity"]).fetchall() != self._identity:
            raise SettingsError(
                f"PGFACE_READ_URL leads to another database than PGFACE_DATABASE_URL at {self.name}. Give the URL of "
                "its replicas."
            )
        self._checked.add(connection)

    def _wait_for(self, cursor: Any, position: Position, wait_until: float) -> None:
        if time.monotonic() - self._behind_at < _PAUSE_BEHIND:
            wait_until = 0.0
        cursor.row_factory = tuple_row
        while True:
            ((missing, _),) = cursor.execute(queries()["replayed_position"], _values(position)).fetchall()
            if missing is not None and missing <= 0:
                self._clock.seconds(is_current=True)
                return
            if missing is None or time.monotonic() > wait_until:
                self._behind_at = time.monotonic()
                raise _NotUsableError("behind")
            time.sleep(_POLL)


def _values(position: Position) -> dict[str, Any]:
    return {"position": position.position, "timeline": position.timeline}


def _hosts(url: str) -> Iterator[tuple[str, str]]:
    """Split a URL into the name and the URL of each of its hosts."""
    options: dict[str, Any] = conninfo_to_dict(url)
    several = {name: str(options[name]).split(",") for name in ("host", "hostaddr", "port") if options.get(name)}
    count = max((len(values) for values in several.values()), default=1)
    for number in range(count):
        own = {name: values[number if len(values) > 1 else 0] for name, values in several.items()}
        host = own.get("host") or own.get("hostaddr") or "localhost"
        yield f"{host}:{own.get('port') or 5432}", make_conninfo(**(_LIVELINESS | options | own))
