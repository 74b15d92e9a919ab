"""Keeping the search of an open gallery up to date in the background."""

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

_SECONDS_BETWEEN_ROUNDS = 1.0
"""One round makes the templates of all enrollments since the last one."""
_SECONDS_AFTER_FAILURE = 60.0
"""The time from a failed fit to the next try."""

log = logging.getLogger(__name__)


class SearchMaintainer:
    """A thread that makes stale templates and fits the search when that is due.

    It starts with the first enrollment. If the gallery is closed soon after, it still makes the templates. A fit that
    is due is then left to the next gallery that stays open.
    """

    def __init__(self, database: Database, latency_target: float) -> None:
        self._database = database
        self._latency_target = latency_target
        self._reset()
        renew_after_fork(self)

    def _reset(self) -> None:
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._closing = threading.Event()
        self._fitting: psycopg.Connection | None = None
        self._not_before = 0.0

    def after_fork(self) -> None:
        """Start a new thread in a child process when there is work. The parent keeps its thread."""
        self._reset()

    def notify(self) -> None:
        """Wake the thread, because the gallery has changed."""
        self._changed.set()
        with self._lock:
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._run, name="pgface-search", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Make the remaining templates, cancel a running fit, and stop."""
        with self._lock:
            self._closing.set()
        self._changed.set()
        if self._thread is not None:
            while self._thread.is_alive():
                self._cancel_fit()
                self._thread.join(0.1)

    def _run(self) -> None:
        while True:
            self._changed.wait()
            self._changed.clear()
            self._refresh()
            if self._closing.wait(_SECONDS_BETWEEN_ROUNDS):
                break
            try:
                self._fit_if_due()
            except PgfaceError as error:
                if not self._closing.is_set():
                    self._not_before = time.monotonic() + _SECONDS_AFTER_FAILURE
                    log.warning("The search works as before, and pgface will fit it later. %s", error)
            if self._closing.is_set():
                break
        if not self._database.is_lost:  # otherwise this would wait for the database again
            self._refresh()  # users who were enrolled in the meantime

    def _refresh(self) -> None:
        with suppress(PgfaceError):  # users without templates are compared exactly
            while refresh_templates(self._database):
                pass

    def _fit_if_due(self) -> None:
        if time.monotonic() < self._not_before or not read_search_state(self._database).due:
            return
        with ExitStack() as resources:
            # A separate connection, because other threads wait for those of the pool.
            connection = resources.enter_context(self._database.dedicated_connection())
            if resources.enter_context(try_vector_index_lock(connection)):
                self._fitting = connection
                resources.callback(setattr, self, "_fitting", None)
                fit_search_if_due(connection, self._latency_target)

    def _cancel_fit(self) -> None:
        connection = self._fitting
        if connection is not None:
            with suppress(psycopg.Error):  # the fit may have ended in the meantime
                connection.cancel_safe()
