"""Measure how clients that never pause share this machine's cores, without enrollment."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, count
from typing import TYPE_CHECKING

import numpy as np

from pgface.database.pool import Database
from pgface.operations.bench.crowd import ROUNDS, Searching, Task, clients_ready, run_together
from pgface.operations.bench.results import Latency
from pgface.operations.bench.timing import Row
from pgface.search.state import read_search_state

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pgface import Gallery, Settings
    from pgface.operations.bench.loading import LoadedGallery
    from pgface.operations.bench.measure import OnStep, Plan, Probes

NEAREST = "SELECT user_id FROM user_templates ORDER BY template <=> %s::halfvec(512) LIMIT 3"


@dataclass(frozen=True, slots=True, eq=False)
class IndexSearching:
    """A task that only searches the index of the templates, without pauses."""

    probes: NDArray[np.float32]
    """The probes, shape (n, 512), which are used in turn."""
    effort: int
    """`hnsw.ef_search`."""
    seconds: float
    settings: Settings

    def run(self, _: Gallery) -> list[float]:
        """Search, and time each search."""
        taken = []
        with Database.open(self.settings) as database, database.dedicated_connection() as connection:
            connection.execute("SELECT set_config('hnsw.ef_search', %s, false)", (str(self.effort),))
            cursor = connection.cursor(binary=True)
            ends = time.perf_counter() + self.seconds
            for number in count():
                began = time.perf_counter()
                if began >= ends:
                    break
                cursor.execute(NEAREST, (self.probes[number % len(self.probes)],), prepare=True).fetchall()
                taken.append(time.perf_counter() - began)
        return taken


def never_pausing(loaded: LoadedGallery, probes: Probes, plan: Plan, on_step: OnStep) -> Iterator[Row]:
    """Compare clients that never pause with a single one, without enrollment: a plain index search, and the whole
    search.

    Gives nothing for a gallery without an HNSW index.
    """
    search = read_search_state(loaded.database)
    if search.method != "hnsw" or search.first_effort is None or not plan.clients:
        return
    on_step(f"{plan.clients} clients that never pause")
    duration = plan.seconds / ROUNDS
    tasks: dict[str, Task] = {
        "the index's walk alone": IndexSearching(probes.mixed, search.first_effort, duration, loaded.settings),
        "identify_embedding": Searching(probes.mixed, probes.threshold, duration),
    }
    with clients_ready(loaded.settings, plan.clients) as clients:
        for what, task in tasks.items():
            alone: list[float] = []
            together: list[list[float]] = []
            for _ in range(ROUNDS):
                alone += run_together(clients[:1], [task])[0]
                together += run_together(clients, [task] * plan.clients)
            yield _row(f"{plan.clients} clients flat out, without enrollment: {what}", alone, together)


def _row(what: str, alone: list[float], together: list[list[float]]) -> Row:
    one, many = Latency.of(alone), Latency.of(chain.from_iterable(together))
    return Row(what, str(many), f"one client alone: {one}", many.p95 / one.p95, rounds=many.calls)
