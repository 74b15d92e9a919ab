"""Objects that a forked process must not share with its parent: connections, locks, threads and network sessions.

A fork copies them, but they do not work in two processes at once. Two processes that read from one connection get each
other's answers. A lock stays locked if its thread does not exist in the child. So the child makes its own.
`gunicorn --preload`, Celery (prefork) and multiprocessing ("fork") fork.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Protocol


class ForkAware(Protocol):
    """An object that holds connections, locks, threads or sessions."""

    def after_fork(self) -> None:
        """Drop what belongs to the parent, so that the child makes its own. It runs in the child's only thread."""
        ...


_objects: weakref.WeakSet[ForkAware] = weakref.WeakSet()
_functions: list[Callable[[], None]] = []
_left_alone: list[object] = []
"""Objects of the parent, which are never freed in this process. Freeing them would talk to the parent's server, or wait
for threads that this process does not have."""


def renew_after_fork(holder: ForkAware) -> None:
    """Call an object's `after_fork` in every child that this process forks, as long as the object lives."""
    _objects.add(holder)


def call_after_fork(function: Callable[[], None]) -> Callable[[], None]:
    """Call a module's function in every forked child. Use it as a decorator."""
    _functions.append(function)
    return function


def leave_to_parent(thing: object) -> None:
    """Keep an object of the parent and never free it. Call this in a child."""
    _left_alone.append(thing)


def _renew() -> None:
    for function in _functions:
        function()
    for holder in list(_objects):
        holder.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
