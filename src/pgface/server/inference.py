"""Work in bounded pools: as much at once as there are workers, a little that waits, and no queue without end."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

from prometheus_client import Gauge

from pgface.errors import ServiceBusyError
from pgface.server import metrics

P = ParamSpec("P")
R = TypeVar("R")

_SHARE_OF_THE_UNNEEDED: Final = 4
"""One of so many places is the last that somebody gets who can do without."""


class WorkPool:
    """Runs what takes a processor's time in threads of its own, in the order of asking."""

    def __init__(self, workers: int, queue_size: int, *, waiting: Gauge, working: Gauge) -> None:
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="pgface-work")
        self._waiting = waiting
        self._working = working
        self._places = workers + queue_size
        self._taken = 0

    async def run(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Do it when a worker is free.

        Raises:
            ServiceBusyError: all workers are busy, and as many wait as may.

        """
        return await self._run(self._places, partial(work, *args, **kwargs))

    async def run_if_idle(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """The same for what can be done without: only where most places are free.

        Raises:
            ServiceBusyError: they are not.

        """
        return await self._run(max(1, self._places // _SHARE_OF_THE_UNNEEDED), partial(work, *args, **kwargs))

    async def _run(self, places: int, work: Callable[[], R]) -> R:
        if self._taken >= places:
            metrics.refused.inc()
            raise ServiceBusyError
        context = contextvars.copy_context()

        def begin() -> R:
            self._waiting.dec()
            with self._working.track_inprogress():
                return work()

        future = asyncio.wrap_future(self._executor.submit(context.run, begin))
        # Counted in one thread, the event loop's, so that it needs no lock.
        self._taken += 1
        self._waiting.inc()
        future.add_done_callback(self._leave)
        # Whoever asked may have gone: what has begun keeps its place until it is done.
        await asyncio.wait([future])
        return future.result()

    def close(self) -> None:
        """Wait for what is in work."""
        self._executor.shutdown()

    def _leave(self, future: asyncio.Future[Any]) -> None:
        self._taken -= 1
        if not future.cancelled():
            # Looked at, because asyncio logs an error that nobody has looked at, with a text that may tell of people.
            future.exception()


class BodyBudget:
    """Bytes of bodies that are in memory at once."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.free = total

    @contextmanager
    def share(self) -> Iterator[Share]:
        """What one body holds of it, until the block is left."""
        share = Share(self)
        try:
            yield share
        finally:
            self.free += share.held


class Share:
    """The bytes of one body."""

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self.held = 0

    def take(self, size: int) -> None:
        """Hold so many more; of more than there are at all, all.

        Raises:
            ServiceBusyError: so many are not free.

        """
        size = min(size, self._budget.total - self.held)
        if size > self._budget.free:
            metrics.refused.inc()
            raise ServiceBusyError
        self._budget.free -= size
        self.held += size
