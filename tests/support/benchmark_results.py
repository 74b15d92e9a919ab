"""Invented results of a benchmark, for tests of reports and advice."""

from __future__ import annotations

from typing import Any

from pgface.operations.bench.facts import Server
from pgface.operations.bench.results import (
    Comparison,
    Crowd,
    Curve,
    CurvePoint,
    GalleryResult,
    Latency,
    Proportion,
    Relation,
)
from pgface.operations.bench.run import Benchmark
from pgface.operations.bench.synthetic import Kind
from pgface.operations.bench.timing import Ratio

ALL = Proportion.of(1_000, 1_000)
MEBI = 1024 * 1024


def latency(p50: float) -> Latency:
    return Latency(p50, 1.5 * p50, 1_000)


def compared(name: str, ratio: float, probes: str = "mated", effort: int | None = None) -> Comparison:
    agreement = None if effort is None else ALL
    times = latency(ratio), latency(1.0)
    return Comparison(name, probes, effort, agreement, *times, Ratio(ratio, (ratio, ratio), ratio, 10))


def crowd(*, p95: float = 2.0, found: int = 100, rate: float = 20.0, each: float | None = None) -> Crowd:
    return Crowd(
        clients=8,
        searches_per_second_each=each,
        enrollments_per_second=rate,
        alone=Latency(0.5, 1.0, 1_000),
        together=Latency(0.5, p95, 8_000),
        searches_per_second=800.0,
        enrolled=100,
        found_at_once=found,
        enrolling=latency(8.0),
    )


def curve(name: str, *points: tuple[int | None, int, float]) -> Curve:
    """Make a curve from efforts, misses of 1,000 probes, and milliseconds."""
    return Curve(
        name, tuple(CurvePoint(effort, Proportion.of(1_000 - n, 1_000), latency(ms)) for effort, n, ms in points)
    )


def result(**changes: Any) -> GalleryResult:
    """Make the result of 100,000 faces with an HNSW index, which meets every target."""
    values: dict[str, Any] = {
        "kind": Kind.CLUSTERED,
        "people": 20_000,
        "faces": 100_000,
        "method": "hnsw",
        "first_effort": 24,
        "second_effort": 200,
        "certain_similarity": 0.4,
        "estimated_agreement": 0.9995,
        "load_seconds": 10.0,
        "threshold": 0.42,
        "fpir": Proportion.of(10, 1_000),
        "mated_agreement": ALL,
        "non_mated_agreement": Proportion.of(990, 1_000),
        "recall": ALL,
        "mated": latency(0.9),
        "non_mated": latency(3.0),
        "curve": curve("pgface, one index search", (10, 12, 0.5), (24, 0, 0.8)),
        "peer_curves": (curve("NumPy, exact", (None, 0, 7.0)), curve("FAISS HNSW", (10, 60, 0.1), (48, 0, 0.3))),
        "comparisons": (compared("exact scan in PostgreSQL", 0.02), compared("FAISS HNSW", 3.0, effort=48)),
        "relations": (
            Relation("face_embeddings", "face_embeddings", "heap", 270 * MEBI),
            Relation("user_templates", "user_templates", "heap", 24 * MEBI),
            Relation("idx_user_templates_hnsw", "user_templates", "hnsw", 26 * MEBI),
        ),
        "crowds": (),
    }
    return GalleryResult(**(values | changes))


def benchmark(*results: GalleryResult, shared_buffers: int = 1024 * MEBI) -> Benchmark:
    return Benchmark({"cores": "2"}, Server("18.4", "0.8.5", shared_buffers, 64 * MEBI, 2), 1, results)
