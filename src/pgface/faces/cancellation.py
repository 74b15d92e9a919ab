"""Stop a long computation at its deadline, or when its result is no longer needed.

Python cannot stop a thread from outside. So long code calls `check_work()` between its steps: engines call it before
each search for faces and before each embedding. Outside of `working`, that call does nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

from pgface.errors import WorkCancelledError, WorkTimeoutError


class Work:
    """The limits of one computation. You can use it from many threads."""

    def __init__(
        self,
        *,
        seconds: float | None = None,
        max_pixels: int | None = None,
        pause: Callable[[], None] = lambda: None,
        waiting: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """Start to measure the time.

        Args:
            seconds: time limit of the computation. None for no limit.
            max_pixels: maximum number of pixels of a photo that it opens. With None, only the settings limit it.
            pause: called before each step. It may block while other work has priority.
            waiting: returns a context in which the computation waits for something and uses no core.

        """
        self.waiting = waiting
        self.max_pixels = max_pixels
        self._pause = pause
        self._end = None if seconds is None else time.monotonic() + seconds
        self._cancelled = False

    def cancel(self) -> None:
        """Stop the computation before its next step."""
        self._cancelled = True

    def check(self) -> None:
        """Raise an error if the computation must stop.

        Raises:
            WorkCancelledError: it was cancelled.
            WorkTimeoutError: its time limit is reached.

        """
        self._pause()
        if self._cancelled:
            raise WorkCancelledError
        if self._end is not None and time.monotonic() >= self._end:
            raise WorkTimeoutError


_current: ContextVar[Work | None] = ContextVar("pgface_work", default=None)


def current_work() -> Work | None:
    """Return the work that this code belongs to, if it has limits."""
    return _current.get()


def check_work() -> None:
    """Call `Work.check` of the work that this code belongs to, if it has limits. Call this between steps."""
    work = _current.get()
    if work is not None:
        work.check()


@contextmanager
def working(work: Work) -> Iterator[None]:
    """Let the code in the block belong to this work."""
    token = _current.set(work)
    try:
        yield
    finally:
        _current.reset(token)


def waiting() -> AbstractContextManager[object]:
    """Return a context in which the current work waits for something and uses no core, so that other work may run."""
    work = current_work()
    return nullcontext() if work is None else work.waiting()
