"""Workers that embed photos on all cores.

They are threads, or processes if the engine does not release Python's global interpreter lock (GIL).
"""

from __future__ import annotations

import hashlib
import multiprocessing
import signal
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

from pgface.errors import ModelError, PgfaceError, PhotoError, WorkerEndedError
from pgface.faces.engines.base import Box, Engine, Face
from pgface.faces.face_choice import EnrollmentChoice, choose_one
from pgface.faces.photo import PhotoLimits, Upload, open_photo
from pgface.settings import Settings


@dataclass(frozen=True, slots=True)
class PhotoTask:
    """A photo to embed."""

    file: Path | Upload
    enrolled_hashes: frozenset[str]
    """Content hashes of the person's enrolled photos, which need no embedding."""


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedFile:
    """A photo with the face to enroll."""

    photo: str
    """The file's name."""
    content_sha256: str
    face: Face
    left_aside: tuple[Box, ...]
    """Faces in the background."""


Embedded = EmbeddedFile | PgfaceError | None
"""The photo, the error that refuses it, or None for an enrolled photo."""

Task = TypeVar("Task", contravariant=True)
Result = TypeVar("Result", covariant=True)
AnyTask = TypeVar("AnyTask")


class EngineWork(Protocol[Task, Result]):
    """Work on one task with an engine: a frozen dataclass, which can be pickled for another process."""

    @property
    def load(self) -> Callable[[], Engine]:
        """Loads the engine."""

    @property
    def limits(self) -> PhotoLimits:
        """The limits of a photo."""

    def __call__(self, task: Task, /) -> Result:
        """Do the work."""


@dataclass(frozen=True, slots=True)
class EmbedFile:
    """Decodes and embeds a file. It can be pickled for another process."""

    load: Callable[[], Engine]
    limits: PhotoLimits
    choice: EnrollmentChoice

    def __call__(self, task: PhotoTask) -> Embedded:
        """Embed one face of the file, if its quality is sufficient for enrollment."""
        engine = self.load()
        try:
            # Opening the photo computes its hash too. It is computed before only if the photo may be enrolled.
            file, enrolled = task.file, task.enrolled_hashes
            if enrolled and isinstance(file, Path) and content_sha256(file, self.limits.max_bytes) in enrolled:
                return None
            with open_photo(file, self.limits, reduced=True) as photo:
                choose = self.choice.of(photo.name)
                face = choose_one(engine, photo, choose)
                return EmbeddedFile(photo.name, photo.content_sha256, face, choose.left_aside)
        except (PhotoError, ModelError) as error:
            # Without its causes, because another process may be unable to unpickle them.
            return type(error)(str(error))


class EngineWorkers(Generic[Task, Result]):
    """A pool of workers that share an engine, or load one each. Use it as a context manager, which ends them."""

    def __init__(
        self, workers: int, engine: Engine, work: EngineWork[Task, Result], *, can_reload: bool = True
    ) -> None:
        """Prepare the workers without starting them.

        Args:
            workers: their number.
            engine: the engine. Threads use it if it releases the GIL.
            work: what they do.
            can_reload: whether `work.load` loads the engine in another process.

        """
        self._workers = workers
        self._executor: Executor
        given: Any = work
        if engine.releases_gil or not can_reload:
            self._work: EngineWork[Task, Result] = replace(given, load=lambda: engine)
            self._executor = ThreadPoolExecutor(workers)
        else:
            share = max(work.limits.max_decoded_bytes // workers, 1)
            self._work = replace(given, limits=replace(work.limits, max_decoded_bytes=share))
            # Spawned and not forked, because a fork copies the locks that threads of this process hold.
            # Ctrl-C reaches all of these processes. Only this one handles it.
            self._executor = ProcessPoolExecutor(
                workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=signal.signal,
                initargs=(signal.SIGINT, signal.SIG_IGN),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    def embed(self, tasks: Iterable[AnyTask]) -> Iterator[tuple[AnyTask, Result]]:
        """Yield results in the order of the tasks. Only a few tasks run at a time.

        Raises:
            WorkerEndedError: a worker process ended. The results so far are valid.

        """
        running: deque[tuple[AnyTask, Future[Result]]] = deque()
        try:
            for task in tasks:
                running.append((task, self._executor.submit(self._work, task)))  # type: ignore[arg-type]
                if len(running) >= 4 * self._workers:
                    first, future = running.popleft()
                    yield first, future.result()
            for first, future in running:
                yield first, future.result()
        except BrokenProcessPool as error:
            raise WorkerEndedError from error


class PhotoWorkers(EngineWorkers[PhotoTask, Embedded]):
    """A pool of workers that embed files."""

    def __init__(
        self, settings: Settings, engine: Engine, reload: Callable[[], Engine] | None, choice: EnrollmentChoice
    ) -> None:
        """Prepare the workers without starting them.

        Args:
            settings: the number of workers, and the limits of a photo.
            engine: the engine. Threads use it if it releases the GIL.
            reload: loads the engine in another process. None if that is not possible.
            choice: which face of a photo to enroll.

        """
        work = EmbedFile(reload or (lambda: engine), PhotoLimits.from_settings(settings), choice)
        super().__init__(settings.workers, engine, work, can_reload=reload is not None)


def content_sha256(file: Path, max_bytes: int) -> str | None:
    """Return the SHA-256 of a file that can be a photo. None for any other file. Opening that file reports why."""
    try:
        status = file.stat()
        # Only regular files, because reading a pipe may block forever.
        if not stat.S_ISREG(status.st_mode) or status.st_size > max_bytes:
            return None
        with file.open("rb") as stream:
            return hashlib.sha256(stream.read(status.st_size)).hexdigest()
    except OSError:
        return None
