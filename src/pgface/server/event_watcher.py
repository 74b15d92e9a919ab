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


class _Gallery:
    """What the waiting requests of one gallery share."""

    def __init__(self) -> None:
        self.waiting = 0
        self.newest: str | None = None
        self.changed = asyncio.Event()
        self.watching: asyncio.Task[None] | None = None


class EventWatcher:
    """Wakes the waiting requests of a process when there is a new event. One query for each gallery looks for it.

    All methods run in the event loop's thread, so there is no lock.
    """

    def __init__(self) -> None:
        self._callers: Counter[tuple[object, str]] = Counter()
        """The waiting requests of each caller of a gallery."""
        self._galleries: dict[object, _Gallery] = {}
        """The galleries with waiting requests."""

    @property
    def waiting(self) -> int:
        """The number of waiting requests."""
        return self._callers.total()

    async def wait(
        self,
        read: Read,
        newest: Newest,
        *,
        gallery: object,
        after: str | None,
        seconds: float,
        caller: str,
        disconnected: Awaitable[None],
    ) -> EventPage:
        """Read the events after a cursor. If none follows, wait for one.

        Args:
            read: reads a page of events.
            newest: finds the newest event.
            gallery: the gallery of the events.
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
            with self._place(gallery, caller) as place:
                while True:
                    # Before the events are read, so that one that is written afterwards wakes this request.
                    changed = place.changed
                    page = await read(after)
                    left = ends - asyncio.get_running_loop().time()
                    if page.events or left <= 0 or gone.done():
                        return page
                    after = page.next_cursor
                    if place.watching is None or place.watching.done():
                        place.watching = asyncio.create_task(_look_for_events(place, newest))
                    woken = asyncio.ensure_future(changed.wait())
                    await asyncio.wait((woken, gone), timeout=left, return_when=asyncio.FIRST_COMPLETED)
                    woken.cancel()
        finally:
            gone.cancel()

    @contextmanager
    def _place(self, gallery: object, caller: str) -> Iterator[_Gallery]:
        if self.waiting >= _MAX_WAITING or self._callers[gallery, caller] >= _MAX_OF_CALLER:
            raise ServiceBusyError(
                "Too many requests wait for events. Try again later, or use one request for a reader."
            )
        place = self._galleries.setdefault(gallery, _Gallery())
        place.waiting += 1
        self._callers[gallery, caller] += 1
        try:
            yield place
        finally:
            self._callers -= Counter({(gallery, caller): 1})  # drops callers without a waiting request
            place.waiting -= 1
            if not place.waiting:
                del self._galleries[gallery]


async def _look_for_events(place: _Gallery, newest: Newest) -> None:
    """Look for new events while a request waits."""
    while place.waiting:
        try:
            found = await newest()
        except PgfaceError as error:  # the waiting requests find out when they read
            _log.warning("New events could not be looked for. %s", error)
        else:
            if found != place.newest:
                place.newest = found
                woken, place.changed = place.changed, asyncio.Event()
                woken.set()
        await asyncio.sleep(_PAUSE)
