"""Histograms of similarities with narrow bins. Memory does not grow with the number of similarities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 20_000
"""Number of bins from -1 to 1. A threshold of four decimal places is the edge of a bin."""


def count_similarities(similarities: NDArray[np.float32]) -> NDArray[np.int64]:
    """Count the similarities in each bin, shape (BINS,). The similarities are overwritten."""
    # Rounding may take a cosine slightly beyond -1 or 1. An additional bin at each end is faster than clipping.
    similarities *= np.float32(BINS / 2)
    similarities += np.float32(BINS / 2 + 1)
    counts = np.bincount(similarities.astype(np.intp).ravel(), minlength=BINS + 2)
    inner = counts[1:-1]
    inner[0] += counts[0]
    inner[-1] += counts[-1]
    return inner


def thresholds() -> NDArray[np.float64]:
    """Return the edges of the bins, shape (BINS + 1,): -1, -0.9999 … 1."""
    return np.round(np.arange(BINS + 1) * (2 / BINS) - 1, 4)


def index_of(threshold: float) -> int:
    """Return the index of a threshold in `thresholds()`, rounded up."""
    return int(np.clip(np.ceil(round((threshold + 1) * (BINS / 2), 6)), 0, BINS))


@dataclass(frozen=True, slots=True, eq=False)
class ScoreHistogram:
    """The number of similarities in each bin."""

    counts: NDArray[np.int64]
    """Shape (BINS,)."""

    @classmethod
    def of(cls, similarities: NDArray[np.float32]) -> ScoreHistogram:
        """Count similarities of any shape."""
        return cls(count_similarities(similarities.copy()))

    @property
    def total(self) -> int:
        """The number of similarities."""
        return int(self.counts.sum())

    def at_or_above(self) -> NDArray[np.int64]:
        """Count the similarities that reach each of `thresholds()`, shape (BINS + 1,)."""
        return np.concatenate([self.counts[::-1].cumsum()[::-1], [0]])

    def below(self) -> NDArray[np.int64]:
        """Count the similarities below each of `thresholds()`, shape (BINS + 1,)."""
        return np.concatenate([[0], self.counts.cumsum()])
