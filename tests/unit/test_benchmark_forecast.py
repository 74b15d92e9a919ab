"""How long a benchmark takes, and the share of it that is done."""

from __future__ import annotations

from itertools import pairwise

import pytest

from pgface.operations.bench.forecast import Forecast, steps_of
from pgface.operations.bench.measure import Plan


def told(people: int, plan: Plan) -> list[str]:
    """The steps that a benchmark tells of, of one gallery."""
    names = []
    for step in steps_of(people, plan):
        names += [f"{step}: building", f"{step}: searching"] if step.startswith("peer") else [step]
    return names


@pytest.mark.parametrize("plan", [Plan(), Plan(peers=False), Plan(clients=0), Plan(peers=False, clients=0)])
def test_the_share_rises_from_nothing_and_stays_below_all(plan: Plan) -> None:
    sizes = [200, 20_000]
    forecast = Forecast([(people, plan) for people in sizes])
    shares = [forecast.begin(step) for people in sizes for step in told(people, plan)]
    assert shares[0] == 0
    assert all(before <= after for before, after in pairwise(shares))
    assert len(set(shares)) > len(shares) / 2
    assert 0.4 < shares[-1] < 1


def test_more_of_anything_takes_longer() -> None:
    def seconds(people: int = 200, **plan: float) -> float:
        return Forecast([(people, Plan(**plan))]).seconds  # type: ignore[arg-type]

    assert seconds() < seconds(people=20_000)
    assert seconds(clients=0) < seconds() < seconds(seconds=60.0)
    assert seconds(peers=False) < seconds()
    assert seconds(patience=1.0) < seconds()
