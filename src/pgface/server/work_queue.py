"""Limits of concurrent work: bounded executors with a short queue and a deadline, and a budget of bytes."""

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

_OPTIONAL_WORK_DIVISOR: Final = 4
"""Optional work gets a place only while fewer than one in four places are taken."""

_MAX_PAUSE: Final = 0.5
"""Seconds that a job pauses before a step at most, so that large photos are done too."""


@dataclass(frozen=True, slots=True)
class Requester:
    """The client that waits for a response."""

    name: Callable[[], str]
    """Returns what shares are counted by: an API key, or the network that the request comes from."""
    disconnected: Callable[[], Awaitable[None]]
    """Returns when the client has closed the connection. Call it after the body was read."""


requester: contextvars.ContextVar[Requester | None] = contextvars.ContextVar("pgface_asker", default=None)
"""The requester of the current request. None outside of requests."""


def requester_name() -> str:
    """What the shares of the current request are counted by."""
    found = requester.get()
    return found.name() if found else ""


@dataclass(eq=False, slots=True)
class _Job:
    requester: str
    begin: Callable[[], Any]
    work: Work
    done: asyncio.Future[Any]
    queued: bool = True
    since: float = 0.0
    """When its current step began, by time.monotonic."""


class BoundedExecutor:
    """Runs CPU-bound work in threads of its own, with fair shares between requesters.

    - A free worker takes a job of the requester with the fewest running jobs. Among several such requesters it takes
      the one whose turn was longest ago.
    - A requester without a running job may use an extra thread if all workers are busy. Then only as many jobs go on as
      there are workers: those of the requesters that have used the least time. The others pause before their next step.
    - If all places are taken, the requester with the most of them loses its newest queued job to one that has fewer
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
        """Create the executor. Its threads start with the first job.

        Args:
            workers: jobs that run at once.
            queue_size: the maximum of waiting jobs.
            waiting: the metric of waiting jobs.
            working: the metric of running jobs.
            extra: the maximum of further running jobs, for requesters without a running job.
            seconds: the time limit of a job, including the time in the queue. None for no limit.
            max_pixels: the limit of a photo that a job opens. None for that of the settings.

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
        """Seconds of work of each requester that has jobs. Guarded by the condition, as is the set of running jobs."""
        self._changed = threading.Condition()
        self._turns = 0
        self._last_turn: dict[str, int] = {}
        """The turn in which a job of each requester was last started, while it has jobs."""

    async def run(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run work when a worker is free.

        Raises:
            ServiceBusyError: all workers are busy and the queue is full.
            WorkTimeoutError: the work took longer than the time limit.
            WorkCancelledError: the client closed the connection.

        """
        return await self._run(self._places, partial(work, *args, **kwargs))

    async def run_if_idle(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run optional work, only if most places are free.

        Raises:
            ServiceBusyError: they are not free.
            WorkTimeoutError, WorkCancelledError: as for `run`.

        """
        return await self._run(max(1, self._places // _OPTIONAL_WORK_DIVISOR), partial(work, *args, **kwargs))

    def close(self) -> None:
        """End running jobs before their next step, and wait for that."""
        for job in [*self._running, *self._queue]:
            job.work.cancel()  # a waiting job ends when a worker takes it
        self._executor.shutdown()

    async def _run(self, places: int, work: Callable[[], R]) -> R:
        context = contextvars.copy_context()
        limits = Work(seconds=self._seconds, max_pixels=self._max_pixels, pause=lambda: self._let_others_first(job))

        def begin() -> R:
            with self._working.track_inprogress(), working(limits):
                limits.check()
                return work()

        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        job = _Job(requester_name(), partial(context.run, begin), limits, done)
        self._take_place(job, places)
        self._start_jobs()
        try:
            result: R = await self._wait_for(job)
        except asyncio.CancelledError:
            self._give_up(job)
            raise
        return result

    async def _wait_for(self, job: _Job) -> Any:
        """The result of a job, unless the client disconnects first or the time limit passes in the queue."""
        found = requester.get()
        left = asyncio.ensure_future(found.disconnected()) if found else None
        in_time = self._seconds
        try:
            while not job.done.done():
                watched = {job.done} if left is None else {job.done, left}
                await asyncio.wait(watched, timeout=in_time, return_when=asyncio.FIRST_COMPLETED)
                if job.done.done():
                    break
                if left is not None and left.done():
                    left = None
                    # A running job keeps its place until its next step, and may be done by then.
                    self._give_up(job, WorkCancelledError())
                else:
                    in_time = None
                    if job.queued:  # a running job checks its time limit itself
                        self._give_up(job, WorkTimeoutError())
            return job.done.result()
        finally:
            if left is not None:
                left.cancel()
                with suppress(asyncio.CancelledError):
                    await left

    def _take_place(self, job: _Job, places: int) -> None:
        if len(self._queue) + len(self._running) >= places and not (
            places == self._places and self._drop_one_for(job.requester)
        ):
            metrics.refused.inc()
            raise ServiceBusyError
        self._queue.append(job)
        self._waiting.inc()

    def _drop_one_for(self, requester: str) -> bool:
        """Drop a job of the requester with the most places, if it then still has as many as this requester."""
        held = Counter(job.requester for job in [*self._queue, *self._running])
        queued = [job for job in self._queue if held[job.requester] > held[requester] + 1]
        if not queued:
            return False
        most = max(held[job.requester] for job in queued)
        newest = [job for job in queued if held[job.requester] == most][-1]
        metrics.refused.inc()
        self._give_up(newest, ServiceBusyError())
        return True

    def _start_jobs(self) -> None:
        while self._queue:
            at_work = Counter(job.requester for job in self._running)
            job = min(self._queue, key=lambda job: (at_work[job.requester], self._last_turn.get(job.requester, 0)))
            if len(self._running) >= self._workers + (0 if at_work[job.requester] else self._extra):
                return
            self._leave_queue(job)
            job.since = time.monotonic()
            with self._changed:
                self._running.add(job)
            self._turns += 1
            self._last_turn[job.requester] = self._turns
            try:
                self._executor.submit(self._work_on, job)
            except RuntimeError:  # the executor is closed
                self._finish(job, None, WorkCancelledError())

    def _let_others_first(self, job: _Job) -> None:
        """Pause for jobs of other requesters. Runs in a worker's thread, before a step."""
        with self._changed:
            self._used[job.requester] += time.monotonic() - job.since
            self._changed.wait_for(lambda: self._is_among_first(job), _MAX_PAUSE)
            job.since = time.monotonic()

    def _is_among_first(self, job: _Job) -> bool:
        used = self._used[job.requester]
        return sum(self._used[other.requester] < used for other in self._running) < self._workers

    def _work_on(self, job: _Job) -> None:
        """Run a job. Runs in a worker's thread."""
        try:
            result, error = job.begin(), None
        except BaseException as failure:
            result, error = None, failure
        with suppress(RuntimeError):  # the event loop has ended, and nothing waits for the result
            job.done.get_loop().call_soon_threadsafe(self._finish, job, result, error)

    def _finish(self, job: _Job, result: Any, error: BaseException | None) -> None:
        with self._changed:
            self._running.discard(job)
            self._used[job.requester] += time.monotonic() - job.since
            self._changed.notify_all()
        self._forget(job.requester)
        if not job.done.done():
            _settle(job.done, result, error)
        self._start_jobs()

    def _give_up(self, job: _Job, why: Exception | None = None) -> None:
        """End a waiting job at once, and a running job before its next step."""
        job.work.cancel()
        if job.queued:
            self._leave_queue(job)
            _settle(job.done, None, why or WorkCancelledError())

    def _forget(self, requester: str) -> None:
        if not any(job.requester == requester for job in [*self._queue, *self._running]):
            self._last_turn.pop(requester, None)
            with self._changed:
                self._used.pop(requester, None)

    def _leave_queue(self, job: _Job) -> None:
        self._queue.remove(job)
        job.queued = False
        self._waiting.dec()


def _settle(done: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if error is None:
        done.set_result(result)
    else:
        done.set_exception(error)
        # Retrieved here, because asyncio logs an error that was not retrieved, and its text may contain personal data.
        done.exception()


class ByteBudget:
    """The bytes of request bodies that may be in memory at once."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.free = total
        self._held: Counter[str] = Counter()

    @contextmanager
    def lease(self, requester: str = "") -> Iterator[ByteLease]:
        """What one body holds of the budget, until the block ends.

        All bodies of one requester together hold no more than they leave free, so that two requesters cannot use up the
        budget (dynamic threshold; Choudhury and Hahne 1998).
        """
        lease = ByteLease(self, requester)
        try:
            yield lease
        finally:
            self.free += lease.held
            self._held[requester] -= lease.held
            self._held += Counter()  # removes requesters that hold nothing

    def take(self, size: int, lease: ByteLease) -> None:
        """Hold more bytes for a lease (see `ByteLease.take`)."""
        size = min(size, self.total - lease.held)
        others = self._held[lease.requester] - lease.held
        too_many = others > 0 and others + lease.held + size > self.free - size
        if size > self.free or too_many:
            metrics.refused.inc()
            raise ServiceBusyError
        self.free -= size
        self._held[lease.requester] += size
        lease.held += size


class ByteLease:
    """The bytes that one body holds."""

    def __init__(self, budget: ByteBudget, requester: str) -> None:
        self._budget = budget
        self.requester = requester
        self.held = 0

    def take(self, size: int) -> None:
        """Hold more bytes, up to the whole budget.

        Raises:
            ServiceBusyError: they are not free, or the requester holds too many already.

        """
        self._budget.take(size, self)
