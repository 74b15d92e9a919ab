"""The worst pairs. They often show a wrong label, or a useless photo."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pgface.evaluation.embeddings import EmbeddedPhotos
from pgface.evaluation.pairwise import PairComparisons, Pairs
from pgface.evaluation.photos import LabelledPhoto

PAIRS_OF_A_KIND = 12
"""Number of pairs of each kind."""


@dataclass(frozen=True, slots=True)
class WorstPair:
    """Two photos and their similarity."""

    first: LabelledPhoto
    second: LabelledPhoto
    similarity: float


def nearest_non_mated(
    compared: PairComparisons, embedded: EmbeddedPhotos, count: int = PAIRS_OF_A_KIND
) -> list[WorstPair]:
    """Return the most similar photos of two people, the most similar first. No two people occur twice."""
    pairs = compared.nearest_non_mated if len(compared.nearest_non_mated) else compared.non_mated_sample
    order = np.argsort(-pairs.similarities, kind="stable")
    seen: set[frozenset[str]] = set()
    found = []
    for pair in _pairs(pairs, order.tolist(), embedded):
        people = frozenset((pair.first.person, pair.second.person))
        if people not in seen:
            seen.add(people)
            found.append(pair)
        if len(found) == count:
            break
    return found


def furthest_mated(
    compared: PairComparisons, embedded: EmbeddedPhotos, count: int = PAIRS_OF_A_KIND
) -> list[WorstPair]:
    """Return the least similar photos of one person, the least similar first. No photo occurs twice."""
    seen: set[str] = set()
    found = []
    for pair in _pairs(compared.furthest_mated, range(len(compared.furthest_mated)), embedded):
        photos = {pair.first.name, pair.second.name}
        if not photos & seen:
            seen |= photos
            found.append(pair)
        if len(found) == count:
            break
    return found


def _pairs(pairs: Pairs, order: range | list[int], embedded: EmbeddedPhotos) -> Iterator[WorstPair]:
    for number in order:
        rows = int(pairs.first[number]), int(pairs.second[number])
        if max(rows) < len(embedded.photos):  # a refused photo has no face to show
            first, second = (embedded.photos[row] for row in rows)
            yield WorstPair(first, second, float(pairs.similarities[number]))
