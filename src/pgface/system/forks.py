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
    """An object that holds connections, locks, threads or sessions."""

    def after_fork(self) -> None:
        """Drop what belongs to the parent, so that the child makes its own. Called in the child, in its only thread."""
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
    """Have a module's function called in every child; a decorator."""
    _functions.append(function)
    return function


def leave_to_parent(thing: object) -> None:
    """Keep an object of the parent without ever freeing it. Call this in a child."""
    _left_alone.append(thing)


def _renew() -> None:
    for function in _functions:
        function()
    for holder in list(_objects):
        holder.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
