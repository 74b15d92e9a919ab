"""How often strangers reach a similarity far out, by a generalised Pareto tail that `pgface.evaluation.tail` fits."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tail:
    """How often a stranger reaches a similarity with one person, from a similarity on."""

    start: float
    share: float
    """Of all trials: those that reach the start."""
    scale: float
    shape: float
    """0 for an exponential tail, more for a heavier one."""

    def rate(self, threshold: float) -> float:
        """Share of trials that reach a threshold, which is not below the start."""
        beyond = max(0.0, threshold - self.start) / self.scale
        if self.shape == 0:
            return self.share * math.exp(-beyond)
        return float(self.share * (1 + self.shape * beyond) ** (-1 / self.shape))

    def threshold(self, rate: float) -> float:
        """The threshold that a share of trials reaches; the start for all larger ones, and 1 at most."""
        if rate >= self.share:
            return self.start
        fewer = self.share / rate
        beyond = math.log(fewer) if self.shape == 0 else (fewer**self.shape - 1) / self.shape
        return min(1.0, self.start + self.scale * beyond)


def rate_of_each(fpir: float, people: int) -> float:
    """How often a stranger may be taken for one enrolled person, so that a search among so many gives a name so often.

    People are taken to be independent. Strangers of whom some resemble many and others few make the true FPIR lower
    (Jensen's inequality); relatives who are enrolled together, and more photos of each person, make it higher.
    """
    return -math.expm1(math.log1p(-fpir) / people)


def fpir_of(rate: float, people: int) -> float:
    """The reverse: how often a search among so many people gives a stranger a name."""
    return -math.expm1(people * math.log1p(-min(rate, 1 - 1e-12)))
