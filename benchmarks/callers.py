"""Call the bare engine or the library from one or several workers of this machine, for some seconds."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from operator import attrgetter
from pathlib import Path

Call = Callable[[Path], object]
"""Processes one photo."""


@dataclass(frozen=True, slots=True)
class Round:
    """What was done in one round."""

    photos: int
    """The number of photos within the time."""
    latencies: list[float]
    """The seconds of each photo, also of those that ended too late."""
    processor: float
    """The processor seconds of each photo, on average."""
    refused: float = 0.0
    """The share of requests that the service refused with 503."""


Callers = Callable[[int, Sequence[Path], float], Round]
"""Runs a number of workers on photos for some seconds."""

_of_this_process: Call
"""What a worker process calls."""


@contextmanager
def callers(load: Callable[[], Call], workers: int, *, threads: bool) -> Iterator[Callers]:
    """Start workers: threads, or processes if the engine does not release Python's global interpreter lock.

    Args:
        load: loads what the workers call. Every worker process calls it once.
        workers: the maximum number of workers.
        threads: whether they are threads.

    """
    executor: Executor
    call: Call | None = None
    if threads:
        executor, call = ThreadPoolExecutor(workers), load()
    else:
        context = multiprocessing.get_context("spawn")
        executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_prepare, initargs=(load,))

    def run(number: int, photos: Sequence[Path], seconds: float) -> Round:
        parts = [photos[first::number] for first in range(number)]
        end = time.time() + seconds
        done = list(executor.map(_work, [call] * number, parts, [end] * number))
        latencies = [latency for one in done for latency in one.latencies]
        # Threads share the processor time of their process.
        busy = {one.process: one.busy for one in sorted(done, key=attrgetter("busy"))}
        return Round(len(latencies) - number, latencies, sum(busy.values()) / len(latencies))

    with executor:
        yield run


@dataclass(frozen=True, slots=True)
class _Done:
    """What one worker did."""

    process: int
    latencies: list[float]
    busy: float
    """The processor seconds of its process."""


def _prepare(load: Callable[[], Call]) -> None:
    global _of_this_process
    _of_this_process = load()


def _work(call: Call | None, photos: Sequence[Path], end: float) -> _Done:
    """Call for one photo after the other until the end. The last photo comes too late."""
    if call is None:
        call = _of_this_process
    latencies: list[float] = []
    began = time.process_time()
    for photo in cycle(photos):
        sent = time.perf_counter()
        call(photo)
        latencies.append(time.perf_counter() - sent)
        if time.time() >= end:
            break
    return _Done(os.getpid(), latencies, time.process_time() - began)
