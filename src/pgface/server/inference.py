"""Photos in work: as many at once as there are workers, a few that wait, and no queue without end."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Final, ParamSpec, TypeVar

from pgface.errors import ServiceBusyError
from pgface.server import metrics

P = ParamSpec("P")
R = TypeVar("R")

_SHARE_OF_THE_UNNEEDED: Final = 4
"""One of so many places is the last that somebody gets who can do without."""


class InferencePool:
    """Runs what needs the model in threads of its own, in the order of asking."""

    def __init__(self, workers: int, queue_size: int) -> None:
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="pgface-inference")
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
        # Counted in one thread, the event loop's, so that it needs no lock.
        self._taken += 1
        metrics.waiting.inc()
        context = contextvars.copy_context()

        def begin() -> R:
            metrics.waiting.dec()
            with metrics.working.track_inprogress():
                return work()

        future = asyncio.wrap_future(self._executor.submit(context.run, begin))
        future.add_done_callback(self._leave)
        # Whoever asked may have gone: what has begun keeps its place until it is done.
        return await asyncio.shield(future)

    def close(self) -> None:
        """Wait for what is in work."""
        self._executor.shutdown()

    def _leave(self, _: object) -> None:
        self._taken -= 1


class BodyBudget:
    """Bytes of bodies that are in memory at once."""

    def __init__(self, total: int) -> None:
        self._free = total
        self._total = total

    @contextmanager
    def share(self, size: int) -> Iterator[None]:
        """Hold so many bytes; of more than there are at all, all.

        Raises:
            ServiceBusyError: so many are not free.

        """
        size = min(size, self._total)
        if size > self._free:
            metrics.refused.inc()
            raise ServiceBusyError
        self._free -= size
        try:
            yield
        finally:
            self._free += size
