"""Many photo files to faces, on all cores: in threads or, where the engine holds Python's lock, in processes."""

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
from typing import TypeVar

from pgface.errors import ModelError, PgfaceError, PhotoError, WorkerEndedError
from pgface.faces.choice import EnrollmentChoice
from pgface.faces.engine import Box, Engine, Face
from pgface.faces.photo import PhotoLimits, open_photo
from pgface.settings import Settings


@dataclass(frozen=True, slots=True)
class PhotoTask:
    """A file to embed."""

    file: Path
    known: frozenset[str]
    """Content hashes of photos that need not be embedded."""


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedFile:
    """A photo that is fit to be enrolled, with the face that was chosen."""

    photo: str
    """The file's name."""
    content_sha256: str
    face: Face
    left_aside: tuple[Box, ...]
    """Faces in the background."""


Embedded = EmbeddedFile | PgfaceError | None
"""The photo, why it is refused, or None for one that is known."""

Task = TypeVar("Task", bound=PhotoTask)


@dataclass(frozen=True, slots=True)
class EmbedFile:
    """Decodes and embeds a file; can be sent to another process."""

    load: Callable[[], Engine]
    limits: PhotoLimits
    choice: EnrollmentChoice

    def __call__(self, task: PhotoTask) -> Embedded:
        """Embed one face of the file, if it is good enough to be enrolled."""
        engine = self.load()
        try:
            # A photo that is embedded is hashed then; the look before pays only where it may be known.
            if task.known and content_sha256(task.file, self.limits.max_bytes) in task.known:
                return None
            with open_photo(task.file, self.limits) as photo:
                choose = self.choice.of(photo.name)
                (face,) = engine.detect_and_embed(photo.pixels, choose)
                return EmbeddedFile(photo.name, photo.content_sha256, face, choose.left_aside)
        except (PhotoError, ModelError) as error:
            # Without its causes, which may not be fit for the way between processes.
            return type(error)(str(error))


class PhotoWorkers:
    """Workers that embed files; a context manager, because they have to be ended."""

    def __init__(
        self, settings: Settings, engine: Engine, reload: Callable[[], Engine] | None, choice: EnrollmentChoice
    ) -> None:
        """Start nothing yet.

        Args:
            settings: how many workers, and what a photo may cost.
            engine: the engine, used in threads if it releases Python's lock.
            reload: loads it again in another process; None if only this one has it.
            choice: which faces may be enrolled.

        """
        self._workers = settings.workers
        limits = PhotoLimits.from_settings(settings)
        self._executor: Executor
        if engine.releases_gil or reload is None:
            self._embed = EmbedFile(lambda: engine, limits, choice)
            self._executor = ThreadPoolExecutor(self._workers)
        else:
            share = replace(limits, max_decoded_bytes=max(limits.max_decoded_bytes // self._workers, 1))
            self._embed = EmbedFile(reload, share, choice)
            # Not forked: this process has threads, whose locks a fork would copy as they are.
            # Ctrl-C goes to all of them, and only this process answers it.
            self._executor = ProcessPoolExecutor(
                self._workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=signal.signal,
                initargs=(signal.SIGINT, signal.SIG_IGN),
            )

    def __enter__(self) -> PhotoWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    def embed(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Embedded]]:
        """Results in the order of the tasks, with only a few under way at a time.

        Raises:
            WorkerEndedError: a worker process ended; the results given until then hold.

        """
        waiting: deque[tuple[Task, Future[Embedded]]] = deque()
        for task in tasks:
            waiting.append((task, self._submit(task)))
            if len(waiting) >= 4 * self._workers:
                done, future = waiting.popleft()
                yield done, _result(future)
        for done, future in waiting:
            yield done, _result(future)

    def _submit(self, task: PhotoTask) -> Future[Embedded]:
        try:
            return self._executor.submit(self._embed, task)
        except BrokenProcessPool as error:
            raise WorkerEndedError from error


def _result(future: Future[Embedded]) -> Embedded:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise WorkerEndedError from error


def content_sha256(file: Path, max_bytes: int) -> str | None:
    """SHA-256 of a file that can be a photo; None for any other, of which opening it says what is wrong."""
    try:
        status = file.stat()
        # Reading a pipe might never end.
        if not stat.S_ISREG(status.st_mode) or status.st_size > max_bytes:
            return None
        with file.open("rb") as stream:
            return hashlib.sha256(stream.read(status.st_size)).hexdigest()
    except OSError:
        return None
