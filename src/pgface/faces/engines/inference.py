"""Runs a network on all cores for a photo that is alone, and on one core for each photo under load.

One core for each photo gives the most photos per second. All cores for one photo give the shortest time. Each process
counts only its own calls, so several processes with one photo each all use all cores.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, Protocol

from pgface.errors import ModelError, PgfaceError
from pgface.system.forks import leave_to_parent, renew_after_fork
from pgface.system.resources import usable_cores

MAX_CORES_FOR_A_PHOTO: Final = 8
"""The networks are small. More threads would wait for each other."""
_QUIET_SECONDS: Final = 0.1
"""How long no two calls ran at the same time before a call counts as alone. Under load, photos are decoded and the
gallery is searched between calls, so one call is often alone for a shorter time."""
_RUNS_BEFORE_OPENING: Final = 8
"""A command that embeds one photo ends before the second session is worth its loading time."""


class Session(Protocol):
    """The part of `onnxruntime.InferenceSession` that pgface uses."""

    def run(self, output_names: Sequence[str] | None, inputs: Mapping[str, Any], /) -> list[Any]:
        """Run the network on the arrays of its inputs, and return those of its outputs."""

    def get_inputs(self) -> Sequence[Any]:
        """Return the inputs. Each has a name, a shape and a type."""

    def get_outputs(self) -> Sequence[Any]:
        """Return the outputs. Each has a name, a shape and a type."""

    def get_providers(self) -> Sequence[str]:
        """Return ONNX Runtime's names of the execution providers."""


class RunningCalls:
    """Counts the calls of networks that run in this process. You can use it from many threads."""

    def __init__(self) -> None:
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Forget the calls that run only in the parent."""
        self._lock = threading.Lock()
        self._count = 0
        self._last_crowded = float("-inf")

    @contextmanager
    def one(self) -> Iterator[bool]:
        """Count a call. Gives whether it is alone: no other runs, and none did at the same time a moment ago."""
        now = time.monotonic()
        with self._lock:
            self._count += 1
            if self._count > 1:
                self._last_crowded = now
            alone = now - self._last_crowded > _QUIET_SECONDS
        try:
            yield alone
        finally:
            with self._lock:
                self._count -= 1


running_calls: Final = RunningCalls()
"""The calls of this process. Other processes count their own."""


class Network:
    """A network. It has the methods of an `onnxruntime.InferenceSession`. You can use it from many threads."""

    def __init__(
        self,
        session: Session,
        runtime: str,
        open_all_cores: Callable[[], Session] | None = None,
        *,
        all_cores_from: int = 0,
        open_in_child: Callable[[], Session] | None = None,
        runtime_in_child: str = "",
    ) -> None:
        """Take the network's session, and the means to open others.

        Args:
            session: runs each call on one core, many calls at the same time.
            runtime: what runs it, and where, for people: `ONNX Runtime (CPU)`.
            open_all_cores: opens a session that runs a call on several cores. None to use one session for all calls.
            all_cores_from: pixels of the input from which that is faster.
            open_in_child: opens a session for a forked child. None if a child can use the session of its parent.
            runtime_in_child: the `runtime` of that session.

        """
        self.runtime = runtime
        self._session = session
        self._open_all_cores = open_all_cores if usable_cores() > 1 else None
        self._all_cores: Session | None = None
        self._all_cores_from = all_cores_from
        self._runs_alone = 0
        self._open_in_child, self._runtime_in_child = open_in_child, runtime_in_child
        self._opening = threading.Lock()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Leave sessions with threads to the parent, because the threads exist only there."""
        leave_to_parent((self._session, self._all_cores, self._open_all_cores))
        self._all_cores, self._opening = None, threading.Lock()
        if self._open_in_child is not None:
            self._session, self._open_all_cores = _OpenedAtFirstCall(self._open_in_child), None
            self._open_in_child, self.runtime = None, self._runtime_in_child

    def run(self, output_names: Sequence[str] | None, inputs: Mapping[str, Any], /) -> list[Any]:
        """Run the network on the arrays of its inputs, and return those of its outputs.

        Raises:
            ModelError: the library or the device failed. For example, a GPU has too little free memory.

        """
        with running_calls.one() as alone:
            session = self._for_all_cores(inputs) if alone else None
            try:
                return (session or self._session).run(output_names, inputs)
            except (PgfaceError, MemoryError):
                raise
            except Exception as error:  # each library has a different class for each kind of failure
                raise ModelError(
                    f"{self.runtime} failed: {message_of(error)}. Try again. If it fails again, run `pgface doctor`."
                ) from error

    def get_inputs(self) -> Sequence[Any]:
        """Return the inputs. Each has a name, a shape and a type."""
        return self._session.get_inputs()

    def get_outputs(self) -> Sequence[Any]:
        """Return the outputs. Each has a name, a shape and a type."""
        return self._session.get_outputs()

    def get_providers(self) -> Sequence[str]:
        """Return ONNX Runtime's names of the execution providers."""
        return self._session.get_providers()

    def _for_all_cores(self, inputs: Mapping[str, Any]) -> Session | None:
        """Return the session for all cores, if there is one and this call gains from it."""
        if all(array.shape[-1] * array.shape[-2] < self._all_cores_from for array in inputs.values()):
            return None
        self._runs_alone += 1
        if self._runs_alone >= _RUNS_BEFORE_OPENING and self._open_all_cores is not None:
            with self._opening:
                open_all_cores, self._open_all_cores = self._open_all_cores, None
            if open_all_cores is not None:
                # In a thread, because loading a network can take longer than many photos.
                threading.Thread(target=self._open, args=(open_all_cores,), name="pgface-network").start()
        return self._all_cores

    def _open(self, open_all_cores: Callable[[], Session]) -> None:
        with suppress(ModelError):  # such as too little memory. The other session goes on alone.
            self._all_cores = open_all_cores()


def message_of(error: BaseException) -> str:
    """Return the line of a library's message that says what happened, without its full stop.

    ONNX Runtime begins with it. OpenVINO ends with it, after places in its source code.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1 if lines[0].startswith(("Exception from ", "Check '")) else 0].rstrip(".")


class _OpenedAtFirstCall:
    """A session that is opened when it is used, because most forked children never use their parent's."""

    def __init__(self, open_session: Callable[[], Session]) -> None:
        self._open = open_session
        self._session: Session | None = None
        self._lock = threading.Lock()

    def run(self, output_names: Sequence[str] | None, inputs: Mapping[str, Any], /) -> list[Any]:
        return self._opened().run(output_names, inputs)

    def get_inputs(self) -> Sequence[Any]:
        return self._opened().get_inputs()

    def get_outputs(self) -> Sequence[Any]:
        return self._opened().get_outputs()

    def get_providers(self) -> Sequence[str]:
        return self._opened().get_providers()

    def _opened(self) -> Session:
        with self._lock:
            if self._session is None:
                self._session = self._open()
            return self._session
