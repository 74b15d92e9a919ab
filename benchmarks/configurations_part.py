"""Measure every kind of index for one gallery: its size, and whether it keeps the agreement."""

from __future__ import annotations

import time
from collections.abc import Iterator

from pgface.operations.bench.facts import read_relations
from pgface.operations.bench.loading import LoadedGallery
from pgface.operations.bench.measure import OnStep, Plan, Probes, latency, rank_1
from pgface.operations.bench.report import AGREEMENT_TARGET, INDEX_TARGET, kilobytes
from pgface.operations.bench.results import search_index_bytes
from pgface.operations.bench.timing import Row
from pgface.search.state import METHODS


def configurations(loaded: LoadedGallery, probes: Probes, plan: Plan, on_step: OnStep) -> Iterator[Row]:
    """Give a row for each index, and the smallest one that is good enough. Afterwards pgface chooses again."""
    sizes: dict[str, float] = {}
    for method in METHODS:
        if method in ("auto", "exact"):
            continue
        on_step(f"{method}: fitting")
        began = time.perf_counter()
        loaded.gallery.fit_search(method)
        took = time.perf_counter() - began
        on_step(f"{method}: agreement and latency")
        agreement = rank_1(loaded, probes.mated, probes.mated_answers, plan)
        mated, non_mated = latency(loaded, probes, plan)
        size = search_index_bytes(read_relations(loaded.database)) / loaded.faces
        if agreement.value >= AGREEMENT_TARGET:
            sizes[method] = size
        yield Row(
            f"{method}, fitted in {took:.1f} s",
            f"{kilobytes(size)} a face, agreement {agreement}",
            f"mated: {mated}, non-mated: {non_mated}",
            rounds=agreement.trials,
        )
    yield _smallest(sizes)
    on_step("fitting as pgface chooses")
    loaded.gallery.fit_search("auto")


def _smallest(sizes: dict[str, float]) -> Row:
    """Make the row of the smallest index that keeps the agreement."""
    least = min(sizes, key=sizes.__getitem__, default=None)
    return Row(
        f"smallest index with an agreement ≥ {AGREEMENT_TARGET:g}",
        "no index keeps it" if least is None else f"{least}, {kilobytes(sizes[least])} a face",
        target=f"≤ {kilobytes(INDEX_TARGET)}",
        met=least is not None and sizes[least] <= INDEX_TARGET,
    )
