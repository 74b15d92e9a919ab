"""Timing several sides of one comparison in turn, because the machine may be shared and its speed wander."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Literal, Self

import numpy as np

Side = Callable[[int], float]
"""Does one round, whose number it gets, and returns seconds for each photo, row or call."""
Series = dict[str, list[float]]
"""What every side took, round by round."""
Call = Callable[[int], object]
"""Is timed; gets the call's number."""

_BLOCK_SECONDS = 0.1
_CALLS = 3, 200
"""Of a block, at least and at most."""
_ROUNDS = 5, 10
"""Of blocks, at least and at most."""


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


def in_turn(calls: Mapping[str, Call], most_seconds: float, *, rest: float = 0.0) -> tuple[Series, Series]:
    """Time blocks of calls, one side after the other, so that each side finds the processor as it left it.

    Single calls in turn would find its caches filled by the other side, and its threads asleep.

    Args:
        calls: the sides.
        most_seconds: for all of it; slow sides have fewer calls.
        rest: seconds after each block, for threads that still wait for work to fall asleep.

    Returns:
        Seconds of every call, and the median of every block, round by round.

    """
    taken: Series = {name: [] for name in calls}
    blocks = {name: _block(call, taken[name], rest) for name, call in calls.items()}
    began = time.perf_counter()
    interleave(blocks, 1)
    rounds = int(most_seconds / (time.perf_counter() - began))
    for warm_up in taken.values():
        warm_up.clear()
    medians = interleave(blocks, min(max(rounds, _ROUNDS[0]), _ROUNDS[1]))
    return taken, medians


def _block(call: Call, taken: list[float], rest: float) -> Side:
    """A side of as many calls as fit into a tenth of a second; gives their median, and notes each of them."""
    timed = seconds(call)
    size = int(min(max(_BLOCK_SECONDS / min(timed(number) for number in range(3)), _CALLS[0]), _CALLS[1]))
    numbers = count()

    def side(_: int) -> float:
        block = [timed(next(numbers)) for _ in range(size)]
        taken.extend(block)
        time.sleep(rest)
        return float(np.median(block))

    return side


@dataclass(frozen=True, slots=True)
class Ratio:
    """One side against another, round by round."""

    median: float
    quartiles: tuple[float, float]
    fastest: float
    """Ratio of the fastest round of either side: other programs on the machine can only slow a round down."""
    rounds: int

    @classmethod
    def of(cls, times: Sequence[float], other_times: Sequence[float]) -> Self:
        """Of times to times; the other way round it is the ratio of rates."""
        mine, theirs = np.array(times), np.array(other_times)
        low, median, high = (float(value) for value in np.percentile(mine / theirs, (25, 50, 75)))
        return cls(median, (low, high), float(mine.min() / theirs.min()), len(mine))


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
    """As of `Ratio`."""
    rounds: int
    target: str
    """Empty for a row that is there for information."""
    met: bool | None


def figure(what: str, ours: str, other: str = "", *, rounds: int = 1, target: str = "", met: bool | None = None) -> Row:
    """A line without a ratio."""
    return Row(what, ours, other, None, None, None, rounds, target, met)


def ratio_row(what: str, ours: str, other: str, ratio: Ratio, rounds: int, *, at_most: float | None = None) -> Row:
    """A line whose ratio has a target at most, or none."""
    target = "" if at_most is None else f"≤ {at_most:g} ×"
    met = None if at_most is None else ratio.median <= at_most
    return Row(what, ours, other, ratio.median, ratio.quartiles, ratio.fastest, rounds, target, met)


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
    mine, theirs = series[ours], series[other]
    ratio = Ratio.of(mine, theirs) if measure == "time" else Ratio.of(theirs, mine)
    sign = "≤" if measure == "time" else "≥"
    met = None if target is None else (ratio.median <= target if measure == "time" else ratio.median >= target)

    def text(name: str, values: list[float]) -> str:
        middle = float(np.median(values))
        return (
            f"{name}: {middle * 1e3:.3g} ms"
            if measure == "time"
            else f"{name}: {1 / middle:,.{0 if middle < 0.01 else 1}f} {unit}"
        )

    goal = "" if target is None else f"{sign} {target:g} ×"
    texts = text(ours, mine), text(other, theirs)
    return Row(what, *texts, ratio.median, ratio.quartiles, ratio.fastest, ratio.rounds, goal, met)
