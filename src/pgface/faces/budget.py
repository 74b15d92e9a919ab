"""A budget of bytes that the threads of a process share, first come, first served."""

from __future__ import annotations

import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class ByteBudget:
    """Hands out shares of memory, and lets those wait for whom there is none at the moment."""

    def __init__(self) -> None:
        self._reset()
        if hasattr(os, "register_at_fork"):
            # The threads that hold shares do not exist in a child, which would wait for them for ever.
            os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._held_by_thread: Counter[int] = Counter()

    @property
    def held(self) -> int:
        """Bytes handed out at the moment."""
        with self._changed:
            return self._held_by_thread.total()

    @contextmanager
    def share(self, size: int, total: int) -> Iterator[Callable[[int], None]]:
        """Hold `size` bytes of a budget of `total`; wait for them in the order of asking.

        A thread that holds a share already is not made to wait for another one: it might wait for itself, or for a
        thread that waits for it. The budget can be exceeded by such nested shares alone.

        Yields:
            A function that gives back all of the share but so many bytes.

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

        def keep(less: int) -> None:
            nonlocal held
            with self._changed:
                self._held_by_thread[thread] -= held - min(held, less)
                self._held_by_thread += Counter()  # forgets the threads that hold nothing
                self._changed.notify_all()
            held = min(held, less)

        try:
            yield keep
        finally:
            keep(0)

    def _wait_for_turn(self, size: int, total: int) -> None:
        ticket = object()
        self._waiting.append(ticket)
        try:
            self._changed.wait_for(lambda: self._waiting[0] is ticket and self._held_by_thread.total() + size <= total)
        finally:
            self._waiting.remove(ticket)
            self._changed.notify_all()
