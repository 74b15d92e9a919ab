"""Load a model once in a process, and again in each forked child."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

from pgface.system.forks import leave_to_parent, renew_after_fork
from pgface.system.signals import delay_termination

Model = TypeVar("Model")


class LoadedModels(Generic[Model]):
    """The models of one kind that this process has loaded. You can use it from many threads.

    A forked child loads its models again, because native sessions belong to the process that made them.
    """

    def __init__(self) -> None:
        self._models: dict[Hashable, Model] = {}
        self._lock = Lock()
        renew_after_fork(self)

    def get(self, key: Hashable, load: Callable[[], Model]) -> Model:
        """Return the model of a key. If it is not loaded yet, load it while other threads wait."""
        with self._lock:
            if key not in self._models:
                with delay_termination():
                    self._models[key] = load()
            return self._models[key]

    def after_fork(self) -> None:
        """Drop the parent's models, and the lock, which a thread that exists only in the parent may hold."""
        leave_to_parent(self._models)
        self._models, self._lock = {}, Lock()
