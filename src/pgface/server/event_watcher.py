"""Long polls: requests that wait for the next event without a thread and without a connection to PostgreSQL."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

from pgface.errors import PgfaceError, ServiceBusyError
from pgface.gallery.events import EventPage

_PAUSE: Final = 0.5
"""Seconds between two looks at the newest event. They are the delay of an event for a waiting request."""
_MAX_WAITING: Final = 100
"""The maximum of waiting requests in a process."""
_MAX_OF_CALLER: Final = 10
"""The maximum of waiting requests of one key or user, so that one program cannot take all places."""
_log = logging.getLogger(__name__)

Newest = Callable[[], Awaitable[str]]
"""Returns the cursor of the newest event."""
Read = Callable[[str | None], Awaitable[EventPage]]
"""Reads the events after a cursor."""


class EventWatcher:
    """Wakes the waiting requests of a process when there is a new event. One query for all of them looks for it.

    All methods run in the event loop's thread, so there is no lock.
    """

    def __init__(self) -> None:
        self._waiting: Counter[str] = Counter()
        self._newest: str | None = None
        self._changed = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    async def wait(
        self,
        read: Read,
        newest: Newest,
        *,
        after: str | None,
        seconds: float,
        caller: str,
        disconnected: Awaitable[None],
    ) -> EventPage:
        """Read the events after a cursor. If there are none, wait for them.

        Args:
            read: reads a page of events.
            newest: finds the newest event.
            after: the cursor.
            seconds: how long to wait. Then the page is empty.
            caller: the key or the user that waits.
            disconnected: ends when the client has closed the connection.

        Raises:
            ServiceBusyError: too many requests wait already.

        """
        ends = asyncio.get_running_loop().time() + seconds
        gone = asyncio.ensure_future(disconnected)
        try:
            with self._place(caller):
                while True:
                    # Before the events are read, so that one that is written afterwards wakes this request.
                    changed = self._changed
                    page = await read(after)
                    left = ends - asyncio.get_running_loop().time()
                    if page.events or left <= 0 or gone.done():
                        return page
                    after = page.next_cursor
                    self._watch(newest)
                    woken = asyncio.ensure_future(changed.wait())
                    await asyncio.wait((woken, gone), timeout=left, return_when=asyncio.FIRST_COMPLETED)
                    woken.cancel()
        finally:
            gone.cancel()

    @contextmanager
    def _place(self, caller: str) -> Iterator[None]:
        if self._waiting.total() >= _MAX_WAITING or self._waiting[caller] >= _MAX_OF_CALLER:
            raise ServiceBusyError(
                "Too many requests wait for events. Try again later, or use one request for a reader."
            )
        self._waiting[caller] += 1
        try:
            yield
        finally:
            self._waiting[caller] -= 1
            if not self._waiting[caller]:
                del self._waiting[caller]

    def _watch(self, newest: Newest) -> None:
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._look_for_events(newest))

    async def _look_for_events(self, newest: Newest) -> None:
        """Look for new events while a request waits."""
        while self._waiting:
            try:
                found = await newest()
            except PgfaceError as error:  # the waiting requests find out when they read
                _log.warning("New events could not be looked for. %s", error)
            else:
                if found != self._newest:
                    self._newest = found
                    woken, self._changed = self._changed, asyncio.Event()
                    woken.set()
            await asyncio.sleep(_PAUSE)
