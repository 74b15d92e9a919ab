"""How long the stages of an answer take, for whoever wants to know."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

Stage = Literal["decode", "detect", "embed", "search"]
Observer = Callable[[Stage, float], None]
"""Called with a stage and its seconds, also of one that failed."""

_observers: list[Observer] = []


def observe_stages(observer: Observer) -> None:
    """Have every stage of this process told to an observer, once if it is given twice."""
    if observer not in _observers:
        _observers.append(observer)


@contextmanager
def stage(name: Stage) -> Iterator[None]:
    """Take the time of a stage."""
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
