"""How long a benchmark takes, and what share of it is done."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from pgface.operations.bench.crowd import PACES, ROUNDS
from pgface.operations.bench.measure import Plan
from pgface.operations.bench.peers import installed_peers
from pgface.operations.bench.synthetic import PHOTOS_PER_PERSON

_SMALL: Final = 5_000
"""Faces up to which searches are exact, and quick."""


def steps_of(people: int, plan: Plan) -> dict[str, float]:
    """Seconds that each step of one gallery takes, about, in their order; as they were on two shared cores.

    Args:
        people: the gallery's.
        plan: how much is measured of it.

    """
    faces = people * PHOTOS_PER_PERSON
    small = faces <= _SMALL
    steps = {
        "loading": 1 + faces / 1_500,
        "exact answers": 0.3 + faces / 4_000,
        "agreement with the exact answers": 6 if small else 4 * plan.agreement_patience,
        "latency": plan.patience + 2,
        "agreement against latency": 0 if small else 3 * plan.patience,
    }
    peers = len(installed_peers()) if plan.peers else 0
    steps |= {f"peer {number}": 4 + faces / 2_000 for number in range(1, peers + 1)}
    if plan.clients:
        steps["clients"] = 5 + 2 * ROUNDS * (1 + len(PACES)) * plan.seconds
    return steps


class Forecast:
    """The share of a benchmark that is done, as it goes from step to step."""

    def __init__(self, galleries: Sequence[tuple[int, Plan]]) -> None:
        """Begin.

        Args:
            galleries: people and plan of each, in their order.

        """
        steps = [seconds for people, plan in galleries for seconds in steps_of(people, plan).values()]
        self.seconds = sum(steps)
        """That all of it takes, about."""
        self._before = [0.0, *accumulate(steps)]
        self._begun = 0

    def begin(self, step: str) -> float:
        """Note that a step begins; returns the share of the whole that is done, 0 to 1."""
        if not step.endswith(": searching"):  # the second half of a peer's
            self._begun += 1
        return self._before[min(self._begun, len(self._before)) - 1] / self.seconds
