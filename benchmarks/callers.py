"""Call parts of pgface for some seconds, from threads or processes outside of the benchmark's own process."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path

from runtimes import Runtime

Call = Callable[[Path], object]
"""Processes one photo."""
Load = Callable[[], Mapping[str, Call]]
"""Loads the parts of pgface by their names. It can be pickled for another process."""

_loaded: Mapping[str, Call]
"""What this worker process calls."""


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


class Callers:
    """Worker processes, each of which may use several threads."""

    def __init__(self, executor: ProcessPoolExecutor, processes: int) -> None:
        self._executor, self._processes = executor, processes

    def run(self, part: str, number: int, photos: Sequence[Path], seconds: float) -> Round:
        """Call a part from a number of threads, one photo after the other each."""
        processes = min(number, self._processes)
        parts = [photos[first::processes] for first in range(processes)]
        work = partial(_work, part, number // processes, time.time() + seconds)
        done = list(self._executor.map(work, parts))
        latencies = [latency for found, _ in done for latency in found]
        # Every thread gets one last photo, which ends too late.
        return Round(len(latencies) - number, latencies, sum(busy for _, busy in done) / len(latencies))


@contextmanager
def callers(load: Load, processes: int, runtime: Runtime) -> Iterator[Callers]:
    """Start worker processes.

    Args:
        load: every process calls it once.
        processes: their number. One suffices if the engine releases Python's global interpreter lock (GIL).
        runtime: what runs the networks in them.

    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _prepare, (load, runtime)) as executor:
        yield Callers(executor, processes)


def _prepare(load: Load, runtime: Runtime) -> None:
    global _loaded
    runtime.hide()
    _loaded = load()


def _work(part: str, threads: int, end: float, photos: Sequence[Path]) -> tuple[list[float], float]:
    """Call for one photo after the other until the end. Returns the seconds of each, and the processor seconds."""

    def one_thread(files: Sequence[Path]) -> list[float]:
        latencies: list[float] = []
        for file in cycle(files):
            sent = time.perf_counter()
            _loaded[part](file)
            latencies.append(time.perf_counter() - sent)
            if time.time() >= end:
                break
        return latencies

    began = time.process_time()
    with ThreadPoolExecutor(threads) as executor:
        done = executor.map(one_thread, [photos[first::threads] for first in range(threads)])
        latencies = [latency for found in done for latency in found]
    return latencies, time.process_time() - began
