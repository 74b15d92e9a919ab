"""The bounds of the service's work: how much at once, how much waits, and how many bytes of bodies."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from pgface.errors import ServiceBusyError, WorkCancelledError, WorkTimeoutError
from pgface.faces.cancellation import check_work
from pgface.server import metrics
from pgface.server.work_queue import BoundedExecutor, ByteBudget, Requester, requester


class Pool:
    """One worker, one that may wait, and a gate that work stands before."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.waiting = Gauge("waiting", "x", registry=registry)
        self.working = Gauge("working", "x", registry=registry)
        self.pool = BoundedExecutor(1, 1, waiting=self.waiting, working=self.working)
        self.begun = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)

    def work(self, answer: int, error: type[Exception] | None = None) -> int:
        self.begun.release()
        assert self.gate.acquire(timeout=30)
        if error is not None:
            raise error("a secret")
        return answer

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=30)

    def numbers(self) -> tuple[float, float]:
        return value_of(self.waiting), value_of(self.working)


@pytest.fixture
def full() -> Iterator[Pool]:
    pool = Pool()
    yield pool
    pool.pool.close()
    assert pool.numbers() == (0, 0)


def value_of(metric: Gauge | Counter) -> float:
    (family,) = metric.collect()
    return float(family.samples[0].value)


def busy() -> float:
    return value_of(metrics.refused)


def test_who_finds_no_place_is_refused_at_once_and_places_come_back(full: Pool) -> None:
    async def act() -> None:
        refused = busy()
        first = asyncio.create_task(full.pool.run(full.work, 1))
        await full.has_begun()
        second = asyncio.create_task(full.pool.run(full.work, 2))
        await asyncio.sleep(0)
        assert full.numbers() == (1, 1)
        for _ in range(3):
            with pytest.raises(ServiceBusyError):
                await full.pool.run(full.work, 3)
        assert busy() == refused + 3
        full.gate.release(2)
        assert [await first, await second] == [1, 2]  # in the order of asking
        full.gate.release()
        assert await full.pool.run(full.work, 4) == 4

    asyncio.run(act())


def test_an_error_gives_its_place_back(full: Pool) -> None:
    async def act() -> None:
        for _ in range(4):
            full.gate.release()
            with pytest.raises(ValueError, match="a secret"):
                await full.pool.run(full.work, 1, ValueError)

    asyncio.run(act())


def test_who_goes_away_keeps_the_place_until_the_work_is_done(full: Pool, caplog: pytest.LogCaptureFixture) -> None:
    async def act() -> None:
        gone = asyncio.create_task(full.pool.run(full.work, 1, ValueError))
        await full.has_begun()
        waiting = asyncio.create_task(full.pool.run(full.work, 2))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        with pytest.raises(ServiceBusyError):
            await full.pool.run(full.work, 3)
        full.gate.release(2)
        assert await waiting == 2
        full.gate.release()
        assert await full.pool.run(full.work, 4) == 4

    with caplog.at_level(logging.DEBUG):
        asyncio.run(act())
    assert "a secret" not in caplog.text  # as asyncio would log of an error that nobody looked at


def test_the_context_of_a_request_goes_along(full: Pool) -> None:
    number = contextvars.ContextVar("number", default=0)

    async def act() -> int:
        number.set(7)
        return await full.pool.run(number.get)

    assert asyncio.run(act()) == 7


def test_after_the_end_nothing_begins() -> None:
    pool = Pool()
    pool.pool.close()
    for _ in range(3):  # more often than there are places
        with pytest.raises(WorkCancelledError):
            asyncio.run(pool.pool.run(pool.work, 1))
    assert pool.numbers() == (0, 0)


class Client:
    """One that asks, and may go away."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._gone = asyncio.Event()

    def leave(self) -> None:
        self._gone.set()

    async def _until_gone(self) -> None:
        await self._gone.wait()

    def ask(self, pool: BoundedExecutor, work: Callable[[], Any]) -> asyncio.Task[Any]:
        async def run() -> Any:
            requester.set(Requester(lambda: self.name, self._until_gone))
            return await pool.run(work)

        return asyncio.create_task(run())


class Log:
    """Work that says when it begins, and ends where a test lets it or its own limits do."""

    def __init__(self, workers: int, queue_size: int, **options: Any) -> None:
        registry = CollectorRegistry()
        waiting, working = (Gauge(name, "x", registry=registry) for name in ("waiting", "working"))
        self.pool = BoundedExecutor(workers, queue_size, waiting=waiting, working=working, **options)
        self.begun: list[str] = []
        self.open = threading.Event()

    def work(self, name: str) -> Callable[[], str]:
        def work() -> str:
            self.begun.append(name)
            while not self.open.wait(0.01):
                check_work()
            return name

        return work

    async def has_begun(self, *names: str) -> None:
        async with asyncio.timeout(30):
            while sorted(self.begun) != sorted(names):
                await asyncio.sleep(0.01)


def test_an_asker_with_nothing_in_work_need_not_wait_for_others() -> None:
    log = Log(1, 9, extra=1)

    async def act() -> None:
        a, b, c = Client("a"), Client("b"), Client("c")
        tasks = [a.ask(log.pool, log.work("a1")), a.ask(log.pool, log.work("a2"))]
        await log.has_begun("a1")
        tasks.append(b.ask(log.pool, log.work("b1")))
        await log.has_begun("a1", "b1")
        tasks.append(b.ask(log.pool, log.work("b2")))
        tasks.append(c.ask(log.pool, log.work("c1")))
        await asyncio.sleep(0.05)
        assert log.begun == ["a1", "b1"]  # no more than workers and extra
        log.open.set()
        await asyncio.gather(*tasks)
        assert log.begun.index("c1") < log.begun.index("b2")  # it came last, and had nothing in work

    asyncio.run(act())
    log.pool.close()


def test_a_full_queue_makes_room_for_those_who_have_less_in_it() -> None:
    log = Log(1, 3)

    async def act() -> None:
        a, b = Client("a"), Client("b")
        of_a = [a.ask(log.pool, log.work(f"a{number}")) for number in range(4)]
        await log.has_begun("a0")
        with pytest.raises(ServiceBusyError):
            await a.ask(log.pool, log.work("a4"))
        of_b = [b.ask(log.pool, log.work(f"b{number}")) for number in range(2)]
        for lost in (of_a[3], of_a[2]):  # the newest first
            with pytest.raises(ServiceBusyError):
                await lost
        with pytest.raises(ServiceBusyError):  # both have two
            await b.ask(log.pool, log.work("b2"))
        log.open.set()
        assert await asyncio.gather(*of_a[:2], *of_b) == ["a0", "a1", "b0", "b1"]

    asyncio.run(act())
    log.pool.close()


def test_who_leaves_takes_the_work_along() -> None:
    log = Log(1, 1)

    async def act() -> None:
        a, b, c = Client("a"), Client("b"), Client("c")
        running = a.ask(log.pool, log.work("a"))
        await log.has_begun("a")
        waiting = b.ask(log.pool, log.work("b"))
        await asyncio.sleep(0)
        b.leave()
        with pytest.raises(WorkCancelledError):
            await waiting
        other = c.ask(log.pool, log.work("c"))  # there is room in the queue again
        await asyncio.sleep(0)
        a.leave()
        with pytest.raises(WorkCancelledError):
            await running
        await log.has_begun("a", "c")  # never "b"
        log.open.set()
        assert await other == "c"

    asyncio.run(act())
    log.pool.close()


def test_work_has_a_deadline_in_the_queue_and_outside_of_it() -> None:
    log = Log(1, 2, seconds=0.3)

    async def act() -> None:
        started = time.monotonic()
        tasks = [log.pool.run(log.work(name)) for name in ("a", "b")]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [WorkTimeoutError] * 2
        assert time.monotonic() - started < 2
        log.open.set()
        assert await log.pool.run(log.work("c")) == "c"

    asyncio.run(act())
    log.pool.close()


def test_closing_ends_what_is_in_work() -> None:
    log = Log(1, 1)

    async def act() -> None:
        tasks = [asyncio.create_task(log.pool.run(log.work(name))) for name in ("a", "b")]
        await log.has_begun("a")
        await asyncio.to_thread(log.pool.close)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(result) for result in results} == {WorkCancelledError}

    asyncio.run(act())


def test_bytes_of_bodies() -> None:
    budget = ByteBudget(10)
    with budget.lease("a") as one:
        one.take(4)
        with budget.lease("b") as other:
            other.take(6)
            with pytest.raises(ServiceBusyError):
                other.take(1)
            with pytest.raises(ServiceBusyError):
                one.take(1)
            assert budget.free == 0
        assert budget.free == 6
        one.take(6)
    assert budget.free == 10


def test_two_askers_with_many_bodies_leave_bytes_for_a_third() -> None:
    budget = ByteBudget(100)
    with ExitStack() as stack:
        for name in ("a", "b"):
            for _ in range(20):
                with suppress(ServiceBusyError):
                    stack.enter_context(budget.lease(name)).take(10)
        assert budget.free >= 20
        with budget.lease("c") as third:
            third.take(20)
    assert budget.free == 100


def test_of_more_than_there_are_at_all_one_holds_all() -> None:
    budget = ByteBudget(10)
    with budget.lease("a") as one, budget.lease("b") as other:
        one.take(8)
        one.take(100)
        one.take(100)
        assert budget.free == 0
        with pytest.raises(ServiceBusyError):
            other.take(1)
    assert budget.free == 10


def test_bytes_come_back_after_an_error() -> None:
    budget = ByteBudget(10)

    def fail() -> None:
        with budget.lease() as lease:
            lease.take(10)
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        fail()
    assert budget.free == 10
