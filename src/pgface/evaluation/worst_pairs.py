"""The worst pairs. They often show a wrong label, or a useless photo."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np

from pgface.evaluation.embeddings import EmbeddedPhotos
from pgface.evaluation.pairwise import PairComparisons, Pairs
from pgface.evaluation.photos import LabelledPhoto

_MAX_PAIRS = 12


@dataclass(frozen=True, slots=True)
class WorstPair:
    """Two photos and their similarity."""

    first: LabelledPhoto
    second: LabelledPhoto
    similarity: float


def nearest_non_mated(compared: PairComparisons, embedded: EmbeddedPhotos) -> list[WorstPair]:
    """Return the most similar photos of two people, the most similar first. No two people occur twice."""
    pairs = compared.nearest_non_mated if len(compared.nearest_non_mated) else compared.non_mated_sample
    nearest = pairs.select(np.argsort(-pairs.similarities, kind="stable"))
    return _distinct(nearest, embedded, lambda pair: {frozenset((pair.first.person, pair.second.person))})


def furthest_mated(compared: PairComparisons, embedded: EmbeddedPhotos) -> list[WorstPair]:
    """Return the least similar photos of one person, the least similar first. No photo occurs twice."""
    return _distinct(compared.furthest_mated, embedded, lambda pair: {pair.first.name, pair.second.name})


def _distinct(
    pairs: Pairs, embedded: EmbeddedPhotos, subjects: Callable[[WorstPair], set[Hashable]]
) -> list[WorstPair]:
    """Return the first pairs without subjects of earlier pairs, and without refused photos, which have no face."""
    seen: set[Hashable] = set()
    found: list[WorstPair] = []
    for first, second, similarity in zip(pairs.first, pairs.second, pairs.similarities, strict=True):
        if len(found) == _MAX_PAIRS:
            break
        if max(first, second) >= len(embedded.photos):
            continue
        pair = WorstPair(embedded.photos[first], embedded.photos[second], float(similarity))
        if not subjects(pair) & seen:
            seen |= subjects(pair)
            found.append(pair)
    return found
