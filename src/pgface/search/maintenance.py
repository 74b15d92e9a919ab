"""Keeps the search of an open gallery up to date, while others enroll and identify."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack, suppress

import psycopg

from pgface.database.pool import Database
from pgface.errors import PgfaceError
from pgface.search.fit import fit_search_if_due, refresh_templates
from pgface.search.state import read_search_state
from pgface.search.vector_index.lifecycle import try_vector_index_lock
from pgface.system.forks import renew_after_fork

_PAUSE = 1.0
"""Seconds between two rounds: one round makes the templates of all enrollments in between."""
_PAUSE_AFTER_FAILURE = 60.0
"""Seconds after a failed fit until the next try."""

log = logging.getLogger(__name__)


class SearchMaintainer:
    """Makes stale templates and fits the search when that is due, in its own thread.

    The thread starts with the first enrollment. A gallery that is closed at once still has its templates made. It
    leaves a fit that is due to the next gallery that stays open.
    """

    def __init__(self, database: Database, latency_target: float) -> None:
        self._database = database
        self._latency_target = latency_target
        self._begin()
        renew_after_fork(self)

    def _begin(self) -> None:
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._closing = threading.Event()
        self._fitting: psycopg.Connection | None = None
        self._not_before = 0.0

    def after_fork(self) -> None:
        """In a child process, start a new thread when there is something to do. The parent keeps its own."""
        self._begin()

    def notify(self) -> None:
        """Tell the thread that there is something to do."""
        self._changed.set()
        with self._lock:
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._run, name="pgface-search", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Make the templates that remain, cancel a running fit, and stop."""
        with self._lock:
            self._closing.set()
        self._changed.set()
        if self._thread is not None:
            while self._thread.is_alive():
                self._break_off()
                self._thread.join(0.1)

    def _run(self) -> None:
        while True:
            self._changed.wait()
            self._changed.clear()
            self._refresh()
            if self._closing.wait(_PAUSE):
                break
            try:
                self._fit_if_due()
            except PgfaceError as error:
                if not self._closing.is_set():
                    self._not_before = time.monotonic() + _PAUSE_AFTER_FAILURE
                    log.warning("The search goes on as it was, and will be fitted later. %s", error)
            if self._closing.is_set():
                break
        if not self._database.is_lost:  # otherwise this would wait for it once more
            self._refresh()  # users enrolled since

    def _refresh(self) -> None:
        with suppress(PgfaceError):  # until then these users are compared exactly
            while refresh_templates(self._database):
                pass

    def _fit_if_due(self) -> None:
        if time.monotonic() < self._not_before or not read_search_state(self._database).due:
            return
        with ExitStack() as resources:
            # Not one of the pool's connections, which other threads wait for.
            connection = resources.enter_context(self._database.dedicated_connection())
            if resources.enter_context(try_vector_index_lock(connection)):
                self._fitting = connection
                resources.callback(setattr, self, "_fitting", None)
                fit_search_if_due(connection, self._latency_target)

    def _break_off(self) -> None:
        connection = self._fitting
        if connection is not None:
            with suppress(psycopg.Error):  # it may just have ended by itself
                connection.cancel_safe()
