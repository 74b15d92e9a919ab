"""Timing several sides of one comparison in turn, because the machine may be shared and its speed wander."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Side = Callable[[int], float]
"""Does one round, whose number it gets, and returns seconds for each photo, row or call."""
Series = dict[str, list[float]]
"""What every side took, round by round."""


def seconds(call: Callable[[int], object]) -> Side:
    """A side that is timed as a whole."""

    def side(round_number: int) -> float:
        started = time.perf_counter()
        call(round_number)
        return time.perf_counter() - started

    return side


def interleave(sides: Mapping[str, Side], rounds: int, *, warm_up: int = 0) -> Series:
    """Let every side have its turn in every round; the order turns round each time, so that nobody is always first."""
    series: Series = {name: [] for name in sides}
    for number in range(-warm_up, rounds):
        for name in list(sides) if number % 2 == 0 else reversed(list(sides)):
            took = sides[name](max(number, 0))
            if number >= 0:
                series[name].append(took)
    return series


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the report."""

    what: str
    ours: str
    """Our figure, with its unit."""
    other: str
    """What it is compared with."""
    ratio: float | None
    """None for a figure that is compared with its target directly."""
    quartiles: tuple[float, float] | None
    """Of the ratios of single rounds."""
    fastest: float | None
    """Ratio of the fastest round of either side: other programs on the machine can only slow a round down."""
    rounds: int
    target: str
    """Empty for a row that is there for information."""
    met: bool | None


def compare(
    what: str,
    series: Series,
    ours: str,
    other: str,
    *,
    measure: Literal["time", "rate"],
    target: float | None = None,
    unit: str = "",
) -> Row:
    """Compare two sides by the median of their ratios, round by round.

    Args:
        what: names the comparison.
        series: what `interleave` returned.
        ours: the side whose ratio to the other one is given.
        other: the side to compare with.
        measure: "time" gives ratios of times, with a target at most; "rate" of rates, with a target at least.
        target: what the ratio should be.
        unit: of the rate.

    """
    mine, theirs = np.array(series[ours]), np.array(series[other])
    ratios = mine / theirs if measure == "time" else theirs / mine
    ratio = float(np.median(ratios))
    sign = "≤" if measure == "time" else "≥"
    met = None if target is None else (ratio <= target if measure == "time" else ratio >= target)

    def text(name: str, values: NDArray[np.float64]) -> str:
        middle = float(np.median(values))
        return (
            f"{name}: {middle * 1e3:.3g} ms"
            if measure == "time"
            else f"{name}: {1 / middle:,.{0 if middle < 0.01 else 1}f} {unit}"
        )

    low, high = (float(value) for value in np.percentile(ratios, (25, 75)))
    goal = "" if target is None else f"{sign} {target:g} ×"
    best = float(mine.min() / theirs.min() if measure == "time" else theirs.min() / mine.min())
    return Row(what, text(ours, mine), text(other, theirs), ratio, (low, high), best, len(mine), goal, met)
