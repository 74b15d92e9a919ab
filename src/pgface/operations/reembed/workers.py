"""Workers that embed faces again on all cores: threads, or processes if the engine holds Python's lock (GIL)."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Self

from pgface.errors import WorkerEndedError
from pgface.faces.engines.base import Engine
from pgface.operations.reembed.faces import EmbedAgain, Embedded, FaceTask


class FaceWorkers:
    """A pool of workers. Use it as a context manager, which ends them."""

    def __init__(self, workers: int, engine: Engine, embed: EmbedAgain) -> None:
        """Prepare the workers without starting them.

        Args:
            workers: their number.
            engine: the engine, which threads share.
            embed: their work. In processes, `embed.load` loads the engine again.

        """
        self._workers = workers
        self._executor: Executor
        if engine.releases_gil:
            load: Callable[[], Engine] = lambda: engine  # noqa: E731 - mypy needs its type
            self._embed = replace(embed, load=load)
            self._executor = ThreadPoolExecutor(workers)
        else:
            each = max(embed.limits.max_decoded_bytes // workers, 1)
            self._embed = replace(embed, limits=replace(embed.limits, max_decoded_bytes=each))
            # Spawned, because a fork copies the locks of other threads. Only this process handles Ctrl-C.
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

    def embed(self, tasks: Iterable[FaceTask]) -> Iterator[tuple[FaceTask, Embedded]]:
        """Yield results in the order of the tasks. Only a few tasks run at a time.

        Raises:
            WorkerEndedError: a worker process ended. The results so far are valid.

        """
        running: deque[tuple[FaceTask, Future[Embedded]]] = deque()
        try:
            for task in tasks:
                running.append((task, self._executor.submit(self._embed, task)))
                if len(running) >= 4 * self._workers:
                    first, future = running.popleft()
                    yield first, future.result()
            for first, future in running:
                yield first, future.result()
        except BrokenProcessPool as error:
            raise WorkerEndedError(
                f"{WorkerEndedError()} The faces embedded so far wait in the gallery. Run it again to continue."
            ) from error
