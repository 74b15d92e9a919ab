"""The estimated duration of a benchmark's steps."""

from __future__ import annotations

import pytest

from pgface.operations.bench.measure import Plan
from pgface.operations.bench.peers import installed_peers
from pgface.operations.bench.run import step_seconds


@pytest.mark.parametrize(
    ("plan", "steps"),
    [
        (Plan(), 6 + 2 * len(installed_peers())),
        (Plan(peers=False), 6),
        (Plan(clients=0), 5 + 2 * len(installed_peers())),
        (Plan(peers=False, clients=0), 5),
    ],
)
@pytest.mark.parametrize("people", [200, 20_000])
def test_every_step_has_an_estimate(people: int, plan: Plan, steps: int) -> None:
    estimates = step_seconds(people, plan)
    assert len(estimates) == steps
    assert min(estimates) >= 0
    assert estimates[0] > 0


def test_more_of_anything_takes_longer() -> None:
    def seconds(people: int = 200, **plan: float) -> float:
        return sum(step_seconds(people, Plan(**plan)))  # type: ignore[arg-type]

    assert seconds() < seconds(people=20_000)
    assert seconds(clients=0) < seconds() < seconds(seconds=60.0)
    assert seconds(peers=False) < seconds()
    assert seconds(patience=1.0) < seconds()
