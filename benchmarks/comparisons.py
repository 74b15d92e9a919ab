"""Compare two sides by their ratios, round by round."""

from __future__ import annotations

from typing import Literal

import numpy as np

from pgface.operations.bench.timing import Ratio, Row, Series


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
        what: the name of the comparison.
        series: the result of `interleave`.
        ours: the side of pgface.
        other: the side to compare with.
        measure: "time" gives ratios of times, whose target is a maximum. "rate" gives ratios of rates, whose target
            is a minimum.
        target: the target of the ratio.
        unit: the unit of the rate.

    """
    mine, theirs = series[ours], series[other]
    is_time = measure == "time"
    ratio = Ratio.of(mine, theirs) if is_time else Ratio.of(theirs, mine)

    def text(name: str, values: list[float]) -> str:
        middle = float(np.median(values))
        if is_time:
            return f"{name}: {middle * 1e3:.3g} ms"
        return f"{name}: {1 / middle:,.{0 if middle < 0.01 else 1}f} {unit}"

    goal, met = "", None
    if target is not None:
        goal = f"{'≤' if is_time else '≥'} {target:g} ×"
        met = ratio.median <= target if is_time else ratio.median >= target
    texts = text(ours, mine), text(other, theirs)
    return Row(what, *texts, ratio.median, ratio.quartiles, ratio.fastest, ratio.rounds, goal, met)
