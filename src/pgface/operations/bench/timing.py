"""Time the sides of a comparison in turn, because the speed of a shared machine changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Self

import numpy as np

Side = Callable[[int], float]
"""Runs the round with the given number, and returns the seconds for each photo, row or call."""
Series = dict[str, list[float]]
"""The seconds of every side, round by round."""
Call = Callable[[int], object]
"""A function to time, which gets the number of the call."""

_BLOCK_SECONDS = 0.1
"""The duration of a block."""
_MIN_CALLS, _MAX_CALLS = 3, 200
"""The number of calls in a block."""
_MIN_ROUNDS, _MAX_ROUNDS = 5, 10


def seconds(call: Call) -> Side:
    """Make a side that times each call."""

    def side(round_number: int) -> float:
        started = time.perf_counter()
        call(round_number)
        return time.perf_counter() - started

    return side


def interleave(sides: Mapping[str, Side], rounds: int, *, warm_up: int = 0) -> Series:
    """Run every side once in every round. The order is reversed each time, so that no side is always first."""
    series: Series = {name: [] for name in sides}
    for number in range(-warm_up, rounds):
        for name in list(sides) if number % 2 == 0 else reversed(list(sides)):
            took = sides[name](max(number, 0))
            if number >= 0:
                series[name].append(took)
    return series


def in_turn(calls: Mapping[str, Call], max_seconds: float, *, rest: float = 0.0) -> tuple[Series, Series]:
    """Time blocks of calls, one side after the other.

    If single calls took turns, each side would find the caches filled by the other one, and its own threads asleep.

    Args:
        calls: the sides.
        max_seconds: the maximum duration. Slow sides have fewer calls. If it is short, all sides have.
        rest: seconds after each block, in which threads that wait for work fall asleep.

    Returns:
        The seconds of every call, and the median of every block, round by round.

    """
    taken: Series = {name: [] for name in calls}
    block_seconds = min(_BLOCK_SECONDS, max_seconds / (_MIN_ROUNDS * len(calls)))
    blocks = {name: _block(call, taken[name], block_seconds, rest) for name, call in calls.items()}
    began = time.perf_counter()
    interleave(blocks, 1)
    rounds = int(max_seconds / (time.perf_counter() - began))
    for warm_up in taken.values():
        warm_up.clear()
    medians = interleave(blocks, min(max(rounds, _MIN_ROUNDS), _MAX_ROUNDS))
    return taken, medians


def _block(call: Call, taken: list[float], block_seconds: float, rest: float) -> Side:
    """Make a side that times a block of calls for some time, records each, and gives their median."""
    timed = seconds(call)
    size = int(min(max(block_seconds / min(timed(number) for number in range(3)), _MIN_CALLS), _MAX_CALLS))
    numbers = count()

    def side(_: int) -> float:
        block = [timed(next(numbers)) for _ in range(size)]
        taken.extend(block)
        time.sleep(rest)
        return float(np.median(block))

    return side


@dataclass(frozen=True, slots=True)
class Ratio:
    """The ratio of two sides, round by round."""

    median: float
    quartiles: tuple[float, float]
    fastest: float
    """The ratio of the fastest rounds, because other programs can only slow a round down."""
    rounds: int

    @classmethod
    def of(cls, times: Sequence[float], other_times: Sequence[float]) -> Self:
        """Compute the ratio of times. With swapped arguments, it is the ratio of rates."""
        mine, theirs = np.array(times), np.array(other_times)
        low, median, high = np.percentile(mine / theirs, (25, 50, 75)).tolist()
        return cls(median, (low, high), float(mine.min() / theirs.min()), len(mine))


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the report."""

    what: str
    ours: str
    """The figure of pgface, with its unit."""
    other: str = ""
    """The figure to compare with."""
    ratio: float | None = None
    quartiles: tuple[float, float] | None = None
    """The quartiles of the ratios of single rounds."""
    fastest: float | None = None
    """The ratio of the fastest rounds."""
    rounds: int = 1
    target: str = ""
    met: bool | None = None
    """None for a row without a target."""


def ratio_row(what: str, ours: str, other: str, ratio: Ratio, rounds: int, *, at_most: float | None = None) -> Row:
    """Make a row with a ratio, and a maximum as its target if there is one."""
    target = "" if at_most is None else f"≤ {at_most:g} ×"
    met = None if at_most is None else ratio.median <= at_most
    return Row(what, ours, other, ratio.median, ratio.quartiles, ratio.fastest, rounds, target, met)
