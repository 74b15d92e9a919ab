"""Concurrent clients, each in its own process, while another process enrolls."""

from __future__ import annotations

import multiprocessing
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain, count
from multiprocessing.connection import Connection
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pgface.errors import DatabaseError, PgfaceError
from pgface.gallery import Gallery
from pgface.operations.bench.results import Crowd, Latency
from pgface.settings import Settings
from pgface.system.signals import ignore_termination

ENROLLMENTS_PER_SECOND = 20.0
PACES = (20.0, 40.0)
"""Searches per second of each paced client."""
ROUNDS = 2
"""One client and all clients alternate this often, because the speed of a shared machine changes."""

_WARM_UP_SECONDS = 0.5
_CLIENT_TIMEOUT_SECONDS = 120.0
"""How late an answer of a client may be."""


class Task(Protocol):
    """A task for a client."""

    @property
    def seconds(self) -> float:
        """The duration of the task."""

    def run(self, gallery: Gallery) -> Any:
        """Run the task. The result is sent back."""


@dataclass(frozen=True, slots=True, eq=False)
class Searching:
    """A task that searches for some seconds. Its result is the duration of each search in seconds."""

    probes: NDArray[np.float32]
    """The probes, shape (n, 512), which are used in turn."""
    threshold: float
    seconds: float
    per_second: float | None = None
    """The pace, None to search without pauses. A paced search is timed from when it was due, including any wait."""
    delay: float = 0.0
    """Seconds to wait before the first search, so that paced clients start at different times."""

    def run(self, gallery: Gallery) -> list[float]:
        """Search, and time each search."""
        taken = []
        for number, due in _due(time.perf_counter() + self.delay, self.seconds, self.per_second):
            gallery.identify_embedding(self.probes[number % len(self.probes)], threshold=self.threshold)
            taken.append(time.perf_counter() - due)
        return taken


@dataclass(frozen=True, slots=True, eq=False)
class Enrolling:
    """A task that enrolls faces at a steady pace, and identifies each directly after.

    The faces are of new and existing users in turn. The result is the duration of each enrollment in seconds, and the
    number of faces that were identified.
    """

    newcomers: NDArray[np.float32]
    """Faces of new users, shape (n, 512)."""
    user_ids: NDArray[np.int64]
    """Ids of existing users, shape (n,)."""
    further: NDArray[np.float32]
    """Another face of each existing user, shape (n, 512)."""
    threshold: float
    seconds: float

    def run(self, gallery: Gallery) -> tuple[list[float], int]:
        """Enroll until the time or the faces run out."""
        series = secrets.token_hex(4)
        taken = []
        found = 0
        for number, _ in _due(time.perf_counter(), self.seconds, ENROLLMENTS_PER_SECOND):
            index, is_further = divmod(number, 2)
            if index == len(self.newcomers):
                break
            embedding = (self.further if is_further else self.newcomers)[index]
            began = time.perf_counter()
            email = f"newcomer-{series}-{index}@example.org"
            user_id = int(self.user_ids[index]) if is_further else gallery.add_user(email).id
            gallery.enroll_embedding(embedding, user_id)
            taken.append(time.perf_counter() - began)
            matches = gallery.identify_embedding(embedding, threshold=self.threshold)
            found += [match.user_id for match in matches] == [user_id]
        return taken, found


def measure_crowds(
    settings: Settings,
    searching: Callable[[int, float | None], Searching],
    enrolling: Callable[[int], Enrolling],
    *,
    clients: int,
) -> tuple[Crowd, ...]:
    """Compare concurrent clients with a single one, while another client enrolls. First without pauses, then paced.

    The gallery has more people afterwards.

    Args:
        settings: the gallery.
        searching: gives the task of a client for its number and its searches per second.
        enrolling: gives a task of the enrolling client for its number. Each measurement runs two of them.
        clients: the number of searching clients.

    Raises:
        PgfaceError: a client failed, or could not open the gallery.

    """
    with clients_ready(settings, clients + 1) as (enroller, *searchers):
        run_together(searchers, [replace(searching(0, None), seconds=_WARM_UP_SECONDS)] * clients)
        turns = count()
        return tuple(
            _measure_crowd(
                enroller, searchers, [searching(number, pace) for number in range(clients)], enrolling, turns
            )
            for pace in (None, *PACES)
        )


def _measure_crowd(
    enroller: Connection,
    searchers: Sequence[Connection],
    tasks: Sequence[Searching],
    enrolling: Callable[[int], Enrolling],
    turns: Iterator[int],
) -> Crowd:
    alone: list[float] = []
    together: list[float] = []
    enrollments: list[float] = []
    found = 0
    for _ in range(ROUNDS):
        alone += run_together(searchers[:1], tasks[:1])[0]
        (taken, found_now), *searches = run_together([enroller, *searchers], [enrolling(next(turns)), *tasks])
        enrollments += taken
        found += found_now
        together += chain.from_iterable(searches)
    seconds = ROUNDS * tasks[0].seconds
    return Crowd(
        clients=len(tasks),
        searches_per_second_each=tasks[0].per_second,
        enrollments_per_second=len(enrollments) / seconds,
        alone=Latency.of(alone),
        together=Latency.of(together),
        searches_per_second=len(together) / seconds,
        enrolled=len(enrollments),
        found_at_once=found,
        enrolling=Latency.of(enrollments),
    )


@contextmanager
def clients_ready(settings: Settings, clients: int) -> Iterator[list[Connection]]:
    """Start client processes, each with the gallery open. Gives the pipes to them.

    Raises:
        PgfaceError: a client could not open the gallery.

    """
    context = multiprocessing.get_context("spawn")
    processes = []
    pipes = []
    try:
        for _ in range(clients):
            ours, theirs = context.Pipe()
            process = context.Process(target=_client, args=(theirs, settings), daemon=True)
            # A terminal sends Ctrl-C to all of its processes. The clients inherit to ignore it, and this process
            # ends them.
            with ignore_termination():
                process.start()
            theirs.close()
            processes.append(process)
            pipes.append(ours)
        for pipe in pipes:
            _answer(pipe, 0)
        yield pipes
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.join(1)
            process.kill()
            process.join()


def _client(pipe: Connection, settings: Settings) -> None:
    """Run one task after the other in a client process, until the pipe is closed."""
    try:
        with Gallery.open(settings) as gallery:
            pipe.send(None)
            while True:
                pipe.send(pipe.recv().run(gallery))
    except PgfaceError as error:
        with suppress(OSError):
            pipe.send(error)
    except (EOFError, OSError):
        pass  # the benchmark is over


def run_together(pipes: Sequence[Connection], tasks: Sequence[Task]) -> list[Any]:
    """Run the clients' tasks at the same time. Gives the results in the same order.

    Raises:
        PgfaceError: a client failed or was lost.

    """
    for pipe, task in zip(pipes, tasks, strict=True):
        with _lost_client():
            pipe.send(task)
    return [_answer(pipe, task.seconds) for pipe, task in zip(pipes, tasks, strict=True)]


def _answer(pipe: Connection, seconds: float) -> Any:
    with _lost_client():
        if not pipe.poll(seconds + _CLIENT_TIMEOUT_SECONDS):
            raise DatabaseError(
                f"A client of the benchmark had no answer from PostgreSQL for {_CLIENT_TIMEOUT_SECONDS:.0f} seconds."
            )
        answer = pipe.recv()
    if isinstance(answer, PgfaceError):
        raise answer
    return answer


@contextmanager
def _lost_client() -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError) as error:
        raise DatabaseError("A client of the benchmark ended unexpectedly. Check whether memory ran out.") from error


def _due(began: float, seconds: float, per_second: float | None) -> Iterator[tuple[int, float]]:
    """Give numbers, each when it is due, until the time is over. Without a pace, a number is due immediately."""
    for number in count():
        now = time.perf_counter()
        due = now if per_second is None else began + number / per_second
        if max(now, due) >= began + seconds:
            return
        time.sleep(max(0.0, due - now))
        yield number, due
