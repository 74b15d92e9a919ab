"""Explain the figures to the server's administrator, in a few sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain

from pgface.operations.bench.facts import Server
from pgface.operations.bench.report import AGREEMENT_TARGET, CROWD_TARGET
from pgface.operations.bench.results import GalleryResult
from pgface.operations.bench.run import Benchmark

_MEBIBYTE = 1024 * 1024
_BUFFER_FACTOR = 1.25
"""shared_buffers should have at least this many times the size that search reads."""


def advice(benchmark: Benchmark) -> list[str]:
    """Give advice on search methods, missed targets, memory and disk."""
    results = benchmark.results
    largest = max(results, key=lambda result: result.faces)
    face_bytes = largest.total_bytes / largest.faces
    return [
        *_methods(results),
        *_agreement(results),
        _buffers(results, benchmark.server),
        f"A face takes {face_bytes / 1000:.1f} kB on disk: a million of them {face_bytes / 1000:.1f} GB.",
        *chain.from_iterable(map(_crowds, results)),
    ]


def _methods(results: Sequence[GalleryResult]) -> Iterator[str]:
    scanned = [result for result in results if result.method == "exact"]
    if scanned:
        largest = max(scanned, key=lambda result: (result.people, result.mated.p50))
        yield (
            f"Up to {largest.people:,} people ({largest.faces:,} faces) an exact scan is fast enough here: half of "
            f"the searches took {largest.mated.p50:.2g} ms or less. It never misses a match."
        )
    for result in results:
        for scan in (compared for compared in result.comparisons if "scan" in compared.name):
            yield (
                f"{result.name}: {result.method} takes {scan.ours.p50:.2g} ms, and an exact scan "
                f"{scan.other.p50:.2g} ms."
            )
    yield "pgface chooses the method itself as a gallery grows. You do not need to set anything."


def _agreement(results: Sequence[GalleryResult]) -> Iterator[str]:
    # A recall without trials is NaN, which is not below the target.
    missed = [
        result
        for result in results
        if result.mated_agreement.value < AGREEMENT_TARGET or result.recall.value < AGREEMENT_TARGET
    ]
    if not missed:
        probes = min(result.mated_agreement.trials for result in results)
        low = min(result.mated_agreement.low for result in results)
        yield f"Agreement with the exact answer was {AGREEMENT_TARGET:g} or better everywhere" + (
            "."
            if low >= AGREEMENT_TARGET
            else f". But {probes:,} probes only show that it is above {low:.4f}. Use more `probes` to know more."
        )
    for result in missed:
        yield (
            f"{result.name}: agreement {result.mated_agreement}, recall {result.recall}. This is below "
            f"{AGREEMENT_TARGET:g}. For exact search, run `pgface fit-search --method exact`."
        )


def _buffers(results: Sequence[GalleryResult], server: Server) -> str:
    largest = max(results, key=lambda result: result.searched_bytes)
    needed = largest.searched_bytes
    available = server.shared_buffers
    size = f"{needed / _MEBIBYTE:,.0f} MB for {largest.faces:,} faces"
    if needed * _BUFFER_FACTOR <= available:
        faces = available / _BUFFER_FACTOR / (needed / largest.faces)
        return (
            f"shared_buffers ({available / _MEBIBYTE:,.0f} MB) holds what a search reads ({size}), "
            f"up to about {_rounded(faces):,} faces."
        )
    return (
        f"shared_buffers ({available / _MEBIBYTE:,.0f} MB) does not hold what a search reads ({size}): "
        f"set it to {math.ceil(needed * _BUFFER_FACTOR / _MEBIBYTE / 64) * 64:,} MB or more and restart PostgreSQL."
    )


def _crowds(result: GalleryResult) -> Iterator[str]:
    for crowd in result.crowds:
        if crowd.found_at_once < crowd.enrolled:
            yield (
                f"{result.name}: {crowd.enrolled - crowd.found_at_once} of {crowd.enrolled} new faces were not "
                "identified directly after they were enrolled. This should not happen. Please report it."
            )
        if crowd.ratio > CROWD_TARGET and crowd.searches_per_second_each is None:
            yield (
                f"{result.name}: {crowd.clients} clients that never pause wait {crowd.ratio:.2g} times as long as "
                f"one alone (p95), at {crowd.searches_per_second:,.0f} searches a second. This is the limit of "
                "the server's cores. More cores raise it."
            )


def _rounded(number: float) -> int:
    """Round down to two digits."""
    digits = max(0, int(math.log10(max(number, 1))) - 1)
    return int(number // 10**digits * 10**digits)
