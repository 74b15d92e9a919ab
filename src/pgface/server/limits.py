"""Work in bounded pools, with fair shares: as much at once as there are workers, a short queue, and a deadline."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

from prometheus_client import Gauge

from pgface.errors import ServiceBusyError, WorkCancelledError, WorkTimeoutError
from pgface.faces.cancellation import Work, working
from pgface.server import metrics

P = ParamSpec("P")
R = TypeVar("R")

_SHARE_OF_OPTIONAL_WORK: Final = 4
"""Optional work gets a place only while fewer than one in four places are taken."""

_LONGEST_PAUSE: Final = 0.5
"""Seconds before each step, so that large photos are answered as well."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who waits for an answer."""

    name: Callable[[], str]
    """Gives what shares are counted by: an API key, or the network that a request comes from."""
    gone: Callable[[], Awaitable[None]]
    """Returns when the client has closed the connection. Called after the body has been read."""


asker: contextvars.ContextVar[Asker | None] = contextvars.ContextVar("pgface_asker", default=None)
"""Of the request that is answered; None outside of requests."""


def name_of_asker() -> str:
    """What the shares of the request that is answered are counted by."""
    found = asker.get()
    return found.name() if found else ""


@dataclass(eq=False, slots=True)
class _Job:
    asker: str
    begin: Callable[[], Any]
    work: Work
    done: asyncio.Future[Any]
    queued: bool = True
    since: float = 0.0
    """When its step began, by time.monotonic."""


class WorkPool:
    """Runs what takes a processor's time in threads of its own.

    Shares are fair between askers:

    - A free worker takes a job of the asker that has least in work. Of several such askers it takes the one whose turn
      was longest ago.
    - An asker with nothing in work may use an extra thread where all workers are busy. Then the jobs of those askers
      go on that have used least, as many as there are workers, and the others pause before their next step.
    - Where all places are taken, the asker with most of them loses its newest job in the queue to one that has fewer
      (longest queue drop; Suter et al. 1998).

    Everything but the work itself happens in the event loop's thread, so the queue needs no lock.
    """

    def __init__(
        self,
        workers: int,
        queue_size: int,
        *,
        waiting: Gauge,
        working: Gauge,
        extra: int = 0,
        seconds: float | None = None,
        max_pixels: int | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            workers: how many jobs are worked on at once.
            queue_size: how many wait at most.
            waiting: counts those that wait.
            working: counts those that are worked on.
            extra: how many more are worked on at most, each of an asker with nothing else in work.
            seconds: in which a job has to be done, with the time in the queue; None for no limit.
            max_pixels: of a photo that a job opens; None for no limit but that of the settings.

        """
        self._executor = ThreadPoolExecutor(workers + extra, thread_name_prefix="pgface-work")
        self._workers, self._extra = workers, extra
        self._places = workers + queue_size
        self._seconds, self._max_pixels = seconds, max_pixels
        self._waiting = waiting
        self._working = working
        self._queue: list[_Job] = []
        self._running: set[_Job] = set()
        self._used: defaultdict[str, float] = defaultdict(float)
        """Seconds of work, of askers that have jobs. Guarded by the condition, as is the set of running jobs."""
        self._changed = threading.Condition()
        self._turns = 0
        self._last_turn: dict[str, int] = {}
        """When a job was started, of askers that have one waiting or in work."""

    async def run(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Do it when a worker is free.

        Raises:
            ServiceBusyError: all workers are busy, and as many wait as may.
            WorkTimeoutError: it was not done in time.
            WorkCancelledError: the client has gone.

        """
        return await self._run(self._places, partial(work, *args, **kwargs))

    async def run_if_idle(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """The same for optional work: only where most places are free.

        Raises:
            ServiceBusyError: they are not.
            WorkTimeoutError, WorkCancelledError: as `run` has it.

        """
        return await self._run(max(1, self._places // _SHARE_OF_OPTIONAL_WORK), partial(work, *args, **kwargs))

    def close(self) -> None:
        """End what is in work before its next step, and wait for that."""
        for job in [*self._running, *self._queue]:
            job.work.cancel()  # a job that waits ends when a worker takes it
        self._executor.shutdown()

    async def _run(self, places: int, work: Callable[[], R]) -> R:
        context = contextvars.copy_context()
        limits = Work(seconds=self._seconds, max_pixels=self._max_pixels, pause=lambda: self._let_others_first(job))

        def begin() -> R:
            with self._working.track_inprogress(), working(limits):
                limits.check()
                return work()

        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        job = _Job(name_of_asker(), partial(context.run, begin), limits, done)
        self._take_place(job, places)
        self._start_jobs()
        try:
            result: R = await self._wait_for(job)
        except asyncio.CancelledError:
            self._give_up(job)
            raise
        return result

    async def _wait_for(self, job: _Job) -> Any:
        """The result; meanwhile the client may go, or its time in the queue may be over."""
        found = asker.get()
        left = asyncio.ensure_future(found.gone()) if found else None
        in_time = self._seconds
        try:
            while not job.done.done():
                watched = {job.done} if left is None else {job.done, left}
                await asyncio.wait(watched, timeout=in_time, return_when=asyncio.FIRST_COMPLETED)
                if job.done.done():
                    break
                if left is not None and left.done():
                    left = None
                    # What has begun keeps its place until its next step, and may even be done by then.
                    self._give_up(job, WorkCancelledError())
                else:
                    in_time = None
                    if job.queued:  # what has begun looks at its time by itself
                        self._give_up(job, WorkTimeoutError())
            return job.done.result()
        finally:
            if left is not None:
                left.cancel()
                with suppress(asyncio.CancelledError):
                    await left

    def _take_place(self, job: _Job, places: int) -> None:
        if len(self._queue) + len(self._running) >= places and not (
            places == self._places and self._drop_one_for(job.asker)
        ):
            metrics.refused.inc()
            raise ServiceBusyError
        self._queue.append(job)
        self._waiting.inc()

    def _drop_one_for(self, asker: str) -> bool:
        """Make room at the expense of the asker with most places, if that one then still has as many as this one."""
        held = Counter(job.asker for job in [*self._queue, *self._running])
        queued = [job for job in self._queue if held[job.asker] > held[asker] + 1]
        if not queued:
            return False
        most = max(held[job.asker] for job in queued)
        newest = [job for job in queued if held[job.asker] == most][-1]
        metrics.refused.inc()
        self._give_up(newest, ServiceBusyError())
        return True

    def _start_jobs(self) -> None:
        while self._queue:
            at_work = Counter(job.asker for job in self._running)
            job = min(self._queue, key=lambda job: (at_work[job.asker], self._last_turn.get(job.asker, 0)))
            if len(self._running) >= self._workers + (0 if at_work[job.asker] else self._extra):
                return
            self._leave_queue(job)
            job.since = time.monotonic()
            with self._changed:
                self._running.add(job)
            self._turns += 1
            self._last_turn[job.asker] = self._turns
            try:
                self._executor.submit(self._work_on, job)
            except RuntimeError:  # it is closed
                self._finish(job, None, WorkCancelledError())

    def _let_others_first(self, job: _Job) -> None:
        """In a worker's thread, before a step."""
        with self._changed:
            self._used[job.asker] += time.monotonic() - job.since
            self._changed.wait_for(lambda: self._is_among_first(job), _LONGEST_PAUSE)
            job.since = time.monotonic()

    def _is_among_first(self, job: _Job) -> bool:
        used = self._used[job.asker]
        return sum(self._used[other.asker] < used for other in self._running) < self._workers

    def _work_on(self, job: _Job) -> None:
        """In a worker's thread."""
        try:
            result, error = job.begin(), None
        except BaseException as failure:
            result, error = None, failure
        with suppress(RuntimeError):  # the event loop has ended, and nothing waits for the result
            job.done.get_loop().call_soon_threadsafe(self._finish, job, result, error)

    def _finish(self, job: _Job, result: Any, error: BaseException | None) -> None:
        with self._changed:
            self._running.discard(job)
            self._used[job.asker] += time.monotonic() - job.since
            self._changed.notify_all()
        self._forget(job.asker)
        if not job.done.done():
            _settle(job.done, result, error)
        self._start_jobs()

    def _give_up(self, job: _Job, why: Exception | None = None) -> None:
        """End a job that waits at once, and one that has begun before its next step."""
        job.work.cancel()
        if job.queued:
            self._leave_queue(job)
            _settle(job.done, None, why or WorkCancelledError())

    def _forget(self, asker: str) -> None:
        if not any(job.asker == asker for job in [*self._queue, *self._running]):
            self._last_turn.pop(asker, None)
            with self._changed:
                self._used.pop(asker, None)

    def _leave_queue(self, job: _Job) -> None:
        self._queue.remove(job)
        job.queued = False
        self._waiting.dec()


def _settle(done: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if error is None:
        done.set_result(result)
    else:
        done.set_exception(error)
        # Looked at, because asyncio logs an error that nothing has looked at, with a text that may tell of people.
        done.exception()


class BodyBudget:
    """Bytes of bodies that are in memory at once."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.free = total
        self._held: Counter[str] = Counter()

    @contextmanager
    def share(self, asker: str = "") -> Iterator[Share]:
        """What one body holds of it, until the block is left.

        Of several bodies of one asker, all together hold no more than they leave free (dynamic threshold; Choudhury
        and Hahne 1998). So two askers cannot use it up.
        """
        share = Share(self, asker)
        try:
            yield share
        finally:
            self.free += share.held
            self._held[asker] -= share.held
            self._held += Counter()  # forgets those that hold nothing

    def take(self, size: int, share: Share) -> None:
        """Hold more for a body; see `Share.take`."""
        size = min(size, self.total - share.held)
        others = self._held[share.asker] - share.held
        too_many = others > 0 and others + share.held + size > self.free - size
        if size > self.free or too_many:
            metrics.refused.inc()
            raise ServiceBusyError
        self.free -= size
        self._held[share.asker] += size
        share.held += size


class Share:
    """The bytes of one body."""

    def __init__(self, budget: BodyBudget, asker: str) -> None:
        self._budget = budget
        self.asker = asker
        self.held = 0

    def take(self, size: int) -> None:
        """Hold so many more; of more than there are at all, all.

        Raises:
            ServiceBusyError: so many are not free, or the asker has enough already.

        """
        self._budget.take(size, self)
