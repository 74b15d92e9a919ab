"""What a forked process must not share with its parent: connections, locks, threads and the sessions of networks.

A fork copies all of them, and none of them works in two processes at once. Two processes that read from one connection
get each other's answers. A lock stays held by a thread that the child does not have. So everything of this kind is made
anew in the child. gunicorn (`--preload`), Celery (prefork) and multiprocessing ("fork") fork.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Protocol


class ForkAware(Protocol):
    """An object that holds something of this kind."""

    def after_fork(self) -> None:
        """Forget the parent's, and make one's own, now or at the next use. Called in the child, in its only thread."""
        ...


_objects: weakref.WeakSet[ForkAware] = weakref.WeakSet()
_functions: list[Callable[[], None]] = []
_left_alone: list[object] = []
"""What belongs to the parent. It is never freed here: that would speak to the parent's server, or wait for threads that
this process does not have."""


def renew_after_fork(holder: ForkAware) -> None:
    """Have an object's `after_fork` called in every child that this process forks, for as long as the object lives."""
    _objects.add(holder)


def call_after_fork(function: Callable[[], None]) -> Callable[[], None]:
    """Have a function called in every child; for what a module holds. Gives the function, as a decorator does."""
    _functions.append(function)
    return function


def leave_to_parent(thing: object) -> None:
    """Keep something of the parent's without ever freeing it; called in a child."""
    _left_alone.append(thing)


def _renew() -> None:
    for function in _functions:
        function()
    for holder in list(_objects):
        holder.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
