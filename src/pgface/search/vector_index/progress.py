"""The progress of an index build, read on another connection."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

from psycopg.rows import class_row

from pgface.database.pool import Database
from pgface.errors import PgfaceError

_SECONDS_BETWEEN_READS = 0.2


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a build at one moment."""

    phase: str
    """PostgreSQL's name of the phase."""
    lockers_done: int = 0
    lockers_total: int = 0
    """Number of other transactions that have to end before the build continues."""
    waits_for: int | None = None
    """Process id of the transaction that the build waits for."""
    blocks_done: int = 0
    blocks_total: int = 0
    tuples_done: int = 0
    tuples_total: int = 0

    @property
    def share(self) -> float | None:
        """The finished share of the phase, 0 to 1. None if PostgreSQL does not report it."""
        for done, total in ((self.tuples_done, self.tuples_total), (self.blocks_done, self.blocks_total)):
            if total:
                return min(done / total, 1.0)
        return None

    def to_json(self) -> dict[str, Any]:
        """Return values that `json.dumps` accepts."""
        return asdict(self) | {"share": self.share}


OnProgress = Callable[[Progress], object]


@contextmanager
def watched(database: Database, backend_pid: int, on_progress: OnProgress | None) -> Iterator[None]:
    """Report the progress of another connection's build from a thread until the block ends."""
    if on_progress is None:
        yield
        return
    ended = threading.Event()

    def watch() -> None:
        with suppress(PgfaceError):  # the build goes on without a report
            while not ended.wait(_SECONDS_BETWEEN_READS):
                for progress in database.read("index_progress", {"pid": backend_pid}, row_factory=class_row(Progress)):
                    on_progress(progress)

    thread = threading.Thread(target=watch, name="pgface-index-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
