"""A memory budget is shared fairly, and no request waits forever."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from pgface.faces.decoding.budget import MAX_OVERTAKING, ByteBudget
from support.sentences import photos as says

SOON = 10.0
"""Seconds after which a wait has failed."""


@contextmanager
def held_elsewhere(budget: ByteBudget, size: int, total: int) -> Iterator[None]:
    """Hold a share in another thread until the block ends."""
    is_held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with budget.share(size, total):
            is_held.set()
            assert release.wait(SOON)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(hold)
        assert is_held.wait(SOON)
        try:
            yield
        finally:
            release.set()
            future.result(SOON)


def take(budget: ByteBudget, size: int, total: int) -> int:
    with budget.share(size, total):
        return size


def wait_until_waiting(budget: ByteBudget, count: int) -> None:
    """Return as soon as this number of threads wait."""
    for _ in range(int(SOON * 1000)):
        if len(budget._waiting) == count:
            return
        threading.Event().wait(0.001)
    pytest.fail(f"{len(budget._waiting)} threads wait, not {count}")


def test_a_share_is_released() -> None:
    budget = ByteBudget()
    with budget.share(60, 100):
        assert budget.held == 60
    assert budget.held == 0
    with pytest.raises(KeyError), budget.share(60, 100):
        raise KeyError
    assert budget.held == 0


def test_a_share_larger_than_the_budget() -> None:
    with pytest.raises(ValueError, match=says.SHARE_LARGER_THAN_BUDGET.pattern()):
        take(ByteBudget(), 101, 100)


def test_a_request_that_does_not_fit_waits() -> None:
    budget = ByteBudget()
    with ThreadPoolExecutor(1) as pool:
        with held_elsewhere(budget, 60, 100):
            assert take(budget, 40, 100) == 40
            waiting = pool.submit(take, budget, 41, 100)
            wait_until_waiting(budget, 1)
            assert not waiting.done()
        assert waiting.result(SOON) == 41


def test_small_shares_overtake_a_large_one_but_not_forever() -> None:
    budget = ByteBudget()
    with ThreadPoolExecutor(2) as pool:
        with held_elsewhere(budget, 50, 100):
            large = pool.submit(take, budget, 100, 100)
            wait_until_waiting(budget, 1)
            for _ in range(MAX_OVERTAKING):
                take(budget, 10, 100)
            small = pool.submit(take, budget, 10, 100)
            wait_until_waiting(budget, 2)
            assert not small.done()
        assert large.result(SOON) == 100
        assert small.result(SOON) == 10


def test_a_part_of_a_share_is_released() -> None:
    budget = ByteBudget()
    with budget.share(60, 100) as keep:
        keep(20)
        assert budget.held == 20
        keep(50)  # a share cannot grow
        assert budget.held == 20
    assert budget.held == 0


def test_the_budget_is_never_exceeded() -> None:
    budget = ByteBudget()
    most = 0
    lock = threading.Lock()

    def work(number: int) -> None:
        nonlocal most
        with budget.share(10 + number % 40, 100):
            with lock:
                most = max(most, budget.held)
            time.sleep(0.001)  # lets the other threads run

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(300)))
    assert 50 <= most <= 100
    assert budget.held == 0


def test_two_threads_that_each_want_a_second_share_do_not_wait_for_each_other() -> None:
    budget = ByteBudget()
    both_hold = threading.Barrier(2, timeout=SOON)

    def work() -> int:
        with budget.share(50, 100):
            both_hold.wait()
            return take(budget, 50, 100)

    with ThreadPoolExecutor(2) as pool:
        assert [future.result(SOON) for future in [pool.submit(work), pool.submit(work)]] == [50, 50]
    assert budget.held == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_does_not_wait_for_its_parents_threads() -> None:
    code = """
        import os, threading
        from pgface.faces.decoding.budget import ByteBudget
        budget, is_held = ByteBudget(), threading.Event()
        def hold():
            with budget.share(100, 100):
                is_held.set()
                threading.Event().wait(60)
        threading.Thread(target=hold, daemon=True).start()
        is_held.wait()
        child = os.fork()
        if child == 0:
            with budget.share(100, 100):
                os._exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    ignored = ["-W", "ignore::DeprecationWarning"]  # about a fork beside a thread, which this tests
    result = subprocess.run(
        [sys.executable, *ignored, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
        timeout=SOON,
    )
    assert result.stdout.strip() == "7"
