"""Objects that a forked process must not share with its parent: connections, locks, threads and network sessions.

A fork copies them, but two processes cannot share them. Two processes that read from one connection get each other's
answers. A lock stays locked if its thread does not exist in the child. So the child creates its own.
`gunicorn --preload`, Celery (prefork) and multiprocessing ("fork") fork.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Callable
from typing import Protocol


class ForkAware(Protocol):
    """An object with connections, locks, threads or network sessions."""

    def after_fork(self) -> None:
        """Replace the parent's resources by new ones. It runs in the child's only thread."""
        ...


_objects: weakref.WeakSet[ForkAware] = weakref.WeakSet()
_functions: list[Callable[[], None]] = []
_kept: list[object] = []
"""Objects of the parent. Their destructors would use the parent's connections, or wait for threads that do not exist
here."""


def renew_after_fork(holder: ForkAware) -> None:
    """Call an object's `after_fork` in every child that this process forks, as long as the object lives."""
    _objects.add(holder)


def call_after_fork(function: Callable[[], None]) -> Callable[[], None]:
    """Call a module's function in every forked child. Use it as a decorator."""
    _functions.append(function)
    return function


def leave_to_parent(resource: object) -> None:
    """Keep an object of the parent, so that it is never freed, even when this process ends. Call this in a child."""
    _kept.append(resource)
    # Python frees the objects of modules at its end. One more reference, which belongs to no object, prevents it.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(resource))


def _renew() -> None:
    for function in _functions:
        function()
    for holder in list(_objects):
        holder.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
