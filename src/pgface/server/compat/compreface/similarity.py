"""CompreFace's similarity, with numbers that give it a stated false match rate.

The formula is CompreFace's: (tanh((c0 - d) * c1) + 1) / 2, where d is the Euclidean distance of two unit embeddings
(`EuclideanDistanceClassifier` in its code). Its two numbers belong to a model. Here they follow from the gallery's
confidence scale: one non-mated pair in 1,000 reaches 0.5, and one in a million reaches 0.9.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Final

from pgface.thresholds import Anchor

_MIDDLE_FMR: Final = 1e-3
"""The false match rate at similarity 0.5."""
_HIGH_FMR: Final = 1e-6
_HIGH_SIMILARITY: Final = 0.9
_PLACES: Final = Decimal("0.00001")


@dataclass(frozen=True, slots=True)
class SimilarityScale:
    """The two numbers of the formula."""

    c0: float
    c1: float

    def similarity(self, cosine: float) -> float:
        """Convert a cosine, -1 to 1, to a similarity, 0 to 1."""
        return (math.tanh((self.c0 - _distance(cosine)) * self.c1) + 1) / 2


_ARCFACE: Final = SimilarityScale(1.23132175, 6.602259425)
"""CompreFace's own numbers for `arcface_r100_v1`, for a gallery without a confidence scale."""


@lru_cache(maxsize=64)
def scale_of(anchors: tuple[Anchor, ...]) -> SimilarityScale:
    """Return the scale of a gallery with this confidence scale."""
    middle = next((anchor for anchor in anchors if anchor.fmr == _MIDDLE_FMR), None)
    rarer = [anchor for anchor in anchors if anchor.fmr < _MIDDLE_FMR]
    if middle is None or not rarer:
        return _ARCFACE
    c0, high = _distance(middle.similarity), rarer[-1]
    # atanh(2s - 1) grows by the same step for each factor of the FMR, as the confidence scale does.
    share = math.log(_MIDDLE_FMR / high.fmr) / math.log(_MIDDLE_FMR / _HIGH_FMR)
    return SimilarityScale(c0, share * math.atanh(2 * _HIGH_SIMILARITY - 1) / (c0 - _distance(high.similarity)))


def similarities(cosines: Sequence[float], anchors: tuple[Anchor, ...]) -> list[float]:
    """Convert cosines to rounded similarities."""
    scale = scale_of(anchors)
    return [rounded(scale.similarity(cosine)) for cosine in cosines]


def rounded(value: float) -> float:
    """Round to five decimals, a half away from zero, as CompreFace does."""
    return float(Decimal(repr(value)).quantize(_PLACES, ROUND_HALF_UP))


def _distance(cosine: float) -> float:
    return math.sqrt(max(0.0, 2 - 2 * cosine))
