"""What a benchmark finds: frozen values, one `GalleryResult` for each size and kind."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np

from pgface.operations.bench.synthetic import Kind
from pgface.operations.bench.timing import Ratio
from pgface.search import wilson_interval

_TEMPLATES = ("user_templates", "template_bits")


@dataclass(frozen=True, slots=True)
class Proportion:
    """A share, with its 95 % interval by Wilson."""

    successes: int
    trials: int
    value: float
    """NaN when there were no trials."""
    low: float
    high: float

    @classmethod
    def of(cls, successes: int, trials: int) -> Self:
        """The share of successes."""
        if trials == 0:
            return cls(0, 0, math.nan, 0.0, 1.0)
        return cls(successes, trials, successes / trials, *wilson_interval(successes, trials))

    @property
    def misses(self) -> int:
        """How many were no success."""
        return self.trials - self.successes

    def __str__(self) -> str:
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f}), {self.misses:,} of {self.trials:,} missed"


@dataclass(frozen=True, slots=True)
class Latency:
    """How long calls took, in milliseconds."""

    p50: float
    p95: float
    calls: int

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Self:
        """From the seconds of each call."""
        taken = np.fromiter(seconds, float) * 1e3
        p50, p95 = (float(value) for value in np.percentile(taken, (50, 95)))
        return cls(p50, p95, len(taken))

    def __str__(self) -> str:
        return f"p50 {self.p50:.3g} ms, p95 {self.p95:.3g} ms"


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What one look with a given effort costs, and how often it finds the exact answer."""

    effort: int | None
    """`hnsw.ef_search`, `ivfflat.probes`, efSearch; None where there is nothing to set."""
    agreement: Proportion
    latency: Latency


@dataclass(frozen=True, slots=True)
class Curve:
    """Agreement against latency over the efforts."""

    name: str
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """A table, or an index of one, on disk."""

    name: str
    table: str
    """The table itself, or the one that the index belongs to."""
    method: str
    """hnsw, ivfflat, btree, ...; heap for a table."""
    bytes: int

    @property
    def is_vector_index(self) -> bool:
        """Whether it is an index of pgvector."""
        return self.method in ("hnsw", "ivfflat")


def search_index_bytes(relations: Iterable[Relation]) -> int:
    """Of what identification has beside the embeddings: templates, in whatever form, and their indexes."""
    return sum(relation.bytes for relation in relations if relation.table in _TEMPLATES)


@dataclass(frozen=True, slots=True)
class Crowd:
    """Several clients searching while somebody enrolls, beside one client alone."""

    clients: int
    searches_per_second_each: float | None
    """None: each searches again as soon as it has an answer."""
    enrollments_per_second: float
    alone: Latency
    together: Latency
    searches_per_second: float
    """Of all clients together."""
    enrolled: int
    found_at_once: int
    """How many of the enrolled faces were identified by the enroller directly after."""
    enrolling: Latency

    @property
    def ratio(self) -> float:
        """p95 together against p95 alone."""
        return self.together.p95 / self.alone.p95


@dataclass(frozen=True, slots=True)
class Comparison:
    """`identify_embedding` beside somebody else, in turn."""

    name: str
    """Of the other."""
    probes: str
    """"mated" or "non-mated"."""
    effort: int | None
    """Of the other: the least at which it agrees as often as pgface; None where there is nothing to set."""
    agreement: Proportion | None
    """Of the other, for mated probes; None for one that is exact."""
    ours: Latency
    other: Latency
    ratio: Ratio
    """Of the medians of blocks of calls."""


@dataclass(frozen=True, slots=True)
class GalleryResult:
    """Everything about one size and kind."""

    kind: Kind
    people: int
    faces: int
    method: str
    """How pgface searches at this size."""
    first_effort: int | None
    """`hnsw.ef_search` or `ivfflat.probes` of the first look."""
    second_effort: int | None
    """How many users are compared exactly in the second look."""
    certain_similarity: float | None
    """From which on the first look is enough."""
    estimated_agreement: float | None
    """What pgface itself measured when it chose; None for an exact search."""
    load_seconds: float
    """From NumPy arrays until all are found, with the fit of the search."""
    threshold: float
    fpir: Proportion
    """Non-mated probes with somebody above the threshold, by the exact answer."""
    mated_agreement: Proportion
    """Rank-1, without a threshold."""
    non_mated_agreement: Proportion
    recall: Proportion
    """Of the people above the threshold, ten for a probe at most."""
    mated: Latency
    """`identify_embedding` with the threshold."""
    non_mated: Latency
    curve: Curve | None
    """None for a gallery that is scanned exactly."""
    peer_curves: tuple[Curve, ...]
    comparisons: tuple[Comparison, ...]
    relations: tuple[Relation, ...]
    crowds: tuple[Crowd, ...]

    @property
    def vector_index_bytes(self) -> int:
        """Of all vector indexes together."""
        return sum(relation.bytes for relation in self.relations if relation.is_vector_index)

    @property
    def total_bytes(self) -> int:
        """Of all tables and indexes."""
        return sum(relation.bytes for relation in self.relations)

    @property
    def search_index_bytes(self) -> int:
        """Of what identification has beside the embeddings: templates, in whatever form, and their indexes."""
        return search_index_bytes(self.relations)

    @property
    def searched_bytes(self) -> int:
        """Of what every search reads in: all embeddings, or the templates with their indexes."""
        if self.method != "exact":
            return self.search_index_bytes
        return sum(relation.bytes for relation in self.relations if relation.name == "face_embeddings")

    @property
    def name(self) -> str:
        """As a heading."""
        return f"{self.people:,} people × {self.faces // self.people} photos, {self.kind}"
