"""A memory budget that the threads of a process share."""

from __future__ import annotations

import itertools
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pgface.system.forks import call_after_fork

MAX_OVERTAKING = 100
"""Number of smaller shares that may overtake a large one, so that small photos do not wait for a large one, and the
large one does not wait forever."""


@dataclass(slots=True, eq=False)
class _Request:
    """A request that waits for its share."""

    overtaken: int = 0


class ByteBudget:
    """Hands out shares of memory. A request that does not fit waits, and smaller ones may overtake it."""

    def __init__(self) -> None:
        self._reset()
        # A child would wait forever for shares of threads that exist only in its parent.
        call_after_fork(self._reset)

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[_Request] = deque()
        self._held_by_thread: Counter[int] = Counter()

    @property
    def held(self) -> int:
        """Bytes that are handed out."""
        with self._changed:
            return self._held_by_thread.total()

    @contextmanager
    def share(self, size: int, total: int) -> Iterator[Callable[[int], None]]:
        """Hold `size` bytes of a budget of `total`, and wait for them first. Equal sizes get their turns in order.

        A thread that already holds a share does not wait, because the threads could wait for each other. Only such
        nested shares can exceed the budget.

        Yields:
            A function that keeps a number of bytes, and releases the rest of the share.

        Raises:
            ValueError: the share is larger than the budget.

        """
        if size > total:
            raise ValueError("a share cannot be larger than the budget")
        thread = threading.get_ident()
        with self._changed:
            if not self._held_by_thread[thread]:
                self._wait_for_turn(size, total)
            self._held_by_thread[thread] += size
            self._changed.notify_all()
        held = size

        def keep(size: int) -> None:
            nonlocal held
            with self._changed:
                self._held_by_thread[thread] -= held - min(held, size)
                self._held_by_thread += Counter()  # drops the threads that hold nothing
                self._changed.notify_all()
            held = min(held, size)

        try:
            yield keep
        finally:
            keep(0)

    def _wait_for_turn(self, size: int, total: int) -> None:
        request = _Request()
        self._waiting.append(request)
        try:
            self._changed.wait_for(
                lambda: (
                    self._held_by_thread.total() + size <= total
                    and all(other.overtaken < MAX_OVERTAKING for other in self._before(request))
                )
            )
            for other in self._before(request):
                other.overtaken += 1
        finally:
            self._waiting.remove(request)
            self._changed.notify_all()

    def _before(self, request: _Request) -> list[_Request]:
        return list(itertools.takewhile(lambda other: other is not request, self._waiting))
