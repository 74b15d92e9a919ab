"""Measures the stages of an answer, for observers such as metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

Stage = Literal["decode", "detect", "embed", "search"]
Observer = Callable[[Stage, float], None]
"""A function that gets a stage and its duration in seconds, also after a failure."""

_observers: list[Observer] = []


def observe_stages(observer: Observer) -> None:
    """Report every stage of this process to an observer. An observer that is added twice is called once."""
    if observer not in _observers:
        _observers.append(observer)


@contextmanager
def stage(name: Stage) -> Iterator[None]:
    """Measure the time of a stage."""
    if not _observers:
        yield
        return
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds = time.perf_counter() - started
        for observer in _observers:
            observer(name, seconds)
