"""Bugs of pgvector's versions that concern HNSW indexes on 64-bit servers. Source: pgvector's changelog."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Fault:
    """A bug that a version of pgvector has fixed."""

    fixed_in: tuple[int, ...]
    sentence: str
    what_to_do: str
    """What to do before and after the update, as sentences."""


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
    """Convert a version to numbers, so that versions can be compared."""
    return tuple(int(number) for number in re.findall(r"\d+", version))


def faults_of(version: str) -> list[Fault]:
    """List the bugs of a version, the oldest first."""
    return [fault for fault in FAULTS if numbers(version) < fault.fixed_in]
