"""How long ago a replica showed everything, measured by a clock that the tests set."""

from __future__ import annotations

import time

import pytest

from pgface.database.replica_lag import LagClock, ReplicaLag, ReplicaWatch


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in a list with one item."""
    moment = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: moment[0])
    return moment


def test_an_idle_primary_makes_no_replica_late(now: list[float]) -> None:
    clock = LagClock()
    assert clock.seconds(is_current=True, since_commit=86_400) == 0
    now[0] += 3
    # The first commit after a day is on its way.
    assert clock.seconds(is_current=False, since_commit=86_403) == 3


def test_a_replica_that_was_never_current_is_as_old_as_its_last_commit(now: list[float]) -> None:
    clock = LagClock()
    assert clock.seconds(is_current=False) is None
    assert clock.seconds(is_current=False, since_commit=40) == 40
    # The clocks of two servers differ.
    assert clock.seconds(is_current=False, since_commit=-0.5) == 0
    now[0] += 1
    assert clock.seconds(is_current=False, since_commit=41) == 41


@pytest.mark.parametrize(
    ("limit", "lag", "exceeds"),
    [
        (10, None, False),
        (10, ReplicaLag(0, 0.0), False),
        (10, ReplicaLag(5, 10.0), False),
        (10, ReplicaLag(5, 10.1), True),
        (10, ReplicaLag(None, None), True),
        (0, ReplicaLag(None, None), False),
        (0, ReplicaLag(5, 1e9), False),
    ],
)
def test_the_limit(limit: float, lag: ReplicaLag | None, exceeds: bool) -> None:
    assert ReplicaWatch(limit).exceeds_limit(lag) == exceeds
