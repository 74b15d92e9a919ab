"""A budget of bytes that the threads of a process share."""

from __future__ import annotations

import itertools
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

MAX_OVERTAKING = 100
"""Number of smaller shares that may overtake a large one. A large photo must not make small ones wait, and small ones
must not make a large one wait forever."""


@dataclass(slots=True, eq=False)
class _Ticket:
    """A request that waits for its share."""

    overtaken: int = 0


class ByteBudget:
    """Hands out shares of memory. A request that does not fit waits, and smaller ones may overtake it."""

    def __init__(self) -> None:
        self._reset()
        if hasattr(os, "register_at_fork"):
            # The threads that hold shares do not exist in a child, which would wait for them forever.
            os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[_Ticket] = deque()
        self._held_by_thread: Counter[int] = Counter()

    @property
    def held(self) -> int:
        """Bytes that are handed out."""
        with self._changed:
            return self._held_by_thread.total()

    @contextmanager
    def share(self, size: int, total: int) -> Iterator[Callable[[int], None]]:
        """Hold `size` bytes of a budget of `total`. Wait for them, in the order of the requests for equal sizes.

        A thread that holds a share does not wait for another one. It might wait for itself, or for a thread that waits
        for it. Only such nested shares can exceed the budget.

        Yields:
            A function that releases all of the share except a number of bytes.

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
                self._held_by_thread += Counter()  # drops the threads that hold nothing
                self._changed.notify_all()
            held = min(held, less)

        try:
            yield keep
        finally:
            keep(0)

    def _wait_for_turn(self, size: int, total: int) -> None:
        ticket = _Ticket()
        self._waiting.append(ticket)
        try:
            self._changed.wait_for(
                lambda: self._held_by_thread.total() + size <= total and self._may_overtake(self._before(ticket))
            )
            for other in self._before(ticket):
                other.overtaken += 1
        finally:
            self._waiting.remove(ticket)
            self._changed.notify_all()

    def _before(self, ticket: _Ticket) -> list[_Ticket]:
        return list(itertools.takewhile(lambda other: other is not ticket, self._waiting))

    def _may_overtake(self, others: list[_Ticket]) -> bool:
        return all(other.overtaken < MAX_OVERTAKING for other in others)
