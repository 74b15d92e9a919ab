"""The budget of request bodies in memory, and the fair shares of requesters."""

from __future__ import annotations

from contextlib import ExitStack, suppress

import pytest

from pgface.errors import ServiceBusyError
from pgface.server.body_budget import BodyBudget


def test_bodies_share_the_bytes_of_the_budget() -> None:
    budget = BodyBudget(10)
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


def test_two_requesters_with_many_bodies_leave_bytes_for_a_third() -> None:
    budget = BodyBudget(100)
    with ExitStack() as stack:
        for name in ("a", "b"):
            for _ in range(20):
                with suppress(ServiceBusyError):
                    stack.enter_context(budget.lease(name)).take(10)
        assert budget.free >= 20
        with budget.lease("c") as third:
            third.take(20)
    assert budget.free == 100


def test_a_body_larger_than_the_budget_takes_all_of_it() -> None:
    budget = BodyBudget(10)
    with budget.lease("a") as one, budget.lease("b") as other:
        one.take(8)
        one.take(100)
        one.take(100)
        assert budget.free == 0
        with pytest.raises(ServiceBusyError):
            other.take(1)
    assert budget.free == 10


def test_bytes_are_free_again_after_an_error() -> None:
    budget = BodyBudget(10)

    def fail() -> None:
        with budget.lease() as lease:
            lease.take(10)
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        fail()
    assert budget.free == 10
