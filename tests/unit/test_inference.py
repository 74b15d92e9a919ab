"""The bounds of the service's work: how much at once, how much waits, and how many bytes of bodies."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from pgface.errors import ServiceBusyError
from pgface.server import metrics
from pgface.server.inference import BodyBudget, WorkPool


class Pool:
    """One worker, one that may wait, and a gate that work stands before."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.waiting = Gauge("waiting", "x", registry=registry)
        self.working = Gauge("working", "x", registry=registry)
        self.pool = WorkPool(1, 1, waiting=self.waiting, working=self.working)
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
        with pytest.raises(RuntimeError):
            asyncio.run(pool.pool.run(pool.work, 1))
    assert pool.numbers() == (0, 0)


def test_bytes_of_bodies() -> None:
    budget = BodyBudget(10)
    with budget.share() as one:
        one.take(4)
        with budget.share() as other:
            other.take(6)
            with pytest.raises(ServiceBusyError):
                other.take(1)
            with pytest.raises(ServiceBusyError):
                one.take(1)
            assert budget.free == 0
        assert budget.free == 6
        one.take(6)
    assert budget.free == 10


def test_of_more_than_there_are_at_all_one_holds_all() -> None:
    budget = BodyBudget(10)
    with budget.share() as one, budget.share() as other:
        one.take(8)
        one.take(100)
        one.take(100)
        assert budget.free == 0
        with pytest.raises(ServiceBusyError):
            other.take(1)
    assert budget.free == 10


def test_bytes_come_back_after_an_error() -> None:
    budget = BodyBudget(10)

    def fail() -> None:
        with budget.share() as share:
            share.take(10)
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        fail()
    assert budget.free == 10
