"""Search with increasing effort, and measure agreement and latency."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from psycopg.rows import tuple_row

from pgface.operations.bench.answers import ExactAnswers
from pgface.operations.bench.loading import LoadedGallery
from pgface.operations.bench.peers import EFFORTS, Peer
from pgface.operations.bench.results import Curve, CurvePoint, Latency, Proportion
from pgface.operations.bench.synthetic import PHOTOS_PER_PERSON

Look = Callable[[NDArray[np.float32]], int]
"""Finds the number of the person most similar to a probe, shape (512,), or -1."""

_IVFFLAT_PROBES = (1, 2, 3, 5, 8, 12, 20, 32, 50, 80, 125, 200, 320, 500, 800)
_MAX_EF_SEARCH = 1000
"""The maximum of pgvector."""
_MIN_PROBES = 50


def sweep(
    name: str,
    looks: Iterable[tuple[int | None, Look]],
    loaded: LoadedGallery,
    probes: NDArray[np.float32],
    exact: ExactAnswers,
    patience: float,
    *,
    to: int = 0,
) -> Curve:
    """Search all probes with each effort, until every answer is right.

    Args:
        name: the name of the curve.
        looks: the efforts, ascending, each with its search.
        loaded: the gallery.
        probes: the probes, shape (n, 512).
        exact: the exact answers.
        patience: the maximum seconds for each effort. Slow searches use fewer probes.
        to: the lowest effort at which to stop.

    """
    points = []
    for effort, look in looks:
        look(probes[0])  # to warm up
        persons, taken = [], []
        for probe in while_there_is_time(probes, patience):
            began = time.perf_counter()
            person = look(probe)
            taken.append(time.perf_counter() - began)
            persons.append(person)
        agreed = agreement(loaded, probes, exact, persons)
        points.append(CurvePoint(effort, agreed, Latency.of(taken)))
        if agreed.misses == 0 and (effort or 0) >= to:
            break
    return Curve(name, tuple(points))


def index_looks(loaded: LoadedGallery, method: str, first_effort: int) -> Iterator[tuple[int, Look]]:
    """Give single searches of the gallery's index, with the usual efforts and the chosen one."""
    usual = _IVFFLAT_PROBES if method == "ivfflat" else [min(effort, _MAX_EF_SEARCH) for effort in EFFORTS]
    for effort in sorted({*usual, first_effort}):

        def look(probe: NDArray[np.float32], effort: int = effort) -> int:
            values = {"embedding": probe, "method": method, "effort": effort}
            rows = loaded.database.read("look_by_index", values, row_factory=tuple_row)
            return loaded.persons[rows[0][0]] if rows else -1

        yield effort, look


def looks_of(peer: Peer) -> Iterator[tuple[int | None, Look]]:
    """Give a peer's searches, with each of its efforts."""

    def look(probe: NDArray[np.float32]) -> int:
        return peer.search(probe) // PHOTOS_PER_PERSON  # of -1 that is -1

    for effort in peer.efforts:
        peer.set_effort(effort)
        yield effort, look
    if not peer.efforts:
        yield None, look


def agreement(
    loaded: LoadedGallery, probes: NDArray[np.float32], exact: ExactAnswers, persons: Sequence[int]
) -> Proportion:
    """Measure how often these persons are the exact answers to the first probes."""
    photos = loaded.embeddings.reshape(loaded.people, PHOTOS_PER_PERSON, -1)
    similarities = [float((photos[person] @ probe).max()) for person, probe in zip(persons, probes, strict=False)]
    return exact.agreement(persons, similarities)


def while_there_is_time(probes: NDArray[np.float32], seconds: float) -> Iterator[NDArray[np.float32]]:
    """Give the probes one after the other until the time is over, but at least 50."""
    end = time.monotonic() + seconds
    for number, probe in enumerate(probes):
        if number >= _MIN_PROBES and time.monotonic() > end:
            return
        yield probe
