"""How far a replica is behind its primary, and the limit for it.

A replica does not know what it has not received. So the limit is about time: how long ago the replica certainly showed
everything that the primary had committed.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row

from pgface.database.connection import GalleryConnection
from pgface.database.sql import queries
from pgface.errors import ReplicaBehindError

_MAX_AGE = 1.0
"""Seconds for which a measurement is used again."""

_any_lag: ContextVar[bool] = ContextVar("any_lag", default=False)


@dataclass(frozen=True, slots=True)
class ReplicaLag:
    """How far a replica is behind its primary."""

    bytes: int | None
    """Bytes of the primary's log that the replica has received and does not show yet. None if it has received none."""
    seconds: float | None
    """Seconds since the replica certainly showed everything, 0 if it does now. None if that is not known."""


class LagClock:
    """Measures how long ago a replica showed everything that its primary had committed.

    PostgreSQL only knows when the last replayed transaction was committed. That time gets older while the primary is
    idle, although nothing is missing. So the clock also remembers when nothing was missing.
    """

    def __init__(self) -> None:
        self._current_at = -math.inf

    def seconds(self, *, is_current: bool, since_commit: float | None = None) -> float | None:
        """Return the seconds, at most `since_commit`, the age of the last replayed transaction. None if not known."""
        now = time.monotonic()
        if is_current:
            self._current_at = now
            return 0.0
        at_most = min(now - self._current_at, math.inf if since_commit is None else max(since_commit, 0.0))
        return None if math.isinf(at_most) else at_most


class ReplicaWatch:
    """Measures how far the server of a gallery is behind, if it is a replica, and refuses to use it beyond a limit."""

    def __init__(self, max_seconds: float) -> None:
        """Set the limit in seconds. 0 means no limit."""
        self._max_seconds = max_seconds
        self._clock = LagClock()
        self._lock = threading.Lock()
        self._measured_at = -math.inf
        self._lag: ReplicaLag | None = None

    def after_fork(self) -> None:
        """Replace the lock in a child process."""
        self._lock = threading.Lock()

    def update(self, state: Mapping[str, Any]) -> ReplicaLag | None:
        """Take what the server says with `replica_state`, and return how far it is behind. None for a primary."""
        self._lag = self._lag_of(state) if state["is_replica"] else None
        self._measured_at = time.monotonic()
        return self._lag

    def exceeds_limit(self, lag: ReplicaLag | None) -> bool:
        """Whether a server is further behind than the limit allows."""
        if lag is None or not self._max_seconds:
            return False
        return lag.seconds is None or lag.seconds > self._max_seconds

    def require_limit(self, connection: GalleryConnection) -> None:
        """Check that the server is not further behind than the limit allows.

        Raises:
            ReplicaBehindError: it is, and this is not in `any_lag`.

        """
        if connection.is_replica and not _any_lag.get() and self.exceeds_limit(self._recent(connection)):
            raise ReplicaBehindError

    def _recent(self, connection: GalleryConnection) -> ReplicaLag | None:
        with self._lock:
            if time.monotonic() - self._measured_at > _MAX_AGE:
                with connection.cursor(row_factory=dict_row) as cursor:
                    self.update(cursor.execute(queries()["replica_state"]).fetchall()[0])
            return self._lag

    def _lag_of(self, found: Mapping[str, Any]) -> ReplicaLag:
        is_current = found["is_connected"] and found["bytes"] == 0
        seconds = self._clock.seconds(is_current=is_current, since_commit=found["seconds_since_commit"])
        return ReplicaLag(found["bytes"], seconds)


@contextmanager
def any_lag() -> Iterator[None]:
    """Read from a replica that is behind the limit, too. Use it for what shows neither people nor photos."""
    token = _any_lag.set(True)
    try:
        yield
    finally:
        _any_lag.reset(token)
