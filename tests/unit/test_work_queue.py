"""The queue of CPU-bound work: its limits, its time limit, and the fair shares of requesters."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from pgface.errors import ServiceBusyError, WorkCancelledError, WorkTimeoutError
from pgface.faces.cancellation import check_work, waiting
from pgface.server import metrics, work_queue
from pgface.server.work_queue import Requester, WorkQueue, requester


class GatedQueue:
    """A queue with one worker and one place to wait. Its work waits until the gate opens."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.waiting = Gauge("waiting", "x", registry=registry)
        self.working = Gauge("working", "x", registry=registry)
        self.queue = WorkQueue(1, 1, waiting=self.waiting, working=self.working)
        self.started = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)

    def work(self, answer: int, error: type[Exception] | None = None) -> int:
        self.started.release()
        assert self.gate.acquire(timeout=30)
        if error is not None:
            raise error("a secret")
        return answer

    async def has_started(self) -> None:
        assert await asyncio.to_thread(self.started.acquire, timeout=30)

    def numbers(self) -> tuple[float, float]:
        return value_of(self.waiting), value_of(self.working)


@pytest.fixture
def full() -> Iterator[GatedQueue]:
    gated = GatedQueue()
    yield gated
    gated.queue.close()
    assert gated.numbers() == (0, 0)


def value_of(metric: Gauge | Counter) -> float:
    (family,) = metric.collect()
    return float(family.samples[0].value)


def refusals() -> float:
    return value_of(metrics.refused)


def test_a_job_is_refused_while_all_places_are_taken(full: GatedQueue) -> None:
    async def act() -> None:
        refused = refusals()
        first = asyncio.create_task(full.queue.run(full.work, 1))
        await full.has_started()
        second = asyncio.create_task(full.queue.run(full.work, 2))
        await asyncio.sleep(0)
        assert full.numbers() == (1, 1)
        for _ in range(3):
            with pytest.raises(ServiceBusyError):
                await full.queue.run(full.work, 3)
        assert refusals() == refused + 3
        full.gate.release(2)
        assert [await first, await second] == [1, 2]  # in the order of the requests
        full.gate.release()
        assert await full.queue.run(full.work, 4) == 4

    asyncio.run(act())


def test_a_failed_job_frees_its_place(full: GatedQueue) -> None:
    async def act() -> None:
        for _ in range(4):
            full.gate.release()
            with pytest.raises(ValueError, match="a secret"):
                await full.queue.run(full.work, 1, ValueError)

    asyncio.run(act())


def test_a_cancelled_job_keeps_its_place_until_it_ends(full: GatedQueue, caplog: pytest.LogCaptureFixture) -> None:
    async def act() -> None:
        cancelled = asyncio.create_task(full.queue.run(full.work, 1, ValueError))
        await full.has_started()
        second = asyncio.create_task(full.queue.run(full.work, 2))
        await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        with pytest.raises(ServiceBusyError):
            await full.queue.run(full.work, 3)
        full.gate.release(2)
        assert await second == 2
        full.gate.release()
        assert await full.queue.run(full.work, 4) == 4

    with caplog.at_level(logging.DEBUG):
        asyncio.run(act())
    assert "a secret" not in caplog.text  # asyncio logs errors that were not retrieved


def test_a_job_runs_in_the_context_of_its_request(full: GatedQueue) -> None:
    number = contextvars.ContextVar("number", default=0)

    async def act() -> int:
        number.set(7)
        return await full.queue.run(number.get)

    assert asyncio.run(act()) == 7


def test_a_closed_queue_runs_nothing() -> None:
    gated = GatedQueue()
    gated.queue.close()
    for _ in range(3):  # more than there are places
        with pytest.raises(WorkCancelledError):
            asyncio.run(gated.queue.run(gated.work, 1))
    assert gated.numbers() == (0, 0)


class Client:
    """A client that requests work and may disconnect."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._disconnected = asyncio.Event()

    def disconnect(self) -> None:
        self._disconnected.set()

    async def _until_disconnected(self) -> None:
        await self._disconnected.wait()

    def request(self, queue: WorkQueue, work: Callable[[], Any]) -> asyncio.Task[Any]:
        async def run() -> Any:
            requester.set(Requester(lambda: self.name, self._until_disconnected))
            return await queue.run(work)

        return asyncio.create_task(run())


class LoggedQueue:
    """A queue with a list of the jobs that have started. They end when a test sets `open`, or at their limits."""

    def __init__(self, workers: int, queue_size: int, **options: Any) -> None:
        registry = CollectorRegistry()
        queued, working = (Gauge(name, "x", registry=registry) for name in ("waiting", "working"))
        self.queue = WorkQueue(workers, queue_size, waiting=queued, working=working, **options)
        self.started: list[str] = []
        self.open = threading.Event()

    def work(self, name: str) -> Callable[[], str]:
        def work() -> str:
            self.started.append(name)
            while not self.open.wait(0.01):
                check_work()
            return name

        return work

    async def has_started(self, *names: str) -> None:
        async with asyncio.timeout(30):
            while sorted(self.started) != sorted(names):
                await asyncio.sleep(0.01)


def test_a_requester_without_a_running_job_uses_an_extra_thread() -> None:
    log = LoggedQueue(1, 9, extra=1)

    async def act() -> None:
        a, b, c = Client("a"), Client("b"), Client("c")
        tasks = [a.request(log.queue, log.work("a1")), a.request(log.queue, log.work("a2"))]
        await log.has_started("a1")
        tasks.append(b.request(log.queue, log.work("b1")))
        await log.has_started("a1", "b1")
        tasks.append(b.request(log.queue, log.work("b2")))
        tasks.append(c.request(log.queue, log.work("c1")))
        await asyncio.sleep(0.05)
        assert log.started == ["a1", "b1"]  # no more than workers and extra
        log.open.set()
        await asyncio.gather(*tasks)
        assert log.started.index("c1") < log.started.index("b2")  # it came last, and had no running job

    asyncio.run(act())
    log.queue.close()


def test_another_job_runs_while_one_waits_without_a_core() -> None:
    log = LoggedQueue(1, 9)
    waits_over = threading.Event()

    def work_that_waits() -> str:
        log.started.append("a")
        with waiting():
            assert waits_over.wait(30)
        check_work()
        return "a"

    async def act() -> None:
        a, b = Client("a"), Client("b")
        tasks = [a.request(log.queue, work_that_waits), b.request(log.queue, log.work("b1"))]
        await log.has_started("a", "b1")
        tasks.append(b.request(log.queue, log.work("b2")))
        await asyncio.sleep(0.05)
        assert log.started == ["a", "b1"]  # the only core is in use
        waits_over.set()
        log.open.set()
        assert await asyncio.gather(*tasks) == ["a", "b1", "b2"]

    asyncio.run(act())
    log.queue.close()


def test_a_full_queue_drops_a_job_of_the_requester_with_the_most() -> None:
    log = LoggedQueue(1, 3)

    async def act() -> None:
        a, b = Client("a"), Client("b")
        of_a = [a.request(log.queue, log.work(f"a{number}")) for number in range(4)]
        await log.has_started("a0")
        with pytest.raises(ServiceBusyError):
            await a.request(log.queue, log.work("a4"))
        of_b = [b.request(log.queue, log.work(f"b{number}")) for number in range(2)]
        for lost in (of_a[3], of_a[2]):  # the newest first
            with pytest.raises(ServiceBusyError):
                await lost
        with pytest.raises(ServiceBusyError):  # both have two
            await b.request(log.queue, log.work("b2"))
        log.open.set()
        assert await asyncio.gather(*of_a[:2], *of_b) == ["a0", "a1", "b0", "b1"]

    asyncio.run(act())
    log.queue.close()


def test_a_job_ends_when_its_client_disconnects() -> None:
    log = LoggedQueue(1, 1)

    async def act() -> None:
        a, b, c = Client("a"), Client("b"), Client("c")
        running = a.request(log.queue, log.work("a"))
        await log.has_started("a")
        queued = b.request(log.queue, log.work("b"))
        await asyncio.sleep(0)
        b.disconnect()
        with pytest.raises(WorkCancelledError):
            await queued
        other = c.request(log.queue, log.work("c"))  # a place in the queue is free again
        await asyncio.sleep(0)
        a.disconnect()
        with pytest.raises(WorkCancelledError):
            await running
        await log.has_started("a", "c")  # never "b"
        log.open.set()
        assert await other == "c"

    asyncio.run(act())
    log.queue.close()


def test_the_time_limit_includes_the_time_in_the_queue() -> None:
    log = LoggedQueue(1, 2, seconds=0.3)

    async def act() -> None:
        started = time.monotonic()
        tasks = [log.queue.run(log.work(name)) for name in ("a", "b")]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [WorkTimeoutError] * 2
        assert time.monotonic() - started < 2
        log.open.set()
        assert await log.queue.run(log.work("c")) == "c"

    asyncio.run(act())
    log.queue.close()


def test_a_job_that_hangs_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_queue, "_LATE_SECONDS", 0.1)
    log = LoggedQueue(1, 1, seconds=0.1)
    hanging = threading.Event()

    async def act() -> None:
        with pytest.raises(WorkTimeoutError):
            await log.queue.run(hanging.wait, 10)
        hanging.set()

    asyncio.run(act())
    log.queue.close()


def test_closing_ends_running_and_waiting_jobs() -> None:
    log = LoggedQueue(1, 1)

    async def act() -> None:
        tasks = [asyncio.create_task(log.queue.run(log.work(name))) for name in ("a", "b")]
        await log.has_started("a")
        await asyncio.to_thread(log.queue.close)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(result) for result in results} == {WorkCancelledError}

    asyncio.run(act())
