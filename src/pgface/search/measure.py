"""Confidence intervals of measured shares."""

from __future__ import annotations

import math


def wilson_interval(successes: float, trials: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share, or of the mean of values from 0 to 1.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    z = 1.959964
    share = successes / trials
    centre = share + z * z / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)
