"""Runs a worker of jobs beside the service, in a process of its own.

A crash of the worker does not end the service, and its priority is that of the whole process. If it ends, it is started
again.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from pgface.settings import Settings

_PAUSE: Final = 2.0
"""Seconds before a worker that has ended is started again."""
_log = logging.getLogger(__name__)


@contextmanager
def worker_beside(settings: Settings) -> Iterator[None]:
    """Run `pgface worker` until the block ends. It then finishes the photo that it processes."""
    stopping = threading.Event()
    worker = _Worker(stopping)
    thread = threading.Thread(target=worker.keep_running, name="pgface-jobs")
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        worker.stop(settings.shutdown_timeout)
        thread.join()


class _Worker:
    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def keep_running(self) -> None:
        """Start the worker, and start it again when it ends."""
        while not self._stopping.is_set():
            with self._lock:
                if self._stopping.is_set():
                    return
                # It ends itself when the service was killed, because its standard input then ends.
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "pgface", "worker", "--with-parent"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                )
            code = self._process.wait()
            if not self._stopping.is_set():
                _log.warning("The worker of jobs ended, and is started again.", extra={"code": code})
            self._stopping.wait(_PAUSE)

    def stop(self, seconds: float) -> None:
        """Let the worker finish its photo, and end it if that takes too long."""
        with self._lock:
            process = self._process
        if process is None:
            return
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return
        process.kill()
