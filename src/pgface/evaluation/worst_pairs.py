"""The most telling errors: a look at these pairs often shows a wrong label, or a photo that is of no use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pgface.evaluation.embeddings import EmbeddedPhotos
from pgface.evaluation.pairwise import PairComparisons, Pairs
from pgface.evaluation.photos import LabelledPhoto

SHOWN = 12
"""Pairs of each kind."""


@dataclass(frozen=True, slots=True)
class WorstPair:
    """Two photos, and how similar they are."""

    first: LabelledPhoto
    second: LabelledPhoto
    similarity: float


def nearest_non_mated(compared: PairComparisons, embedded: EmbeddedPhotos, count: int = SHOWN) -> list[WorstPair]:
    """The most similar photos of two people, no two people twice, the most similar first."""
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


def furthest_mated(compared: PairComparisons, embedded: EmbeddedPhotos, count: int = SHOWN) -> list[WorstPair]:
    """The least similar photos of one person, no photo twice, the least similar first."""
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
