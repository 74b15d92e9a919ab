"""The results of a benchmark, with one `GalleryResult` for each size and kind."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np

from pgface.operations.bench.synthetic import Kind
from pgface.operations.bench.timing import Ratio
from pgface.search.measure import wilson_interval

_TEMPLATES = ("user_templates", "template_bits")


@dataclass(frozen=True, slots=True)
class Proportion:
    """A share with its 95 % Wilson interval."""

    successes: int
    trials: int
    value: float
    """The share, NaN without trials."""
    low: float
    high: float

    @classmethod
    def of(cls, successes: int, trials: int) -> Self:
        """Compute the share of successes."""
        if trials == 0:
            return cls(0, 0, math.nan, 0.0, 1.0)
        return cls(successes, trials, successes / trials, *wilson_interval(successes, trials))

    @property
    def misses(self) -> int:
        """The number of trials without success."""
        return self.trials - self.successes

    def __str__(self) -> str:
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f}), {self.misses:,} of {self.trials:,} missed"


@dataclass(frozen=True, slots=True)
class Latency:
    """The latency of calls, in milliseconds."""

    p50: float
    p95: float
    calls: int

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Self:
        """Compute the latency from the seconds of each call."""
        taken = np.fromiter(seconds, float) * 1e3
        p50, p95 = np.percentile(taken, (50, 95)).tolist()
        return cls(p50, p95, len(taken))

    def __str__(self) -> str:
        return f"p50 {self.p50:.3g} ms, p95 {self.p95:.3g} ms"


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The latency and agreement of an index search with a given effort."""

    effort: int | None
    """`hnsw.ef_search`, `ivfflat.probes` or efSearch. None for a search without an effort."""
    agreement: Proportion
    latency: Latency


@dataclass(frozen=True, slots=True)
class Curve:
    """Agreement and latency for all efforts."""

    name: str
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or an index on disk."""

    name: str
    table: str
    """The table itself, or the table of the index."""
    method: str
    """The index method, such as hnsw, ivfflat or btree, or heap for a table."""
    bytes: int


def search_index_bytes(relations: Iterable[Relation]) -> int:
    """Add up the size of the templates and their indexes, which identification uses beside the embeddings."""
    return sum(relation.bytes for relation in relations if relation.table in _TEMPLATES)


@dataclass(frozen=True, slots=True)
class Crowd:
    """Concurrent clients that search while another client enrolls, compared with a single client."""

    clients: int
    searches_per_second_each: float | None
    """The pace of each client, None for searches without pauses."""
    enrollments_per_second: float
    alone: Latency
    together: Latency
    searches_per_second: float
    """The searches of all clients together."""
    enrolled: int
    found_at_once: int
    """The number of faces that were identified directly after they were enrolled."""
    enrolling: Latency

    @property
    def ratio(self) -> float:
        """The p95 together, divided by the p95 alone."""
        return self.together.p95 / self.alone.p95


@dataclass(frozen=True, slots=True)
class Comparison:
    """`identify_embedding` compared with another search. The two run in turn."""

    name: str
    """The name of the other search."""
    probes: str
    """"mated" or "non-mated"."""
    effort: int | None
    """The lowest effort at which the other search agrees as often as pgface, None if it has no effort."""
    agreement: Proportion | None
    """The agreement of the other search for mated probes, None if it is exact."""
    ours: Latency
    other: Latency
    ratio: Ratio
    """The ratio of the medians of blocks of calls."""


@dataclass(frozen=True, slots=True)
class GalleryResult:
    """The results for one size and kind."""

    kind: Kind
    people: int
    faces: int
    method: str
    """The search method of pgface at this size."""
    first_effort: int | None
    """`hnsw.ef_search` or `ivfflat.probes` of the first search."""
    second_effort: int | None
    """The number of users that the second search compares exactly."""
    certain_similarity: float | None
    """The similarity from which the first search is enough."""
    estimated_agreement: float | None
    """The agreement that pgface measured when it chose, None for an exact search."""
    load_seconds: float
    """The seconds to load NumPy arrays and to fit the search."""
    threshold: float
    fpir: Proportion
    """The share of non-mated probes with a person above the threshold, by the exact answer."""
    mated_agreement: Proportion
    """The rank-1 agreement without a threshold."""
    non_mated_agreement: Proportion
    recall: Proportion
    """The recall of the people above the threshold, at most ten for a probe."""
    mated: Latency
    """The latency of `identify_embedding` with the threshold."""
    non_mated: Latency
    curve: Curve | None
    """None for an exact search."""
    peer_curves: tuple[Curve, ...]
    comparisons: tuple[Comparison, ...]
    relations: tuple[Relation, ...]
    crowds: tuple[Crowd, ...]

    @property
    def total_bytes(self) -> int:
        """The size of all tables and indexes."""
        return sum(relation.bytes for relation in self.relations)

    @property
    def search_index_bytes(self) -> int:
        """The size of the templates and their indexes."""
        return search_index_bytes(self.relations)

    @property
    def searched_bytes(self) -> int:
        """The size that every search reads: all embeddings, or the templates with their indexes."""
        if self.method != "exact":
            return self.search_index_bytes
        return sum(relation.bytes for relation in self.relations if relation.name == "face_embeddings")

    @property
    def name(self) -> str:
        """The heading for this result."""
        return f"{self.people:,} people × {self.faces // self.people} photos, {self.kind}"
