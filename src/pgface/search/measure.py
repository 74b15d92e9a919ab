"""The efforts that a gallery's index needs, and how well search then agrees with the exact answer."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import psycopg

from pgface.database.sql import queries
from pgface.search.sample import Sample, draw_sample

_FIRST_EFFORTS = (10, 16, 24, 40, 64)
_SECOND_EFFORTS = (100, 200, 400, 1000)
_TIMED = 400
"""Probes that each first effort is tried with."""
_TIMED_TWICE = 20
"""Of these, one in so many is looked at a second time, to know how long that takes."""
_WARM_UP = 50


@dataclass(frozen=True, slots=True)
class Fit:
    """What was chosen for a gallery, and what that gives; see `SearchState`."""

    first_effort: int
    second_effort: int
    certain_similarity: float
    agreement: float
    agreement_low: float
    agreement_high: float
    probes: int


@dataclass(frozen=True, slots=True)
class _Look:
    """What one look found for one probe."""

    similarity: float
    agrees: bool
    """With the exact answer; of two people who are equally similar either is right."""
    seconds: float


@dataclass(frozen=True, slots=True)
class _Looks:
    """Looks at a gallery for the probes of a sample, which are meant by their numbers."""

    connection: psycopg.Connection
    method: str
    sample: Sample

    def first(self, number: int, effort: int) -> _Look:
        return self._look("look_by_index", number, effort)

    def second(self, number: int, effort: int) -> _Look:
        return self._look("look_by_signs", number, effort)

    def _look(self, query: str, number: int, effort: int) -> _Look:
        values = {"embedding": self.sample.probes[number], "method": self.method, "effort": effort}
        started = time.perf_counter()
        row = self.connection.execute(queries()[query], values).fetchone()
        seconds = time.perf_counter() - started
        similarity = -1.0 if row is None else float(row[1])
        return _Look(similarity, similarity >= self.sample.similarities[number] - 1e-5, seconds)


def measure(connection: psycopg.Connection, method: str) -> Fit:
    """Choose the efforts for an index that is there, and measure the agreement.

    The first effort is the one with the least expected time, a second look for the doubtful included; the second one
    the least that misses nobody of the sample, or the largest that there is.

    Raises:
        psycopg.Error: PostgreSQL could not do it.

    """
    sample = draw_sample(connection)
    # Not less than strangers reach anywhere: of one person there are none to measure.
    certain = max(0.1, float(np.quantile(sample.strangers, 0.999)))
    looks = _Looks(connection, method, sample)
    everyone = range(len(sample.probes))
    first_effort = _cheapest(looks, everyone[:_TIMED], _first_efforts(connection, method), certain)
    found = [looks.first(number, first_effort) for number in everyone]
    wrong = sum(look.similarity >= certain and not look.agrees for look in found)
    missed = [number for number in everyone if found[number].similarity < certain]
    for second_effort in _SECOND_EFFORTS:
        missed = [number for number in missed if not looks.second(number, second_effort).agrees]
        if not missed:
            break
    agreed = len(everyone) - wrong - len(missed)
    low, high = wilson_interval(agreed, len(everyone))
    return Fit(first_effort, second_effort, certain, agreed / len(everyone), low, high, len(everyone))


def wilson_interval(successes: float, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share; for a mean of values from 0 to 1, whose sum is given, it is wide enough as well.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    z = 1.959964
    share = successes / trials
    centre = share + z * z / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def _cheapest(looks: _Looks, numbers: Iterable[int], efforts: tuple[int, ...], certain: float) -> int:
    """The effort whose look, with a second one for the doubtful, takes the least time on average."""
    numbers = list(numbers)
    for number in numbers[:_WARM_UP]:
        looks.first(number, efforts[-1])
    # In turn, because the machine's speed may wander.
    found, second = [], []
    for number in numbers:
        found.append([looks.first(number, effort) for effort in efforts])
        if number % _TIMED_TWICE == 0:
            second.append(looks.second(number, _SECOND_EFFORTS[0]).seconds)
    second_seconds = np.median(second)

    def expected_seconds(column: int) -> float:
        tried = [row[column] for row in found]
        doubtful = np.mean([look.similarity < certain for look in tried])
        return float(np.median([look.seconds for look in tried]) + doubtful * second_seconds)

    return efforts[min(range(len(efforts)), key=expected_seconds)]


def _first_efforts(connection: psycopg.Connection, method: str) -> tuple[int, ...]:
    if method != "ivfflat":
        return _FIRST_EFFORTS
    # The specification's rule: as many probes as the square root of the lists.
    (templates,) = connection.execute(queries()["count_templates"]).fetchone() or (0,)
    return (max(1, math.isqrt(math.isqrt(templates))),)
