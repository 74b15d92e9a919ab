"""A queue of CPU-bound work with a limit, a time limit for each job, and fair shares between requesters."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
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
"""Optional work is accepted only while fewer than one in four places are taken."""

_THREADS: Final = 2
"""The maximum of threads for each job that may use a core, so that other jobs can run while some wait."""

_UNWATCHED: Final = 0.05
"""Seconds of a job in which it is not cancelled if its client disconnects. Most jobs end before."""

_LATE_SECONDS: Final = 10.0
"""Seconds after its time limit in which a running job may still end. Then its client gets an answer without it. A job
cannot be stopped while it waits for PostgreSQL, for example for a commit that no standby confirms."""

_MAX_PAUSE: Final = 0.5
"""The maximum of seconds that a job pauses before a step. It ensures that large photos make progress."""


@dataclass(frozen=True, slots=True)
class Requester:
    """The client that waits for a response."""

    name: Callable[[], str]
    """Returns the name that shares are counted by: an API key, or the network that the request comes from."""
    disconnected: Callable[[], Awaitable[None]]
    """Returns when the client has closed the connection. Call it after the body was read."""


requester: ContextVar[Requester | None] = ContextVar("pgface_requester", default=None)
"""The requester of the current request. None outside of requests."""


def requester_name() -> str:
    """Return the name that the shares of the current request are counted by."""
    found = requester.get()
    return found.name() if found else ""


@dataclass(eq=False, slots=True)
class _Job:
    requester: str
    run: Callable[[], Any]
    work: Work
    done: asyncio.Future[Any]
    queued: bool = True
    step_started_at: float = 0.0
    """By time.monotonic."""


class WorkQueue:
    """Runs jobs in its own threads, with fair shares between requesters.

    - A free worker takes a job of the requester with the fewest running jobs. Among several such requesters it takes
      the one whose turn was longest ago.
    - A requester without a running job may use an extra thread if all workers are busy. Then only as many jobs go on as
      there are workers: those of the requesters that have used the least time. The others pause before their next step.
    - While a job waits, for example for PostgreSQL, another one may use its core (`pgface.faces.cancellation.waiting`).
    - If all places are taken, the requester with the most of them loses its newest queued job to one that has fewer
      (longest queue drop; Suter et al. 1998).

    Only the work itself runs in the workers' threads. All else runs in the event loop's thread, so the queue needs no
    lock.
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
        """Create the queue. Its threads start with the first job.

        Args:
            workers: the number of jobs that run in parallel.
            queue_size: the maximum of waiting jobs.
            waiting: the metric of waiting jobs.
            working: the metric of running jobs.
            extra: the maximum of additional running jobs, for requesters without a running job.
            seconds: the time limit of a job, including its time in the queue. None for no limit.
            max_pixels: the limit of a photo that a job opens. None for the limit in the settings.

        """
        self._threads = _THREADS * (workers + extra)
        self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="pgface-work")
        self._workers, self._extra = workers, extra
        self._places = workers + queue_size
        self._seconds, self._max_pixels = seconds, max_pixels
        self._waiting, self._working = waiting, working
        self._queue: list[_Job] = []
        self._running: set[_Job] = set()
        self._idle: set[_Job] = set()
        """Running jobs that wait and use no core. Guarded by the condition."""
        self._used: defaultdict[str, float] = defaultdict(float)
        """Seconds of work of each requester that has jobs. Guarded by the condition, as is the set of running jobs."""
        self._changed = threading.Condition()
        self._turns = 0
        self._last_turn: dict[str, int] = {}
        """The turn in which the last job of each requester started, while the requester has jobs."""

    async def run(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run work when a worker is free, and only while the client waits for the response.

        Long work ends early where it calls `pgface.faces.cancellation.check_work`.

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
        context = copy_context()
        limits = Work(
            seconds=self._seconds,
            max_pixels=self._max_pixels,
            pause=lambda: self._pause_if_behind(job),
            waiting=lambda: self._without_core(job),
        )

        def run() -> R:
            with self._working.track_inprogress(), working(limits):
                limits.check()
                return work()

        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        job = _Job(requester_name(), partial(context.run, run), limits, done)
        self._enqueue(job, places)
        self._start_jobs()
        try:
            result: R = await self._result_of(job)
        except asyncio.CancelledError:
            self._cancel(job)
            raise
        return result

    async def _result_of(self, job: _Job) -> Any:
        """Wait for a job. Cancel it if the client disconnects, or if its time limit passes in the queue."""
        loop = asyncio.get_running_loop()
        timers = []
        disconnection = None

        def watch(client: Requester) -> None:
            nonlocal disconnection
            disconnection = asyncio.ensure_future(client.disconnected())
            disconnection.add_done_callback(lambda _: self._cancel(job))

        if self._seconds is not None:
            timers.append(loop.call_later(self._seconds, self._time_out, job))
            timers.append(loop.call_later(self._seconds + _LATE_SECONDS, _settle, job.done, None, WorkTimeoutError()))
        if (client := requester.get()) is not None:
            timers.append(loop.call_later(_UNWATCHED, watch, client))
        try:
            return await job.done
        finally:
            for timer in timers:
                timer.cancel()
            if disconnection is not None:
                disconnection.cancel()
                await asyncio.wait([disconnection])

    def _enqueue(self, job: _Job, places: int) -> None:
        if len(self._queue) + len(self._running) >= places and not (
            places == self._places and self._drop_one_for(job.requester)
        ):
            metrics.refused.inc()
            raise ServiceBusyError
        self._queue.append(job)
        self._waiting.inc()

    def _drop_one_for(self, requester: str) -> bool:
        """Drop a job of the requester with the most places, if it then still has as many as this requester."""
        taken = Counter(job.requester for job in [*self._queue, *self._running])
        queued = [job for job in self._queue if taken[job.requester] > taken[requester] + 1]
        if not queued:
            return False
        most = max(taken[job.requester] for job in queued)
        newest = [job for job in queued if taken[job.requester] == most][-1]
        metrics.refused.inc()
        self._cancel(newest, ServiceBusyError())
        return True

    def _start_jobs(self) -> None:
        while self._queue:
            running = Counter(job.requester for job in self._running)
            job = min(self._queue, key=lambda job: (running[job.requester], self._last_turn.get(job.requester, 0)))
            with self._changed:
                on_cores = len(self._running) - len(self._idle)
            places = self._workers + (0 if running[job.requester] else self._extra)
            if on_cores >= places or len(self._running) >= self._threads:
                return
            self._leave_queue(job)
            job.step_started_at = time.monotonic()
            with self._changed:
                self._running.add(job)
            self._turns += 1
            self._last_turn[job.requester] = self._turns
            try:
                self._executor.submit(self._work_on, job)
            except RuntimeError:  # the executor is closed
                self._finish(job, None, WorkCancelledError())

    def _pause_if_behind(self, job: _Job) -> None:
        """Pause while requesters that have used less time need all workers. Runs in a worker's thread."""
        with self._changed:
            self._used[job.requester] += time.monotonic() - job.step_started_at
            self._changed.wait_for(lambda: self._may_go_on(job), _MAX_PAUSE)
            job.step_started_at = time.monotonic()

    def _may_go_on(self, job: _Job) -> bool:
        used = self._used[job.requester]
        return sum(self._used[other.requester] < used for other in self._running - self._idle) < self._workers

    @contextmanager
    def _without_core(self, job: _Job) -> Iterator[None]:
        """Let another job use the core of one that waits. Runs in a worker's thread."""
        with self._changed:
            self._used[job.requester] += time.monotonic() - job.step_started_at
            self._idle.add(job)
            self._changed.notify_all()
        with suppress(RuntimeError):  # the event loop has ended
            job.done.get_loop().call_soon_threadsafe(self._start_jobs)
        try:
            yield
        finally:
            with self._changed:
                self._idle.discard(job)
                job.step_started_at = time.monotonic()

    def _work_on(self, job: _Job) -> None:
        """Run a job. Runs in a worker's thread."""
        try:
            result, error = job.run(), None
        except BaseException as failure:
            result, error = None, failure
        with suppress(RuntimeError):  # the event loop has ended, and nothing waits for the result
            job.done.get_loop().call_soon_threadsafe(self._finish, job, result, error)

    def _finish(self, job: _Job, result: Any, error: BaseException | None) -> None:
        with self._changed:
            self._running.discard(job)
            self._used[job.requester] += time.monotonic() - job.step_started_at
            if not any(job.requester == other.requester for other in [*self._queue, *self._running]):
                self._last_turn.pop(job.requester, None)
                self._used.pop(job.requester, None)
            self._changed.notify_all()
        _settle(job.done, result, error)
        self._start_jobs()

    def _time_out(self, job: _Job) -> None:
        if job.queued:  # a running job checks its time limit itself
            self._cancel(job, WorkTimeoutError())

    def _cancel(self, job: _Job, error: Exception | None = None) -> None:
        """End a waiting job immediately. A running job keeps its place and ends before its next step."""
        job.work.cancel()
        if job.queued:
            self._leave_queue(job)
            _settle(job.done, None, error or WorkCancelledError())

    def _leave_queue(self, job: _Job) -> None:
        self._queue.remove(job)
        job.queued = False
        self._waiting.dec()


def _settle(done: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if done.done():  # the task that waited for it was cancelled
        return
    if error is None:
        done.set_result(result)
    else:
        done.set_exception(error)
        # Retrieved here, because asyncio logs an error that was not retrieved, and its text may contain personal data.
        done.exception()
