"""What is wrong with versions of pgvector, from its changelog as far as it concerns HNSW indexes on 64-bit servers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that a version of pgvector has fixed."""

    fixed_in: tuple[int, ...]
    sentence: str
    what_to_do: str
    """Sentences about the time before and after the update."""


FAULTS: Final = (
    Fault(
        (0, 8, 2),
        "a parallel build of an HNSW index writes beyond its memory",
        "Until then, pgface builds with one process. For your own builds, SET max_parallel_maintenance_workers = 0.",
    ),
    Fault(
        (0, 8, 3),
        "vacuuming can damage an HNSW index, which then misses people",
        "Then build the index again: run `pgface index build --method hnsw` and `pgface fit-search`.",
    ),
    Fault(
        (0, 8, 4),
        "vacuuming an HNSW index can end with `hnsw graph not repaired`, so that the table is not cleaned up",
        "Then build that index again if the server's log says so.",
    ),
)


def numbers(version: str) -> tuple[int, ...]:
    """A version as numbers, by which versions are compared."""
    return tuple(int(number) for number in re.findall(r"\d+", version))


def faults_of(version: str) -> list[Fault]:
    """The faults that a version still has, the oldest first."""
    return [fault for fault in FAULTS if numbers(version) < fault.fixed_in]
