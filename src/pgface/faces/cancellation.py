"""A long computation that ends by itself: at its deadline, or as soon as the answer is not wanted any more.

Python cannot stop a thread from outside. So code that takes long calls `check_work()` between its steps: the engines
before each search for faces and before each embedding. Outside of `working` that does nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from pgface.errors import WorkCancelledError, WorkTimeoutError


class Work:
    """The limits of one computation. Safe to use from many threads."""

    def __init__(
        self,
        *,
        seconds: float | None = None,
        max_pixels: int | None = None,
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin to count the time.

        Args:
            seconds: after which the computation ends; None for no limit.
            max_pixels: of a photo that it opens; None for the limit of the settings alone.
            pause: called before each step; it may wait while other work goes first.

        """
        self.max_pixels = max_pixels
        self._pause = pause
        self._end = None if seconds is None else time.monotonic() + seconds
        self._cancelled = False

    def cancel(self) -> None:
        """Have it end before its next step."""
        self._cancelled = True

    def check(self) -> None:
        """See whether it may go on.

        Raises:
            WorkCancelledError: it was cancelled.
            WorkTimeoutError: its time is over.

        """
        self._pause()
        if self._cancelled:
            raise WorkCancelledError
        if self._end is not None and time.monotonic() >= self._end:
            raise WorkTimeoutError


_current: ContextVar[Work | None] = ContextVar("pgface_work", default=None)


def current_work() -> Work | None:
    """The work that this code is part of, if it has limits."""
    return _current.get()


def check_work() -> None:
    """End here if the work that this code is part of is over its time or cancelled; call it between steps.

    Raises:
        WorkCancelledError: it was cancelled.
        WorkTimeoutError: its time is over.

    """
    work = _current.get()
    if work is not None:
        work.check()


@contextmanager
def working(work: Work) -> Iterator[None]:
    """Make what is done in the block part of this work."""
    token = _current.set(work)
    try:
        yield
    finally:
        _current.reset(token)
