"""Similarity as a confidence from 0 to 100 that means the same for every model, because false match rates fix it.

A typical pair of strangers has 0: half of all pairs are at or below it. 50 is what one pair of strangers in 100 reaches
(FMR 1e-2), 80 one in 1,000, 90 one in 10,000, 95 one in 100,000 and 99 one in a million. 100 is the similarity 1.

Between two anchors the confidence rises in a straight line over the similarity. Far out, the similarities of strangers
fall off about exponentially, so that equal steps of similarity divide the FMR by equal factors, as the scale does from
one anchor to the next. Nothing is assumed of the model beyond its anchors.

The confidence is about one pair. It says nothing of how many people a gallery holds: in a search among 10,000, one
stranger reaches 90 with one of them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

CONFIDENCE_OF_FMR = {0.5: 0.0, 1e-2: 50.0, 1e-3: 80.0, 1e-4: 90.0, 1e-5: 95.0, 1e-6: 99.0}
"""What a false match rate is as a confidence; a rate of 0.5 is the median of non-matching pairs."""

_STEP = 1e-4
"""Between the similarities of two anchors at least, so that the confidence rises from one to the next."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A similarity of one model, and what it means."""

    similarity: float
    confidence: float
    fmr: float
    extrapolated: bool
    """Whether the FMR was not counted but follows from the similarities of more frequent ones."""


def anchors_of(thresholds: Iterable[tuple[float, float, bool]]) -> tuple[Anchor, ...]:
    """Anchors from FMRs, the similarities that have them, and whether those are extrapolated; the highest FMR first."""
    made: list[Anchor] = []
    lowest = -1.0
    for fmr, similarity, extrapolated in sorted(thresholds, reverse=True):
        lowest = max(similarity, lowest + _STEP)
        if lowest < 1:
            made.append(Anchor(lowest, CONFIDENCE_OF_FMR[fmr], fmr, extrapolated))
    return tuple(made)


def confidence(similarity: float, anchors: Sequence[Anchor]) -> float:
    """The confidence of a similarity: 0 up to the first anchor, 100 at a similarity of 1.

    Args:
        similarity: cosine, -1 to 1.
        anchors: the model's, in the order of their similarities; at least one.

    """
    points = [(-1.0, 0.0), *((anchor.similarity, anchor.confidence) for anchor in anchors), (1.0, 100.0)]
    place = min(max(bisect_right(points, (similarity, 100.0)), 1), len(points) - 1)
    (low, low_confidence), (high, high_confidence) = points[place - 1], points[place]
    share = (min(max(similarity, -1.0), 1.0) - low) / (high - low)
    return low_confidence + share * (high_confidence - low_confidence)
