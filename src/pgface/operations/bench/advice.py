"""What the figures mean for whoever runs this server, in a few sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from pgface.operations.bench.facts import Server
from pgface.operations.bench.report import AGREEMENT_TARGET, CROWD_TARGET
from pgface.operations.bench.results import GalleryResult
from pgface.operations.bench.run import Benchmark

MEBI = 1024 * 1024
_ROOM = 1.25
"""Of shared_buffers over what search reads."""
_MILLION = 1_000_000


def advice(benchmark: Benchmark) -> list[str]:
    """Sentences: which method suits which size, whether the targets were met, what memory and disk it takes."""
    results = benchmark.results
    return [
        *_methods(results),
        *_agreement(results),
        *_buffers(results, benchmark.server),
        *_disk(results),
        *_crowds(results),
    ]


def _methods(results: Sequence[GalleryResult]) -> Iterator[str]:
    scanned = [result for result in results if result.method == "exact"]
    indexed = [result for result in results if result.method != "exact"]
    if scanned:
        largest = max(scanned, key=lambda result: (result.people, result.mated.p50))
        yield (
            f"Up to {largest.people:,} people ({largest.faces:,} faces) an exact scan is quick enough here: half of "
            f"the searches took {largest.mated.p50:.2g} ms or less, and it misses nobody."
        )
    for result in indexed:
        scan = next((compared for compared in result.comparisons if "scan" in compared.name), None)
        if scan is not None:
            yield (
                f"{result.name}: {result.method} takes {scan.ours.p50:.2g} ms where an exact scan takes "
                f"{scan.other.p50:.2g} ms."
            )
    if results:
        yield "pgface chooses by itself as a gallery grows; nothing has to be set."


def _agreement(results: Sequence[GalleryResult]) -> Iterator[str]:
    missed = [
        result
        for result in results
        if min(result.mated_agreement.value, _or_one(result.recall.value)) < AGREEMENT_TARGET
    ]
    if not missed:
        probes = min(result.mated_agreement.trials for result in results)
        low = min(result.mated_agreement.low for result in results)
        yield f"Agreement with the exact answer was {AGREEMENT_TARGET:g} or better everywhere" + (
            "."
            if low >= AGREEMENT_TARGET
            else f", though {probes:,} probes only show that it is above {low:.4f}; more --probes show more."
        )
    for result in missed:
        yield (
            f"{result.name}: agreement {result.mated_agreement}, recall {result.recall}; below {AGREEMENT_TARGET:g}. "
            "`pgface fit-search --method exact` makes identification scan exactly."
        )


def _buffers(results: Sequence[GalleryResult], server: Server) -> Iterator[str]:
    largest = max(results, key=lambda result: result.searched_bytes)
    needed = largest.searched_bytes
    there = server.shared_buffers
    size = f"{needed / MEBI:,.0f} MB for {largest.faces:,} faces"
    if needed * _ROOM <= there:
        millions = there / _ROOM / (needed / largest.faces)
        yield (
            f"shared_buffers ({there / MEBI:,.0f} MB) holds what a search reads ({size}), "
            f"up to some {_rounded(millions):,} faces."
        )
    else:
        yield (
            f"shared_buffers ({there / MEBI:,.0f} MB) does not hold what a search reads ({size}): "
            f"set it to {math.ceil(needed * _ROOM / MEBI / 64) * 64:,} MB or more and restart PostgreSQL."
        )


def _disk(results: Sequence[GalleryResult]) -> Iterator[str]:
    largest = max(results, key=lambda result: result.faces)
    each = largest.total_bytes / largest.faces
    yield f"A face takes {each / 1000:.1f} kB on disk: a million of them {each * _MILLION / 1e9:.1f} GB."


def _crowds(results: Sequence[GalleryResult]) -> Iterator[str]:
    for result in results:
        for crowd in result.crowds:
            if crowd.found_at_once < crowd.enrolled:
                yield (
                    f"{result.name}: {crowd.enrolled - crowd.found_at_once} of {crowd.enrolled} new faces were not "
                    "identified directly after they were enrolled; that should not happen, please report it."
                )
            if crowd.ratio > CROWD_TARGET and crowd.searches_per_second_each is None:
                yield (
                    f"{result.name}: {crowd.clients} clients that never pause wait {crowd.ratio:.2g} times as long as "
                    f"one alone (p95), at {crowd.searches_per_second:,.0f} searches a second; that is what this "
                    "server's cores can do, and more cores do more."
                )


def _or_one(share: float) -> float:
    return 1.0 if math.isnan(share) else share


def _rounded(number: float) -> int:
    """To two figures."""
    digits = max(0, int(math.log10(max(number, 1))) - 1)
    return int(number // 10**digits * 10**digits)
