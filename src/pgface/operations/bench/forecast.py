"""Estimate the duration of a benchmark, and its progress."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from pgface.operations.bench.crowd import PACES, ROUNDS
from pgface.operations.bench.measure import Plan
from pgface.operations.bench.peers import installed_peers
from pgface.operations.bench.synthetic import PHOTOS_PER_PERSON

_SMALL_GALLERY_FACES: Final = 5_000
"""Galleries up to this size are searched exactly, which is fast."""


def steps_of(people: int, plan: Plan) -> dict[str, float]:
    """Estimate the seconds of each step of one gallery, in order. The figures come from two shared cores.

    Args:
        people: the number of people in the gallery.
        plan: how much to measure.

    """
    faces = people * PHOTOS_PER_PERSON
    small = faces <= _SMALL_GALLERY_FACES
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
    """The progress of a benchmark through its steps."""

    def __init__(self, galleries: Sequence[tuple[int, Plan]]) -> None:
        """Start at the first step.

        Args:
            galleries: the number of people and the plan of each gallery, in order.

        """
        steps = [seconds for people, plan in galleries for seconds in steps_of(people, plan).values()]
        self.seconds = sum(steps)
        """The estimated duration of the whole benchmark."""
        self._before = [0.0, *accumulate(steps)]
        self._begun = 0

    def begin(self, step: str) -> float:
        """Start a step. Returns the finished share of the whole, 0 to 1."""
        if not step.endswith(": searching"):  # the second half of a peer's step
            self._begun += 1
        return self._before[min(self._begun, len(self._before)) - 1] / self.seconds
